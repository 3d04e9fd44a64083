//! What is wrong with the installation: its runs, its rules, what it sweeps, and what it cannot read.

use lifecycle::schedule::is_ahead;
use time::{Duration, OffsetDateTime};

use super::same_reason::{ByReason, SameReason};
use super::{Finding, FindingInputs, FindingKind, MAX_OF_KIND, is_denied, one, with_orders};
use crate::ledger::RulesProblem;
use crate::reports::pending::PendingView;
use crate::reports::sweeps::SweepView;
use crate::reports::text::{duration_text, shortened, utc_text};

/// A reconcile run takes ten minutes at most, and comes every minute.
const RUN_OVERDUE_AFTER: Duration = Duration::minutes(10);
/// Tries in a row after which what a later one may cure is told of.
const PASSING_TRIES: u32 = 5;

impl FindingInputs<'_> {
    /// Whether there is a ledger, and whether its timer lives.
    pub(super) fn of_runs(&self) -> Option<Finding> {
        if !self.has_ledger {
            let reason = format!(
                "there is no ledger under the task hub {}: nothing was ever deployed with it, or --task-hub or --ledger is mistyped",
                self.task_hub
            );
            return Some(one(FindingKind::NoLedger, 1, None, reason, "scorekeeper config"));
        }
        let next = "scorekeeper doctor";
        let last = self.runs.complete.as_ref().map(|heartbeat| heartbeat.at);
        if let Some(last) = last.filter(|at| is_ahead(*at, self.now)) {
            let reason = format!(
                "the last reconcile run lies in the future ({} UTC): the clock of the app, or of this machine, is wrong or was",
                utc_text(last)
            );
            return Some(one(FindingKind::RunAhead, 1, None, reason, next));
        }
        let is_long = |since: &OffsetDateTime| self.now - *since > RUN_OVERDUE_AFTER;
        let unfinished = self.runs.unfinished();
        let waits = self.in_flight.iter().map(|row| row.created).chain(self.pending.iter().map(|view| view.since));
        let since = last.or_else(|| waits.chain(unfinished.map(|run| run.first)).min()).filter(is_long)?;
        // A long one, as the first may be, is no sign of a dead timer; nor is one that ends as often as it begins.
        if self.runs.running(self.now).is_some_and(|run| !is_long(&run.first)) {
            return None;
        }
        let begun = unfinished.map_or(String::new(), |run| {
            let (count, last) = (run.count, utc_text(run.at));
            format!("; {count} began since then and were not completed, the last one at {last} UTC")
        });
        let reason = match last {
            Some(_) => format!("no reconcile run has ended{begun}"),
            None if begun.is_empty() => "no reconcile run has ever ended, though there is something to do".to_owned(),
            None => format!("no reconcile run has ever ended{begun}"),
        };
        Some(one(FindingKind::RunOverdue, 1, Some(since), reason, next))
    }

    /// Whether the rules can be used. A problem that lasts is recorded each minute; whoever had an older one is gone.
    pub(super) fn of_rules(&self) -> Option<Finding> {
        let RulesProblem { blob, text, kept, since, at } = self.rules.as_ref()?;
        if self.now - *at > RUN_OVERDUE_AFTER {
            return None;
        }
        let meanwhile = match kept {
            Some(etag) => format!("those of ETag {etag} are kept"),
            None => "every invocation is refused, and events are delivered again".to_owned(),
        };
        let next = format!("scorekeeper rules check {blob}");
        Some(one(FindingKind::RulesUnusable, 1, Some(*since), format!("{text}; {meanwhile}"), &next))
    }

    pub(super) fn of_events(&self) -> Option<Finding> {
        let (last, within) = (self.events.0, self.events.1?);
        if !self.has_ledger || last.is_some_and(|last| self.now - last <= within) {
            return None;
        }
        let reason = format!("no upload was received for longer than {}", duration_text(within));
        Some(one(FindingKind::EventsOverdue, 1, last, reason, "scorekeeper doctor"))
    }

    /// Whether what no event told of would be found.
    pub(super) fn of_sweeps(&self) -> Vec<Finding> {
        let next = "scorekeeper doctor";
        let mut all = Vec::new();
        if let [first, more @ ..] = &*self.not_swept.rules {
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            let reason = format!(
                "rule {first}{more} is not swept: it names no `match.account`, and SCOREKEEPER_WATCHED_ACCOUNTS none; what no event tells of is not found"
            );
            let count = self.not_swept.rules.len();
            all.push(one(FindingKind::NotSwept, count, self.not_swept.since, reason, "scorekeeper config"));
        }
        for view in self.sweeps {
            let SweepView { rule, place, failures, .. } = view;
            let is_told = |why: &&str| is_denied(why) || *failures >= PASSING_TRIES || view.unaccounted > 0;
            let failure = view.failure.as_deref().filter(is_told);
            if let Some(why) = failure {
                let left = Some(view.unaccounted).filter(|count| *count > 0);
                let left =
                    left.map(|count| format!("; {count} versions there are unaccounted for")).unwrap_or_default();
                let reason = format!("{place} cannot be swept under rule {rule} ({}){left}", shortened(why, 160));
                all.push(one(FindingKind::CannotSweep, 1, Some(view.ended.unwrap_or(view.since)), reason, next));
            } else if let Some(since) = view.overdue_since {
                let reason = format!(
                    "{place} is not swept under rule {rule}: the function Sweep does not run, or has no time for it"
                );
                all.push(one(FindingKind::SweepOverdue, 1, Some(since), reason, next));
            }
        }
        all.truncate(MAX_OF_KIND);
        all
    }

    /// Whether something lies where Event Grid gives up.
    pub(super) fn of_dead_letters(&self) -> Vec<Finding> {
        let Some(seen) = self.dead_letters else { return Vec::new() };
        let found = |count: u64, what: &str, next: &str| {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let reason = format!("{count} dead letters of Event Grid lie in {}{what}", seen.place);
            one(FindingKind::DeadLetters, count, Some(seen.since), reason, next)
        };
        let mut all = Vec::new();
        if seen.left > 0 || seen.failure.is_some() {
            let why = seen.failure.as_deref().map(|why| format!(" ({})", shortened(why, 160))).unwrap_or_default();
            let what = format!(" and could not be taken in{why}");
            all.push(found(seen.left, &what, "scorekeeper doctor"));
        }
        if seen.too_old > 0 {
            let what = " and are older than what the ledger remembers: what they tell of may have been scored";
            all.push(found(seen.too_old, what, "scorekeeper dead-letters --too-old"));
        }
        all
    }

    /// What cannot be read: rows, blobs, events.
    pub(super) fn unread(&self) -> Vec<Finding> {
        let mut all = Vec::new();
        if let (count, Some(first)) = &self.unreadable {
            let (rows, them) = if *count == 1 { ("row", "it") } else { ("rows", "them") };
            let reason = format!(
                "{count} {rows} of the ledger cannot be read, so that nothing is done for {them}, the first is {first}"
            );
            all.push(one(FindingKind::Unreadable, *count, None, reason, "scorekeeper list"));
        }
        let failed: Vec<&PendingView> = self.pending.iter().filter(|view| view.look_failed).collect();
        if let Some(first) = failed.first() {
            let uploads = if failed.len() == 1 { "upload" } else { "uploads" };
            let reason = format!("{} {uploads} cannot be looked at ({})", failed.len(), first.reason);
            let next = "scorekeeper list --pending";
            all.push(one(FindingKind::NotSeen, failed.len(), Some(first.since), reason, next));
        }
        let mut groups = ByReason::new();
        for event in self.quarantined {
            groups.add((), &event.key, &event.reason, event.at);
        }
        all.extend(groups.most_frequent().map(|((), SameReason { same, of, count, since, reason, .. })| {
            let events = if count == 1 { "event" } else { "events" };
            let reason = format!("{count} {events} quarantined in the last 24 h, because {}", shortened(&reason, 200));
            let finding = one(FindingKind::Quarantined, count, Some(since), reason, "");
            let mut finding = with_orders(finding, &same, of, &["ack"]);
            finding.next = format!("scorekeeper list --quarantined, then {}", finding.next);
            finding
        }));
        all
    }
}
