//! Where data sets are looked for, and how they are read.

use super::manifest::Manifest;
use super::normalize::Normalization;
use super::prepared::{self, PreparedManifest};
use super::published::{DATASETS, DatasetInfo, Format, IDX_FILES};
use super::{DataError, ImageSet, idx, imported};
use crate::spec::{DataSpec, RunSpec};
use std::path::{Path, PathBuf};

/// The data sets below one folder.
#[derive(Clone, Debug)]
pub struct Catalog {
    root: PathBuf,
    fallback: Option<PathBuf>,
}

impl Catalog {
    /// The data sets below `root` (`data/` of the repository).
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Catalog { root: root.into(), fallback: None }
    }

    /// Also looks below `fallback`, for data sets that are not below the root.
    #[must_use]
    pub fn or_below(self, fallback: PathBuf) -> Self {
        Catalog { fallback: Some(fallback), ..self }
    }

    /// Where the files of the data set `name` are, or would be.
    fn place(&self, name: &str) -> PathBuf {
        let own = self.root.join(name);
        let fallback = self.fallback.as_ref().map(|fallback| fallback.join(name));
        fallback.filter(|path| path.is_dir() && !own.is_dir()).unwrap_or(own)
    }

    /// The folder that data sets are below.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is known of the data set called `name`, from the program or from its import.
    ///
    /// # Errors
    /// If there is none of that name, or the manifest of an imported one is malformed.
    pub fn info(&self, name: &str) -> Result<DatasetInfo, DataError> {
        if let Some(info) = DATASETS.iter().find(|info| info.name == name) {
            return Ok(info.clone());
        }
        let unknown = || DataError::Unknown(name.to_owned());
        imported::check_name(name).map_err(|_| unknown())?;
        let folder = self.root.join(name);
        if !folder.join(prepared::FOLDER).is_dir() {
            return Err(unknown());
        }
        let manifest = PreparedManifest::read(&folder)?;
        manifest.imported.ok_or_else(unknown).map(|imported| imported.info(name))
    }

    /// Names of the data sets below the root that were imported and are not among
    /// [`DATASETS`], sorted.
    pub fn imported(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.root) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let is_imported = |name: &String| {
            imported::check_name(name).is_ok()
                && !DATASETS.iter().any(|info| info.name == *name)
                && self.root.join(name).join(prepared::FOLDER).is_dir()
        };
        let mut names: Vec<String> = names.filter(is_imported).collect();
        names.sort();
        names
    }

    /// The folder with the files of a data set, if it is installed.
    pub fn folder(&self, info: &DatasetInfo) -> Option<PathBuf> {
        let own = self.place(&info.name);
        let elsewhere = info.elsewhere.map(Path::new);
        [Some(own.as_path()), elsewhere]
            .into_iter()
            .flatten()
            .find(|p| p.is_dir())
            .map(Path::to_owned)
    }

    /// Whether the files that a data set is read from are all in its folder.
    pub fn is_whole(&self, info: &DatasetInfo, folder: &Path) -> bool {
        match info.format {
            Format::Idx => IDX_FILES.iter().all(|file| folder.join(file).is_file()),
            _ => PreparedManifest::exists(folder),
        }
    }

    /// Hashes of the files that a data set is read from: pinned, or from the manifest beside them.
    ///
    /// # Errors
    /// If the manifest is missing or malformed.
    pub fn manifest(&self, info: &DatasetInfo) -> Result<Manifest, DataError> {
        let folder = self.place(&info.name);
        if info.format != Format::Idx {
            let prepared = PreparedManifest::read(&folder)?;
            return Ok(Manifest { origin: prepared.source, file: prepared.file });
        }
        if info.pinned.is_empty() {
            return Manifest::read(&folder.join("manifest.toml"));
        }
        let entry = |&(path, sha256): &(&str, &str)| super::manifest::FileEntry {
            path: path.to_owned(),
            bytes: 0,
            sha256: sha256.to_owned(),
        };
        Ok(Manifest { origin: String::new(), file: info.pinned.iter().map(entry).collect() })
    }

    /// The hash of the images and labels of a run's data, for its key. Every file is checked
    /// against it when it is read, so that the key names what was read and nothing else.
    ///
    /// # Errors
    /// If the data set is unknown or its manifest unreadable.
    pub fn content_hash(&self, spec: &RunSpec) -> Result<String, DataError> {
        match &spec.data {
            DataSpec::Toy(_) => Ok("generated from the spec".to_owned()),
            DataSpec::Images(images) => self.hash_of(&self.info(&images.dataset)?),
        }
    }

    /// As [`Catalog::content_hash`], of a data set.
    ///
    /// Runs on a data set whose hash is not pinned and which has not been prepared here can be
    /// planned, under provisional keys; none can be trained.
    ///
    /// # Errors
    /// If its manifest is malformed, or missing from a data set that is installed.
    pub fn hash_of(&self, info: &DatasetInfo) -> Result<String, DataError> {
        if let Some(pinned) = info.content {
            return Ok(pinned.to_owned());
        }
        if self.is_provisional(info) {
            return Ok(format!("{} has not been prepared here", info.name));
        }
        Ok(self.manifest(info)?.content_hash())
    }

    /// Whether the hash of a data set is not known here.
    fn is_provisional(&self, info: &DatasetInfo) -> bool {
        let folder = self.root.join(&*info.name);
        info.content.is_none() && info.format != Format::Idx && !PreparedManifest::exists(&folder)
    }

    /// Whether the hashes of a run's data, and of the data of the runs before it, are known here,
    /// so that its key is the one that it has wherever it is made.
    pub fn knows_data_of(&self, spec: &RunSpec) -> bool {
        std::iter::successors(Some(spec), |spec| spec.parent()).all(|spec| match &spec.data {
            DataSpec::Toy(_) => true,
            DataSpec::Images(images) => {
                self.info(&images.dataset).is_ok_and(|info| !self.is_provisional(&info))
            }
        })
    }

    /// Training and test images, whole, their files checked against their hashes. Sets other
    /// than IDX must have been prepared, and are mapped: see [`prepared::open`].
    ///
    /// # Errors
    /// If a file is missing, differs from its hash, or is malformed.
    pub fn read(&self, info: &DatasetInfo) -> Result<(ImageSet, ImageSet), DataError> {
        let missing = || {
            let hint = match info.archive {
                Some(_) => format!("run `bgm data fetch {}`", info.name),
                None => format!("install it first: {}", info.origin),
            };
            let nowhere = std::io::Error::from(std::io::ErrorKind::NotFound);
            DataError::io(&self.root.join(&*info.name), nowhere, &hint)
        };
        let folder = self.folder(info).ok_or_else(missing)?;
        if info.format != Format::Idx {
            return self.read_prepared(info, &folder);
        }
        self.manifest(info)?.check(&folder)?;
        let [train, train_labels, test, test_labels] = IDX_FILES.map(|f| folder.join(f));
        Ok((
            idx::read_set(&train, &train_labels, info.classes)?,
            idx::read_set(&test, &test_labels, info.classes)?,
        ))
    }

    fn read_prepared(
        &self,
        info: &DatasetInfo,
        folder: &Path,
    ) -> Result<(ImageSet, ImageSet), DataError> {
        let manifest = PreparedManifest::read(folder)?;
        manifest.check_source(info, folder)?;
        let open = |index: usize| {
            let (set, header) = prepared::open(folder, &manifest.file[index])?;
            let count = info.counts.map_or(header.count, |counts| counts[index]);
            if (header.count, header.classes, header.shape) != (count, info.classes, info.shape) {
                let [is, expected] = [header.shape, info.shape]
                    .map(|shape| format!("{}x{}x{}", shape.channels, shape.height, shape.width));
                let problem = format!(
                    "has {} images of {} classes, not {count} of {}; of shape {is}, not {expected}",
                    header.count, header.classes, info.classes
                );
                return Err(DataError::format(&folder.join(prepared::FILES[index]), problem));
            }
            if let (0, Some(imported)) = (index, &manifest.imported)
                && (imported.mean != header.stats.mean() || imported.std != header.stats.std())
            {
                let problem = "has an imported.mean or imported.std that is not that of the \
                               training images";
                return Err(DataError::format(&folder.join(prepared::FOLDER), problem));
            }
            Ok(set)
        };
        Ok((open(0)?, open(1)?))
    }

    /// How 8-bit values of a data set become inputs: the pinned constants, or those measured
    /// over all training images.
    ///
    /// # Errors
    /// If they are to be measured and the set is not prepared.
    pub fn normalization(&self, info: &DatasetInfo) -> Result<Normalization, DataError> {
        if !info.mean.is_empty() {
            return Ok(Normalization::new(info.mean, info.std));
        }
        let folder = self.root.join(&*info.name);
        let manifest = PreparedManifest::read(&folder)?;
        let (_, header) = prepared::open(&folder, &manifest.file[0])?;
        let (mean, std) = (header.stats.mean(), header.stats.std());
        if let Some(channel) = std.iter().position(|&deviation| deviation == 0.0) {
            let problem = format!("channel {channel} has the same value everywhere");
            return Err(DataError::format(&folder, problem));
        }
        Ok(Normalization::new(&mean, &std))
    }
}
