//! `scorekeeper rules`: what is wrong with rules, and what they make of a blob, before anything is deployed. No ledger is asked, and
//! of the cloud only the blob that rules lie in.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use ::doctor::{Caller, Report, Verdict};
use app::ports::Clock;
use azure::small_blob::BlobRead;
use clap::Subcommand;
use lifecycle::blob::InvalidBlob;
use lifecycle::intake::{self, Classification};
use lifecycle::job::{Input, OutputKind};
use lifecycle::payload::TooManyEvents;
use lifecycle::rule::{Allowed, IfExists, Warning};
use lifecycle::{BlobVersion, IdentityName, LedgerId, Payload, Rule, Rules, Scoring};
use time::OffsetDateTime;

use super::json::{self, JsonArgs};
#[cfg(feature = "cli")]
use super::rules_deployed::DeployedArgs;
use super::rules_grouped::ExampleGroup;
use super::{one_thread, working_directory};
use crate::compose;
use crate::config::identity::{further_identities, is_app};
use crate::config::{ProcessVars, RulesAccess, RulesText, Vars as _, given_blob, is_url, watched_output_warnings};
use crate::redacting::Redacting;

/// What is asked of the rules.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RulesArgs {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Clone, Subcommand)]
enum Question {
    /// Tell all that is wrong with rules, each with line and column; exit code 1 if there is something.
    Check {
        /// The rules, a file or the URL of a blob [default: those that the settings name, else those of the `local` in
        /// .scorekeeper]
        #[arg(value_name = "FILE|URL")]
        file: Option<PathBuf>,
        /// Whether what the check found is printed as JSON, or as text for people.
        #[command(flatten)]
        json: JsonArgs,
        /// What is deployed: where it is given, what must be deployed for the rules is told too.
        #[cfg(feature = "cli")]
        #[command(flatten)]
        deployed: DeployedArgs,
    },
    /// Say which rule wants a blob, what would be sent, and why each other rule does not; exit code 1 if none wants it.
    Test {
        /// The blob's URL, or a file with the event that tells of it
        #[arg(value_name = "BLOB-URL|EVENT.json")]
        blob: String,
        /// The rules, a file or the URL of a blob [default: those that the settings name, else those of the `local` in
        /// .scorekeeper]
        #[arg(long, value_name = "FILE|URL")]
        rules: Option<PathBuf>,
    },
    /// Put rules into the blob that the app reads them from, after `check`, and only if nobody else has changed it meanwhile.
    #[cfg(feature = "cli")]
    Push(super::rules_push::PushArgs),
}

/// Why rules cannot be tried on a blob.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// What was given is not the URL of a blob.
    #[error("give the blob's URL, https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH, or a file with an event")]
    Blob(#[source] InvalidBlob),
    /// The file that was given in place of a blob's URL cannot be read.
    #[error("`{file}` cannot be read; give a blob's URL, or a file with an event")]
    Event {
        /// What was given, as it was typed.
        file: String,
        /// What the system answered when it was read.
        source: io::Error,
    },
    /// More events than the app takes at once.
    #[error(transparent)]
    TooManyEvents(#[from] TooManyEvents),
    /// The blob that rules lie in.
    #[error("the blob cannot be used; {}", remedy(.0))]
    InBlob(#[from] azure::small_blob::Error),
    /// The host of the blob is none that the settings let a token go to.
    #[error(transparent)]
    Compose(#[from] compose::Error),
    /// A rules file that is no text.
    #[error("{0} is not UTF-8 from its byte {1} on; save it as UTF-8")]
    NotUtf8(String, usize),
}

impl Error {
    /// Whether the command line was wrong, and nothing was begun.
    pub(crate) fn is_usage(&self) -> bool {
        !matches!(self, Self::InBlob(_) | Self::NotUtf8(..))
    }
}

fn remedy(error: &azure::small_blob::Error) -> &'static str {
    use azure::small_blob::Error::{Changed, Inconclusive, Missing, NoContainer, NotAllowed};
    match error {
        Missing(_) => "correct the URL, or put rules there with `scorekeeper rules push FILE --to URL`",
        NoContainer(_) => "correct the URL, or make the container: az storage container create --auth-mode login",
        NotAllowed { .. } => {
            "whoever reads needs the role Storage Blob Data Reader on the container, whoever pushes Storage Blob Data \
             Contributor, and both a way through the account's firewall"
        }
        Changed(_) => "nothing was written; run it again: it compares with what is there now",
        Inconclusive(_) => {
            "where there is no token, sign in (az login) as one who reads there, or pushes; else run it again"
        }
    }
}

/// Rules in a blob as they are now, and what they may name, if the settings say so.
pub(super) struct FromBlob {
    pub(super) text: RulesText,
    pub(super) allowed: Option<Allowed>,
}

impl FromBlob {
    fn read(url: &str, clock: &Clock) -> Result<Self, super::Error> {
        let (url, place) = given_blob("the rules", url)?;
        let access = RulesAccess::read(&ProcessVars)?;
        let caller = if is_app(&ProcessVars) { Caller::App } else { Caller::Operator };
        let blob = compose::rules_blob(&access, &url, caller, clock).map_err(Error::from)?;
        let seen = one_thread()?.block_on(blob.read(None)).map_err(Error::from)?;
        let BlobRead::Version { etag, bytes } = seen else {
            return Err(Error::from(azure::small_blob::Error::Missing(url.to_string())).into());
        };
        let text = String::from_utf8(bytes)
            .map_err(|why| Error::NotUtf8(url.to_string(), why.utf8_error().valid_up_to() + 1))?;
        let allowed = access.in_blob.map(|in_blob| Allowed { blob: place, ..in_blob.allowed(access.hosts) });
        Ok(Self { text: RulesText { shown: format!("{url} (ETag {etag})"), text }, allowed })
    }
}

/// The rules of this file, or of the blob of this URL.
#[cfg(feature = "dev")]
pub(super) fn given(rules: &std::path::Path, clock: &Clock) -> Result<RulesText, super::Error> {
    match rules.to_str().filter(|text| is_url(text)) {
        Some(url) => Ok(FromBlob::read(url, clock)?.text),
        None => Ok(RulesText::read(&ProcessVars, &working_directory()?, Some(rules))?),
    }
}

/// The rules that the settings name, a file or a blob.
#[cfg(feature = "cli")]
pub(super) fn given_or_set(clock: &Clock) -> Result<RulesText, super::Error> {
    let url = ProcessVars.get("SCOREKEEPER_RULES").map(|text| text.trim().to_owned()).filter(|text| is_url(text));
    match url {
        Some(url) => Ok(FromBlob::read(&url, clock)?.text),
        None => Ok(RulesText::read(&ProcessVars, &working_directory()?, None)?),
    }
}

/// What rules are tried on.
enum TestSubject {
    Blob(BlobVersion),
    Event(Payload),
}

impl TestSubject {
    fn read(text: &str) -> Result<Self, Error> {
        if text.contains("://") {
            return BlobVersion::read(text, "ETAG").map(Self::Blob).map_err(Error::Blob);
        }
        let event = std::fs::read_to_string(text);
        // What is not JSON is quarantined, as it would be when it is delivered.
        event
            .map(|event| Self::Event(Payload::new(event)))
            .map_err(|source| Error::Event { file: text.to_owned(), source })
    }

    fn test(self, rules: &Rules, now: OffsetDateTime, out: &mut dyn Write) -> Result<u8, super::Error> {
        let event = match self {
            Self::Blob(blob) => return Ok(test(rules, &blob, now, out)?),
            Self::Event(event) => event,
        };
        // The ledger is part of what is recorded, not of what is decided here.
        let ledger = LedgerId::of_random([0; 16]);
        let all = intake::read(event, &ledger, rules, now).map_err(Error::from)?;
        if all.is_empty() {
            writeln!(out, "There is no event in it.")?;
            return Ok(ATTENTION);
        }
        let mut code = 0;
        for classification in all {
            code |= classified(&classification, rules, now, out)?;
        }
        Ok(code)
    }
}

fn classified(
    classification: &Classification,
    rules: &Rules,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> io::Result<u8> {
    match classification {
        Classification::Wanted(scorings) => {
            scorings.first().map_or(Ok(ATTENTION), |scoring| test(rules, &scoring.blob, now, out))
        }
        Classification::Pending { scorings, uploads } => {
            let known = scorings.first().map(|scoring| scoring.blob.clone());
            let named = || BlobVersion::read(&uploads.first()?.blob.url, "ETAG").ok();
            if let Some(blob) = known.or_else(named) {
                test(rules, &blob, now, out)?;
            }
            for upload in uploads {
                writeln!(out, "It is looked at before rule {} takes it in: {}.", upload.rule, upload.reason)?;
            }
            Ok(0)
        }
        Classification::Folder(_) => {
            writeln!(out, "A folder was renamed: it is listed, and each file that a rule wants is taken in.")?;
            Ok(0)
        }
        Classification::Skipped(skipped) => {
            writeln!(out, "{} is skipped: {}", skipped.subject, skipped.reason)?;
            Ok(ATTENTION)
        }
        Classification::Quarantined(event) => {
            writeln!(out, "It is quarantined: {}", event.reason)?;
            Ok(ATTENTION)
        }
    }
}

/// Exit code: the rules have problems or do not fit what is deployed, or no rule wants the blob.
const ATTENTION: u8 = 1;

pub(super) fn run(args: &RulesArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let mut out = Redacting::new(io::stdout());
    let read = |file: &Option<PathBuf>| -> Result<FromBlob, super::Error> {
        let given = file.as_ref().map(|file| file.to_string_lossy().into_owned());
        let url = given.or_else(|| ProcessVars.get("SCOREKEEPER_RULES").map(|text| text.trim().to_owned()));
        if let Some(url) = url.filter(|text| is_url(text)) {
            return FromBlob::read(&url, clock);
        }
        let text = RulesText::read(&ProcessVars, &working_directory()?, file.as_deref())?;
        Ok(FromBlob { text, allowed: None })
    };
    let code = match &args.question {
        #[cfg(feature = "cli")]
        Question::Check { file, json, deployed } if deployed.are_given() => {
            let text = read(file)?.text;
            check_deployed(&text, deployed, json, clock, &mut out)?
        }
        Question::Check { file, json, .. } => {
            let given = match read(file) {
                Ok(given) => given,
                Err(error) if json.is_asked_for() => {
                    unreadable(&error, file.as_deref(), json, &mut out)?;
                    out.flush()?;
                    return Ok(ExitCode::from(error.exit_code()));
                }
                Err(error) => return Err(error),
            };
            check(&given.text, given.allowed.as_ref(), None, json, &mut out)?
        }
        #[cfg(feature = "cli")]
        Question::Push(args) => super::rules_push::run(args, clock, &mut out)?,
        Question::Test { blob, rules } => {
            let told = TestSubject::read(blob)?;
            let RulesText { shown, text } = read(rules)?.text;
            match Rules::read(&text) {
                Ok(rules) => told.test(&rules, clock(), &mut out)?,
                Err(problems) => {
                    writeln!(out, "{shown}: the rules are broken\n{problems}")?;
                    ATTENTION
                }
            }
        }
    };
    out.flush()?;
    Ok(ExitCode::from(code))
}

/// Says in JSON that there are no rules to be checked, and why: what reads the answer finds it in one place.
fn unreadable(
    error: &super::Error,
    file: Option<&std::path::Path>,
    json: &JsonArgs,
    out: &mut dyn Write,
) -> Result<(), json::Error> {
    let problem = serde_json::json!({ "path": "", "expected": "rules that can be read", "remedy": lifecycle::text::error_chain(error) });
    let report = serde_json::json!({ "file": file, "rules": 0, "problems": [problem], "warnings": [] });
    json.write(&report, out)
}

/// The same, with what the app's settings do not allow, and with what must be deployed for the rules.
#[cfg(feature = "cli")]
fn check_deployed(
    text: &RulesText,
    deployed: &DeployedArgs,
    json: &JsonArgs,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<u8, super::Error> {
    let access = RulesAccess::read(&deployed.app_settings(&ProcessVars)?)?;
    let allowed = access.in_blob.map(|in_blob| in_blob.allowed(access.hosts));
    let rules =
        allowed.as_ref().map_or_else(|| Rules::read(&text.text), |allowed| Rules::read_allowed(&text.text, allowed));
    let report = match rules {
        Ok(rules) => Some(deployed.compare(rules, deployed.rules_seen()?, clock)?),
        Err(_) => None,
    };
    Ok(check(text, allowed.as_ref(), report.as_ref(), json, out)?)
}

/// Prints what is wrong, or that nothing is, what looks wrong, and what must be deployed if that was looked at.
pub(super) fn check(
    RulesText { shown, text }: &RulesText,
    allowed: Option<&Allowed>,
    deployed: Option<&Report>,
    json: &JsonArgs,
    out: &mut dyn Write,
) -> Result<u8, json::Error> {
    let read = allowed.map_or_else(|| Rules::read(text), |allowed| Rules::read_allowed(text, allowed));
    let of_rules =
        |rules: &Rules| [rules.warnings(), watched_output_warnings(rules), unnamed_identities(rules)].concat();
    let warnings = read.as_ref().map(of_rules).unwrap_or_default();
    let problems: Vec<_> = read.as_ref().err().into_iter().flatten().collect();
    let count = read.as_ref().map_or(0, |rules| rules.iter().filter(|rule| rule.shadow_of.is_none()).count());
    if json.is_asked_for() {
        let mut report =
            serde_json::json!({ "file": shown, "rules": count, "problems": problems, "warnings": warnings });
        if let Some(deployed) = deployed {
            report["deployed"] = serde_json::json!(deployed.findings);
        }
        json.write(&report, out)?;
    } else {
        match problems.len() {
            0 => writeln!(out, "{shown}: good, {count} {}", if count == 1 { "rule" } else { "rules" })?,
            1 => writeln!(out, "{shown}: one problem")?,
            many => writeln!(out, "{shown}: {many} problems")?,
        }
        problems.iter().try_for_each(|problem| writeln!(out, "{problem}"))?;
        for rule in read.iter().flatten() {
            let Some(identity) = &rule.endpoint.identity else { continue };
            writeln!(out, "rule {} has its endpoint asked as the identity {identity}", rule.id)?;
        }
        warnings.iter().try_for_each(|warning| writeln!(out, "warning: {warning}"))?;
        #[cfg(feature = "cli")]
        if let Some(deployed) = deployed {
            super::rules_deployed::print(deployed, out)?;
        }
    }
    let fits = deployed.is_none_or(|deployed| deployed.findings.iter().all(|one| one.verdict != Verdict::Fault));
    Ok(if problems.is_empty() && fits { 0 } else { ATTENTION })
}

/// Identities that rules name and the settings here do not. They may be those of another machine than the app's.
fn unnamed_identities(rules: &Rules) -> Vec<Warning> {
    let named = further_identities(&ProcessVars);
    let without = rules.iter().filter_map(|rule| Some((rule, rule.endpoint.identity.as_ref()?)));
    let unnamed = without.filter(|(_, identity)| !named.contains(identity));
    let warning = |(rule, identity): (&Rule, &IdentityName)| Warning {
        seen: format!(
            "rule `{}` has its endpoint asked as the identity `{identity}`, which SCOREKEEPER_IDENTITIES does not name here",
            rule.id
        ),
        cause: "an app with such settings refuses the rules".to_owned(),
        remedy: format!(
            "name it in the app's settings and say who it is (SCOREKEEPER_IDENTITY_{})",
            identity.to_ascii_uppercase()
        ),
    };
    unnamed.map(warning).collect()
}

/// Prints what each rule makes of the blob.
fn test(rules: &Rules, blob: &BlobVersion, now: OffsetDateTime, out: &mut dyn Write) -> io::Result<u8> {
    writeln!(out, "{} in container {} of account {}", blob.path, blob.container, blob.account)?;
    if let Some(rule) = rules.output_of(blob) {
        writeln!(
            out,
            "It has the form of an output of rule {}: it is skipped if the ledger handed that path out.",
            rule.id
        )?;
    }
    let mut wanted = false;
    for rule in rules {
        if let Some(why) = rule.refuses(blob) {
            writeln!(out, "rule {} does not want it: {why}", rule.id)?;
        } else {
            wanted = true;
            sent(rule, blob, now, out)?;
        }
    }
    Ok(if wanted { 0 } else { ATTENTION })
}

fn sent(rule: &Rule, blob: &BlobVersion, now: OffsetDateTime, out: &mut dyn Write) -> io::Result<()> {
    // The id depends on the ledger and the version, which are not known here.
    let ledger = LedgerId::of_random([0; 16]);
    let scoring = Scoring::accept(&ledger, rule, blob.clone(), now);
    let group = rule.group.as_ref().and_then(|settings| ExampleGroup::of(rule, settings, &scoring, &ledger, now));
    let submission = rule.submission(group.as_ref().map_or(&scoring, |group| &group.scoring), 1);
    let shown = |text: &str| match &group {
        Some(group) => group.shown(text),
        None => text.replace(scoring.id.as_str(), "{scoring.id}"),
    };
    let asks = if rule.asks_what_no_event_tells() { ", if a look at its metadata and index tags agrees" } else { "" };
    let shared = match &group {
        Some(group) if group.too_large().is_some() => ", and one job scores it alone",
        Some(_) => ", and one job scores it with others",
        None => "",
    };
    writeln!(out, "rule {} wants it{asks}{shared}", rule.id)?;
    if let Some(group) = &group {
        group.tell(out)?;
    }
    let deployment = scoring.deployment.as_deref().unwrap_or("(the endpoint's default)");
    writeln!(out, "  endpoint    {}\n  deployment  {deployment}", rule.endpoint.uri)?;
    if let Some(identity) = &rule.endpoint.identity {
        writeln!(out, "  identity    {identity}")?;
    }
    if let Some(split) = &rule.endpoint.deployments {
        writeln!(out, "              for this URL, of {split}")?;
    }
    for (name, input) in &submission.inputs {
        let (kind, value, mode) = match input {
            Input::UriFile(data) => ("UriFile", shown(&data.uri), data.mode),
            Input::UriFolder(data) => ("UriFolder", shown(&data.uri), data.mode),
            Input::Literal { value } => ("Literal", shown(value), None),
        };
        let mode = mode.map(|mode| format!(" {mode:?}")).unwrap_or_default();
        writeln!(out, "  input       {name} {kind}{mode} {value}")?;
    }
    for (name, output) in &submission.outputs {
        let kind = match output.kind {
            OutputKind::UriFile => "UriFile",
            OutputKind::UriFolder => "UriFolder",
        };
        writeln!(out, "  output      {name} {kind} {}", shown(&output.uri))?;
    }
    for (name, _, publish) in rule.published() {
        let uri = publish.uri.fill(&scoring.values(1));
        let if_exists = match publish.if_exists {
            IfExists::Refuse => "refuse",
            IfExists::Replace => "replace",
            IfExists::Version => "version",
        };
        writeln!(out, "  published   {name} {}, ifExists {if_exists}", shown(&uri))?;
    }
    if !submission.settings.is_empty() {
        writeln!(out, "  settings    {}", shown(&serde_json::Value::Object(submission.settings).to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    const RULES: &str = r#"{"rules": [
        {"id": "claims", "match": {"container": "claims", "prefix": "eu/"}, "endpoint": {"uri": "https://e.example/jobs", "deployment": "v7"},
         "settings": {"MiniBatchSize": 5}},
        {"id": "all", "match": {"container": "claims"}, "endpoint": {"uri": "https://e.example/jobs"}},
        {"id": "scans", "match": {"container": "scans"}, "endpoint": {"uri": "https://e.example/jobs"}}]}"#;

    fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<u8>) -> (u8, String) {
        let mut out = Vec::new();
        let code = write(&mut out).expect("a vector takes all");
        (code, String::from_utf8(out).expect("text"))
    }

    fn checked(text_of_rules: &str, json: bool) -> (u8, String) {
        let rules = RulesText { shown: "rules.json".to_owned(), text: text_of_rules.to_owned() };
        let json = if json { JsonArgs::ALL } else { JsonArgs::TEXT };
        text(|out| check(&rules, None, None, &json, out).map_err(io::Error::other))
    }

    #[test]
    fn check_tells_problems_with_their_places_and_warnings_of_good_rules() {
        let (code, said) = checked(RULES, false);
        assert!(
            code == 0 && said.starts_with("rules.json: good, 3 rules\nwarning: rules `claims` and `all` may"),
            "{said}"
        );
        let (code, said) = checked(&RULES.replace("\"scans\"}", "\"Scans\"}"), false);
        assert!(code == 1 && said.starts_with("rules.json: one problem\nrules[2].match.container (line 5, "), "{said}");
        let (code, said) = checked(r#"{"rules": [{"id": "a"}]}"#, true);
        let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        let first = json!({ "path": "rules[0].endpoint", "line": 1, "column": 12, "expected": "where its scorings go",
            "remedy": "write \"endpoint\": { \"uri\": \"https://ENDPOINT.REGION.inference.ml.azure.com/jobs\" }" });
        assert_eq!((code, &said["problems"][0], &said["rules"]), (1, &first, &json!(0)));
        assert_eq!(said["problems"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn check_warns_of_outputs_that_may_fall_into_a_watched_place() {
        let uri = "azureml://datastores/scans/paths/{scoring.id}/{attempt}/p.csv";
        let outputs = json!({"score": {"type": "UriFile", "uri": uri}});
        let rule = json!({"id": "a", "match": {"container": "scans"}, "endpoint": {"uri": "https://e.example/jobs"}, "outputs": outputs});
        let (code, said) = checked(&json!({ "rules": [rule] }).to_string(), false);
        assert!(code == 0 && said.contains("warning: rule `a`: output `score`, such as"), "{said}");
        assert!(said.contains("falls into the place that rule `a` watches"), "{said}");
    }

    #[test]
    fn test_says_what_is_sent_and_why_each_other_rule_does_not_want_it() {
        let rules = Rules::read(RULES).expect("good rules");
        let tested = |url: &str| {
            let blob = BlobVersion::read(url, "ETAG").expect("a blob");
            text(|out| test(&rules, &blob, NOW, out))
        };
        let (code, said) = tested("https://uploads.dfs.core.windows.net/claims/us/a%20b.csv?sig=x");
        let golden = "\
us/a b.csv in container claims of account uploads
rule claims does not want it: path does not begin with `eu/`
rule all wants it
  endpoint    https://e.example/jobs
  deployment  (the endpoint's default)
  input       input_data UriFile https://uploads.blob.core.windows.net/claims/us/a%20b.csv
  output      score UriFile azureml://datastores/workspaceblobstore/paths/scorekeeper/all/{scoring.id}/1/predictions.csv
rule scans does not want it: container `claims` is not `scans`
";
        assert_eq!((code, said.as_str()), (0, golden));
        let (code, said) = tested("https://uploads.blob.core.windows.net/claims/eu/a.csv");
        assert!(
            code == 0 && said.contains("  deployment  v7\n") && said.contains("  settings    {\"miniBatchSize\":5}\n"),
            "{said}"
        );
        assert_eq!(tested("https://uploads.blob.core.windows.net/other/a.csv").0, 1);
        let publishing = RULES.replace(
            r#""settings": {"MiniBatchSize": 5}"#,
            r#""outputs": {"score": {"type": "UriFile", "uri": "azureml://datastores/d/paths/{scoring.id}/{attempt}/p",
                "publish": {"uri": "azureml://datastores/d/paths/latest/{blob.path}", "ifExists": "refuse"}}}"#,
        );
        let publishing = Rules::read(&publishing).expect("good rules");
        let upload = BlobVersion::read("https://uploads.blob.core.windows.net/claims/eu/a.csv", "E").expect("a blob");
        let (_, said) = text(|out| test(&publishing, &upload, NOW, out));
        let line = "  published   score azureml://datastores/d/paths/latest/eu/a.csv, ifExists refuse\n";
        assert!(said.contains(line), "{said}");
        let event = |url: &str| {
            let event = json!({"eventType": "Microsoft.Storage.BlobCreated", "id": "1",
                "data": {"api": "PutBlob", "url": url, "eTag": "0x1", "contentLength": 5, "blobType": "BlockBlob"}});
            let told = TestSubject::Event(Payload::new(event.to_string()));
            text(|out| told.test(&rules, NOW, out).map_err(io::Error::other))
        };
        let (code, said) = event("https://uploads.blob.core.windows.net/claims/us/a%20b.csv");
        assert_eq!((code, said.as_str()), (0, golden), "an event is read as it would be when it is delivered");
        let (code, said) = event("https://uploads.blob.core.windows.net/photos/a.jpg");
        assert!(code == 1 && said.contains("photos/a.jpg is skipped: "), "{said}");
        let none = TestSubject::Event(Payload::new("[]".to_owned()));
        assert_eq!(
            text(|out| none.test(&rules, NOW, out).map_err(io::Error::other)),
            (1, "There is no event in it.\n".to_owned())
        );
        let (code, said) = event("nonsense");
        assert!(code == 1 && said.starts_with("It is quarantined: "), "{said}");
        let own =
            "https://o.blob.core.windows.net/x/scorekeeper/all/0123456789abcdef0123456789abcdef/1/predictions.csv";
        let (code, said) = tested(own);
        assert!(code == 1 && said.contains("It has the form of an output of rule claims"), "{said}");
        let (code, said) = tested(&own.replace("/x/", "/claims/"));
        let rules =
            ["It has the form of an output of rule claims", "rule claims does not want it", "rule all wants it"];
        assert!(code == 0 && rules.iter().all(|part| said.contains(part)), "only the ledger knows: {said}");
    }

    #[test]
    fn test_says_what_only_a_look_can_tell() {
        let asking =
            RULES.replace(r#"{"container": "scans"}"#, r#"{"container": "scans", "metadata": {"tenant": true}}"#);
        let asking = Rules::read(&asking).expect("good rules");
        let scan = BlobVersion::read("https://uploads.blob.core.windows.net/scans/a.tif", "ETAG").expect("a blob");
        let (code, said) = text(|out| test(&asking, &scan, NOW, out));
        assert!(
            code == 0 && said.contains("rule scans wants it, if a look at its metadata and index tags agrees"),
            "{said}"
        );
        // What one rule wants as it is told is not hidden by another that wants it looked at.
        let both = RULES.replace(
            r#""match": {"container": "claims"}"#,
            r#""match": {"container": "claims", "metadata": {"a": "b"}}"#,
        );
        let both = Rules::read(&both).expect("good rules");
        let told = json!({"eventType": "Microsoft.Storage.BlobCreated", "id": "1", "data": {"api": "PutBlob", "eTag": "0x1",
            "url": "https://uploads.blob.core.windows.net/claims/eu/a.csv", "contentLength": 5, "blobType": "BlockBlob"}});
        let told = TestSubject::Event(Payload::new(told.to_string()));
        let (code, said) = text(|out| told.test(&both, NOW, out).map_err(io::Error::other));
        let parts = [
            "rule claims wants it\n",
            "rule all wants it, if a look",
            "rule scans does not want it: ",
            "It is looked at before rule all takes it in: ",
        ];
        assert!(code == 0 && parts.iter().all(|part| said.contains(part)), "{said}");
    }

    fn grouped(group: &serde_json::Value) -> String {
        grouped_of_size(group, None)
    }

    fn grouped_of_size(group: &serde_json::Value, size: Option<u64>) -> String {
        let rules = json!({"rules": [{"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": "https://e.example/jobs"},
            "group": group}]});
        let rules = Rules::read(&rules.to_string()).expect("good rules");
        let url = "https://uploads.blob.core.windows.net/claims/eu/a.csv";
        let blob = BlobVersion { size, ..BlobVersion::read(url, "ETAG").expect("a blob") };
        let (code, said) = text(|out| test(&rules, &blob, NOW, out));
        assert_eq!(code, 0);
        said
    }

    #[test]
    fn what_is_grouped_is_told_with_whom_it_waits_for_and_the_job_over_its_copy() {
        let golden = "\
eu/a.csv in container claims of account uploads
rule claims wants it, and one job scores it with others
  group       with others of the folder https://uploads.blob.core.windows.net/claims/eu, 50 files at most
  waits       until so many wait, or https://uploads.blob.core.windows.net/claims/eu/_SUCCESS lies there, for P1D at most; then for the next reconcile run
  copied to   https://uploads.blob.core.windows.net/scorekeeper-staging/{ledger}/{group}/files/{scoring.id}.csv
  endpoint    https://e.example/jobs
  deployment  (the endpoint's default)
  input       input_data UriFolder https://uploads.blob.core.windows.net/scorekeeper-staging/{ledger}/{group}/files/
  output      score UriFile azureml://datastores/workspaceblobstore/paths/scorekeeper/claims/{group}/1/predictions.csv
  settings    {\"errorThreshold\":0}
";
        assert_eq!(grouped(&json!({"by": "marker", "maxFiles": 50})), golden);
        let by_time = grouped(&json!({"by": "time", "maxBytes": 1000}));
        assert!(
            by_time.contains(
                "  group       with others of account uploads that the rule wants, 100 files and 1000 bytes at most; if it has as many itself, it is a group of its own\n"
            ) && by_time.contains("  waits       until so many wait, for PT5M at most;"),
            "{by_time}"
        );
        for (bytes, alone) in [(1_000, true), (999, false)] {
            let told = grouped_of_size(&json!({"by": "time", "maxBytes": 1000}), Some(bytes));
            let limit = "  group       of its own, without others of account uploads that the rule wants: it has 1000 bytes, and `group.maxBytes` is 1000\n  waits       for the next reconcile run\n";
            assert_eq!(
                told.contains("wants it, and one job scores it alone\n") && told.contains(limit),
                alone,
                "{told}"
            );
        }
    }
}
