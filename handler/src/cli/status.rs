//! `scorekeeper status`: counts, and what needs attention with the next command to run.

use std::io::Write;
use std::process::ExitCode;

use app::ledger::Ledger;
use app::ports::Clock;
use app::reports;
use lifecycle::Status;
use lifecycle::text::visible;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::on_ledger::{ATTENTION, Access, Error, OK, run_on_ledger};
use super::since::Since;
use super::view::ago;
use crate::config::WhichLedger;

/// What `status` shows.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StatusArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// Report it if no upload was received for so long: `90m`, `24h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = Since::time)]
    pub events_within: Option<Duration>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &StatusArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let command = async |ledger: &Ledger, now, out: &mut dyn Write| {
        status(ledger, &args.which, args.json, args.events_within, now, out).await
    };
    run_on_ledger(&args.which, Access::Read, clock, command)
}

/// `status`: counts, and what needs attention with the next command to run, on the ledger that `which` names.
pub async fn status(
    ledger: &Ledger,
    which: &WhichLedger,
    json: bool,
    events_within: Option<Duration>,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let mut report = reports::status(ledger, now, events_within).await?;
    report.findings.iter_mut().for_each(|finding| finding.next = which.named_in(&finding.next));
    let attention: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    let code = if attention.is_empty() { OK } else { ATTENTION };

    if json {
        let by_name: serde_json::Map<_, _> =
            report.counts.iter().map(|(status, count)| (status.name().to_owned(), json!(count))).collect();
        let json = json!({
            "counts": by_name,
            "finalSince": report.since.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(),
            "lastRun": report.last_run.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()),
            "runningSince": report.running_since.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()),
            "oldestInFlight": report.oldest.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()),
            "pendingUploads": report.pending,
            "skipped24h": report.skipped,
            "quarantined24h": report.quarantined,
            "limits": report.limits,
            "deployments": report.deployments,
            "breakers": report.breakers,
            "lastUpload": report.last_upload.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()),
            "attention": report.findings,
        });
        writeln!(out, "{json:#}")?;
        return Ok(code);
    }
    let line = |statuses: &[Status]| {
        let parts = statuses.iter().map(|status| format!("{status} {}", report.count(*status)));
        parts.collect::<Vec<_>>().join("   ")
    };
    writeln!(out, "In flight   {}   ({})", report.in_flight, line(&Status::ALL[..7]))?;
    writeln!(out, "Last 24 h   {}", line(&Status::ALL[7..]))?;
    writeln!(out, "Events      skipped {}   quarantined {}", report.skipped, report.quarantined)?;
    if report.pending > 0 {
        writeln!(out, "Pending     {} uploads wait for a look at the storage", report.pending)?;
    }
    if let Some(oldest) = report.oldest {
        writeln!(out, "Oldest      accepted {} ago", ago(oldest, now))?;
    }
    if let Some(last) = report.last_upload {
        writeln!(out, "Last upload {} ago", ago(last, now))?;
    }
    let running = report.running_since.map(|since| format!("one has been running for {}", ago(since, now)));
    match (report.last_run.map(|last| format!("{} ago", ago(last, now))), running) {
        (Some(last), Some(running)) => writeln!(out, "Last run    {last}; {running}")?,
        (Some(last), None) => writeln!(out, "Last run    {last}")?,
        (None, Some(running)) => writeln!(out, "Last run    none has ended yet; {running}")?,
        (None, None) => {}
    }
    for view in report.limits.iter().filter(|view| view.matters()) {
        writeln!(out, "Limit       {} {}: {}", view.kind, view.name, view.summary())?;
    }
    for view in &report.deployments {
        let name = view.deployment.as_deref().unwrap_or("(the default)");
        writeln!(out, "Deployment  {} of {}: {}", visible(name), visible(&view.endpoint), view.summary())?;
    }
    for view in report.breakers.iter().filter(|view| view.is_open()) {
        writeln!(out, "Breaker     {}: {}", view.subject(), view.summary())?;
    }
    if attention.is_empty() {
        writeln!(out, "Nothing needs attention.")?;
    } else {
        writeln!(out, "Needs attention")?;
        for line in attention {
            writeln!(out, "  {}", visible(&line))?;
        }
    }
    Ok(code)
}
