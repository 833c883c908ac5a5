//! Which files an import takes: class folders, listed and checked before anything is decoded.

use super::Problems;
use super::source::{Kind, Source};
use crate::data::DataError;
use crate::data::imported::MAX_CLASSES;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The image files below a folder.
pub(super) struct ClassFolders {
    /// Names of the classes, sorted by byte.
    pub classes: Vec<String>,
    /// Files sorted by name, a list for each class: of the training and the test images, or of
    /// all images where the folder is not split.
    pub splits: Vec<Vec<Vec<PathBuf>>>,
}

/// Names of the split folders.
const SPLITS: [&str; 2] = ["train", "test"];

/// Lists `<root>/train/<class>` and `<root>/test/<class>`, or `<root>/<class>`. Hidden entries
/// and plain files beside class folders that are no images (a README) are passed over; anything
/// else that cannot be imported goes to `problems`.
///
/// # Errors
/// If the folders are not laid out like that.
pub(super) fn scan(source: &Source, problems: &mut Problems) -> Result<ClassFolders, DataError> {
    let root = source.root();
    let top = folders(source, root, problems)?;
    let split = |name: &&str| top.iter().any(|folder| folder == *name);
    match SPLITS.iter().filter(|name| split(name)).count() {
        0 => {
            let classes = class_names(root, top)?;
            let all = list(source, root, &classes, problems)?;
            Ok(ClassFolders { classes, splits: vec![all] })
        }
        2 if top.len() == 2 => {
            let [train, test] = SPLITS.map(|name| root.join(name));
            let classes = class_names(&train, folders(source, &train, problems)?)?;
            let others = class_names(&test, folders(source, &test, problems)?)?;
            same_classes(&train, &classes, &test, &others)?;
            let splits = vec![
                list(source, &train, &classes, problems)?,
                list(source, &test, &classes, problems)?,
            ];
            Ok(ClassFolders { classes, splits })
        }
        2 => {
            let extra = top.iter().find(|name| SPLITS.iter().all(|split| name != split));
            let problem = format!("holds {:?} beside train and test", extra.unwrap_or(&top[0]));
            Err(DataError::format(root, problem))
        }
        _ => Err(DataError::format(
            root,
            "has one of the folders train and test; it must have both, or class folders alone",
        )),
    }
}

fn same_classes(
    train: &Path,
    classes: &[String],
    test: &Path,
    others: &[String],
) -> Result<(), DataError> {
    let [a, b] = [classes, others].map(|names| names.iter().collect::<BTreeSet<_>>());
    for (folder, missing) in [(test, a.difference(&b).next()), (train, b.difference(&a).next())] {
        if let Some(name) = missing {
            return Err(DataError::format(folder, format!("has no folder for class {name:?}")));
        }
    }
    Ok(())
}

/// Checks names of class folders.
fn class_names(folder: &Path, names: Vec<OsString>) -> Result<Vec<String>, DataError> {
    if !(2..=MAX_CLASSES).contains(&names.len()) {
        let problem = format!(
            "holds {} class folders; there must be 2 to {MAX_CLASSES} (one folder a class, with \
             its images, or folders train and test with such folders)",
            names.len()
        );
        return Err(DataError::format(folder, problem));
    }
    let check = |name: OsString| match name.into_string() {
        Ok(name) if !name.contains(char::is_control) => Ok(name),
        Ok(name) => Err(format!("holds the folder {name:?}: rename it without control characters")),
        Err(name) => Err(format!("holds the folder {name:?}: rename it in UTF-8")),
    };
    let checked = names.into_iter().map(check).collect::<Result<_, _>>();
    checked.map_err(|problem| DataError::format(folder, problem))
}

/// The files of every class.
fn list(
    source: &Source,
    folder: &Path,
    classes: &[String],
    problems: &mut Problems,
) -> Result<Vec<Vec<PathBuf>>, DataError> {
    let images = |class: &String| images(source, &folder.join(class), problems);
    classes.iter().map(images).collect()
}

/// Names of the folders in a folder, sorted.
fn folders(
    source: &Source,
    folder: &Path,
    problems: &mut Problems,
) -> Result<Vec<OsString>, DataError> {
    let mut names = Vec::new();
    for (name, kind) in source.entries(folder, problems)? {
        let path = folder.join(&name);
        match kind {
            Kind::Folder => names.push(name),
            Kind::Other(what) => problems.add(&path, format!("is {what}")),
            Kind::File if is_image(&path) => {
                problems.add(&path, "is an image outside of every class folder".to_owned());
            }
            Kind::File => {}
        }
    }
    Ok(names)
}

/// The images of one class folder, sorted by name: every entry that is not hidden.
fn images(
    source: &Source,
    folder: &Path,
    problems: &mut Problems,
) -> Result<Vec<PathBuf>, DataError> {
    let mut images = Vec::new();
    let (entries, before) = (source.entries(folder, problems)?, problems.count());
    for (name, kind) in entries {
        let path = folder.join(name);
        match kind {
            Kind::Folder => problems.add(&path, "is a directory, not an image file".to_owned()),
            Kind::Other(what) => problems.add(&path, format!("is {what}, not an image file")),
            Kind::File if is_image(&path) => images.push(path),
            Kind::File => problems.add(&path, "does not end in .png, .jpg or .jpeg".to_owned()),
        }
    }
    if images.is_empty() && problems.count() == before {
        problems.add(folder, "is a class folder without an image".to_owned());
    }
    Ok(images)
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}
