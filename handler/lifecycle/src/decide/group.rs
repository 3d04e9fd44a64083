//! Groups: how a member comes and goes, how a group is staged, and what it leaves behind.

use time::Duration;

use super::observation::Staging;
use super::step::{DecideContext, Effect, Step, wait};
use crate::duration::utc_text;
use crate::failure::FailureCause;
use crate::group::{Group, Grouping, MemberEnd, MemberState, SharedFailure, SharedResult, Verified};
use crate::id::ScoringId;
use crate::job::OutputSnapshot;
use crate::schedule::back_off;
use crate::scoring::Scoring;
use crate::status::{Event, Status};
use crate::text::one_line;

/// First back-off after members could not be staged.
const STAGING_BACK_OFF: Duration = Duration::seconds(30);
/// The longest: ten minutes after a right was given at most, what waited for it goes on.
const MAX_STAGING_BACK_OFF: Duration = Duration::minutes(10);
/// Characters of a reason that a member keeps.
const MAX_REASON: usize = 500;

impl DecideContext<'_> {
    /// Its row names the group before anybody seals that: whoever seals it knows its members by their rows alone.
    ///
    /// Whoever found it waiting may come late: by then it is a member of another group, and stays one. Only the halves of that one may
    /// have it.
    pub(super) fn joined(&self, group: &ScoringId, half_of: Option<&ScoringId>) -> Step {
        match self.scoring.grouping.as_deref() {
            Some(Grouping::Waits) if self.scoring.on_hold.is_some() => {
                return wait(self.scoring.on_hold.clone().unwrap_or_default());
            }
            Some(Grouping::Waits) if half_of.is_none() => {}
            Some(Grouping::Member(whole)) if half_of == Some(whole) => {}
            Some(Grouping::Waits) => return wait("it waits for another group".to_owned()),
            Some(Grouping::Member(other)) => return wait(format!("it is a member of group {other}")),
            Some(Grouping::Alone(why)) => return wait(format!("it is scored alone: {why}")),
            Some(Grouping::Group(_)) | None => return wait("it is scored without a group".to_owned()),
        }
        // As before a job of its own: what is gone, newer, or scored under another ETag need not be copied.
        if half_of.is_none()
            && let Some(step) = self.before_submission()
        {
            return step;
        }
        let reason = match half_of {
            Some(whole) => format!("group {whole} failed; a member of its half {group}"),
            None => format!("a member of group {group}"),
        };
        self.transition(Event::Joined, reason, Effect::None, |next| {
            next.grouping = Some(Box::new(Grouping::Member(group.clone())));
        })
    }

    /// The group that it is a member of has come to an end, or never held it.
    pub(super) fn group_ended(&self, group: &ScoringId, end: &MemberEnd) -> Step {
        if self.scoring.member_of() != Some(group) {
            return wait(format!("it is not a member of group {group}"));
        }
        let now = self.now;
        match end {
            MemberEnd::Scored(shared) => {
                let told = match shared.verified {
                    Verified::Named => "the output is there and names it",
                    Verified::OnlyFile => "the output is there, and it was the only file",
                    Verified::GroupOnly => {
                        "the output is there; the group was verified, not this file (`group.verifyMembers` is off)"
                    }
                };
                self.transition(Event::MemberScored, format!("group {group}: {told}"), Effect::None, |next| {
                    share(next, shared);
                })
            }
            MemberEnd::Failed(shared) => {
                let SharedFailure { error, cause, job, job_status, attempt } = &**shared;
                let reason = format!("group {group} failed: {error}");
                self.transition(Event::MemberFailed, reason, Effect::None, |next| {
                    // Retried, it is tried in another group: all attempts are its own.
                    next.attempt += attempt;
                    next.job.clone_from(job);
                    next.job_status.clone_from(job_status);
                    next.error = Some(error.clone());
                    next.failure = Some(*cause);
                })
            }
            MemberEnd::Cancelled(why) => {
                let reason = format!("group {group} was cancelled: {why}");
                self.transition(Event::JobCancelled, reason, Effect::None, |next| next.error = Some(why.clone()))
            }
            MemberEnd::Alone(why) => {
                let why = one_line(why, MAX_REASON);
                let reason = format!("it leaves group {group} and goes alone: {why}");
                self.transition(Event::LeftGroup, reason, Effect::None, |next| {
                    next.grouping = Some(Box::new(Grouping::Alone(why)));
                    next.due = now;
                })
            }
            MemberEnd::NotSealed => {
                let reason = format!("group {group} was made without it; it waits for another one");
                self.transition(Event::LeftGroup, reason, Effect::None, |next| {
                    next.grouping = Some(Box::new(Grouping::Waits));
                    next.due = now;
                })
            }
        }
    }

    /// Members were copied, or left; the rest is tried again.
    pub(super) fn staged(&self, staging: &Staging) -> Step {
        let Some(group) = self.scoring.group() else { return wait("it is no group".to_owned()) };
        let mut group = group.clone();
        for (id, state) in &staging.members {
            if let Some(member) = group.members.iter_mut().find(|member| member.id == *id) {
                member.state = *state;
            }
        }
        for (id, reason) in &staging.reasons {
            group.keep_reason(id, one_line(reason, MAX_REASON));
        }
        let staged = group.staged().count();
        let left = group.members.iter().filter(|member| member.state == MemberState::Sealed).count();
        let all = group.members.len();
        if left == 0 && staged == 0 {
            return self.emptied(Some(group));
        }
        if left == 0 {
            let gone = if staged == all { String::new() } else { format!("; {} left the group", all - staged) };
            let reason = format!("{staged} of {all} members are copied{gone}");
            return self.transition(Event::Staged, reason, Effect::None, |next| {
                next.grouping = Some(Box::new(Grouping::Group(group)));
                next.refusals = 0;
                next.due = self.now;
            });
        }
        let Some(problem) = &staging.problem else {
            return wait(format!("{staged} of {all} members are copied; the next reconcile run goes on"));
        };
        if self.scoring.last_error.as_ref() == Some(problem) && self.scoring.due > self.now {
            return wait(problem.clone());
        }
        let pause = back_off(STAGING_BACK_OFF, MAX_STAGING_BACK_OFF, self.scoring.refusals, &self.scoring.id);
        let reason = format!(
            "{staged} of {all} members are copied, the others are not: {problem}; tried again after {}",
            utc_text(self.now + pause)
        );
        self.transition(Event::NotStagedYet, reason, Effect::None, |next| {
            next.grouping = Some(Box::new(Grouping::Group(group)));
            next.refusals += 1;
            next.due = self.now + pause;
            next.last_error = Some(problem.clone());
        })
    }

    /// No row names the group any more: what is not sent need not be, and what runs computes for nobody.
    pub(super) fn no_member_left(&self) -> Step {
        match self.scoring.status {
            Status::Staging | Status::Queued => self.emptied(None),
            Status::Running if !self.scoring.stop_ordered => {
                let jobs = self.scoring.job.iter().cloned().collect();
                let reason = "no member is left of the group: the job is told to stop".to_owned();
                self.transition(Event::Emptied, reason, Effect::Cancel(jobs), |next| {
                    next.stop_ordered = true;
                    next.error = Some("no member was left of the group".to_owned());
                    next.due = self.now;
                })
            }
            status => wait(format!("no member is left of the group, which is {status}")),
        }
    }

    fn emptied(&self, group: Option<Group>) -> Step {
        let reason = "no member is left of the group; no job is made for it".to_owned();
        self.transition(Event::Emptied, reason.clone(), Effect::None, |next| {
            next.error = Some(reason);
            if let Some(group) = group {
                next.grouping = Some(Box::new(Grouping::Group(group)));
            }
        })
    }

    /// The output of a group was looked at, and which members it names. `named` is `None` where nobody needs to ask.
    pub(super) fn verify_group(&self, output: &OutputSnapshot, named: Option<&[ScoringId]>) -> Step {
        let (Some(group), Some(named)) = (self.scoring.group(), named.filter(|_| self.is_good(output))) else {
            return self.verify(output, &[]);
        };
        let staged = group.staged().count();
        // Of a half it may be that these files have no predictions, while those of the other half are named: each goes alone.
        if named.is_empty() && group.half_of.is_none() {
            // Of a model that writes no names nobody knows which files it has read. Tried again, or in halves, it would be the same.
            let error = format!(
                "the output names none of its {staged} files: let the model write the name of each, or set `group.verifyMembers` of the rule to `off`"
            );
            return self.transition(Event::LastAttemptFailed, error.clone(), Effect::None, |next| {
                next.error = Some(error);
                next.failure = Some(FailureCause::Request);
            });
        }
        let mut step = self.verify(output, &[]);
        if let Step::Move { next, entry, .. } = &mut step
            && let Some(Grouping::Group(group)) = next.grouping.as_deref_mut()
        {
            for member in group.members.iter_mut().filter(|member| member.state == MemberState::Staged) {
                let is_named = named.contains(&member.id);
                member.state = if is_named { MemberState::Named } else { MemberState::NotNamed };
            }
            entry.reason = format!("{}; it names {} of {staged} members", entry.reason, named.len());
        }
        step
    }
}

/// The group's result is the member's too. What an attempt of its own left is closed: it waited before it joined.
fn share(next: &mut Scoring, shared: &SharedResult) {
    let SharedResult { verified: _, submission, job, job_status, submitted, attempt, output_bytes, output_print } =
        shared;
    next.attempt = next.attempt.max(*attempt);
    next.submission.clone_from(submission);
    next.job.clone_from(job);
    next.job_status.clone_from(job_status);
    next.submitted = *submitted;
    next.output_bytes = *output_bytes;
    next.output_print.clone_from(output_print);
}
