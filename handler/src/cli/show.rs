//! `scorekeeper show`: scorings with their history: what happened to them, and why.

use std::io::Write;

use app::ledger::Ledger;
use app::reports::{self, GroupView, ScoringDetail, UnreadableView};
use lifecycle::intake;
use lifecycle::text::visible;
use time::OffsetDateTime;

use super::explain::explain;
use super::json::JsonArgs;
use super::on_ledger::{ATTENTION, Error, OK};
use super::progress::Progress;
use super::view::{name_of, utc_text};
use crate::config::WhichLedger;

/// Which scoring or blob `show` tells of, and in which form.
#[derive(Debug, Clone, clap::Args)]
pub struct ShowArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The scoring's id or the beginning of it, or the blob's URL or path
    pub id: String,
    /// Whether scorings and their histories are printed as JSON, or as text for people.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// `show ID`: a scoring with its whole history. An unambiguous beginning of the id, or a blob's URL or path, is enough; of a blob
/// all versions are shown, the newest first, and what became of it if that is no scoring.
pub async fn show(
    ledger: &Ledger,
    which: &WhichLedger,
    wanted: &str,
    json: &JsonArgs,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let mut progress = Progress::new();
    let known = reports::find(ledger, wanted, || progress.count()).await?;
    drop(progress);
    let of_blob = known.blob.is_some();
    if known.scorings.is_empty() && known.unreadable.is_empty() {
        return explain(ledger, which, wanted, json, now, out).await;
    }
    if known.scorings.len() > 1 && !of_blob {
        let wanted = visible(intake::shown(wanted));
        writeln!(out, "{} scorings match `{wanted}`; name one of them:", known.scorings.len())?;
        for scoring in &known.scorings {
            writeln!(out, "  {}  {:10}  {}", scoring.id, scoring.status, visible(&name_of(scoring)))?;
        }
        return Ok(ATTENTION);
    }
    let code = if known.scorings.is_empty() { ATTENTION } else { OK };
    let unreadable: Vec<UnreadableView> = known.unreadable.into_iter().map(Into::into).collect();
    let mut details = Vec::with_capacity(known.scorings.len());
    for scoring in known.scorings {
        details.push(reports::detail(ledger, scoring).await?);
    }
    if json.is_asked_for() {
        match (&details[..], &unreadable[..]) {
            // By far the most frequent: an object, as scripts have always had it.
            ([detail], []) => json.write(detail, out),
            ([], [row]) => json.write(row, out),
            _ => json.write(&details, out),
        }?;
        return Ok(code);
    }
    for row in &unreadable {
        writeln!(out, "{}  {}: {}", row.id.as_deref().unwrap_or("?"), row.status, row.error)?;
    }
    for (number, detail) in details.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        print(detail, out)?;
    }
    Ok(code)
}

/// Characters that names of lines take at least.
const MIN_WIDTH: usize = 8;

/// What is told of a scoring in one line each, under these names.
fn rows(detail: &ScoringDetail) -> [(&'static str, Option<String>); 23] {
    let s = &detail.scoring;
    // What a group has in place of a blob: the folder of the copies that its job reads.
    let (folder, blob, etag) = match &detail.of_group {
        Some(_) => (Some(s.blob_url.clone()), None, None),
        None => (None, Some(s.blob_url.clone()), Some(s.etag.clone())),
    };
    let halves = detail.of_group.as_ref().map(|group| group.halves.join(", ")).filter(|halves| !halves.is_empty());
    let shared = detail.group_job.as_ref().map(|job| format!(" ({})", job.told())).unwrap_or_default();
    [
        ("folder", folder),
        ("blob", blob),
        ("etag", etag),
        ("rule", Some(s.rule.clone())),
        ("created", Some(format!("{} UTC", utc_text(s.created_time)))),
        ("attempt", Some(s.attempt.to_string())),
        ("job", s.job.as_ref().map(|job| format!("{job} ({})", s.job_status.as_deref().unwrap_or("?")))),
        ("studio", s.studio.clone()),
        ("output", s.all_outputs()),
        ("published", s.all_publications()),
        ("bytes", s.output_bytes.map(|bytes| bytes.to_string())),
        ("group", s.group.as_ref().map(|group| format!("{group}{shared}"))),
        ("alone", s.alone.clone()),
        ("members", detail.of_group.as_ref().map(GroupView::told)),
        ("halfOf", detail.of_group.as_ref().and_then(|group| group.half_of.clone())),
        ("halves", halves),
        ("replacedBy", s.replaced_by.clone()),
        ("inPlaceOf", s.in_place_of.clone()),
        ("waits", detail.waits.clone()),
        ("lastError", s.last_error.clone()),
        ("error", s.error.clone()),
        ("cause", s.failure_cause.map(str::to_owned)),
        ("remedy", s.remedy.as_ref().map(ToString::to_string)),
    ]
}

fn print(detail: &ScoringDetail, out: &mut dyn Write) -> std::io::Result<()> {
    let s = &detail.scoring;
    writeln!(out, "{}  {}: {}", s.id, s.status, detail.sentence)?;
    let rows: Vec<(&str, String)> = rows(detail).into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let width = rows.iter().map(|(name, _)| name.len()).fold(MIN_WIDTH, usize::max);
    for (name, value) in &rows {
        writeln!(out, "  {name:width$} {}", visible(value))?;
    }
    for member in detail.of_group.iter().flat_map(|group| &group.group_members) {
        let path = member.path.as_deref().unwrap_or_default();
        writeln!(out, "    {}  {}  {}", member.id, visible(path), visible(&member.told()))?;
    }
    writeln!(out, "  history  (UTC)")?;
    for row in &detail.unreadable {
        writeln!(out, "    unreadable: {}", row.error)?;
    }
    for entry in &detail.history {
        let from = entry.from.map_or("", lifecycle::Status::name);
        let request = entry.request_id.as_ref().map_or_else(String::new, |id| format!(" (request {id})"));
        writeln!(
            out,
            "    {}  {from:>10} → {:10}  {}{}",
            utc_text(entry.at),
            entry.to,
            visible(&entry.reason),
            visible(&request)
        )?;
    }
    Ok(())
}
