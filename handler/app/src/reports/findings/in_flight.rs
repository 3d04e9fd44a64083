//! What keeps scorings that are in flight from going on.

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::{ScoringId, Status};
use time::{Duration, OffsetDateTime};

use super::same_reason::{ByReason, SameReason};
use super::{Finding, FindingKind, Seen, is_denied, one, says, with_orders};
use crate::admission::is_of;
use crate::ledger::{InFlight, InGroup};
use crate::reports::expected::ENOUGH;
use crate::reports::text::shortened;
use crate::stuck;

/// What a later try may cure is told of when it has lasted so long.
const PASSING: Duration = Duration::minutes(10);
/// A queue that moves is told of when somebody has waited for so long.
const LONG_WAIT: Duration = Duration::hours(1);

impl Seen<'_> {
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
                groups.add((kind, row.status), row.id.as_str(), error, since);
            }
        }
        let finding = |((kind, status), group): ((FindingKind, Status), SameReason)| {
            let SameReason { count, since, reason, .. } = group;
            let what = match status {
                Status::Queued => "are refused",
                Status::Staging if count == 1 => "group waits for copies of its files",
                Status::Staging => "groups wait for copies of their files",
                _ => "cannot be looked for or at",
            };
            let next = match kind {
                FindingKind::Denied | FindingKind::CannotCopy => "scorekeeper doctor".to_owned(),
                _ => format!("scorekeeper list --status {status}"),
            };
            one(kind, count, Some(since), format!("{count} {what} ({})", shortened(&reason, 160)), &next)
        };
        groups.most_frequent().map(finding).collect()
    }

    pub(super) fn held(&self) -> Vec<Finding> {
        let mut groups = ByReason::new();
        for row in self.in_flight.iter().filter(|row| row.status == Status::Held) {
            groups.add((), row.id.as_str(), row.last_error.as_deref().unwrap_or("its job was not found"), row.since);
        }
        let finding = |((), SameReason { count, since, reason, .. }): ((), SameReason)| {
            let reason = format!("{count} held, the answer lost and the job not found ({})", shortened(&reason, 160));
            one(FindingKind::Held, count, Some(since), reason, "scorekeeper list --status held")
        };
        groups.most_frequent().map(finding).collect()
    }

    /// What operators put on hold: it is easily forgotten.
    pub(super) fn on_hold(&self) -> Vec<Finding> {
        let mut groups = ByReason::new();
        let rows = self.in_flight.iter().filter(|row| row.is_group() && row.on_hold.is_some());
        // Whoever orders something of a group orders it of all its members.
        let groups_on_hold: Vec<&str> = rows.map(|row| row.id.as_str()).collect();
        for row in self.in_flight {
            if let Some(order) = &row.on_hold {
                groups.add((), row.id.as_str(), order, row.on_hold_since.unwrap_or(row.since));
            }
        }
        let finding = |((), SameReason { same, of, count, since, reason }): ((), SameReason)| {
            let reason = format!("{count} {}", shortened(&reason, 160));
            let is_asked = of.len() == 1 && groups_on_hold.contains(&of[0].as_str());
            let mut finding =
                with_orders(one(FindingKind::OnHold, count, Some(since), reason, ""), &same, of, &["release"]);
            if is_asked {
                finding.next.push_str(" --yes");
            }
            finding
        };
        groups.most_frequent().map(finding).collect()
    }

    /// By phase: a hard limit for what lasts minutes, and for a running job three times what nineteen of twenty of its rule take.
    pub(super) fn stuck(&self) -> Vec<Finding> {
        let mut phases: BTreeMap<Status, (usize, OffsetDateTime)> = BTreeMap::new();
        for row in self.in_flight {
            let slow = row.status == Status::Running
                && stuck::is_slow(self.ended.usual_time(&row.rule, ENOUGH), row.since, self.now);
            let waits = row.on_hold.is_none();
            if slow || waits && stuck::is_stuck(row.status, row.since, self.now) {
                let phase = phases.entry(row.status).or_insert((0, row.since));
                *phase = (phase.0 + 1, phase.1.min(row.since));
            }
        }
        let finding = |(status, (count, since)): (Status, (usize, OffsetDateTime))| {
            let why = match status {
                Status::Running => "for more than three times what their rule's jobs usually take",
                Status::Queued => "for more than a day",
                _ => "for more than an hour, in a status that lasts minutes",
            };
            let next = format!("scorekeeper list --status {status}");
            one(FindingKind::Stuck, count, Some(since), format!("{count} stuck {status}, {why}"), &next)
        };
        phases.into_iter().map(finding).collect()
    }

    pub(super) fn missing(&self) -> Option<Finding> {
        let missing: Vec<&InFlight> = self.in_flight.iter().filter(|row| row.missing).collect();
        let since = missing.iter().map(|row| row.since).min()?;
        let reason = format!("{} whose job cannot be found", missing.len());
        let next = "scorekeeper list --status running";
        Some(one(FindingKind::JobMissing, missing.len(), Some(since), reason, next))
    }

    /// A breaker that nobody waits for any more is not a finding.
    pub(super) fn of_breakers(&self) -> impl Iterator<Item = Finding> {
        let groups: BTreeSet<&ScoringId> =
            self.in_flight.iter().filter(|row| row.is_group()).map(|row| &row.id).collect();
        // A member whose group has failed waits for it to be split, which an open breaker forbids.
        let waits = move |row: &InFlight| match &row.group {
            Some(InGroup::Member(group)) => row.status == Status::Grouped && !groups.contains(group),
            _ => row.status == Status::Queued,
        };
        self.breakers.iter().filter(|view| view.is_open()).filter_map(move |view| {
            let waiting = self.in_flight.iter().filter(|row| waits(row) && is_of(row, &view.of)).count();
            let reason = format!("{waiting} wait for {}: circuit breaker {}", view.subject(), view.summary());
            (waiting > 0).then(|| one(FindingKind::BreakerOpen, waiting, view.failed_time, reason, &view.remedy()))
        })
    }

    pub(super) fn of_limits(&self) -> impl Iterator<Item = Finding> {
        self.limits.iter().filter_map(|view| {
            let of_it = |row: &&InFlight| {
                row.status == Status::Queued
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
                let reason = format!("{} {} is paused, {waits} wait", view.kind, view.name);
                // Of a pause by the rules the first that waits for it tells.
                return told.then(|| one(FindingKind::Paused, waits, view.set_time.or(oldest), reason, &next));
            }
            let oldest = oldest.filter(|at| waits > 0 && view.limit.is_some() && self.now - *at > LONG_WAIT)?;
            let reason = format!("{} {}: {}", view.kind, view.name, view.summary());
            Some(one(FindingKind::LimitReached, waits, Some(oldest), reason, "scorekeeper limit"))
        })
    }
}
