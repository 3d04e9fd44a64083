//! What a scoring is in groups: a group, a member, or one that waits for others.

use crate::decide::Verb;
use crate::failure::FailureCause;
use crate::group::{Group, Grouping};
use crate::id::ScoringId;
use crate::rule::Rule;
use crate::scoring::{Scoring, StartOf};
use crate::status::Status;

impl Scoring {
    /// The group that it is, if it is one.
    pub fn group(&self) -> Option<&Group> {
        match self.grouping.as_deref() {
            Some(Grouping::Group(group)) => Some(group),
            _ => None,
        }
    }

    /// It is no scoring of a blob but a group.
    pub fn is_group(&self) -> bool {
        self.group().is_some()
    }

    /// The group that it is a member of.
    pub fn member_of(&self) -> Option<&ScoringId> {
        match self.grouping.as_deref() {
            Some(Grouping::Member(group)) => Some(group),
            _ => None,
        }
    }

    /// Why it is scored alone, though its rule groups: it left its group, or was never to be in one. `None`: it is not.
    pub fn alone(&self) -> Option<&str> {
        match self.grouping.as_deref() {
            Some(Grouping::Alone(why)) => Some(why),
            _ => None,
        }
    }

    /// How many members an order of it would be one of, if it is a group: who gives it names one id and means that many scorings, so
    /// that they are asked as of several. `None`: it concerns nobody else.
    pub fn members_ordered(&self, verb: Verb) -> Option<usize> {
        (verb != Verb::Acknowledge).then(|| self.group().map(|group| group.members.len()))?
    }

    /// What it was a member of has ended: it waits for another group.
    pub(crate) fn leave_ended_group(&mut self) {
        if self.member_of().is_some() {
            self.grouping = Some(Box::new(Grouping::Waits));
        }
    }

    /// Notes what somebody said who started it. With values for parameters it goes alone: a job over several files has one for all.
    pub fn note_start(&mut self, start: Option<Box<StartOf>>) {
        if self.waits_for_group() && start.as_ref().is_some_and(|start| !start.parameters.is_empty()) {
            self.grouping = Some(Box::new(Grouping::Alone("values for parameters were given for it alone".to_owned())));
        }
        self.start = start;
    }

    /// It waits until a group is made of it and others.
    pub fn waits_for_group(&self) -> bool {
        matches!(self.grouping.as_deref(), Some(Grouping::Waits))
    }

    /// The same, as long as its rule says so: taken out of groups, what waits goes as any other does.
    pub fn is_to_be_grouped(&self, rule: Option<&Rule>) -> bool {
        self.waits_for_group() && rule.is_none_or(|rule| rule.group.is_some())
    }

    /// It failed as a group of several, and its halves are tried: one of its files may have failed the job. So may the platform have,
    /// or a right that is missing, which is believed for as long as an attempt is left: an error of memory reads the same whether the
    /// node or one file has too little of it, and a file may hold the words of any error. Without a job nothing was read, and no half
    /// would tell more.
    pub fn splits(&self) -> bool {
        let by = |cause| self.splits_at_once(cause) || self.splits_at_last(cause);
        self.status == Status::Failed && self.failure.is_some_and(by)
    }

    /// Its halves are tried after one failed job, as to repeat the whole before would only cost: the code's or the data's failure comes
    /// again, and what nobody recognises is tried again in the halves. What is the platform's, or a right's, may pass.
    pub(crate) fn splits_at_once(&self, cause: FailureCause) -> bool {
        matches!(cause, FailureCause::UserCode | FailureCause::Input | FailureCause::Unknown) && self.has_several()
    }

    /// Its halves are tried once no attempt is left of the whole.
    pub(crate) fn splits_at_last(&self, cause: FailureCause) -> bool {
        matches!(cause, FailureCause::Platform | FailureCause::Access) && self.has_several() && self.job.is_some()
    }

    /// Sealed with several, though one alone was copied in time: the copy of one that left may have come late, and have failed the job.
    fn has_several(&self) -> bool {
        self.group().is_some_and(|group| group.members.len() > 1)
    }
}
