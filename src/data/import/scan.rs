//! Which files an import takes: class folders, listed and checked before anything is decoded.

use super::Problems;
use crate::data::imported::MAX_CLASSES;
use crate::data::{DataError, files};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::FileType;
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
pub(super) fn scan(root: &Path, problems: &mut Problems) -> Result<ClassFolders, DataError> {
    let top = folders(root, problems)?;
    let split = |name: &&str| top.iter().any(|folder| folder == *name);
    match SPLITS.iter().filter(|name| split(name)).count() {
        0 => {
            let classes = class_names(root, top)?;
            let all = list(root, &classes, problems)?;
            Ok(ClassFolders { classes, splits: vec![all] })
        }
        2 if top.len() == 2 => {
            let [train, test] = SPLITS.map(|name| root.join(name));
            let classes = class_names(&train, folders(&train, problems)?)?;
            let others = class_names(&test, folders(&test, problems)?)?;
            same_classes(&train, &classes, &test, &others)?;
            let splits = vec![list(&train, &classes, problems)?, list(&test, &classes, problems)?];
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
    folder: &Path,
    classes: &[String],
    problems: &mut Problems,
) -> Result<Vec<Vec<PathBuf>>, DataError> {
    let images = |class: &String| images(&folder.join(class), problems);
    classes.iter().map(images).collect()
}

/// Names of the folders in a folder, sorted.
fn folders(folder: &Path, problems: &mut Problems) -> Result<Vec<OsString>, DataError> {
    let mut names = Vec::new();
    for (name, kind) in entries(folder, problems)? {
        let path = folder.join(&name);
        if kind.is_dir() {
            names.push(name);
        } else if !kind.is_file() {
            problems.add(&path, format!("is {}", files::describe(kind)));
        } else if is_image(&path) {
            problems.add(&path, "is an image outside of every class folder".to_owned());
        }
    }
    Ok(names)
}

/// The images of one class folder, sorted by name: every entry that is not hidden.
fn images(folder: &Path, problems: &mut Problems) -> Result<Vec<PathBuf>, DataError> {
    let mut images = Vec::new();
    let (entries, before) = (entries(folder, problems)?, problems.count());
    for (name, kind) in entries {
        let path = folder.join(name);
        if !kind.is_file() {
            problems.add(&path, format!("is {}, not an image file", files::describe(kind)));
        } else if !is_image(&path) {
            problems.add(&path, "does not end in .png, .jpg or .jpeg".to_owned());
        } else {
            images.push(path);
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

/// What a folder holds besides hidden entries, sorted by name; links are followed.
fn entries(folder: &Path, problems: &mut Problems) -> Result<Vec<(OsString, FileType)>, DataError> {
    let io = |e| DataError::io(folder, e, "give a folder of class folders or a .tar.gz of one");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        match std::fs::metadata(entry.path()) {
            Ok(metadata) => found.push((name, metadata.file_type())),
            Err(e) if entry.file_type().is_ok_and(|kind| kind.is_symlink()) => {
                problems.add(&entry.path(), format!("is a link that leads nowhere ({e})"));
            }
            Err(e) => problems.add(&entry.path(), e.to_string()),
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}
