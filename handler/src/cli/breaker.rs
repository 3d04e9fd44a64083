//! Circuit breakers as people see them: `scorekeeper breaker`, the lines of `status`, the page, one JSON for scripts.

use std::io::Write;
use std::process::ExitCode;

use lifecycle::breaker::BreakerEvent;
use lifecycle::redact::redacted;
use lifecycle::{BreakerSettings, EndpointKey};
use serde::Serialize;
use time::OffsetDateTime;

use super::on_ledger::{ATTENTION, Access, Error, OK, run_on_ledger};
use super::view::{shortened, utc_text};
use crate::config::WhichLedger;
use app::ledger::{Controls, DeploymentBreaker, Ledger};
use app::ports::Clock;

/// A deployment of which attempts have failed. Names are stable: scripts rely on them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerView {
    /// The endpoint's invoke URI.
    pub endpoint: String,
    /// The deployment; none: the endpoint's default.
    pub deployment: Option<String>,
    /// `closed`, `open`, or `probing` while one scoring tries the deployment.
    pub state: &'static str,
    /// Failed attempts in a row.
    pub failures: u32,
    /// What the last of them told.
    pub error: Option<String>,
    /// When it was counted.
    #[serde(with = "time::serde::rfc3339::option")]
    pub failed_time: Option<OffsetDateTime>,
    /// When a scoring may probe the deployment.
    #[serde(with = "time::serde::rfc3339::option")]
    pub open_until: Option<OffsetDateTime>,
    /// The scoring that probes it.
    pub probe: Option<String>,
}

impl From<&DeploymentBreaker> for BreakerView {
    fn from(known: &DeploymentBreaker) -> Self {
        let breaker = &known.breaker;
        Self {
            endpoint: known.endpoint.to_string(),
            deployment: known.deployment.as_ref().map(ToString::to_string),
            state: match (breaker.open_until, &breaker.probe) {
                (None, _) => "closed",
                (Some(_), None) => "open",
                (Some(_), Some(_)) => "probing",
            },
            failures: breaker.failures,
            error: breaker.error.as_deref().map(|text| redacted(text).into_owned()),
            failed_time: breaker.failed,
            open_until: breaker.open_until,
            probe: breaker.probe.as_ref().map(|probe| probe.id.to_string()),
        }
    }
}

/// The breakers of all deployments of which attempts have failed.
pub fn views(controls: &Controls) -> Vec<BreakerView> {
    controls.breakers.values().map(BreakerView::from).collect()
}

impl BreakerView {
    /// It keeps scorings waiting.
    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    /// Whom it is about.
    pub fn subject(&self) -> String {
        let deployment = self
            .deployment
            .as_deref()
            .map_or_else(|| "the default deployment".to_owned(), |name| format!("deployment {name}"));
        format!("{deployment} of {}", self.endpoint)
    }

    /// `open after 10 failed attempts in a row, the last: …; one scoring probes it at …`
    pub fn summary(&self) -> String {
        let error = self.error.as_deref().map(|error| format!(", the last: {}", shortened(error, 120)));
        let failures = format!("{} failed in a row{}", self.failures, error.unwrap_or_default());
        match (self.open_until, &self.probe) {
            (None, _) if self.failures == 0 => "closed".to_owned(),
            (None, _) => format!("closed, {failures}"),
            (Some(_), Some(id)) => format!("probing by scoring {id}; {failures}"),
            (Some(until), None) => format!("open, one scoring probes it at {} UTC; {failures}", utc_text(until)),
        }
    }

    /// The command that lets all go.
    pub fn remedy(&self) -> String {
        let deployment = self.deployment.as_deref().map(|name| format!(" --deployment {name}")).unwrap_or_default();
        format!("scorekeeper breaker close --endpoint {}{deployment}", self.endpoint)
    }
}

/// `breaker`: shows circuit breakers, or closes one for all processes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct BreakerArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// `close`: let all scorings of the deployment go at once
    #[arg(value_name = "close", requires = "endpoint")]
    pub action: Option<Action>,
    /// Of the endpoint with this invoke URI
    #[arg(long, value_name = "URI")]
    pub endpoint: Option<String>,
    /// Of this deployment; without it the endpoint's default
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub deployment: Option<String>,
    /// As JSON
    #[arg(long, conflicts_with = "action")]
    pub json: bool,
}

/// What can be done with a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Close it.
    Close,
}

impl BreakerArgs {
    /// Whether the command changes anything.
    fn changes(&self) -> bool {
        self.action.is_some()
    }
}

pub(super) fn run(args: &BreakerArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let access = if args.changes() { Access::Write } else { Access::Read };
    let command = async |ledger: &Ledger, now, out: &mut dyn Write| breaker(ledger, args, now, out).await;
    run_on_ledger(&args.which, access, clock, command)
}

/// Runs `breaker`.
pub async fn breaker(
    ledger: &Ledger,
    args: &BreakerArgs,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let controls = ledger.controls().await?;
    if let (Some(Action::Close), Some(endpoint)) = (args.action, &args.endpoint) {
        let deployment = args.deployment.as_deref();
        let Some(named) = controls.breakers.get(&EndpointKey::of_deployment(endpoint, deployment)) else {
            let known = views(&controls).iter().map(BreakerView::subject).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            writeln!(out, "No attempt of this deployment has failed. Deployments with failures: {known}.")?;
            return Ok(ATTENTION);
        };
        // Closing needs no settings.
        let settings = BreakerSettings::default();
        ledger
            .change_breaker(&named.endpoint, named.deployment.as_ref(), &BreakerEvent::Closed, &settings, now)
            .await?;
        writeln!(out, "Closed. All processes go by it within 15 seconds; failures are counted from 0.")?;
        return Ok(OK);
    }
    let wanted = |view: &BreakerView| {
        args.endpoint.as_deref().is_none_or(|uri| EndpointKey::of(uri) == EndpointKey::of(&view.endpoint))
            && (args.deployment.is_none() || args.deployment == view.deployment)
    };
    let views: Vec<_> = views(&controls).into_iter().filter(wanted).collect();
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &views).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(OK);
    }
    if views.is_empty() {
        writeln!(out, "No attempt has failed.")?;
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
