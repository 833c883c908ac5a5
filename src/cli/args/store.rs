//! Arguments of `bgm store`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Store {
    #[command(subcommand)]
    pub command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Write all finished runs without their weights, as records, to one compressed file.
    ///
    /// A record holds a run's spec, metrics, measurements, environment, and the hashes of all
    /// its files: verify, report and diff read it like any other run. Whatever needs the
    /// weights trains the run again. Exit codes: 0 all is in the file; 3 there is no
    /// run to export, and nothing was written; 4 damaged runs, which are named and left out.
    Export {
        /// File to write, or a folder to write records.tar.gz to.
        #[arg(long, value_name = "FILE|DIR", default_value = "records.tar.gz")]
        out: PathBuf,
        /// Only the runs that the profile needs (with --only: those experiments), instead of all.
        #[arg(long)]
        needed: bool,
        /// Leave out the runs that these files of records hold with all their measurements.
        #[arg(long, value_name = "FILE", num_args = 1..)]
        without: Vec<PathBuf>,
    },
    /// Bring the finished runs of other stores, and their measurements, into this one.
    ///
    /// Every file is checked against its hash on the way; what is there already is left alone.
    /// Exit codes: 0 all is there; 1 a run (or a measurement) is in both stores with different
    /// results, which are named and left as they are; 3 runs are being worked on by other
    /// processes, call again; 4 damaged runs, which are named and left. Of several, 1 comes
    /// before 4 before 3. Everything else is merged in any case.
    Merge {
        /// Folders of stores, or files of `bgm store export`, to take from; nothing in them is
        /// changed.
        #[arg(required = true)]
        from: Vec<PathBuf>,
        /// Store to bring them into, instead of --store.
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
    },
    /// List, or with --yes remove, what no declaration needs any more.
    ///
    /// Needed is every run that a profile of --tables (or of a folder in it) plans, with any seed
    /// and by any numerics, the runs before it and its measurements. What goes: finished and
    /// unfinished runs and measurements of anything else, of other data or of an older version,
    /// and damaged runs that were set aside. Exit codes: 0 done, or listed; 3 runs are being
    /// worked on by other processes, and were left alone.
    Prune(Prune),
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Remove what is listed.
    #[arg(long)]
    pub yes: bool,
    /// Also remove runs made with other numerics than this machine's, such as a GPU's.
    #[arg(long)]
    pub other_numerics: bool,
}
