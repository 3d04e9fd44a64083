//! What operators say of controls: limits that they set, circuit breakers that they close. Each is written with a line of its history,
//! who and why, in one transaction, and on the condition that it still is as the operator saw it: of two who speak at one time the
//! second is told so, and decides anew. A lost answer is known by the line, which carries the operation id.

use lifecycle::breaker::{BreakerEvent, BreakerSettings, BreakerSubject};
use lifecycle::digest::digest;
use time::OffsetDateTime;

use super::controls::{MAX_TRIES, PARTITION, SCHEMA, breaker_key, from_breaker_row, from_limit_row, to_breaker_row};
use super::rows::{MAX_FOREIGN, clipped, count, newest_first};
use super::{Controls, Error, Ledger, LimitScope};
use crate::ports::table_store::{self, Entity, IfMatch, Key, Op, Range, Row};

/// Characters of a person's name that are kept.
const MAX_BY: usize = 200;

/// What an operator says of a limit: a line of its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitChange {
    /// The rule's id or the endpoint's invoke URI.
    pub name: String,
    /// Most scorings at one time; 0 pauses, `None` gives the word back to the rules.
    pub limit: Option<u32>,
    /// When it was said (`SetTime`).
    pub at: OffsetDateTime,
    /// Who says it, as the command line or the page names them; cut to 200 UTF-16 units (`SetBy`).
    pub by: String,
    /// Why, if that was said.
    pub reason: Option<String>,
}

/// That an operator closed a circuit breaker: a line of its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerClosed {
    /// When it was closed (`ClosedTime`).
    pub at: OffsetDateTime,
    /// Who closed it, as the command line or the page names them; cut to 200 UTF-16 units (`ClosedBy`).
    pub by: String,
    /// Why, in the operator's own words.
    pub reason: String,
}

/// What became of what an operator said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlOutcome {
    /// It is on record, and holds for all processes as soon as they read the controls again.
    Done,
    /// It held already: nothing was written.
    Already,
    /// Somebody else said something since it was looked at: nothing was written.
    Overtaken,
}

impl Ledger {
    /// Sets the limit of a scope for all processes, with a line of its history, if it still is what `seen` has.
    pub async fn set_limit(
        &self,
        scope: &LimitScope,
        change: &LimitChange,
        seen: &Controls,
    ) -> Result<ControlOutcome, Error> {
        let key = Key::new(PARTITION, format!("limit~{}", scope.key()));
        let LimitChange { name, limit, at, by, reason } = change;
        let said = |key: Key| {
            Entity::new(key)
                .with("SchemaVersion", SCHEMA)
                .with("Name", clipped(name, MAX_FOREIGN))
                .with_some("Limit", limit.map(count))
                .with("SetTime", *at)
                .with("SetBy", clipped(by, MAX_BY))
                .with_some("Reason", reason.as_deref().map(|reason| clipped(reason, MAX_FOREIGN)))
        };
        let before = self.row(&key).await?;
        let found = before.as_ref().map(|row| from_limit_row(&row.entity)).transpose()?;
        if found.as_ref() != seen.limits.get(scope) {
            return Ok(ControlOutcome::Overtaken);
        }
        let op = match (before, limit) {
            (None, None) => return Ok(ControlOutcome::Already),
            (None, Some(_)) => Op::Insert(said(key)),
            (Some(row), Some(_)) => Op::Replace(said(key), IfMatch::Tag(row.etag)),
            (Some(row), None) => Op::Delete(key, IfMatch::Tag(row.etag)),
        };
        let line = |key: &str| said(Key::new(PARTITION, format!("{}{key}", limit_history(scope))));
        Ok(if self.say(op, *at, line).await? { ControlOutcome::Done } else { ControlOutcome::Overtaken })
    }

    /// What operators have said of the limit of a scope, the newest first; at most `max`.
    pub async fn limit_history(&self, scope: &LimitScope, max: usize) -> Result<Vec<LimitChange>, Error> {
        let range = Range::of_prefix(PARTITION, &limit_history(scope));
        let rows = self.all(&self.0.state, &range, max).await?;
        let line = |row: &Row| {
            let row = &row.entity;
            let text = |name: &str| row.string(name).map(str::to_owned);
            Some(LimitChange {
                name: text("Name")?,
                limit: row.int32("Limit").and_then(|limit| u32::try_from(limit).ok()),
                at: row.time("SetTime")?,
                by: text("SetBy")?,
                reason: text("Reason"),
            })
        };
        Ok(rows.iter().filter_map(line).collect())
    }

    /// Closes a circuit breaker for all processes, with a line of its history. What is counted meanwhile is no objection: it is
    /// closed whatever it counts. [`ControlOutcome::Already`]: nothing was counted that could be forgotten.
    pub async fn close_breaker(
        &self,
        subject: &BreakerSubject,
        closed: &BreakerClosed,
    ) -> Result<ControlOutcome, Error> {
        let key = breaker_key(subject);
        let BreakerClosed { at, by, reason } = closed;
        let line = |key: &str| {
            Entity::new(Key::new(PARTITION, format!("{}{key}", breaker_history(subject))))
                .with("SchemaVersion", SCHEMA)
                .with("ClosedTime", *at)
                .with("ClosedBy", clipped(by, MAX_BY))
                .with("Reason", clipped(reason, MAX_FOREIGN))
        };
        for _ in 0..MAX_TRIES {
            let Some(row) = self.row(&key).await? else { return Ok(ControlOutcome::Already) };
            let before = from_breaker_row(&row.entity)?;
            // Closing needs no settings.
            let next = before.after(subject, &BreakerEvent::Closed, &BreakerSettings::default(), *at);
            let Some(next) = next else { return Ok(ControlOutcome::Already) };
            let op = Op::Replace(to_breaker_row(key.clone(), subject, &next), IfMatch::Tag(row.etag));
            if self.say(op, *at, line).await? {
                return Ok(ControlOutcome::Done);
            }
        }
        Ok(ControlOutcome::Overtaken)
    }

    /// Who closed a circuit breaker, the newest first; at most `max`.
    pub async fn breaker_history(&self, subject: &BreakerSubject, max: usize) -> Result<Vec<BreakerClosed>, Error> {
        let range = Range::of_prefix(PARTITION, &breaker_history(subject));
        let rows = self.all(&self.0.state, &range, max).await?;
        let line = |row: &Row| {
            let row = &row.entity;
            Some(BreakerClosed {
                at: row.time("ClosedTime")?,
                by: row.string("ClosedBy")?.to_owned(),
                reason: row.string("Reason")?.to_owned(),
            })
        };
        Ok(rows.iter().filter_map(line).collect())
    }

    /// Writes a change and its line in one transaction; `false`: the condition does not hold, and nothing was written.
    async fn say(&self, change: Op, at: OffsetDateTime, line: impl Fn(&str) -> Entity) -> Result<bool, Error> {
        let op = self.op_id();
        // Of two lines of one moment both are kept.
        let line = line(&format!("{}~{}", newest_first(at), &digest(&[&op])[..8])).with("OpId", op.as_str());
        let ops = [change, Op::Insert(line.clone())];
        let mut is_repeated = false;
        loop {
            let error = match self.write(&ops).await {
                Ok(_) => return Ok(true),
                Err(
                    error @ (table_store::Error::AlreadyExists { .. }
                    | table_store::Error::Conflict { .. }
                    | table_store::Error::Missing { .. }
                    | table_store::Error::Ambiguous(_)),
                ) => error,
                Err(error) => return Err(error.into()),
            };
            let written = self.row(&line.key).await?;
            if written.is_some_and(|row| row.entity.string("OpId") == Some(&op)) {
                return Ok(true);
            }
            // Not there after a lost answer: it may still arrive, and of two on one condition one is done.
            if !matches!(error, table_store::Error::Ambiguous(_)) {
                return Ok(false);
            }
            if is_repeated {
                return Err(error.into());
            }
            is_repeated = true;
        }
    }
}

/// What the keys of its lines begin with.
fn limit_history(scope: &LimitScope) -> String {
    format!("~limit~{}~", scope.key())
}

/// The same of a circuit breaker.
fn breaker_history(subject: &BreakerSubject) -> String {
    format!("~{}~", breaker_key(subject).row)
}
