//! What people do meanwhile: they say what is to become of what is held, order retries and cancels, and set limits.

use std::collections::BTreeMap;

use lifecycle::publishing::PublicationEnd;
use lifecycle::start::{StartKey, StartRequest};
use lifecycle::{Order, Resolution, ResolveOrder, Scoring, Status, UnversionedBlob, Verb};
use time::Duration;

use crate::faults::{Dice, Kind};
use crate::invariants::orders::{BY, reason};
use crate::plan::LimitChange;
use crate::process_ports::ProcessPorts;
use crate::run::{Control, PERSON, Run};
use app::ledger::{self, BreakerClosed, LimitChange as SetLimit, LimitScope};
use app::{App, resolve};

/// Events that cannot be read and that are acknowledged at one time.
const MAX_EVENTS: usize = 10;
/// Who is not answered gives a command again after this.
const GIVEN_AGAIN: Duration = Duration::seconds(10);
/// How often one start is sent.
const STARTS: usize = 5;

impl Run {
    /// An operator says what a limit is, until it is taken.
    pub(super) fn limit(&mut self, n: usize) {
        let LimitChange { rule, limit, .. } = self.plan.limit_changes[n].clone();
        let reason = Some(self.said());
        for installation in 0..self.plan.installations {
            let Some((process, app)) = self.somebody(installation) else {
                return self.later(Duration::SECOND, Control::Limit(n));
            };
            let (rule, reason) = (rule.clone(), reason.clone());
            self.executor.spawn(process, async move {
                let scope = LimitScope::rule(&rule);
                let change = SetLimit { name: rule, limit, at: app.now(), by: BY.to_owned(), reason };
                // The command would tell the operator that it did not work; the last change is made without faults.
                if let Ok(seen) = app.ledger().controls().await {
                    let _ = app.ledger().set_limit(&scope, &change, &seen).await;
                }
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
                let order = ResolveOrder { resolution, by: BY.to_owned(), reason: self.said() };
                self.executor.spawn(process, async move {
                    // What could not be taken is said again later.
                    let _ = resolve(app.ledger(), &scoring.id, &order, app.now()).await;
                });
            }
        }
        if self.healed {
            self.release_all();
        } else {
            self.give_orders();
            self.see_to_the_rest();
            self.start();
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
            let Some((command, times)) = self.drawn_order(&scoring) else { continue };
            if command == Command::Rescore {
                self.world.state().invariants[installation].rescored(&scoring.id);
            }
            // The same words each time, as of who was not answered and gives the command again.
            let reason = self.said();
            if times > 1 {
                self.world.state().invariants[installation].given_again(&reason);
            }
            let mut pause = Duration::ZERO;
            for process in self.processes_of(installation).into_iter().cycle().take(times) {
                let Some(app) = self.processes[process].app.clone() else { continue };
                self.world.trace(None, Some(&scoring.id), || format!("is ordered: {command:?}"));
                let (ports, given) = (
                    ProcessPorts { world: self.world.clone(), process },
                    command.given(app, scoring.clone(), reason.clone()),
                );
                self.executor.spawn(process, async move {
                    ports.sleep(pause).await;
                    given.await;
                });
                pause += GIVEN_AGAIN;
            }
        }
    }

    /// Operators close circuit breakers that they see open, and acknowledge events that cannot be read; some of it twice.
    fn see_to_the_rest(&mut self) {
        for installation in 0..self.plan.installations {
            let (closes, acknowledges, times) = {
                let mut state = self.world.state();
                let (closes, acknowledges) =
                    (state.dice.strikes(Kind::Orders, 150), state.dice.strikes(Kind::Orders, 150));
                (closes, acknowledges, if state.dice.strikes(Kind::Orders, 200) { 2 } else { 1 })
            };
            if !closes && !acknowledges {
                continue;
            }
            let reason = self.said();
            for process in self.processes_of(installation).into_iter().cycle().take(times) {
                let Some(app) = self.processes[process].app.clone() else { continue };
                let reason = reason.clone();
                self.executor.spawn(process, async move {
                    // The command tells who gave it that it did not work; they may give it again.
                    if closes {
                        let _ = close_open_breakers(&app, &reason).await;
                    }
                    if acknowledges {
                        let _ = acknowledge_quarantined(&app, &reason).await;
                    }
                });
            }
        }
    }

    /// Orchestrators start scorings by keys, each several times, and die, or whom they ask dies, before they hear an answer.
    fn start(&mut self) {
        for (installation, scoring) in self.scorings() {
            let ended = matches!(scoring.status, Status::Scored | Status::Failed | Status::Superseded);
            if !ended || !self.world.state().dice.strikes(Kind::Starts, 40) {
                continue;
            }
            let Ok(blob) = UnversionedBlob::read(&scoring.blob.url) else { continue };
            let Ok(key) = StartKey::read(scoring.id.as_str()) else { continue };
            self.world.state().invariants[installation].started(key.digest(&scoring.rule));
            self.world.trace(None, Some(&scoring.id), || "is started once more, five times by one key".to_owned());
            let request = StartRequest::of_blob(&scoring.rule, &blob, BTreeMap::new(), true);
            let by = format!("{BY} ({})", self.said());
            for process in self.processes_of(installation).into_iter().cycle().take(STARTS) {
                let Some(app) = self.processes[process].app.clone() else { continue };
                let (request, key, by) = (request.clone(), key.clone(), by.clone());
                self.executor.spawn(process, async move {
                    // Who is not answered asks again, by the same key.
                    if let Ok((_, submissions)) = app.start(&request, Some(&key), &by).await {
                        submissions.send().await;
                    }
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
            let order = Order { verb: Verb::Release, by: BY.to_owned(), reason: self.said() };
            self.executor.spawn(process, async move {
                // What could not be released is released later.
                let _ = app::order(app.ledger(), &scoring.id, &order, app.now()).await;
            });
        }
    }

    /// Why the next thing is said: each has a reason of its own, by which its line in a history is known.
    fn said(&mut self) -> String {
        self.said += 1;
        reason(self.said)
    }

    /// What is ordered of a scoring, and how often.
    fn drawn_order(&self, scoring: &Scoring) -> Option<(Command, usize)> {
        let mut state = self.world.state();
        let dice = &mut state.dice;
        let command = match scoring.status {
            Status::Scored if dice.strikes(Kind::Orders, 20) => Command::Rescore,
            Status::Scored | Status::Superseded | Status::Gone if dice.strikes(Kind::Orders, 30) => Command::Replay,
            _ => Command::Order(Self::drawn_verb(dice, scoring)?),
        };
        let stream = dice.stream(Kind::Orders);
        Some((command, if stream.chance(200) { 2 } else { 1 }))
    }

    /// A verb that a scoring knows where it stands.
    fn drawn_verb(dice: &mut Dice, scoring: &Scoring) -> Option<Verb> {
        Some(match scoring.status {
            _ if scoring.needs_acknowledgement() && dice.strikes(Kind::Orders, 200) => Verb::Acknowledge,
            Status::Failed | Status::Cancelled | Status::Gone | Status::Queued if dice.strikes(Kind::Orders, 70) => {
                Verb::Retry
            }
            Status::Queued | Status::Held | Status::Running | Status::Cancelling if dice.strikes(Kind::Orders, 40) => {
                Verb::Cancel
            }
            Status::Scored | Status::Verifying if is_unpublished(scoring) && dice.strikes(Kind::Orders, 300) => {
                Verb::Publish
            }
            Status::Queued if scoring.on_hold.is_some() && dice.strikes(Kind::Orders, 300) => Verb::Release,
            Status::Queued | Status::Unknown | Status::Running if dice.strikes(Kind::Orders, 60) => {
                let others = [Verb::Skip, Verb::Hold, Verb::Expedite];
                let stream = dice.stream(Kind::Orders);
                if stream.chance(333) { others[0] } else { others[1 + usize::from(stream.chance(500))] }
            }
            _ => return None,
        })
    }
}

async fn close_open_breakers(app: &App, reason: &str) -> Result<(), ledger::Error> {
    let controls = app.ledger().controls().await?;
    for (subject, _) in controls.subjects().filter(|(_, breaker)| breaker.open_until.is_some()) {
        let closed = BreakerClosed { at: app.now(), by: BY.to_owned(), reason: reason.to_owned() };
        app.ledger().close_breaker(&subject, &closed).await?;
    }
    Ok(())
}

async fn acknowledge_quarantined(app: &App, reason: &str) -> Result<(), ledger::Error> {
    let now = app.now();
    for event in app.ledger().quarantined(now - Duration::DAY, MAX_EVENTS).await?.read {
        if event.acknowledged.is_none() {
            app.ledger().acknowledge_quarantined(&event.key, BY, reason, now).await?;
        }
    }
    Ok(())
}

/// Whether somebody may want it to be published: it could not be, or not yet.
fn is_unpublished(scoring: &Scoring) -> bool {
    let Some(publishing) = &scoring.publishing else { return false };
    match scoring.status {
        Status::Scored => {
            publishing.outputs.iter().any(|one| matches!(one.end, Some(PublicationEnd::NotPublished { .. })))
        }
        _ => scoring.refusals > 0,
    }
}

/// What an operator gives a command for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Order(Verb),
    /// The version is to be scored once more.
    Rescore,
    /// The blob is to be taken in as it is now.
    Replay,
}

impl Command {
    /// Gives it. The command tells who gave it that it did not work; they may give it again.
    async fn given(self, app: App, scoring: Scoring, reason: String) {
        let (by, now) = (BY, app.now());
        match self {
            Self::Order(verb) => {
                let order = Order { verb, by: by.to_owned(), reason };
                let _ = app::order(app.ledger(), &scoring.id, &order, now).await;
            }
            Self::Rescore => {
                let _ = app::rescore(app.ledger(), &scoring, by, &reason, now).await;
            }
            Self::Replay => {
                let Ok(blob) = UnversionedBlob::read(&scoring.blob.url) else { return };
                let _ = app::replay(app.ledger(), blob, by, &reason, now).await;
            }
        }
    }
}
