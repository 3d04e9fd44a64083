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
use lifecycle::intake::{self, Verdict};
use lifecycle::{Answer, Effect, Job, Policy, Rule, Rules, Scoring, ScoringId, Seen, Status, Step, decide};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use crate::ledger::{Acceptance, Ledger, Recorded};
use crate::ports::table_store::{ETag, kept};
use crate::ports::{Blobs, Clock, Endpoint, JobAddress};

mod admission;
mod audit;
mod breaker;
pub mod function_names;
mod known;
pub mod ledger;
pub mod ports;
mod queue;
mod resolve;
mod scopes;
mod tick;

use admission::{Admission, Asker, Permit};
use known::Known;
pub use lifecycle::text::chain;
pub use resolve::{Resolved, resolve};
use tick::LastTick;
pub use tick::TickReport;

/// Scorings of one delivery, or intents of one invocation, that are worked on at one time.
const AT_ONCE: usize = 16;
/// Steps that one drive may take; the longest real one is four (completed, verified, retried, submitted).
const STEPS: usize = 8;

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
    /// Between two audits of the jobs behind an endpoint; `None`: never.
    pub audit: Option<time::Duration>,
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
    /// What audits of this process have seen, to the same end.
    audits: Mutex<audit::Memory>,
    known: Known,
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
        Self(Arc::new(Inner { parts, last_tick: Mutex::default(), audits: Mutex::default(), known: Known::default() }))
    }

    /// Now, to the resolution that the ledger keeps.
    pub fn now(&self) -> OffsetDateTime {
        kept((self.0.parts.clock)())
    }

    /// The ledger, for those who only read.
    pub fn ledger(&self) -> &Ledger {
        &self.0.parts.ledger
    }

    /// Takes a delivery in. **Durable once `Ok`.** Scorings that found a free slot come back as intents.
    ///
    /// Fails only if the ledger could not take something; the host then answers an error and Event Grid delivers again.
    pub async fn accept(&self, payload: &Value) -> Result<(Accepted, Vec<Intent>), Error> {
        let now = self.now();
        let verdicts = intake::read(payload, &self.0.parts.rules, now);
        let mut outcomes = stream::iter(verdicts).map(|verdict| self.accept_one(verdict, now)).buffered(AT_ONCE);
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

    async fn accept_one(&self, verdict: Verdict, now: OffsetDateTime) -> Result<One, Error> {
        let mut one = One::default();
        match verdict {
            Verdict::Wanted(scorings) => {
                for scoring in scorings {
                    // What was taken before stays taken, and its intents are to be carried out.
                    if let Err(error) = self.accept_scoring(scoring, now, &mut one).await {
                        one.failure = one.failure.or(Some(error));
                    }
                }
            }
            Verdict::Skipped(skip) => {
                tracing::info!(
                    blob = skip.subject,
                    rule = skip.rule,
                    because = skip.why,
                    "event skipped: {}",
                    skip.why
                );
                self.ledger().skip(&skip, now).await.map_err(during("keeping a skipped event"))?;
                one.skipped += 1;
            }
            Verdict::Malformed(bad) => {
                tracing::warn!(key = bad.key, because = bad.why, "event quarantined: {}", bad.why);
                self.ledger().quarantine(&bad, now).await.map_err(during("keeping an unreadable event"))?;
                one.quarantined += 1;
            }
        }
        Ok(one)
    }

    async fn accept_scoring(&self, queued: Scoring, now: OffsetDateTime, one: &mut One) -> Result<(), Error> {
        let mut entries = vec![queued.accepted_entry(format!("rule `{}` wants this blob version", queued.rule))];
        let rule = self.rule(&queued);
        let (seen, mut permit) = self.admit(&queued, rule, Asker::Event, now).await.seen();
        let mut scoring = queued;
        if permit.is_stale(self.now()) {
            self.give_back(std::mem::take(&mut permit)).await;
        } else if let Step::Move { next, entry, .. } = decide(&scoring, rule, &seen, now) {
            entries.push(entry);
            scoring = *next;
        }
        let outcome = match self.ledger().accept(&scoring, &entries).await {
            Ok(outcome) => outcome,
            Err(ledger::Error::Refused(source @ crate::ports::table_store::Error::Refused(_))) => {
                // It will never fit, however often it is delivered: kept for people, not bounced for ever.
                self.give_back(permit).await;
                let bad = intake::Malformed {
                    key: scoring.id.to_string(),
                    why: format!("the ledger cannot hold it: {source}"),
                    received: scoring.blob.url.clone(),
                };
                tracing::warn!(scoring = %scoring.id, because = bad.why, "event quarantined: {}", bad.why);
                self.ledger().quarantine(&bad, now).await.map_err(during("keeping an event that does not fit"))?;
                one.quarantined += 1;
                return Ok(());
            }
            // Whether it was taken is not known: the slot stays, for the next delivery or for the tick to free.
            Err(error) => return Err(during("taking a scoring in")(error)),
        };
        match outcome {
            Acceptance::New(etag) => {
                tracing::info!(scoring = %scoring.id, rule = scoring.rule, blob = scoring.blob.url, status = %scoring.status,
                    "scoring {} accepted as {}", scoring.id, scoring.status);
                one.accepted.push(AcceptedScoring { id: scoring.id.to_string(), rule: scoring.rule.clone() });
                if scoring.status == Status::Submitting {
                    one.intents.push(Intent { scoring, etag });
                }
            }
            Acceptance::Duplicate(existing) => {
                permit.leave_to(Some(&existing));
                self.give_back(permit).await;
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
        let each = stream::iter(intents).for_each_concurrent(AT_ONCE, |Intent { scoring, etag }| async move {
            let id = scoring.id.clone();
            let answer = self.submit(&scoring).await;
            if let Err(error) = self.drive(scoring, etag, answer).await {
                tracing::warn!(scoring = %id, error = %chain(&error), "the answer of scoring {id} was not recorded; the tick will look for its job");
            }
        });
        each.await;
    }

    /// Brings a scoring as far as it goes now. Returns its status, `None` if there is no such scoring.
    pub async fn reconcile(&self, id: &ScoringId) -> Result<Option<Status>, Error> {
        self.reconcile_seen(id, None).await
    }

    /// The same, with what somebody has seen of a job already. Job names are never used twice: if the scoring has
    /// another job by now, or none, what was seen says nothing about it.
    async fn reconcile_seen(&self, id: &ScoringId, seen: Option<SeenOf>) -> Result<Option<Status>, Error> {
        let Some((scoring, etag)) = self.ledger().get(id).await.map_err(during("reading a scoring"))? else {
            return Ok(None);
        };
        let seen = match seen {
            Some(SeenOf { job, seen, at }) if scoring.job.as_ref().is_some_and(|own| own.name == job.name) => {
                Look { seen, at, permit: Permit::default() }
            }
            _ => self.look(&scoring).await,
        };
        self.drive_look(scoring, etag, seen).await.map(Some)
    }

    async fn drive(&self, scoring: Scoring, etag: ETag, seen: Seen) -> Result<Status, Error> {
        self.drive_look(scoring, etag, Look { seen, at: self.now(), permit: Permit::default() }).await
    }

    /// Decide, record, act, look again, until there is nothing to do now.
    async fn drive_look(&self, mut scoring: Scoring, mut etag: ETag, mut look: Look) -> Result<Status, Error> {
        for _ in 0..STEPS {
            let step = decide(&scoring, self.rule(&scoring), &look.seen, look.at);
            let (next, entry, effect) = match step {
                Step::Wait { because } => {
                    tracing::debug!(scoring = %scoring.id, status = %scoring.status, "{}: {because}", scoring.id);
                    self.give_back(look.permit).await;
                    return Ok(scoring.status);
                }
                Step::Move { next, entry, effect } => (*next, entry, effect),
            };
            if scoring.status != Status::Queued && effect == Effect::Submit {
                match self.admit_again(&scoring, self.now()).await {
                    Admission::Go(permit) => look.permit = permit,
                    Admission::Wait { because, .. } => {
                        tracing::debug!(scoring = %scoring.id, "{} is not sent again yet: {because}", scoring.id);
                        return Ok(scoring.status);
                    }
                }
            }
            if look.permit.is_stale(self.now()) {
                // Others may take the slots for left behind by now: its turn comes again.
                self.give_back(look.permit).await;
                return Ok(scoring.status);
            }
            match self.ledger().record(&etag, &next, &entry).await {
                Ok(Recorded::Done(new)) => etag = new,
                Ok(Recorded::Lost) => {
                    tracing::debug!(scoring = %scoring.id, "{} is driven by somebody else", scoring.id);
                    if look.permit.is_empty() && !matches!(look.seen, Seen::Answer(_)) {
                        return Ok(scoring.status);
                    }
                    let again = self.ledger().get(&scoring.id).await.map_err(during("reading a scoring"))?;
                    look.permit.leave_to(again.as_ref().map(|(present, _)| present));
                    self.give_back(look.permit).await;
                    let (Seen::Answer(answer), Some((present, new))) = (look.seen, again) else {
                        return Ok(scoring.status);
                    };
                    // What the endpoint answered is known to nobody else.
                    let Some(seen) = late(&scoring, &present, answer) else { return Ok(present.status) };
                    (scoring, etag) = (present, new);
                    look = Look { seen, at: self.now(), permit: Permit::default() };
                    continue;
                }
                Err(error) => {
                    // Whether it was recorded is not known: the slot stays, and the tick frees it if nobody has it.
                    return Err(during("recording a move")(error));
                }
            }
            tracing::info!(scoring = %next.id, rule = next.rule, from = %scoring.status, to = %next.status,
                attempt = next.attempt, job = entry.job, because = entry.because,
                "{} {} -> {}: {}", next.id, scoring.status, next.status, entry.because);
            audit::tell_of_strays(&scoring, &next, &entry.because);
            if scoring.status.holds_slot() && !next.status.holds_slot() {
                self.free_slots_of(&next).await;
            }
            self.tell_breaker(&next, entry.event, look.at).await;
            scoring = next;
            look = match effect {
                Effect::Submit => {
                    let seen = self.submit(&scoring).await;
                    Look { seen, at: self.now(), permit: Permit::default() }
                }
                Effect::Cancel(jobs) => {
                    self.cancel(&scoring, jobs).await;
                    return Ok(scoring.status);
                }
                Effect::None if looks_again(scoring.status) => self.look(&scoring).await,
                Effect::None => return Ok(scoring.status),
            };
        }
        Ok(scoring.status)
    }

    async fn submit(&self, scoring: &Scoring) -> Seen {
        let policy = self.rule(scoring).map_or_else(Policy::default, |rule| rule.policy);
        // An intent may have waited behind others, or its record taken long. Whoever holds a lease may send only what
        // is answered before it ends; after that somebody else may look for the job, find none, and send it too.
        if self.now() + policy.submit_timeout.0 > scoring.due {
            return Seen::Answer(Answer::Refused {
                code: "not sent".to_owned(),
                text: "too little was left of the lease for the request and its answer".to_owned(),
                for_good: false,
                retry_after: None,
            });
        }
        let timeout = std::time::Duration::try_from(policy.submit_timeout.0).unwrap_or_default(); // rules refuse negative ones
        Seen::Answer(self.0.parts.endpoint.submit(scoring, timeout).await)
    }

    async fn cancel(&self, scoring: &Scoring, jobs: Vec<Job>) {
        for job in jobs {
            let name = job.name.clone();
            let at = JobAddress { endpoint: scoring.endpoint.clone(), workspace: scoring.workspace.clone(), job };
            match self.0.parts.endpoint.cancel(&at).await {
                Ok(()) => tracing::info!(scoring = %scoring.id, job = name, "asked job {name} to stop"),
                Err(error) => {
                    tracing::warn!(scoring = %scoring.id, job = name, error = %error, "job {name} could not be asked to stop");
                }
            }
        }
    }

    /// The look that a status needs.
    async fn look(&self, scoring: &Scoring) -> Look {
        let now = self.now();
        let seen = match scoring.status {
            Status::Queued => {
                let (seen, permit) = self.admit(scoring, self.rule(scoring), Asker::Queue, now).await.seen();
                return Look { seen, at: now, permit };
            }
            Status::Unknown | Status::Held if scoring.due <= now => match self.0.parts.endpoint.find(scoring).await {
                Ok(sought) => {
                    // Searches share lists, so that what was seen may be older than this look.
                    let at = sought.as_of.map_or(now, |as_of| as_of.min(now));
                    return Look { seen: Seen::Candidates(sought.jobs), at, permit: Permit::default() };
                }
                Err(unclear) => Seen::Unclear(chain(&unclear)),
            },
            Status::Running | Status::Cancelling => match &scoring.job {
                Some(job) => {
                    let at = JobAddress {
                        endpoint: scoring.endpoint.clone(),
                        workspace: scoring.workspace.clone(),
                        job: job.clone(),
                    };
                    self.look_at_job(&at).await
                }
                None => Seen::Unclear("the ledger has no job for a running scoring".to_owned()),
            },
            Status::Verifying => match self.0.parts.blobs.outputs(scoring).await {
                Ok(output) => Seen::Output(output),
                Err(unclear) => Seen::Unclear(chain(&unclear)),
            },
            _ => Seen::Nothing,
        };
        Look { seen, at: now, permit: Permit::default() }
    }

    async fn look_at_job(&self, at: &JobAddress) -> Seen {
        match self.0.parts.endpoint.job(at).await {
            Ok(Some(job)) => Seen::Job(job),
            Ok(None) => Seen::JobMissing,
            Err(unclear) => Seen::Unclear(chain(&unclear)),
        }
    }

    fn rule(&self, scoring: &Scoring) -> Option<&Rule> {
        self.0.parts.rules.get(&scoring.rule)
    }
}

/// What an answer says about a scoring that was moved on while it was under way.
fn late(sent: &Scoring, present: &Scoring, answer: Answer) -> Option<Seen> {
    let same_post =
        present.status == Status::Submitting && (present.attempt, present.posts) == (sent.attempt, sent.posts);
    match answer {
        // Only something beside it changed: the answer counts as if it had come now.
        answer if same_post => Some(Seen::Answer(answer)),
        Answer::Accepted { job, status } => Some(Seen::Made { attempt: sent.attempt, job, status }),
        // Whoever moved it on knows more by now, or will look.
        Answer::Refused { .. } | Answer::Unknown { .. } => None,
    }
}

/// What was seen, when, and what was claimed on the way.
struct Look {
    seen: Seen,
    /// For looks the time *before* they began: a job that was made while we looked must not be found missing "after
    /// the grace time". For the answer to a POST the time after it.
    at: OffsetDateTime,
    permit: Permit,
}

/// What a tick saw of a job before it read the scoring.
struct SeenOf {
    job: Job,
    seen: Seen,
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
fn looks_again(status: Status) -> bool {
    matches!(status, Status::Verifying | Status::Unknown)
}
