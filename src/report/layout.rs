//! The numbers of an experiment and where they stand in its table, before any format.

use crate::experiments::results::{CellResult, ExperimentResult, Fit};
use crate::experiments::{Axis, Experiment, Metric, Published};
use crate::verify::outcome::{ClaimPart, RegressionOutcome, Verdict, Verification};
use crate::verify::stats;

/// Level of the intervals over seeds.
pub const LEVEL: f64 = 0.95;

/// One metric of one cell over its seeds.
pub struct Number<'a> {
    pub metric: &'a Metric,
    pub cell: &'a CellResult,
    /// Place of the cell in the grid.
    pub cell_place: usize,
    /// `(seed, value)` of the runs that are there.
    pub samples: Vec<(u64, f64)>,
    /// Why no verdict may rest on the cell, one sentence a run.
    pub poison: Vec<String>,
    /// Training accuracy of the cell, or of the other cell of a gap, if it is no minimum.
    pub unfit: Option<Fit>,
    pub published: Option<&'a Published>,
    /// The comparison with the blessed values, if they have this number.
    pub regression: Option<&'a RegressionOutcome>,
}

impl Number<'_> {
    fn values(&self) -> Vec<f64> {
        self.samples.iter().map(|&(_, value)| value).collect()
    }

    pub fn n(&self) -> usize {
        self.samples.len()
    }

    /// Seeds of the cell without this number.
    pub fn missing(&self) -> usize {
        self.cell.seeds.len() - self.n()
    }

    /// `None` without a value or with one that is not finite.
    pub fn mean(&self) -> Option<f64> {
        (self.n() > 0).then(|| stats::mean(&self.values())).filter(|m| m.is_finite())
    }

    /// Sample standard deviation, from two values on.
    pub fn sd(&self) -> Option<f64> {
        let sd = (self.n() > 1).then(|| stats::standard_deviation(&self.values()));
        sd.filter(|sd| sd.is_finite())
    }

    /// 95% interval of the mean (Student's t).
    pub fn interval(&self) -> Option<[f64; 2]> {
        mean_interval(&self.values())
    }

    pub fn expected(&self) -> Option<f64> {
        self.regression.and_then(|outcome| outcome.expected)
    }

    /// `65.1 ± 2.0 (3)`, or why there is no such text.
    pub fn text(&self) -> String {
        let show = |value| show(self.metric, value);
        match (self.mean(), self.sd()) {
            (Some(mean), Some(sd)) => format!("{} ± {} ({})", show(mean), show(sd), self.n()),
            (Some(mean), None) => format!("{} ({})", show(mean), self.n()),
            (None, _) if self.n() > 0 => "not finite".to_owned(),
            (None, _) => String::new(),
        }
    }

    /// Marks of what keeps a verdict from resting on the number, with what they mean below the
    /// table or above the figure.
    pub fn marks(&self) -> String {
        let dagger = if self.poison.is_empty() { "" } else { "†" };
        let double = if self.unfit.is_none() { "" } else { "‡" };
        format!("{dagger}{double}")
    }

    /// Whether the cell is a minimum; `None` without a run.
    pub fn fits(&self) -> Option<bool> {
        self.cell.fit().map(|_| self.unfit.is_none())
    }

    /// `missing 1 of 3`, if so.
    pub fn gap(&self) -> Option<String> {
        let (missing, planned) = (self.missing(), self.cell.seeds.len());
        (missing > 0).then(|| format!("missing {missing} of {planned}"))
    }

    pub fn interval_text(&self) -> String {
        let show = |value| show(self.metric, value);
        let interval = self.interval().map(|[low, high]| span(&show(low), &show(high)));
        interval.unwrap_or_default()
    }

    /// As it was published, not rounded.
    pub fn published_text(&self) -> String {
        let at_least = |p: &Published| if p.at_least { "at least " } else { "" };
        self.published.map(|p| format!("{}{}", at_least(p), p.value)).unwrap_or_default()
    }

    pub fn expected_text(&self) -> String {
        self.expected().map(|value| show(self.metric, value)).unwrap_or_default()
    }
}

/// A value of a metric as text, with a minus sign that is as wide as a plus.
pub fn show(metric: &Metric, value: f64) -> String {
    metric.format.show(value).replace('-', "\u{2212}")
}

/// 95% Student interval of the mean; `None` below two values or with one that is no number.
pub fn mean_interval(values: &[f64]) -> Option<[f64; 2]> {
    let finite = values.iter().all(|value| value.is_finite());
    if finite { stats::mean_interval(values, LEVEL) } else { None }
}

/// `61.0 to 69.2`: a dash between numbers would read as a sign.
pub fn span(low: &str, high: &str) -> String {
    format!("{low} to {high}")
}

/// `Test accuracy (%)`.
pub fn metric_label(metric: &Metric) -> String {
    if metric.unit.is_empty() {
        metric.label.clone()
    } else {
        format!("{} ({})", metric.label, metric.unit)
    }
}

/// All numbers of an experiment: cells in the order of the grid, metrics within a cell.
pub struct Numbers<'a> {
    pub result: &'a ExperimentResult,
    /// Parts of claims that speak of one cell, or one row of cells, of this experiment.
    parts: Vec<&'a ClaimPart>,
    numbers: Vec<Number<'a>>,
}

impl<'a> Numbers<'a> {
    pub fn new(result: &'a ExperimentResult, verification: &'a Verification) -> Numbers<'a> {
        let experiment = &result.experiment;
        let mut numbers = Vec::new();
        for (cell_place, cell) in result.cells.iter().enumerate() {
            let name = result.cell_name(cell);
            for metric in &experiment.metrics {
                let regression = verification.regression.iter().find(|outcome| {
                    outcome.experiment == experiment.id
                        && outcome.cell == name
                        && outcome.metric == metric.name
                });
                numbers.push(Number {
                    metric,
                    cell,
                    cell_place,
                    samples: cell.samples(&metric.name),
                    poison: cell.poison(),
                    unfit: unfit(result, cell, metric),
                    published: published(experiment, cell, metric),
                    regression,
                });
            }
        }
        let claims = verification.claims.iter().filter(|c| c.experiment == experiment.id);
        let parts = claims.flat_map(|c| &c.parts).filter(|part| !part.cell.is_empty()).collect();
        Numbers { result, parts, numbers }
    }

    /// The verdict that a claim gives on the place of a cell in a grid of verdicts.
    pub fn verdict(&self, cell: &CellResult) -> Option<Verdict> {
        let axes = &self.experiment().axes;
        let is_at = |(name, id): (&String, &String)| {
            axes.iter().zip(&cell.levels).any(|(a, &l)| &a.name == name && &a.levels[l].id == id)
        };
        let part = self.parts.iter().find(|part| part.cell.iter().all(is_at))?;
        Some(part.verdict)
    }

    pub fn experiment(&self) -> &'a Experiment {
        &self.result.experiment
    }

    /// The numbers that mean something: a gap stands in half of the cells only.
    pub fn iter(&self) -> impl Iterator<Item = &Number<'a>> {
        let experiment = self.experiment();
        self.numbers.iter().filter(|n| experiment.applies_to(n.metric, &n.cell.levels))
    }

    /// The number of a cell and metric by their places.
    fn get(&self, cell: usize, metric: usize) -> &Number<'a> {
        &self.numbers[cell * self.experiment().metrics.len() + metric]
    }

    /// Sentences below the table: why cells have a dagger, where published numbers stand.
    pub fn footnotes(&self) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        for cell in &self.result.cells {
            for reason in cell.poison() {
                let note = format!("† {}: {reason}", self.result.cell_label(cell));
                notes.push(note);
            }
        }
        for cell in self.result.cells.iter().filter(|cell| cell.poison().is_empty()) {
            if let Some(Fit { mean, lowest, .. }) = cell.fit().filter(|fit| !fit.fits) {
                notes.push(format!(
                    "‡ {} does not fit its training data: training accuracy {mean:.2} in the mean, \
                     {lowest:.2} at the lowest seed",
                    self.result.cell_label(cell)
                ));
            }
        }
        for number in self.iter() {
            let source = number.published.map(|p| format!("Published: {}", p.source));
            notes.extend(source.filter(|note| !notes.contains(note)));
        }
        notes
    }
}

/// The fit of a cell that does not fit its training data, or of the other one of a gap.
fn unfit(result: &ExperimentResult, cell: &CellResult, metric: &Metric) -> Option<Fit> {
    let own = |cell: &CellResult| cell.fit().filter(|fit| !fit.fits);
    let other = || {
        let places = result.experiment.contrast_places();
        let places = places.filter(|_| metric.name.starts_with("gap."))?;
        let mut levels = cell.levels.clone();
        levels[places.axis] = places.of;
        own(result.cells.iter().find(|other| other.levels == levels)?)
    };
    own(cell).or_else(other)
}

fn published<'a>(
    experiment: &'a Experiment,
    cell: &CellResult,
    metric: &Metric,
) -> Option<&'a Published> {
    experiment.published.iter().find(|published| {
        let mut places = experiment.axes.iter().zip(&cell.levels);
        published.metric == metric.name
            && places.all(|(axis, &level)| match published.cell.get(&axis.name) {
                Some(id) => id == &axis.levels[level].id,
                None => axis.levels.len() == 1,
            })
    })
}

/// A level as a heading: a bare number needs the name of its axis.
fn level_heading(axis: &Axis, level: usize) -> String {
    let label = &axis.levels[level].label;
    if label.starts_with(|c: char| c.is_ascii_digit()) {
        format!("{} = {label}", axis.label)
    } else {
        label.clone()
    }
}

/// What the wide table says of its numbers.
pub fn reading(experiment: &Experiment) -> String {
    let what = "mean ± sample standard deviation (number of seeds).";
    match experiment.metrics.as_slice() {
        [only] => format!("{}: {what}", metric_label(only)),
        _ => format!("M{}", &what[1..]),
    }
}

/// Places of the axes: which runs down the table, which across.
pub struct Pivot {
    /// `None` for an experiment without axes.
    row_axis: Option<usize>,
    /// Levels of the other axes (in their order) and a metric, for each column.
    columns: Vec<(Vec<usize>, usize)>,
    other_axes: Vec<usize>,
}

impl Pivot {
    pub fn new(experiment: &Experiment) -> Pivot {
        let wanted = experiment.render.rows.as_deref();
        let named = experiment.axes.iter().position(|axis| Some(axis.name.as_str()) == wanted);
        let row_axis = named.or((!experiment.axes.is_empty()).then_some(0));
        let other_axes: Vec<usize> =
            (0..experiment.axes.len()).filter(|&place| Some(place) != row_axis).collect();
        let across = product(experiment, &other_axes);
        let metrics = 0..experiment.metrics.len();
        let columns =
            across.into_iter().flat_map(|levels| metrics.clone().map(move |m| (levels.clone(), m)));
        let means_something = |(levels, metric): &(Vec<usize>, usize)| {
            let metric = &experiment.metrics[*metric];
            other_axes.iter().zip(levels).all(|(&a, &l)| experiment.applies(metric, a, l))
        };
        let columns = columns.filter(means_something).collect();
        Pivot { row_axis, columns, other_axes }
    }

    pub fn row_heading(&self, experiment: &Experiment) -> String {
        self.row_axis.map(|axis| experiment.axes[axis].label.clone()).unwrap_or_default()
    }

    /// Headings of the columns, each in one or more lines. An axis of one level is not named,
    /// nor a lone metric where the levels tell the columns apart.
    pub fn column_headings(&self, experiment: &Experiment) -> Vec<Vec<String>> {
        let heading = |(levels, metric): &(Vec<usize>, usize)| {
            let axes = self.other_axes.iter().map(|&axis| &experiment.axes[axis]);
            let mut lines: Vec<String> = axes
                .zip(levels)
                .filter(|(axis, _)| axis.levels.len() > 1)
                .map(|(axis, &level)| level_heading(axis, level))
                .collect();
            if experiment.metrics.len() > 1 || lines.is_empty() {
                lines.push(metric_label(&experiment.metrics[*metric]));
            }
            lines
        };
        self.columns.iter().map(heading).collect()
    }

    /// Rows: heading and a number for each column (`None` if the grid lacks the cell).
    pub fn rows<'n, 'a>(
        &self,
        numbers: &'n Numbers<'a>,
    ) -> Vec<(String, Vec<Option<&'n Number<'a>>>)> {
        let experiment = numbers.experiment();
        let levels = self.row_axis.map_or(1, |axis| experiment.axes[axis].levels.len());
        let row = |level: usize| {
            let heading = match self.row_axis {
                Some(axis) => experiment.axes[axis].levels[level].label.clone(),
                None => String::new(),
            };
            let number = |(others, metric): &(Vec<usize>, usize)| {
                let fits = |cell: &CellResult| {
                    self.row_axis.is_none_or(|axis| cell.levels[axis] == level)
                        && self.other_axes.iter().zip(others).all(|(&a, &l)| cell.levels[a] == l)
                };
                let place = numbers.result.cells.iter().position(fits)?;
                let number = numbers.get(place, *metric);
                experiment.applies_to(number.metric, &number.cell.levels).then_some(number)
            };
            (heading, self.columns.iter().map(number).collect())
        };
        (0..levels).map(row).collect()
    }

    /// Whether the wide table says more than the long one: it has two axes that vary.
    pub fn is_wide(&self) -> bool {
        self.columns.len() > 1
    }
}

/// All combinations of one level for each of `axes`, the last one fastest.
pub fn product(experiment: &Experiment, axes: &[usize]) -> Vec<Vec<usize>> {
    axes.iter().fold(vec![Vec::new()], |rows, &axis| {
        let count = experiment.axes[axis].levels.len();
        let extended = |row: Vec<usize>| (0..count).map(move |l| [row.as_slice(), &[l]].concat());
        rows.into_iter().flat_map(extended).collect()
    })
}
