//! `scorekeeper status`: counts, and what needs attention with the next command to run.

use std::io::Write;

use app::ledger::Ledger;
use app::reports::{self, StatusReport, SweepView};
use lifecycle::Status;
use lifecycle::text::visible;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::json::JsonArgs;
use super::ledger_command::Here;
use super::on_ledger::{ATTENTION, Error, OK};
use super::since::Since;
use super::view::ago;
#[cfg(feature = "cli")]
use super::watch::{Block, WatchArgs, watch};
use crate::config::WhichLedger;

/// Of which ledger `status` tells, when a lack of uploads is reported, and in which form.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StatusArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// Report it if no upload was received for so long: `90m`, `24h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = Since::time)]
    pub events_within: Option<Duration>,
    /// Whether the report is printed as JSON, or as text for people.
    #[command(flatten)]
    pub json: JsonArgs,
    /// Whether it is shown again.
    #[cfg(feature = "cli")]
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// `status`, once or again and again.
pub(super) async fn run(args: &StatusArgs, here: &Here<'_>, out: &mut dyn Write) -> Result<u8, Error> {
    let (ledger, which) = (here.ledger, &args.which);
    #[cfg(feature = "cli")]
    if let Some(every) = args.watch.watch {
        let look = async |now| {
            let mut text = Vec::new();
            let report = read(ledger, which, args.events_within, now).await?;
            let code = print(&report, &args.json, now, &mut text)?;
            Ok(Block { code, compared: compared(&report), text })
        };
        return watch(every, !args.json.is_asked_for(), here.clock, look).await;
    }
    status(ledger, which, &args.json, args.events_within, (here.clock)(), out).await
}

/// `status`: counts, and what needs attention with the next command to run, on the ledger that `which` names.
pub async fn status(
    ledger: &Ledger,
    which: &WhichLedger,
    json: &JsonArgs,
    events_within: Option<Duration>,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    print(&read(ledger, which, events_within, now).await?, json, now, out)
}

async fn read(
    ledger: &Ledger,
    which: &WhichLedger,
    events_within: Option<Duration>,
    now: OffsetDateTime,
) -> Result<StatusReport, Error> {
    let mut report = reports::status(ledger, now, events_within).await?;
    report.findings.iter_mut().for_each(|finding| finding.next = which.named_in(&finding.next));
    Ok(report)
}

fn answer(report: &StatusReport) -> Value {
    let text = |at: Option<OffsetDateTime>| at.and_then(|at| at.format(&Rfc3339).ok());
    let by_name = |counts: &[(Status, usize)]| -> serde_json::Map<_, _> {
        counts.iter().map(|(status, count)| (status.name().to_owned(), json!(count))).collect()
    };
    json!({
        "counts": by_name(&report.counts),
        "groups": by_name(&report.groups),
        "waitForOthers": report.wait_for_others,
        "finalSince": text(Some(report.since)).unwrap_or_default(),
        "lastRun": text(report.last_run),
        "runningSince": text(report.running_since),
        "oldestInFlight": text(report.oldest),
        "pendingUploads": report.pending,
        "skipped24h": report.skipped,
        "quarantined24h": report.quarantined,
        "sweeps": report.sweeps,
        "coverage": report.coverage,
        "unaccounted": report.unaccounted(),
        "limits": report.limits,
        "deployments": report.deployments,
        "breakers": report.breakers,
        "lastUpload": text(report.last_upload),
        "attention": report.findings,
    })
}

/// What has changed when it is another: reconcile runs come and go each minute, and the day moves on.
#[cfg(feature = "cli")]
fn compared(report: &StatusReport) -> String {
    let mut answer = answer(report);
    for name in ["finalSince", "lastRun", "runningSince", "sweeps"] {
        answer[name].take();
    }
    answer.to_string()
}

fn print(report: &StatusReport, json: &JsonArgs, now: OffsetDateTime, out: &mut dyn Write) -> Result<u8, Error> {
    let code = if report.findings.is_empty() { OK } else { ATTENTION };
    if json.is_asked_for() {
        json.write(&answer(report), out)?;
        return Ok(code);
    }
    let line = |ended: bool| {
        // Of groups where there are some.
        let of_groups = |status: &Status| matches!(status, Status::Grouped | Status::Staging);
        let statuses = Status::ALL.into_iter().filter(|status| status.is_terminal() == ended);
        let shown = statuses.filter(|status| !of_groups(status) || report.count(*status) > 0);
        shown.map(|status| format!("{status} {}", report.count(status))).collect::<Vec<_>>().join("   ")
    };
    writeln!(out, "In flight   {}   ({})", report.in_flight, line(false))?;
    if report.wait_for_others > 0 {
        let (others, queued) = (report.wait_for_others, report.count(Status::Queued));
        let wait = if others == 1 { "waits" } else { "wait" };
        let turn = queued.saturating_sub(others);
        writeln!(
            out,
            "Queued      {others} {wait} for others, with which one job scores them, and {turn} for their turn"
        )?;
    }
    if report.groups.iter().any(|(_, count)| *count > 0) {
        let by_status = report.groups.iter().filter(|(_, count)| *count > 0);
        let by_status: Vec<_> = by_status.map(|(status, count)| format!("{status} {count}")).collect();
        writeln!(out, "Groups      {}   (a limit, a hold or a breaker counts each as one)", by_status.join("   "))?;
    }
    writeln!(out, "Last 24 h   {}", line(true))?;
    writeln!(out, "Events      skipped {}   quarantined {}", report.skipped, report.quarantined)?;
    if report.pending > 0 {
        let wait = if report.pending == 1 { "upload waits" } else { "uploads wait" };
        writeln!(out, "Pending     {} {wait} for a look at the storage", report.pending)?;
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
    for view in &report.sweeps {
        let ended = view.ended.map_or("none has ended yet".to_owned(), |ended| {
            let SweepView { listed, found, unaccounted, .. } = view;
            format!("ended {} ago, {listed} listed, {found} found, {unaccounted} unaccounted", ago(ended, now))
        });
        let running = view.running_since.map(|since| format!("; one has been running for {}", ago(since, now)));
        writeln!(out, "Sweep       rule {}: {ended}{}", visible(&view.rule), running.unwrap_or_default())?;
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
    if report.findings.is_empty() {
        writeln!(out, "Nothing needs attention.")?;
    } else {
        writeln!(out, "Needs attention")?;
        for finding in &report.findings {
            writeln!(out, "  {}", visible(&finding.to_string()))?;
        }
    }
    Ok(code)
}
