//! `run --dry-run`: the request as it would be sent.

use std::io::Write;

use app::ports::Clock;
use lifecycle::scoring::StartOf;
use lifecycle::{LedgerId, Rule, Rules, Scoring, UnversionedBlob};

use super::alone::Explicit;
use super::{Error, RunArgs};
use crate::cli::rules;

/// Stands for the ETag, which only a look tells.
const ETAG: &str = "ETAG";

/// Prints what would be sent for each blob.
pub(super) fn print(
    args: &RunArgs,
    blobs: &[UnversionedBlob],
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<u8, crate::cli::Error> {
    if let Some(endpoint) = &args.endpoint {
        let explicit = Explicit::read(args, endpoint, blobs)?;
        for (id, blob) in &explicit.blobs {
            if let Some(rule) = explicit.rules.get(id) {
                one(args, rule, blob, clock, out)?;
            }
        }
        return Ok(0);
    }
    let given = rules::given_or_set(clock)?;
    let read = Rules::read(&given.text).map_err(Error::Request)?;
    let id = args.rule.clone().unwrap_or_default();
    let rule = read.get(&id).ok_or_else(|| Error::NoSuchRule(id.clone(), given.shown.clone()))?;
    if let Some((name, _)) = args.param.iter().find(|(name, _)| rule.parameters().all(|declared| declared != name)) {
        return Err(Error::NotDeclared { rule: id, name: name.clone() }.into());
    }
    let mut code = 0;
    for blob in blobs {
        if let Some(why) = rule.refuses_name(&blob.account, &blob.container, &blob.path) {
            writeln!(out, "rule {} does not accept {}: {why}", rule.id, blob.path)?;
            code = super::ATTENTION;
        } else {
            one(args, rule, blob, clock, out)?;
        }
    }
    Ok(code)
}

fn one(args: &RunArgs, rule: &Rule, blob: &UnversionedBlob, clock: &Clock, out: &mut dyn Write) -> Result<(), Error> {
    let shown = blob.url.clone();
    let version = blob.version(ETAG).map_err(|invalid| Error::Blob(shown, invalid))?;
    let mut scoring = Scoring::accept(&LedgerId::of_random([0; 16]), rule, version, clock());
    scoring.start = StartOf { key: None, parameters: args.param.iter().cloned().collect() }.boxed();
    scoring.attempt = 1;
    let submission = rule.submission(&scoring, 1);
    let body = azure::batch_endpoint::request_body(&scoring, &submission).unwrap_or_default();
    let body = serde_json::to_string_pretty(&body).unwrap_or_default(); // texts always serialise
    writeln!(out, "POST {}", rule.endpoint.uri)?;
    if let Some(deployment) = &scoring.deployment {
        writeln!(out, "azureml-model-deployment: {deployment}")?;
    }
    // The id is made of the ledger's and the version's.
    writeln!(out, "\n{}", body.replace(scoring.id.as_str(), "{scoring.id}"))?;
    Ok(())
}
