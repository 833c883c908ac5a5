//! `bgm data`: what there is, whether it is whole, and small parts of it.

use super::Failure;
use super::args::{Data, DataCommand, Global};
use crate::data::catalog::DATASETS;
use crate::data::{Catalog, subset};
use crate::verify::exit;

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
        DataCommand::Check { name } => {
            let info = catalog.info(name)?;
            let (train, test) = catalog.read(info)?;
            println!("{name}: {} training and {} test images, hashes match", train.len(), test.len());
            let (mean, std) = (info.mean, info.std);
            println!("mean {mean:?}, standard deviation {std:?} (training images, scale [0, 1])");
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
