//! What keeps scorings that are in flight from going on.

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::{ScoringId, Status};
use time::{Duration, OffsetDateTime};

use super::same_reason::{ByReason, SameReason};
use super::{Finding, FindingInputs, FindingKind, is_denied, one, says, with_orders};
use crate::admission::is_of;
use crate::ledger::{InFlight, InGroup};
use crate::reports::expected::ENOUGH;
use crate::reports::groups::{is_waiting_for_others, waits_in_vain_since};
use crate::reports::text::{counted, shortened};
use crate::stuck;

/// What a later try may cure is told of when it has lasted so long.
const PASSING: Duration = Duration::minutes(10);
/// A queue that moves is told of when somebody has waited for so long.
const LONG_WAIT: Duration = Duration::hours(1);

/// The commands that list those of a status: groups and scorings are listed apart.
fn listed(status: Status, count: usize, groups: usize) -> String {
    let scorings = (count > groups).then(|| format!("scorekeeper list --status {status}"));
    let groups = (groups > 0).then(|| format!("scorekeeper list --groups --status {status}"));
    scorings.into_iter().chain(groups).collect::<Vec<_>>().join(", ")
}

impl FindingInputs<'_> {
    /// What keeps scorings from being sent, or from being looked at.
    pub(super) fn of_errors(&self) -> Vec<Finding> {
        let mut groups = ByReason::new();
        for row in self.in_flight {
            let Some(error) = &row.last_error else { continue };
            let kind = match row.status {
                Status::Queued if row.refusals > 0 && is_denied(error) => FindingKind::Denied,
                Status::Queued if row.refusals > 0 => FindingKind::Refused,
                Status::Unknown | Status::Verifying | Status::Staging if is_denied(error) => FindingKind::Denied,
                Status::Unknown | Status::Verifying => FindingKind::CannotLook,
                Status::Staging => FindingKind::CannotCopy,
                // What is held is told of as that, and a job that is missing too.
                _ => continue,
            };
            // A back-off begins anew with each refusal.
            let since = if matches!(row.status, Status::Queued | Status::Staging) { row.created } else { row.since };
            // A role that is missing does not come by itself, nor a container.
            let is_missing = kind == FindingKind::CannotCopy && says(error, &["404"]);
            if kind == FindingKind::Denied || is_missing || self.now - since > PASSING {
                groups.add_row((kind, row.status), row, error, since);
            }
        }
        let finding = |((kind, status), group): ((FindingKind, Status), SameReason)| {
            let (all, next) = (group.counted(), listed(status, group.count, group.groups));
            let SameReason { count, since, reason, .. } = group;
            let what = match status {
                Status::Queued => "are refused",
                Status::Staging if count == 1 => "waits for copies of its files",
                Status::Staging => "wait for copies of their files",
                _ => "cannot be looked for or at",
            };
            let next = match kind {
                FindingKind::Denied | FindingKind::CannotCopy => "scorekeeper doctor".to_owned(),
                _ => next,
            };
            one(kind, count, Some(since), format!("{all} {what} ({})", shortened(&reason, 160)), &next)
        };
        groups.most_frequent().map(finding).collect()
    }

    pub(super) fn held(&self) -> Vec<Finding> {
        let mut groups = ByReason::new();
        for row in self.in_flight.iter().filter(|row| row.status == Status::Held) {
            groups.add_row((), row, row.last_error.as_deref().unwrap_or("its job was not found"), row.since);
        }
        let finding = |((), held): ((), SameReason)| {
            let (all, why) = (held.counted(), shortened(&held.reason, 160));
            let reason = format!("{all} held, the answer lost and the job not found ({why})");
            let next = listed(Status::Held, held.count, held.groups);
            one(FindingKind::Held, held.count, Some(held.since), reason, &next)
        };
        groups.most_frequent().map(finding).collect()
    }

    /// What operators put on hold: it is easily forgotten.
    pub(super) fn on_hold(&self) -> Vec<Finding> {
        let mut groups = ByReason::new();
        for row in self.in_flight {
            if let Some(order) = &row.on_hold {
                groups.add_row((), row, order, row.on_hold_since.unwrap_or(row.since));
            }
        }
        let finding = |((), held): ((), SameReason)| {
            let all = held.counted();
            let SameReason { same, of, count, groups, since, reason } = held;
            let reason = format!("{all} {}", shortened(&reason, 160));
            let mut finding =
                with_orders(one(FindingKind::OnHold, count, Some(since), reason, ""), &same, of, &["release"]);
            // Whoever orders something of a group orders it of all its members.
            if count == 1 && groups == 1 {
                finding.next.push_str(" --yes");
            }
            finding
        };
        groups.most_frequent().map(finding).collect()
    }

    /// By phase: a hard limit for what lasts minutes, and for a running job three times what nineteen of twenty of its rule take.
    pub(super) fn stuck(&self) -> Vec<Finding> {
        let mut phases: BTreeMap<Status, (usize, usize, OffsetDateTime)> = BTreeMap::new();
        for row in self.in_flight {
            let slow = row.status == Status::Running
                && stuck::is_slow(self.ended.usual_time(&row.rule, ENOUGH), row.since, self.now);
            // Whoever waits for others may, for as long as its rule lets it.
            let others = is_waiting_for_others(self.controls, row).then_some(row.created);
            let others = others.and_then(|created| waits_in_vain_since(self.controls, &row.rule, created));
            let since = others.map_or(row.since, |over| over.max(row.since));
            if slow || row.on_hold.is_none() && stuck::is_stuck(row.status, since, self.now) {
                let (count, groups, since) = phases.entry(row.status).or_insert((0, 0, row.since));
                *count += 1;
                *groups += usize::from(row.is_group());
                *since = row.since.min(*since);
            }
        }
        let finding = |(status, (count, groups, since)): (Status, (usize, usize, OffsetDateTime))| {
            let why = match status {
                Status::Running => "for more than three times what their rule's jobs usually take",
                Status::Queued => "for more than a day",
                _ => "for more than an hour, in a status that lasts minutes",
            };
            let reason = format!("{} stuck {status}, {why}", counted(count, groups));
            one(FindingKind::Stuck, count, Some(since), reason, &listed(status, count, groups))
        };
        phases.into_iter().map(finding).collect()
    }

    pub(super) fn missing(&self) -> Option<Finding> {
        let missing: Vec<&InFlight> = self.in_flight.iter().filter(|row| row.missing).collect();
        let since = missing.iter().map(|row| row.since).min()?;
        let groups = missing.iter().filter(|row| row.is_group()).count();
        let reason = format!("{} whose job cannot be found", counted(missing.len(), groups));
        let next = listed(Status::Running, missing.len(), groups);
        Some(one(FindingKind::JobMissing, missing.len(), Some(since), reason, &next))
    }

    /// A breaker that nobody waits for any more is not a finding.
    pub(super) fn of_breakers(&self) -> impl Iterator<Item = Finding> {
        let groups: BTreeSet<&ScoringId> =
            self.in_flight.iter().filter(|row| row.is_group()).map(|row| &row.id).collect();
        // A member whose group has failed waits for it to be split, which an open breaker forbids.
        let waits = move |row: &InFlight| match &row.group {
            Some(InGroup::Member(group)) => row.status == Status::Grouped && !groups.contains(group),
            _ => row.status == Status::Queued && !is_waiting_for_others(self.controls, row),
        };
        self.breakers.iter().filter(|view| view.is_open()).filter_map(move |view| {
            let rows = || self.in_flight.iter().filter(|row| waits(row) && is_of(row, &view.of));
            let (waiting, groups) = (rows().count(), rows().filter(|row| row.is_group()).count());
            let all = counted(waiting, groups);
            let reason = format!("{all} wait for {}: circuit breaker {}", view.subject(), view.summary());
            (waiting > 0).then(|| one(FindingKind::BreakerOpen, waiting, view.failed_time, reason, &view.remedy()))
        })
    }

    pub(super) fn of_limits(&self) -> impl Iterator<Item = Finding> {
        self.limits.iter().filter_map(|view| {
            let of_it = |row: &&InFlight| {
                row.status == Status::Queued
                    && !is_waiting_for_others(self.controls, row)
                    && if view.kind == "rule" { *row.rule == *view.name } else { *row.endpoint == *view.name }
            };
            let next = match view.set_time {
                Some(_) => format!("scorekeeper resume {} --reason …", view.name),
                None => format!("scorekeeper limit --{} {} N --reason …", view.kind, view.name),
            };
            let waits = usize::try_from(view.waiting).unwrap_or(usize::MAX);
            let oldest = self.in_flight.iter().filter(of_it).map(|row| row.created).min();
            if view.limit == Some(0) {
                // An operator's pause is told of before somebody waits for it: it is easily forgotten.
                let told = view.set_time.is_some() || waits > 0;
                let reason = format!("{} {} is paused, {}", view.kind, view.name, view.waits_text());
                // Of a pause by the rules the first that waits for it tells.
                return told.then(|| one(FindingKind::Paused, waits, view.set_time.or(oldest), reason, &next));
            }
            let oldest = oldest.filter(|at| waits > 0 && view.limit.is_some() && self.now - *at > LONG_WAIT)?;
            let reason = format!("{} {}: {}", view.kind, view.name, view.summary());
            Some(one(FindingKind::LimitReached, waits, Some(oldest), reason, "scorekeeper limit"))
        })
    }
}
