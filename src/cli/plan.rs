//! `bgm plan`: what would run.

use super::Failure;
use super::args::{Format, Global, Plan};
use super::session::Session;
use crate::experiments::cost;
use crate::experiments::space::{self, Space};
use crate::store::{Lookup, disk};
use crate::verify::exit;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

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
}

pub fn plan(global: &Global, options: &Plan) -> Result<u8, Failure> {
    let session = Session::open(global)?;
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
    let plan = PlanJson {
        profile: &global.profile,
        runs: runs.collect(),
        needed_bytes: Space::together(open, jobs),
        free_bytes: disk::free_bytes(session.store.root()),
    };
    match options.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&plan)
                .map_err(|e| Failure::Environment(format!("plan as JSON: {e}")))?;
            println!("{text}");
        }
        Format::Text => print_text(&session, &plan),
    }
    Ok(exit::AS_BLESSED)
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
    println!("{table}");
    let hours = |wanted: &dyn Fn(&PlannedJson<'_>) -> bool| {
        let some = plan.runs.iter().filter(|run| wanted(run));
        some.map(|run| run.estimated_seconds).sum::<f64>() / 3600.0
    };
    let open = plan.runs.iter().filter(|r| r.status != "stored").count();
    println!(
        "profile {}: {} runs, {open} to do; estimated {:.2} core-hours in all, {:.2} to do",
        plan.profile,
        plan.runs.len(),
        hours(&|_| true),
        hours(&|run| run.status != "stored").abs()
    );
    let whole = plan.runs.iter().map(|run| run.estimated_bytes).fold(0, u64::saturating_add);
    let free = plan.free_bytes.map_or("an unknown amount".to_owned(), space::words);
    println!(
        "disk: estimated {} in all; at most {} while what is to do is done, {free} free",
        space::words(whole),
        space::words(plan.needed_bytes)
    );
}
