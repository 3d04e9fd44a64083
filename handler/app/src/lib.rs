//! The use cases: take events in, drive a scoring, tick.
//!
//! **One path.** Events, ticks and operators all end in [`App::reconcile`]: load, look, decide (pure), record the intent, act,
//! look again. The event only chooses *when*; the tick alone would get every scoring to its end.
//!
//! The path costs three round trips for an event whose rule has a free slot: one transaction that takes the scoring in
//! *and* records the intent of its first attempt, the POST, one transaction that records the answer.
//!
//! Never: an effect before its intent is on record; a conclusion from the answer of an effect alone when it may be
//! wrong; a second driver's write over ours (the ledger's compare-and-swap decides who drives).

use std::sync::{Arc, Mutex};

use futures::{StreamExt as _, stream};
use lifecycle::delivery::{Delivery, TooManyEvents};
use lifecycle::intake::{self, Classification};
use lifecycle::{Answer, Effect, Job, Observation, Policy, Rule, Rules, Scoring, ScoringId, Status, Step, decide};
use serde::Serialize;
use time::OffsetDateTime;

use crate::ledger::{Acceptance, Ledger, Recorded};
use crate::ports::table_store::{ETag, truncate_to_100ns};
use crate::ports::{Blobs, Clock, Endpoint, JobAddress};

mod admission;
mod breaker;
mod controls_cache;
pub mod function_names;
pub mod ledger;
mod orphans;
pub mod ports;
mod queue;
mod resolve;
mod scopes;
mod tick;

use admission::{Admission, Claims, Requester};
use controls_cache::ControlsCache;
pub use resolve::{ResolveOutcome, resolve};
use tick::LastTick;
pub use tick::TickReport;

/// Scorings of one delivery, or intents of one invocation, that are worked on at one time.
const MAX_CONCURRENT_SCORINGS: usize = 16;
/// Steps that one drive may take; the longest real one is four (completed, verified, retried, submitted).
const MAX_STEPS: usize = 8;

/// Why a use case could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger could not take or give it. Nothing is lost: deliver the event again, let the next tick try.
    #[error("{what}")]
    Ledger {
        /// What was being done.
        what: &'static str,
        /// Why it could not be done.
        #[source]
        source: ledger::Error,
    },
    /// A delivery is larger than Event Grid makes them. Nothing of it was taken.
    #[error(transparent)]
    TooManyEvents(#[from] TooManyEvents),
}

fn during(what: &'static str) -> impl FnOnce(ledger::Error) -> Error {
    move |source| Error::Ledger { what, source }
}

/// What an app is made of.
pub struct Parts {
    /// Its memory.
    pub ledger: Ledger,
    /// Where jobs are made.
    pub endpoint: Arc<dyn Endpoint>,
    /// Where outputs are looked at.
    pub blobs: Arc<dyn Blobs>,
    /// What goes where.
    pub rules: Rules,
    /// What time it is.
    pub clock: Clock,
    /// Between two orphan scans of the jobs behind an endpoint; `None`: never.
    pub orphan_scan_interval: Option<time::Duration>,
    /// How long final scorings are remembered.
    pub retention: time::Duration,
}

/// The application. Cheap to clone; safe to have many of, in one process or several.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    parts: Parts,
    /// When this process last ticked: a hint that spares polls, never a fact that correctness needs.
    last_tick: Mutex<LastTick>,
    /// What orphan scans of this process have seen, to the same end.
    orphan_scans: Mutex<orphans::ScanMemory>,
    controls_cache: ControlsCache,
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

/// A submission that is on record and not sent yet. Dropping one is safe: its lease ends, and it is looked for.
#[derive(Debug)]
#[must_use = "an intent that nobody carries out waits for its lease to end"]
pub struct Intent {
    scoring: Scoring,
    etag: ETag,
}

impl App {
    /// An app.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            parts,
            last_tick: Mutex::default(),
            orphan_scans: Mutex::default(),
            controls_cache: ControlsCache::default(),
        }))
    }

    /// Now, to the resolution that the ledger keeps.
    pub fn now(&self) -> OffsetDateTime {
        truncate_to_100ns((self.0.parts.clock)())
    }

    /// The ledger, for those who only read.
    pub fn ledger(&self) -> &Ledger {
        &self.0.parts.ledger
    }

    /// Takes a delivery in. **Durable once `Ok`.** Scorings that found a free slot come back as intents.
    ///
    /// Fails only if the ledger could not take something; the host then answers an error and Event Grid delivers again.
    ///
    /// Events are looked into one by one, when it is their turn: a delivery may hold thousands, each wanted by many rules.
    pub async fn accept(&self, delivery: impl Into<Delivery>) -> Result<(Accepted, Vec<Intent>), Error> {
        let now = self.now();
        let delivery = delivery.into();
        let events = delivery.events()?;
        // By index: a closure over borrowed events would not be general enough for a future that is sent between threads.
        let mut outcomes = stream::iter(0..events.len())
            .map(|at| self.accept_one(intake::classify(&events[at], &self.0.parts.rules, now), now))
            .buffered(MAX_CONCURRENT_SCORINGS);
        let (mut accepted, mut intents) = (Accepted::default(), Vec::new());
        let mut failure = None;
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(one) => {
                    failure = failure.or(one.failure);
                    accepted.accepted.extend(one.accepted);
                    accepted.duplicates += one.duplicates;
                    accepted.skipped += one.skipped;
                    accepted.quarantined += one.quarantined;
                    intents.extend(one.intents);
                }
                // The others of the delivery are still taken in: fewer are left for the next one.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            None => Ok((accepted, intents)),
            Some(error) => {
                // Their intents are on record; without anybody to send them they would wait for their lease.
                drop(outcomes);
                self.carry_out(intents).await;
                Err(error)
            }
        }
    }

    async fn accept_one(&self, classification: Classification, now: OffsetDateTime) -> Result<One, Error> {
        let mut one = One::default();
        match classification {
            Classification::Wanted(scorings) => {
                for scoring in scorings {
                    // What was taken before stays taken, and its intents are to be carried out.
                    if let Err(error) = self.accept_scoring(scoring, now, &mut one).await {
                        one.failure = one.failure.or(Some(error));
                    }
                }
            }
            Classification::Skipped(skip) => {
                tracing::info!(
                    blob = skip.subject,
                    rule = skip.rule.as_deref(),
                    reason = skip.reason,
                    "event skipped: {}",
                    skip.reason
                );
                self.ledger().skip(&skip, now).await.map_err(during("keeping a skipped event"))?;
                one.skipped += 1;
            }
            Classification::Quarantined(bad) => {
                tracing::warn!(key = bad.key, reason = bad.reason, "event quarantined: {}", bad.reason);
                self.ledger().quarantine(&bad, now).await.map_err(during("keeping an unreadable event"))?;
                one.quarantined += 1;
            }
        }
        Ok(one)
    }

    async fn accept_scoring(&self, queued: Scoring, now: OffsetDateTime, one: &mut One) -> Result<(), Error> {
        let mut entries = vec![queued.accepted_entry(format!("rule `{}` wants this blob version", queued.rule))];
        let rule = self.rule(&queued);
        let (observation, mut claims) = self.admit(&queued, rule, Requester::Event, now).await.observation();
        let mut scoring = queued;
        if claims.is_stale(self.now()) {
            self.release(std::mem::take(&mut claims)).await;
        } else if let Step::Move { next, entry, .. } = decide(&scoring, rule, &observation, now) {
            entries.push(entry);
            scoring = *next;
        }
        let outcome = match self.ledger().accept(&scoring, &entries).await {
            Ok(outcome) => outcome,
            Err(ledger::Error::Refused(source @ crate::ports::table_store::Error::Refused(_))) => {
                // It will never fit, however often it is delivered: kept for people, not bounced for ever.
                self.release(claims).await;
                let bad = intake::QuarantinedEvent {
                    key: scoring.id.to_string(),
                    reason: format!("the ledger cannot hold it: {source}"),
                    received: scoring.blob.url.clone(),
                };
                tracing::warn!(scoring = %scoring.id, reason = bad.reason, "event quarantined: {}", bad.reason);
                self.ledger().quarantine(&bad, now).await.map_err(during("keeping an event that does not fit"))?;
                one.quarantined += 1;
                return Ok(());
            }
            // Whether it was taken is not known: the slot stays, for the next delivery or for the tick to free.
            Err(error) => return Err(during("taking a scoring in")(error)),
        };
        match outcome {
            Acceptance::New(etag) => {
                tracing::info!(scoring = %scoring.id, rule = scoring.rule.as_str(), blob = scoring.blob.url, status = %scoring.status,
                    "scoring {} accepted as {}", scoring.id, scoring.status);
                one.accepted.push(AcceptedScoring { id: scoring.id.to_string(), rule: scoring.rule.to_string() });
                if scoring.status == Status::Submitting {
                    one.intents.push(Intent { scoring, etag });
                }
            }
            Acceptance::Duplicate(existing) => {
                claims.leave_to(Some(&existing));
                self.release(claims).await;
                if existing.blob.url != scoring.blob.url
                    || existing.blob.etag != scoring.blob.etag
                    || existing.rule != scoring.rule
                {
                    // 128 bits of SHA-256 met: not in this universe, and yet not to be lost silently.
                    tracing::error!(scoring = %scoring.id, "two blob versions have the id {}", scoring.id);
                }
                tracing::info!(scoring = %scoring.id, status = %existing.status, "scoring {} is known already, {}", scoring.id, existing.status);
                one.duplicates += 1;
            }
        }
        Ok(())
    }

    /// Sends recorded intents and records the answers. Has no error: what is not finished here, the tick finishes.
    pub async fn carry_out(&self, intents: Vec<Intent>) {
        let each = stream::iter(intents).for_each_concurrent(MAX_CONCURRENT_SCORINGS, |Intent { scoring, etag }| async move {
            let id = scoring.id.clone();
            let answer = self.submit(&scoring).await;
            if let Err(error) = self.drive(scoring, etag, answer).await {
                tracing::warn!(scoring = %id, error = %error_chain(&error), "the answer of scoring {id} was not recorded; the tick will look for its job");
            }
        });
        each.await;
    }

    /// Brings a scoring as far as it goes now. Returns its status, `None` if there is no such scoring.
    pub async fn reconcile(&self, id: &ScoringId) -> Result<Option<Status>, Error> {
        self.reconcile_observed(id, None).await
    }

    /// The same, with what somebody has seen of a job already. Job names are never used twice: if the scoring has
    /// another job by now, or none, what was seen says nothing about it.
    async fn reconcile_observed(
        &self,
        id: &ScoringId,
        observation: Option<JobObservation>,
    ) -> Result<Option<Status>, Error> {
        let Some((scoring, etag)) = self.ledger().get(id).await.map_err(during("reading a scoring"))? else {
            return Ok(None);
        };
        let observation = match observation {
            Some(JobObservation { job, observation, at })
                if scoring.job.as_ref().is_some_and(|own| own.name == job.name) =>
            {
                Observed { observation, at, claims: Claims::default() }
            }
            _ => self.observe(&scoring).await,
        };
        self.drive_observed(scoring, etag, observation).await.map(Some)
    }

    async fn drive(&self, scoring: Scoring, etag: ETag, observation: Observation) -> Result<Status, Error> {
        self.drive_observed(scoring, etag, Observed { observation, at: self.now(), claims: Claims::default() }).await
    }

    /// Decide, record, act, look again, until there is nothing to do now.
    async fn drive_observed(
        &self,
        mut scoring: Scoring,
        mut etag: ETag,
        mut observed: Observed,
    ) -> Result<Status, Error> {
        for _ in 0..MAX_STEPS {
            let step = decide(&scoring, self.rule(&scoring), &observed.observation, observed.at);
            let (next, entry, effect) = match step {
                Step::Wait { reason } => {
                    tracing::debug!(scoring = %scoring.id, status = %scoring.status, "{}: {reason}", scoring.id);
                    self.release(observed.claims).await;
                    return Ok(scoring.status);
                }
                Step::Move { next, entry, effect } => (*next, entry, effect),
            };
            if scoring.status != Status::Queued && effect == Effect::Submit {
                match self.admit_again(&scoring, self.now()).await {
                    Admission::Granted(claims) => observed.claims = claims,
                    Admission::Wait { reason, .. } => {
                        tracing::debug!(scoring = %scoring.id, "{} is not sent again yet: {reason}", scoring.id);
                        return Ok(scoring.status);
                    }
                }
            }
            if observed.claims.is_stale(self.now()) {
                // Others may take the slots for left behind by now: its turn comes again.
                self.release(observed.claims).await;
                return Ok(scoring.status);
            }
            match self.ledger().record(&etag, &next, &entry).await {
                Ok(Recorded::Done(new)) => etag = new,
                Ok(Recorded::Lost) => {
                    tracing::debug!(scoring = %scoring.id, "{} is driven by somebody else", scoring.id);
                    if observed.claims.is_empty() && !matches!(observed.observation, Observation::Answer(_)) {
                        return Ok(scoring.status);
                    }
                    let again = self.ledger().get(&scoring.id).await.map_err(during("reading a scoring"))?;
                    observed.claims.leave_to(again.as_ref().map(|(present, _)| present));
                    self.release(observed.claims).await;
                    let (Observation::Answer(answer), Some((present, new))) = (observed.observation, again) else {
                        return Ok(scoring.status);
                    };
                    // What the endpoint answered is known to nobody else.
                    let Some(observation) = late(&scoring, &present, answer) else { return Ok(present.status) };
                    (scoring, etag) = (present, new);
                    observed = Observed { observation, at: self.now(), claims: Claims::default() };
                    continue;
                }
                Err(error) => {
                    // Whether it was recorded is not known: the slot stays, and the tick frees it if nobody has it.
                    return Err(during("recording a move")(error));
                }
            }
            tracing::info!(scoring = %next.id, rule = next.rule.as_str(), from = %scoring.status, to = %next.status,
                attempt = next.attempt, job = entry.job.as_deref(), reason = entry.reason,
                "{} {} -> {}: {}", next.id, scoring.status, next.status, entry.reason);
            orphans::log_orphaned_jobs(&scoring, &next, &entry.reason);
            if scoring.status.holds_slot() && !next.status.holds_slot() {
                self.free_slots_of(&next).await;
            }
            self.notify_breaker(&next, entry.event, observed.at).await;
            scoring = next;
            observed = match effect {
                Effect::Submit => {
                    let observation = self.submit(&scoring).await;
                    Observed { observation, at: self.now(), claims: Claims::default() }
                }
                Effect::Cancel(jobs) => {
                    self.cancel(&scoring, jobs).await;
                    return Ok(scoring.status);
                }
                Effect::None if observes_again(scoring.status) => self.observe(&scoring).await,
                Effect::None => return Ok(scoring.status),
            };
        }
        Ok(scoring.status)
    }

    async fn submit(&self, scoring: &Scoring) -> Observation {
        let policy = self.rule(scoring).map_or_else(Policy::default, |rule| rule.policy);
        // An intent may have waited behind others, or its record taken long. Whoever holds a lease may send only what
        // is answered before it ends; after that somebody else may look for the job, find none, and send it too.
        if self.now() + policy.submit_timeout.0 > scoring.due {
            return Observation::Answer(Answer::Refused {
                code: "not sent".to_owned(),
                text: "too little was left of the lease for the request and its answer".to_owned(),
                permanent: false,
                retry_after: None,
            });
        }
        let timeout = std::time::Duration::try_from(policy.submit_timeout.0).unwrap_or_default(); // rules refuse negative ones
        Observation::Answer(self.0.parts.endpoint.submit(scoring, timeout).await)
    }

    async fn cancel(&self, scoring: &Scoring, jobs: Vec<Job>) {
        for job in jobs {
            let name = job.name.clone();
            let at = JobAddress { endpoint: scoring.endpoint.clone(), workspace: scoring.workspace.clone(), job };
            match self.0.parts.endpoint.cancel(&at).await {
                Ok(()) => tracing::info!(scoring = %scoring.id, job = name.as_str(), "asked job {name} to stop"),
                Err(error) => {
                    tracing::warn!(scoring = %scoring.id, job = name.as_str(), error = %error, "job {name} could not be asked to stop");
                }
            }
        }
    }

    /// The look that a status needs.
    async fn observe(&self, scoring: &Scoring) -> Observed {
        let now = self.now();
        let observation = match scoring.status {
            Status::Queued => {
                let (observation, claims) =
                    self.admit(scoring, self.rule(scoring), Requester::Queue, now).await.observation();
                return Observed { observation, at: now, claims };
            }
            Status::Unknown | Status::Held if scoring.due <= now => match self.0.parts.endpoint.find(scoring).await {
                Ok(search) => {
                    // Searches share lists, so that what was seen may be older than this look.
                    let at = search.as_of.map_or(now, |as_of| as_of.min(now));
                    return Observed {
                        observation: Observation::Candidates(search.jobs),
                        at,
                        claims: Claims::default(),
                    };
                }
                Err(inconclusive) => Observation::CannotLook(inconclusive.0),
            },
            Status::Running | Status::Cancelling => match &scoring.job {
                Some(job) => {
                    let at = JobAddress {
                        endpoint: scoring.endpoint.clone(),
                        workspace: scoring.workspace.clone(),
                        job: job.clone(),
                    };
                    self.observe_job(&at).await
                }
                None => Observation::CannotLook("the ledger has no job for a running scoring".to_owned()),
            },
            Status::Verifying => match self.0.parts.blobs.outputs(scoring).await {
                Ok(output) => Observation::Output(output),
                Err(inconclusive) => Observation::CannotLook(inconclusive.0),
            },
            _ => Observation::Nothing,
        };
        Observed { observation, at: now, claims: Claims::default() }
    }

    async fn observe_job(&self, at: &JobAddress) -> Observation {
        match self.0.parts.endpoint.job(at).await {
            Ok(Some(job)) => Observation::Job(job),
            Ok(None) => Observation::JobMissing,
            Err(inconclusive) => Observation::CannotLook(inconclusive.0),
        }
    }

    fn rule(&self, scoring: &Scoring) -> Option<&Rule> {
        self.0.parts.rules.get(&scoring.rule)
    }
}

/// What an answer says about a scoring that was moved on while it was under way.
fn late(sent: &Scoring, present: &Scoring, answer: Answer) -> Option<Observation> {
    let same_submit =
        present.status == Status::Submitting && (present.attempt, present.submits) == (sent.attempt, sent.submits);
    match answer {
        // Only something beside it changed: the answer counts as if it had come now.
        answer if same_submit => Some(Observation::Answer(answer)),
        Answer::Accepted { job, status } => Some(Observation::UnexpectedJob { attempt: sent.attempt, job, status }),
        // Whoever moved it on knows more by now, or will look.
        Answer::Refused { .. } | Answer::Unknown { .. } => None,
    }
}

/// What was seen, when, and what was claimed on the way.
struct Observed {
    observation: Observation,
    /// For looks the time *before* they began: a job that was made while we looked must not be found missing "after
    /// resubmitAfter". For the answer to a POST the time after it.
    at: OffsetDateTime,
    claims: Claims,
}

/// What a tick saw of a job before it read the scoring.
struct JobObservation {
    job: Job,
    observation: Observation,
    /// Before the look.
    at: OffsetDateTime,
}

#[derive(Default)]
struct One {
    accepted: Vec<AcceptedScoring>,
    duplicates: usize,
    skipped: usize,
    quarantined: usize,
    intents: Vec<Intent>,
    failure: Option<Error>,
}

/// After a move to this status something can be done at once. A fresh job is not among them: it has nothing to tell yet.
fn observes_again(status: Status) -> bool {
    matches!(status, Status::Verifying | Status::Unknown)
}

/// An error with its causes, on one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
