//! The terminal's side of the ledger: `status`, `list`, `show` read it, and nothing they do changes anything; `resolve` writes.
//!
//! Exit codes: 0 fine, 1 something needs attention (or there is no such scoring), 2 the ledger can't be read, 64 the
//! command is not understood. Output for people goes to a terminal or a file alike; `--json` is for scripts.

use std::io::{IsTerminal as _, Write};

use lifecycle::{EndpointKey, ScoringId, Status, intake};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::view::{ScoringDetail, ScoringView, ago, path, shortened, utc_text};
use super::{breakers, limits};
use app::error_chain;
use app::ledger::{self, Ledger, RecordedEvent, count_by_status};

mod resolve;

pub use resolve::{ResolveArgs, resolve};

/// Fine.
pub const OK: u8 = 0;
/// Something needs attention, or was not found.
pub const ATTENTION: u8 = 1;
/// The ledger can't be read.
pub const LEDGER_UNAVAILABLE: u8 = 2;

/// Tells a person who waits at a terminal that something is going on; scripts and pipes see nothing of it.
struct Progress {
    read: usize,
    shown: bool,
}

impl Progress {
    /// Scorings between two signs of life: about a second on a remote ledger.
    const EVERY: usize = 5_000;

    fn new() -> Self {
        Self { read: 0, shown: false }
    }

    fn count(&mut self) {
        self.read += 1;
        if self.read.is_multiple_of(Self::EVERY) && std::io::stderr().is_terminal() {
            self.shown = true;
            // It is a sign of life, nothing more.
            let _ = write!(std::io::stderr(), "\r{} scorings read…", self.read);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

/// What `list` shows.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ListArgs {
    /// Only scorings in this status; may be given several times
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<Status>,
    /// Only scorings of this rule
    #[arg(long, value_name = "ID")]
    pub rule: Option<String>,
    /// Show at most this many, the newest first
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// A JSON array for scripts
    #[arg(long)]
    pub json: bool,
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The ledger, while it was to be changed.
    #[error(transparent)]
    App(#[from] app::Error),
    /// The output could not be written.
    #[error("the output could not be written")]
    Output(#[from] std::io::Error),
}

/// Runs a command's future and turns its error into a line and an exit code.
pub async fn reported(command: impl Future<Output = Result<u8, Error>>, err: &mut dyn Write) -> u8 {
    match command.await {
        Ok(code) => code,
        // `head` has seen enough: not our trouble.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => OK,
        Err(error) => {
            let (source, role) = match &error {
                Error::Ledger(source) => (Some(source), "Reader"),
                Error::App(app::Error::Ledger { source, .. }) => (Some(source), "Contributor"),
                Error::Output(_) => (None, ""),
            };
            let remedy = match source {
                Some(ledger::Error::Refused(_)) => {
                    format!("; the identity needs the role Storage Table Data {role} on the storage account")
                }
                Some(ledger::Error::Unavailable(_)) => "; check the address and the network, then try again".to_owned(),
                _ => String::new(),
            };
            let _ = writeln!(err, "error: {}{remedy}", error_chain(&error));
            LEDGER_UNAVAILABLE
        }
    }
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
    let (limits, breakers) = (limits::views(&controls), breakers::views(&controls));
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
        let waiting = in_flight.iter().filter(|row| row.status == Status::Queued && row.deployment == view.deployment);
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

/// `list`: scorings, the newest first.
pub async fn list(ledger: &Ledger, args: &ListArgs, out: &mut dyn Write) -> Result<u8, Error> {
    let found = newest(ledger, args).await?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &found).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(OK);
    }
    if found.is_empty() {
        let filtered = !args.status.is_empty() || args.rule.is_some();
        let text = if filtered { "No scoring matches the filter." } else { "The ledger holds no scoring yet." };
        writeln!(out, "{text}")?;
        return Ok(OK);
    }
    writeln!(out, "{:32}  {:10}  {:40}  {:>7}  {:19}  JOB", "ID", "STATUS", "BLOB", "ATTEMPT", "CREATED (UTC)")?;
    for scoring in &found {
        let note =
            scoring.last_error.as_deref().or(scoring.error.as_deref()).map(|text| format!("  {}", shortened(text, 80)));
        writeln!(
            out,
            "{:32}  {:10}  {:40}  {:>7}  {:19}  {}{}",
            scoring.id,
            scoring.status,
            shortened(&scoring.path, 40),
            scoring.attempt,
            utc_text(scoring.created_time),
            scoring.job.as_deref().unwrap_or("-"),
            note.unwrap_or_default(),
        )?;
    }
    if found.len() == args.limit {
        writeln!(out, "({} shown; --limit N shows more)", args.limit)?;
    }
    Ok(OK)
}

/// The newest scorings that pass the filter. Holds `limit` of them at a time, whatever the ledger's size.
pub(super) async fn newest(ledger: &Ledger, args: &ListArgs) -> Result<Vec<ScoringView>, ledger::Error> {
    let mut found: Vec<ScoringView> = Vec::new();
    let order = |found: &mut Vec<ScoringView>| {
        found.sort_by(|a, b| b.created_time.cmp(&a.created_time).then_with(|| a.id.cmp(&b.id)));
        found.truncate(args.limit);
    };
    let mut progress = Progress::new();
    ledger
        .scorings(|scoring| {
            progress.count();
            let wanted = (args.status.is_empty() || args.status.contains(&scoring.status))
                && args.rule.as_ref().is_none_or(|rule| *rule == scoring.rule);
            if wanted {
                found.push(scoring.into());
                if found.len() >= args.limit.saturating_mul(2).max(1_000) {
                    order(&mut found);
                }
            }
            true
        })
        .await?;
    order(&mut found);
    Ok(found)
}

/// `show ID`: one scoring with its whole history. An unambiguous beginning of the id, or a blob's URL or path, is enough.
pub async fn show(ledger: &Ledger, wanted: &str, json: bool, out: &mut dyn Write) -> Result<u8, Error> {
    let mut found = Vec::new();
    let url = intake::shown(wanted);
    if let Some(id) = ScoringId::read(wanted) {
        found.extend(ledger.get(&id).await?.map(|(scoring, _)| scoring));
    } else {
        let mut progress = Progress::new();
        ledger
            .scorings(|scoring| {
                progress.count();
                let by_id = scoring.id.as_str().starts_with(wanted);
                // With its container, as `list` prints it, or without.
                let by_path = scoring.blob.path == wanted || path(&scoring.blob) == wanted;
                if by_id || by_path || scoring.blob.url == url {
                    found.push(scoring);
                }
                found.len() < 100
            })
            .await?;
    }
    let scoring = match found.as_slice() {
        [] => {
            writeln!(
                out,
                "No scoring has the id `{url}`, nor is there one of such a blob. `scorekeeper list` shows what there is."
            )?;
            return Ok(ATTENTION);
        }
        [_] => found.remove(0),
        several => {
            writeln!(out, "{} scorings match `{url}`; name one of them:", several.len())?;
            for scoring in several {
                writeln!(out, "  {}  {:10}  {}", scoring.id, scoring.status, path(&scoring.blob))?;
            }
            return Ok(ATTENTION);
        }
    };
    let history = ledger.entries(&scoring.id).await?;
    let sentence = scoring.status.sentence();
    let waits = limits::waits_for(&ledger.controls().await?, &scoring);
    let detail = ScoringDetail::new(scoring, waits, history);
    if json {
        serde_json::to_writer_pretty(&mut *out, &detail).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(OK);
    }
    let s = &detail.scoring;
    writeln!(out, "{}  {}: {sentence}", s.id, s.status)?;
    let rows = [
        ("blob", Some(s.blob_url.clone())),
        ("etag", Some(s.etag.clone())),
        ("rule", Some(s.rule.clone())),
        ("attempt", Some(s.attempt.to_string())),
        ("job", s.job.as_ref().map(|job| format!("{job} ({})", s.job_status.as_deref().unwrap_or("?")))),
        ("studio", s.studio.clone()),
        ("output", s.output_uri.clone()),
        ("bytes", s.output_bytes.map(|bytes| bytes.to_string())),
        ("waits", detail.waits.clone()),
        ("lastError", s.last_error.clone()),
        ("error", s.error.clone()),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            writeln!(out, "  {name:8} {value}")?;
        }
    }
    writeln!(out, "  history  (UTC)")?;
    for entry in &detail.history {
        let from = entry.from.map_or("", lifecycle::Status::name);
        writeln!(out, "    {}  {from:>10} → {:10}  {}", utc_text(entry.at), entry.to, entry.reason)?;
    }
    Ok(OK)
}
