//! Takes deliveries of events in: read, accept each scoring, keep what is skipped or cannot be read, then submit.

mod delivery;
mod former_names;

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use lifecycle::digest::digest;
use lifecycle::intake::{self, Classification, QuarantinedEvent, SkippedEvent};
use lifecycle::own_output::NEVER_TRIGGER;
use lifecycle::pending::{Cause, Judgement, MAX_REASON};
use lifecycle::renamed::NameChange;
use lifecycle::rule::Overwrites;
use lifecycle::text::one_line;
use lifecycle::{
    BlobSnapshot, BlobVersion, LedgerId, Payload, PendingUpload, Rule, Rules, Scoring, StorageHosts, UnversionedBlob,
};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use self::delivery::MAX_CONCURRENT_SCORINGS;
pub use self::delivery::{Accepted, AcceptedScoring, Delivery, Submissions};
use crate::clock::LedgerClock;
use crate::driver::{Driver, Intent, Loaded, ShownBy, TakenIn, too_many};
use crate::error::{Error, during, error_chain};
use crate::ledger::rows::MAX_EVENT;
use crate::ledger::{Announced, Ledger, Pending, Unannounced};
use crate::measures;
use crate::own_outputs;
use crate::ports::{Blobs, Inconclusive, with_index_tags};

/// Takes deliveries in. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    ledger: Ledger,
    rules: Arc<Rules>,
    storage_hosts: Arc<StorageHosts>,
    clock: LedgerClock,
    blobs: Arc<dyn Blobs>,
    driver: Driver,
}

/// Who keeps an event that the ledger cannot keep whole.
#[derive(Debug, Clone, Copy)]
enum KeptBy<'a> {
    /// Whoever delivers it, if it is told that it was not taken.
    Sender,
    /// The dead letter of this name, which nobody deletes.
    DeadLetter(&'a str),
}

impl Intake {
    pub(crate) fn new(
        ledger: Ledger,
        rules: Arc<Rules>,
        storage_hosts: StorageHosts,
        clock: LedgerClock,
        blobs: Arc<dyn Blobs>,
        driver: Driver,
    ) -> Self {
        Self { ledger, rules, storage_hosts: Arc::new(storage_hosts), clock, blobs, driver }
    }

    /// Why nobody is asked about the blob of an event: neither storage with a token, nor Azure ML, whose identity may read more
    /// than the app's.
    fn foreign(&self, classification: &Classification) -> Option<SkippedEvent> {
        let url = match classification {
            Classification::Wanted(scorings) => &scorings.first()?.blob.url,
            Classification::Pending { scorings, uploads } => {
                scorings.first().map(|scoring| &scoring.blob.url).or_else(|| Some(&uploads.first()?.blob.url))?
            }
            Classification::Folder(folder) => &folder.folder.url,
            Classification::Skipped(_) | Classification::Quarantined(_) => return None,
        };
        self.storage_hosts.check(url).err().map(|foreign| SkippedEvent {
            key: digest(&[url]),
            subject: url.clone(),
            rule: None,
            etag: None,
            reason: foreign.to_string(),
        })
    }

    /// What drives the scorings that it takes in.
    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Takes a delivery in. **Durable once `Ok`.**
    ///
    /// Fails only if the ledger could not take something, whole; the host then answers an error and Event Grid delivers again.
    ///
    /// Events are looked into one by one, when it is their turn: a delivery may hold thousands, each wanted by many rules.
    pub async fn accept(&self, payload: impl Into<Payload>) -> Result<Delivery, Error> {
        self.accept_kept(payload.into(), KeptBy::Sender).await
    }

    /// Takes the events of a dead letter in. **Durable once `Ok`.** What of it cannot be read is in quarantine, perhaps not whole.
    pub(crate) async fn accept_dead_letter(&self, name: &str, payload: Payload) -> Result<Delivery, Error> {
        self.accept_kept(payload, KeptBy::DeadLetter(name)).await
    }

    /// Keeps a dead letter of which no event can be told.
    pub(crate) async fn quarantine_dead_letter(&self, name: &str, text: &str, why: &str) -> Result<(), Error> {
        let bad = QuarantinedEvent {
            key: digest(&["dead letter", name]),
            reason: one_line(&format!("dead letter {name}: {why}"), MAX_REASON),
            received: one_line(text, MAX_EVENT),
            whole: true,
        };
        self.quarantine(&bad, "keeping an unreadable dead letter", self.clock.now()).await
    }

    async fn accept_kept(&self, payload: Payload, kept_by: KeptBy<'_>) -> Result<Delivery, Error> {
        let now = self.clock.now();
        let events = payload.events()?;
        let ledger_id = self.ledger.id().await.map_err(during("reading the ledger's id"))?;
        let mut all = Outcome::default();
        if let [event] = &events[..] {
            // By far the most frequent delivery: no queue of futures is made for it. Boxed, as it has kilobytes, and each
            // future around it would be copied with it.
            all = Box::pin(self.accept_event(event, ledger_id, kept_by, now)).await;
        } else {
            // By index: a closure over borrowed events would not be general enough for a future that is sent between threads.
            let mut outcomes = stream::iter(0..events.len())
                .map(|at| self.accept_event(&events[at], ledger_id, kept_by, now))
                .buffered(MAX_CONCURRENT_SCORINGS);
            // Through all of them, whatever fails: fewer are left for the next delivery.
            while let Some(outcome) = outcomes.next().await {
                all.add(outcome);
            }
        }
        let Outcome { accepted, intents, failure } = all;
        let submissions = Submissions::of(&self.driver, intents);
        match failure {
            None => Ok(Delivery { accepted, submissions }),
            Some(error) => {
                // Their intents are on record; without anybody to send them they would wait for their lease.
                submissions.send().await;
                Err(error)
            }
        }
    }

    async fn accept_event(
        &self,
        event: &RawValue,
        ledger: &LedgerId,
        kept_by: KeptBy<'_>,
        now: OffsetDateTime,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let classification = intake::classify(event, ledger, &self.rules, now);
        let renamed = match &classification {
            Classification::Wanted(_) | Classification::Quarantined(_) => None,
            _ => intake::name_change(event).filter(|change| self.storage_hosts.check(&change.to.url).is_ok()),
        };
        let event = &*intake::received(event, MAX_EVENT);
        let classification = self.foreign(&classification).map_or(classification, Classification::Skipped);
        match classification {
            Classification::Wanted(scorings) => {
                Box::pin(self.accept_scorings(scorings, event, now, &mut outcome)).await;
            }
            Classification::Pending { scorings, uploads } => {
                Box::pin(self.accept_scorings(scorings, event, now, &mut outcome)).await;
                Box::pin(self.accept_uploads(uploads, renamed, event, now, &mut outcome)).await;
            }
            Classification::Folder(folder) => {
                // Listed by the ticks: a folder may hold any number of files, and an invocation has seconds.
                let noted = self.note_names(renamed, now).await;
                outcome.note(noted);
                let kept = self.keep(&Pending::Folder(folder), &mut outcome).await;
                outcome.note(kept);
            }
            Classification::Skipped(skip) => {
                let noted = self.note_names(renamed, now).await;
                outcome.note(noted);
                let kept = self.skip(&skip, Some(event), now, &mut outcome).await;
                outcome.note(kept);
            }
            Classification::Quarantined(mut bad) => {
                if let KeptBy::DeadLetter(name) = kept_by {
                    bad.reason = one_line(&format!("dead letter {name}: {}", bad.reason), MAX_REASON);
                }
                match self.quarantine(&bad, "keeping an unreadable event", now).await {
                    Ok(()) => {
                        outcome.accepted.quarantined += 1;
                        // Success would tell Event Grid to forget what nobody else has: with an error it is delivered again,
                        // and in the end lies where dead letters go.
                        let is_lost = !bad.whole && matches!(kept_by, KeptBy::Sender);
                        outcome.failure = is_lost.then_some(Error::NotKeptWhole { reason: bad.reason });
                    }
                    Err(error) => outcome.failure = Some(error),
                }
            }
        }
        outcome
    }

    async fn accept_scorings(&self, scorings: Vec<Scoring>, event: &str, now: OffsetDateTime, outcome: &mut Outcome) {
        let Some(blob) = scorings.first().map(|scoring| scoring.blob.clone()) else { return };
        match self.skipped_as_output(&blob, Some(event), now, outcome).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => return outcome.note(Err(error)),
        }
        let refused = self.refusals(&blob, &scorings);
        let announced = Announced { event: Some(event), refused: refused.as_deref() };
        for scoring in scorings {
            // What was taken before stays taken, and its intents are to be carried out.
            let reason = format!("rule `{}` wants this blob version", scoring.rule);
            let taken = self.accept_scoring(Box::new(scoring), reason, &announced, ShownBy::Event, now, outcome).await;
            outcome.note(taken);
        }
    }

    /// Why the rules that look at the blob's container do not want it, as far as some do not.
    fn refusals(&self, blob: &BlobVersion, wanted: &[Scoring]) -> Option<String> {
        let own = |rule: &&Rule| rule.shadow_of.is_none() && *rule.matches.container == *blob.container;
        let others = self.rules.iter().filter(own);
        let others = others.filter(|rule| wanted.iter().all(|scoring| scoring.rule != rule.id));
        let refused: Vec<String> =
            others.filter_map(|rule| Some(format!("rule `{}`: {}", rule.id, rule.refuses(blob)?))).collect();
        (!refused.is_empty()).then(|| refused.join("; "))
    }

    /// Uploads of one blob, each under one rule: looked at now if they are due, else kept until they are.
    async fn accept_uploads(
        &self,
        uploads: Vec<PendingUpload>,
        renamed: Option<NameChange>,
        event: &str,
        now: OffsetDateTime,
        outcome: &mut Outcome,
    ) {
        let seen = match uploads.iter().find(|upload| upload.due <= now) {
            Some(upload) => {
                let due = uploads.iter().filter(|upload| upload.due <= now);
                Some(self.look(&upload.blob, due.filter_map(|upload| self.rules.get(&upload.rule))).await)
            }
            None => None,
        };
        if !matches!(seen, Some(Ok(Some(_)))) {
            let noted = self.note_names(renamed, now).await;
            outcome.note(noted);
        }
        for mut upload in uploads {
            upload.event = Some(event.to_owned());
            let judgement = match seen.as_ref().filter(|_| upload.due <= now) {
                None => Ok(Judgement::Wait(Box::new(upload))),
                Some(seen) => self.judge(upload, seen.as_ref().map(Option::as_ref), now).await,
            };
            let carried_out = match judgement {
                Ok(judgement) => self.carry_out(judgement, Some(event), now, outcome).await,
                Err(error) => Err(error),
            };
            let kept = match carried_out {
                Ok(Some(wait)) => self.keep(&Pending::Upload(wait), outcome).await,
                Ok(None) => Ok(()),
                // Event Grid delivers again: nothing of it is on record.
                Err(error) => Err(error),
            };
            outcome.note(kept);
        }
    }

    /// Keeps what an event told of names, where nobody sees the version that has the new one.
    async fn note_names(&self, renamed: Option<NameChange>, now: OffsetDateTime) -> Result<(), Error> {
        let Some(renamed) = renamed else { return Ok(()) };
        self.ledger.note_names(&renamed, now).await.map_err(during("keeping what was renamed"))
    }

    /// The blob as it is now, with what these rules want to know of it.
    pub(crate) async fn look<'r>(
        &self,
        blob: &UnversionedBlob,
        rules: impl IntoIterator<Item = &'r Rule>,
    ) -> Result<Option<BlobSnapshot>, Inconclusive> {
        let Some(seen) = self.blobs.blob(blob).await? else { return Ok(None) };
        Ok(Some(with_index_tags(&*self.blobs, blob, seen, rules).await))
    }

    /// What becomes of a pending upload whose blob was looked at.
    pub(crate) async fn judge(
        &self,
        upload: PendingUpload,
        seen: Result<Option<&BlobSnapshot>, &Inconclusive>,
        now: OffsetDateTime,
    ) -> Result<Judgement, Error> {
        let seen = match seen {
            Ok(seen) => seen,
            Err(inconclusive) => {
                return Ok(Judgement::Wait(Box::new(upload.not_seen(&error_chain(inconclusive), now))));
            }
        };
        let ledger = self.ledger.id().await.map_err(during("reading the ledger's id"))?;
        let rule = self.rules.get(&upload.rule);
        let former = match rule.zip(seen) {
            // Boxed: few uploads have a former name, and each future around it would be as large.
            Some((rule, seen)) => Box::pin(self.former(&upload, rule, seen)).await?,
            None => None,
        };
        if let Some(((_, before), seen)) = former.as_ref().zip(seen)
            && let Ok(moved) = upload.blob.version(&seen.etag)
        {
            // The version is known by its new name from then on: it may be moved once more, whatever comes of it.
            let noted = self.ledger.note_moved(&moved, before, now).await;
            noted.map_err(during("keeping what a renamed blob was before"))?;
        }
        let former = former.map(|(former, _)| former);
        let event = upload.event_key();
        if let (Some(event), Some((rule, seen))) = (&event, rule.zip(seen))
            && self.has_brought_another(event, &upload, rule, seen).await?
        {
            return Ok(Judgement::Done);
        }
        let is_replayed = matches!(upload.cause, Cause::Replayed { .. });
        let mut judgement = upload.judge(ledger, rule, seen, former.as_ref(), now);
        if let Judgement::TakeIn { scoring, .. } = &mut judgement
            && is_replayed
        {
            // No event tells of a version that is a mark of one that was scored: its content is compared before it is sent.
            let beside = self.driver.latest_beside(scoring).await;
            scoring.in_place_of = beside.map_err(during("reading the versions of a blob that is replayed"))?;
        }
        if let (Some(event), Judgement::TakeIn { scoring, .. }) = (event, &judgement) {
            // Before the scoring: who dies in between finds none of this version, and begins again.
            let noted = self.ledger.note_brought(&event, &scoring.blob.etag, now).await;
            noted.map_err(during("keeping which version an event has told of"))?;
        }
        Ok(judgement)
    }

    /// Whether an event that names no version has brought one that is on record, and is not what its path holds by now: it has come
    /// twice, and the blob was overwritten in between, which has witnesses of its own, or marked, which is the same content.
    async fn has_brought_another(
        &self,
        event: &str,
        upload: &PendingUpload,
        rule: &Rule,
        seen: &BlobSnapshot,
    ) -> Result<bool, Error> {
        let reading = || during("reading which version an event has told of");
        let Some(etag) = self.ledger.brought(event).await.map_err(reading())? else { return Ok(false) };
        let (Ok(before), Ok(now)) = (upload.blob.version(&etag), upload.blob.version(&seen.etag)) else {
            return Ok(false);
        };
        if before.etag == now.etag {
            return Ok(false);
        }
        let ledger = self.ledger.id().await.map_err(reading())?;
        Ok(self.ledger.get(&rule.scoring_id(ledger, &before)).await.map_err(reading())?.is_some())
    }

    /// What would become of a version that was listed; nothing is written.
    pub(crate) async fn preview(
        &self,
        upload: PendingUpload,
        seen: &BlobSnapshot,
        now: OffsetDateTime,
    ) -> Result<Judgement, Error> {
        let ledger = self.ledger.id().await.map_err(during("reading the ledger's id"))?;
        let rule = self.rules.get(&upload.rule);
        let former = match rule {
            Some(rule) => Box::pin(self.former(&upload, rule, seen)).await?,
            None => None,
        };
        Ok(upload.judge(ledger, rule, Some(seen), former.map(|(former, _)| former).as_ref(), now))
    }

    /// The same, under other rules.
    pub(crate) fn under(&self, rules: &Arc<Rules>) -> Self {
        Self { rules: Arc::clone(rules), ..self.clone() }
    }

    /// Carries out what was judged of an upload; `event` told of it. What is to be looked at again comes back, for the caller to
    /// keep.
    pub(crate) async fn carry_out(
        &self,
        judgement: Judgement,
        event: Option<&str>,
        now: OffsetDateTime,
        outcome: &mut Outcome,
    ) -> Result<Option<PendingUpload>, Error> {
        match judgement {
            Judgement::TakeIn { scoring, reason, again, unannounced } => {
                if !self.skipped_as_output(&scoring.blob, event, now, outcome).await? {
                    if let Some(upload) = unannounced
                        && let Unannounced::TooMany { until } = self.count_unannounced(&scoring, now).await?
                    {
                        return Ok(Some(upload.put_off(until, &too_many(until), now)));
                    }
                    let announced = Announced { event, refused: None };
                    self.accept_scoring(scoring, reason, &announced, ShownBy::Look, now, outcome).await?;
                }
                Ok(again.map(|again| *again))
            }
            Judgement::Wait(upload) => Ok(Some(*upload)),
            Judgement::Skip(skip) => {
                self.skip(&skip, event, now, outcome).await?;
                Ok(None)
            }
            Judgement::Done => Ok(None),
        }
    }

    /// Counts a version that a look has shown, unless an event, or another look, has brought its scoring.
    async fn count_unannounced(&self, scoring: &Scoring, now: OffsetDateTime) -> Result<Unannounced, Error> {
        let counting = || during("counting a version that no event told of");
        if self.ledger.get(&scoring.id).await.map_err(counting())?.is_some() {
            return Ok(Unannounced::Counted);
        }
        self.ledger.count_unannounced(&scoring.blob, now).await.map_err(counting())
    }

    async fn keep(&self, pending: &Pending, outcome: &mut Outcome) -> Result<(), Error> {
        let kept = self.ledger.keep_pending(pending).await;
        if kept.map_err(during("keeping an upload whose version is not known"))? {
            tracing::info!(blob = pending.url(), due = %pending.due(), reason = pending.reason(), "upload waits: {}", pending.reason());
            outcome.accepted.pending += 1;
        } else {
            outcome.accepted.duplicates += 1;
        }
        Ok(())
    }

    /// Takes in a scoring that an operator ordered; no event told of it.
    pub(crate) async fn accept_ordered(
        &self,
        queued: Scoring,
        reason: String,
        now: OffsetDateTime,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        self.accept_scoring(Box::new(queued), reason, &Announced::default(), ShownBy::Look, now, outcome).await
    }

    async fn accept_scoring(
        &self,
        queued: Box<Scoring>,
        reason: String,
        announced: &Announced<'_>,
        by: ShownBy,
        now: OffsetDateTime,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        let wanted = queued.blob.clone();
        let rule = queued.rule.clone();
        let overwrites = self.rules.get(&rule).map_or_else(Overwrites::default, |rule| rule.overwrites);
        let taken = self.driver.traced_take_in(queued, reason, announced, by, now).await?;
        if let (
            Overwrites::LatestOnly,
            TakenIn::New { loaded: Loaded { scoring, .. }, .. } | TakenIn::Duplicate(scoring),
        ) = (overwrites, &taken)
        {
            // Before the event is answered: who dies in between gets it again.
            Box::pin(self.driver.overtake(scoring)).await.map_err(during("looking for earlier versions of a blob"))?;
        }
        match taken {
            TakenIn::New { loaded, begun } => {
                let scoring = &*loaded.scoring;
                if begun.is_some() {
                    // The record of its answer follows with the same members and more: one for each event is enough.
                    tracing::debug!(scoring = %scoring.id, rule = scoring.rule.as_str(), blob = scoring.blob.url, status = %scoring.status,
                        "scoring {} accepted as {}", scoring.id, scoring.status);
                } else {
                    tracing::info!(scoring = %scoring.id, rule = scoring.rule.as_str(), blob = scoring.blob.url, status = %scoring.status,
                        "scoring {} accepted as {}", scoring.id, scoring.status);
                }
                outcome
                    .accepted
                    .accepted
                    .push(AcceptedScoring { id: scoring.id.to_string(), rule: scoring.rule.to_string() });
                measures::accepted(scoring, now);
                outcome.intents.extend(begun.map(|begun| Intent { loaded, begun }));
            }
            TakenIn::Duplicate(existing) => {
                let id = &existing.id;
                if overwrites == Overwrites::Ignore && existing.blob.etag != wanted.etag {
                    let reason = format!("an earlier version of it was taken in as {id} (overwrites is ignore)");
                    return self
                        .skip(&intake::skipped(&wanted, Some(rule), &reason), announced.event, now, outcome)
                        .await;
                }
                if existing.blob.url != wanted.url || existing.blob.etag != wanted.etag || existing.rule != rule {
                    // 128 bits of SHA-256 met: not in this universe, and yet not to be lost silently.
                    tracing::error!(scoring = %id, "two blob versions have the id {id}");
                }
                tracing::info!(scoring = %id, status = %existing.status, "scoring {id} is known already, {}", existing.status);
                outcome.accepted.duplicates += 1;
            }
            TakenIn::DoesNotFit { scoring, source } => {
                // It will never fit, however often it is delivered: kept for people, not bounced for ever.
                let bad = QuarantinedEvent {
                    key: scoring.id.to_string(),
                    reason: format!("the ledger cannot hold it: {source}"),
                    // A look that found it, as a listing does, has seen no more than its name.
                    received: announced.event.map_or_else(|| scoring.blob.url.clone(), str::to_owned),
                    whole: true,
                };
                self.quarantine(&bad, "keeping an event that does not fit", now).await?;
                outcome.accepted.quarantined += 1;
            }
        }
        Ok(())
    }

    /// Whether the blob that a scoring is of is an output of ours, and was recorded as skipped.
    async fn skipped_as_output(
        &self,
        blob: &BlobVersion,
        event: Option<&str>,
        now: OffsetDateTime,
        outcome: &mut Outcome,
    ) -> Result<bool, Error> {
        let owner = own_outputs::owner_of(&self.ledger, blob, self.driver.may_have_published(now).await).await;
        let Some(owner) = owner.map_err(during("asking whose output a blob is"))? else { return Ok(false) };
        let reason = format!("the blob is {owner}; {NEVER_TRIGGER}");
        self.skip(&intake::skipped(blob, owner.rule, &reason), event, now, outcome).await?;
        Ok(true)
    }

    pub(crate) async fn skip(
        &self,
        skip: &SkippedEvent,
        event: Option<&str>,
        now: OffsetDateTime,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        tracing::info!(
            blob = skip.subject,
            rule = skip.rule.as_deref(),
            reason = skip.reason,
            "event skipped: {}",
            skip.reason
        );
        self.ledger.skip(skip, event, now).await.map_err(during("keeping a skipped event"))?;
        outcome.accepted.skipped += 1;
        Ok(())
    }

    async fn quarantine(&self, bad: &QuarantinedEvent, doing: &'static str, now: OffsetDateTime) -> Result<(), Error> {
        tracing::warn!(quarantined = bad.key, reason = bad.reason, "event quarantined: {}", bad.reason);
        self.ledger.quarantine(bad, now).await.map_err(during(doing))
    }
}

/// What became of one event.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) accepted: Accepted,
    pub(crate) intents: Vec<Intent>,
    failure: Option<Error>,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.accepted.accepted.extend(other.accepted.accepted);
        self.accepted.duplicates += other.accepted.duplicates;
        self.accepted.pending += other.accepted.pending;
        self.accepted.skipped += other.accepted.skipped;
        self.accepted.quarantined += other.accepted.quarantined;
        self.intents.extend(other.intents);
        self.failure = self.failure.take().or(other.failure);
    }

    /// Keeps the first failure; what follows it is tried all the same.
    fn note(&mut self, done: Result<(), Error>) {
        if let Err(error) = done {
            self.failure.get_or_insert(error);
        }
    }
}
