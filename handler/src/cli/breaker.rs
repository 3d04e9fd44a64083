//! `scorekeeper breaker`: shows circuit breakers, or closes one.

use std::io::Write;

use lifecycle::breaker::BreakerEvent;
use lifecycle::{BreakerSettings, EndpointKey};
use time::OffsetDateTime;

use super::json::JsonArgs;
use super::on_ledger::{ATTENTION, Error, OK};
use crate::config::WhichLedger;
use app::ledger::Ledger;
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
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub deployment: Option<String>,
    /// As JSON.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// What can be done with a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Close it.
    Close,
}

/// Runs `breaker`.
pub async fn breaker(
    ledger: &Ledger,
    args: &BreakerArgs,
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
        // Without a name it is the endpoint's default deployment, not all of its deployments.
        let named = all.iter().find(|view| wanted(view) && (args.rule.is_some() || args.deployment == view.deployment));
        let Some(named) = named else {
            let known = all.iter().map(BreakerView::subject).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            writeln!(out, "No scoring of it has failed. Deployments and rules with failures: {known}.")?;
            return Ok(ATTENTION);
        };
        // Closing needs no settings.
        let settings = BreakerSettings::default();
        ledger.change_breaker(&named.of, &BreakerEvent::Closed, &settings, now).await.map_err(Error::Write)?;
        writeln!(out, "Closed. All processes apply it within 15 seconds; failures are counted anew.")?;
        return Ok(OK);
    }
    let views: Vec<_> = all.into_iter().filter(wanted).collect();
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
