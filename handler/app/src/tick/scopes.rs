//! What a tick does for rules and endpoints as such: brings their slots in line with the scorings that hold one, and tells
//! all processes how they stand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use lifecycle::{Rules, ScoringId};
use time::OffsetDateTime;

use super::backlog::Backlogs;
use super::report::TickReport;
use crate::admission::{Admission, limited};
use crate::clock::LedgerClock;
use crate::error::error_chain;
use crate::ledger::{Controls, Ledger, LimitScope, ScopeStatus};

/// By scope, the scorings whose status holds one of its slots.
pub(super) type Holders = HashMap<LimitScope, BTreeSet<ScoringId>>;

/// Tends the slots of rules and endpoints, and tells how these stand.
pub(super) struct Scopes {
    pub(super) ledger: Ledger,
    pub(super) clock: LedgerClock,
    pub(super) rules: Arc<Rules>,
    pub(super) admission: Arc<Admission>,
}

impl Scopes {
    /// Brings the slots of all limited scopes in line with the scorings that hold one. Returns what was seen of every
    /// rule and endpoint.
    ///
    /// `holders` must have been read whole, after `now`: who is not among them is taken for gone, and loses its slot. Who is in
    /// `may_hold` keeps whatever slot it has.
    pub(super) async fn reconcile_slots(
        &self,
        controls: &Controls,
        holders: &Holders,
        may_hold: &[ScoringId],
        now: OffsetDateTime,
        report: &mut TickReport,
    ) -> BTreeMap<LimitScope, ScopeStatus> {
        let (mut scope_statuses, mut caps) = (BTreeMap::new(), BTreeMap::new());
        for rule in &*self.rules {
            let endpoint = &rule.endpoint.uri;
            let of_endpoint = self.rules.endpoint(endpoint).and_then(|settings| settings.max_in_flight);
            let groups = rule.group.as_ref().map(Into::into);
            for (scope, name, configured, groups) in [
                (LimitScope::rule(&rule.id), rule.id.as_str(), rule.max_in_flight, groups),
                (LimitScope::Endpoint(endpoint.key().clone()), endpoint.as_str(), of_endpoint, None),
            ] {
                let (name, seen_at) = (name.to_owned(), Some(now));
                scope_statuses
                    .insert(scope, ScopeStatus { name, configured, groups, seen_at, ..ScopeStatus::default() });
            }
            caps.extend(limited(&self.rules, controls, &rule.id, endpoint));
        }
        let unreadable: BTreeSet<_> = may_hold.iter().cloned().collect();
        for (scope, cap) in caps {
            let together;
            let holders = match holders.get(&scope) {
                None => &unreadable,
                Some(holders) if unreadable.is_empty() => holders,
                Some(holders) => {
                    together = holders | &unreadable;
                    &together
                }
            };
            let reconciled = self.ledger.reconcile_slots(&scope, cap.limit, holders, now, || self.clock.now()).await;
            match reconciled {
                Ok(reconciled) => {
                    report.slots_freed += reconciled.freed;
                    if let Some(scope_status) = scope_statuses.get_mut(&scope) {
                        scope_status.taken = u32::try_from(reconciled.taken).ok();
                        scope_status.surplus = reconciled.surplus;
                    }
                }
                Err(error) => {
                    // As they stood: "none taken" would let events in where there is no room.
                    if let (Some(scope_status), Some(old)) =
                        (scope_statuses.get_mut(&scope), controls.scopes.get(&scope))
                    {
                        (scope_status.taken, scope_status.surplus) = (old.taken, old.surplus);
                    }
                    tracing::warn!(%scope, error = %error_chain(&error), "the slots of {scope} were not checked");
                }
            }
        }
        scope_statuses
    }

    /// Tells all processes what was seen of each rule and endpoint, and what had to wait.
    pub(super) async fn publish_scopes(
        &self,
        before: &Controls,
        mut scope_statuses: BTreeMap<LimitScope, ScopeStatus>,
        backlogs: &Backlogs,
    ) {
        for (scope, scope_status) in &mut scope_statuses {
            if let Some(backlog) = backlogs.left.get(scope) {
                (scope_status.waiting, scope_status.waiting_groups) = (backlog.waiting, backlog.groups);
                scope_status.reason = Some(backlog.reason.clone());
            // Not reached is not empty: what waited there waits still, as far as anybody knows.
            } else if let Some(old) = before.scopes.get(scope).filter(|_| backlogs.unreached.contains(scope)) {
                (scope_status.waiting, scope_status.waiting_groups) = (old.waiting, old.waiting_groups);
                scope_status.reason.clone_from(&old.reason);
            }
        }
        self.admission.breakers().close_unwanted(before).await;
        match self.ledger.publish(before, &scope_statuses).await {
            Ok(()) => self.admission.controls().store_scopes(scope_statuses),
            Err(error) => {
                tracing::warn!(error = %error_chain(&error), "what waits could not be published to other processes");
            }
        }
    }
}
