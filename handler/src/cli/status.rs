//! `scorekeeper status`: counts, and what needs attention with the next command to run.

use std::io::Write;
use std::process::ExitCode;

use app::ledger::{Ledger, RecordedEvent, count_by_status};
use app::ports::Clock;
use lifecycle::{EndpointKey, Status};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::on_ledger::{ATTENTION, Access, Error, OK, run_on_ledger};
use super::view::ago;
use super::{breaker, limit};
use crate::config::WhichLedger;

/// What `status` shows.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StatusArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &StatusArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let command = async |ledger: &Ledger, now, out: &mut dyn Write| status(ledger, args.json, now, out).await;
    run_on_ledger(&args.which, Access::Read, clock, command)
}

/// `status`: counts, and what needs attention with the next command to run.
pub async fn status(ledger: &Ledger, json: bool, now: OffsetDateTime, out: &mut dyn Write) -> Result<u8, Error> {
    let since = now - Duration::days(1);
    let in_flight = ledger.in_flight().await?;
    let ended = ledger.ended_since(since).await?;
    let quarantined = ledger.recorded_events(RecordedEvent::Quarantined, since, 1_000).await?;
    let skipped = ledger.recorded_events(RecordedEvent::Skipped, since, 1_000).await?.len();
    let statuses = in_flight.iter().map(|row| row.status).chain(ended.iter().map(|row| row.status));
    let counts = count_by_status(statuses);
    let of = |status: Status| counts.iter().find(|(s, _)| *s == status).map_or(0, |(_, count)| *count);
    let oldest = in_flight.iter().map(|row| row.created).min();
    let controls = ledger.controls().await?;
    let (limits, breakers) = (limit::views(&controls), breaker::views(&controls));
    let tick = ledger.heartbeat().await?.map(|heartbeat| heartbeat.at);

    let mut attention = Vec::new();
    if of(Status::Failed) > 0 {
        attention.push(format!("{} failed in the last 24 h: scorekeeper list --status failed", of(Status::Failed)));
    }
    let held = of(Status::Held);
    if held > 0 {
        attention.push(format!("{held} held, the answer lost and the job not found: scorekeeper list --status held"));
    }
    let missing = in_flight.iter().filter(|row| row.missing).count();
    if missing > 0 {
        attention.push(format!("{missing} whose job cannot be found: scorekeeper list --status running"));
    }
    for view in breakers.iter().filter(|view| view.is_open()) {
        let endpoint = EndpointKey::of(&view.endpoint);
        let waiting = in_flight
            .iter()
            .filter(|row| row.status == Status::Queued && row.deployment.as_deref() == view.deployment.as_deref());
        let waiting = waiting.filter(|row| EndpointKey::of(&row.endpoint) == endpoint);
        // A deployment that nobody waits for any more is no trouble.
        let waiting = waiting.count();
        if waiting > 0 {
            let (subject, summary, remedy) = (view.subject(), view.summary(), view.remedy());
            attention.push(format!("{waiting} wait for {subject}: circuit breaker {summary}: {remedy}"));
        }
    }
    if let Some(first) = quarantined.first() {
        let why = first.string("Reason").unwrap_or_default();
        attention.push(format!("{} events quarantined in the last 24 h, the first because {why}", quarantined.len()));
    }
    let code = if attention.is_empty() { OK } else { ATTENTION };

    if json {
        let by_name: serde_json::Map<_, _> =
            counts.iter().map(|(status, count)| (status.name().to_owned(), json!(count))).collect();
        let report = json!({
            "counts": by_name,
            "finalSince": since.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(),
            "lastRun": tick.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()),
            "oldestInFlight": oldest.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()),
            "skipped24h": skipped,
            "quarantined24h": quarantined.len(),
            "limits": limits,
            "breakers": breakers,
            "attention": attention,
        });
        writeln!(out, "{report:#}")?;
        return Ok(code);
    }
    let line = |statuses: &[Status]| {
        let parts = statuses.iter().map(|status| format!("{status} {}", of(*status)));
        parts.collect::<Vec<_>>().join("   ")
    };
    writeln!(out, "In flight   {}   ({})", in_flight.len(), line(&Status::ALL[..7]))?;
    writeln!(out, "Last 24 h   {}", line(&Status::ALL[7..]))?;
    writeln!(out, "Events      skipped {skipped}   quarantined {}", quarantined.len())?;
    if let Some(oldest) = oldest {
        writeln!(out, "Oldest      accepted {} ago", ago(oldest, now))?;
    }
    if let Some(tick) = tick {
        writeln!(out, "Last tick   {} ago", ago(tick, now))?;
    }
    for view in limits.iter().filter(|view| view.matters()) {
        writeln!(out, "Limit       {} {}: {}", view.kind, view.name, view.summary())?;
    }
    for view in breakers.iter().filter(|view| view.is_open()) {
        writeln!(out, "Breaker     {}: {}", view.subject(), view.summary())?;
    }
    if attention.is_empty() {
        writeln!(out, "Nothing needs attention.")?;
    } else {
        writeln!(out, "Needs attention")?;
        for line in attention {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(code)
}
