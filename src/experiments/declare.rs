//! The file format of one experiment: `paper_tables/<id>.toml`.

use crate::measure::MeasureSpec;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A table or figure.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// The file's name without its ending.
    #[serde(skip)]
    pub id: String,
    /// What it shows, as a heading.
    pub title: String,
    /// What a reader learns from it, in a sentence or two.
    pub summary: String,
    /// Where it comes from: a section of the paper, a reviewer.
    pub source: String,
    /// Template of the profile that the levels change: `image`, `toy`, ...
    pub base: String,
    /// The grid is the product of the axes.
    #[serde(rename = "axis")]
    pub axes: Vec<Axis>,
    /// What the runs are measured for beyond their own metrics, by name.
    #[serde(default, rename = "measure")]
    pub measures: BTreeMap<String, MeasureSpec>,
    /// Adds metrics `gap.<metric>`: see [`Contrast`].
    #[serde(default)]
    pub contrast: Option<Contrast>,
    /// The numbers that are shown and compared, the main one first.
    #[serde(rename = "metric")]
    pub metrics: Vec<Metric>,
    pub render: Render,
    /// Numbers that were published, with where.
    #[serde(default)]
    pub published: Vec<Published>,
}

/// One dimension of a grid.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    #[serde(default)]
    pub name: String,
    /// As a heading.
    #[serde(default)]
    pub label: String,
    #[serde(default, rename = "level")]
    pub levels: Vec<Level>,
    /// Name of the shared axis that stands here instead; `None` once it does.
    #[serde(default, rename = "use")]
    pub(super) shared: Option<String>,
}

/// One value of an axis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    pub id: String,
    pub label: String,
    /// Place on a numeric axis of a figure.
    pub value: Option<f64>,
    /// Dotted fields of the template and what they are set to.
    #[serde(default)]
    pub set: toml::Table,
}

/// A number that each run gives.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// A field of the last evaluation (`test_accuracy`, `train_accuracy`, `test_loss`,
    /// `train_loss`, `distance`, `distance_relative`), `epochs`, `<measure>.<value>`, or
    /// `course.<field>`: the mean of a field over the evaluations of the run but that of its start
    /// (`whole_course.<field>`: the mean of this over the run and those that it starts from).
    pub name: String,
    pub label: String,
    /// `%`, `epochs`, ...; empty for a pure number.
    #[serde(default)]
    pub unit: String,
    #[serde(default)]
    pub format: MetricFormat,
    /// Whether the value is compared with the blessed one.
    #[serde(default = "yes")]
    pub regression: bool,
    /// Differences up to this are rounding of the metric itself (one example of the test
    /// set, say): the least tolerance on another platform. A reference keeps the one that it was
    /// blessed with, so that a change counts from the next blessing on.
    #[serde(default)]
    pub resolution: f64,
    /// Reference seeds that spread more than this (standard deviation) are refused as a
    /// reference; without it, half of their mean. Kept by the reference, too.
    #[serde(default)]
    pub max_spread: Option<f64>,
}

fn yes() -> bool {
    true
}

/// A difference between two levels of an axis, seed by seed: every cell at level `minus` gets
/// for each metric `m` a value `gap.m`, the value of its sibling at level `of` less its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contrast {
    pub axis: String,
    pub of: String,
    pub minus: String,
}

/// Where a contrast stands in a grid: places of its axis and of its two levels.
pub struct ContrastPlaces {
    pub axis: usize,
    pub of: usize,
    pub minus: usize,
}

impl Experiment {
    /// Where the contrast stands; `None` without one, or where a profile left out a level.
    pub fn contrast_places(&self) -> Option<ContrastPlaces> {
        let contrast = self.contrast.as_ref()?;
        let axis = self.axes.iter().position(|axis| axis.name == contrast.axis)?;
        let level = |id: &str| self.axes[axis].levels.iter().position(|level| level.id == id);
        Some(ContrastPlaces { axis, of: level(&contrast.of)?, minus: level(&contrast.minus)? })
    }

    /// Whether a metric means something at a level of an axis: a gap stands only at the level
    /// that is subtracted.
    pub fn applies(&self, metric: &Metric, axis: usize, level: usize) -> bool {
        let axis = &self.axes[axis];
        self.gap(metric).is_none_or(|contrast| {
            axis.name != contrast.axis || axis.levels[level].id == contrast.minus
        })
    }

    /// The contrast that a metric is a gap of.
    fn gap(&self, metric: &Metric) -> Option<&Contrast> {
        self.contrast.as_ref().filter(|_| metric.name.starts_with("gap."))
    }

    /// A level's name where the first metric is shown: a gap belongs to both of its levels.
    pub fn level_name(&self, axis: usize, level: usize) -> String {
        let axis = &self.axes[axis];
        let own = &axis.levels[level];
        let contrast = self.metrics.first().and_then(|metric| self.gap(metric));
        let contrast = contrast.filter(|c| axis.name == c.axis && own.id == c.minus);
        let other = contrast.and_then(|c| axis.levels.iter().find(|level| level.id == c.of));
        other.map_or_else(|| own.label.clone(), |of| format!("{} \u{2212} {}", of.label, own.label))
    }

    /// Whether a metric means something in a cell.
    pub fn applies_to(&self, metric: &Metric, levels: &[usize]) -> bool {
        levels.iter().enumerate().all(|(axis, &level)| self.applies(metric, axis, level))
    }
}

/// How a number is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricFormat {
    /// One decimal: accuracies.
    #[default]
    OneDecimal,
    ThreeDecimals,
    /// Three significant digits with an exponent: norms.
    Scientific,
    Integer,
}

impl MetricFormat {
    /// `value` as text.
    pub fn show(self, value: f64) -> String {
        match self {
            MetricFormat::OneDecimal => format!("{value:.1}"),
            MetricFormat::ThreeDecimals => format!("{value:.3}"),
            MetricFormat::Scientific => format!("{value:.2e}"),
            MetricFormat::Integer => format!("{value:.0}"),
        }
    }
}

/// How an experiment is shown. Every experiment has a table; a figure is one more.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Render {
    pub kind: RenderKind,
    /// Axis down the table; the others make its columns. Default: the first.
    pub rows: Option<String>,
    /// Axis along x (line) or over the panels (curves), where the kind needs one.
    pub x: Option<String>,
    /// Axis whose levels are lines, bars or panels.
    pub series: Option<String>,
    /// Whether x is logarithmic.
    #[serde(default)]
    pub log_x: bool,
    /// Panels of a [`RenderKind::Profile`].
    #[serde(default, rename = "panel")]
    pub panels: Vec<ProfilePanel>,
}

/// One panel of a profile: a series of a measurement over another.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfilePanel {
    pub title: String,
    /// Name of a measurement of the experiment, or `course`: the evaluations along training.
    pub measure: String,
    /// Series along x (of the course: `epoch`).
    pub x: String,
    pub x_label: String,
    /// Series along y (of the course: a metric of an evaluation).
    pub y: String,
    pub y_label: String,
    /// Only cells with this level id on the first axis.
    pub only: Option<String>,
}

/// Kinds of figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RenderKind {
    /// A table alone.
    Table,
    /// Accuracy over epochs, pretraining before training on one axis, learning rate beneath.
    Curves,
    /// Decision boundaries of the toy, one panel a cell.
    Boundary,
    /// The main metric with intervals over a numeric axis, one line a level of `series`.
    Line,
    /// The main metric as bars with intervals and the single seeds.
    Bars,
    /// The main metric over two axes.
    Heatmap,
    /// Whole series of the runs' measurements, one line a cell: see [`ProfilePanel`].
    Profile,
}

/// A published number.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Level id by axis name.
    pub cell: BTreeMap<String, String>,
    pub metric: String,
    pub value: f64,
    /// Whether more than the value was published: "at least".
    #[serde(default)]
    pub at_least: bool,
    /// Where it stands, down to the table and row.
    pub source: String,
}
