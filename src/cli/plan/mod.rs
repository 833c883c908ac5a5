//! `bgm plan`: what would run.

mod simulate;
mod snakemake;

use super::CliError;
use super::args::{Global, Plan, PlanFormat};
use super::session::Session;
use crate::cli::terminal::{note, output};
use crate::disk;
use crate::experiments::cost::{self, Work};
use crate::experiments::graph::{Graph, Speed};
use crate::experiments::space::{self, Space};
use crate::experiments::{KeyMaker, Plan as Runs};
use crate::store::Lookup;
use crate::verify::exit;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;
use simulate::Simulation;

#[derive(Serialize)]
struct PlannedJson<'a> {
    key: &'a str,
    parents: Vec<&'a str>,
    status: &'static str,
    why: String,
    needed_by: &'a [String],
    estimated_seconds: f64,
    /// What a stored run took.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured_seconds: Option<f64>,
    /// On the disk once it is finished.
    estimated_bytes: u64,
}

#[derive(Serialize)]
struct PlanJson<'a> {
    profile: &'a str,
    runs: Vec<PlannedJson<'a>>,
    /// What the runs that are not stored will take of the disk at most, one job a core.
    needed_bytes: u64,
    /// What is free where the store is.
    free_bytes: Option<u64>,
    compute: Compute,
    #[serde(skip_serializing_if = "Option::is_none")]
    simulation: Option<Simulation>,
}

/// What all runs take, evaluations and measurements left out, in core-hours and in GPU-hours.
#[derive(Serialize)]
struct Compute {
    /// On the reference machine, estimated by constants fitted to measured runs.
    core_hours: f64,
    /// Two a multiply-add, forward and backward.
    floating_point_operations: f64,
    /// Declared, not measured.
    assumed_device_flops: f64,
    /// The operations divided by that rate.
    gpu_hours: f64,
}

impl Compute {
    fn of(plan: &Runs, device_flops: f64) -> Compute {
        let work: Work = plan.runs.values().map(|run| Work::of_training(&run.spec)).sum();
        Compute {
            core_hours: work.cpu_seconds() / 3600.0,
            floating_point_operations: work.flops(),
            assumed_device_flops: device_flops,
            gpu_hours: work.device_seconds(device_flops) / 3600.0,
        }
    }
}

pub fn plan(global: &Global, options: &Plan) -> Result<u8, CliError> {
    if !(options.device_flops.is_finite() && options.device_flops > 0.0) {
        return Err(CliError::Usage("--device-flops must be a positive number".to_owned()));
    }
    let session = Session::plan(global)?;
    let lookups = session.look_up_all();
    let runs = session.plan.order.iter().map(|key| {
        let run = &session.plan.runs[key];
        let mut measured_seconds = None;
        let (status, why) = match &lookups[key] {
            Lookup::Stored(stored) => {
                measured_seconds = Some(stored.environment.seconds);
                ("stored", String::new())
            }
            Lookup::Partial => ("partial", "begun, goes on from its checkpoint".to_owned()),
            Lookup::Missing => ("missing", "not in the store".to_owned()),
            Lookup::Damaged(problem) => ("missing", problem.to_string()),
        };
        PlannedJson {
            key: key.as_str(),
            parents: run.parent.iter().map(|p| p.as_str()).collect(),
            status,
            why,
            needed_by: &run.needed_by,
            estimated_seconds: cost::seconds(&run.spec),
            measured_seconds,
            estimated_bytes: Space::of(&run.spec).stored,
        }
    });
    let open = session.plan.order.iter().filter(|k| !matches!(lookups[*k], Lookup::Stored(_)));
    let open = open.map(|key| Space::of(&session.plan.runs[key].spec));
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let graph = Graph::of(&session.plan, &mut KeyMaker::new(&session.catalog))?;
    let on_gpu = global.device.starts_with("cuda");
    let speed = if on_gpu { Speed::Device(options.device_flops) } else { Speed::Core };
    let plan = PlanJson {
        profile: &global.profile,
        runs: runs.collect(),
        needed_bytes: Space::together(open, jobs),
        free_bytes: disk::free_bytes(session.store.root()),
        compute: Compute::of(&session.plan, options.device_flops),
        simulation: options.simulate.then(|| Simulation::of(&graph, speed)),
    };
    if let Some(simulation) = &plan.simulation {
        simulation.draw(global, options)?;
    }
    match options.format {
        PlanFormat::Json => {
            let text = serde_json::to_string_pretty(&plan)
                .map_err(|e| CliError::Environment(format!("plan as JSON: {e}")))?;
            output!("{text}");
        }
        PlanFormat::Text => print_text(&session, &plan),
        PlanFormat::Snakemake => {
            let written = snakemake::write(global, options, &session, &graph, speed, &lookups)?;
            if !global.quiet {
                note!("{written}");
            }
        }
    }
    Ok(exit::SUCCESS)
}

fn print_text(session: &Session, plan: &PlanJson<'_>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let heads =
        ["run", "seed", "starts from", "status", "estimate", "measured", "disk", "needed by"];
    table.set_header(heads);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    for (run, key) in plan.runs.iter().zip(&session.plan.order) {
        let parent = run.parents.first().map_or("random weights", |p| &p[..12]);
        table.add_row([
            Cell::new(key.short()),
            right(session.plan.runs[key].spec.seed.to_string()),
            Cell::new(parent),
            Cell::new(run.status),
            right(format!("{:.0} s", run.estimated_seconds)),
            right(run.measured_seconds.map_or(String::new(), |s| format!("{s:.0} s"))),
            right(space::words(run.estimated_bytes)),
            Cell::new(run.needed_by.join(", ")),
        ]);
    }
    output!("{table}");
    let hours = |wanted: &dyn Fn(&PlannedJson<'_>) -> bool| {
        let some = plan.runs.iter().filter(|run| wanted(run));
        some.map(|run| run.estimated_seconds).sum::<f64>() / 3600.0
    };
    let open = plan.runs.iter().filter(|r| r.status != "stored").count();
    output!(
        "profile {}: {} runs, {open} to do; estimated {:.2} core-hours in all, {:.2} to do",
        plan.profile,
        plan.runs.len(),
        hours(&|_| true),
        hours(&|run| run.status != "stored").abs()
    );
    let whole = plan.runs.iter().map(|run| run.estimated_bytes).fold(0, u64::saturating_add);
    let free = plan.free_bytes.map_or("an unknown amount".to_owned(), space::words);
    output!(
        "disk: estimated {} in all; at most {} while what is to do is done, {free} free",
        space::words(whole),
        space::words(plan.needed_bytes)
    );
    let compute = &plan.compute;
    output!(
        "GPU: {:.2e} floating-point operations / {:.1e} a second = {:.1} GPU-hours; the rate is \
         an assumption (--device-flops), not a measurement",
        compute.floating_point_operations,
        compute.assumed_device_flops,
        compute.gpu_hours
    );
    if let Some(simulation) = &plan.simulation {
        simulation.print();
    }
}
