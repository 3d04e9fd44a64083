//! The live view in the terminal: one line for each change, and on a terminal a line of counts that stays at the end.

use std::collections::HashMap;
use std::io::{self, Write};

use lifecycle::redact::redacted;
use lifecycle::text::visible;
use lifecycle::{Scoring, ScoringId, Status};
use time::{Duration, OffsetDateTime};

use crate::cli::view::{path, utc_text};
use crate::config::WhichLedger;
use app::ledger::{self, Ledger};
use app::ports::table_store::ETag;

/// Follows a ledger and prints what changes.
pub(super) struct View<W> {
    out: W,
    /// Whether the last line may be overwritten.
    terminal: bool,
    known: HashMap<ScoringId, (Status, i64)>,
    started: OffsetDateTime,
    counts: String,
    /// How commands find the ledger.
    which: WhichLedger,
}

impl<W: Write> View<W> {
    pub(super) fn new(out: W, terminal: bool, which: WhichLedger, started: OffsetDateTime) -> Self {
        Self { out, terminal, known: HashMap::new(), started, counts: String::new(), which }
    }

    /// Looks at the ledger once and prints what is new.
    pub(super) async fn refresh(&mut self, ledger: &Ledger, now: OffsetDateTime) -> Result<(), Error> {
        let in_flight = ledger.in_flight().await?;
        // An hour back: what ended while this process was starting is shown, older history is for `list`.
        let ended = ledger.ended_since(now - Duration::hours(1)).await?;
        let mut changed: Vec<Scoring> = Vec::new();
        let mut counts = HashMap::new();
        let rows = in_flight.iter().map(|r| (&r.id, r.status)).chain(ended.iter().map(|r| (&r.id, r.status)));
        for (id, status) in rows {
            *counts.entry(status).or_insert(0) += 1;
            if self.known.get(id).is_none_or(|(known, _)| *known != status)
                && let Some(scoring) = readable(ledger.get(id).await)?
            {
                changed.push(scoring);
            }
        }
        changed.sort_by_key(|scoring| scoring.updated);
        for scoring in changed {
            let before = self.known.insert(scoring.id.clone(), (scoring.status, scoring.version));
            // History of an earlier run is known, not news.
            if before.is_some() || scoring.updated >= self.started {
                self.line(&scoring)?;
            }
        }
        let parts = Status::ALL.iter().filter_map(|s| counts.get(s).map(|count| format!("{s} {count}")));
        let counts = parts.collect::<Vec<_>>().join("  ");
        if self.terminal && counts != self.counts {
            write!(self.out, "\r\x1b[2K{counts}")?;
            self.out.flush()?;
        }
        self.counts = counts;
        Ok(())
    }

    fn line(&mut self, s: &Scoring) -> io::Result<()> {
        let at = utc_text(s.updated);
        let detail = match s.status {
            Status::Scored => {
                let places: Vec<&str> = s.output_uris().map(|(_, uri)| uri).collect();
                format!("{} bytes at {}", s.output_bytes.unwrap_or_default(), places.join(", "))
            }
            Status::Failed => s.error.clone().unwrap_or_default(),
            _ => s.last_error.clone().or_else(|| s.job.as_ref().map(|job| job.name.to_string())).unwrap_or_default(),
        };
        let (clear, again) = if self.terminal { ("\r\x1b[2K", self.counts.as_str()) } else { ("", "") };
        // Here the terminal is written to directly, so that nothing else stands between it and a name or a service's text.
        let detail = self.which.named_in(&detail);
        let (path, detail) = (path(&s.blob), redacted(&detail));
        writeln!(self.out, "{clear}{}  {:10}  {}  {}", &at[11..], s.status, visible(&path), visible(&detail))?;
        write!(self.out, "{again}")?;
        self.out.flush()
    }
}

/// What cannot be read is told by the other commands; here it must not stop the others.
fn readable(got: Result<Option<(Scoring, ETag)>, ledger::Error>) -> Result<Option<Scoring>, ledger::Error> {
    match got {
        Err(ledger::Error::Unreadable(_)) => Ok(None),
        other => Ok(other?.map(|(scoring, _)| scoring)),
    }
}

/// Why the view could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The terminal is gone.
    #[error(transparent)]
    Output(#[from] io::Error),
}
