//! Coverage: what accounts for each version that the ledger knows of. Each day gets a manifest once it is over, with a line for each
//! version that was accepted on it, and whoever keeps it can prove later that nothing of it was taken out or changed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt as _, stream};
use lifecycle::coverage::{ManifestLine, Outcome, begun, bounds, chained};
use lifecycle::redact::redacted;
use time::{Date, Duration, OffsetDateTime};

use crate::clock::LedgerClock;
use crate::error::{Error as AppError, during, error_chain};
use crate::ledger::{self, DayManifest, Ledger, ManifestPart, Place};
use crate::ports::table_store::ETag;

mod check;

pub(crate) use check::check;
pub use check::{Checked, Discrepancy, Error};

/// A day is written so long after its end: what came in its last hour was swept by then.
const SETTLED: Duration = Duration::minutes(150);
/// Who writes a day has it for so long.
const CLAIM: Duration = Duration::minutes(5);
/// Lines that are added at one time: with the longest of names they take less than the 100 rows of a transaction.
const MAX_LINES: usize = 400;
/// What the lines of one row take at most, in bytes: a property holds 32,768 UTF-16 units.
const MAX_BYTES: usize = 30_000;
/// Scorings that are read at one time.
const MAX_CONCURRENT: usize = 16;
/// Rows of old manifests that a run removes.
const MAX_PURGED: usize = 1_000;

/// Writes the manifests of days.
pub(crate) struct Manifests {
    ledger: Ledger,
    clock: LedgerClock,
    retention: Duration,
    /// The last day that is known to have one.
    written: Mutex<Option<Date>>,
}

/// Some lines of a manifest, and what follows them.
struct More {
    lines: Vec<ManifestLine>,
    next: ManifestPart,
    after: Option<String>,
}

impl Manifests {
    pub(crate) fn new(ledger: &Ledger, clock: &LedgerClock, retention: Duration) -> Self {
        Self { ledger: ledger.clone(), clock: clock.clone(), retention, written: Mutex::default() }
    }

    /// Writes what is missing of the days that are over. Begins nothing new after `deadline`.
    pub(crate) async fn run(&self, deadline: OffsetDateTime) -> Result<(), AppError> {
        let reading = || during("reading which days have a manifest");
        let now = self.clock.now();
        let Some(last) = (now - SETTLED).date().previous_day() else { return Ok(()) };
        let known = |day: Option<Date>| {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            *written = day.max(*written);
            written.is_some_and(|written| written >= last)
        };
        if known(None) {
            return Ok(());
        }
        let remembered = (now - self.retention).date();
        let kept = self.ledger.manifests(remembered).await.map_err(reading())?;
        if let Some(unreadable) = kept.unreadable.first() {
            // Nobody knows what the days behind it follow.
            tracing::error!(error = %unreadable, "no manifest is written: {unreadable}");
            return Ok(());
        }
        let (mut before, mut day) = (String::new(), last);
        let mut open = None;
        for (manifest, etag) in kept.read {
            if manifest.next == ManifestPart::Done {
                before.clone_from(&manifest.digest);
                day = manifest.day.next_day().unwrap_or(last);
                open = None;
            } else {
                day = manifest.day;
                open = Some((manifest, etag));
            }
        }
        if day > last {
            known(day.previous_day());
            return Ok(());
        }
        while day <= last && self.clock.now() < deadline {
            let Some(digest) = self.write(day, before, open.take(), deadline).await? else { return Ok(()) };
            before = digest;
            known(Some(day));
            day = day.next_day().unwrap_or(Date::MAX);
        }
        self.ledger.purge_manifests(remembered, MAX_PURGED).await.map_err(during("removing old manifests"))
    }

    /// Writes one day to its end, and returns its digest; `None`: there was no time, or somebody else writes it.
    async fn write(
        &self,
        day: Date,
        before: String,
        open: Option<(DayManifest, ETag)>,
        deadline: OffsetDateTime,
    ) -> Result<Option<String>, AppError> {
        let writing = || during("writing the manifest of a day");
        let now = self.clock.now();
        let ledger_id = self.ledger.id().await.map_err(writing())?;
        let (mut manifest, etag) = match open {
            Some((manifest, etag)) => {
                if now < manifest.claimed_until && manifest.claimed_until <= now + CLAIM {
                    return Ok(None);
                }
                (manifest, Some(etag))
            }
            None => (new(day, begun(ledger_id.as_str(), &before, &day.to_string()), before, now), None),
        };
        manifest.claimed_until = now + CLAIM;
        let kept = self.ledger.keep_manifest(&manifest, &[], etag.as_ref()).await.map_err(writing())?;
        let Some(mut etag) = kept else { return Ok(None) };
        while manifest.next != ManifestPart::Done {
            if self.clock.now() >= deadline {
                // Left to whoever comes next, at once.
                manifest.claimed_until = self.clock.now();
                self.ledger.keep_manifest(&manifest, &[], Some(&etag)).await.map_err(writing())?;
                return Ok(None);
            }
            let more = self.more(&manifest).await.map_err(writing())?;
            let rows = added(&mut manifest, more);
            manifest.claimed_until = self.clock.now() + CLAIM;
            let kept = self.ledger.keep_manifest(&manifest, &rows, Some(&etag)).await.map_err(writing())?;
            match kept {
                Some(kept) => etag = kept,
                None => return Ok(None),
            }
        }
        for (rule, counts) in &manifest.counts {
            let of = |outcome| counts.get(&outcome).copied().unwrap_or_default();
            tracing::info!(
                rule,
                day = %manifest.day,
                accounted = counts.values().sum::<u64>(),
                scored = of(Outcome::Scored),
                in_flight = of(Outcome::InFlight),
                waiting = of(Outcome::Waiting),
                skipped = of(Outcome::Skipped),
                failed = of(Outcome::Failed),
                cancelled = of(Outcome::Cancelled),
                quarantined = of(Outcome::Quarantined),
                superseded = of(Outcome::Superseded),
                gone = of(Outcome::Gone),
                "day accounted for"
            );
        }
        Ok(Some(manifest.digest))
    }

    /// The next lines of a day.
    async fn more(&self, manifest: &DayManifest) -> Result<More, ledger::Error> {
        let (begin, end) = bounds(manifest.day);
        let after = manifest.after.as_deref().and_then(Place::read);
        match manifest.next {
            ManifestPart::Scorings => self.scorings(begin, end, after).await,
            ManifestPart::Skipped => {
                let on_it = |at: OffsetDateTime| begin <= at && at < end;
                let (rows, next) =
                    self.ledger.skipped_page(begin, after.as_ref(), MAX_LINES, |skip| on_it(skip.at)).await?;
                let lines = rows.read.into_iter().filter(|skip| on_it(skip.at)).map(|skip| ManifestLine {
                    rule: skip.rule.map(|rule| rule.to_string()),
                    blob: skip.subject,
                    etag: skip.etag,
                    reason: Some(skip.reason),
                    ..line(Outcome::Skipped)
                });
                Ok(page(lines, ManifestPart::Skipped, next, ManifestPart::Quarantined))
            }
            ManifestPart::Quarantined => {
                let (rows, next) = self.ledger.quarantined_page(begin, after.as_ref(), MAX_LINES).await?;
                let on_it = rows.read.into_iter().filter(|bad| begin <= bad.at && bad.at < end);
                let lines = on_it.map(|bad| ManifestLine {
                    blob: bad.key,
                    reason: Some(bad.reason),
                    ..line(Outcome::Quarantined)
                });
                Ok(page(lines, ManifestPart::Quarantined, next, ManifestPart::Waiting))
            }
            ManifestPart::Waiting => self.waiting(end, manifest.after.as_deref()).await,
            ManifestPart::Done => Ok(More { lines: Vec::new(), next: ManifestPart::Done, after: None }),
        }
    }

    async fn scorings(
        &self,
        begin: OffsetDateTime,
        end: OffsetDateTime,
        after: Option<Place>,
    ) -> Result<More, ledger::Error> {
        let mut index = self.ledger.newest(Some(end - Duration::NANOSECOND), after.as_ref(), MAX_LINES);
        let mut rows = Vec::new();
        while rows.len() < MAX_LINES
            && let Some(row) = index.next().await?
        {
            match row {
                Ok(row) if row.created >= end => {}
                Ok(row) if row.created >= begin => rows.push(row),
                Ok(_) => break,
                Err(unreadable) => tracing::error!(error = %unreadable, "not in a manifest: {unreadable}"),
            }
        }
        let is_all = rows.len() < MAX_LINES;
        let mut reads = stream::iter(0..rows.len()).map(|at| self.ledger.get(&rows[at].id)).buffered(MAX_CONCURRENT);
        let mut lines = Vec::new();
        while let Some(read) = reads.next().await {
            let scoring = match read {
                Ok(Some((scoring, _))) => scoring,
                // Forgotten by its retention, or told of elsewhere.
                Ok(None) | Err(ledger::Error::Unreadable(_)) => continue,
                Err(error) => return Err(error),
            };
            let outcome = Outcome::of(scoring.status);
            let output = scoring.result_uris().next().filter(|_| outcome == Outcome::Scored);
            let line = ManifestLine {
                rule: Some(scoring.rule.to_string()),
                etag: Some(scoring.blob.etag.clone()),
                scoring: Some(scoring.id.to_string()),
                output: output.map(|(_, uri)| uri.to_owned()),
                blob: scoring.blob.url,
                ..line(outcome)
            };
            lines.push(line);
        }
        let next = if is_all { ManifestPart::Skipped } else { ManifestPart::Scorings };
        let after = rows.last().map(|row| row.place.as_str().to_owned()).filter(|_| !is_all);
        Ok(More { lines, next, after })
    }

    /// What waits for a look now and was told of by the end of the day; few, in the order of their keys.
    async fn waiting(&self, end: OffsetDateTime, after: Option<&str>) -> Result<More, ledger::Error> {
        let (mut lines, mut from) = (Vec::new(), None);
        loop {
            let (rows, next) = self.ledger.pending_page(from.as_ref()).await?;
            for pending in rows.into_iter().flatten().map(|(pending, _)| pending) {
                let key = pending.key().row;
                if pending.since() >= end || after.is_some_and(|after| key.as_str() <= after) {
                    continue;
                }
                let rule = match &pending {
                    ledger::Pending::Upload(upload) => Some(upload.rule.to_string()),
                    ledger::Pending::Folder(_) | ledger::Pending::Order(_) => None,
                };
                lines.push(ManifestLine { rule, blob: pending.url().to_owned(), ..line(Outcome::Waiting) });
                if lines.len() >= MAX_LINES {
                    return Ok(More { lines, next: ManifestPart::Waiting, after: Some(key) });
                }
            }
            match next {
                Some(next) => from = Some(next),
                None => return Ok(More { lines, next: ManifestPart::Done, after: None }),
            }
        }
    }
}

fn new(day: Date, digest: String, before: String, now: OffsetDateTime) -> DayManifest {
    DayManifest {
        day,
        before,
        digest,
        lines: 0,
        chunks: 0,
        next: ManifestPart::Scorings,
        after: None,
        claimed_until: now,
        counts: BTreeMap::new(),
    }
}

fn line(outcome: Outcome) -> ManifestLine {
    ManifestLine { rule: None, blob: String::new(), etag: None, outcome, scoring: None, output: None, reason: None }
}

/// A page of an index.
fn page(
    lines: impl Iterator<Item = ManifestLine>,
    part: ManifestPart,
    next: Option<Place>,
    behind: ManifestPart,
) -> More {
    let after = next.map(|next| next.as_str().to_owned());
    let next = if after.is_some() { part } else { behind };
    More { lines: lines.collect(), next, after }
}

/// Adds lines to a manifest, and returns their text in the pieces that rows hold.
fn added(manifest: &mut DayManifest, more: More) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for mut line in more.lines {
        for (part, max) in [(&mut line.reason, 300), (&mut line.output, 3_000)] {
            *part = part.take().map(|part| redacted(&lifecycle::text::one_line(&part, max)).into_owned());
        }
        line.blob = redacted(&lifecycle::text::one_line(&line.blob, 4_000)).into_owned();
        let json = serde_json::to_string(&line).unwrap_or_default(); // texts always serialise
        manifest.digest = chained(&manifest.digest, &json);
        manifest.lines += 1;
        let of_rule = manifest.counts.entry(line.rule.unwrap_or_default()).or_default();
        *of_rule.entry(line.outcome).or_default() += 1;
        match rows.last_mut().filter(|text| text.len() + json.len() < MAX_BYTES) {
            Some(text) => text.extend([&*json, "\n"]),
            None => rows.push(json + "\n"),
        }
    }
    manifest.chunks += u32::try_from(rows.len()).unwrap_or(u32::MAX);
    (manifest.next, manifest.after) = (more.next, more.after);
    rows
}

/// What is wrong with a manifest is in the log of whoever writes it: a sweep does not fail for it.
pub(crate) fn tell(result: Result<(), AppError>) {
    if let Err(error) = result {
        tracing::warn!(error = %error_chain(&error), "the manifest of a day was not written; the next run tries again");
    }
}
