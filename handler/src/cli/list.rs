//! `scorekeeper list`: scorings, the newest first.

use std::io::Write;
use std::process::ExitCode;

use app::ledger::{Ledger, Place};
use app::ports::Clock;
use app::reports::{self, Filter, Newest, PendingList, UnreadableView};
use lifecycle::text::visible;
use lifecycle::{Status, UnversionedBlob};
use time::OffsetDateTime;

use super::format::{Format, RowWriter};
use super::named::{Named, by_finding};
use super::on_ledger::{ATTENTION, Access, Error, OK, run_on_ledger};
use super::progress::Progress;
use super::since::Since;
use super::view::{shortened, utc_text};
use crate::config::WhichLedger;

/// What `list` shows.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ListArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// Only scorings in this status; may be given several times
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<Status>,
    /// What is listed in place of scorings.
    #[command(flatten)]
    pub instead: Instead,
    /// Only scorings of this rule
    #[arg(long, value_name = "ID")]
    pub rule: Option<String>,
    /// Only blobs whose container and path begin so
    #[arg(long, value_name = "CONTAINER/PATH")]
    pub prefix: Option<String>,
    /// Only what was received since then: `90m`, `24h`, `7d` before now, or a time such as `2026-07-21T10:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Since::read)]
    pub since: Option<Since>,
    /// Go on behind a page, by the cursor that it ends with
    #[arg(long, value_name = "CURSOR", value_parser = place)]
    pub after: Option<Place>,
    /// Show at most this many, the newest first
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// Only what this finding of `status` concerns
    #[arg(long, value_name = "FINDING", conflicts_with_all = ["status", "rule", "prefix", "since", "after", "pending", "skipped", "quarantined"])]
    pub finding: Option<String>,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: Format,
    /// A JSON array for scripts: `--output json`
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
}

impl ListArgs {
    fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }
}

/// Members of a scoring that are columns, the first ones first.
pub(super) const COLUMNS: &[&str] = &[
    "id",
    "status",
    "rule",
    "path",
    "blobUrl",
    "etag",
    "attempt",
    "createdTime",
    "lastUpdatedTime",
    "completedTime",
    "job",
    "jobStatus",
    "outputUri",
    "outputBytes",
    "failureCause",
    "error",
    "lastError",
];

/// What is listed in place of scorings; one at most.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(multiple = false)]
pub struct Instead {
    /// Uploads whose version is not known yet, and renamed folders whose files are not listed yet, in place of scorings
    #[arg(long, conflicts_with_all = ["status", "rule", "limit", "prefix", "since", "after"])]
    pub pending: bool,
    /// Events that no rule wanted, in place of scorings
    #[arg(long, conflicts_with_all = ["status", "after"])]
    pub skipped: bool,
    /// Events that could not be read, in place of scorings
    #[arg(long, conflicts_with_all = ["status", "rule", "prefix", "after"])]
    pub quarantined: bool,
}

pub(super) fn run(args: &ListArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    run_on_ledger(&args.which, Access::Read, clock, async |ledger, now, out| list(ledger, args, now, out).await)
}

/// `list`: scorings, the newest first.
pub async fn list(ledger: &Ledger, args: &ListArgs, now: OffsetDateTime, out: &mut dyn Write) -> Result<u8, Error> {
    if args.instead.pending {
        return list_pending(ledger, args.format(), out).await;
    }
    if args.instead.skipped {
        return list_skipped(ledger, args, now, out).await;
    }
    if args.instead.quarantined {
        return list_quarantined(ledger, args, now, out).await;
    }
    let mut progress = Progress::new();
    let filter = Filter {
        status: args.status.clone(),
        rule: args.rule.clone(),
        prefix: args.prefix.clone(),
        since: args.since.map(|since| since.before(now)),
        after: args.after.clone(),
        limit: args.limit,
    };
    let found = match &args.finding {
        Some(finding) => {
            let Some(Named { scorings, .. }) = by_finding(ledger, finding, now, out).await? else {
                return Ok(ATTENTION);
            };
            let scorings = scorings.into_iter().take(args.limit).map(Into::into).collect();
            Newest { scorings, ..Newest::default() }
        }
        None => reports::newest(ledger, &filter, || progress.count()).await?,
    };
    if args.format() != Format::Table {
        if args.format() == Format::Json {
            write_json(&found, out)?;
        } else {
            rows(args.format(), COLUMNS, &found.scorings, out)?;
        }
        return Ok(code(&found.unreadable));
    }
    let Newest { scorings: found, unreadable, next } = found;
    if found.is_empty() {
        let filtered = filter != Filter { limit: filter.limit, ..Filter::default() };
        let text = if filtered { "No scoring matches the filter." } else { "The ledger holds no scoring yet." };
        writeln!(out, "{text}")?;
        return told(&unreadable, out);
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
            visible(scoring.job.as_deref().unwrap_or("-")),
            note.unwrap_or_default(),
        )?;
    }
    if let Some(next) = next {
        writeln!(out, "({} shown; the next: --after {})", found.len(), next.as_str())?;
    }
    told(&unreadable, out)
}

fn write_json(found: &impl serde::Serialize, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, found)?;
    writeln!(out)
}

fn rows<T: serde::Serialize>(
    format: Format,
    columns: &[&str],
    rows: &[T],
    out: &mut dyn Write,
) -> Result<(), std::io::Error> {
    let mut writer = RowWriter::new(format, columns, out)?;
    rows.iter().try_for_each(|row| writer.write(row))
}

/// Prints in a form that tools read, if one is asked for; a table is for its caller to print.
fn is_printed_for_tools<T: serde::Serialize>(
    format: Format,
    columns: &[&str],
    found: &[T],
    out: &mut dyn Write,
) -> Result<bool, std::io::Error> {
    match format {
        Format::Table => return Ok(false),
        Format::Json => write_json(&found, out)?,
        format => rows(format, columns, found, out)?,
    }
    Ok(true)
}

/// Rows that cannot be read need attention, as nothing is done for them; as text and as JSON.
fn code(unreadable: &[UnreadableView]) -> u8 {
    if unreadable.is_empty() { OK } else { ATTENTION }
}

/// Tells of rows that cannot be read.
fn told(unreadable: &[UnreadableView], out: &mut dyn Write) -> Result<u8, Error> {
    for row in unreadable {
        writeln!(out, "{:32}  {:10}  {}", row.id.as_deref().unwrap_or("?"), row.status, visible(&row.error))?;
    }
    Ok(code(unreadable))
}

fn place(text: &str) -> Result<Place, NoPlace> {
    Place::read(text).ok_or_else(|| NoPlace(text.to_owned()))
}

/// A text that is no cursor.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no cursor; one stands at the end of a list that has more, and in its JSON as `cursor`")]
struct NoPlace(String);

/// `list --skipped`: events that no rule wanted, the newest first.
async fn list_skipped(ledger: &Ledger, args: &ListArgs, now: OffsetDateTime, out: &mut dyn Write) -> Result<u8, Error> {
    let since = args.since.map_or(OffsetDateTime::UNIX_EPOCH, |since| since.before(now));
    let filtered = args.rule.is_some() || args.prefix.is_some();
    let read = if filtered { usize::MAX } else { args.limit };
    let mut found = reports::skipped(ledger, since, read).await?;
    found.retain(|skip| {
        let in_place = |prefix: &String| {
            UnversionedBlob::read(&skip.subject)
                .is_ok_and(|blob| format!("{}/{}", blob.container, blob.path).starts_with(prefix.as_str()))
        };
        skip.seen_time >= since
            && (args.rule.is_none() || args.rule == skip.rule)
            && args.prefix.as_ref().is_none_or(in_place)
    });
    found.truncate(args.limit);
    let columns = ["id", "status", "seenTime", "rule", "subject", "etag", "reason", "event"];
    if is_printed_for_tools(args.format(), &columns, &found, out)? {
        return Ok(OK);
    }
    if found.is_empty() {
        writeln!(out, "No skipped event matches.")?;
        return Ok(OK);
    }
    writeln!(out, "{:19}  {:16}  {:60}  WHY", "RECEIVED (UTC)", "RULE", "BLOB")?;
    for skip in &found {
        writeln!(
            out,
            "{:19}  {:16}  {:60}  {}",
            utc_text(skip.seen_time),
            shortened(skip.rule.as_deref().unwrap_or("-"), 16),
            shortened(&skip.subject, 60),
            shortened(&skip.reason, 200),
        )?;
    }
    Ok(OK)
}

/// `list --quarantined`: events that could not be read, the newest first.
async fn list_quarantined(
    ledger: &Ledger,
    args: &ListArgs,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let since = args.since.map_or(OffsetDateTime::UNIX_EPOCH, |since| since.before(now));
    let mut found = reports::quarantined(ledger, since, args.limit).await?;
    found.retain(|event| event.seen_time >= since);
    let columns = ["id", "status", "seenTime", "acknowledgedTime", "reason", "received"];
    if is_printed_for_tools(args.format(), &columns, &found, out)? {
        return Ok(OK);
    }
    if found.is_empty() {
        writeln!(out, "No event is quarantined.")?;
        return Ok(OK);
    }
    writeln!(out, "{:32}  {:19}  WHY", "ID", "RECEIVED (UTC)")?;
    for event in &found {
        writeln!(out, "{:32}  {:19}  {}", event.id, utc_text(event.seen_time), shortened(&event.reason, 200))?;
        writeln!(out, "{:32}  {}", "", shortened(&event.received, 200))?;
    }
    Ok(OK)
}

/// `list --pending`: what waits for a look at the storage, the oldest first.
async fn list_pending(ledger: &Ledger, format: Format, out: &mut dyn Write) -> Result<u8, Error> {
    let found = reports::pending(ledger).await?;
    if format != Format::Table {
        if format == Format::Json {
            write_json(&found, out)?;
        } else {
            rows(format, &["url", "rule", "since", "due", "lookFailed", "reason"], &found.waiting, out)?;
        }
        return Ok(code(&found.unreadable));
    }
    let PendingList { waiting, unreadable } = found;
    if waiting.is_empty() {
        writeln!(out, "No upload waits for a look at the storage.")?;
        return told(&unreadable, out);
    }
    writeln!(out, "{:19}  {:19}  {:16}  {:60}  WAITS FOR", "SINCE (UTC)", "NEXT LOOK (UTC)", "RULE", "BLOB")?;
    for view in &waiting {
        writeln!(
            out,
            "{:19}  {:19}  {:16}  {:60}  {}",
            utc_text(view.since),
            utc_text(view.due),
            shortened(view.rule.as_deref().unwrap_or("-"), 16),
            shortened(&view.url, 60),
            shortened(&view.reason, 200),
        )?;
    }
    told(&unreadable, out)
}
