//! The settings that `scorekeeper local` gives its handler, for commands that are told of no others: as on a ledger, what runs
//! below the working directory is meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::reading::{LOCAL, is_configured};
use super::{Config, Problems, Source, Vars};

/// Their file in the data folder; an object of names and values.
const FILE: &str = "settings.json";
/// Beside it, the folder that stands for each datastore of the simulated workspace, by name.
#[cfg(any(feature = "dev", feature = "cli"))]
const DATASTORES: &str = "datastores.json";
/// What lets whoever knows it in: it is in no file.
#[cfg(feature = "dev")]
const SECRET: &str = "IDENTITY_HEADER";

/// Settings of a `local`.
pub(crate) struct LocalSettings<'a> {
    path: PathBuf,
    given: BTreeMap<String, String>,
    process: &'a dyn Vars,
}

/// Keeps the settings of a `local` in its data folder.
#[cfg(feature = "dev")]
pub(crate) fn write(data: &Path, settings: &[(String, String)]) -> std::io::Result<()> {
    let kept: BTreeMap<&str, &str> = settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| *name != SECRET)
        .collect();
    std::fs::write(data.join(FILE), serde_json::to_vec_pretty(&kept)?)
}

/// Keeps which folder stands for which datastore in the data folder of a `local`.
#[cfg(feature = "dev")]
pub(crate) fn write_datastores<'a>(
    data: &Path,
    datastores: impl Iterator<Item = (&'a str, &'a Path)>,
) -> std::io::Result<()> {
    let folders: BTreeMap<String, &Path> =
        datastores.map(|(name, folder)| (name.to_ascii_lowercase(), folder)).collect();
    std::fs::write(data.join(DATASTORES), serde_json::to_vec_pretty(&folders)?)
}

/// The folders that stand for datastores, where the ledger in this folder is that of a `local`.
#[cfg(feature = "cli")]
pub(crate) fn datastores(ledger: &Path) -> Option<BTreeMap<String, PathBuf>> {
    serde_json::from_slice(&std::fs::read(ledger.parent()?.join(DATASTORES)).ok()?).ok()
}

impl<'a> LocalSettings<'a> {
    /// Those below `cwd`; none if the environment names a ledger, or there is no `local`.
    pub(crate) fn below(cwd: &Path, process: &'a dyn Vars) -> Option<Self> {
        if is_configured(process) {
            return None;
        }
        let path = cwd.join(LOCAL).join(FILE);
        // What cannot be read says nothing of what is meant.
        let given = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        Some(Self { path, given, process })
    }

    /// Reads them; each is shown as one of their file.
    pub(crate) fn config(&self, cwd: &Path) -> Result<Config, Problems> {
        let mut config = Config::read(self, cwd)?;
        for setting in &mut config.settings {
            if matches!(&setting.source, Source::Variable(name) if self.given.contains_key(name)) {
                setting.source = Source::File(self.path.clone());
            }
        }
        Ok(config)
    }
}

impl Vars for LocalSettings<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.given.get(name).cloned().or_else(|| self.process.get(name))
    }

    fn names(&self) -> Vec<String> {
        self.given.keys().cloned().chain(self.process.names()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_a_local_are_shown_unless_the_environment_names_a_ledger_and_hold_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join(LOCAL);
        std::fs::create_dir(&data).unwrap();
        let rules =
            r#"{"rules":[{"id":"a","match":{"container":"con"},"endpoint":{"uri":"http://127.0.0.1:1/jobs"}}]}"#;
        let settings = [("SCOREKEEPER_LEDGER", "embedded:/x"), ("SCOREKEEPER_RULES", rules), (SECRET, "opensesame")];
        write(&data, &settings.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
        assert!(!std::fs::read_to_string(data.join(FILE)).unwrap().contains("opensesame"));

        let mut process = BTreeMap::from([("SCOREKEEPER_LOG".to_owned(), "debug".to_owned())]);
        let local = LocalSettings::below(folder.path(), &process).unwrap();
        let config = local.config(folder.path()).unwrap();
        let source = |name: &str| config.settings.iter().find(|one| one.name == name).unwrap().source.clone();
        assert_eq!(source("SCOREKEEPER_LEDGER"), Source::File(data.join(FILE)));
        assert_eq!(source("SCOREKEEPER_LOG"), Source::Variable("SCOREKEEPER_LOG".to_owned()));
        assert!(LocalSettings::below(&data, &process).is_none(), "there is none below it");
        process.insert("AzureWebJobsStorage__accountName".to_owned(), "account".to_owned());
        assert!(LocalSettings::below(folder.path(), &process).is_none());
    }
}
