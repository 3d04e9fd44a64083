//! The settings that `scorekeeper local` gives its handler, for commands that are told of no others: as on a ledger, what runs
//! below the working directory is meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use azure::tokens::{Identity, IdentityEndpoint};
use azure_core::credentials::Secret;

use super::reading::{LOCAL, is_configured};
use super::{Config, Problems, Source, Vars};

/// Their file in the data folder; an object of names and values.
const FILE: &str = "settings.json";
/// Beside it, the folder that stands for each datastore of the simulated workspace, by name.
#[cfg(any(feature = "dev", feature = "cli"))]
const DATASTORES: &str = "datastores.json";
/// Where its identity is asked.
const ENDPOINT: &str = "IDENTITY_ENDPOINT";
/// What lets whoever knows it in there. It has a file of its own, which nobody but its owner may read: commands that list what lies in the
/// inbox need it.
#[cfg(any(feature = "dev", test))]
const SECRET: &str = "IDENTITY_HEADER";
/// Name of the file with the secret, beside that of the settings.
const SECRET_FILE: &str = "identity.header";

/// Settings that a `scorekeeper local` has kept in its data folder, for commands that are run beside it.
pub(crate) struct LocalSettings<'a> {
    path: PathBuf,
    given: BTreeMap<String, String>,
    /// What lets commands in where the handler's identity is asked.
    secret: Option<Secret>,
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
    std::fs::write(data.join(FILE), serde_json::to_vec_pretty(&kept)?)?;
    match settings.iter().find(|(name, _)| *name == SECRET) {
        Some((_, secret)) => write_secret(&data.join(SECRET_FILE), secret),
        None => Ok(()),
    }
}

/// Writes a file anew that only its owner may read, before anything is in it.
#[cfg(feature = "dev")]
fn write_secret(path: &Path, secret: &str) -> std::io::Result<()> {
    use std::io::Write as _;

    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(secret.as_bytes())
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
        let secret = std::fs::read_to_string(path.with_file_name(SECRET_FILE)).ok().map(Secret::new);
        Some(Self { path, given, secret, process })
    }

    /// Reads them; each is shown as one of their file.
    pub(crate) fn config(&self, cwd: &Path) -> Result<Config, Problems> {
        let mut config = Config::read(self, cwd)?;
        for setting in &mut config.settings {
            if matches!(&setting.source, Source::Variable(name) if self.given.contains_key(name)) {
                setting.source = Source::File(self.path.clone());
            }
        }
        let endpoint = self.given.get(ENDPOINT).and_then(|url| url.parse().ok());
        if let Some((url, secret)) = endpoint.zip(self.secret.clone()) {
            config.identity = Identity::Endpoint(IdentityEndpoint { url, header: secret });
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
    fn a_locals_settings_are_known_unless_a_ledger_is_named_and_its_secret_lies_apart() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join(LOCAL);
        std::fs::create_dir(&data).unwrap();
        let rules =
            r#"{"rules":[{"id":"a","match":{"container":"con"},"endpoint":{"uri":"http://127.0.0.1:1/jobs"}}]}"#;
        let settings = [
            ("SCOREKEEPER_LEDGER", "embedded:/x"),
            ("SCOREKEEPER_RULES", rules),
            (ENDPOINT, "http://127.0.0.1:1/identity"),
            (SECRET, "opensesame"),
        ];
        write(&data, &settings.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
        // Also where one of an earlier run lies.
        write(&data, &settings.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
        assert!(!std::fs::read_to_string(data.join(FILE)).unwrap().contains("opensesame"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(data.join(SECRET_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "nobody else may read it");
        }

        let mut process = BTreeMap::from([("SCOREKEEPER_LOG".to_owned(), "debug".to_owned())]);
        let local = LocalSettings::below(folder.path(), &process).unwrap();
        let config = local.config(folder.path()).unwrap();
        let Identity::Endpoint(endpoint) = &config.identity else { panic!("{:?}", config.identity) };
        assert_eq!(endpoint.header.secret(), "opensesame", "commands get in");
        let source = |name: &str| config.settings.iter().find(|one| one.name == name).unwrap().source.clone();
        assert_eq!(source("SCOREKEEPER_LEDGER"), Source::File(data.join(FILE)));
        assert_eq!(source("SCOREKEEPER_LOG"), Source::Variable("SCOREKEEPER_LOG".to_owned()));
        assert!(LocalSettings::below(&data, &process).is_none(), "there is none below it");
        process.insert("AzureWebJobsStorage__accountName".to_owned(), "account".to_owned());
        assert!(LocalSettings::below(folder.path(), &process).is_none());
    }
}
