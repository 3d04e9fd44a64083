//! What people do meanwhile: they say what is to become of what is held, order retries and cancels, and set limits.

use lifecycle::{Order, Resolution, Scoring, Status, Verb};
use time::Duration;

use crate::faults::Kind;
use crate::plan::LimitChange;
use crate::run::{Control, PERSON, Run};
use app::ledger::{LimitChange as SetLimit, LimitScope};
use app::resolve;

impl Run {
    /// An operator says what a limit is, until it is taken.
    pub(super) fn limit(&mut self, n: usize) {
        let LimitChange { rule, limit, .. } = self.plan.limit_changes[n].clone();
        for installation in 0..self.plan.installations {
            let Some((process, app)) = self.somebody(installation) else {
                return self.later(Duration::SECOND, Control::Limit(n));
            };
            let rule = rule.clone();
            self.executor.spawn(process, async move {
                let scope = LimitScope::rule(&rule);
                let by = "an operator".to_owned();
                let change = SetLimit { name: rule, limit, at: app.now(), by, reason: Some("the plan".to_owned()) };
                // The command would tell the operator that it did not work; the last change is made without faults.
                let _ = app.ledger().set_limit(&scope, &change).await;
            });
        }
    }

    /// A person looks into the workspace and says what is to become of what is held.
    pub(super) fn person(&mut self) {
        let held = self.scorings().into_iter().filter(|(_, scoring)| scoring.status == Status::Held);
        for (installation, scoring) in held.collect::<Vec<_>>() {
            let Some(resolution) = self.world.operator_resolution(&scoring) else { continue };
            let resolution = if self.order.chance(150) { Resolution::GiveUp } else { resolution };
            if let Some((process, app)) = self.somebody(installation) {
                let about = format!("a person says of it: {resolution:?}");
                self.world.trace(None, Some(&scoring.id), || about);
                if resolution == Resolution::SendAgain {
                    self.world.state().invariants[installation].vouched(&scoring);
                }
                self.executor.spawn(process, async move {
                    // What could not be taken is said again later.
                    let _ = resolve(app.ledger(), &scoring.id, resolution, app.now()).await;
                });
            }
        }
        if self.healed {
            self.release_all();
        } else {
            self.give_orders();
        }
        // A word that was on its way for long may have come after the last one.
        if let Some(last) = self.plan.limit_changes.len().checked_sub(1).filter(|_| self.healed) {
            self.limit(last);
        }
        self.later(PERSON, Control::Person);
    }

    /// Operators order this and that, some of it twice, and may die before they hear an answer.
    fn give_orders(&mut self) {
        for (installation, scoring) in self.scorings() {
            let Some((verb, times)) = self.drawn_order(&scoring) else { continue };
            let order = Order { verb, by: "an operator".to_owned(), reason: "the seed says so".to_owned() };
            for process in self.processes_of(installation).into_iter().cycle().take(times) {
                let Some(app) = self.processes[process].app.clone() else { continue };
                let (id, order) = (scoring.id.clone(), order.clone());
                self.world.trace(None, Some(&id), || format!("is ordered: {verb:?}"));
                self.executor.spawn(process, async move {
                    // The command tells who gave it that it did not work; they may give it again.
                    let _ = app::order(app.ledger(), &id, &order, app.now()).await;
                });
            }
        }
    }

    /// What is on hold is forgotten by nobody for ever.
    fn release_all(&mut self) {
        for (installation, scoring) in self.scorings() {
            let Some((process, app)) = self.somebody(installation).filter(|_| scoring.on_hold.is_some()) else {
                continue;
            };
            let reason = "all is well again".to_owned();
            let order = Order { verb: Verb::Release, by: "an operator".to_owned(), reason };
            self.executor.spawn(process, async move {
                // What could not be released is released later.
                let _ = app::order(app.ledger(), &scoring.id, &order, app.now()).await;
            });
        }
    }

    /// What is ordered of a scoring, and how often.
    fn drawn_order(&self, scoring: &Scoring) -> Option<(Verb, usize)> {
        let mut state = self.world.state();
        let dice = &mut state.dice;
        let verb = match scoring.status {
            _ if scoring.needs_acknowledgement() && dice.strikes(Kind::Orders, 200) => Verb::Acknowledge,
            Status::Failed | Status::Cancelled | Status::Gone | Status::Queued if dice.strikes(Kind::Orders, 70) => {
                Verb::Retry
            }
            Status::Queued | Status::Held | Status::Running | Status::Cancelling if dice.strikes(Kind::Orders, 40) => {
                Verb::Cancel
            }
            Status::Queued if scoring.on_hold.is_some() && dice.strikes(Kind::Orders, 300) => Verb::Release,
            Status::Queued | Status::Unknown | Status::Running if dice.strikes(Kind::Orders, 60) => {
                let others = [Verb::Skip, Verb::Hold, Verb::Expedite];
                let stream = dice.stream(Kind::Orders);
                if stream.chance(333) { others[0] } else { others[1 + usize::from(stream.chance(500))] }
            }
            _ => return None,
        };
        let stream = dice.stream(Kind::Orders);
        Some((verb, if stream.chance(200) { 2 } else { 1 }))
    }
}
