//! `bgm plan --simulate`: clusters of 1 to 512 workers.

use super::super::CliError;
use super::super::args::{Global, Plan as Options};
use crate::cli::terminal::output;
use crate::experiments::graph::{Graph, Kind, Speed};
use crate::report::figures;
use crate::schedule::simulate::{Simulated, chains, simulate};
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

/// Sizes of simulated clusters.
const WORKERS: [usize; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

#[derive(Serialize)]
pub struct Simulation {
    /// What the times rest on, in words.
    pub basis: String,
    pub jobs: usize,
    pub pretrainings: usize,
    pub work_seconds: f64,
    /// The longest chain of jobs, of which each waits for the one before.
    pub critical_path_seconds: f64,
    pub clusters: Vec<Cluster>,
}

#[derive(Serialize)]
pub struct Cluster {
    workers: usize,
    makespan_seconds: f64,
    idle_share: f64,
    /// No schedule is shorter.
    bound_seconds: f64,
}

impl Simulation {
    /// Simulates all jobs, stored ones too.
    pub fn of(graph: &Graph, speed: Speed) -> Simulation {
        let needs: Vec<Vec<usize>> = graph.jobs.iter().map(|job| job.needs.clone()).collect();
        let seconds: Vec<f64> = graph.jobs.iter().map(|job| speed.seconds(job.work())).collect();
        let cluster = |workers| {
            let Simulated { workers, makespan, idle, bound } = simulate(&needs, &seconds, workers);
            Cluster { workers, makespan_seconds: makespan, idle_share: idle, bound_seconds: bound }
        };
        let basis = match speed {
            Speed::Core => {
                "one core of the reference machine a worker, estimates fitted to measured runs"
                    .to_owned()
            }
            Speed::Device(flops) => format!(
                "one GPU a worker, {flops:.1e} floating-point operations a second assumed, not \
                 measured"
            ),
        };
        Simulation {
            basis,
            jobs: graph.jobs.len(),
            pretrainings: graph.jobs.iter().filter(|job| job.kind == Kind::Pretrain).count(),
            work_seconds: seconds.iter().sum(),
            critical_path_seconds: chains(&needs, &seconds).into_iter().fold(0.0, f64::max),
            clusters: WORKERS.map(cluster).into(),
        }
    }

    pub fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["workers", "makespan", "idle", "no schedule is shorter than"]);
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        for cluster in &self.clusters {
            table.add_row([
                right(cluster.workers.to_string()),
                right(figures::duration(cluster.makespan_seconds)),
                right(format!("{:.1}%", 100.0 * cluster.idle_share)),
                right(figures::duration(cluster.bound_seconds)),
            ]);
        }
        output!(
            "\nsimulated: {} jobs ({} pretrainings), longest chain first; {}",
            self.jobs,
            self.pretrainings,
            self.basis
        );
        output!("{table}");
        output!(
            "all work {}; the longest chain, which no number of workers shortens, {}",
            figures::duration(self.work_seconds),
            figures::duration(self.critical_path_seconds)
        );
    }

    /// Writes simulation.svg and simulation.png, if there is a folder for them.
    pub fn draw(&self, global: &Global, options: &Options) -> Result<(), CliError> {
        let Some(out) = &options.out else { return Ok(()) };
        let points: Vec<Simulated> = self
            .clusters
            .iter()
            .map(|c| Simulated {
                workers: c.workers,
                makespan: c.makespan_seconds,
                idle: c.idle_share,
                bound: c.bound_seconds,
            })
            .collect();
        let title = format!("Where the grid of profile {} stops scaling", global.profile);
        let how = format!(
            "Simulated: {} jobs, longest chain first; {}. No queues, no failures.",
            self.jobs, self.basis
        );
        let failed = |e: &dyn std::fmt::Display| {
            CliError::Environment(format!("{}: {e}; see --out", out.display()))
        };
        let svg = figures::scaling(&points, &title, &how);
        let png = figures::rasterize(&svg).map_err(|e| failed(&e))?;
        std::fs::create_dir_all(out).map_err(|e| failed(&e))?;
        std::fs::write(out.join("simulation.svg"), svg).map_err(|e| failed(&e))?;
        std::fs::write(out.join("simulation.png"), png).map_err(|e| failed(&e))
    }
}
