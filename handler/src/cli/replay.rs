//! `scorekeeper replay`: takes blobs in as they are now, whatever became of their events: after a rule was fixed, of an event that
//! could not be read, or where none came. The app does it with its next reconcile run, by its rules and with its rights.

use std::collections::BTreeSet;
use std::io::Write;

use app::ledger::{Ledger, Quarantined, Received};
use app::reports;
use app::{self, AskOutcome};
use lifecycle::UnversionedBlob;
use lifecycle::text::visible;
use time::OffsetDateTime;

use super::on_ledger::{ATTENTION, Error, OK};
use super::progress::Progress;
use super::since::Since;
use super::view::shortened;
use crate::config::WhichLedger;

/// Blobs that are shown before a command is confirmed.
const SHOWN: usize = 10;
/// Blobs that one command takes in at most.
const MAX_BLOBS: usize = 10_000;

/// Which blobs `replay` has looked at again, and the reason for the history.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ReplayArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The blobs' URLs; or, of what the ledger knows, a container and path, or the id of a quarantined event
    #[arg(value_name = "BLOB", required_unless_present = "skipped", conflicts_with = "skipped")]
    pub blobs: Vec<String>,
    /// All whose events no rule wanted, as far as the next options say
    #[arg(long)]
    pub skipped: bool,
    /// Of skipped ones those of this rule's container
    #[arg(long, value_name = "ID", requires = "skipped", conflicts_with = "blobs")]
    pub rule: Option<String>,
    /// Of skipped ones those whose container and path begin so
    #[arg(long, value_name = "CONTAINER/PATH", requires = "skipped", conflicts_with = "blobs")]
    pub prefix: Option<String>,
    /// Of skipped ones those received since then: `90m`, `24h`, `7d` before now, a day such as `2026-07-21` (UTC), or a time such as `2026-07-21T10:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Since::read, requires = "skipped", conflicts_with = "blobs")]
    pub since: Option<Since>,
    /// Why: it stands in the history, with who ordered it; a dry run needs none
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub reason: Option<String>,
    /// Show which blobs it would be, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Replay several blobs at once
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
}

/// Has the next reconcile run look at the blobs again, in the name of `by`; returns the exit code. Several need `--yes`; else they are only
/// shown.
pub async fn replay(
    ledger: &Ledger,
    args: &ReplayArgs,
    by: &str,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let reason = args.reason.as_deref().unwrap_or_default().trim();
    if reason.is_empty() && !args.dry_run {
        writeln!(out, "Nothing was changed: --reason is empty; it tells whoever reads the history why.")?;
        return Ok(ATTENTION);
    }
    let named =
        if args.skipped { Some(skipped(ledger, args, now).await?) } else { of_names(ledger, args, out).await? };
    let Some(urls) = named else { return Ok(ATTENTION) };
    if urls.is_empty() {
        writeln!(out, "No skipped event matches; nothing was changed.")?;
        return Ok(ATTENTION);
    }
    if args.dry_run || urls.len() > 1 && !args.yes {
        for url in urls.iter().take(SHOWN) {
            writeln!(out, "{}", shortened(url, 200))?;
        }
        let more = urls.len().saturating_sub(SHOWN);
        if more > 0 {
            writeln!(out, "and {more} more")?;
        }
        let next = if args.dry_run {
            "would be replayed; nothing was changed."
        } else {
            "are to be replayed; nothing was changed; to do it, add --yes."
        };
        writeln!(out, "{} {next}", urls.len())?;
        return Ok(if args.dry_run { OK } else { ATTENTION });
    }
    for url in &urls {
        // Whatever is named was read as a blob before.
        let Ok(blob) = UnversionedBlob::read(url) else { continue };
        match app::replay(ledger, blob, by, reason, now).await? {
            AskOutcome::Recorded => writeln!(out, "{}  is looked at by the next reconcile run", shortened(url, 200))?,
            AskOutcome::Refused(why) => writeln!(out, "{}  left alone: {}", shortened(url, 200), visible(&why))?,
        }
    }
    writeln!(
        out,
        "`scorekeeper explain BLOB` tells what became of it; `scorekeeper list --pending` what it waits for."
    )?;
    Ok(OK)
}

/// The blobs of skipped events.
async fn skipped(ledger: &Ledger, args: &ReplayArgs, now: OffsetDateTime) -> Result<BTreeSet<String>, Error> {
    let since = args.since.map_or(OffsetDateTime::UNIX_EPOCH, |since| since.before(now));
    let mut urls = BTreeSet::new();
    for skip in ledger.skipped(since, usize::MAX).await?.iter() {
        let Ok(blob) = UnversionedBlob::read(&skip.subject) else { continue };
        let path = format!("{}/{}", blob.container, blob.path);
        let wanted = skip.at >= since
            && args.rule.as_deref().is_none_or(|rule| skip.rule.as_deref() == Some(rule))
            && args.prefix.as_deref().is_none_or(|prefix| path.starts_with(prefix));
        if wanted && urls.len() < MAX_BLOBS {
            urls.insert(blob.url);
        }
    }
    Ok(urls)
}

/// The blobs that are named; `None` if one is not clear, which was said.
async fn of_names(ledger: &Ledger, args: &ReplayArgs, out: &mut dyn Write) -> Result<Option<BTreeSet<String>>, Error> {
    let mut urls = BTreeSet::new();
    for name in &args.blobs {
        if let Ok(blob) = UnversionedBlob::read(name) {
            urls.insert(blob.url);
            continue;
        }
        let mut progress = Progress::new();
        let known = reports::find(ledger, name, || progress.count()).await?;
        drop(progress);
        let of_scorings = known.scorings.iter().map(|scoring| scoring.blob.url.clone());
        let of_skips = known.received.iter().filter_map(|row| match row {
            Received::Skipped(skip) => Some(skip.subject.clone()),
            Received::Scoring(_) => None,
        });
        let of_event = known.quarantined.as_ref().and_then(url_of);
        let found: BTreeSet<String> = of_scorings.chain(of_skips).chain(of_event).collect();
        let shown = visible(name);
        match found.len() {
            1 => urls.extend(found),
            0 => {
                match &known.quarantined {
                    Some(event) => writeln!(
                        out,
                        "The quarantined event `{shown}` tells of no blob whose name can be read ({}); name the blob by its URL.",
                        shortened(&event.reason, 200)
                    )?,
                    None => writeln!(out, "The ledger does not know which blob `{shown}` is; name it by its URL.")?,
                }
                return Ok(None);
            }
            _ => {
                writeln!(out, "`{shown}` may be several blobs; name one by its URL:")?;
                for url in &found {
                    writeln!(out, "  {}", visible(url))?;
                }
                return Ok(None);
            }
        }
    }
    Ok(Some(urls))
}

/// The blob that an event tells of which could not be read, if its URL can.
fn url_of(event: &Quarantined) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(&event.received).ok()?;
    let url = event.pointer("/data/url")?.as_str()?;
    UnversionedBlob::read(url).ok().map(|blob| blob.url)
}
