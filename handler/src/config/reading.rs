//! What a command that works on the ledger alone needs to know: no rules, no host, no port.

use std::path::{Path, PathBuf};

use azure::tokens::Identity;
use lifecycle::text::shell;

use super::identity::RunBy;
#[cfg(feature = "cli")]
use super::profiles::ProfileSettings;
use super::{LedgerLocation, Problem, Problems, Reader, Vars, task_hub};

/// Where the local product keeps its things, unless told otherwise.
pub(crate) const LOCAL: &str = ".scorekeeper";

/// How to find a ledger; the first that is given counts.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WhichLedger {
    /// Table endpoint (`https://ACCOUNT.table.core.windows.net`) or `embedded:DIR` [default: as configured, else the one in .scorekeeper]
    #[arg(long, value_name = "LEDGER")]
    pub ledger: Option<String>,
    /// Data folder of a `scorekeeper local`
    #[arg(long, value_name = "DIR", conflicts_with = "ledger")]
    pub data: Option<PathBuf>,
    /// Ledger of this profile [default: `SCOREKEEPER_PROFILE`, unless the environment names a ledger]
    #[cfg(feature = "cli")]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["ledger", "data"])]
    pub profile: Option<String>,
    /// Prefix of the table names [default: that of the profile, `SCOREKEEPER_TASK_HUB`, else Scorekeeper]
    #[arg(long, value_name = "NAME")]
    pub task_hub: Option<String>,
}

/// What to do where there is no ledger.
const NO_LEDGER: &str = if cfg!(feature = "dev") {
    "there is no `scorekeeper local` in this folder: start one with `scorekeeper local` and drop a file into its inbox, or name \
     the ledger of an installation with --ledger, --data or --profile, or set the variable"
} else {
    "name the ledger of an installation with --ledger or --data, or set the variable"
};

fn no_ledger() -> Problem {
    Problem {
        name: super::ledger::NAME.to_owned(),
        value: None,
        expected: super::ledger::EXPECTED.to_owned(),
        remedy: String::new(),
    }
}

/// Commands that take a [`WhichLedger`].
const ON_A_LEDGER: &[&str] = &[
    "status",
    "list",
    "show",
    "explain",
    "resolve",
    "retry",
    "cancel",
    "skip",
    "hold",
    "release",
    "expedite",
    "rescore",
    "publish",
    "replay",
    "sweep",
    "ack",
    "pause",
    "resume",
    "limit",
    "breaker",
    "wait",
    "output",
    "export",
    "coverage",
    "projection",
    "ui",
];

impl WhichLedger {
    /// A suggested command, or several within a text, with the options that name this ledger: whoever was told where it lies
    /// must be told of commands that find it there. One that has them already keeps them.
    pub fn named_in(&self, commands: &str) -> String {
        let options = [
            ("--ledger", self.ledger.clone()),
            ("--data", self.data.as_ref().map(|data| data.display().to_string())),
            #[cfg(feature = "cli")]
            ("--profile", self.profile.clone()),
            ("--task-hub", self.task_hub.clone()),
        ];
        let given: String =
            options.iter().filter_map(|(name, value)| Some(format!(" {name} {}", shell(value.as_ref()?)))).collect();
        let mut parts = commands.split("scorekeeper ");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let verb = part.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
            let is_named = part[verb.len()..].starts_with(&given);
            let options = if ON_A_LEDGER.contains(&verb) && !is_named { given.as_str() } else { "" };
            text = [&text, "scorekeeper ", verb, options, &part[verb.len()..]].concat();
        }
        text
    }
}

/// Whether the settings name a ledger.
pub(super) fn is_configured(vars: &dyn Vars) -> bool {
    vars.names().iter().any(|name| {
        name == "SCOREKEEPER_LEDGER" || name == "AzureWebJobsStorage" || name.starts_with("AzureWebJobsStorage__")
    })
}

/// What it takes to open a ledger without the rest of the app's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSettings {
    /// Where its tables are: in a folder of this machine, or behind a table endpoint.
    pub ledger: LedgerLocation,
    /// Prefix of the table names.
    pub task_hub: String,
    /// Whether the app writes the Durable-shaped tables.
    pub projection: bool,
    /// Whose token opens it, where a table endpoint asks for one.
    pub identity: Identity,
}

impl LedgerSettings {
    /// Reads what `which` names, else what the settings name, else the profile that they name, else the local product's ledger
    /// below `cwd`.
    pub fn read(vars: &dyn Vars, cwd: &Path, which: &WhichLedger) -> Result<Self, Problems> {
        #[cfg(feature = "cli")]
        if which.ledger.is_none() && which.data.is_none() {
            let profile = ProfileSettings::read(vars, which.profile.as_deref())?;
            if profile.is_in_force() {
                return Self::given(&profile, cwd, which);
            }
        }
        Self::given(vars, cwd, which)
    }

    fn given(vars: &dyn Vars, cwd: &Path, which: &WhichLedger) -> Result<Self, Problems> {
        let local = cwd.join(LOCAL);
        let data = match (&which.data, &which.ledger) {
            (Some(data), _) => Some(cwd.join(data)),
            (None, None) if !is_configured(vars) && local.is_dir() => Some(local),
            _ => None,
        };
        let given = CommandLineVars { vars, ledger: which.ledger.as_deref(), task_hub: which.task_hub.as_deref() };
        let mut reader = Reader { vars: &given, problems: Vec::new(), settings: Vec::new() };
        let ledger = match data {
            Some(data) => Some(LedgerLocation::Embedded(data.join("ledger"))),
            None => reader.ledger(cwd),
        };
        if ledger.is_none() && which.ledger.is_none() && !is_configured(vars) {
            // Nothing names one, which is how everybody begins.
            reader.problems.retain(|problem| problem.name != super::ledger::NAME);
            reader.problems.push(Problem { remedy: NO_LEDGER.to_owned(), ..no_ledger() });
        }
        let task_hub = reader.read("SCOREKEEPER_TASK_HUB", "Scorekeeper", task_hub);
        let projection = reader.read("SCOREKEEPER_PROJECTION", "on", super::on_or_off);
        // A folder asks nobody for a token.
        let identity = match &ledger {
            Some(LedgerLocation::Tables { .. }) => {
                let manager = reader.resource_manager();
                reader.identity(&manager, RunBy::Person)
            }
            _ => Some(Identity::SignedIn),
        };
        match (ledger, identity) {
            (Some(ledger), Some(identity)) if reader.problems.is_empty() => {
                Ok(Self { ledger, task_hub, projection, identity })
            }
            _ => Err(Problems(reader.problems)),
        }
    }
}

/// The environment, with what the command line gives in front of it.
struct CommandLineVars<'a> {
    vars: &'a dyn Vars,
    ledger: Option<&'a str>,
    task_hub: Option<&'a str>,
}

impl Vars for CommandLineVars<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let given = match name {
            "SCOREKEEPER_LEDGER" => self.ledger,
            "SCOREKEEPER_TASK_HUB" => self.task_hub,
            _ => None,
        };
        given.map(str::to_owned).or_else(|| self.vars.get(name))
    }

    fn names(&self) -> Vec<String> {
        self.vars.names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn read(vars: &[(&str, &str)], cwd: &Path, which: &WhichLedger) -> Result<LedgerSettings, Problems> {
        let vars: BTreeMap<String, String> = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        LedgerSettings::read(&vars, cwd, which)
    }

    #[test]
    fn the_command_line_comes_before_the_settings_and_these_before_the_local_ledger() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(LOCAL)).unwrap();
        let set = [("SCOREKEEPER_LEDGER", "embedded:set")];
        let embedded = |settings: LedgerSettings| settings.ledger.to_string();
        let given = WhichLedger { ledger: Some("embedded:given".into()), ..WhichLedger::default() };
        let data = WhichLedger { data: Some("data".into()), ..WhichLedger::default() };
        let cwd = folder.path();
        assert!(embedded(read(&set, cwd, &given).unwrap()).ends_with("/given"));
        assert!(embedded(read(&set, cwd, &data).unwrap()).ends_with("/data/ledger"));
        assert!(embedded(read(&set, cwd, &WhichLedger::default()).unwrap()).ends_with("/set"));
        assert!(embedded(read(&[], cwd, &WhichLedger::default()).unwrap()).ends_with("/.scorekeeper/ledger"));
    }

    #[test]
    fn without_any_ledger_the_problem_names_the_setting() {
        let folder = tempfile::tempdir().unwrap();
        let problems = read(&[], folder.path(), &WhichLedger::default()).unwrap_err().to_string();
        assert!(problems.contains("SCOREKEEPER_LEDGER"), "{problems}");
        let task_hub = WhichLedger { task_hub: Some("no good!".into()), ..WhichLedger::default() };
        assert!(read(&[("SCOREKEEPER_LEDGER", "embedded:x")], folder.path(), &task_hub).is_err());
    }

    #[cfg(feature = "cli")]
    #[test]
    fn each_command_on_a_ledger_is_one() {
        use clap::Subcommand as _;
        let all = crate::cli::ledger_command::LedgerCommand::augment_subcommands(clap::Command::new("x"));
        let unknown: Vec<&str> =
            all.get_subcommands().map(clap::Command::get_name).filter(|name| !ON_A_LEDGER.contains(name)).collect();
        assert_eq!(unknown, Vec::<&str>::new());
    }

    #[test]
    fn suggested_commands_name_the_ledger_that_was_named() {
        let data = WhichLedger { data: Some("my data".into()), ..WhichLedger::default() };
        for (which, commands, expected) in [
            (&WhichLedger::default(), "scorekeeper list", "scorekeeper list"),
            (&data, "scorekeeper breaker close --rule r", "scorekeeper breaker --data 'my data' close --rule r"),
            (
                &data,
                "scorekeeper show 1, then scorekeeper ack 1",
                "scorekeeper show --data 'my data' 1, then scorekeeper ack --data 'my data' 1",
            ),
            (&data, "scorekeeper doctor", "scorekeeper doctor"),
            (&data, "scorekeeper publish 1", "scorekeeper publish --data 'my data' 1"),
            (&data, "scorekeeper list --data 'my data'", "scorekeeper list --data 'my data'"),
            (&data, "(scorekeeper list)", "(scorekeeper list --data 'my data')"),
            (
                &WhichLedger { ledger: Some("embedded:x".into()), ..WhichLedger::default() },
                "scorekeeper limit",
                "scorekeeper limit --ledger embedded:x",
            ),
        ] {
            assert_eq!(which.named_in(commands), expected);
        }
    }
}
