//! Attempts: how one begins, what its POST was answered, how it ends without a result.

use time::Duration;

use super::step::{DecideContext, Effect, Step};
use super::unknown::{record_orphan, remember};
use crate::duration::utc_text;
use crate::failure::{FailureCause, remedy};
use crate::group::Grouping;
use crate::id::WorkspaceId;
use crate::job::{Answer, Job, JobStatus};
use crate::rule::Rule;
use crate::schedule::back_off;
use crate::scoring::Scoring;
use crate::status::{Event, Status};

/// First back-off after a refusal that may pass.
const REFUSAL_BACK_OFF: Duration = Duration::seconds(10);
/// The longest back-off: an hour after Azure ML works again at most, what waited goes on.
const MAX_BACK_OFF: Duration = Duration::hours(1);

impl DecideContext<'_> {
    /// A queued scoring may go: the intent is what is recorded before the POST.
    pub(super) fn submit(&self, rule: Option<&Rule>) -> Step {
        if let Some(step) = self.before_submission() {
            return step;
        }
        // A refused attempt made no job: its number and output path are used again.
        let again = self.scoring.submission.is_some();
        let attempt = if again { self.scoring.attempt } else { self.scoring.attempt + 1 };
        let (lease, now) = (self.policy.lease(), self.now);
        let reason = if again { "a slot is free; the same request is sent again" } else { "a slot is free" };
        self.transition(Event::SlotFree, reason.to_owned(), Effect::Submit, |next| {
            if next.waits_for_group() {
                next.grouping = Some(Box::new(Grouping::Alone("its rule does not group any more".to_owned())));
            }
            if !again {
                // A new attempt has a new output path, as what an earlier one wrote, or goes on writing, must not be
                // taken for its result. The submission is kept as it is sent: the rule may change before a lost answer
                // is searched for.
                next.attempt = attempt;
                next.submission = rule.map(|rule| rule.submission(self.scoring, attempt));
                next.submitted = Some(now);
                next.resumed = None;
                next.submits = 0;
            }
            // Counted with the intent and not with the answer: a process that dies in between may have sent it.
            next.submits += 1;
            next.forget_look();
            next.due = now + lease;
        })
    }

    /// What became of the POST. The outcomes differ in one thing only: whether a job can exist.
    pub(super) fn answered(&self, answer: &Answer) -> Step {
        let now = self.now;
        match answer {
            Answer::Accepted { job, status } => {
                let reason = format!("the endpoint made job {} ({status})", job.name);
                self.transition(Event::Accepted, reason, Effect::None, |next| self.adopt(next, job, status))
            }
            Answer::Unknown { text } => self.transition(
                Event::AnswerLost,
                format!(
                    "the answer was lost ({text}); a job may exist, so it is looked for before anything is sent again"
                ),
                Effect::None,
                |next| next.due = now + self.policy.lookup_interval.0,
            ),
            Answer::TagsRefused { code, text } => {
                let error = format!("{code}: {text}");
                if self.scoring.submission.as_ref().is_none_or(|sent| sent.untagged) {
                    let why = "the request that was sent has no tags";
                    return self.refused_for_good(error, FailureCause::Request, why);
                }
                let reason = format!("{error}; nothing happened, to be sent once more without the member `tags`");
                // Due at once, and sent by the reconciler: no invocation sends two requests for one scoring.
                self.transition(Event::RefusedTransiently, reason, Effect::None, |next| {
                    if let Some(submission) = &mut next.submission {
                        submission.untagged = true;
                    }
                    next.due = now;
                    next.last_error = Some(error.clone());
                })
            }
            Answer::Refused { code, text, permanent, retry_after } => {
                let error = format!("{code}: {text}");
                if *permanent {
                    let why = "the same request would be refused again";
                    return self.refused_for_good(error, FailureCause::of_refusal(code, true), why);
                }
                if self.past_submit_deadline() {
                    let why = "it was tried for the whole of submitDeadline";
                    return self.refused_for_good(error, FailureCause::of_refusal(code, false), why);
                }
                let pause = back_off(REFUSAL_BACK_OFF, MAX_BACK_OFF, self.scoring.refusals, &self.scoring.id);
                // What the service asks for is obeyed, and never shortens our own back-off: a service that says 0 s for
                // ever would be called for ever.
                let pause = retry_after.map_or(pause, |asked| asked.max(pause));
                let reason = format!("{error}; nothing happened, to be sent again after {}", utc_text(now + pause));
                self.transition(Event::RefusedTransiently, reason, Effect::None, |next| {
                    next.refusals += 1;
                    next.due = now + pause;
                    next.last_error = Some(error.clone());
                })
            }
        }
    }

    fn refused_for_good(&self, error: String, cause: FailureCause, why: &str) -> Step {
        let reason = format!("{error}; {why}");
        self.transition(Event::RefusedPermanently, reason, Effect::None, |next| {
            next.error = Some(error);
            next.failure = Some(cause);
        })
    }

    /// This attempt was tried for the whole of submitDeadline. Counted from its first POST: how long the scoring was queued
    /// or held, or an earlier attempt took, says nothing about the endpoint.
    pub(super) fn past_submit_deadline(&self) -> bool {
        let first = self.scoring.resumed.or(self.scoring.submitted).unwrap_or(self.scoring.created);
        self.now - first >= self.policy.submit_deadline.0
    }

    /// The job is this attempt's. Safe in every case: a job that carries the attempt's output path writes there, wanted or not.
    pub(super) fn adopt(&self, next: &mut Scoring, job: &Job, status: &JobStatus) {
        // A workspace that the rule names is not overwritten: it decides where is searched, and a job's id may be
        // spelled otherwise.
        if next.workspace.is_none() {
            next.workspace = job.id.as_deref().and_then(WorkspaceId::of_resource);
        }
        next.job = Some(job.clone());
        next.job_status = Some(status.name().to_owned());
        next.missing_since = None;
        next.forget_look();
        next.refusals = 0;
        // Of the time at which it was adopted, since a job that was found late would else be stopped at once.
        next.due = self.now + self.policy.job_timeout.0;
    }

    /// What was to follow cannot be kept, so it cannot be done: without a record nobody may send, follow or stop anything.
    pub(super) fn record_refused(&self, reason: &str, job: Option<&Job>) -> Step {
        let error = format!("the ledger cannot hold what follows: {reason}");
        if let Some(step) = self.order_not_recorded(&error) {
            return step;
        }
        // Its job would compute for nobody. One that nobody has told us of yet is found as an orphaned one.
        let own = self.scoring.job.as_ref();
        let effect = match (self.scoring.status, own.or(job)) {
            (Status::Submitting | Status::Running | Status::Cancelling, Some(job)) => Effect::Cancel(vec![job.clone()]),
            _ => Effect::None,
        };
        self.transition(Event::RecordRefused, error.clone(), effect, |next| {
            next.error = Some(error);
            if let (None, Some(job)) = (own, job) {
                record_orphan(next, job);
            }
        })
    }

    /// The attempt ended without a result that can be used, and it is known whose fault that is. `ended`: how its job did,
    /// where that was not recorded before.
    pub(super) fn attempt_failed(&self, error: &str, cause: FailureCause, ended: Option<&JobStatus>) -> Step {
        // A person who reads a final scoring must not be told how its job was when it was last polled.
        let note_end = |next: &mut Scoring| {
            if let Some(ended) = ended.filter(|_| next.job.is_some()) {
                next.job_status = Some(ended.name().to_owned());
            }
        };
        if self.scoring.stop_ordered {
            return self.stopped_as_ordered(error, note_end);
        }
        if let Some(mut step) = self.after_failure(error) {
            if let Step::Move { next, .. } = &mut step {
                note_end(next);
            }
            return step;
        }
        let (attempt, max) = (self.scoring.attempt, self.policy.max_attempts);
        let remedy = remedy(cause, error).map(|remedy| format!("; remedy: {remedy}")).unwrap_or_default();
        let told = format!("{error} ({}{remedy})", cause.name());
        let fail = |next: &mut Scoring| {
            next.error = Some(error.to_owned());
            next.failure = Some(cause);
        };
        // `>=`: the rule may have been given fewer attempts since. Code that failed by its input fails by it again.
        let hopeless = cause == FailureCause::UserCode && !self.policy.retry_user_errors;
        let splits = self.scoring.splits_at_once(cause);
        if attempt >= max || hopeless || splits {
            let reason = if splits {
                format!("{told}; the group is tried in halves")
            } else if hopeless && attempt < max {
                format!("{told}; a recognised error of the user's code, which is not tried again (retryUserErrors)")
            } else {
                let halves = if self.scoring.splits_at_last(cause) { "; the group is tried in halves" } else { "" };
                format!("{told}; attempt {attempt} of {max} was the last{halves}")
            };
            return self.transition(Event::LastAttemptFailed, reason, Effect::None, |next| {
                fail(next);
                note_end(next);
            });
        }
        let pause = back_off(self.policy.retry_back_off.0, MAX_BACK_OFF, attempt.saturating_sub(1), &self.scoring.id);
        let reason = format!(
            "{told}; attempt {} of {max} follows after {} with an output path of its own",
            attempt + 1,
            utc_text(self.now + pause)
        );
        self.transition(Event::AttemptFailed, reason, Effect::None, |next| {
            close_attempt(next);
            fail(next);
            next.due = self.now + pause;
        })
    }
}

/// The attempt is over. Without a submission no job of it can be adopted any more; one that appears is an orphaned one.
pub(super) fn close_attempt(next: &mut Scoring) {
    next.close_submission();
    if let Some(job) = next.job.take() {
        remember(&mut next.previous_jobs, job.name);
    }
    next.job_status = None;
    next.missing_since = None;
    next.publishing = None;
    next.forget_look();
}
