//! Which folders a command works with: those given, those of a checkout, or what is compiled in.

use super::CliError;
use super::args::{DATA, EXPECTED, Global, TABLES};
use super::terminal::note;
use crate::data::Catalog;
use crate::embedded::cache;
use std::path::Path;

impl Global {
    /// Replaces the default folders of declarations and references by what is compiled in,
    /// where they are not there.
    ///
    /// # Errors
    /// If the embedded files cannot be written to the cache.
    pub fn find_folders(&mut self) -> Result<(), CliError> {
        let absent = |folder: &Path, name: &str| {
            folder == Path::new(name) && !folder.exists() && self.embedded.has(name)
        };
        let (tables, expected) = (absent(&self.tables, TABLES), absent(&self.expected, EXPECTED));
        if !tables && !expected {
            return Ok(());
        }
        let unpacked = self.unpacked()?.to_owned();
        let mut named = Vec::new();
        if tables {
            named.push("declarations");
            self.tables = unpacked.join(TABLES);
        }
        if expected {
            named.push("references");
            self.expected = unpacked.join(EXPECTED);
        }
        if !self.quiet {
            let named = named.join(" and ");
            note!("using the program's own {named} (in {})", unpacked.display());
        }
        Ok(())
    }

    /// The data sets: below `--data`, and, where that is the default folder, what is compiled in.
    ///
    /// # Errors
    /// If the embedded files cannot be written to the cache.
    pub fn catalog(&self) -> Result<Catalog, CliError> {
        let catalog = Catalog::new(&self.data);
        let mut names = self.embedded.below(DATA);
        let lacks_one = names.any(|name| !self.data.join(name).is_dir());
        if self.data != Path::new(DATA) || !lacks_one {
            return Ok(catalog);
        }
        Ok(catalog.or_below(self.unpacked()?.join(DATA)))
    }

    /// Whether the references are the program's own, which nothing is written to.
    pub fn has_own_references(&self) -> bool {
        self.expected.starts_with(cache(|name| std::env::var_os(name)))
    }

    /// What is compiled in, written to the cache the first time that it is asked for.
    fn unpacked(&self) -> Result<&Path, CliError> {
        if let Some(folder) = self.unpacked.get() {
            return Ok(folder);
        }
        let cache = cache(|name| std::env::var_os(name));
        let folder = self.embedded.unpack(&cache).map_err(|e| {
            let hint = "the program's own files go there; set XDG_CACHE_HOME, or give --tables, \
                        --expected and --data";
            CliError::Environment(format!("{}: {e}; {hint}", cache.display()))
        })?;
        Ok(self.unpacked.get_or_init(|| folder))
    }
}
