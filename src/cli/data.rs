//! `bgm data`: what there is, whether it is whole, and small parts of it.

use super::args::{Data, DataCommand, Global};
use super::{CliError, data_progress as progress, signals};
use crate::cli::terminal::output;
use crate::data::fetch::{self, FetchOptions};
use crate::data::import::{self, ImportOptions};
use crate::data::prepared::PreparedManifest;
use crate::data::published::DATASETS;
use crate::data::{check, prepare, subset};
use crate::verify::exit;

pub fn data(global: &Global, options: &Data) -> Result<u8, CliError> {
    let catalog = global.catalog()?;
    let reporter = || progress::reporter(global.quiet);
    match &options.command {
        DataCommand::List => {
            let known = DATASETS.iter().map(|info| info.name.clone().into_owned());
            for name in known.chain(catalog.imported()) {
                let line =
                    |place: &str, origin: &str| output!("{name:<22} {place}\n{:22} {origin}", "");
                match catalog.info(&name) {
                    Ok(info) => {
                        let place = match catalog.folder(&info) {
                            Some(folder) if catalog.is_whole(&info, &folder) => {
                                folder.display().to_string()
                            }
                            Some(folder) => format!("incomplete: {}", folder.display()),
                            None => "not installed".to_owned(),
                        };
                        line(&place, &info.origin);
                    }
                    Err(e) => line("damaged", &e.to_string()),
                }
            }
        }
        DataCommand::Fetch { name, url } => {
            let info = catalog.info(name)?;
            let proxy = ["https_proxy", "HTTPS_PROXY"].iter().find_map(|name| {
                // An empty one says that there is to be none.
                std::env::var(name).ok().filter(|proxy| !proxy.is_empty())
            });
            let options = FetchOptions { url: url.clone(), proxy, ..FetchOptions::default() };
            signals::set_flag()?;
            fetch::fetch(&info, catalog.root(), &options, &mut reporter())?;
            prepare::prepare(&info, catalog.root(), &mut reporter())?;
            output!("{name} is ready");
        }
        DataCommand::Prepare { name } => {
            signals::set_flag()?;
            let info = catalog.info(name)?;
            prepare::prepare(&info, catalog.root(), &mut reporter())?;
            output!("{name} is ready");
        }
        DataCommand::Import { name, from, side, channels, test_percent, seed, licence } => {
            signals::set_flag()?;
            let options = ImportOptions {
                side: *side,
                channels: *channels,
                test_percent: *test_percent,
                seed: *seed,
                licence: licence.clone(),
            };
            let mut report = reporter();
            let manifest = import::import(catalog.root(), name, from, &options, &mut report)?;
            drop(report);
            describe(name, &manifest);
        }
        DataCommand::Check { name } => {
            signals::set_flag()?;
            let info = catalog.info(name)?;
            let checked = check::check(&info, &catalog, &mut reporter())?;
            for (label, split) in [("training", &checked.train), ("test", &checked.test)] {
                output!(
                    "{label}: {} images, mean {:?}, standard deviation {:?} (scale [0, 1])",
                    split.len(),
                    split.stats.mean(),
                    split.stats.std()
                );
            }
            if info.mean.is_empty() {
                output!("inputs are normalized by the mean and deviation of the training images");
            } else {
                output!("declared: mean {:?}, standard deviation {:?}", info.mean, info.std);
            }
            output!("content hash {}", catalog.hash_of(&info)?);
            let archive = checked.archive.as_ref();
            output!(
                "{name}: every hash matches (both splits, {} unpacked files, {})",
                checked.unpacked,
                archive.map_or("no archive".to_owned(), |hash| format!("archive {hash}"))
            );
        }
        DataCommand::Subset { from, train, test, seed, out } => {
            let info = catalog.info(from)?;
            let (all_train, all_test) = catalog.read(&info)?;
            let train = subset::balanced(&all_train, info.classes, *train, (*seed, 0))?;
            let test = subset::balanced(&all_test, info.classes, *test, (*seed, 1))?;
            let origin = format!(
                "bgm data subset --from {from} --train {} --test {} --seed {seed}",
                train.len(),
                test.len()
            );
            let manifest = subset::write(out, &train, &test, &origin)?;
            output!("{} files in {}", manifest.file.len(), out.display());
        }
    }
    Ok(exit::SUCCESS)
}

/// Prints what an import is made of.
fn describe(name: &str, manifest: &PreparedManifest) {
    if let Some(imported) = &manifest.imported {
        let [channels, height, width] = imported.shape;
        output!(
            "{name}: {} training and {} test images of {} classes, {channels} channels, \
             {height}x{width} pixels",
            imported.images[0],
            imported.images[1],
            imported.classes.len()
        );
        output!("mean {:?}, standard deviation {:?}", imported.mean, imported.std);
        for (count, what) in [
            (imported.grey_images, "grey images, repeated in three channels"),
            (imported.cmyk_images, "CMYK images, converted without a colour profile"),
            (imported.turned_images, "images with an EXIF orientation, which was not applied"),
        ] {
            if count > 0 {
                output!("{what}: {count}");
            }
        }
    }
    output!("content hash {}\n{name} is ready", manifest.content_hash());
}
