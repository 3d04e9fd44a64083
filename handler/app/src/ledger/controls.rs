//! Controls: what operators and ticks tell all processes, in the partition `control`.
//!
//! | RowKey | row | written by |
//! |---|---|---|
//! | `scope~{scope}` | a rule or an endpoint as the last tick saw it: its limit in the rules, slots taken, scorings that wait and why | the tick, when it differs |
//! | `limit~{scope}` | a limit that holds instead of the one in the rules, until it is removed; 0 pauses | an operator |
//! | `~limit~{scope}~{inverted time}` | who set a limit, to what and why; beside the others, and read by people alone | an operator, with the limit in one transaction |
//! | `~breaker~…~{inverted time}`, `~pause~…` | who closed a circuit breaker and why; read by people alone | an operator, with the breaker in one transaction |
//! | `breaker~{hash}` | the circuit breaker of a deployment, once a scoring of it has failed | whoever records an attempt's end, or an operator |
//! | `pause~{rule}` | the circuit breaker of a rule, once its request, its input or a right was refused | the same |
//! | `published~ever` | some result was published, or is about to be: events may be about published paths | whoever publishes first |
//!
//! A scope is `rule~{id}` or `endpoint~{hash}`. The rows are few and read together, with one query, by every process that
//! submits; each keeps them for a moment, so what is written here is known everywhere a moment later and not at once.
//!
//! Never: a row that is ignored because it cannot be read. It may say that nothing is to be submitted.

use std::collections::BTreeMap;

use lifecycle::breaker::{Breaker, BreakerEvent, BreakerSettings, BreakerSubject, Outcome, Probe, RanOn, Source};
use lifecycle::id::{DeploymentName, EndpointUri, RuleId};
use lifecycle::rule::{GroupBy, GroupSettings};
use lifecycle::{EndpointKey, FailureCause, ScoringId};
use time::{Duration, OffsetDateTime};

use super::rows::{MAX_FOREIGN, Unreadable, clipped, count};
use super::{Error, Ledger, LimitScope};
use crate::ports::table_store::{self, Entity, IfMatch, Key, Op, Range, Row};

pub(super) const PARTITION: &str = "control";
/// Version of these columns. Readers accept this one and older.
pub(super) const SCHEMA: i32 = 1;

/// All controls, as they were read together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Controls {
    /// What the last tick saw of each rule and endpoint.
    pub scopes: BTreeMap<LimitScope, ScopeStatus>,
    /// Limits that operators have set.
    pub limits: BTreeMap<LimitScope, LiveLimit>,
    /// The circuit breakers of deployments of which scorings have failed.
    pub breakers: BTreeMap<EndpointKey, DeploymentBreaker>,
    /// The circuit breakers of rules by whose fault scorings have failed.
    pub pauses: BTreeMap<RuleId, Breaker>,
    /// Some result was published, or is about to be.
    pub published: bool,
}

/// The circuit breaker of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentBreaker {
    /// The endpoint's invoke URI, as the scorings that were counted have it.
    pub endpoint: EndpointUri,
    /// The deployment; `None`: the endpoint's default.
    pub deployment: Option<DeploymentName>,
    /// Its last outcomes, and whether it is open; as it was written last.
    pub breaker: Breaker,
}

/// A limit that an operator has set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveLimit {
    /// The rule's id or the endpoint's invoke URI.
    pub name: String,
    /// Most scorings at one time; 0 pauses.
    pub limit: u32,
    /// Since when it holds (`SetTime`).
    pub set: OffsetDateTime,
    /// Who set it, if that was said.
    pub by: Option<String>,
    /// Why, if that was said.
    pub reason: Option<String>,
}

/// What a tick saw of a rule or an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeStatus {
    /// The rule's id or the endpoint's invoke URI.
    pub name: String,
    /// Its limit in the rules.
    pub configured: Option<u32>,
    /// Slots that are taken, if it has a limit.
    pub taken: Option<u32>,
    /// Slots are taken whose numbers lie beyond the limit: those who claim must look before.
    pub surplus: bool,
    /// Queued scorings that had no room when their turn came, and those behind them.
    pub waiting: u32,
    /// How many of these are groups, each of which is one here.
    pub waiting_groups: u32,
    /// Why the first of those that wait does; `None` if none does.
    pub reason: Option<String>,
    /// How the rule makes groups, if it does.
    pub groups: Option<RuleGroups>,
    /// When it was seen so.
    pub seen_at: Option<OffsetDateTime>,
}

/// How a rule makes groups of what waits, for those who have the ledger and not the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleGroups {
    /// Of one folder, and not of all that the rule takes in of an account.
    pub by_folder: bool,
    /// The name of the blob that says that a folder is whole.
    pub marker: Option<String>,
    /// Files of a group at most.
    pub max_files: u32,
    /// The longest that one waits.
    pub max_wait: Duration,
}

impl From<&GroupSettings> for RuleGroups {
    fn from(settings: &GroupSettings) -> Self {
        Self {
            by_folder: settings.by != GroupBy::Time,
            marker: settings.marker.as_ref().map(|marker| marker.as_str().to_owned()),
            max_files: u32::try_from(settings.max_files).unwrap_or(u32::MAX),
            max_wait: settings.max_wait.0,
        }
    }
}

impl ScopeStatus {
    /// Nothing changed but the time.
    fn same_but_for_time(&self, other: &Self) -> bool {
        Self { seen_at: None, ..self.clone() } == Self { seen_at: None, ..other.clone() }
    }
}

impl Ledger {
    /// Reads all controls. One query while there are less than a thousand.
    pub async fn controls(&self) -> Result<Controls, Error> {
        let (controls, unreadable) = self.readable_controls().await?;
        // Whoever decides by them must not take an operator's pause that it cannot read for none.
        unreadable.into_iter().next().map_or(Ok(controls), |row| Err(row.into()))
    }

    /// Those that can be read, and the rows that cannot: for people, who decide nothing by them.
    pub async fn readable_controls(&self) -> Result<(Controls, Vec<Unreadable>), Error> {
        let range = Range { partition: PARTITION.to_owned(), from: "a".to_owned(), below: "~".to_owned() };
        let (mut controls, mut unreadable) = (Controls::default(), Vec::new());
        for row in self.all(&self.0.state, &range, usize::MAX).await? {
            unreadable.extend(controls.add(&row).err());
        }
        Ok((controls, unreadable))
    }

    /// Tells all processes what a tick saw of the scopes. Writes what differs from `before`, and removes what is not
    /// in `now` any more.
    pub async fn publish(&self, before: &Controls, now: &BTreeMap<LimitScope, ScopeStatus>) -> Result<(), Error> {
        let news = now.iter().filter(|(scope, scope_status)| {
            !before.scopes.get(scope).is_some_and(|old| old.same_but_for_time(scope_status))
        });
        let news: Vec<_> = news.map(|(scope, scope_status)| Op::Upsert(to_scope_row(scope, scope_status))).collect();
        for ops in news.chunks(100) {
            self.write(ops).await?;
        }
        for scope in before.scopes.keys() {
            if now.contains_key(scope) {
                continue;
            }
            // A rule that was removed: its last word would keep events of a new rule of that id waiting.
            match self.write(&[Op::Delete(scope_key(scope), IfMatch::Any)]).await {
                Ok(_) | Err(table_store::Error::Missing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Changes of a breaker that may lose against others before it is left to the next one.
pub(super) const MAX_TRIES: usize = 16;

impl Ledger {
    /// Changes a breaker by what happened, from whatever it is now: by compare-and-swap, so that no failure is lost
    /// beside another. Returns the breaker as it is then.
    ///
    /// A failure may be counted twice, or not at all, if the process dies or the answer is lost: it is a measure, no
    /// account.
    pub async fn change_breaker(
        &self,
        subject: &BreakerSubject,
        event: &BreakerEvent,
        settings: &BreakerSettings,
        now: OffsetDateTime,
    ) -> Result<Breaker, Error> {
        let key = breaker_key(subject);
        let mut conflict = None;
        for _ in 0..MAX_TRIES {
            let row = self.row(&key).await?;
            let before = row.as_ref().map(|row| from_breaker_row(&row.entity)).transpose()?.unwrap_or_default();
            // Nothing changes: most successes, which would otherwise write a row for each job that ends.
            let Some(next) = before.after(subject, event, settings, now) else { return Ok(before) };
            let entity = to_breaker_row(key.clone(), subject, &next);
            let op = match row {
                None => Op::Insert(entity),
                Some(row) => Op::Replace(entity, IfMatch::Tag(row.etag)),
            };
            match self.write(&[op]).await {
                Ok(_) => return Ok(next),
                // Another process counted something in between: counted on top of that, or its failure would be lost.
                Err(error @ (table_store::Error::AlreadyExists { .. } | table_store::Error::Conflict { .. })) => {
                    conflict = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Unavailable(conflict.unwrap_or(table_store::Error::Conflict { op: 0 })))
    }
}

pub(super) fn breaker_key(subject: &BreakerSubject) -> Key {
    let row = match subject {
        BreakerSubject::Deployment { endpoint, deployment } => {
            format!("breaker~{}", endpoint.deployment_key(deployment.as_ref()))
        }
        BreakerSubject::Rule(rule) => format!("pause~{rule}"),
    };
    Key::new(PARTITION, row)
}

impl Controls {
    /// A breaker; closed if nothing is known of it.
    pub fn breaker(&self, subject: &BreakerSubject) -> Breaker {
        match subject {
            // Its key is a digest, which nobody needs while all goes well.
            BreakerSubject::Deployment { .. } if self.breakers.is_empty() => None,
            BreakerSubject::Deployment { endpoint, deployment } => {
                self.breakers.get(&endpoint.deployment_key(deployment.as_ref())).map(|known| &known.breaker)
            }
            BreakerSubject::Rule(rule) => self.pauses.get(rule),
        }
        .cloned()
        .unwrap_or_default()
    }

    /// Keeps a breaker as it is now.
    pub(crate) fn store_breaker(&mut self, subject: &BreakerSubject, breaker: Breaker) {
        match subject {
            BreakerSubject::Deployment { endpoint, deployment } => {
                let key = endpoint.deployment_key(deployment.as_ref());
                let (endpoint, deployment) = (endpoint.clone(), deployment.clone());
                self.breakers.insert(key, DeploymentBreaker { endpoint, deployment, breaker });
            }
            BreakerSubject::Rule(rule) => {
                self.pauses.insert(rule.clone(), breaker);
            }
        }
    }

    /// Every breaker with whose it is.
    pub fn subjects(&self) -> impl Iterator<Item = (BreakerSubject, &Breaker)> {
        let deployments = self.breakers.values().map(|known| {
            let DeploymentBreaker { endpoint, deployment, breaker } = known;
            (BreakerSubject::Deployment { endpoint: endpoint.clone(), deployment: deployment.clone() }, breaker)
        });
        let rules = self.pauses.iter().map(|(rule, breaker)| (BreakerSubject::Rule(rule.clone()), breaker));
        deployments.chain(rules)
    }

    fn add(&mut self, row: &Row) -> Result<(), Unreadable> {
        let entity = &row.entity;
        let unreadable = |what: &str| unreadable(entity, what);
        check_schema(entity)?;
        let Some((kind, rest)) = entity.key.row.split_once('~') else {
            return Err(unreadable("it is not a control row"));
        };
        match kind {
            "scope" => {
                let scope =
                    LimitScope::read(rest).ok_or_else(|| unreadable("the key names no rule and no endpoint"))?;
                self.scopes.insert(scope, from_scope_row(entity));
            }
            "limit" => {
                let scope =
                    LimitScope::read(rest).ok_or_else(|| unreadable("the key names no rule and no endpoint"))?;
                self.limits.insert(scope, from_limit_row(entity)?);
            }
            "published" => self.published = true,
            "breaker" => {
                let key = rest.parse().map_err(|_| unreadable("the key names no deployment"))?;
                self.breakers.insert(key, from_deployment_breaker_row(entity)?);
            }
            "pause" => {
                let rule = rest.parse().map_err(|_| unreadable("the key names no rule"))?;
                self.pauses.insert(rule, from_breaker_row(entity)?);
            }
            _ => return Err(unreadable("a control of a kind that this version does not know")),
        }
        Ok(())
    }
}

pub(super) fn from_limit_row(row: &Entity) -> Result<LiveLimit, Unreadable> {
    let limit = row.int32("Limit").and_then(|limit| u32::try_from(limit).ok());
    Ok(LiveLimit {
        name: row.string("Name").unwrap_or_default().to_owned(),
        limit: limit.ok_or_else(|| unreadable(row, "`Limit` is missing or not a count"))?,
        set: row.time("SetTime").ok_or_else(|| unreadable(row, "`SetTime` is missing or not a time"))?,
        by: row.string("SetBy").map(str::to_owned),
        reason: row.string("Reason").map(str::to_owned),
    })
}

fn unreadable(row: &Entity, what: &str) -> Unreadable {
    Unreadable { key: row.key.to_string(), what: what.to_owned() }
}

fn check_schema(row: &Entity) -> Result<(), Unreadable> {
    match row.int32("SchemaVersion") {
        Some(version) if version <= SCHEMA => Ok(()),
        _ => Err(unreadable(row, "its schema is newer than this version reads; deploy the newer version again")),
    }
}

pub(super) fn to_breaker_row(key: Key, subject: &BreakerSubject, breaker: &Breaker) -> Entity {
    let named = match subject {
        BreakerSubject::Deployment { endpoint, deployment } => {
            Entity::new(key).with("Endpoint", endpoint.as_str()).with_some("Deployment", deployment.as_deref())
        }
        BreakerSubject::Rule(rule) => Entity::new(key).with("RuleId", rule.as_str()),
    };
    let outcome = |Outcome { id, source, failed, is_group }: &Outcome| {
        let group = if *is_group { GROUP } else { "" };
        format!("{id}:{}:{}{group}", source.as_str(), failed.map_or(SCORED, FailureCause::name))
    };
    named
        .with("SchemaVersion", SCHEMA)
        .with("Failures", count(u32::try_from(breaker.in_a_row()).unwrap_or(u32::MAX)))
        .with("Outcomes", breaker.outcomes.iter().map(outcome).collect::<Vec<_>>().join(" "))
        .with_some("Error", breaker.error.as_deref())
        .with_some("FailedTime", breaker.failed)
        .with_some("OpenUntil", breaker.open_until)
        .with_some("Probe", breaker.probe.as_ref().map(|probe| probe.id.as_str()))
        .with_some("ProbeUntil", breaker.probe.as_ref().map(|probe| probe.until))
        .with_some("RanOn", breaker.ran_on.as_ref().map(|ran_on| ran_on.deployment.as_str()))
        .with_some("RanOnSubmitted", breaker.ran_on.as_ref().map(|ran_on| ran_on.submitted))
}

/// The word for an outcome that is no failure.
const SCORED: &str = "scored";
/// What stands behind the word where the outcome is a group's.
const GROUP: &str = ":group";

fn read_outcome(text: &str) -> Option<Outcome> {
    let (text, is_group) = text.strip_suffix(GROUP).map_or((text, false), |text| (text, true));
    let mut parts = text.split(':');
    let (id, source) = (ScoringId::read(parts.next()?)?, Source::read(parts.next()?)?);
    let failed = match parts.next()? {
        SCORED => None,
        word => Some(word.parse().ok()?),
    };
    Some(Outcome { id, source, failed, is_group })
}

pub(super) fn from_breaker_row(row: &Entity) -> Result<Breaker, Unreadable> {
    check_schema(row)?;
    let outcomes = row.string("Outcomes").unwrap_or_default().split(' ').filter(|text| !text.is_empty());
    let outcomes: Option<Vec<_>> = outcomes.map(read_outcome).collect();
    let deployment = row.string("RanOn").map(str::parse::<DeploymentName>).transpose();
    let deployment = deployment.map_err(|error| unreadable(row, &format!("`RanOn`: {error}")))?;
    let ran_on = deployment.zip(row.time("RanOnSubmitted"));
    let probe = row.string("Probe").and_then(ScoringId::read).zip(row.time("ProbeUntil"));
    Ok(Breaker {
        outcomes: outcomes.ok_or_else(|| unreadable(row, "`Outcomes` is not a list of outcomes"))?,
        error: row.string("Error").map(str::to_owned),
        failed: row.time("FailedTime"),
        open_until: row.time("OpenUntil"),
        probe: probe.map(|(id, until)| Probe { id, until }),
        ran_on: ran_on.map(|(deployment, submitted)| RanOn { deployment, submitted }),
    })
}

fn from_deployment_breaker_row(row: &Entity) -> Result<DeploymentBreaker, Unreadable> {
    let endpoint = row.string("Endpoint").unwrap_or_default().parse();
    let deployment = row.string("Deployment").map(str::parse).transpose();
    Ok(DeploymentBreaker {
        endpoint: endpoint.map_err(|error| unreadable(row, &format!("`Endpoint`: {error}")))?,
        deployment: deployment.map_err(|error| unreadable(row, &format!("`Deployment`: {error}")))?,
        breaker: from_breaker_row(row)?,
    })
}

/// What rows say of what a group is made of.
const FOLDER: &str = "folder";
/// The same of a group by time.
const RULE: &str = "rule";

fn scope_key(scope: &LimitScope) -> Key {
    Key::new(PARTITION, format!("scope~{}", scope.key()))
}

fn to_scope_row(scope: &LimitScope, scope_status: &ScopeStatus) -> Entity {
    Entity::new(scope_key(scope))
        .with("SchemaVersion", SCHEMA)
        .with("Name", scope_status.name.as_str())
        .with_some("Configured", scope_status.configured.map(count))
        .with_some("Taken", scope_status.taken.map(count))
        .with("Surplus", scope_status.surplus)
        .with("Waiting", count(scope_status.waiting))
        .with_some("WaitingGroups", Some(scope_status.waiting_groups).filter(|groups| *groups > 0).map(count))
        .with_some("Reason", scope_status.reason.as_deref().map(|reason| clipped(reason, MAX_FOREIGN)))
        .with_some("GroupBy", scope_status.groups.as_ref().map(|groups| if groups.by_folder { FOLDER } else { RULE }))
        .with_some("GroupMarker", scope_status.groups.as_ref().and_then(|groups| groups.marker.as_deref()))
        .with_some("GroupMaxFiles", scope_status.groups.as_ref().map(|groups| count(groups.max_files)))
        .with_some("GroupMaxWaitSeconds", scope_status.groups.as_ref().map(|groups| groups.max_wait.whole_seconds()))
        .with_some("SeenTime", scope_status.seen_at)
}

fn from_scope_row(row: &Entity) -> ScopeStatus {
    let number = |name: &str| row.int32(name).and_then(|number| u32::try_from(number).ok());
    ScopeStatus {
        name: row.string("Name").unwrap_or_default().to_owned(),
        configured: number("Configured"),
        taken: number("Taken"),
        surplus: row.boolean("Surplus").unwrap_or(false),
        waiting: number("Waiting").unwrap_or(0),
        waiting_groups: number("WaitingGroups").unwrap_or(0),
        reason: row.string("Reason").map(str::to_owned),
        groups: row.string("GroupBy").and_then(|by| {
            Some(RuleGroups {
                by_folder: by == FOLDER,
                marker: row.string("GroupMarker").map(str::to_owned),
                max_files: number("GroupMaxFiles")?,
                max_wait: Duration::seconds(row.int64("GroupMaxWaitSeconds")?),
            })
        }),
        seen_at: row.time("SeenTime"),
    }
}

impl LimitScope {
    /// As it stands in keys of controls.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Rule(id) => format!("rule~{id}"),
            Self::Endpoint(key) => format!("endpoint~{key}"),
        }
    }

    fn read(key: &str) -> Option<Self> {
        match key.split_once('~')? {
            ("rule", id) => Some(Self::Rule(id.to_owned())),
            ("endpoint", key) => key.parse().ok().map(Self::Endpoint),
            _ => None,
        }
    }
}
