//! The one decision: given what is remembered and what was just seen, what happens next and why.
//!
//! `decide` never acts. A [`Step::Move`] is recorded first and its effect carried out after: if the process dies in
//! between, the next look finds the intent on record. The target of a move is read from
//! [`TRANSITIONS`](crate::status::TRANSITIONS); a pair that the table lacks cannot be taken.

use time::OffsetDateTime;

use crate::duration::utc_text;
use crate::rule::{OnUnknown, Policy, Rule};
use crate::scoring::Scoring;
use crate::status::{Event, Status};
use step::{DecideContext, wait};

mod attempt;
mod followed;
mod group;
mod input;
mod job;
mod observation;
mod operator;
mod output;
mod publish;
mod step;
mod unknown;

pub use job::noted_job_status;
pub use observation::{CancelAnswer, Observation, Order, Resolution, ResolveOrder, Staging, Verb};
pub use publish::PublishAnswer;
pub use step::{Effect, PublishOrder, Step};

/// Decides. `rule` is `None` when the rules no longer hold the scoring's rule: what is under way is seen to its end
/// with default times, what is queued waits, and nothing is sent again: nobody says that it may.
pub fn decide(scoring: &Scoring, rule: Option<&Rule>, observation: &Observation, now: OffsetDateTime) -> Step {
    let defaults = Policy::default();
    let policy = rule.map_or(&defaults, |rule| &rule.policy);
    let stop_at = stop_at(rule, scoring.status, scoring.since, scoring.due);
    let (input, observation) = match observation {
        Observation::Input { found, then } => (Some(found), &**then),
        other => (None, other),
    };
    // Without a rule nobody says that the app may not read the input; that it could before does.
    // What a group reads are copies, each of the version that was named.
    let verifies = !scoring.is_group() && rule.map_or(scoring.input.is_some(), |rule| rule.policy.verify_input);
    let forbids_resend = match rule {
        None => Some("its rule is not in the rules any more"),
        Some(rule) if rule.policy.on_unknown == OnUnknown::Hold => Some("the rule says onUnknown: hold"),
        // What is at a path of its own tells whether a request ran whose job shows nothing.
        Some(_) => {
            scoring.asks_for_no_output().then_some("it asks for no output, by which it would be seen whether it ran")
        }
    };
    let on = DecideContext { scoring, policy, rule, forbids_resend, input, verifies, stop_at, now };
    match (scoring.status, observation) {
        // First, and in every status: a job that we pay for must be adopted or stopped, also if its scoring is final.
        (_, Observation::UnexpectedJob { attempt, job, status }) => on.made(*attempt, job, status),
        (_, Observation::CancelAnswered(answers)) => on.cancel_answered(answers),
        (_, Observation::Ordered(order)) => on.ordered(order),
        (Status::Held, Observation::Resolved(order)) => on.resolved(order),
        // Elsewhere the scoring moves by itself, and what an operator says of it may be out of date by the time it
        // arrives.
        (status, Observation::Resolved(_)) => {
            wait(format!("only a held scoring can be resolved, and this one is {status}"))
        }

        (status, Observation::RecordRefused { reason, job }) if !status.is_terminal() => {
            on.record_refused(reason, job.as_ref())
        }
        (Status::Gone | Status::Superseded, Observation::VersionSeen) => on.seen_again(),
        (Status::Queued, Observation::ScoredAs(other)) => on.same_content(other),
        (Status::Queued, Observation::Overtaken { etag, by }) => on.overtaken(etag, by),

        (Status::Queued | Status::Grouped, Observation::Joined { group, half_of }) => {
            on.joined(group, half_of.as_ref())
        }
        (Status::Grouped, Observation::GroupEnded { group, end }) => on.group_ended(group, end),
        (Status::Grouped, _) => wait(match scoring.member_of() {
            Some(group) => format!("it is a member of group {group}, and ends with it"),
            None => "its group is not on record".to_owned(),
        }),
        (Status::Staging | Status::Queued | Status::Running, Observation::NoMemberLeft) => on.no_member_left(),

        // Not failed: a rule that is gone by mistake, or in one process that has not read the new file yet, must not
        // cost its queue.
        (Status::Queued, _) if rule.is_none() => {
            wait(format!("rule `{}` is not in the rules any more; put it back to have this scored", scoring.rule))
        }
        (Status::Queued, _) if scoring.on_hold.is_some() => wait(scoring.on_hold.clone().unwrap_or_default()),
        (Status::Queued, _) if scoring.is_to_be_grouped(rule) => {
            wait("it waits for others of its group (`group` of its rule)".to_owned())
        }
        (Status::Queued, _) if scoring.due > now => wait(format!("back-off until {}", utc_text(scoring.due))),
        (Status::Queued, Observation::Waiting { reason }) => wait(reason.clone()),
        (Status::Queued, Observation::SlotFree) => on.submit(rule),
        (Status::Staging, Observation::Staged(staging)) => on.staged(staging),

        (Status::Submitting, Observation::Answer(answer)) => on.answered(answer),
        // Whatever was seen, only the owner's answer counts within the lease: a search during the POST finds no job and
        // would conclude that there is none.
        (Status::Submitting, _) if scoring.due > now => {
            wait(format!("its owner holds the lease until {}", utc_text(scoring.due)))
        }
        (Status::Submitting, _) => on.transition(
            Event::OwnerGone,
            format!("no answer was recorded within the lease that ended {}; a job may exist", utc_text(scoring.due)),
            Effect::None,
            |next| next.due = now,
        ),

        (Status::Unknown | Status::Held, Observation::Lost(look)) => on.looked_for(look),
        (Status::Unknown | Status::Held | Status::Verifying, Observation::CannotLook(why)) => on.cannot_look(why),

        (Status::Running | Status::Cancelling, Observation::Job(job)) => on.polled(job),
        // Also while it is stopped: one look that does not find it must not begin an attempt beside it.
        (Status::Running | Status::Cancelling, Observation::JobMissing) => on.missing(),

        (Status::Verifying, Observation::GroupOutput { output, named }) => on.verify_group(output, named.as_deref()),
        (Status::Verifying, Observation::Output { output, sources }) => on.verify(output, sources),
        (Status::Verifying, Observation::Destination(look)) => on.destination(look),
        (Status::Verifying, Observation::PublishAnswered { to, place, answer }) => {
            on.publish_answered((to, place.as_ref()), answer)
        }

        (status, _) if status.is_terminal() => wait(format!("{status} is final")),
        // A running job is not written to because it could not be looked at: that would be a write for each job and
        // tick while Azure ML is down.
        (_, Observation::CannotLook(why)) => wait(why.clone()),
        // An observation that was made for another status: somebody else moved the scoring on meanwhile. Waiting is
        // right, as the next look is made for the status that it has now.
        (status, _) => wait(format!("{status}: nothing to conclude from what was seen")),
    }
}

/// When a running job is told to stop: by the rule as it is now, since nobody who names or adopts a job need know the rule.
/// If the rule is gone, or the job was told already, by what was recorded (`due`).
pub fn stop_at(rule: Option<&Rule>, status: Status, since: OffsetDateTime, due: OffsetDateTime) -> OffsetDateTime {
    rule.filter(|_| status == Status::Running).map_or(due, |rule| since + rule.policy.job_timeout.0)
}

#[cfg(test)]
mod tests;
