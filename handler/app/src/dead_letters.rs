//! Dead letters: what Event Grid gave up is taken in as a delivery is, and moved aside only once all of it is in the ledger.
//!
//! Two processes at one dead letter, or one that died after it was taken in, take it in again, which adds nothing: its events are
//! known by the versions that they tell of.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use lifecycle::dead_letter::{Aside, is_aside, is_too_old};
use lifecycle::{BlobSnapshot, Payload};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::clock::LedgerClock;
use crate::error::{Error, error_chain};
use crate::intake::{Accepted, Intake};
use crate::ledger::{DeadLettersLeft, Ledger};
use crate::ports::{DeadLetters, Inconclusive};

/// Dead letters that are taken in at one time.
const MAX_CONCURRENT: usize = 8;
/// Characters that are kept of one of which no event can be told; all of it lies aside.
const SHOWN: usize = 2_000;

/// Whether dead letters are taken in that are older than what the ledger remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooOld {
    /// They are left: what they tell of may have been scored and forgotten.
    Left,
    /// A person wants them taken in.
    TakenIn,
}

/// What a run did with dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterReport {
    /// Dead letters that were moved aside: all of each is in the ledger.
    pub moved: u64,
    /// Scorings that are new in the ledger, and uploads that wait for a look.
    pub taken_in: u64,
    /// Events that were in the ledger already.
    pub duplicates: u64,
    /// Events that no rule wants.
    pub skipped: u64,
    /// Events, or whole dead letters, that could not be read and are in quarantine.
    pub quarantined: u64,
    /// Dead letters that could not be taken in, or not yet.
    pub left: u64,
    /// Dead letters older than what the ledger remembers.
    pub too_old: u64,
}

/// Takes in the deliveries that Event Grid gave up and wrote into the container of dead letters, and moves each aside afterwards.
pub(crate) struct DeadLetterReader {
    pub(crate) place: Arc<dyn DeadLetters>,
    pub(crate) ledger: Ledger,
    pub(crate) intake: Intake,
    pub(crate) clock: LedgerClock,
    pub(crate) retention: Duration,
}

/// Why a dead letter stays where it lies, to be tried again by the next run.
enum NotTaken {
    Ledger(Error),
    Storage(Inconclusive),
}

impl DeadLetterReport {
    fn and(self, more: Self) -> Self {
        Self {
            moved: self.moved + more.moved,
            taken_in: self.taken_in + more.taken_in,
            duplicates: self.duplicates + more.duplicates,
            skipped: self.skipped + more.skipped,
            quarantined: self.quarantined + more.quarantined,
            left: self.left + more.left,
            too_old: self.too_old + more.too_old,
        }
    }
}

impl DeadLetterReader {
    /// Takes in what lies there, and records what is left. Begins nothing new after `deadline`.
    pub(crate) async fn run(&self, deadline: OffsetDateTime, too_old: TooOld) -> DeadLetterReport {
        let (mut report, mut failure) = (DeadLetterReport::default(), None);
        if let Err(why) = self.all(deadline, too_old, &mut report, &mut failure).await {
            failure.get_or_insert_with(|| error_chain(&why));
        }
        let recorded = self.record(report, failure.as_deref()).await;
        if let Err(error) = recorded {
            tracing::warn!(error = %error_chain(&error), "what is left of dead letters was not written into the ledger");
        }
        // The alert reads it, as what the function answers reaches nobody.
        tracing::info!(
            moved = report.moved,
            taken_in = report.taken_in,
            quarantined = report.quarantined,
            left = report.left,
            too_old = report.too_old,
            "dead letter run ended"
        );
        if let Some(why) = failure {
            tracing::warn!(place = self.place.place(), "dead letters are left where they lie: {why}");
        }
        report
    }

    async fn all(
        &self,
        deadline: OffsetDateTime,
        too_old: TooOld,
        report: &mut DeadLetterReport,
        failure: &mut Option<String>,
    ) -> Result<(), Inconclusive> {
        let mut from = None;
        loop {
            let page = self.place.list(from.as_deref()).await?;
            let letters = page.blobs.iter().take_while(|(name, _)| !is_aside(name)).collect::<Vec<_>>();
            let is_end = letters.len() < page.blobs.len();
            let mut looks = stream::iter(0..letters.len())
                .map(|at| self.one(letters[at], deadline, too_old))
                .buffer_unordered(MAX_CONCURRENT);
            while let Some((done, why)) = looks.next().await {
                *report = report.and(done);
                *failure = failure.take().or(why);
            }
            if is_end {
                return Ok(());
            }
            match page.next {
                Some(next) if self.clock.now() < deadline => from = Some(next),
                _ => return Ok(()),
            }
        }
    }

    /// What became of one, and why it is left if it is.
    async fn one(
        &self,
        (name, shown): &(String, BlobSnapshot),
        deadline: OffsetDateTime,
        too_old: TooOld,
    ) -> (DeadLetterReport, Option<String>) {
        let now = self.clock.now();
        let none = DeadLetterReport::default();
        if shown.is_folder {
            return (none, None);
        }
        if too_old == TooOld::Left && is_too_old(shown, self.retention, now) {
            return (DeadLetterReport { too_old: 1, ..none }, None);
        }
        let left = |why: String| (DeadLetterReport { left: 1, ..none }, Some(format!("{name}: {why}")));
        if now >= deadline {
            return left("there was no time left for it".to_owned());
        }
        match Box::pin(self.take_in(name, shown)).await {
            Ok(done) => (done, None),
            Err(NotTaken::Ledger(error)) => left(error_chain(&error)),
            Err(NotTaken::Storage(inconclusive)) => left(error_chain(&inconclusive)),
        }
    }

    async fn take_in(&self, name: &str, shown: &BlobSnapshot) -> Result<DeadLetterReport, NotTaken> {
        let none = DeadLetterReport::default();
        let Some(letter) = self.place.read(name).await.map_err(NotTaken::Storage)? else { return Ok(none) };
        // As the host reads a delivery: what is no UTF-8 shows as damaged.
        let text = String::from_utf8_lossy(&letter.bytes).into_owned();
        let beginning: String = text.chars().take(SHOWN).collect();
        let delivery = match self.intake.accept_dead_letter(name, Payload::new(text)).await {
            Ok(delivery) => Some(delivery.into_parts()),
            Err(error @ Error::TooManyEvents(_)) => {
                self.whole(name, &beginning, &error.to_string()).await?;
                None
            }
            Err(error) => return Err(NotTaken::Ledger(error)),
        };
        let (mut accepted, submissions) = delivery.unzip();
        if accepted == Some(Accepted::default()) {
            self.whole(name, &beginning, &format!("it holds no event ({} bytes)", shown.size)).await?;
            accepted = None;
        }
        let accepted = accepted.unwrap_or_else(|| Accepted { quarantined: 1, ..Accepted::default() });
        // Only now: all of it is in the ledger.
        let aside = if accepted.quarantined > 0 { Aside::Unreadable } else { Aside::TakenIn };
        let moved = self.place.move_aside(name, &letter, aside).await;
        if let Some(submissions) = submissions {
            // What nobody gets to send here the ticks send.
            submissions.send().await;
        }
        moved.map_err(NotTaken::Storage)?;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(DeadLetterReport {
            moved: 1,
            taken_in: count(accepted.accepted.len() + accepted.pending),
            duplicates: count(accepted.duplicates),
            skipped: count(accepted.skipped),
            quarantined: count(accepted.quarantined),
            ..none
        })
    }

    /// Keeps one of which no event can be told.
    async fn whole(&self, name: &str, beginning: &str, why: &str) -> Result<(), NotTaken> {
        self.intake.quarantine_dead_letter(name, beginning, why).await.map_err(NotTaken::Ledger)
    }

    async fn record(&self, report: DeadLetterReport, failure: Option<&str>) -> Result<(), crate::ledger::Error> {
        let before = self.ledger.dead_letters().await?;
        if report.left == 0 && report.too_old == 0 && failure.is_none() {
            return if before.is_some() { self.ledger.record_dead_letters(None).await } else { Ok(()) };
        }
        let left = DeadLettersLeft {
            place: self.place.place(),
            left: report.left,
            too_old: report.too_old,
            failure: failure.map(|why| lifecycle::text::one_line(why, 500)),
            since: before.as_ref().map_or_else(|| self.clock.now(), |before| before.since),
        };
        if before.as_ref() == Some(&left) { Ok(()) } else { self.ledger.record_dead_letters(Some(&left)).await }
    }
}
