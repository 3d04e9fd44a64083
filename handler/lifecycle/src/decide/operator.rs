//! What an operator orders of a scoring. Each order is one move with who ordered it and why, or nothing: what cannot be done now is
//! answered with the reason.

use super::attempt::close_attempt;
use super::observation::{Order, Verb};
use super::step::{DecideContext, Effect, Step, wait};
use crate::group::{Grouping, of_cancelled_members, of_members};
use crate::scoring::Scoring;
use crate::status::{Event, Status};

impl DecideContext<'_> {
    pub(super) fn ordered(&self, order: &Order) -> Step {
        if let Some(step) = self.refused_by_group(order.verb).or_else(|| self.refused_by_member(order.verb)) {
            return step;
        }
        match order.verb {
            Verb::Retry => self.retry(order),
            Verb::Cancel => self.cancel(order),
            Verb::Acknowledge => self.acknowledge(order),
            Verb::Skip => self.skip(order),
            Verb::Hold => self.hold(order),
            Verb::Release => self.release(order),
            Verb::Expedite => self.expedite(order),
            Verb::Publish => self.publish(order),
        }
    }

    /// Why a group does not take an order; `None`: it is none, or it takes it.
    ///
    /// Until it ends there is one job, or one to be made, of all members: that can be put off, hastened and stopped, and whoever gives
    /// the order is asked first, see [`Scoring::members_ordered`]. Once it has ended each member has an end of its own, so that orders
    /// are given of these. A job that it did not need is the group's alone.
    fn refused_by_group(&self, verb: Verb) -> Option<Step> {
        let status = self.scoring.status;
        let why = match verb {
            _ if !self.scoring.is_group() => return None,
            Verb::Acknowledge if self.scoring.orphaned_job_count > 0 => return None,
            Verb::Acknowledge => "it is a group without an orphaned job, and failures are its members'".to_owned(),
            Verb::Publish => "it is a group, whose rule publishes nothing".to_owned(),
            // Its members take no such order, but what they go on in does: what is told of these must not lead back here.
            Verb::Hold | Verb::Release | Verb::Expedite | Verb::Retry if self.scoring.splits() => {
                return Some(wait(self.goes_on_in_halves(verb)));
            }
            _ if status.is_terminal() => format!("it is a group, and {status} already"),
            _ => return None,
        };
        let of_members = if verb == Verb::Retry && status == Status::Cancelled {
            of_cancelled_members(&self.scoring.id)
        } else {
            of_members(&self.scoring.id, verb.command())
        };
        Some(wait(if verb == Verb::Publish { why } else { format!("{why}; {of_members}") }))
    }

    /// What to order in place of what a failed group does not take, whose halves take it, or its files once they have failed.
    fn goes_on_in_halves(&self, verb: Verb) -> String {
        let (id, word) = (&self.scoring.id, verb.command());
        let of_halves = match verb {
            Verb::Retry => format!("{} as far as they have failed in these", of_members(id, word)),
            _ => format!("each half takes `scorekeeper {word}` while it is queued"),
        };
        format!(
            "it is a group, and failed already; its files go on in its halves, which are made while no circuit breaker is open (`scorekeeper breaker` shows it, and closes it) and which `scorekeeper show {id}` names; {of_halves}"
        )
    }

    /// Why a member does not take an order that is one of its group's job; `None`: it is none, or it takes it.
    fn refused_by_member(&self, verb: Verb) -> Option<Step> {
        let group = self.scoring.member_of().filter(|_| self.scoring.status == Status::Grouped)?;
        let word = verb.command();
        let is_groups = matches!(verb, Verb::Retry | Verb::Hold | Verb::Release | Verb::Expedite);
        let why = || {
            format!(
                "it goes with group {group}: as long as that one's job is not sent, `scorekeeper {word} {group}` orders it of all members, and tells what to do if it has failed"
            )
        };
        is_groups.then(|| wait(why()))
    }

    /// Tried again: from its end with an attempt of its own, from its back-off at once.
    fn retry(&self, order: &Order) -> Step {
        let (status, now) = (self.scoring.status, self.now);
        match status {
            Status::Queued if self.scoring.on_hold.is_some() => self.is_on_hold(),
            Status::Queued | Status::Staging if self.is_put_off() => {
                let reason = format!("{order}: its back-off ends");
                self.transition(Event::Retried, reason, Effect::None, |next| {
                    next.due = now;
                    next.refusals = 0;
                })
            }
            Status::Failed | Status::Cancelled | Status::Gone => {
                let reason = format!("{order}: queued again for a further attempt");
                self.transition(Event::Retried, reason, Effect::None, |next| {
                    // A path of its own, and what an earlier request may still make is an orphaned job.
                    close_attempt(next);
                    (next.error, next.failure) = (None, None);
                    next.refusals = 0;
                    next.stop_ordered = false;
                    next.due = now;
                })
            }
            Status::Queued => wait("it is queued already, and nothing but its turn holds it back".to_owned()),
            Status::Scored => {
                wait("it is scored; what is to be scored once more takes a generation of its own".to_owned())
            }
            Status::Superseded => wait("another version of its path is scored in its place".to_owned()),
            Status::Held => wait("it is held; `scorekeeper resolve` says how it goes on".to_owned()),
            Status::Grouped
            | Status::Staging
            | Status::Submitting
            | Status::Unknown
            | Status::Running
            | Status::Cancelling
            | Status::Verifying => wait(format!("it is {status}: an attempt is under way")),
        }
    }

    /// Its verified result is published after all: from its end as its rule says now, from its back-off at once. What was verified is
    /// copied and nothing else, and by the order of results as ever.
    fn publish(&self, order: &Order) -> Step {
        let (status, now) = (self.scoring.status, self.now);
        let mut publishing = match (status, &self.scoring.publishing) {
            (Status::Scored, None) => {
                return wait(
                    "its rule published nothing of it when it was scored; `scorekeeper rescore` scores it again"
                        .to_owned(),
                );
            }
            (Status::Scored, Some(publishing)) if publishing.can_be_ordered() => {
                publishing.ordered(self.scoring.completed.unwrap_or(self.scoring.since))
            }
            (Status::Scored, Some(publishing)) => {
                return wait(format!("there is nothing left to be published of it: {}", publishing.told()));
            }
            (Status::Verifying, Some(_)) if !self.is_put_off() => {
                return wait("it is being published already".to_owned());
            }
            (Status::Verifying, Some(publishing)) => publishing.clone(),
            _ => return wait(format!("only what is scored has a verified result, and this one is {status}")),
        };
        publishing.since = now;
        let so = if status == Status::Scored { "the next reconcile run goes by its rule" } else { "its back-off ends" };
        self.transition(Event::PublishOrdered, format!("{order}: {so}"), Effect::None, |next| {
            next.refusals = 0;
            next.due = now;
            next.publishing = Some(publishing);
        })
    }

    /// Not to be scored, where no job of it runs: safe to order of many.
    fn skip(&self, order: &Order) -> Step {
        match self.scoring.status {
            Status::Running | Status::Cancelling => wait(format!(
                "a job of it runs, which is left alone; `scorekeeper cancel {}` stops it",
                self.scoring.id
            )),
            Status::Failed => wait("it is failed; `scorekeeper ack` says that it was seen".to_owned()),
            // What is queued or held ends; of all else a cancellation says why not.
            _ => self.cancel(order),
        }
    }

    fn hold(&self, order: &Order) -> Step {
        match (self.scoring.status, &self.scoring.on_hold) {
            (Status::Queued, None) => {
                let reason = format!("{order}: not sent before it is released");
                self.transition(Event::PutOnHold, reason, Effect::None, |next| {
                    next.on_hold = Some(order.to_string());
                    next.expedited = false;
                })
            }
            (Status::Queued, Some(_)) => self.is_on_hold(),
            (status, _) => wait(format!("only what is queued can be put on hold, and this one is {status}")),
        }
    }

    fn release(&self, order: &Order) -> Step {
        match (self.scoring.status, &self.scoring.on_hold) {
            (Status::Queued, Some(_)) => {
                let reason = format!("{order}: it waits for its turn");
                self.transition(Event::Released, reason, Effect::None, |next| next.on_hold = None)
            }
            (Status::Held, _) => {
                wait("it is held for its lost answer; `scorekeeper resolve` says how it goes on".to_owned())
            }
            _ => wait("it is not on hold".to_owned()),
        }
    }

    fn expedite(&self, order: &Order) -> Step {
        match self.scoring.status {
            Status::Queued if self.scoring.on_hold.is_some() => self.is_on_hold(),
            Status::Queued if self.scoring.expedited && !self.is_put_off() => {
                wait("it is expedited already".to_owned())
            }
            Status::Queued => {
                let reason = format!("{order}: it goes before all others of its endpoint");
                self.transition(Event::Expedited, reason, Effect::None, |next| {
                    if next.waits_for_group() {
                        next.grouping = Some(Box::new(Grouping::Alone("an operator wants it first".to_owned())));
                    }
                    next.expedited = true;
                    next.due = self.now;
                })
            }
            status => wait(format!("only what is queued can be expedited, and this one is {status}")),
        }
    }

    /// Whether it waits for a time. What was due by the clock of whoever wrote it last is due by any: an order that another process,
    /// whose clock is ahead, has done is not done again.
    fn is_put_off(&self) -> bool {
        self.scoring.due > self.now.max(self.scoring.updated)
    }

    fn is_on_hold(&self) -> Step {
        let order = self.scoring.on_hold.as_deref().unwrap_or_default();
        wait(format!("it was {order}; `scorekeeper release` lets it go"))
    }

    /// Not to be scored any more. What has a job is final once that has stopped.
    fn cancel(&self, order: &Order) -> Step {
        match self.scoring.status {
            Status::Queued if self.scoring.attempt == 0 => self.withdraw(order, "nothing was sent for it"),
            Status::Grouped => self.withdraw(order, "its group goes on with the others"),
            Status::Staging => self.withdraw(order, "nothing was sent for it"),
            Status::Queued => self.withdraw(order, "no attempt of it is under way; a job that appears late is stopped"),
            // As when it is given up: a job of it that appears later is an orphaned one, and is stopped then.
            Status::Held => {
                self.withdraw(order, "whether a job of it exists is not known; one that appears is stopped")
            }
            Status::Running | Status::Cancelling if self.scoring.stop_ordered => {
                wait("it is told to stop already; Azure ML takes minutes for that".to_owned())
            }
            Status::Running | Status::Cancelling => {
                let jobs = self.scoring.job.iter().cloned().collect();
                let reason = format!("{order}: the job is told to stop");
                self.transition(Event::StopOrdered, reason, Effect::Cancel(jobs), |next| {
                    next.stop_ordered = true;
                    next.error = Some(order.to_string());
                    // Whoever has the ledger alone tells nobody to stop: the next look at the job does.
                    next.due = self.now;
                })
            }
            // Its owner's answer is on its way, or it is looked for: a job that nobody knows of cannot be told to stop, and would
            // run beside its slot.
            Status::Submitting | Status::Unknown => {
                wait("whether its request made a job is being found out; cancel it once it runs or is held".to_owned())
            }
            Status::Verifying if self.scoring.publishing.is_some() => {
                wait("its output is good and is being published; what is written already would stay".to_owned())
            }
            Status::Verifying => wait("its job has ended; its output is being looked at".to_owned()),
            status => wait(format!("{status} is final")),
        }
    }

    fn withdraw(&self, order: &Order, so: &str) -> Step {
        self.transition(Event::Withdrawn, format!("{order}: {so}"), Effect::None, |next| {
            next.error = Some(order.to_string());
        })
    }

    /// It was seen by a person, and needs no further attention.
    fn acknowledge(&self, order: &Order) -> Step {
        if !self.scoring.needs_acknowledgement() {
            if let Some(publishing) = self.scoring.publishing.as_ref().filter(|all| all.next().is_some()) {
                return wait(publishing.told());
            }
            return wait(
                "it did not fail, has no orphaned job and is published where it should be, or that is acknowledged"
                    .to_owned(),
            );
        }
        self.transition(Event::Acknowledged, order.to_string(), Effect::None, |next| {
            next.acknowledged = Some(self.now);
            // That it was seen changes nothing of what keeps it waiting.
            next.last_error.clone_from(&self.scoring.last_error);
        })
    }

    /// What an attempt that ended badly comes to after an operator has ordered it to stop.
    pub(super) fn stopped_as_ordered(&self, error: &str, note_end: impl FnOnce(&mut Scoring)) -> Step {
        let ordered = self.scoring.error.as_deref().unwrap_or("an operator ordered it to stop");
        self.transition(Event::JobCancelled, format!("{error}; {ordered}"), Effect::None, note_end)
    }
}
