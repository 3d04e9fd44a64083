//! `scorekeeper list --skipped`, `--quarantined` and `--pending`: what became no scoring, or not yet.

use std::io::Write;

use app::ledger::{Ledger, Place, Skipped};
use app::reports::{self, EventPage, PendingList};
use lifecycle::UnversionedBlob;
use serde::Serialize;
use time::OffsetDateTime;

use super::format::{Format, RowWriter};
use super::list::{ListArgs, code, shown_and_next, told};
use super::on_ledger::Error;
use super::table::{self, Column};
use super::view::utc_text;

/// `list --skipped`: events that no rule wanted, the newest first.
pub(super) async fn skipped(
    ledger: &Ledger,
    args: &ListArgs,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let since = args.since.map_or(OffsetDateTime::UNIX_EPOCH, |since| since.before(now));
    let in_place = |skip: &Skipped, prefix: &String| {
        let blob = UnversionedBlob::read(&skip.subject);
        blob.is_ok_and(|blob| format!("{}/{}", blob.container, blob.path).starts_with(prefix.as_str()))
    };
    let wants = |skip: &Skipped| {
        (args.rule.is_none() || args.rule.as_deref() == skip.rule.as_deref())
            && args.prefix.as_ref().is_none_or(|prefix| in_place(skip, prefix))
    };
    let page = reports::skipped(ledger, since, args.after.as_ref(), args.limit, wants).await?;
    let columns = ["id", "status", "seenTime", "rule", "subject", "etag", "reason", "event"];
    if is_printed_for_tools(args, &columns, &page.events, out)? {
        return Ok(code(&page.unreadable));
    }
    let row = |skip: &reports::SkippedView| {
        let rule = skip.rule.clone().unwrap_or_else(|| "-".to_owned());
        vec![utc_text(skip.seen_time), rule, skip.subject.clone(), skip.reason.clone()]
    };
    let columns =
        [Column::whole("RECEIVED (UTC)"), Column::long("RULE", 8), Column::long("BLOB", 16), Column::long("WHY", 24)];
    print(&page, &columns, row, "No skipped event matches.", args, out)
}

/// `list --quarantined`: events that could not be read, the newest first.
pub(super) async fn quarantined(
    ledger: &Ledger,
    args: &ListArgs,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let since = args.since.map_or(OffsetDateTime::UNIX_EPOCH, |since| since.before(now));
    let page = reports::quarantined(ledger, since, args.after.as_ref(), args.limit).await?;
    let columns = ["id", "status", "seenTime", "acknowledgedTime", "reason", "received"];
    if is_printed_for_tools(args, &columns, &page.events, out)? {
        return Ok(code(&page.unreadable));
    }
    // Whole: `ack` and `replay` take nothing less.
    let columns =
        [Column::whole("ID"), Column::whole("RECEIVED (UTC)"), Column::long("WHY", 12), Column::long("EVENT", 8)];
    let row = |event: &reports::QuarantinedView| {
        vec![event.id.clone(), utc_text(event.seen_time), event.reason.clone(), event.received.clone()]
    };
    print(&page, &columns, row, "No event is quarantined.", args, out)
}

fn print<T>(
    page: &EventPage<T>,
    columns: &[Column],
    row: impl Fn(&T) -> Vec<String>,
    none: &str,
    args: &ListArgs,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    if page.events.is_empty() {
        writeln!(out, "{none}")?;
    } else {
        let rows: Vec<_> = page.events.iter().map(row).collect();
        table::print(columns, &rows, args.width(), out)?;
        shown_and_next(page.events.len(), page.next.as_ref().map(Place::as_str), out)?;
    }
    told(&page.unreadable, out)
}

/// `list --pending`: what waits for a look at the storage, the oldest first.
pub(super) async fn pending(ledger: &Ledger, args: &ListArgs, out: &mut dyn Write) -> Result<u8, Error> {
    let found = reports::pending(ledger).await?;
    match args.format() {
        Format::Table => {}
        Format::Json => {
            args.json.write(&found, out)?;
            return Ok(code(&found.unreadable));
        }
        format => {
            let columns = ["url", "rule", "since", "due", "lookFailed", "reason"];
            rows(format, &columns, &found.waiting, out)?;
            return Ok(code(&found.unreadable));
        }
    }
    let PendingList { waiting, unreadable } = found;
    if waiting.is_empty() {
        writeln!(out, "No upload waits for a look at the storage.")?;
        return told(&unreadable, out);
    }
    let columns = [
        Column::whole("SINCE (UTC)"),
        Column::whole("NEXT LOOK (UTC)"),
        Column::long("RULE", 8),
        Column::long("BLOB", 12),
        Column::long("WAITS FOR", 12),
    ];
    let row = |view: &reports::PendingView| {
        let rule = view.rule.clone().unwrap_or_else(|| "-".to_owned());
        vec![utc_text(view.since), utc_text(view.due), rule, view.url.clone(), view.reason.clone()]
    };
    table::print(&columns, &waiting.iter().map(row).collect::<Vec<_>>(), args.width(), out)?;
    told(&unreadable, out)
}

/// Rows in a form that is neither a table for people nor one array.
pub(super) fn rows<T: Serialize>(
    format: Format,
    columns: &[&'static str],
    found: &[T],
    out: &mut dyn Write,
) -> Result<(), Error> {
    if format == Format::Wide {
        let mut cells = Vec::with_capacity(found.len());
        for row in found {
            cells.push(super::format::values(row, columns)?);
        }
        let columns: Vec<_> = columns.iter().map(|name| Column::whole(name)).collect();
        return Ok(table::print(&columns, &cells, None, out)?);
    }
    let mut writer = RowWriter::new(format, columns, out)?;
    found.iter().try_for_each(|row| writer.write(row))?;
    Ok(())
}

/// Prints in a form that tools read, if one is asked for; a table is for its caller to print.
fn is_printed_for_tools<T: Serialize>(
    args: &ListArgs,
    columns: &[&'static str],
    found: &[T],
    out: &mut dyn Write,
) -> Result<bool, Error> {
    match args.format() {
        Format::Table => return Ok(false),
        Format::Json => args.json.write(&found, out)?,
        format => rows(format, columns, found, out)?,
    }
    Ok(true)
}
