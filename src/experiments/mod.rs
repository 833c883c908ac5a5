//! Tables and figures, declared in `paper_tables/`: which grid of runs, what is measured,
//! how it is shown.

pub mod aggregate;
mod check;
pub mod cost;
mod declare;
pub mod dose;
pub mod evaluation;
mod fields;
pub mod fingerprint;
pub mod graph;
mod grid;
pub mod memory;
mod names;
mod network;
mod profile;
mod profile_file;
mod read;
pub mod results;
mod seeds;
mod shared;
pub mod space;
mod template;
pub mod text;

pub use check::{duplicate, named_levels, named_metric};
pub use declare::{
    Axis, Experiment, Level, Metric, MetricFormat, ProfilePanel, Published, Render, RenderKind,
};
pub use grid::{Cell, KeyMaker, Plan, PlanError, PlannedRun};
pub use names::{COURSE, within_sentence};
pub use profile::Profile;
pub use read::ProfileError;
pub use seeds::Seeds;
pub use template::Template;
