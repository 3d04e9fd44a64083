//! Limits as people see them: `scorekeeper limit`, the lines of `status`, the table of the page, one JSON for scripts.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use lifecycle::redact::redacted;
use lifecycle::{Scoring, Status};
use serde::Serialize;
use time::OffsetDateTime;

use super::on_ledger::{ATTENTION, Access, Error, OK, run_on_ledger};
use super::view::{shortened, utc_text};
use crate::config::WhichLedger;
use app::ledger::{Controls, Ledger, LimitScope, LiveLimit, ScopeStatus};
use app::ports::Clock;

/// A rule or an endpoint with its limit. Names are stable: scripts rely on them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitView {
    /// `rule` or `endpoint`.
    pub kind: &'static str,
    /// The rule's id or the endpoint's invoke URI.
    pub name: String,
    /// The limit that holds; none: no limit.
    pub limit: Option<u32>,
    /// The limit in the rules.
    pub configured: Option<u32>,
    /// Since when an operator's limit holds instead.
    #[serde(with = "time::serde::rfc3339::option")]
    pub set_time: Option<OffsetDateTime>,
    /// Slots that were taken when the last tick looked.
    pub taken: Option<u32>,
    /// Queued scorings that found no room then, and those behind them.
    pub waiting: u32,
    /// Why they wait.
    pub reason: Option<String>,
}

/// Every rule and endpoint that a tick has told of or an operator has limited.
pub fn views(controls: &Controls) -> Vec<LimitView> {
    let none = ScopeStatus::default();
    let scopes: BTreeSet<&LimitScope> = controls.scopes.keys().chain(controls.limits.keys()).collect();
    let view = |scope: &LimitScope| {
        let (scope_status, live) = (controls.scopes.get(scope).unwrap_or(&none), controls.limits.get(scope));
        LimitView {
            kind: if matches!(scope, LimitScope::Rule(_)) { "rule" } else { "endpoint" },
            name: redacted(if scope_status.name.is_empty() {
                live.map_or("", |live| &live.name)
            } else {
                &scope_status.name
            })
            .into_owned(),
            limit: live.map(|live| live.limit).or(scope_status.configured),
            configured: scope_status.configured,
            set_time: live.map(|live| live.set),
            taken: scope_status.taken,
            waiting: scope_status.waiting,
            reason: scope_status.reason.as_deref().map(|text| redacted(text).into_owned()),
        }
    };
    scopes.into_iter().map(view).collect()
}

impl LimitView {
    /// There is something to tell of it.
    pub fn matters(&self) -> bool {
        self.limit.is_some() || self.waiting > 0
    }

    /// `10 of 50 taken, 3 wait: …`
    pub fn summary(&self) -> String {
        let taken = match (self.limit, self.taken) {
            (None, _) => "no limit".to_owned(),
            (Some(0), _) => "paused".to_owned(),
            (Some(limit), taken) => format!("{} of {limit} slots taken", taken.unwrap_or(0)),
        };
        let set = self.set_time.map(|at| {
            let rules = self.configured.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
            format!(" (an operator's limit since {}; in the rules: {rules})", utc_text(at))
        });
        let waiting = Some(self.waiting).filter(|waiting| *waiting > 0).map(|waiting| format!(", {waiting} wait"));
        [taken, set.unwrap_or_default(), waiting.unwrap_or_default()].concat()
    }
}

/// Why a queued scoring is not submitted yet, as far as the controls tell.
pub fn waits_for(controls: &Controls, scoring: &Scoring) -> Option<String> {
    if scoring.status != Status::Queued {
        return None;
    }
    let back_off = (scoring.due > scoring.since).then(|| format!("not before {} UTC", utc_text(scoring.due)));
    let breaker = controls.breaker(&scoring.endpoint, scoring.deployment.as_ref());
    let reason = if breaker.open_until.is_some() {
        Some(format!("{} (scorekeeper breaker)", breaker.reason()))
    } else {
        let scopes = [LimitScope::endpoint(&scoring.endpoint), LimitScope::rule(&scoring.rule)];
        scopes.iter().find_map(|scope| controls.scopes.get(scope)?.reason.clone())
    };
    let reasons: Vec<_> = back_off.into_iter().chain(reason).collect();
    Some(if reasons.is_empty() { "the next tick submits it".to_owned() } else { reasons.join("; ") })
}

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
    #[arg(value_name = "N|default", value_parser = new_limit)]
    pub new_limit: Option<NewLimit>,
    /// As JSON
    #[arg(long, conflicts_with = "new_limit")]
    pub json: bool,
}

/// What a limit is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewLimit {
    /// This many.
    Of(u32),
    /// What the rules say.
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
    /// Whether the command changes anything.
    fn changes(&self) -> bool {
        self.new_limit.is_some()
    }

    fn scope(&self) -> Option<(LimitScope, &str)> {
        let rule = self.rule.as_deref().map(|id| (LimitScope::rule(id), id));
        rule.or_else(|| self.endpoint.as_deref().map(|uri| (LimitScope::endpoint(uri), uri)))
    }
}

pub(super) fn run(args: &LimitArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let access = if args.changes() { Access::Write } else { Access::Read };
    let command = async |ledger: &Ledger, now, out: &mut dyn Write| limit(ledger, args, now, out).await;
    run_on_ledger(&args.which, access, clock, command)
}

/// Runs `limit`.
pub async fn limit(ledger: &Ledger, args: &LimitArgs, now: OffsetDateTime, out: &mut dyn Write) -> Result<u8, Error> {
    let controls = ledger.controls().await?;
    let wanted = args.scope();
    if let (Some(new_limit), Some((scope, name))) = (args.new_limit, &wanted) {
        return set(ledger, &controls, scope, name, new_limit, now, out).await;
    }
    if args.new_limit.is_some() {
        writeln!(out, "Name what is limited: --rule ID or --endpoint URI.")?;
        return Ok(ATTENTION);
    }
    let views: Vec<_> = views(&controls)
        .into_iter()
        .filter(|view| wanted.as_ref().is_none_or(|(scope, _)| scope_of(view) == *scope))
        .collect();
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &views).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(OK);
    }
    if views.is_empty() {
        let text = if wanted.is_some() { unknown(&controls) } else { "No tick has told of any rule yet.".to_owned() };
        writeln!(out, "{text}")?;
        return Ok(if wanted.is_some() { ATTENTION } else { OK });
    }
    for view in views {
        writeln!(out, "{:8}  {:50}  {}", view.kind, shortened(&view.name, 50), view.summary())?;
        if let Some(reason) = view.reason.filter(|_| view.waiting > 0) {
            writeln!(out, "{:8}  {reason}", "")?;
        }
    }
    Ok(OK)
}

fn scope_of(view: &LimitView) -> LimitScope {
    if view.kind == "rule" { LimitScope::rule(&view.name) } else { LimitScope::endpoint(&view.name) }
}

async fn set(
    ledger: &Ledger,
    controls: &Controls,
    scope: &LimitScope,
    name: &str,
    new_limit: NewLimit,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    // A typing error would leave what was to be paused running. Before the first tick nothing is known to check by.
    let known = controls.scopes.contains_key(scope) || controls.limits.contains_key(scope);
    if !known && !controls.scopes.is_empty() {
        writeln!(out, "There is no such rule or endpoint: `{name}`. {}", unknown(controls))?;
        return Ok(ATTENTION);
    }
    let kind = if matches!(scope, LimitScope::Rule(_)) { "rule" } else { "endpoint" };
    match new_limit {
        NewLimit::Default => {
            ledger.set_limit(scope, None).await?;
            let configured = controls.scopes.get(scope).and_then(|scope_status| scope_status.configured);
            let limit = configured.map_or_else(|| "no limit".to_owned(), |limit| format!("at most {limit} in flight"));
            writeln!(out, "{kind} {name}: {limit}, as the rules say.")?;
        }
        NewLimit::Of(limit) => {
            ledger.set_limit(scope, Some(&LiveLimit { name: name.to_owned(), limit, set: now })).await?;
            let limit = if limit == 0 {
                "paused".to_owned()
            } else {
                format!("at most {limit} in flight, whatever the rules say")
            };
            writeln!(out, "{kind} {name}: {limit}.")?;
        }
    }
    writeln!(out, "All processes go by it within 15 seconds. What runs runs on.")?;
    Ok(OK)
}

fn unknown(controls: &Controls) -> String {
    let names: Vec<_> = controls.scopes.values().map(|scope_status| scope_status.name.as_str()).collect();
    format!("Known are {}.", names.join(", "))
}
