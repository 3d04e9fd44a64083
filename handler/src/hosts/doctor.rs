//! The command `doctor`: reads the settings, has everything examined, prints what was found.
//!
//! Exit codes: 0 nothing is wrong, 1 a fault was found, 2 no fault was found but not everything could be seen, 64 the
//! command is not understood. Wrong settings are a fault like any other: they are what the command is asked about.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use lifecycle::period::Period;
use serde_json::{Value, json};

use crate::config::{Config, Problems, Vars};
use crate::doctor::{AppFacts, Report, Verdict};

/// What is examined, and how it is told.
#[derive(Debug, Clone, clap::Args)]
pub struct DoctorArgs {
    /// The app's settings: JSON as `az functionapp config appsettings list` prints it, or an object of names and values
    /// [default: the environment]
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// ARM id of the function app, for one who is not the app: whose rights, and where events must go [default: the app
    /// that this runs in]
    #[arg(long, value_name = "ID")]
    pub app: Option<String>,
    /// How long it may take in all; what is not looked at by then is unknown
    #[arg(long, value_name = "DURATION", default_value = "PT2M", value_parser = limit)]
    pub within: Period,
    /// Only what is not ok
    #[arg(long)]
    pub quiet: bool,
    /// As JSON, for scripts
    #[arg(long)]
    pub json: bool,
}

fn limit(text: &str) -> Result<Period, String> {
    let period = Period::read(text)?;
    let possible = time::Duration::SECOND..=time::Duration::HOUR;
    if possible.contains(&period.0) { Ok(period) } else { Err("it takes PT1S to PT1H".to_owned()) }
}

/// The settings of an app, in front of the environment of this process.
#[derive(Debug)]
pub struct AppSettings<'a> {
    given: Option<BTreeMap<String, String>>,
    process: &'a dyn Vars,
}

impl std::fmt::Debug for dyn Vars + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vars") // values may be secrets
    }
}

impl<'a> AppSettings<'a> {
    /// The environment alone, or the file alone: settings of two apps must not be mixed.
    pub fn read(args: &DoctorArgs, process: &'a dyn Vars) -> Result<Self, String> {
        let given = args.settings.as_deref().map(read_file).transpose()?;
        Ok(Self { given, process })
    }

    /// Whether this process has a managed identity, and so looks as the app.
    pub fn is_app(&self) -> bool {
        ["IDENTITY_ENDPOINT", "AZURE_CLIENT_ID"]
            .iter()
            .any(|name| self.process.get(name).is_some_and(|value| !value.trim().is_empty()))
    }

    /// What they say of the app beside the handler's own settings.
    pub fn facts(&self, args: &DoctorArgs) -> AppFacts {
        let by_uri = self.get("AzureWebJobsStorage__queueServiceUri").and_then(|uri| {
            let host = url::Url::parse(uri.trim()).ok()?.host_str()?.to_owned();
            host.split_once(".queue.").map(|(account, _)| account.to_owned())
        });
        let by_name = || self.get("AzureWebJobsStorage__accountName").map(|name| name.trim().to_owned());
        AppFacts {
            site: args.app.clone(),
            switched_off: self.switched_off(),
            queue_account: by_uri.or_else(by_name).filter(|name| !name.is_empty()),
        }
    }

    /// Functions that a setting switches off, in either spelling that the host takes.
    fn switched_off(&self) -> Vec<String> {
        let off = |name: &&&str| {
            ["AzureWebJobs_NAME_Disabled", "AzureWebJobs.NAME.Disabled"].iter().any(|setting| {
                let value = self.get(&setting.replace("NAME", name)).unwrap_or_default();
                value.trim().eq_ignore_ascii_case("true") || value.trim() == "1"
            })
        };
        crate::functions::NAMES.iter().filter(off).map(|name| (*name).to_owned()).collect()
    }
}

impl Vars for AppSettings<'_> {
    fn get(&self, name: &str) -> Option<String> {
        match &self.given {
            Some(given) => given.get(name).cloned(),
            None => self.process.get(name),
        }
    }

    fn names(&self) -> Vec<String> {
        match &self.given {
            Some(given) => given.keys().cloned().collect(),
            None => self.process.names(),
        }
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|why| format!("the settings {shown} can't be read: {why}"))?;
    // Values may be secrets, so what can't be understood is not quoted.
    let value: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|why| format!("the settings {shown} are no JSON (line {}, column {})", why.line(), why.column()))?;
    let pairs: Option<BTreeMap<String, String>> = match &value {
        Value::Array(list) => {
            let pair = |item: &Value| {
                let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
                Some((text("name")?, text("value").unwrap_or_default()))
            };
            list.iter().map(pair).collect()
        }
        Value::Object(object) => {
            // As local.settings.json has it.
            let object = object.get("Values").and_then(Value::as_object).unwrap_or(object);
            let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            Some(object.iter().filter_map(pair).collect())
        }
        _ => None,
    };
    pairs.ok_or_else(|| format!("the settings {shown} are neither a list of name and value nor an object of them"))
}

/// The settings, or the report on what is wrong with them.
pub fn settings(vars: &dyn Vars, cwd: &Path) -> Result<Config, Report> {
    Config::read(vars, cwd).map_err(|Problems(problems)| {
        let shown = problems.iter().map(|problem| {
            let set = problem
                .value
                .as_ref()
                .map_or("is not set".to_owned(), |value| format!("is `{}`", value.escape_debug()));
            (format!("`{}` {set}; expected {}", problem.name, problem.expected), problem.remedy.clone())
        });
        crate::doctor::Doctor::of_bad_settings(&shown.collect::<Vec<_>>())
    })
}

/// Prints a report.
pub fn print(report: &Report, args: &DoctorArgs, out: &mut dyn Write) -> std::io::Result<()> {
    let shown = report.findings.iter().filter(|finding| !args.quiet || finding.verdict != Verdict::Ok);
    let verdicts = [Verdict::Ok, Verdict::Warning, Verdict::Unknown, Verdict::Fault];
    if args.json {
        let counts: serde_json::Map<String, Value> =
            verdicts.iter().map(|verdict| (verdict.name().to_owned(), json!(report.count(*verdict)))).collect();
        let document = json!({
            "identity": report.identity,
            "exitCode": report.exit_code(),
            "counts": counts,
            "findings": shown.collect::<Vec<_>>(),
        });
        return writeln!(out, "{document:#}");
    }
    writeln!(out, "Seen by {}.", report.identity)?;
    for finding in shown {
        let about = finding.about.as_ref().map(|about| format!(" ({about})")).unwrap_or_default();
        writeln!(out, "{:8} {}{about}: {}", finding.verdict.name(), finding.check, finding.seen)?;
        for (name, text) in [("cause", &finding.cause), ("mend", &finding.remedy)] {
            if let Some(text) = text {
                // What is unknown is not broken: there it says what it takes to see it.
                let name = if finding.verdict == Verdict::Unknown { "needs" } else { name };
                writeln!(out, "           {name:5}  {text}")?;
            }
        }
    }
    let counts = verdicts.map(|verdict| format!("{} {}", report.count(verdict), verdict.name()));
    let last = match report.exit_code() {
        0 => "Nothing is wrong.",
        1 => "Mend the faults from the first to the last, then run it again.",
        _ => "Nothing is known to be wrong, but not everything could be seen.",
    };
    writeln!(out, "{}. {last}", counts.join(", "))
}
