//! The one path: load, observe, decide, record, act, and observe again.
//!
//! Events, ticks, the scan for orphaned jobs and operators all end here, and nothing else in the product calls
//! [`lifecycle::decide`]; a test sees to it. The caller only chooses *when*, and may bring what it has seen already.
//!
//! The path costs three round trips for an event whose rule has a free slot: one transaction that takes the scoring in
//! *and* records the intent of its first attempt ([`Driver::take_in`]), the POST, one transaction that records the answer.
//! A rule that verifies its input adds one HEAD, between the claim of the slot and the first transaction.
//!
//! Never: an effect before its intent is on record; a conclusion from the answer of an effect alone when it may be
//! wrong; a second driver's write over ours (the ledger's compare-and-swap decides who drives).

use std::ops::ControlFlow;
use std::sync::Arc;

use futures::TryFutureExt as _;
use lifecycle::{Answer, Effect, Entry, Event, Observation, Rule, Rules, Scoring, ScoringId, Status, Step};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::admission::{Admission, Claims, Refusal, WaitScope, free_probes_of};
use crate::clock::LedgerClock;
use crate::error::{Error, during, error_chain};
use crate::ledger::{self, Acceptance, Announced, Ledger, Recorded};
use crate::ports::table_store::{self, ETag};
use crate::ports::{Answered, Clock};
use crate::{measures, spans};

mod driven;
mod input;
mod observed;
mod publishing;
mod services;
mod staging;

pub use driven::{Driven, End};
pub(crate) use input::too_many;
pub use observed::Evidence;
use observed::late;
pub(crate) use observed::{Loaded, Observed};
pub(crate) use services::Services;

/// Steps that one drive may take; the longest real one is four (completed, verified, retried, submitted).
const MAX_STEPS: usize = 8;

/// Drives scorings. Cheap to clone; any number of them, in one process or several, may drive the same scoring.
#[derive(Clone)]
pub struct Driver {
    ledger: Ledger,
    rules: Arc<Rules>,
    clock: LedgerClock,
    reach: Reach,
}

/// What a driver can do itself: everything, or nothing but write into the ledger.
#[derive(Clone)]
enum Reach {
    /// The ledger, the batch endpoint and the storage: what `decide` asks for is done at once.
    Services { services: Services, admission: Arc<Admission> },
    /// The ledger alone, as the command line: what `decide` asks for is left on record, for the next tick.
    LedgerOnly,
}

/// By what it is known that a version lies at its path; the two say different things of a scoring that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShownBy {
    /// An event: its ETag was new at its path when it was raised.
    Event,
    /// A look, just now: the version may have been there before, and have come back by a rename.
    Look,
}

/// What became of a scoring that an event asks for.
pub(crate) enum TakenIn {
    /// It is in the ledger now; if it may be sent at once, its lease began a moment after `begun`.
    New { loaded: Loaded, begun: Option<Instant> },
    /// The version has this scoring already, or, where overwrites are ignored, its path has one of an earlier version.
    Duplicate(Box<Scoring>),
    /// The ledger will never take it, however often it is delivered.
    DoesNotFit { scoring: Box<Scoring>, source: table_store::Error },
}

/// A submission that is on record and not sent yet. Dropping one is safe: its lease ends, and its job is looked for.
#[derive(Debug)]
#[must_use = "an intent that nobody carries out waits for its lease to end"]
pub(crate) struct Intent {
    pub(crate) loaded: Loaded,
    /// Before its lease began, by the clock that nobody sets.
    pub(crate) begun: Instant,
}

/// What came of a write.
enum Written {
    /// It is on record; the version to go on from.
    Done(ETag),
    /// Somebody else drives the scoring; as it is now, if that was read.
    Overtaken(Option<Box<Scoring>>),
    /// Somebody else moved it, and what we have seen still counts.
    StillCounts(Box<(Loaded, Observed)>),
    /// The ledger will never take it: that is what was seen now, with nothing claimed.
    Refused(Box<Observed>),
}

impl Driver {
    pub(crate) fn new(
        ledger: Ledger,
        rules: Arc<Rules>,
        clock: LedgerClock,
        services: Services,
        admission: Arc<Admission>,
    ) -> Self {
        Self { ledger, rules, clock, reach: Reach::Services { services, admission } }
    }

    /// A driver for those who have the ledger only. It knows no rules either: how long a job may run, or whether an
    /// attempt is tried again, is judged by the ticks.
    pub fn over_ledger(ledger: Ledger, clock: Clock) -> Self {
        Self { ledger, rules: Arc::default(), clock: LedgerClock::new(clock), reach: Reach::LedgerOnly }
    }

    /// Brings a scoring as far as it goes now. `None` if there is no such scoring.
    pub async fn drive(&self, id: &ScoringId, evidence: Evidence) -> Result<Option<Driven>, Error> {
        let Some(loaded) = self.load(id).await? else { return Ok(None) };
        let observed = match evidence {
            Evidence::OfJob { job, seen, at }
                if loaded.scoring.job.as_ref().is_some_and(|own| own.name == job.name) =>
            {
                Observed::of(seen, at)
            }
            Evidence::Given(observation) => Observed::of(observation, self.clock.now()),
            Evidence::None | Evidence::OfJob { .. } => self.observe(&loaded.scoring).await,
        };
        self.drive_from(loaded, observed).await.map(Some)
    }

    /// What would be decided of a scoring if this was seen of it at `now`. Nothing is recorded, nothing is done.
    pub fn preview(&self, scoring: &Scoring, observation: &Observation, now: OffsetDateTime) -> Step {
        self.decide(scoring, observation, now)
    }

    /// [`Self::take_in`] as a span, below which everything belongs that is done for the scoring later. Not an `async fn`, for the
    /// same reason as [`Self::drive_from`].
    pub(crate) fn traced_take_in<'a>(
        &'a self,
        mut queued: Box<Scoring>,
        reason: String,
        announced: &'a Announced<'_>,
        by: ShownBy,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<TakenIn, Error>> + Send + 'a {
        let span = spans::taking_in(&queued);
        if !span.is_disabled() {
            // With its first row: who moves it later may be another process.
            queued.trace = span.in_scope(spans::current);
        }
        spans::within(span, self.take_in(queued, reason, announced, by, now))
    }

    /// Takes a new scoring in and, if it may go at once, records the intent of its first attempt in the same transaction.
    /// **Durable once `Ok`.** An error says that the ledger did not take it, or that nobody knows: deliver the event again.
    async fn take_in(
        &self,
        queued: Box<Scoring>,
        reason: String,
        announced: &Announced<'_>,
        by: ShownBy,
        now: OffsetDateTime,
    ) -> Result<TakenIn, Error> {
        let mut entries = vec![self.accepted(&queued, reason)];
        let mut observed = match &self.reach {
            // What a sweep found takes no slot from an upload that comes now: the tick gives it its turn.
            Reach::Services { .. } if queued.origin.gives_way() || queued.waits_for_group() => {
                Observed::of(Observation::Nothing, now)
            }
            Reach::Services { admission, .. } => {
                Observed::admitted(admission.admit_event(&queued, self.rule(&queued), now).await, now)
            }
            Reach::LedgerOnly => Observed::of(Observation::Nothing, now),
        };
        let step = self.decide_looking(&queued, &mut observed).await;
        let Observed { mut claims, begun, .. } = observed;
        let mut moved = None;
        if claims.is_stale(self.clock.now()) {
            // Others may take the slot for left behind by now. It is taken in all the same, and queued.
            self.release(std::mem::take(&mut claims)).await;
        } else if let Step::Move { next, entry, .. } = step {
            if next.status != Status::Submitting {
                // Its input is gone, newer or cannot be looked at.
                self.release(std::mem::take(&mut claims)).await;
            }
            entries.push(entry);
            moved = Some(next);
        }
        match self.ledger.accept(moved.as_deref().unwrap_or(&*queued), &entries, announced).await {
            Ok(Acceptance::New(etag)) => {
                let loaded = Loaded { scoring: moved.unwrap_or(queued), etag };
                let begun = (loaded.scoring.status == Status::Submitting).then_some(begun);
                Ok(TakenIn::New { loaded, begun })
            }
            Ok(Acceptance::Duplicate(existing)) => {
                claims.leave_to(Some(&existing));
                self.release(claims).await;
                if existing.blob.etag != queued.blob.etag {
                    // Another version of a path whose overwrites are ignored: it says nothing of this one.
                    return Ok(TakenIn::Duplicate(existing));
                }
                self.ledger.note_repetition(&existing, now).await;
                // The event shows the version, or is an old one delivered again: the look before its job tells which. Boxed, as this
                // and the next one are seldom and have kilobytes, and each future around them would be copied with them.
                let shown =
                    Box::pin(self.show(*existing, by)).await.map_err(during("showing a scoring its version again"))?;
                Ok(TakenIn::Duplicate(Box::new(shown)))
            }
            Err(ledger::Error::Refused(source @ table_store::Error::Refused(_))) => {
                // For certain nothing was written: the slot is nobody's.
                self.release(claims).await;
                match moved {
                    // The upload fits; what is to be sent for it may not.
                    Some(_) => {
                        let accepted = entries.swap_remove(0);
                        Box::pin(self.take_in_as_failed(queued, accepted, announced, source, now)).await
                    }
                    None => Ok(TakenIn::DoesNotFit { scoring: queued, source }),
                }
            }
            // Whether it was taken is not known: the slot stays, for the next delivery or for the tick to free.
            Err(error) => Err(during("taking a scoring in")(error)),
        }
    }

    /// Takes a scoring in whose intent the ledger refused: its upload is on record, and why nothing comes of it.
    async fn take_in_as_failed(
        &self,
        queued: Box<Scoring>,
        accepted: Entry,
        announced: &Announced<'_>,
        source: table_store::Error,
        now: OffsetDateTime,
    ) -> Result<TakenIn, Error> {
        let refused = Observation::RecordRefused { reason: error_chain(&source), job: None };
        let Step::Move { next, entry, .. } = self.decide(&queued, &refused, now) else {
            return Ok(TakenIn::DoesNotFit { scoring: queued, source });
        };
        match self.ledger.accept(&next, &[accepted, entry], announced).await {
            Ok(Acceptance::New(etag)) => Ok(TakenIn::New { loaded: Loaded { scoring: next, etag }, begun: None }),
            Ok(Acceptance::Duplicate(existing)) => Ok(TakenIn::Duplicate(existing)),
            Err(ledger::Error::Refused(source @ table_store::Error::Refused(_))) => {
                Ok(TakenIn::DoesNotFit { scoring: queued, source })
            }
            Err(error) => Err(during("taking a scoring in")(error)),
        }
    }

    /// Sends a recorded intent and records the answer. Has no error: what is not finished here, the tick finishes.
    pub(crate) async fn carry_out(&self, Intent { loaded, begun }: Intent) {
        let Reach::Services { services, .. } = &self.reach else { return };
        let id = loaded.scoring.id.clone();
        let span = spans::driving(&loaded.scoring);
        let carried = async {
            let answer = services.submit(&loaded.scoring, self.rule(&loaded.scoring), begun).await;
            let answered = Observed::of(answer, self.clock.now());
            self.drive_on(loaded, answered).await.inspect(|driven| spans::driven(&driven.scoring))
        };
        if let Err(error) = spans::within(span, carried).await {
            tracing::warn!(scoring = %id, error = %error_chain(&error), "the answer of scoring {id} was not recorded; the next reconcile run looks for its job");
        }
    }

    pub(crate) async fn load(&self, id: &ScoringId) -> Result<Option<Loaded>, Error> {
        let Some((mut scoring, mut etag)) = self.ledger.get(id).await.map_err(during("reading a scoring"))? else {
            return Ok(None);
        };
        scoring.identity = self.rules.identity_for(&scoring.rule, &scoring.endpoint, scoring.identity.as_ref());
        // Written and not only believed: read again, it would be a moment old each time, and nothing would ever be over.
        if let Some(corrected) = scoring.with_believable_times(self.clock.now()) {
            let written = self.ledger.correct_times(&etag, &corrected).await;
            match written.map_err(during("correcting times that lie ahead"))? {
                Recorded::Done(new) => {
                    tracing::warn!(scoring = %id, since = %scoring.since, "times of scoring {id} that lie ahead were corrected: a clock was wrong");
                    (scoring, etag) = (corrected, new);
                }
                Recorded::Lost => return Box::pin(self.load(id)).await,
            }
        }
        Ok(Some((scoring, etag).into()))
    }

    /// Decide, record, act, observe again, until there is nothing to do now.
    ///
    /// Not an `async fn`: that would keep what it is given twice, and each future around it would be copied with it.
    pub(crate) fn drive_from(
        &self,
        loaded: Loaded,
        observed: Observed,
    ) -> impl Future<Output = Result<Driven, Error>> + Send {
        let span = spans::driving(&loaded.scoring);
        let driving = self.drive_on(loaded, observed);
        spans::within(span, driving.inspect_ok(|driven| spans::driven(&driven.scoring)))
    }

    async fn drive_on(&self, mut loaded: Loaded, mut observed: Observed) -> Result<Driven, Error> {
        let mut moves = 0;
        // An answer is that of a request that was sent a moment ago.
        let mut is_sent = matches!(observed.observation, Observation::Answer(_));
        for _ in 0..MAX_STEPS {
            let scoring = &loaded.scoring;
            let (next, mut entry, effect) = match self.decide_looking(scoring, &mut observed).await {
                Step::LookAtInput => {
                    let reason = "the next reconcile run looks at its input".to_owned();
                    return Ok(Driven { scoring: loaded.scoring, moves, end: End::Waits { reason } });
                }
                Step::Publish(order) => {
                    observed = Box::pin(self.publish(scoring, *order)).await;
                    continue;
                }
                Step::Wait { reason } => {
                    tracing::debug!(scoring = %scoring.id, status = %scoring.status, "{}: {reason}", scoring.id);
                    self.release(observed.claims).await;
                    return Ok(Driven { scoring: loaded.scoring, moves, end: End::Waits { reason } });
                }
                Step::Move { next, entry, effect } => (next, entry, effect),
            };
            if effect == Effect::Submit && std::mem::replace(&mut is_sent, true) {
                // Whatever the rule says of intervals: who sends twice has looked at nothing in between.
                self.release(observed.claims).await;
                let reason = "the next reconcile run sends it again".to_owned();
                return Ok(Driven { scoring: loaded.scoring, moves, end: End::Waits { reason } });
            }
            if let Err(Refusal { reason, .. }) = self.claim_for(scoring, &effect, &mut observed.claims).await {
                tracing::debug!(scoring = %scoring.id, "{} is not sent again yet: {reason}", scoring.id);
                return Ok(Driven { scoring: loaded.scoring, moves, end: End::Waits { reason } });
            }
            if observed.claims.is_stale(self.clock.now()) {
                // Others may take the slots for left behind by now: its turn comes again.
                self.release(observed.claims).await;
                let reason = "its slot was claimed too long ago".to_owned();
                return Ok(Driven { scoring: loaded.scoring, moves, end: End::Waits { reason } });
            }
            if effect != Effect::Submit {
                // Claimed for a job that is not made: its input is gone, newer or cannot be looked at.
                self.release(std::mem::take(&mut observed.claims)).await;
            }
            let (at, begun) = (observed.at, observed.begun);
            entry.request_id.clone_from(&observed.request_id);
            match self.record(&loaded, &next, &entry, observed).await? {
                Written::Done(etag) => {
                    let before = std::mem::replace(&mut loaded, Loaded { scoring: next, etag }).scoring;
                    moves += 1;
                    self.announce(&before, &loaded.scoring, &entry, at).await;
                }
                Written::StillCounts(again) => {
                    (loaded, observed) = *again;
                    continue;
                }
                Written::Refused(seen) => {
                    observed = *seen;
                    continue;
                }
                Written::Overtaken(present) => {
                    let scoring = present.unwrap_or(loaded.scoring);
                    return Ok(Driven { scoring, moves, end: End::Overtaken });
                }
            }
            observed = match self.act(&loaded.scoring, effect, begun).await {
                ControlFlow::Continue(observed) => observed,
                ControlFlow::Break(end) => return Ok(Driven { scoring: loaded.scoring, moves, end }),
            };
        }
        Ok(Driven { scoring: loaded.scoring, moves, end: End::Done })
    }

    /// Asks what is to become of a scoring. The only place that does.
    fn decide(&self, scoring: &Scoring, observation: &Observation, at: OffsetDateTime) -> Step {
        lifecycle::decide(scoring, self.rule(scoring), observation, at)
    }

    /// Claims what a request needs that is sent again; what comes from the queue was admitted before its turn. `Err`:
    /// why it waits, with nothing claimed.
    async fn claim_for(&self, scoring: &Scoring, effect: &Effect, claims: &mut Claims) -> Result<(), Refusal> {
        if scoring.status == Status::Queued || *effect != Effect::Submit {
            return Ok(());
        }
        match &self.reach {
            Reach::Services { admission, .. } => {
                *claims = admission.admit_again(scoring, self.clock.now()).await?;
                Ok(())
            }
            // An intent without anybody to send it would only make its lease run out.
            Reach::LedgerOnly => Err(Refusal::new(WaitScope::One, "the next reconcile run sends it")),
        }
    }

    /// Records a move, before anything is done by it.
    async fn record(
        &self,
        loaded: &Loaded,
        next: &Scoring,
        entry: &Entry,
        mut observed: Observed,
    ) -> Result<Written, Error> {
        match self.ledger.record(&loaded.scoring, &loaded.etag, next, entry).await {
            Ok(Recorded::Done(etag)) => return Ok(Written::Done(etag)),
            Ok(Recorded::Lost) => {}
            // Retried, it would hold its slot for ever. What is decided of it then is small, and shows that the ledger
            // takes other moves of this scoring: if that is refused too, the fault is not the scoring's, and it stays as it is.
            // An orphaned job costs its scoring nothing.
            Err(ledger::Error::Refused(source @ table_store::Error::Refused(_)))
                if !matches!(entry.event, Some(Event::RecordRefused | Event::OrphanFound)) =>
            {
                let reason = error_chain(&source);
                tracing::error!(scoring = %next.id, reason, "a move of {} cannot be recorded, ever: {reason}", next.id);
                self.release(observed.claims).await;
                // Nobody else was told of it.
                let job = match observed.observation {
                    Observation::Answer(Answer::Accepted { job, .. }) => Some(job),
                    _ => None,
                };
                let refused = Observed::of(Observation::RecordRefused { reason, job }, observed.at);
                return Ok(Written::Refused(Box::new(refused)));
            }
            // Whether it was recorded is not known: the slot stays, and the tick frees it if nobody has it.
            Err(error) => return Err(during("recording a move")(error)),
        }
        let sent = &loaded.scoring;
        tracing::debug!(scoring = %sent.id, "{} is being driven by another process", sent.id);
        if observed.claims.is_empty() && !matches!(observed.observation, Observation::Answer(_)) {
            // Whoever drives it sees the same, or more.
            return Ok(Written::Overtaken(None));
        }
        // Boxed for the same reason as in `take_in`.
        let again = Box::pin(self.load(&sent.id)).await?;
        observed.claims.leave_to(again.as_ref().map(|present| &*present.scoring));
        self.release(observed.claims).await;
        let (Observation::Answer(answer), Some(present)) = (observed.observation, again) else {
            return Ok(Written::Overtaken(None));
        };
        // What the endpoint answered is known to nobody else.
        Ok(match late(sent, &present.scoring, answer) {
            Some(value) => {
                let seen = Answered { value, request_id: observed.request_id };
                Written::StillCounts(Box::new((present, Observed::of(seen, self.clock.now()))))
            }
            None => Written::Overtaken(Some(present.scoring)),
        })
    }

    /// Tells of a move that is on record: people by the log, others by the slots that it frees and the breaker.
    async fn announce(&self, before: &Scoring, after: &Scoring, entry: &Entry, at: OffsetDateTime) {
        if entry.event == Some(Event::Progressed) {
            // Several for each job, on which nobody acts; the history has them.
            tracing::debug!(scoring = %after.id, "{} {}: {}", after.id, after.status, entry.reason);
        } else {
            tracing::info!(scoring = %after.id, rule = after.rule.as_str(), from = %before.status, to = %after.status,
                attempt = after.attempt, job = entry.job.as_deref(), blob = after.blob.url, reason = entry.reason,
                "{} {} -> {}: {}", after.id, before.status, after.status, entry.reason);
        }
        log_orphaned_jobs(before, after, &entry.reason);
        measures::moved(before, after, entry);
        let Reach::Services { admission, services } = &self.reach else {
            // The slot is left to the tick, which frees what its owner does not hold any more.
            if after.status.is_terminal() && !before.status.is_terminal() {
                free_probes_of(&self.ledger, after, at).await;
            }
            return;
        };
        if let (None, Some(workspace)) = (&before.workspace, &after.workspace) {
            services.workspaces.learn(&after.endpoint, workspace).await;
        }
        // A queued one may have a slot of an earlier try that ended in between.
        let held = before.holds_slot() || entry.event == Some(Event::RecordRefused);
        if held && !after.holds_slot() {
            admission.free_slots_of(after).await;
        }
        admission.breakers().notify(before, after, entry.event, at).await;
    }

    /// Does what a recorded move asks for; goes on with what was seen by that, if there is something to go on with.
    async fn act(&self, scoring: &Scoring, effect: Effect, begun: Instant) -> ControlFlow<End, Observed> {
        let Reach::Services { services, .. } = &self.reach else {
            return ControlFlow::Break(if effect == Effect::None { End::Done } else { End::Left(effect) });
        };
        match effect {
            Effect::Submit => {
                let answer = services.submit(scoring, self.rule(scoring), begun).await;
                ControlFlow::Continue(Observed::of(answer, self.clock.now()))
            }
            Effect::Cancel(jobs) => {
                // The job does not stop at once: whether it did is seen by the next look.
                let answers = services.cancel(scoring, jobs).await;
                ControlFlow::Continue(Observed::of(answers, self.clock.now()))
            }
            Effect::Publish => ControlFlow::Continue(self.observe(scoring).await),
            // What has just come to stand there; what was noted beside it was seen a moment ago. A fresh job is not among
            // these: it has nothing to tell yet.
            Effect::None
                if matches!(scoring.status, Status::Verifying | Status::Unknown)
                    && scoring.since == scoring.updated =>
            {
                ControlFlow::Continue(self.observe(scoring).await)
            }
            Effect::None => ControlFlow::Break(End::Done),
        }
    }

    /// The look that a status needs; for what is queued that is whether it may go, with what was claimed for it.
    async fn observe(&self, scoring: &Scoring) -> Observed {
        match &self.reach {
            // No slot is claimed for what may not go.
            Reach::Services { .. } if scoring.on_hold.is_some() || scoring.is_to_be_grouped(self.rule(scoring)) => {
                Observed::of(Observation::Nothing, self.clock.now())
            }
            Reach::Services { admission, .. } if scoring.status == Status::Queued => {
                let now = self.clock.now();
                Observed::admitted(admission.admit(scoring, self.rule(scoring), now).await, now)
            }
            Reach::Services { services, .. } if scoring.status == Status::Verifying && scoring.publishing.is_some() => {
                Box::pin(self.look_at_destination(services, scoring)).await
            }
            Reach::Services { services, .. } if scoring.status == Status::Staging => {
                Box::pin(self.stage(services, scoring)).await
            }
            Reach::Services { services, .. } => services.observe(scoring, self.rule(scoring)).await,
            // Nothing can be looked at, and nothing is concluded from that.
            Reach::LedgerOnly => Observed::of(Observation::Nothing, self.clock.now()),
        }
    }

    async fn release(&self, claims: Claims) {
        // Without services nothing was claimed. Boxed, as it is seldom, and each future around it would be copied with it.
        if let Reach::Services { admission, .. } = &self.reach
            && !claims.is_empty()
        {
            Box::pin(admission.release(claims, self.clock.now())).await;
        }
    }

    /// The first entry of a history: why, and by which version of rules that may change while the process lives.
    fn accepted(&self, scoring: &Scoring, reason: String) -> Entry {
        scoring.accepted_entry(match self.rules.version() {
            Some(version) => format!("{reason} (rules of ETag {version})"),
            None => reason,
        })
    }

    fn rule(&self, scoring: &Scoring) -> Option<&Rule> {
        self.rules.get(&scoring.rule)
    }
}

/// Tells operators of jobs that a move recorded as orphaned jobs: they cost money, and show that answers are lost. Whoever finds
/// one records it by a move, so this is where all of them come by.
fn log_orphaned_jobs(before: &Scoring, after: &Scoring, reason: &str) {
    for job in after.orphaned_jobs.iter().filter(|job| !before.orphaned_jobs.contains(job)) {
        tracing::warn!(
            scoring = %after.id,
            rule = after.rule.as_str(),
            endpoint = after.endpoint.as_str(),
            job = job.as_str(),
            reason,
            "orphaned job {job} of {}: {reason}",
            after.id
        );
    }
}
