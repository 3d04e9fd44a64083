//! `scorekeeper breaker`: shows circuit breakers, or closes one.

use std::io::Write;

use lifecycle::EndpointKey;
use lifecycle::text::visible;
use time::OffsetDateTime;

use super::json::JsonArgs;
use super::limit::MAX_LINES;
use super::on_ledger::{ATTENTION, Error, OK};
use super::view::utc_text;
use crate::config::WhichLedger;
use app::ledger::{BreakerClosed, ControlOutcome, Ledger};
use app::reports::{self, BreakerView};

/// `breaker`: shows circuit breakers, or closes one for all processes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct BreakerArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// `close`: let all scorings of the deployment or the rule go at once
    #[arg(value_name = "close", requires = "subject", conflicts_with = "JsonArgs")]
    pub action: Option<Action>,
    /// Of this rule
    #[arg(long, value_name = "ID", group = "subject")]
    pub rule: Option<String>,
    /// Of the endpoint with this invoke URI
    #[arg(long, value_name = "URI", group = "subject")]
    pub endpoint: Option<String>,
    /// Of this deployment; without it the endpoint's default
    #[arg(long, value_name = "NAME", requires = "endpoint", conflicts_with = "rule")]
    pub deployment: Option<String>,
    /// Why it is closed: it stands in its history, with who closed it
    #[arg(
        long,
        value_name = "TEXT",
        requires = "action",
        conflicts_with = "history",
        required_if_eq("action", "close")
    )]
    pub reason: Option<String>,
    /// Show who closed which, when and why, the newest first
    #[arg(long, conflicts_with_all = ["action", "JsonArgs"])]
    pub history: bool,
    /// Whether the breakers are shown as a JSON array; closing one and the history have no JSON.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// What can be done with a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Close it.
    Close,
}

/// Shows the breakers that `args` asks for, or closes one in the name of `by`. Returns the exit code: `ATTENTION` if none was closed that
/// should be.
pub async fn breaker(
    ledger: &Ledger,
    args: &BreakerArgs,
    by: &str,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let controls = ledger.controls().await?;
    let all = reports::breakers(&controls);
    let wanted = |view: &BreakerView| {
        args.endpoint
            .as_deref()
            .is_none_or(|uri| view.endpoint.as_deref().is_some_and(|own| EndpointKey::of(uri) == EndpointKey::of(own)))
            && (args.deployment.is_none() || args.deployment == view.deployment)
            && (args.rule.is_none() || args.rule == view.rule)
    };
    if let Some(Action::Close) = args.action {
        let reason = args.reason.as_deref().unwrap_or_default().trim();
        if reason.is_empty() {
            writeln!(out, "Nothing was changed: --reason is empty; it tells whoever reads the history why.")?;
            return Ok(ATTENTION);
        }
        // Without a name it is the endpoint's default deployment, not all of its deployments.
        let named = all.iter().find(|view| wanted(view) && (args.rule.is_some() || args.deployment == view.deployment));
        let Some(named) = named else {
            let known = all.iter().map(BreakerView::subject).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            writeln!(out, "No scoring of it has failed. Deployments and rules with failures: {known}.")?;
            return Ok(ATTENTION);
        };
        let closed = BreakerClosed { at: now, by: by.to_owned(), reason: reason.to_owned() };
        return Ok(match ledger.close_breaker(&named.of, &closed).await.map_err(Error::Write)? {
            ControlOutcome::Done => {
                writeln!(out, "Closed. All processes apply it within 15 seconds; failures are counted anew.")?;
                OK
            }
            ControlOutcome::Already => {
                writeln!(out, "Nothing was changed: it is closed, and has no failure to forget.")?;
                ATTENTION
            }
            ControlOutcome::Overtaken => {
                writeln!(
                    out,
                    "Nothing was changed: failures are counted at this moment, one upon another; try it again."
                )?;
                ATTENTION
            }
        });
    }
    let views: Vec<_> = all.into_iter().filter(wanted).collect();
    if args.history {
        return history(ledger, &views, out).await;
    }
    if args.json.is_asked_for() {
        args.json.write(&views, out)?;
        return Ok(OK);
    }
    if views.is_empty() {
        writeln!(out, "No scoring has failed.")?;
        return Ok(OK);
    }
    for view in &views {
        writeln!(out, "{}: {}", view.subject(), view.summary())?;
        if view.is_open() {
            writeln!(out, "  {}", view.remedy())?;
        }
    }
    Ok(if views.iter().any(BreakerView::is_open) { ATTENTION } else { OK })
}

/// Who closed these, the newest first.
async fn history(ledger: &Ledger, views: &[BreakerView], out: &mut dyn Write) -> Result<u8, Error> {
    let mut lines = Vec::new();
    for view in views {
        let of_it = ledger.breaker_history(&view.of, MAX_LINES).await?;
        lines.extend(of_it.into_iter().map(|line| (view.subject(), line)));
    }
    lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.at));
    for (subject, BreakerClosed { at, by, reason }) in &lines {
        writeln!(out, "{}  {}: closed  by {} ({})", utc_text(*at), visible(subject), visible(by), visible(reason))?;
    }
    if lines.is_empty() {
        writeln!(out, "No operator has closed a circuit breaker.")?;
    }
    Ok(OK)
}
