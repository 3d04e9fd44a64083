//! `scorekeeper show`: one scoring with its history: what happened to it, and why.

use std::io::Write;
use std::process::ExitCode;

use app::ledger::{self, Ledger, Unreadable};
use app::ports::Clock;
use app::reports::{self, ScoringDetail, UnreadableView};
use lifecycle::text::visible;
use lifecycle::{ScoringId, intake};

use super::on_ledger::{ATTENTION, Access, Error, OK, run_on_ledger};
use super::progress::Progress;
use super::view::{path, utc_text};
use crate::config::WhichLedger;

/// What `show` shows.
#[derive(Debug, Clone, clap::Args)]
pub struct ShowArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The scoring's id or the beginning of it, or the blob's URL or path
    pub id: String,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &ShowArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let command = async |ledger: &Ledger, _, out: &mut dyn Write| show(ledger, &args.id, args.json, out).await;
    run_on_ledger(&args.which, Access::Read, clock, command)
}

/// `show ID`: one scoring with its whole history. An unambiguous beginning of the id, or a blob's URL or path, is enough.
pub async fn show(ledger: &Ledger, wanted: &str, json: bool, out: &mut dyn Write) -> Result<u8, Error> {
    let mut found = Vec::new();
    let mut unreadable = Vec::new();
    let url = intake::shown(wanted);
    if let Some(id) = ScoringId::read(wanted) {
        match ledger.get(&id).await {
            Err(ledger::Error::Unreadable(row)) => unreadable.push(row),
            other => found.extend(other?.map(|(scoring, _)| scoring)),
        }
    } else {
        let mut progress = Progress::new();
        unreadable = ledger
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
    let of_it = |row: &&Unreadable| row.scoring().is_some_and(|id| id.as_str().starts_with(wanted));
    let scoring = match found.as_slice() {
        [] if unreadable.iter().any(|row| of_it(&row)) => {
            for row in unreadable.into_iter().filter(|row| of_it(&row)).map(UnreadableView::from) {
                if json {
                    serde_json::to_writer_pretty(&mut *out, &row).map_err(std::io::Error::from)?;
                    writeln!(out)?;
                } else {
                    writeln!(out, "{}  {}: {}", row.id.as_deref().unwrap_or("?"), row.status, row.error)?;
                }
            }
            return Ok(ATTENTION);
        }
        [] => {
            writeln!(
                out,
                "No scoring has the id `{url}`, nor is there one of such a blob. `scorekeeper list` shows what there is."
            )?;
            return Ok(ATTENTION);
        }
        [_] => found.remove(0),
        several => {
            writeln!(out, "{} scorings match `{}`; name one of them:", several.len(), visible(url))?;
            for scoring in several {
                writeln!(out, "  {}  {:10}  {}", scoring.id, scoring.status, visible(&path(&scoring.blob)))?;
            }
            return Ok(ATTENTION);
        }
    };
    let sentence = scoring.status.sentence();
    let detail = reports::detail(ledger, scoring).await?;
    if json {
        serde_json::to_writer_pretty(&mut *out, &detail).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(OK);
    }
    print(&detail, sentence, out)?;
    Ok(OK)
}

fn print(detail: &ScoringDetail, sentence: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let s = &detail.scoring;
    writeln!(out, "{}  {}: {sentence}", s.id, s.status)?;
    let rows = [
        ("blob", Some(s.blob_url.clone())),
        ("etag", Some(s.etag.clone())),
        ("rule", Some(s.rule.clone())),
        ("attempt", Some(s.attempt.to_string())),
        ("job", s.job.as_ref().map(|job| format!("{job} ({})", s.job_status.as_deref().unwrap_or("?")))),
        ("studio", s.studio.clone()),
        ("output", s.all_outputs()),
        ("bytes", s.output_bytes.map(|bytes| bytes.to_string())),
        ("replacedBy", s.replaced_by.clone()),
        ("inPlaceOf", s.in_place_of.clone()),
        ("waits", detail.waits.clone()),
        ("lastError", s.last_error.clone()),
        ("error", s.error.clone()),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            writeln!(out, "  {name:8} {}", visible(&value))?;
        }
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
