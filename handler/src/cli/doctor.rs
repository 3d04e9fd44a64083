//! The command `doctor`: reads the settings, has everything examined, prints what was found.
//!
//! Exit codes: 0 nothing is wrong, 1 a fault was found, 2 no fault was found but not everything could be seen, 64 the
//! command is not understood. Wrong settings are a fault like any other: they are what the command is asked about.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use app::ports::Clock;

use lifecycle::duration::IsoDuration;
use serde_json::Value;

use super::json::{self, JsonArgs};
use super::{one_thread, working_directory};
use crate::compose;
use crate::config::local::LocalSettings;
use crate::config::{Config, Problems, ProcessVars, RulesInBlob, Vars};
use crate::redacting::Redacting;
use crate::rules_in_blob::Look;
use doctor::{AppFacts, Caller, Check, Finding, Report, RulesSeen, RulesState, Verdict};

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
    pub within: IsoDuration,
    /// Only what is not ok
    #[arg(long)]
    pub quiet: bool,
    /// Whether the report is printed as one JSON document, or as lines for people.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// A value of `--within` that is refused.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected an ISO 8601 duration from PT1S to PT1H, such as PT2M for two minutes; without the T an M means months"
)]
pub(super) struct NoLimit;

pub(super) fn limit(text: &str) -> Result<IsoDuration, NoLimit> {
    let possible = time::Duration::SECOND..=time::Duration::HOUR;
    text.parse().ok().filter(|period: &IsoDuration| possible.contains(&period.0)).ok_or(NoLimit)
}

/// Why nothing could be examined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of settings cannot be read.
    #[error("the settings `{}` cannot be read", path.display())]
    Unreadable {
        /// The file of settings that was named on the command line.
        path: PathBuf,
        /// What the system answered when it was read.
        #[source]
        source: io::Error,
    },
    /// The file is not JSON. Its text is not quoted, as it holds secrets.
    #[error("the settings `{}` are not JSON (line {line}, column {column})", path.display())]
    NotJson {
        /// The file of settings that was named on the command line.
        path: PathBuf,
        /// Line at which the JSON reader gave up, from 1.
        line: usize,
        /// Column of that line, as the JSON reader counts it.
        column: usize,
    },
    /// The file is JSON of another shape.
    #[error("the settings `{}` are neither a list of name and value nor an object of them", .0.display())]
    Shape(PathBuf),
    /// The parts of the examination cannot be put together from the settings.
    #[error(transparent)]
    Compose(#[from] compose::Error),
}

pub(super) fn run(args: &DoctorArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let cwd = working_directory()?;
    let app_settings = AppSettings::read(args, &ProcessVars)?;
    let report = match settings(&app_settings, &cwd) {
        Err(report) => report,
        Ok(mut config) => {
            let caller = if app_settings.is_app() { Caller::App } else { Caller::Operator };
            let limit = args.within.0.try_into().unwrap_or_default(); // never negative, see its parser
            let runtime = one_thread()?;
            let seen = runtime.block_on(compose::rules_seen(&config, caller, clock)).map_err(Error::from)?;
            let rules_blob = config.rules_in_blob.as_ref().zip(seen.as_ref()).map(|(at, look)| rules_blob(at, look));
            if let Some(Look::Good(rules, _)) = seen {
                config.rules = rules;
            }
            let doctor = compose::doctor(&config, caller, app_settings.facts(args), limit, Clock::clone(clock));
            let mut doctor = doctor.map_err(Error::from)?;
            doctor.installation.rules_blob = rules_blob;
            let report = runtime.block_on(doctor.examine());
            // Looks that were given up are not waited for.
            runtime.shutdown_background();
            report
        }
    };
    let mut out = Redacting::new(io::stdout().lock());
    print(&report, args, &mut out)?;
    out.flush()?;
    Ok(ExitCode::from(report.exit_code()))
}

/// The blob of the rules, as it was seen.
fn rules_blob(RulesInBlob { url, blob, .. }: &RulesInBlob, look: &Look) -> RulesSeen {
    let state = match look {
        Look::Good(_, etag) => RulesState::Good { etag: etag.clone() },
        Look::Broken(..) => RulesState::Broken(look.to_string()),
        Look::Unread(_) => RulesState::Unread(look.to_string()),
    };
    RulesSeen { url: url.to_string(), account: blob.account.clone(), container: blob.container.clone(), state }
}

/// The settings of an app: of a file, else of this process. Not to be printed, as values may be secrets.
pub struct AppSettings<'a> {
    given: Option<BTreeMap<String, String>>,
    process: &'a dyn Vars,
}

impl<'a> AppSettings<'a> {
    /// The environment alone, or the file alone: settings of two apps must not be mixed.
    pub fn read(args: &DoctorArgs, process: &'a dyn Vars) -> Result<Self, Error> {
        let given = args.settings.as_deref().map(read_file).transpose()?;
        Ok(Self { given, process })
    }

    /// Whether this process has an identity of its own, and so looks as the app.
    pub fn is_app(&self) -> bool {
        crate::config::identity::is_app(self.process)
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

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    // Values may be secrets, so what cannot be understood is not quoted.
    let value: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|why| Error::NotJson {
        path: path.to_owned(),
        line: why.line(),
        column: why.column(),
    })?;
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
    pairs.ok_or_else(|| Error::Shape(path.to_owned()))
}

/// The settings, or the report on what is wrong with them.
pub fn settings(vars: &dyn Vars, cwd: &Path) -> Result<Config, Report> {
    Config::read(vars, cwd).map_err(|Problems(problems)| {
        if LocalSettings::below(cwd, vars).is_some() {
            // Nothing is wrong with it, and of a cloud that is simulated nothing is to be proved.
            let seen = "there is nothing to examine: what runs here is a `scorekeeper local`, whose cloud is simulated";
            let remedy = "the settings of an app that is deployed, `--settings FILE`; how the local one stands is told \
                          by `scorekeeper status`, and its settings by `scorekeeper config`";
            return Report::new("nobody", vec![Finding::unknown(Check::Settings, seen, remedy)]);
        }
        let shown = problems.iter().map(|problem| {
            let set = problem
                .value
                .as_ref()
                .map_or("is not set".to_owned(), |value| format!("is `{}`", value.escape_debug()));
            (format!("`{}` {set}; expected {}", problem.name, problem.expected), problem.remedy.clone())
        });
        doctor::Doctor::of_bad_settings(&shown.collect::<Vec<_>>())
    })
}

/// Prints a report as `--json` and `--quiet` ask for; the counts in it are of all findings, also of those that are not shown.
pub fn print(report: &Report, args: &DoctorArgs, out: &mut dyn Write) -> Result<(), json::Error> {
    let shown = report.findings.iter().filter(|finding| !args.quiet || finding.verdict != Verdict::Ok);
    let verdicts = [Verdict::Ok, Verdict::Warning, Verdict::Unknown, Verdict::Fault];
    if args.json.is_asked_for() {
        let counts: serde_json::Map<String, Value> =
            verdicts.iter().map(|verdict| (verdict.name().to_owned(), report.count(*verdict).into())).collect();
        let document = serde_json::json!({
            "identity": report.identity,
            "exitCode": report.exit_code(),
            "counts": counts,
            "findings": shown.collect::<Vec<_>>(),
        });
        return args.json.write(&document, out);
    }
    writeln!(out, "Checked as {}.", report.identity)?;
    for finding in shown {
        let about = finding.about.as_ref().map(|about| format!(" ({about})")).unwrap_or_default();
        writeln!(out, "{:8} {}{about}: {}", finding.verdict.name(), finding.check, finding.seen)?;
        for (name, text) in [("cause", &finding.cause), ("fix", &finding.remedy)] {
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
        1 => "Fix the faults from the first to the last, then run it again.",
        _ => "Nothing is known to be wrong, but not everything could be seen.",
    };
    writeln!(out, "{}. {last}", counts.join(", "))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(settings: Option<PathBuf>) -> DoctorArgs {
        DoctorArgs {
            settings,
            app: None,
            within: IsoDuration(time::Duration::MINUTE),
            quiet: false,
            json: JsonArgs::TEXT,
        }
    }

    fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn settings_are_read_as_the_azure_cli_and_local_settings_write_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.json");
        let process = vars(&[("SCOREKEEPER_TASK_HUB", "Mine"), ("IDENTITY_ENDPOINT", "http://127.0.0.1:1")]);
        for text in [
            r#"[{"name": "SCOREKEEPER_TASK_HUB", "value": "Theirs", "slotSetting": false}, {"name": "EMPTY", "value": null}]"#,
            r#"{"SCOREKEEPER_TASK_HUB": "Theirs", "port": 1}"#,
            r#"{"IsEncrypted": false, "Values": {"SCOREKEEPER_TASK_HUB": "Theirs"}}"#,
        ] {
            std::fs::write(&file, text).unwrap();
            let args = args(Some(file.clone()));
            let settings = AppSettings::read(&args, &process).unwrap();
            assert_eq!(settings.get("SCOREKEEPER_TASK_HUB").as_deref(), Some("Theirs"), "{text}");
            assert_eq!(settings.get("IDENTITY_ENDPOINT"), None, "settings of two apps are not mixed: {text}");
            assert!(settings.is_app(), "who looks is a matter of this process");
        }
        for bad in ["", "1", r#"[{"value": "SECRET"}]"#, r#"{"a": "SECRET""#] {
            std::fs::write(&file, bad).unwrap();
            let why = AppSettings::read(&args(Some(file.clone())), &process).err().unwrap();
            let why = app::error_chain(&why);
            assert!(why.contains("settings.json") && !why.contains("SECRET"), "{why}");
        }
        let gone = args(Some(folder.path().join("none.json")));
        assert!(AppSettings::read(&gone, &process).is_err());
    }

    #[test]
    fn who_looks_is_the_app_where_its_identity_is_at_hand() {
        for (pairs, is_app) in [
            (vec![], false),
            (vec![("IDENTITY_ENDPOINT", " ")], false),
            (vec![("IDENTITY_ENDPOINT", "http://127.0.0.1:1")], true),
            (vec![("AZURE_CLIENT_ID", "x")], true),
            (vec![("AZURE_CLIENT_SECRET", "x")], true),
            (vec![("SCOREKEEPER_IDENTITY", "managedIdentity")], true),
            (vec![("SCOREKEEPER_IDENTITY", "signedIn"), ("IDENTITY_ENDPOINT", "http://127.0.0.1:1")], false),
        ] {
            let process = vars(&pairs);
            assert_eq!(AppSettings::read(&args(None), &process).unwrap().is_app(), is_app, "{pairs:?}");
        }
    }

    #[test]
    fn functions_are_switched_off_in_either_spelling_and_the_queue_account_is_the_hosts() {
        let process = vars(&[
            ("AzureWebJobs_BlobCreated_Disabled", "true"),
            ("AzureWebJobs.Reconcile.Disabled", "1"),
            ("AzureWebJobs_BlobCreatedFromQueue_Disabled", "false"),
            ("AzureWebJobsStorage__queueServiceUri", "https://state.queue.core.windows.net/"),
            ("AzureWebJobsStorage__accountName", "other"),
        ]);
        let facts = AppSettings::read(&args(None), &process).unwrap().facts(&args(None));
        assert_eq!(facts.switched_off, ["BlobCreated", "Reconcile"]);
        assert_eq!(facts.queue_account.as_deref(), Some("state"));
        let by_name = vars(&[("AzureWebJobsStorage__accountName", "state2")]);
        let facts = AppSettings::read(&args(None), &by_name).unwrap().facts(&args(None));
        assert_eq!((facts.queue_account.as_deref(), facts.site), (Some("state2"), None));
    }

    #[test]
    fn wrong_settings_are_faults_that_show_no_secret() {
        let process =
            vars(&[("SCOREKEEPER_LEDGER", "https://a.table.core.windows.net?sig=SECRET"), ("SCOREKEEPER_RULES", "{}")]);
        let report = settings(&process, Path::new("/")).unwrap_err();
        assert_eq!((report.count(Verdict::Fault), report.exit_code()), (2, 1), "both at once");
        let mut out = Vec::new();
        print(&report, &args(None), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("SCOREKEEPER_LEDGER") && text.contains("SCOREKEEPER_RULES"), "{text}");
        assert!(!text.contains("SECRET"), "{text}");
    }

    fn report() -> Report {
        Report::new(
            "the app's own identity",
            vec![
                Finding::ok(Check::Ledger, "it works"),
                Finding::fault(Check::Deployment, "there is none", "it was deleted", "az ml …").about("endpoint heart"),
                Finding::unknown(Check::Filter, "nobody may look", "the role Reader"),
            ],
        )
    }

    #[test]
    fn people_read_a_line_for_each_finding_with_cause_and_remedy() {
        let mut out = Vec::new();
        print(&report(), &args(None), &mut out).unwrap();
        let golden = "\
Checked as the app's own identity.
ok       ledger: it works
fault    deployment (endpoint heart): there is none
           cause  it was deleted
           fix    az ml …
unknown  delivery.filter: nobody may look
           needs  the role Reader
1 ok, 0 warning, 1 unknown, 1 fault. Fix the faults from the first to the last, then run it again.
";
        assert_eq!(String::from_utf8(out).unwrap(), golden);
    }

    #[test]
    fn scripts_read_the_same_as_json() {
        let mut out = Vec::new();
        print(&report(), &DoctorArgs { json: JsonArgs::ALL, quiet: true, ..args(None) }, &mut out).unwrap();
        let expected = serde_json::json!({
            "identity": "the app's own identity",
            "exitCode": 1,
            "counts": { "ok": 1, "warning": 0, "unknown": 1, "fault": 1 },
            "findings": [
                { "check": "deployment", "about": "endpoint heart", "verdict": "fault", "seen": "there is none",
                  "cause": "it was deleted", "remedy": "az ml …" },
                { "check": "delivery.filter", "verdict": "unknown", "seen": "nobody may look", "remedy": "the role Reader" },
            ],
        });
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
    }
}
