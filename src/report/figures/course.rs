//! Courses of training on one time axis: what [`super::curves`] draws.

use super::axes::{Scale, tick_text};
use super::palette::{Rgb, colour, dashes};
use crate::experiments::Experiment;
use crate::experiments::results::{CellResult, ExperimentResult, RunResult};
use crate::report::layout::{self, mean_interval};
use crate::spec::DataSpec;
use crate::train::metrics::Evaluation;
use crate::verify::stats;
use std::collections::BTreeSet;

/// `(epoch, value)` of each evaluation, in the order of epochs. Epoch 0 is where the run that is
/// drawn starts; the runs before it have negative ones.
pub type Track = Vec<(f64, f64)>;

/// [`track`] or [`track_before`].
pub type Stretch = fn(&RunResult, fn(&Evaluation) -> f64) -> Track;

/// One stretch of a run's course on the common time axis.
pub fn track(run: &RunResult, pick: fn(&Evaluation) -> f64) -> Track {
    run.metrics.evaluations.iter().map(|e| (f64::from(e.epoch), pick(e))).collect()
}

/// The runs before this one, ending at 0.
pub fn track_before(run: &RunResult, pick: fn(&Evaluation) -> f64) -> Track {
    let mut offset = 0.0;
    let mut points = Vec::new();
    for earlier in run.chain().skip(1) {
        offset -= f64::from(earlier.metrics.epochs);
        let stretch = track(earlier, pick).into_iter().map(|(x, y)| (x + offset, y));
        points = stretch.chain(points).collect();
    }
    points
}

/// A sentence for the caption, with a space before it: on how many test images the curves are
/// measured, if runs evaluate fewer before their last epoch (`data.images.test_along`). Else empty.
pub fn images_along<'r>(runs: impl Iterator<Item = &'r RunResult>) -> String {
    let mut numbers = BTreeSet::new();
    for run in runs.flat_map(RunResult::chain) {
        if let DataSpec::Images(images) = &run.spec.data
            && let Some(along) = images.test_along
        {
            numbers.insert((along, images.test));
        }
    }
    let number = |count: u32| tick_text(f64::from(count));
    let all = |test: u32| if test == 0 { "all".to_owned() } else { number(test) };
    let parts: Vec<String> = numbers
        .iter()
        .map(|&(along, test)| format!("{} of {}", number(along), all(test)))
        .collect();
    if parts.is_empty() {
        return String::new();
    }
    format!(
        " Curves of test accuracy are on the first {} images; the last point of each run is on all \
         of them.",
        parts.join(" or ")
    )
}

/// One line of a panel: a cell with its looks.
pub struct Curve<'a> {
    pub label: String,
    pub colour: Rgb,
    pub dashes: &'static [f64],
    pub runs: Vec<&'a RunResult>,
}

impl Curve<'_> {
    pub fn is_poisoned(&self) -> bool {
        self.runs.iter().any(|run| run.poison().is_some())
    }

    pub fn end_label(&self) -> String {
        if self.is_poisoned() { format!("{} \u{2020}", self.label) } else { self.label.clone() }
    }
}

/// A panel: its label and its curves.
pub struct Group<'a> {
    pub label: String,
    pub curves: Vec<Curve<'a>>,
}

/// Axes that make panels, in the order of the grid: those that `render.series` and `render.x` name
/// (along the x axis run epochs in any case).
fn panel_axes(experiment: &Experiment) -> Vec<usize> {
    let named = [experiment.render.series.as_deref(), experiment.render.x.as_deref()];
    let is_named = |&place: &usize| named.contains(&Some(experiment.axes[place].name.as_str()));
    (0..experiment.axes.len()).filter(is_named).collect()
}

/// All panels of a figure.
pub fn groups(result: &ExperimentResult) -> Vec<Group<'_>> {
    let experiment = &result.experiment;
    let panels = panel_axes(experiment);
    let lines: Vec<usize> =
        (0..experiment.axes.len()).filter(|place| !panels.contains(place)).collect();
    // The initializations take the colours, so that each has its own in every figure; the other axes
    // share the dashes.
    let is_start = |&&place: &&usize| experiment.axes[place].name.contains("init");
    let coloured = lines.iter().find(is_start).or(lines.first()).copied();
    let dashed: Vec<usize> =
        lines.iter().copied().filter(|&place| Some(place) != coloured).collect();
    let label = |cell: &CellResult, axes: &[usize]| -> String {
        let parts = axes.iter().map(|&place| {
            let axis = &experiment.axes[place];
            axis.levels[cell.levels[place]].label.as_str()
        });
        parts.collect::<Vec<_>>().join(", ")
    };
    let styles = layout::product(experiment, &dashed);
    let make_curve = |cell: &CellResult| {
        let level = coloured.map_or(0, |place| cell.levels[place]);
        let id = coloured.map_or("", |place| experiment.axes[place].levels[level].id.as_str());
        let own: Vec<usize> = dashed.iter().map(|&place| cell.levels[place]).collect();
        let style = styles.iter().position(|levels| *levels == own).unwrap_or(0);
        (label(cell, &lines), colour(id, level), dashes(style))
    };
    layout::product(experiment, &panels)
        .into_iter()
        .map(|levels| {
            let here: Vec<&CellResult> = result
                .cells
                .iter()
                .filter(|cell| panels.iter().zip(&levels).all(|(&a, &l)| cell.levels[a] == l))
                .collect();
            let curves = here.iter().map(|cell| {
                let (label, colour, dashes) = make_curve(cell);
                let runs = cell.seeds.iter().filter_map(|s| s.run.as_deref()).collect();
                Curve { label, colour, dashes, runs }
            });
            Group {
                label: here.first().map(|cell| label(cell, &panels)).unwrap_or_default(),
                curves: curves.collect(),
            }
        })
        .collect()
}

/// `y` at `x` on the straight lines between a track's points, from its first to its last.
fn at(track: &Track, x: f64) -> Option<f64> {
    let after = track.partition_point(|p| p.0 < x);
    let &(x1, y1) = track.get(after)?;
    if x1 == x {
        return Some(y1);
    }
    let (x0, y0) = *track.get(after.checked_sub(1)?)?;
    Some(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
}

/// `(epoch, mean, 95% interval)` at every epoch at which one of the tracks has a value and all of
/// them run: the line ends with the shortest. Between evaluations a track is interpolated.
pub fn average(tracks: &[Track]) -> Vec<(f64, f64, Option<[f64; 2]>)> {
    let mut places: Vec<f64> = tracks.iter().flatten().map(|p| p.0).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let mean = |x: f64| {
        let values: Option<Vec<f64>> = tracks.iter().map(|track| at(track, x)).collect();
        let values = values.filter(|values| !values.is_empty())?;
        Some((x, stats::mean(&values), mean_interval(&values)))
    };
    places.into_iter().filter_map(mean).collect()
}

/// The time axis of a figure, the same in each panel: before 0 and after it. The scale is the same on
/// both sides unless one would get too little room: less than 30% of the width before, or 40% after.
pub struct Time {
    pub before: Option<Scale>,
    pub after: Scale,
    pub same_scale: bool,
}

impl Time {
    pub fn new(groups: &[Group<'_>], panel: (f64, f64)) -> Time {
        let runs = groups.iter().flat_map(|g| &g.curves).flat_map(|c| &c.runs);
        let (mut earlier, mut later) = (0.0f64, 1.0f64);
        for run in runs {
            let epochs = |run: &RunResult| f64::from(run.metrics.epochs);
            later = later.max(epochs(run));
            earlier = earlier.max(run.chain().skip(1).map(epochs).sum());
        }
        let share = earlier / (earlier + later);
        let kept = if earlier > 0.0 { share.clamp(0.3, 0.6) } else { 0.0 };
        let divider = panel.0 + (panel.1 - panel.0) * kept;
        let before = (earlier > 0.0).then(|| Scale::linear((-earlier, 0.0), (panel.0, divider)));
        let after = Scale::linear((0.0, later), (divider, panel.1));
        Time { before, after, same_scale: kept == share }
    }

    pub fn at(&self, epoch: f64) -> f64 {
        match &self.before {
            Some(before) if epoch < 0.0 => before.at(epoch),
            _ => self.after.at(epoch),
        }
    }
}
