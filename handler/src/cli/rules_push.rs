//! `scorekeeper rules push`: puts rules into the blob that the app reads them from.
//!
//! What is there is compared first, and written is on the condition that it still is the same: nobody's change is overwritten. Event
//! subscriptions, their filters and roles are made at deployment, so what new rules need of them is told before anything is written.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use ::doctor::{Caller, RulesSeen, RulesState};
use app::ports::Clock;
use azure::small_blob::{BlobRead, Error as BlobError};
use lifecycle::Rules;
use lifecycle::rule::Allowed;

use super::json::JsonArgs;
use super::rules::{Error, check};
use super::rules_deployed::{DeployedArgs, print};
use super::{one_thread, working_directory};
use crate::compose;
use crate::config::{Config, Problem, Problems, ProcessVars, RulesAccess, RulesText, given_blob};

/// Which rules file `rules push` writes, and into which blob.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PushArgs {
    /// The rules
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The blob [default: the one that SCOREKEEPER_RULES names]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// What is deployed, and what the app allows; of this process where no settings are given.
    #[command(flatten)]
    deployed: DeployedArgs,
    /// Say what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &PushArgs, clock: &Clock, out: &mut dyn Write) -> Result<u8, super::Error> {
    let cwd = working_directory()?;
    let settings = args.deployed.app_settings(&ProcessVars)?;
    let access = RulesAccess::read(&settings)?;
    let (url, place) = match (&args.to, &access.in_blob) {
        (Some(to), _) => given_blob("--to", to)?,
        (None, Some(in_blob)) => (in_blob.url.clone(), in_blob.blob.clone()),
        (None, None) => return Err(nowhere().into()),
    };
    let text = RulesText::read(&ProcessVars, &cwd, Some(&args.file))?;
    let allowed = access.in_blob.as_ref().map(|it| Allowed { blob: place.clone(), ..it.allowed(access.hosts.clone()) });
    let code = check(&text, allowed.as_ref(), None, &JsonArgs::TEXT, out)?;
    if code != 0 {
        writeln!(out, "Nothing was written.")?;
        return Ok(code);
    }
    if allowed.is_none() {
        writeln!(
            out,
            "What rules in a blob may name is not known here; the app refuses what its settings do not allow (--settings FILE)."
        )?;
    }
    let new = Rules::read(&text.text).map_err(|_| nowhere())?;
    let caller = if settings.is_app() { Caller::App } else { Caller::Operator };
    let blob = compose::rules_blob(&access, &url, caller, clock).map_err(Error::from)?;
    let runtime = one_thread()?;
    let there = match runtime.block_on(blob.read(None)) {
        Ok(BlobRead::Version { etag, bytes }) => Some((etag, bytes)),
        Ok(BlobRead::Unchanged) | Err(BlobError::Missing(_)) => None,
        Err(error) => return Err(Error::from(error).into()),
    };
    if let Some((etag, bytes)) = &there
        && *bytes == text.text.as_bytes()
    {
        writeln!(out, "{url} has these rules already (ETag {etag}).")?;
        return Ok(0);
    }
    let old = there.as_ref().and_then(|(_, bytes)| Rules::read(std::str::from_utf8(bytes).ok()?).ok());
    changes(there.is_some(), old.as_ref(), &new, out)?;
    to_deploy(old.as_ref(), &new, out)?;
    let seen = RulesSeen {
        url: url.to_string(),
        account: place.account.clone(),
        container: place.container.clone(),
        state: RulesState::Good { etag: String::new() },
    };
    // Where there are no settings of an app, nothing is known of what is deployed.
    if Config::read(&settings, &cwd).is_ok() && !print(&args.deployed.compare(new, Some(seen), clock)?, out)? {
        writeln!(out, "Nothing was written.")?;
        return Ok(1);
    }
    if args.dry_run {
        writeln!(out, "Nothing was written (--dry-run).")?;
        return Ok(0);
    }
    let known = there.as_ref().map(|(etag, _)| etag.as_str());
    let etag = runtime.block_on(blob.write(text.text.as_bytes(), known)).map_err(Error::from)?;
    writeln!(out, "{url} was written (ETag {}); the app goes by it within a minute.", etag.unwrap_or_default())?;
    Ok(0)
}

fn nowhere() -> Problems {
    Problems(vec![Problem {
        name: "--to".to_owned(),
        value: None,
        expected: "the URL of the blob that the app reads its rules from".to_owned(),
        remedy: "write --to https://ACCOUNT.blob.core.windows.net/CONTAINER/rules.json, or give the app's settings (--settings FILE)"
            .to_owned(),
    }])
}

/// Prints which rules are new, other or gone.
fn changes(is_there: bool, old: Option<&Rules>, new: &Rules, out: &mut dyn Write) -> std::io::Result<()> {
    if is_there && old.is_none() {
        writeln!(out, "The rules that are there are broken, so that nothing can be compared.")?;
    }
    let none = Rules::default();
    let old = old.unwrap_or(&none);
    let mut same = true;
    for rule in new {
        let what = match old.get(&rule.id) {
            None => "new",
            Some(before) if before != rule => "changed",
            Some(_) => continue,
        };
        same = false;
        writeln!(out, "  {what:7} rule {}", rule.id)?;
    }
    for rule in old.iter().filter(|rule| new.get(&rule.id).is_none()) {
        same = false;
        writeln!(out, "  removed rule {}", rule.id)?;
    }
    for rule in new {
        if old.endpoint(&rule.endpoint.uri) != new.endpoint(&rule.endpoint.uri) && old.get(&rule.id).is_some() {
            same = false;
            writeln!(out, "  changed limits of the endpoint {}", rule.endpoint.uri)?;
        }
    }
    if same { writeln!(out, "  no rule is another; the file is written differently") } else { Ok(()) }
}

/// Prints what subscriptions, filters and roles of today's rules may leave out.
fn to_deploy(old: Option<&Rules>, new: &Rules, out: &mut dyn Write) -> std::io::Result<()> {
    let watched = |rules: &Rules| -> BTreeSet<(String, String)> {
        let account =
            |rule: &lifecycle::Rule| rule.matches.account.as_ref().map(ToString::to_string).unwrap_or_default();
        rules.iter().map(|rule| (account(rule), rule.matches.container.to_string())).collect()
    };
    let before = old.map(watched).unwrap_or_default();
    for (account, container) in watched(new).difference(&before) {
        let place = if account.is_empty() { container.clone() } else { format!("{account}/{container}") };
        writeln!(
            out,
            "  to deploy: no rule watched the container {place} until now; its events arrive only if watchedAccounts names it \
             (both stages), and the app needs the right to read it"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_and_what_must_be_deployed_is_told_rule_by_rule() {
        let rules = |all: &[(&str, &str, u32)]| {
            let rule = |(id, container, generation): &(&str, &str, u32)| {
                serde_json::json!({"id": id, "generation": generation, "match": {"account": "uploads", "container": container},
                    "endpoint": {"uri": "https://e.example/jobs"}})
            };
            let all: Vec<_> = all.iter().map(rule).collect();
            Rules::read(&serde_json::json!({ "rules": all }).to_string()).expect("good rules")
        };
        let old = rules(&[("same", "one", 0), ("other", "one", 0), ("gone", "two", 0)]);
        let new = rules(&[("same", "one", 0), ("other", "one", 1), ("fresh", "three", 0)]);
        let mut out = Vec::new();
        changes(true, Some(&old), &new, &mut out).expect("a vector takes all");
        to_deploy(Some(&old), &new, &mut out).expect("a vector takes all");
        let said = String::from_utf8(out).expect("text");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[..3], ["  changed rule other", "  new     rule fresh", "  removed rule gone"], "{said}");
        assert!(lines.len() == 4 && lines[3].contains("uploads/three"), "{said}");
    }
}
