//! What a tick does for rules and endpoints as such: brings their slots in line with the scorings that hold one, and tells
//! all processes how they stand.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lifecycle::ScoringId;
use lifecycle::id::{EndpointUri, RuleId};
use time::OffsetDateTime;

use crate::ledger::{Cap, Controls, Scope, Sight};
use crate::queue::Backlogs;
use crate::tick::TickReport;
use crate::{App, chain};

/// By scope, the scorings whose status holds one of its slots.
pub(super) type Holders = HashMap<Scope, BTreeSet<ScoringId>>;

impl App {
    /// The limits that a scoring of this rule to this endpoint is under.
    pub(super) fn limited(
        &self,
        controls: &Controls,
        rule: &RuleId,
        endpoint: &EndpointUri,
    ) -> impl Iterator<Item = (Scope, Cap)> + use<> {
        let limits = self.limits(controls, rule, endpoint).into_iter();
        limits.filter_map(|(scope, cap)| cap.map(|cap| (scope, cap)))
    }

    /// Brings the slots of all limited scopes in line with the scorings that hold one. Returns what was seen of every
    /// rule and endpoint.
    pub(super) async fn tend_slots(
        &self,
        controls: &Controls,
        holders: &Holders,
        now: OffsetDateTime,
        report: &mut TickReport,
    ) -> BTreeMap<Scope, Sight> {
        let (mut sights, mut caps) = (BTreeMap::new(), BTreeMap::new());
        for rule in &self.0.parts.rules {
            let endpoint = &rule.endpoint.uri;
            let of_endpoint = self.0.parts.rules.endpoint(endpoint).and_then(|settings| settings.max_in_flight);
            for (scope, name, configured) in [
                (Scope::rule(&rule.id), rule.id.as_str(), rule.max_in_flight),
                (Scope::Endpoint(endpoint.key().clone()), endpoint.as_str(), of_endpoint),
            ] {
                sights.insert(scope, Sight { name: name.to_owned(), configured, seen: Some(now), ..Sight::default() });
            }
            caps.extend(self.limited(controls, &rule.id, endpoint));
        }
        let none = BTreeSet::new();
        for (scope, cap) in caps {
            let tended = self.ledger().tend_slots(&scope, cap.limit, holders.get(&scope).unwrap_or(&none), now).await;
            match tended {
                Ok(tended) => {
                    report.slots_freed += tended.freed;
                    if let Some(sight) = sights.get_mut(&scope) {
                        sight.taken = u32::try_from(tended.taken).ok();
                        sight.surplus = tended.surplus;
                    }
                }
                Err(error) => {
                    if let (Some(sight), Some(old)) = (sights.get_mut(&scope), controls.scopes.get(&scope)) {
                        (sight.taken, sight.surplus) = (old.taken, old.surplus);
                    }
                    tracing::warn!(%scope, error = %chain(&error), "the slots of {scope} were not checked");
                }
            }
        }
        sights
    }

    /// Tells all processes what was seen of each rule and endpoint, and what had to wait.
    pub(super) async fn tell(&self, before: &Controls, mut sights: BTreeMap<Scope, Sight>, backlogs: &Backlogs) {
        for (scope, sight) in &mut sights {
            if let Some(backlog) = backlogs.left.get(scope) {
                sight.waiting = backlog.waiting;
                sight.because = Some(backlog.because.clone());
            } else if let Some(old) = before.scopes.get(scope).filter(|_| backlogs.unreached.contains(scope)) {
                sight.waiting = old.waiting;
                sight.because.clone_from(&old.because);
            }
        }
        for known in before.breakers.values() {
            // It was switched off while it was open: nobody waits for it, and it should not look as if.
            if known.breaker.open_until.is_some() && !self.0.parts.rules.breaker(&known.endpoint).is_on() {
                self.close_breaker(known).await;
            }
        }
        match self.ledger().publish(before, &sights).await {
            Ok(()) => self.0.known.told(sights),
            Err(error) => tracing::warn!(error = %chain(&error), "other processes were not told what waits"),
        }
    }
}
