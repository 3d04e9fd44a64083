//! The part of a tick that submits what waits.
//!
//! Each endpoint has a queue of its own, by priority and arrival over all rules. Scorings are *admitted* one after the other,
//! so that a slot goes to the first in line and not to whoever asks fastest; what is admitted is sent side by side. When
//! a rule or an endpoint has no room the rest of its queue is left alone for this tick, and all processes are told of it
//! ([`Backlog`]), so that events go behind it.
//!
//! Never: a claim in any other order.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, stream};
use lifecycle::id::{DeploymentName, RuleId};
use lifecycle::{Rules, Status};
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::backlog::{Backlog, Backlogs};
use super::queue::Queue;
use super::report::Counts;
use crate::admission::{Admission, Refusal, WaitScope};
use crate::clock::LedgerClock;
use crate::driver::{Driver, Loaded, Observed};
use crate::error::Error;
use crate::ledger::{InFlight, LimitScope};

/// Submissions of one endpoint under way at one time: bounds sockets, and the load on the endpoint.
const MAX_CONCURRENT_SUBMISSIONS: usize = 16;
/// Endpoints that are served at one time.
const MAX_CONCURRENT_ENDPOINTS: usize = 8;

/// Submits what is queued, an endpoint's in order and several endpoints' at one time; part of each reconcile run.
pub(super) struct Submit {
    pub(super) rules: Arc<Rules>,
    pub(super) clock: LedgerClock,
    pub(super) admission: Arc<Admission>,
    pub(super) driver: Driver,
}

/// A scoring whose turn it is, with what was claimed for it.
struct Admitted {
    loaded: Loaded,
    observed: Observed,
}

/// What comes of a turn.
enum Turn {
    Admitted(Box<Admitted>),
    Waits(Refusal),
    /// Somebody else has moved it since the index was read.
    Passed,
}

impl Submit {
    /// Submits what is queued, each endpoint's in its order, until `deadline`. Returns what found no room.
    pub(super) async fn run(&self, queue: Queue, deadline: OffsetDateTime, counts: &Counts) -> Backlogs {
        let queues = queue.by_endpoint(&self.rules).into_values();
        let now = self.clock.now();
        let in_line = queues.map(|rows| self.admission.breakers().probes_first(rows, now));
        let queues: Vec<_> = in_line.map(|rows| self.submit_in_order(rows, deadline, counts)).collect();
        // Their scopes differ: a rule has one endpoint, but for scorings from before it was changed.
        let backlogs = stream::iter(queues).buffer_unordered(MAX_CONCURRENT_ENDPOINTS);
        backlogs.fold(Backlogs::default(), async |all, one| all.merged(one)).await
    }

    async fn submit_in_order(&self, rows: Vec<InFlight>, deadline: OffsetDateTime, counts: &Counts) -> Backlogs {
        // One that is admitted waits here until there is room to send it: few, as claims must not grow old.
        let (admitted, mut next) = mpsc::channel(1);
        // Not a stream that is polled when there is room: a claim's answer must be read when it comes.
        let send = async {
            let (mut sending, mut more) = (FuturesUnordered::new(), true);
            while more || !sending.is_empty() {
                tokio::select! {
                    biased;
                    Some(()) = sending.next() => {}
                    one = next.recv(), if more && sending.len() < MAX_CONCURRENT_SUBMISSIONS => match one {
                        Some(one) => sending.push(self.send(one, counts)),
                        None => more = false,
                    },
                }
            }
        };
        tokio::join!(self.admit_in_order(rows, admitted, deadline, counts), send).0
    }

    /// Gives each its turn, one after the other, so that a slot goes to the first in line. What is admitted is handed on;
    /// the rest is returned.
    async fn admit_in_order(
        &self,
        rows: Vec<InFlight>,
        admitted: mpsc::Sender<Box<Admitted>>,
        deadline: OffsetDateTime,
        counts: &Counts,
    ) -> Backlogs {
        let Backlogs { mut left, mut unreached } = Backlogs::default();
        let mut stopped = HashMap::<BlockedScope, String>::new();
        for row in rows {
            let all = [
                BlockedScope::All,
                BlockedScope::Rule(row.rule.clone()),
                BlockedScope::Deployment(row.deployment.clone()),
            ];
            // Those behind one that found no room find none either: they are counted, and cost no request.
            if let Some((by, reason)) = all.into_iter().find_map(|by| stopped.get_key_value(&by)) {
                wait(&mut left, by, reason, &row);
                continue;
            }
            if self.clock.now() >= deadline {
                counts.late();
                unreached.extend([LimitScope::Endpoint(row.endpoint.key().clone()), LimitScope::rule(&row.rule)]);
                continue;
            }
            counts.due();
            match self.turn_of(&row).await {
                Ok(Turn::Admitted(one)) => {
                    if admitted.send(one).await.is_err() {
                        break;
                    }
                }
                Ok(Turn::Waits(Refusal { reason, wait_scope })) => {
                    let by = match wait_scope {
                        WaitScope::One => continue,
                        WaitScope::Rule => BlockedScope::Rule(row.rule.clone()),
                        WaitScope::Deployment => BlockedScope::Deployment(row.deployment.clone()),
                        WaitScope::Endpoint => BlockedScope::All,
                    };
                    wait(&mut left, &by, &reason, &row);
                    stopped.insert(by, reason);
                }
                Ok(Turn::Passed) => counts.moved(None),
                Err(error) => counts.failed(&row.id, &error),
            }
        }
        Backlogs { left, unreached }
    }

    /// The turn of one queued scoring has come.
    async fn turn_of(&self, row: &InFlight) -> Result<Turn, Error> {
        let loaded = self.driver.load(&row.id).await?;
        let Some(loaded) = loaded.filter(|loaded| loaded.scoring.status == Status::Queued) else {
            return Ok(Turn::Passed);
        };
        let (scoring, now) = (&loaded.scoring, self.clock.now());
        Ok(match self.admission.admit(scoring, self.rules.get(&scoring.rule), now).await {
            Err(refusal) => {
                tracing::debug!(scoring = %scoring.id, "{}: {refusal}", scoring.id);
                Turn::Waits(refusal)
            }
            Ok(claims) => Turn::Admitted(Box::new(Admitted { observed: Observed::admitted(Ok(claims), now), loaded })),
        })
    }

    /// Sends what was admitted, and records the answer; a failure is counted and stops nobody else.
    async fn send(&self, one: Box<Admitted>, counts: &Counts) {
        let id = one.loaded.scoring.id.clone();
        match self.driver.drive_from(one.loaded, one.observed).await {
            // Its claims grew old, or the rules changed: its turn comes again.
            Ok(driven) if driven.scoring.status == Status::Queued => {}
            Ok(driven) => counts.moved(Some(&driven.scoring)),
            Err(error) => counts.failed(&id, &error),
        }
    }
}

/// Which part of an endpoint's queue is left alone for the rest of a tick.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum BlockedScope {
    All,
    Rule(RuleId),
    Deployment(Option<DeploymentName>),
}

/// Notes that a scoring has to wait: for a slot or submit of the endpoint there, else with its rule.
fn wait(left: &mut HashMap<LimitScope, Backlog>, by: &BlockedScope, reason: &str, row: &InFlight) {
    // Events go behind what is counted here, and not behind what gives way to them.
    if row.origin.gives_way() {
        return;
    }
    let scope = if *by == BlockedScope::All {
        LimitScope::Endpoint(row.endpoint.key().clone())
    } else {
        LimitScope::rule(&row.rule)
    };
    let backlog = left.entry(scope).or_insert_with(|| Backlog { waiting: 0, groups: 0, reason: reason.to_owned() });
    backlog.waiting += 1;
    backlog.groups += u32::from(row.is_group());
}
