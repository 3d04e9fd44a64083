//! What a command that works on the ledger alone needs to know: no rules, no host, no port.

use std::path::{Path, PathBuf};

use lifecycle::text::shell;

use super::{LedgerLocation, Problems, Reader, Vars, task_hub};

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
    /// Prefix of the table names [default: `SCOREKEEPER_TASK_HUB`, else Scorekeeper]
    #[arg(long, value_name = "NAME")]
    pub task_hub: Option<String>,
}

/// Commands that take a [`WhichLedger`].
const ON_A_LEDGER: &[&str] = &[
    "status", "list", "show", "explain", "resolve", "retry", "cancel", "skip", "hold", "release", "expedite",
    "rescore", "replay", "ack", "pause", "resume", "limit", "breaker", "wait", "output", "export",
];

impl WhichLedger {
    /// A suggested command, or several within a text, with the options that name this ledger: whoever was told where it lies
    /// must be told of commands that find it there.
    pub fn named_in(&self, commands: &str) -> String {
        let options = [
            ("--ledger", self.ledger.clone()),
            ("--data", self.data.as_ref().map(|data| data.display().to_string())),
            ("--task-hub", self.task_hub.clone()),
        ];
        let given: String =
            options.iter().filter_map(|(name, value)| Some(format!(" {name} {}", shell(value.as_ref()?)))).collect();
        let mut parts = commands.split("scorekeeper ");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let verb = part.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
            let options = if ON_A_LEDGER.contains(&verb) { given.as_str() } else { "" };
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

/// A ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSettings {
    /// Where it lives.
    pub ledger: LedgerLocation,
    /// Prefix of the table names.
    pub task_hub: String,
    /// Whether the app writes the Durable-shaped tables.
    pub projection: bool,
    /// Whether a managed identity is there to be used; else whoever is signed in on this machine.
    pub managed_identity: bool,
    /// Client id of the user-assigned identity.
    pub client_id: Option<String>,
}

impl LedgerSettings {
    /// Reads what `which` names, else what the settings name, else the local product's ledger below `cwd`.
    pub fn read(vars: &dyn Vars, cwd: &Path, which: &WhichLedger) -> Result<Self, Problems> {
        let local = cwd.join(LOCAL);
        let data = match (&which.data, &which.ledger) {
            (Some(data), _) => Some(cwd.join(data)),
            (None, None) if !is_configured(vars) && local.is_dir() => Some(local),
            _ => None,
        };
        let given = Given { vars, ledger: which.ledger.as_deref(), task_hub: which.task_hub.as_deref() };
        let mut reader = Reader { vars: &given, problems: Vec::new(), settings: Vec::new() };
        let ledger = match data {
            Some(data) => Some(LedgerLocation::Embedded(data.join("ledger"))),
            None => reader.ledger(cwd),
        };
        let task_hub = reader.read("SCOREKEEPER_TASK_HUB", "Scorekeeper", task_hub);
        let projection = reader.read("SCOREKEEPER_PROJECTION", "on", super::on_or_off);
        let client_id = reader.client_id();
        match ledger {
            Some(ledger) if reader.problems.is_empty() => {
                let managed_identity =
                    ["IDENTITY_ENDPOINT", "AZURE_CLIENT_ID"].iter().any(|name| reader.get(name).is_some());
                Ok(Self { ledger, task_hub, projection, managed_identity, client_id })
            }
            _ => Err(Problems(reader.problems)),
        }
    }
}

/// The environment, with what the command line gives in front of it.
struct Given<'a> {
    vars: &'a dyn Vars,
    ledger: Option<&'a str>,
    task_hub: Option<&'a str>,
}

impl Vars for Given<'_> {
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
