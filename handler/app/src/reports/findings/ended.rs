//! What ended so that a person has to see to it.

use lifecycle::{FailureCause, RuleId, Status, failure};

use super::same_reason::{ByReason, SameReason};
use super::{Finding, FindingInputs, FindingKind, one, with_orders};
use crate::ledger::Unacknowledged;
use crate::reports::text::{counted, shortened};

impl FindingInputs<'_> {
    pub(super) fn failed(&self) -> Vec<Finding> {
        let mut groups = ByReason::new();
        for row in self.unacknowledged.iter().filter(|row| row.is_failed_scoring()) {
            groups.add(
                (row.rule.clone(), row.failure),
                row.id.as_str(),
                row.error.as_deref().unwrap_or("no reason is known"),
                row.since,
            );
        }
        let finding = |((rule, cause), group): ((RuleId, Option<FailureCause>), SameReason)| {
            let SameReason { same, of, count, since, reason, .. } = group;
            let group = format!("{rule} {cause:?} {same}");
            let remedy = cause.and_then(|cause| failure::remedy(cause, &reason));
            let remedy = remedy.map(|remedy| format!("; remedy: {remedy}")).unwrap_or_default();
            let cause = cause.map(|cause| format!("{}: ", cause.name())).unwrap_or_default();
            let reason = format!("{count} failed under rule {rule} ({cause}{}{remedy})", shortened(&reason, 160));
            with_orders(one(FindingKind::Failed, count, Some(since), reason, ""), &group, of, &["retry", "ack"])
        };
        groups.most_frequent().map(finding).collect()
    }

    pub(super) fn not_published(&self) -> Vec<Finding> {
        let mut groups = ByReason::new();
        for row in self.unacknowledged.iter().filter(|row| row.status == Status::Scored) {
            if let Some(why) = &row.not_published {
                groups.add((row.rule.clone(), row.can_be_published), row.id.as_str(), why, row.since);
            }
        }
        let finding =
            |((rule, can), SameReason { same, of, count, since, reason, .. }): ((RuleId, bool), SameReason)| {
                let first = of.first().cloned().unwrap_or_default();
                let what = format!("{count} scored under rule {rule} and not published ({})", shortened(&reason, 200));
                let finding = one(FindingKind::NotPublished, count, Some(since), what, "");
                let mut finding = with_orders(
                    finding,
                    &format!("{rule} {same}"),
                    of,
                    &[if can { "publish" } else { "rescore" }, "ack"],
                );
                finding.next = format!("scorekeeper show {first}, then {}", finding.next);
                finding
            };
        groups.most_frequent().map(finding).collect()
    }

    pub(super) fn orphaned(&self) -> Option<Finding> {
        let rows: Vec<&Unacknowledged> = self.unacknowledged.iter().filter(|row| row.orphaned_jobs > 0).collect();
        let since = rows.iter().map(|row| row.since).min()?;
        let jobs: u32 = rows.iter().map(|row| row.orphaned_jobs).sum();
        let first = &rows.first()?.id;
        let several = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let count = usize::try_from(jobs).unwrap_or(usize::MAX);
        let (jobs, them) = (several(count, "orphaned job"), if count == 1 { "it was" } else { "they were" });
        let groups = rows.iter().filter(|row| row.is_group).count();
        let of = if groups == 0 { several(rows.len(), "scoring") } else { counted(rows.len(), groups) };
        let reason = format!("{jobs} of {of}: made and not needed, {them} told to stop");
        let of = rows.iter().map(|row| row.id.to_string()).collect();
        let mut finding = one(FindingKind::OrphanedJobs, rows.len(), Some(since), reason, "");
        finding = with_orders(finding, "", of, &["ack"]);
        finding.next = format!("scorekeeper show {first}, then {}", finding.next);
        Some(finding)
    }
}
