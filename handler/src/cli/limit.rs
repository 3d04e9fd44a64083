//! `scorekeeper limit`: shows limits, or sets one.

use std::io::Write;
use std::process::ExitCode;

use time::OffsetDateTime;

use super::on_ledger::{ATTENTION, Access, Error, OK, run_on_ledger};
use super::view::shortened;
use crate::config::WhichLedger;
use app::ledger::{Controls, Ledger, LimitScope, LiveLimit};
use app::ports::Clock;
use app::reports::{self, LimitView};

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
    let views: Vec<_> = reports::limits(&controls)
        .into_iter()
        .filter(|view| wanted.as_ref().is_none_or(|(scope, _)| scope_of(view) == *scope))
        .collect();
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &views).map_err(std::io::Error::from)?;
        writeln!(out)?;
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
    // A typing error would leave what was to be paused running. Before the first reconcile run nothing is known to check by.
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
    writeln!(out, "All processes apply it within 15 seconds. Running jobs are not affected.")?;
    Ok(OK)
}

fn unknown(controls: &Controls) -> String {
    let names: Vec<_> = controls.scopes.values().map(|scope_status| scope_status.name.as_str()).collect();
    format!("Known are {}.", names.join(", "))
}
