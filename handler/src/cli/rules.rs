//! `scorekeeper rules`: what is wrong with rules, and what they make of a blob, before anything is deployed. No ledger and no
//! cloud is asked.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use app::ports::Clock;
use clap::Subcommand;
use lifecycle::blob::InvalidBlob;
use lifecycle::intake::{self, Classification};
use lifecycle::job::{Input, OutputKind};
use lifecycle::payload::TooManyEvents;
use lifecycle::{BlobVersion, LedgerId, Payload, Rule, Rules, Scoring};
use serde_json::json;
use time::OffsetDateTime;

use super::working_directory;
use crate::config::{ProcessVars, RulesText};
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
        /// The rules [default: those that the settings name, else those of the `local` in .scorekeeper]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say which rule wants a blob, what would be sent, and why each other rule does not; exit code 1 if none wants it.
    Test {
        /// The blob's URL, or a file with the event that tells of it
        #[arg(value_name = "BLOB-URL|EVENT.json")]
        blob: String,
        /// The rules [default: those that the settings name, else those of the `local` in .scorekeeper]
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
    },
}

/// Why rules cannot be tried on a blob.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// What was given is not the URL of a blob.
    #[error("give the blob's URL, https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH, or a file with an event")]
    Blob(#[source] InvalidBlob),
    /// The event's file.
    #[error("`{file}` cannot be read; give a blob's URL, or a file with an event")]
    Event {
        /// Its path.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// More events than the app takes at once.
    #[error(transparent)]
    TooManyEvents(#[from] TooManyEvents),
}

/// What rules are tried on.
enum Told {
    Blob(BlobVersion),
    Event(Payload),
}

impl Told {
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
        let mut code = 0;
        for classification in intake::read(event, &ledger, rules, now).map_err(Error::from)? {
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
        Classification::Pending { uploads, .. } => {
            for upload in uploads {
                writeln!(
                    out,
                    "It is looked at in storage before rule {} takes it in: {}.",
                    upload.rule, upload.reason
                )?;
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

/// Something needs attention.
const ATTENTION: u8 = 1;

pub(super) fn run(args: &RulesArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let mut out = Redacting::new(io::stdout());
    let read = |file: &Option<PathBuf>| {
        Ok::<_, super::Error>(RulesText::read(&ProcessVars, &working_directory()?, file.as_deref())?)
    };
    let code = match &args.question {
        Question::Check { file, json } => check(&read(file)?, *json, &mut out)?,
        Question::Test { blob, rules } => {
            let told = Told::read(blob)?;
            let RulesText { shown, text } = read(rules)?;
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

/// Prints what is wrong, or that nothing is, and what looks wrong.
fn check(RulesText { shown, text }: &RulesText, json: bool, out: &mut dyn Write) -> io::Result<u8> {
    let read = Rules::read(text);
    let warnings = read.as_ref().map(Rules::warnings).unwrap_or_default();
    let problems: Vec<_> = read.as_ref().err().into_iter().flatten().collect();
    let count = read.as_ref().map_or(0, |rules| rules.iter().filter(|rule| rule.shadow_of.is_none()).count());
    if json {
        let report = json!({ "file": shown, "rules": count, "problems": problems, "warnings": warnings });
        writeln!(out, "{report:#}")?;
    } else {
        match problems.len() {
            0 => writeln!(out, "{shown}: good, {count} {}", if count == 1 { "rule" } else { "rules" })?,
            1 => writeln!(out, "{shown}: one problem")?,
            many => writeln!(out, "{shown}: {many} problems")?,
        }
        problems.iter().try_for_each(|problem| writeln!(out, "{problem}"))?;
        warnings.iter().try_for_each(|warning| writeln!(out, "warning: {warning}"))?;
    }
    Ok(if problems.is_empty() { 0 } else { ATTENTION })
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
    let scoring = Scoring::accept(&LedgerId::of_random([0; 16]), rule, blob.clone(), now);
    let submission = rule.submission(&scoring, 1);
    let shown = |text: &str| text.replace(scoring.id.as_str(), "{scoring.id}");
    let asks = if rule.asks_what_no_event_tells() { ", if a look at its metadata and index tags agrees" } else { "" };
    writeln!(out, "rule {} wants it{asks}", rule.id)?;
    let deployment = scoring.deployment.as_deref().unwrap_or("(the endpoint's default)");
    writeln!(out, "  endpoint    {}\n  deployment  {deployment}", rule.endpoint.uri)?;
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
    if !submission.settings.is_empty() {
        writeln!(out, "  settings    {}", shown(&serde_json::Value::Object(submission.settings).to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        text(|out| check(&rules, json, out))
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
        let event = |url: &str| {
            let event = json!({"eventType": "Microsoft.Storage.BlobCreated", "id": "1",
                "data": {"api": "PutBlob", "url": url, "eTag": "0x1", "contentLength": 5, "blobType": "BlockBlob"}});
            let told = Told::Event(Payload::new(event.to_string()));
            text(|out| told.test(&rules, NOW, out).map_err(io::Error::other))
        };
        let (code, said) = event("https://uploads.blob.core.windows.net/claims/us/a%20b.csv");
        assert_eq!((code, said.as_str()), (0, golden), "an event is read as it would be when it is delivered");
        let (code, said) = event("https://uploads.blob.core.windows.net/photos/a.jpg");
        assert!(code == 1 && said.contains("photos/a.jpg is skipped: "), "{said}");
        let asking =
            RULES.replace(r#"{"container": "scans"}"#, r#"{"container": "scans", "metadata": {"tenant": true}}"#);
        let asking = Rules::read(&asking).expect("good rules");
        let scan = BlobVersion::read("https://uploads.blob.core.windows.net/scans/a.tif", "ETAG").expect("a blob");
        let (code, said) = text(|out| test(&asking, &scan, NOW, out));
        assert!(
            code == 0 && said.contains("rule scans wants it, if a look at its metadata and index tags agrees"),
            "{said}"
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
}
