//! The queue: what waits to be submitted, in its order, and the part of a tick that submits it.
//!
//! Each endpoint has a queue of its own, by priority and arrival over all rules. Scorings are *admitted* one after the other,
//! so that a slot goes to the first in line and not to whoever asks fastest; what is admitted is sent side by side. When
//! a rule or an endpoint has no room the rest of its queue is left alone for this tick, and all processes are told of it
//! ([`Backlog`]), so that events go behind it.
//!
//! Never: a claim in any other order; more than [`MAX_QUEUED_PER_RULE`] queued scorings of one rule in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;

use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, stream};
use lifecycle::id::{DeploymentName, RuleId};
use lifecycle::{EndpointKey, QueuePosition, Rules, Scoring, Status};
use time::OffsetDateTime;
use tokio::sync::mpsc;

use crate::admission::{Admission, Requester, WaitScope};
use crate::ledger::{InFlight, LimitScope};
use crate::ports::table_store::ETag;
use crate::tick::Counts;
use crate::{App, Error, Observed, during};

/// Queued scorings of a rule and deployment that one tick remembers; the oldest are kept, so that none starves.
pub(super) const MAX_QUEUED_PER_RULE: usize = 10_000;
/// Submissions of one endpoint under way at one time: bounds sockets, and the load on the endpoint.
const MAX_CONCURRENT_SUBMISSIONS: usize = 16;
/// Endpoints that are served at one time.
const MAX_CONCURRENT_ENDPOINTS: usize = 8;

/// What waits to be submitted. Bounded for each rule and deployment, so that the backlog of one does not push out
/// another's.
pub(super) struct Queue {
    max: usize,
    /// By deployment too, as an open circuit breaker keeps one of them waiting.
    by_rule: HashMap<(RuleId, Option<DeploymentName>), Vec<InFlight>>,
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        Self { max, by_rule: HashMap::new() }
    }

    pub(super) fn add(&mut self, row: InFlight) {
        let rows = self.by_rule.entry((row.rule.clone(), row.deployment.clone())).or_default();
        rows.push(row);
        if rows.len() >= 2 * self.max {
            by_age(rows);
            rows.truncate(self.max);
        }
    }

    /// One queue for each endpoint, in order of priority and arrival.
    fn by_endpoint(self, rules: &Rules) -> BTreeMap<EndpointKey, Vec<InFlight>> {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for mut rows in self.by_rule.into_values() {
            by_age(&mut rows);
            rows.truncate(self.max);
            for row in rows {
                all.entry(row.endpoint.key().clone()).or_default().push(row);
            }
        }
        let priority = |rule: &str| rules.get(rule).map_or(0, |rule| rule.priority);
        for rows in all.values_mut() {
            rows.sort_by_cached_key(|row| QueuePosition::new(priority(&row.rule), row.created, row.id.clone()));
        }
        all
    }
}

fn by_age(rows: &mut [InFlight]) {
    rows.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.id.cmp(&b.id)));
}

/// What a scope had no room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Backlog {
    /// Scorings that were due; of each rule at most [`MAX_QUEUED_PER_RULE`] are counted.
    pub(super) waiting: u32,
    /// Why the first of them waits.
    pub(super) reason: String,
}

/// What was left of the queue.
#[derive(Debug, Default)]
pub(super) struct Backlogs {
    /// What found no room.
    pub(super) left: HashMap<LimitScope, Backlog>,
    /// Whose turn did not come, for lack of time: nothing is known of these.
    pub(super) unreached: HashSet<LimitScope>,
}

impl Backlogs {
    fn merged(mut self, other: Self) -> Self {
        self.left.extend(other.left);
        self.unreached.extend(other.unreached);
        self
    }
}

/// A scoring whose turn it is, with what was claimed for it.
struct Admitted {
    scoring: Scoring,
    etag: ETag,
    observed: Observed,
}

impl App {
    /// Submits what is queued, each endpoint's in its order, until `deadline`. Returns what found no room.
    pub(super) async fn submit_queued(&self, queue: Queue, deadline: OffsetDateTime, counts: &Counts) -> Backlogs {
        let queues = queue.by_endpoint(&self.0.parts.rules).into_values();
        let queues: Vec<_> = queues.map(|rows| self.submit_in_order(rows, deadline, counts)).collect();
        // Their scopes differ: a rule has one endpoint, but for scorings from before it was changed.
        let backlogs = stream::iter(queues).buffer_unordered(MAX_CONCURRENT_ENDPOINTS);
        backlogs.fold(Backlogs::default(), async |all, one| all.merged(one)).await
    }

    async fn submit_in_order(&self, rows: Vec<InFlight>, deadline: OffsetDateTime, counts: &Counts) -> Backlogs {
        // One that is admitted waits here until there is room to send it: few, as claims must not grow old.
        let (admitted, mut next) = mpsc::channel(1);
        let admit = async move {
            let Backlogs { mut left, mut unreached } = Backlogs::default();
            let mut stopped = HashMap::<BlockedScope, String>::new();
            for row in rows {
                let all = [
                    BlockedScope::All,
                    BlockedScope::Rule(row.rule.clone()),
                    BlockedScope::Deployment(row.deployment.clone()),
                ];
                if let Some((by, reason)) = all.into_iter().find_map(|by| stopped.get_key_value(&by)) {
                    wait(&mut left, by, reason, &row);
                    continue;
                }
                if self.now() >= deadline {
                    counts.late.store(true, Ordering::Relaxed);
                    unreached.extend([LimitScope::Endpoint(row.endpoint.key().clone()), LimitScope::rule(&row.rule)]);
                    continue;
                }
                counts.due.fetch_add(1, Ordering::Relaxed);
                match self.turn_of(&row).await {
                    Ok(TurnOutcome::Admitted(one)) => {
                        if admitted.send(one).await.is_err() {
                            break;
                        }
                    }
                    Ok(TurnOutcome::Waits(reason, wait_scope)) => {
                        let by = match wait_scope {
                            WaitScope::One => continue,
                            WaitScope::Rule => BlockedScope::Rule(row.rule.clone()),
                            WaitScope::Deployment => BlockedScope::Deployment(row.deployment.clone()),
                            WaitScope::Endpoint => BlockedScope::All,
                        };
                        wait(&mut left, &by, &reason, &row);
                        stopped.insert(by, reason);
                    }
                    Ok(TurnOutcome::Passed) => counts.moved(),
                    Err(error) => counts.failed(&row.id, &error),
                }
            }
            Backlogs { left, unreached }
        };
        // Not a stream that is polled when there is room: a claim's answer must be read when it comes.
        let send = async {
            let (mut sending, mut more) = (FuturesUnordered::new(), true);
            while more || !sending.is_empty() {
                tokio::select! {
                    biased;
                    Some(()) = sending.next() => {}
                    one = next.recv(), if more && sending.len() < MAX_CONCURRENT_SUBMISSIONS => match one {
                        Some(one) => sending.push(self.send(*one, counts)),
                        None => more = false,
                    },
                }
            }
        };
        tokio::join!(admit, send).0
    }

    /// Sends what was admitted.
    async fn send(&self, one: Admitted, counts: &Counts) {
        let id = one.scoring.id.clone();
        match self.drive_observed(one.scoring, one.etag, one.observed).await {
            Ok(Status::Queued) => {}
            Ok(_) => counts.moved(),
            Err(error) => counts.failed(&id, &error),
        }
    }

    /// The turn of one queued scoring has come.
    async fn turn_of(&self, row: &InFlight) -> Result<TurnOutcome, Error> {
        let read = self.ledger().get(&row.id).await.map_err(during("reading a scoring"))?;
        let Some((scoring, etag)) = read.filter(|(scoring, _)| scoring.status == Status::Queued) else {
            return Ok(TurnOutcome::Passed);
        };
        let now = self.now();
        Ok(match self.admit(&scoring, self.rule(&scoring), Requester::Queue, now).await {
            Admission::Wait { reason, wait_scope } => {
                tracing::debug!(scoring = %scoring.id, "{}: {reason}", scoring.id);
                TurnOutcome::Waits(reason, wait_scope)
            }
            admission @ Admission::Granted(_) => {
                let (observation, claims) = admission.observation();
                TurnOutcome::Admitted(Box::new(Admitted {
                    scoring,
                    etag,
                    observed: Observed { observation, at: now, claims },
                }))
            }
        })
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
    let scope = if *by == BlockedScope::All {
        LimitScope::Endpoint(row.endpoint.key().clone())
    } else {
        LimitScope::rule(&row.rule)
    };
    let backlog = left.entry(scope).or_insert_with(|| Backlog { waiting: 0, reason: reason.to_owned() });
    backlog.waiting += 1;
}

/// What comes of a turn.
enum TurnOutcome {
    Admitted(Box<Admitted>),
    Waits(String, WaitScope),
    /// Somebody else has moved it since the index was read.
    Passed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::ScoringId;
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

    fn queued(rule: &str, n: u32) -> InFlight {
        InFlight {
            id: ScoringId::read(&format!("{n:032x}")).expect("32 hex digits"),
            status: Status::Queued,
            since: NOW,
            due: NOW,
            rule: rule.parse().expect("an id"),
            endpoint: "https://e.example/jobs".parse().expect("a URI"),
            deployment: None,
            workspace: None,
            job: None,
            job_status: None,
            missing: false,
            created: NOW + Duration::seconds(i64::from(n)),
            attempt: 0,
        }
    }

    #[test]
    fn the_backlog_of_one_rule_or_deployment_does_not_push_out_another_and_the_oldest_are_kept() {
        let mut queue = Queue::new(3);
        for n in (0..20).rev() {
            queue.add(queued("busy", n));
        }
        queue.add(queued("other", 99));
        queue.add(InFlight { deployment: Some("v8".parse().expect("a name")), ..queued("busy", 50) });
        let queues = queue.by_endpoint(&Rules::default());
        let kept = queues.into_values().flatten().map(|row| (row.rule, (row.created - NOW).whole_seconds()));
        let expected = [("busy", 0), ("busy", 1), ("busy", 2), ("busy", 50), ("other", 99)]
            .map(|(rule, n)| (rule.parse().expect("an id"), n));
        assert_eq!(kept.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_rule_of_higher_priority_goes_first_at_its_endpoint() {
        let rules = Rules::read(
            r#"{"rules":[{"id":"low","priority":-1,"match":{"container":"c"},"endpoint":{"uri":"https://e.example/jobs"}},
                {"id":"high","priority":5,"match":{"container":"c"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#,
        );
        let mut queue = Queue::new(10);
        for (rule, n) in [("low", 1), ("normal", 2), ("high", 3), ("high", 4), ("normal", 5)] {
            queue.add(queued(rule, n));
        }
        let order = queue.by_endpoint(&rules.expect("good rules")).into_values().flatten();
        let order: Vec<_> = order.map(|row| (row.created - NOW).whole_seconds()).collect();
        assert_eq!(order, [3, 4, 2, 5, 1]);
    }

    #[test]
    fn rules_share_the_queue_of_their_endpoint_and_no_other() {
        let mut queue = Queue::new(3);
        queue.add(queued("b", 2));
        queue.add(queued("a", 1));
        queue.add(InFlight { endpoint: "https://E.example/jobs/".parse().expect("a URI"), ..queued("a", 3) });
        queue.add(InFlight { endpoint: "https://f.example/jobs".parse().expect("a URI"), ..queued("a", 4) });
        let mut queues: Vec<Vec<_>> = queue
            .by_endpoint(&Rules::default())
            .into_values()
            .map(|rows| rows.into_iter().map(|row| row.rule).collect())
            .collect();
        queues.sort_by_key(Vec::len);
        assert_eq!(queues, [vec!["a"], vec!["a", "b", "a"]]);
    }
}
