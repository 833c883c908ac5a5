//! Command-line arguments.

mod data;
mod store;

pub use data::{Data, DataCommand};
pub use store::{Prune, Store, StoreCommand};

use crate::embedded::Embedded;
use crate::experiments::Seeds;
use crate::spec::Numerics;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Reproduces and verifies "Bad Global Minima Exist and SGD Can Reach Them" (NeurIPS 2020).
///
/// Exit codes: 0 all as blessed; 1 a number outside tolerance, a verdict other than the
/// blessed one, two results for one run, or with --strict a refuted claim; 2 usage or an invalid
/// spec; 3 incomplete (runs missing or not memorized, too few seeds, nothing to compare with, or
/// with --strict an inconclusive claim); 4 environment or data (an absent device, missing libtorch,
/// damaged files, a full disk); 70 an internal error, worth retrying; 75 interrupted: run the same
/// command again to resume.
#[derive(Debug, Parser)]
#[command(name = "bgm", version)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The default of `--data`.
pub const DATA: &str = "data";
/// The default of `--tables`.
pub const TABLES: &str = "paper_tables";
/// The default of `--store`.
pub const STORE: &str = "runs";
/// The default of `--expected`.
pub const EXPECTED: &str = "expected";

#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Folder of finished runs.
    #[arg(long, global = true, default_value = STORE)]
    pub store: PathBuf,
    /// Folder of data sets.
    #[arg(long, global = true, default_value = DATA)]
    pub data: PathBuf,
    /// Folder of table and figure declarations.
    #[arg(long, global = true, default_value = TABLES)]
    pub tables: PathBuf,
    /// Folder of claims and blessed references.
    #[arg(long, global = true, default_value = EXPECTED)]
    pub expected: PathBuf,
    /// Which sizes and experiments: see paper_tables/profiles.
    #[arg(long, global = true, default_value = "quick")]
    pub profile: String,
    /// Only these experiments, separated by commas, whether or not the profile has them.
    #[arg(long, global = true, value_delimiter = ',')]
    pub only: Vec<String>,
    /// N: the first N seeds of the profile, continued upwards if it has fewer. A..B: the seeds A to
    /// B-1 instead.
    #[arg(long, global = true, value_name = "N|A..B")]
    pub seeds: Option<Seeds>,
    /// auto (a GPU only for profiles made for one), cpu, cuda:0, ... (cuda is cuda:0); cuda:all for
    /// `reproduce`: every GPU of the machine. `plan --device cuda` plans for a GPU elsewhere, with
    /// --numerics.
    #[arg(long, global = true, default_value = "auto")]
    pub device: String,
    /// Which implementation computes: 'portable' is the CPU engine, whose bits are the same on every
    /// processor; 'libtorch' computes on GPUs, and on a CPU as a second opinion. Default:
    /// libtorch for a GPU, the engine for a CPU.
    #[arg(long, global = true, value_enum)]
    pub engine: Option<EngineName>,
    /// Threads of the CPU engine for one run; they change no bit [default: 1; in `reproduce` a
    /// share of the idle cores].
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Plan for runs of these numerics (a run's spec names them), whatever is computed with
    /// here: for a machine without the GPU that will make the runs.
    #[arg(long, global = true, value_name = "NAME")]
    pub numerics: Option<Numerics>,
    /// On a GPU, launch every kernel of a training step by itself, instead of recording a step
    /// as a CUDA graph and replaying it. Slower, with the same bits: `bgm doctor` compares them.
    #[arg(long, global = true)]
    pub no_cuda_graphs: bool,
    /// Say nothing but results and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Files compiled into the program, which stand in for default folders that do not exist.
    #[arg(skip)]
    pub embedded: Embedded,
    /// The folder that they were unpacked to, once they were.
    #[arg(skip)]
    pub unpacked: OnceLock<PathBuf>,
}

impl Global {
    /// The profile, and the experiments of it that were asked for: `quick, only fig1_toy`.
    pub fn asked_for(&self) -> String {
        match self.only.as_slice() {
            [] => self.profile.clone(),
            only => format!("{}, only {}", self.profile, only.join(", ")),
        }
    }
}

/// The implementation that trains a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    Portable,
    Libtorch,
}

impl EngineName {
    /// As `--engine` takes it.
    pub fn name(self) -> &'static str {
        match self {
            EngineName::Portable => "portable",
            EngineName::Libtorch => "libtorch",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run what is missing, verify, and write the report.
    Reproduce(Reproduce),
    /// What would run: keys, what is stored, what is missing and why, estimated cost.
    Plan(Plan),
    /// One run by key or spec file (what a scheduler calls).
    Run(Run),
    /// Retrain stored or recorded runs and compare them, bit for bit.
    ///
    /// Runs are trained in a scratch store, with the runs that they start from; metrics, weights and
    /// measurements are compared with the store's, or with the records that come with the profile.
    /// Exit codes: 0 all are equal, bit for bit; 1 one differs, and it is said where; 3 there is
    /// nothing to compare with: no stored run or record, or one of other numerics than are computed
    /// with here; 4 a stored run or record is damaged. Of several, 1 comes before 4 before 3.
    Check(Check),
    /// Compare the store with the blessed reference and judge the claims.
    Verify(Verify),
    /// Tables, figures and report.html from the store.
    Report(Report),
    /// Write expected/<profile>.toml from the store, showing the difference first.
    Bless(Bless),
    /// Hashes of all claims and of all profiles' runs, for docs/protocol.md: `bgm verify` names
    /// whatever was changed after them.
    Protocol,
    /// Compare two stores or two commits, run by run and mean by mean, or the blessed references
    /// of two profiles.
    Diff(Diff),
    /// Data sets: list, fetch, prepare, import, check, subset.
    Data(Data),
    /// Stores of finished runs: export, merge, prune.
    Store(Store),
    /// The exact batches, learning rates, losses and weights of a run's first steps, for
    /// another implementation to replay.
    Trace(Trace),
    /// Device, numerics, threads, and a self-test of determinism.
    Doctor,
}

#[derive(Debug, Args)]
pub struct Reproduce {
    /// Runs side by side, at most one per core [default: one per core]. On GPUs: per GPU, and at
    /// most what its memory holds [default: 1].
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Where tables, figures and the report go.
    #[arg(long, default_value = "reproduction")]
    pub out: PathBuf,
    /// Exit 1 for every refuted claim and 3 for every inconclusive one, blessed or not.
    #[arg(long)]
    pub strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    Text,
    Json,
    /// A Snakefile with its profiles and jobs, into --out.
    Snakemake,
}

#[derive(Debug, Args)]
pub struct Plan {
    /// For people, for programs, or for Snakemake.
    #[arg(long, value_enum, default_value = "text")]
    pub format: PlanFormat,
    /// Folder for the Snakefile (--format snakemake needs it) or the figure of --simulate.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Also simulate clusters of 1 to 512 workers: how long, how idle.
    #[arg(long)]
    pub simulate: bool,
    /// Floating-point operations per second that a GPU is assumed to sustain, from which hours and time limits on a GPU are computed.
    #[arg(long, value_name = "RATE", default_value_t = 2e13)]
    pub device_flops: f64,
    /// Jobs estimated to be shorter than this are run in groups (snakemake).
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0)]
    pub group_below: f64,
    /// How often a job that failed or was stopped is tried again, from its checkpoint
    /// (snakemake).
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub retries: u32,
    /// The longest job that the cluster allows: a longer run is stopped there and goes on in
    /// the next job (snakemake).
    #[arg(long, value_name = "MINUTES", default_value_t = 525_600,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub time_limit: u32,
}

#[derive(Debug, Args)]
pub struct Run {
    /// A run key (or its first digits) of the store or of any profile (with the numerics of this
    /// device), a spec file, or -: a job as JSON on standard input, as `bgm plan` writes them.
    pub target: String,
    /// Save a checkpoint once this many seconds of work are unsaved, but never for more than
    /// a hundredth of the time; 0: at every step.
    #[arg(long, default_value_t = 5.0)]
    pub checkpoint_seconds: f64,
    /// Print progress as lines of JSON on standard output.
    #[arg(long)]
    pub progress_json: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Run keys (or their first digits), or experiments: all their runs, or those that --cell and
    /// --seed choose.
    #[arg(required_unless_present = "sample", conflicts_with = "sample")]
    pub targets: Vec<String>,
    /// Only the cells of an experiment with these levels: init=random,optimizer=vanilla.
    #[arg(long, value_name = "AXIS=LEVEL", value_delimiter = ',', conflicts_with = "sample")]
    pub cell: Vec<String>,
    /// Only this seed of an experiment's cells.
    #[arg(long, conflicts_with = "sample")]
    pub seed: Option<u64>,
    /// Draw this many runs of the profile's cells at random.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub sample: Option<u64>,
    /// Seed of the draw, which is printed: the same seed draws the same runs [default: a random
    /// one].
    #[arg(long, value_name = "SEED", requires = "sample", conflicts_with = "targets")]
    pub draw: Option<u64>,
    /// Records to compare with where the store lacks a run: a file, or a folder of such files
    /// [default: all files of EXPECTED/records].
    #[arg(long, value_name = "FILE|DIR")]
    pub records: Option<PathBuf>,
    /// Train in this store and keep it [default: a temporary folder]. Runs that are there already
    /// are compared as they are.
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// As in `bgm reproduce`.
    #[arg(long)]
    pub jobs: Option<usize>,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// For people or for programs.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Also write a JUnit file.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Exit 1 for every refuted claim and 3 for every inconclusive one, blessed or not.
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, Args)]
pub struct Report {
    /// Folder for tables, figures and report.html.
    #[arg(long, default_value = "reproduction")]
    pub out: PathBuf,
    /// Records (`bgm store export`) that stand in for runs that the store lacks: a file, or a
    /// folder of such files [default: all files of EXPECTED/records if the store has no run of the
    /// profile]. They do not come into the store.
    #[arg(long, value_name = "FILE|DIR")]
    pub records: Option<PathBuf>,
    /// Print the blessed verdicts as a Markdown table (for the README); needs no store.
    #[arg(long)]
    pub verdicts: bool,
}

#[derive(Debug, Args)]
pub struct Bless {
    /// Why the new values are right; recorded with them.
    #[arg(long)]
    pub reason: String,
    /// Write the file; without it, only the difference is shown.
    #[arg(long)]
    pub write: bool,
    /// Judge the claims again on the blessed values, without runs: for a changed claims.toml.
    #[arg(long)]
    pub verdicts_only: bool,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// The folder of a store, or a commit, whose program is built and runs the profile (choose a
    /// short one: --profile smoke), on --device and with its own seeds and tables; or a profile that
    /// has a reference: another implementation's, say, beside ours.
    pub a: String,
    /// The same, to compare with A.
    pub b: String,
}

#[derive(Debug, Args)]
pub struct Trace {
    /// A run key (or its first digits), or a spec file.
    pub target: String,
    /// Steps to trace.
    #[arg(long, default_value_t = 50)]
    pub steps: usize,
    /// Write down weights and optimizer every N steps too, for a replay that starts again from
    /// each of them.
    #[arg(long, value_name = "N")]
    pub states_every: Option<NonZeroUsize>,
    /// File to write.
    #[arg(long, default_value = "trace.safetensors")]
    pub out: PathBuf,
}
