//! Signs of life of the timer, for anybody who can read the ledger: one row that each reconcile run overwrites when it begins, and
//! one, the heartbeat, that each complete one overwrites when it ends.
//!
//! Nothing is decided by them. They stand in a partition of their own: releases from before it never read that, and go on
//! beside it.

use lifecycle::schedule::is_ahead;
use time::OffsetDateTime;

use super::{Error, Ledger, rows};
use crate::ports::table_store::{Entity, Key, Range};

const PARTITION: &str = "heartbeat";
/// Row keys: of the last complete run, of the last one that began.
const COMPLETE: &str = "reconcile";
const BEGUN: &str = "reconcile-begun";

/// What the last complete reconcile run has left, by which others see that the app is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// When it began, by the clock of the process that made it.
    pub at: OffsetDateTime,
    /// Version of the app that made it; empty in a row that does not tell (`Release`).
    pub version: String,
    /// Scorings that were not final then.
    pub in_flight: i64,
    /// How many things could not be done.
    pub errors: i64,
}

/// The last reconcile run that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunRun {
    /// When, by the clock of the process that makes it.
    pub at: OffsetDateTime,
    /// When it must be over: its host ends it then, and one that died ends then for those who look.
    pub until: OffsetDateTime,
    /// When it ended without being complete. One that was killed never says so.
    pub ended: Option<OffsetDateTime>,
    /// When the first of those began that no complete run has followed.
    pub first: OffsetDateTime,
    /// How many these are, this one included.
    pub count: i64,
}

/// What the ledger knows of reconcile runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Runs {
    /// The last one that did all that it had to do; `None`: there never was one, or its row cannot be read.
    pub complete: Option<Heartbeat>,
    /// The last one that began, which may be the same.
    pub begun: Option<BegunRun>,
}

impl Runs {
    /// The last one that began, if it is not known to be complete.
    pub fn unfinished(&self) -> Option<&BegunRun> {
        let complete = self.complete.as_ref().map(|heartbeat| heartbeat.at);
        self.begun.as_ref().filter(|begun| complete.is_none_or(|at| at < begun.at))
    }

    /// The one that is at work now, as far as can be told: it began, has not ended and still has time.
    pub fn running(&self, now: OffsetDateTime) -> Option<&BegunRun> {
        self.unfinished().filter(|begun| begun.ended.is_none() && now <= begun.until && !is_ahead(begun.at, now))
    }

    /// One that begins now after these.
    #[must_use]
    pub fn next(&self, now: OffsetDateTime, until: OffsetDateTime) -> BegunRun {
        // A time that is yet to come was told by a clock that was wrong.
        let before = self.unfinished().filter(|begun| !is_ahead(begun.first, now));
        let (first, count) = before.map_or((now, 0), |begun| (begun.first, begun.count));
        BegunRun { at: now, until, ended: None, first, count: count + 1 }
    }
}

impl Ledger {
    /// Keeps a heartbeat in the place of the last one. Of two at once either may stay.
    pub async fn record_heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), Error> {
        let row = Entity::new(Key::new(PARTITION, COMPLETE))
            .with("SchemaVersion", rows::SCHEMA)
            .with("RunTime", heartbeat.at)
            .with("Release", heartbeat.version.as_str())
            .with("InFlight", heartbeat.in_flight)
            .with("Errors", heartbeat.errors);
        self.upsert_row(row).await
    }

    /// Keeps a run that has begun, or has ended without being complete, in the place of the last one. Of two at once either may
    /// stay.
    pub async fn record_begun_run(&self, run: &BegunRun) -> Result<(), Error> {
        let mut row = Entity::new(Key::new(PARTITION, BEGUN))
            .with("SchemaVersion", rows::SCHEMA)
            .with("RunTime", run.at)
            .with("UntilTime", run.until)
            .with("FirstTime", run.first)
            .with("Runs", run.count);
        if let Some(ended) = run.ended {
            row = row.with("EndTime", ended);
        }
        self.upsert_row(row).await
    }

    /// The last heartbeat and the last run that began, as far as there ever were any.
    pub async fn runs(&self) -> Result<Runs, Error> {
        let range = Range::of_prefix(PARTITION, COMPLETE);
        let (mut runs, mut from) = (Runs::default(), None);
        loop {
            let page = self.page(&self.0.state, &range, from.as_ref()).await?;
            for row in page.rows {
                match row.entity.key.row.as_str() {
                    COMPLETE => runs.complete = heartbeat(&row.entity),
                    BEGUN => runs.begun = begun_run(&row.entity),
                    _ => {}
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(runs);
            }
        }
    }

    /// The last heartbeat, if there ever was one.
    pub async fn heartbeat(&self) -> Result<Option<Heartbeat>, Error> {
        Ok(self.runs().await?.complete)
    }
}

fn heartbeat(entity: &Entity) -> Option<Heartbeat> {
    Some(Heartbeat {
        at: entity.time("RunTime")?,
        version: entity.string("Release").unwrap_or_default().to_owned(),
        in_flight: entity.int64("InFlight").unwrap_or_default(),
        errors: entity.int64("Errors").unwrap_or_default(),
    })
}

fn begun_run(entity: &Entity) -> Option<BegunRun> {
    let at = entity.time("RunTime")?;
    Some(BegunRun {
        at,
        until: entity.time("UntilTime").unwrap_or(at),
        ended: entity.time("EndTime"),
        first: entity.time("FirstTime").unwrap_or(at),
        count: entity.int64("Runs").unwrap_or(1),
    })
}
