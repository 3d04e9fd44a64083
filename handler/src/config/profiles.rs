//! Profiles: names for ledgers, so that whoever works with several of them need not spell out where each lies.
//!
//! They lie in one file of whoever is signed in on this machine, and say where a ledger is and what its task hub is called. How to
//! be let in is no part of it: that is whoever is signed in, and no secret is ever in the file.
//!
//! A profile that the command line names (`--profile`) comes before the environment, as all that the command line names; one that
//! the environment names (`SCOREKEEPER_PROFILE`) behind a ledger that the environment names itself. It is taken whole: the ledger of
//! one place is never read under the task hub of another.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::problems::Refused;
use super::reading::is_configured;
use super::{Config, LedgerSettings, Problem, Problems, Source, Vars, WhichLedger};

/// Names the profile where no command line does.
pub(super) const VARIABLE: &str = "SCOREKEEPER_PROFILE";
const FILE: &str = "profiles.json";
const MAX_NAME: usize = 32;

/// A ledger as a profile names it; this is what the file of profiles holds of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Profile {
    /// As `--ledger` takes it; a folder by its whole path.
    pub(crate) ledger: String,
    /// The prefix of its tables.
    pub(crate) task_hub: String,
}

/// The profiles of whoever is signed in on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profiles {
    path: PathBuf,
    profiles: BTreeMap<String, Profile>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    profiles: BTreeMap<String, Profile>,
}

/// Why profiles cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The environment does not say where settings are kept.
    #[error("nothing says where settings are kept; set HOME (on Windows APPDATA), or XDG_CONFIG_HOME")]
    NoPlace,
    /// Their file cannot be read.
    #[error("the profiles `{}` cannot be read; correct the file, or remove it", .path.display())]
    Unreadable {
        /// The file of profiles, which is each user's own.
        path: PathBuf,
        /// What the system or the JSON reader says of it.
        #[source]
        source: io::Error,
    },
    /// Their file cannot be written.
    #[error("the profiles `{}` cannot be written", .path.display())]
    Unwritable {
        /// The file of profiles, which is each user's own.
        path: PathBuf,
        /// What the system answered when it was written.
        #[source]
        source: io::Error,
    },
    /// There is none of this name.
    #[error("there is no profile `{name}`; {known}")]
    NoSuch {
        /// The name that was asked for.
        name: String,
        /// A phrase with the names that there are, or that there is none.
        known: String,
    },
    /// There is one of this name, for another ledger.
    #[error("the profile `{name}` is {ledger} already; remove it first, or add --replace")]
    Taken {
        /// The name that was to be given.
        name: String,
        /// The ledger that has this name already.
        ledger: String,
    },
    /// The text cannot be a profile's name.
    #[error("`{0}` is no name of a profile: 1 to {MAX_NAME} letters, digits, `-` and `_`")]
    Name(String),
    /// What it would name is no ledger.
    #[error(transparent)]
    Ledger(#[from] Problems),
}

impl Profiles {
    /// Reads them; where there is no file, there are none.
    pub(crate) fn read(vars: &dyn Vars) -> Result<Self, Error> {
        let path = folder(vars).ok_or(Error::NoPlace)?.join(FILE);
        let unreadable = |source| Error::Unreadable { path: path.clone(), source };
        let profiles = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice::<File>(&text).map_err(|why| unreadable(why.into()))?.profiles,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(unreadable(error)),
        };
        Ok(Self { path, profiles })
    }

    /// Path of the file that the profiles are kept in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All profiles, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.profiles.iter().map(|(name, profile)| (name.as_str(), profile))
    }

    /// The one of this name.
    pub(crate) fn get(&self, name: &str) -> Result<&Profile, Error> {
        self.profiles.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            let known = match names.len() {
                0 => "there are none yet; `scorekeeper profile add NAME --ledger LEDGER` makes one".to_owned(),
                _ => format!("there are {}", names.join(", ")),
            };
            Error::NoSuch { name: name.to_owned(), known }
        })
    }

    /// Adds one and writes the file. `ledger` and `task_hub` are read as on the command line.
    pub(crate) fn add(
        &mut self,
        name: &str,
        (ledger, task_hub): (&str, Option<&str>),
        replace: bool,
        cwd: &Path,
        vars: &dyn Vars,
    ) -> Result<&Profile, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
            return Err(Error::Name(name.to_owned()));
        }
        let which = WhichLedger {
            ledger: Some(ledger.to_owned()),
            task_hub: Some(task_hub.unwrap_or("Scorekeeper").to_owned()),
            ..WhichLedger::default()
        };
        let read = LedgerSettings::read(vars, cwd, &which)?;
        let profile = Profile { ledger: read.ledger.to_string(), task_hub: read.task_hub };
        if let Some(taken) = self.profiles.get(name).filter(|taken| **taken != profile && !replace) {
            return Err(Error::Taken { name: name.to_owned(), ledger: taken.ledger.clone() });
        }
        self.profiles.insert(name.to_owned(), profile);
        self.write()?;
        self.get(name)
    }

    /// Removes one and writes the file.
    pub(crate) fn remove(&mut self, name: &str) -> Result<Profile, Error> {
        let removed = self.get(name)?.clone();
        self.profiles.remove(name);
        self.write()?;
        Ok(removed)
    }

    /// Whole or not at all: a process that dies here leaves the file as it was.
    fn write(&self) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(&File { profiles: self.profiles.clone() }).map_err(io::Error::from);
        let next = self.path.with_extension(format!("{}.new", std::process::id()));
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        text.and_then(|text| {
            std::fs::create_dir_all(folder)?;
            std::fs::write(&next, text)?;
            std::fs::rename(&next, &self.path)
        })
        .map_err(|source| Error::Unwritable { path: self.path.clone(), source })
    }
}

/// Where this platform keeps the settings of a user's programs.
fn folder(vars: &dyn Vars) -> Option<PathBuf> {
    let of = |name: &str| vars.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    // A relative one is to be ignored (XDG Base Directory Specification).
    let named = of("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let usual = || {
        if cfg!(windows) {
            of("APPDATA")
        } else if cfg!(target_os = "macos") {
            of("HOME").map(|home| home.join("Library/Application Support"))
        } else {
            of("HOME").map(|home| home.join(".config"))
        }
    };
    named.or_else(usual).map(|folder| folder.join("scorekeeper"))
}

/// The environment, with what a profile says in the place of its own words for it.
pub(crate) struct ProfileSettings<'a> {
    name: String,
    profile: Option<Profile>,
    process: &'a dyn Vars,
}

impl<'a> ProfileSettings<'a> {
    /// With the profile that `named` or the environment names; with none where neither does, or where the environment names a
    /// ledger itself. An error: there is no such profile.
    pub(crate) fn read(process: &'a dyn Vars, named: Option<&str>) -> Result<Self, Problems> {
        let of_environment =
            || process.get(VARIABLE).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let of_environment = || of_environment().filter(|_| !is_configured(process));
        let Some(name) = named.map(str::to_owned).or_else(of_environment) else {
            return Ok(Self { name: String::new(), profile: None, process });
        };
        let profile = Profiles::read(process).and_then(|profiles| profiles.get(&name).cloned());
        let profile = profile.map_err(|error| {
            let from = if named.is_some() { "--profile" } else { VARIABLE };
            let refused = Refused::new(
                format!("the name of a profile ({})", app::error_chain(&error)),
                "`scorekeeper profile list` shows them",
            );
            Problems(vec![Problem::new(from, Some(&name), refused)])
        })?;
        // What the environment says of the task hub counts, unless the command line names the profile.
        let task_hub = process.get("SCOREKEEPER_TASK_HUB").filter(|hub| named.is_none() && !hub.trim().is_empty());
        let profile = Profile { task_hub: task_hub.unwrap_or(profile.task_hub), ..profile };
        Ok(Self { name, profile: Some(profile), process })
    }

    /// It says where the ledger is.
    pub(crate) fn is_in_force(&self) -> bool {
        self.profile.is_some()
    }

    fn of_profile(&self, name: &str) -> Option<&str> {
        let profile = self.profile.as_ref()?;
        match name {
            "SCOREKEEPER_LEDGER" => Some(&profile.ledger),
            "SCOREKEEPER_TASK_HUB" => Some(&profile.task_hub),
            _ => None,
        }
    }

    /// Reads the settings; each is shown with where it came from.
    pub(crate) fn config(&self, cwd: &Path) -> Result<Config, Problems> {
        let mut config = Config::read(self, cwd)?;
        for setting in &mut config.settings {
            let of_profile = matches!(&setting.source, Source::Variable(name)
                if self.of_profile(name).is_some_and(|value| self.process.get(name).as_deref() != Some(value)));
            if of_profile {
                setting.source = Source::Profile(self.name.clone());
            }
        }
        Ok(config)
    }
}

impl Vars for ProfileSettings<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.of_profile(name).map(str::to_owned).or_else(|| self.process.get(name))
    }

    fn names(&self) -> Vec<String> {
        let given = ["SCOREKEEPER_LEDGER", "SCOREKEEPER_TASK_HUB"];
        let given = given.into_iter().filter(|name| self.of_profile(name).is_some()).map(str::to_owned);
        given.chain(self.process.names()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(home: &Path, more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let home = ("XDG_CONFIG_HOME".to_owned(), home.display().to_string());
        more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).chain([home]).collect()
    }

    fn with_two(home: &Path) {
        let vars = vars(home, &[]);
        let mut profiles = Profiles::read(&vars).unwrap();
        profiles.add("prod", ("https://prod.table.core.windows.net/", Some("Prod")), false, home, &vars).unwrap();
        profiles.add("dev", ("embedded:data", None), false, home, &vars).unwrap();
    }

    fn ledger(vars: &[(&str, &str)], home: &Path, which: &WhichLedger) -> (String, String) {
        let read = LedgerSettings::read(&self::vars(home, vars), home, which).unwrap();
        (read.ledger.to_string(), read.task_hub)
    }

    #[test]
    fn the_command_line_comes_before_the_environment_its_profile_and_the_default() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        with_two(home);
        std::fs::create_dir(home.join(super::super::reading::LOCAL)).unwrap();
        let here = WhichLedger::default();
        let prod = WhichLedger { profile: Some("prod".into()), ..here.clone() };
        let hub = WhichLedger { task_hub: Some("Mine".into()), ..prod.clone() };
        let data = WhichLedger { data: Some("d".into()), ..here.clone() };
        let of_prod = ("https://prod.table.core.windows.net".to_owned(), "Prod".to_owned());
        let at = |place: &str, hub: &str| (format!("embedded:{}", home.join(place).display()), hub.to_owned());
        let set = ("SCOREKEEPER_LEDGER", "embedded:set");
        let other = ("SCOREKEEPER_TASK_HUB", "Other");
        let named = ("SCOREKEEPER_PROFILE", "dev");
        for (which, vars, expected) in [
            (&here, &[][..], at(".scorekeeper/ledger", "Scorekeeper")),
            (&here, &[named], at("data", "Scorekeeper")),
            (&here, &[named, other], at("data", "Other")),
            (&here, &[named, set], at("set", "Scorekeeper")),
            (&prod, &[named, set, other], of_prod.clone()),
            (&hub, &[named, set, other], (of_prod.0.clone(), "Mine".to_owned())),
            (&data, &[named], at("d/ledger", "Scorekeeper")),
        ] {
            assert_eq!(ledger(vars, home, which), expected, "{which:?} {vars:?}");
        }
    }

    #[test]
    fn a_profile_is_added_once_shown_removed_and_never_holds_a_secret() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        with_two(home);
        let vars = vars(home, &[]);
        let mut profiles = Profiles::read(&vars).unwrap();
        assert_eq!(profiles.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["dev", "prod"]);
        let again = ("https://prod.table.core.windows.net", Some("Prod"));
        assert!(profiles.add("prod", again, false, home, &vars).is_ok(), "the same once more");
        let other = ("https://other.table.core.windows.net", None);
        assert!(matches!(profiles.add("prod", other, false, home, &vars), Err(Error::Taken { .. })));
        profiles.add("prod", other, true, home, &vars).unwrap();
        for (name, ledger) in [
            ("a b", "embedded:x"),
            ("", "embedded:x"),
            ("x", "https://a.table.core.windows.net/?sv=1&sig=SECRET"),
            ("x", "https://user:SECRET@a.table.core.windows.net"),
            ("x", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=SECRET"),
        ] {
            let error = profiles.add(name, (ledger, None), true, home, &vars).unwrap_err();
            assert!(!app::error_chain(&error).contains("SECRET"), "{error}");
        }
        let text = std::fs::read_to_string(profiles.path()).unwrap();
        assert!(!text.contains("SECRET") && text.contains("other.table"), "{text}");
        profiles.remove("prod").unwrap();
        let error = Profiles::read(&vars).unwrap().remove("prod").unwrap_err().to_string();
        assert_eq!(error, "there is no profile `prod`; there are dev");
        std::fs::write(profiles.path(), "{").unwrap();
        assert!(matches!(Profiles::read(&vars), Err(Error::Unreadable { .. })), "it is not taken for empty");
    }

    #[test]
    fn a_name_that_is_none_is_told_and_config_shows_what_a_profile_says_as_its_word() {
        let home = tempfile::tempdir().unwrap();
        with_two(home.path());
        let rules = r#"{"rules":[{"id":"a","match":{"account":"acct","container":"con"},"endpoint":{"uri":"http://127.0.0.1:1/jobs"}}]}"#;
        let vars = vars(home.path(), &[("SCOREKEEPER_PROFILE", "dev"), ("SCOREKEEPER_RULES", rules)]);
        let config = ProfileSettings::read(&vars, None).unwrap().config(home.path()).unwrap();
        let source = |name: &str| config.settings.iter().find(|one| one.name == name).unwrap().source.to_string();
        assert_eq!(
            (source("SCOREKEEPER_LEDGER"), source("SCOREKEEPER_TASK_HUB")),
            ("profile dev".into(), "profile dev".into())
        );
        assert_eq!(source("SCOREKEEPER_RULES"), "variable SCOREKEEPER_RULES");
        assert!(config.all_warnings().next().is_none(), "the variable is known: {:?}", config.warnings);
        let error = ProfileSettings::read(&vars, Some("pord")).err().unwrap().to_string();
        assert!(error.contains("`--profile` is `pord`") && error.contains("there are dev, prod"), "{error}");
    }
}
