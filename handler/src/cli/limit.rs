//! `scorekeeper limit`: shows limits, or sets one; `pause` and `resume`: the same for who wants no number.

use std::io::Write;

use time::OffsetDateTime;

use super::json::JsonArgs;
use super::on_ledger::{ATTENTION, Error, OK};
use super::view::{shortened, utc_text};
use crate::config::WhichLedger;
use app::ledger::{ControlOutcome, Controls, Ledger, LimitChange, LimitScope};
use app::reports::{self, LimitView};
use lifecycle::text::{shell, visible};

/// Lines of a history that are read.
pub(super) const MAX_LINES: usize = 100;

/// `limit`: shows limits, or sets one for all processes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LimitArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// Of this rule
    #[arg(long, value_name = "ID", conflicts_with = "endpoint")]
    pub rule: Option<String>,
    /// Of the endpoint with this invoke URI
    #[arg(long, value_name = "URI")]
    pub endpoint: Option<String>,
    /// Most scorings in flight, 0 to pause, or `default` for what the rules say; without it limits are shown
    #[arg(value_name = "N|default", value_parser = new_limit, conflicts_with = "JsonArgs", requires = "reason")]
    pub new_limit: Option<NewLimit>,
    /// Why it is set: it stands in the history, with who set it
    #[arg(long, value_name = "TEXT", requires = "new_limit", conflicts_with = "history")]
    pub reason: Option<String>,
    /// Show what operators have set, when and why, the newest first
    #[arg(long, conflicts_with_all = ["new_limit", "JsonArgs"])]
    pub history: bool,
    /// Whether limits are shown as a JSON array; a change and the history have no JSON.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// `pause` and `resume`: of which rule or endpoint, and why.
#[derive(Debug, Clone, clap::Args)]
pub struct PauseArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The rule's id, or the endpoint's invoke URI
    #[arg(value_name = "RULE|ENDPOINT", required_unless_present = "all")]
    pub scope: Option<String>,
    /// Of every rule that the last reconcile run saw
    #[arg(long, conflicts_with = "scope")]
    pub all: bool,
    /// Why: it stands in the history of the limit, with who said it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// What a limit is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewLimit {
    /// Most scorings in flight at one time; 0 pauses the rule or endpoint.
    Of(u32),
    /// What the rules say; what an operator had set before is forgotten.
    Default,
}

/// A limit that is neither a number nor `default`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither a number from 0 nor `default`")]
struct NoLimit(String);

fn new_limit(text: &str) -> Result<NewLimit, NoLimit> {
    if text == "default" {
        return Ok(NewLimit::Default);
    }
    // Rows hold signed numbers.
    let number = text.parse::<u32>().ok().filter(|new_limit| i32::try_from(*new_limit).is_ok());
    number.map(NewLimit::Of).ok_or_else(|| NoLimit(text.to_owned()))
}

impl LimitArgs {
    fn scope(&self) -> Option<(LimitScope, &str)> {
        let rule = self.rule.as_deref().map(|id| (LimitScope::rule(id), id));
        rule.or_else(|| self.endpoint.as_deref().map(|uri| (LimitScope::endpoint(uri), uri)))
    }
}

/// `pause`: nothing more of it is sent. `resume`: what held before the pause, an operator's limit or the rules.
pub async fn pause(
    ledger: &Ledger,
    pauses: bool,
    args: &PauseArgs,
    by: &str,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    if args.reason.trim().is_empty() {
        writeln!(out, "Nothing was changed: --reason is empty; it tells whoever reads the history why.")?;
        return Ok(ATTENTION);
    }
    let controls = ledger.controls().await?;
    let is_paused = |scope: &LimitScope| controls.limits.get(scope).is_some_and(|live| live.limit == 0);
    let named: Vec<(LimitScope, &str)> = match &args.scope {
        Some(name) if name.contains("://") => vec![(LimitScope::endpoint(name), name)],
        Some(name) => vec![(LimitScope::rule(name), name)],
        None => {
            if controls.scopes.is_empty() {
                writeln!(out, "Nothing was changed: no reconcile run has reported a rule yet.")?;
                return Ok(ATTENTION);
            }
            let rules = controls.scopes.iter().filter(|(scope, _)| matches!(scope, LimitScope::Rule(_)));
            rules.map(|(scope, status)| (scope.clone(), status.name.as_str())).collect()
        }
    };
    let (mut code, mut changed) = (OK, 0);
    for (scope, name) in named.iter().filter(|(scope, _)| is_paused(scope) != pauses) {
        let new_limit = if pauses {
            NewLimit::Of(0)
        } else {
            let before = ledger.limit_history(scope, MAX_LINES).await?;
            let before = before.iter().map(|line| line.limit).find(|limit| *limit != Some(0));
            before.flatten().map_or(NewLimit::Default, NewLimit::Of)
        };
        let change = Change { scope, name, new_limit, by, reason: Some(&args.reason) };
        code = code.max(set(ledger, &controls, &change, now, out).await?);
        changed += 1;
    }
    if changed == 0 {
        match (args.scope.as_deref(), pauses) {
            (Some(name), true) => writeln!(out, "Nothing was changed: {name} is paused.")?,
            (Some(name), false) => writeln!(out, "Nothing was changed: {name} is not paused.")?,
            (None, true) => writeln!(out, "Nothing was changed: every rule is paused.")?,
            (None, false) => writeln!(out, "Nothing was changed: no rule is paused.")?,
        }
        return Ok(ATTENTION);
    }
    Ok(code)
}

/// Shows the limits that `args` asks for, or sets one in the name of `by`. Returns the exit code: `ATTENTION` if one should be set and
/// was not.
pub async fn limit(
    ledger: &Ledger,
    args: &LimitArgs,
    by: &str,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let controls = ledger.controls().await?;
    let wanted = args.scope();
    if args.new_limit.is_some() && args.reason.as_deref().is_some_and(|reason| reason.trim().is_empty()) {
        writeln!(out, "Nothing was changed: --reason is empty; it tells whoever reads the history why.")?;
        return Ok(ATTENTION);
    }
    if let (Some(new_limit), Some((scope, name))) = (args.new_limit, &wanted) {
        let change = Change { scope, name, new_limit, by, reason: args.reason.as_deref() };
        return set(ledger, &controls, &change, now, out).await;
    }
    if args.new_limit.is_some() {
        writeln!(
            out,
            "Name what is limited: --rule ID or --endpoint URI. `scorekeeper pause --all` stops everything."
        )?;
        return Ok(ATTENTION);
    }
    let views: Vec<_> = reports::limits(&controls)
        .into_iter()
        .filter(|view| wanted.as_ref().is_none_or(|(scope, _)| scope_of(view) == *scope))
        .collect();
    if args.history {
        return history(ledger, &views, out).await;
    }
    if args.json.is_asked_for() {
        args.json.write(&views, out)?;
        return Ok(OK);
    }
    if views.is_empty() {
        let text =
            if wanted.is_some() { unknown(&controls) } else { "No reconcile run has reported a rule yet.".to_owned() };
        writeln!(out, "{text}")?;
        return Ok(if wanted.is_some() { ATTENTION } else { OK });
    }
    for view in views {
        writeln!(out, "{:8}  {:50}  {}", view.kind, shortened(&view.name, 50), view.summary())?;
        if view.limit == Some(0) && view.set_time.is_some() {
            writeln!(out, "{:8}  scorekeeper resume {} --reason … lets it go", "", shell(&view.name))?;
        }
        if let Some(reason) = view.reason.filter(|_| view.waiting > 0) {
            writeln!(out, "{:8}  {reason}", "")?;
        }
    }
    Ok(OK)
}

fn scope_of(view: &LimitView) -> LimitScope {
    if view.kind == "rule" { LimitScope::rule(&view.name) } else { LimitScope::endpoint(&view.name) }
}

/// What operators have set of these, the newest first.
async fn history(ledger: &Ledger, views: &[LimitView], out: &mut dyn Write) -> Result<u8, Error> {
    let mut lines = Vec::new();
    for view in views {
        let of_it = ledger.limit_history(&scope_of(view), MAX_LINES).await?;
        lines.extend(of_it.into_iter().map(|line| (view.kind, line)));
    }
    lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.at));
    for (kind, LimitChange { name, limit, at, by, reason }) in &lines {
        let limit = limit.map_or_else(|| "as the rules say".to_owned(), |limit| limit.to_string());
        let (name, reason) = (visible(name), visible(reason.as_deref().unwrap_or("no reason was given")));
        writeln!(out, "{}  {kind} {name}: {limit}  by {} ({reason})", utc_text(*at), visible(by))?;
    }
    if lines.is_empty() {
        writeln!(out, "No operator has set a limit.")?;
    }
    Ok(OK)
}

/// What is set, of what, by whom and why.
struct Change<'a> {
    scope: &'a LimitScope,
    name: &'a str,
    new_limit: NewLimit,
    by: &'a str,
    reason: Option<&'a str>,
}

async fn set(
    ledger: &Ledger,
    controls: &Controls,
    change: &Change<'_>,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let Change { scope, name, new_limit, by, reason } = *change;
    // A typing error would leave what was to be paused running. Before the first reconcile run nothing is known to check by.
    let known = controls.scopes.contains_key(scope) || controls.limits.contains_key(scope);
    if !known && !controls.scopes.is_empty() {
        writeln!(out, "There is no such rule or endpoint: `{name}`. {}", unknown(controls))?;
        return Ok(ATTENTION);
    }
    let kind = if matches!(scope, LimitScope::Rule(_)) { "rule" } else { "endpoint" };
    let limit = if let NewLimit::Of(limit) = new_limit { Some(limit) } else { None };
    let (name, by, reason) = (name.to_owned(), by.to_owned(), reason.map(str::to_owned));
    let said = match limit {
        Some(0) => "paused".to_owned(),
        Some(limit) => format!("at most {limit} in flight, whatever the rules say"),
        None => {
            let configured = controls.scopes.get(scope).and_then(|scope_status| scope_status.configured);
            let limit = configured.map_or_else(|| "no limit".to_owned(), |limit| format!("at most {limit} in flight"));
            format!("{limit}, as the rules say")
        }
    };
    let change = LimitChange { name, limit, at: now, by, reason };
    match ledger.set_limit(scope, &change, controls).await.map_err(Error::Write)? {
        ControlOutcome::Done => {}
        ControlOutcome::Already => {
            writeln!(out, "Nothing was changed: {kind} {} has {said}.", change.name)?;
            return Ok(ATTENTION);
        }
        ControlOutcome::Overtaken => {
            let look = "`scorekeeper limit --history` shows who did; look, and say it again";
            writeln!(
                out,
                "Nothing was changed: somebody else set the limit of {kind} {} at this moment; {look}.",
                change.name
            )?;
            return Ok(ATTENTION);
        }
    }
    writeln!(out, "{kind} {}: {said}.", change.name)?;
    writeln!(out, "All processes apply it within 15 seconds. Running jobs are not affected.")?;
    Ok(OK)
}

fn unknown(controls: &Controls) -> String {
    let names: Vec<_> = controls.scopes.values().map(|scope_status| scope_status.name.as_str()).collect();
    format!("Known are {}.", names.join(", "))
}
