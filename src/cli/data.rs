//! `bgm data`: what there is, whether it is whole, and small parts of it.

use super::args::{Data, DataCommand, Global};
use super::{Failure, signals};
use crate::data::catalog::DATASETS;
use crate::data::fetch::{self, FetchOptions};
use crate::data::progress::Progress;
use crate::data::{Catalog, check, prepare, subset};
use crate::schedule::worker::INTERRUPTED;
use crate::verify::exit;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often a line of progress is written.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Lets signals stop the work where it can be gone on with.
fn watch_signals() -> Result<(), Failure> {
    signals::set(&INTERRUPTED)
}

/// Writes a line now and then, and breaks off once the user wants to stop.
fn reporter(quiet: bool) -> impl FnMut(Progress) -> ControlFlow<()> {
    let mut last = Instant::now();
    move |progress| {
        if !quiet && last.elapsed() >= LINE_EVERY {
            last = Instant::now();
            let total = progress.total.map_or(String::new(), |total| format!(" of {total}"));
            eprintln!("{:?}: {}{total}", progress.step, progress.done);
        }
        let stop = INTERRUPTED.load(Ordering::SeqCst);
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

pub fn data(global: &Global, options: &Data) -> Result<u8, Failure> {
    let catalog = Catalog::new(&global.data);
    match &options.command {
        DataCommand::List => {
            for info in DATASETS {
                let place = catalog.folder(info);
                let place = place.map_or("not installed".to_owned(), |p| p.display().to_string());
                println!("{:<22} {place}\n{:22} {}", info.name, "", info.origin);
            }
        }
        DataCommand::Fetch { name, url } => {
            let info = catalog.info(name)?;
            let proxy = ["https_proxy", "HTTPS_PROXY"].iter().find_map(|n| std::env::var(n).ok());
            let options = FetchOptions { url: url.clone(), proxy, ..FetchOptions::default() };
            watch_signals()?;
            fetch::fetch(info, catalog.root(), &options, &mut reporter(global.quiet))?;
            prepare::prepare(info, catalog.root(), &mut reporter(global.quiet))?;
            println!("{name} is ready");
        }
        DataCommand::Prepare { name } => {
            watch_signals()?;
            let info = catalog.info(name)?;
            prepare::prepare(info, catalog.root(), &mut reporter(global.quiet))?;
            println!("{name} is ready");
        }
        DataCommand::Check { name } => {
            let info = catalog.info(name)?;
            let checked = check::check(info, catalog.root(), &mut reporter(global.quiet))?;
            for (label, split) in [("training", &checked.train), ("test", &checked.test)] {
                println!(
                    "{label}: {} images, mean {:?}, standard deviation {:?} (scale [0, 1])",
                    split.len(),
                    split.stats.mean(),
                    split.stats.std()
                );
            }
            println!("declared: mean {:?}, standard deviation {:?}", info.mean, info.std);
            println!("{name}: every hash matches");
        }
        DataCommand::Subset { from, train, test, seed, out } => {
            let info = catalog.info(from)?;
            let (all_train, all_test) = catalog.read(info)?;
            let train = subset::balanced(&all_train, info.classes, *train, (*seed, 0))?;
            let test = subset::balanced(&all_test, info.classes, *test, (*seed, 1))?;
            let origin = format!(
                "bgm data subset --from {from} --train {} --test {} --seed {seed}",
                train.len(),
                test.len()
            );
            let manifest = subset::write(out, &train, &test, &origin)?;
            println!("{} files in {}", manifest.file.len(), out.display());
        }
    }
    Ok(exit::AS_BLESSED)
}
