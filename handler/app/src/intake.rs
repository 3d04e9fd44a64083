//! Takes deliveries of events in: read, accept each scoring, keep what is skipped or cannot be read, then submit.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use lifecycle::digest::digest;
use lifecycle::intake::{self, Classification, QuarantinedEvent, SkippedEvent};
use lifecycle::{Payload, Rules, Scoring, StorageHosts};
use serde::Serialize;
use time::OffsetDateTime;

use crate::clock::LedgerClock;
use crate::driver::{Driver, Intent, TakenIn};
use crate::error::{Error, during};
use crate::ledger::Ledger;

/// Scorings of one delivery, or intents of one invocation, that are worked on at one time.
const MAX_CONCURRENT_SCORINGS: usize = 16;

/// Takes deliveries in. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    ledger: Ledger,
    rules: Arc<Rules>,
    storage_hosts: Arc<StorageHosts>,
    clock: LedgerClock,
    driver: Driver,
}

/// What became of a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Scorings that are new in the ledger.
    pub accepted: Vec<AcceptedScoring>,
    /// Events that were in the ledger already.
    pub duplicates: usize,
    /// Events that no rule wants.
    pub skipped: usize,
    /// Events that could not be read and are kept for people to look at.
    pub quarantined: usize,
}

/// A new scoring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcceptedScoring {
    /// Its id.
    pub id: String,
    /// Its rule.
    pub rule: String,
}

/// A delivery that is in the ledger, durably. What of it may be sent at once is sent by [`Delivery::submit`]; if nobody
/// awaits that, the reconcile runs do it later.
#[must_use = "what is on record to be sent waits for the end of its lease unless `submit` is awaited"]
pub struct Delivery {
    /// What became of its events.
    pub accepted: Accepted,
    submissions: Submissions,
}

impl Delivery {
    /// Sends what found a free slot, and records the answers. Has no error: what is not finished here, the tick finishes.
    pub async fn submit(self) {
        self.submissions.send().await;
    }

    /// The two apart, for those who answer in between, or not at all.
    pub fn into_parts(self) -> (Accepted, Submissions) {
        (self.accepted, self.submissions)
    }
}

/// What of a delivery is on record to be sent.
#[must_use = "what is on record to be sent waits for the end of its lease unless `send` is awaited"]
pub struct Submissions {
    driver: Driver,
    intents: Vec<Intent>,
}

impl Submissions {
    /// How many scorings found a free slot.
    pub fn len(&self) -> usize {
        self.intents.len()
    }

    /// No scoring found a free slot.
    pub fn is_empty(&self) -> bool {
        self.intents.is_empty()
    }

    /// Sends them, and records the answers. Has no error: what is not finished here, the tick finishes.
    pub async fn send(self) {
        let Self { driver, mut intents } = self;
        if intents.len() <= 1 {
            if let Some(intent) = intents.pop() {
                Box::pin(driver.carry_out(intent)).await;
            }
            return;
        }
        let each =
            stream::iter(intents).for_each_concurrent(MAX_CONCURRENT_SCORINGS, |intent| driver.carry_out(intent));
        each.await;
    }
}

impl Intake {
    pub(crate) fn new(
        ledger: Ledger,
        rules: Arc<Rules>,
        storage_hosts: StorageHosts,
        clock: LedgerClock,
        driver: Driver,
    ) -> Self {
        Self { ledger, rules, storage_hosts: Arc::new(storage_hosts), clock, driver }
    }

    /// Why nobody is asked about the blob that these are of: neither storage with a token, nor Azure ML, whose identity may
    /// read more than the app's. All of one event have one blob.
    fn foreign(&self, scorings: &[Scoring]) -> Option<SkippedEvent> {
        let blob = &scorings.first()?.blob;
        self.storage_hosts.check(&blob.url).err().map(|foreign| SkippedEvent {
            key: digest(&[&blob.url, &blob.etag]),
            subject: blob.url.clone(),
            rule: None,
            reason: foreign.to_string(),
        })
    }

    /// Takes a delivery in. **Durable once `Ok`.**
    ///
    /// Fails only if the ledger could not take something, whole; the host then answers an error and Event Grid delivers again.
    ///
    /// Events are looked into one by one, when it is their turn: a delivery may hold thousands, each wanted by many rules.
    pub async fn accept(&self, payload: impl Into<Payload>) -> Result<Delivery, Error> {
        let now = self.clock.now();
        let payload = payload.into();
        let events = payload.events()?;
        let ledger_id = self.ledger.id().await.map_err(during("reading the ledger's id"))?;
        let mut all = Outcome::default();
        if let [event] = &events[..] {
            // By far the most frequent delivery: no queue of futures is made for it. Boxed, as it has kilobytes, and each
            // future around it would be copied with it.
            all = Box::pin(self.accept_event(intake::classify(event, ledger_id, &self.rules, now), now)).await;
        } else {
            // By index: a closure over borrowed events would not be general enough for a future that is sent between threads.
            let mut outcomes = stream::iter(0..events.len())
                .map(|at| self.accept_event(intake::classify(&events[at], ledger_id, &self.rules, now), now))
                .buffered(MAX_CONCURRENT_SCORINGS);
            // Through all of them, whatever fails: fewer are left for the next delivery.
            while let Some(outcome) = outcomes.next().await {
                all.add(outcome);
            }
        }
        let Outcome { accepted, intents, failure } = all;
        let submissions = Submissions { driver: self.driver.clone(), intents };
        match failure {
            None => Ok(Delivery { accepted, submissions }),
            Some(error) => {
                // Their intents are on record; without anybody to send them they would wait for their lease.
                submissions.send().await;
                Err(error)
            }
        }
    }

    async fn accept_event(&self, classification: Classification, now: OffsetDateTime) -> Outcome {
        let mut outcome = Outcome::default();
        let classification = match classification {
            Classification::Wanted(scorings) => {
                self.foreign(&scorings).map_or(Classification::Wanted(scorings), Classification::Skipped)
            }
            other => other,
        };
        match classification {
            Classification::Wanted(scorings) => {
                for scoring in scorings {
                    // What was taken before stays taken, and its intents are to be carried out.
                    if let Err(error) = self.accept_scoring(scoring, now, &mut outcome).await {
                        outcome.failure = outcome.failure.or(Some(error));
                    }
                }
            }
            Classification::Skipped(skip) => match self.skip(&skip, now).await {
                Ok(()) => outcome.accepted.skipped += 1,
                Err(error) => outcome.failure = Some(error),
            },
            Classification::Quarantined(bad) => match self.quarantine(&bad, "keeping an unreadable event", now).await {
                Ok(()) => {
                    outcome.accepted.quarantined += 1;
                    // Success would tell Event Grid to forget what nobody else has: with an error it is delivered again,
                    // and in the end lies where dead letters go.
                    outcome.failure = (!bad.whole).then_some(Error::NotKeptWhole { reason: bad.reason });
                }
                Err(error) => outcome.failure = Some(error),
            },
        }
        outcome
    }

    async fn accept_scoring(&self, queued: Scoring, now: OffsetDateTime, outcome: &mut Outcome) -> Result<(), Error> {
        let (wanted, reason) = (queued.blob.clone(), format!("rule `{}` wants this blob version", queued.rule));
        let rule = queued.rule.clone();
        match self.driver.take_in(queued, reason, now).await? {
            TakenIn::New { scoring, intent } => {
                if intent.is_some() {
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
                outcome.intents.extend(intent.map(|intent| *intent));
            }
            TakenIn::Duplicate(existing) => {
                let id = &existing.id;
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
                    received: scoring.blob.url.clone(),
                    whole: true,
                };
                self.quarantine(&bad, "keeping an event that does not fit", now).await?;
                outcome.accepted.quarantined += 1;
            }
        }
        Ok(())
    }

    async fn skip(&self, skip: &SkippedEvent, now: OffsetDateTime) -> Result<(), Error> {
        tracing::info!(
            blob = skip.subject,
            rule = skip.rule.as_deref(),
            reason = skip.reason,
            "event skipped: {}",
            skip.reason
        );
        self.ledger.skip(skip, now).await.map_err(during("keeping a skipped event"))
    }

    async fn quarantine(&self, bad: &QuarantinedEvent, doing: &'static str, now: OffsetDateTime) -> Result<(), Error> {
        tracing::warn!(key = bad.key, reason = bad.reason, "event quarantined: {}", bad.reason);
        self.ledger.quarantine(bad, now).await.map_err(during(doing))
    }
}

/// What became of one event.
#[derive(Default)]
struct Outcome {
    accepted: Accepted,
    intents: Vec<Intent>,
    failure: Option<Error>,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.accepted.accepted.extend(other.accepted.accepted);
        self.accepted.duplicates += other.accepted.duplicates;
        self.accepted.skipped += other.accepted.skipped;
        self.accepted.quarantined += other.accepted.quarantined;
        self.intents.extend(other.intents);
        self.failure = self.failure.take().or(other.failure);
    }
}
