//! `scorekeeper list`: scorings, the newest first.

use std::io::Write;
use std::process::ExitCode;

use app::ledger::Ledger;
use app::ports::Clock;
use app::reports::{self, Filter, Newest, PendingList, UnreadableView};
use lifecycle::Status;
use lifecycle::text::visible;

use super::on_ledger::{ATTENTION, Access, Error, OK, run_on_ledger};
use super::progress::Progress;
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
    /// Uploads whose version is not known yet, and renamed folders whose files are not listed yet, in place of scorings
    #[arg(long, conflicts_with_all = ["status", "rule", "limit"])]
    pub pending: bool,
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

pub(super) fn run(args: &ListArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    run_on_ledger(&args.which, Access::Read, clock, async |ledger, _, out| list(ledger, args, out).await)
}

/// `list`: scorings, the newest first.
pub async fn list(ledger: &Ledger, args: &ListArgs, out: &mut dyn Write) -> Result<u8, Error> {
    if args.pending {
        return list_pending(ledger, args.json, out).await;
    }
    let mut progress = Progress::new();
    let filter = Filter { status: args.status.clone(), rule: args.rule.clone(), limit: args.limit };
    let found = reports::newest(ledger, &filter, || progress.count()).await?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &found).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(OK);
    }
    let Newest { scorings: found, unreadable } = found;
    if found.is_empty() {
        let filtered = !args.status.is_empty() || args.rule.is_some();
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
    if found.len() == args.limit {
        writeln!(out, "({} shown; --limit N shows more)", args.limit)?;
    }
    told(&unreadable, out)
}

/// Tells of rows that cannot be read; they need attention, as nothing is done for them.
fn told(unreadable: &[UnreadableView], out: &mut dyn Write) -> Result<u8, Error> {
    for row in unreadable {
        writeln!(out, "{:32}  {:10}  {}", row.id.as_deref().unwrap_or("?"), row.status, visible(&row.error))?;
    }
    Ok(if unreadable.is_empty() { OK } else { ATTENTION })
}

/// `list --pending`: what waits for a look at the storage, the oldest first.
async fn list_pending(ledger: &Ledger, json: bool, out: &mut dyn Write) -> Result<u8, Error> {
    let found = reports::pending(ledger).await?;
    if json {
        serde_json::to_writer_pretty(&mut *out, &found).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(OK);
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
