//! The ledger: every scoring, its history and its indexes, in one table.
//!
//! One move of a scoring is one entity group transaction over its rows ([`rows`]), so that status, history and indexes
//! never disagree; that is why all rows of a scoring lie in one partition, and why Durable Functions' own layout (one
//! table for instances, one for history) is a *projection* here and not the truth. The row `J~` is the
//! compare-and-swap target: whoever reads a version and writes the next one is its driver, everybody else loses
//! quietly.
//!
//! Writes carry an operation id. After an answer that may hide our own success (a conflict, a taken key, a lost
//! answer) the row is read back before anything is concluded: `OpId` ours means that it was us.
//!
//! Never: a write without a condition to a row that two may change; a conclusion from an ambiguous answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::{StreamExt as _, stream};
use lifecycle::id::LedgerId;
use lifecycle::{Entry, Scoring, ScoringId, Status};
use time::OffsetDateTime;
use tokio::sync::OnceCell;

use crate::ports::table_store::{
    self, Continuation, ETag, Entity, IfMatch, InvalidTableName, Key, Op, Page, Properties, Range, Row, TableName,
    TableStore, Value,
};

mod attention;
mod attention_rows;
mod backfills;
mod callbacks;
mod control_orders;
mod controls;
mod dead_letters;
mod durable_rows;
mod end_count_rows;
mod end_counts;
mod end_rows;
mod ends;
mod group_columns;
mod group_rows;
mod groups;
mod heartbeat;
mod identity;
mod index_rows;
mod job_names;
mod listed;
mod manifests;
mod merged;
mod moved;
mod orphan_scan;
mod pending;
mod projection;
mod published;
mod rate;
mod received;
mod retention;
pub mod rows;
mod rules_problem;
mod slots;
mod starts;
mod sweeps;
mod unannounced;
mod workspaces;

pub use attention_rows::{Unacknowledged, attention_key};
pub use backfills::BackfillRow;
pub use callbacks::Callback;
pub use control_orders::{BreakerClosed, ControlOutcome, LimitChange};
pub use controls::{Controls, DeploymentBreaker, LiveLimit, RuleGroups, ScopeStatus};
pub use dead_letters::DeadLettersLeft;
pub use durable_rows::runtime_status;
pub use end_count_rows::begin_of_hour;
pub use end_counts::{EndCount, EndCounts};
pub use end_rows::{Ended, end_keys};
pub use ends::NewestEnds;
pub use group_columns::InGroup;
pub use group_rows::StagedFolder;
pub use heartbeat::{BegunRun, Heartbeat, Runs};
pub use index_rows::{Announced, Listed, Place, Received, ReceivedScoring, Skipped, listed_key};
pub use listed::NewestScorings;
pub use manifests::{DayManifest, ManifestPart};
pub use moved::FormerName;
pub use orphan_scan::OrphanScan;
pub use pending::Pending;
pub use rate::{PermitOutcome, SubmitPermit};
pub use received::{Quarantined, RecordedEvent};
pub use rows::{IN_FLIGHT_PARTS, InFlight, SHARDS, Terminal, Unreadable};
pub use rules_problem::RulesProblem;
pub use slots::{Cap, LimitScope, MAX_CLAIM_AGE, ReconciledSlots, SLOT_EXPIRY, Slot};
pub use starts::{KeptStart, KeyedStart};
pub use sweeps::NotSwept;
pub use unannounced::{MAX_UNANNOUNCED, Unannounced};

/// Why the ledger could not do it, by what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The table cannot be reached, is throttling, or its answer was lost and cannot be read back. Come back later;
    /// nothing is lost by that.
    #[error("the ledger cannot be reached now")]
    Unavailable(#[source] table_store::Error),
    /// What the table lies in is there and not fit for use: damaged, replaced, of somebody else. Coming back later does not help;
    /// the source names the remedy.
    #[error("the ledger cannot be used as it is")]
    Unusable(#[source] table_store::Error),
    /// The table refuses us, or a defect of ours.
    #[error("the ledger refuses the request")]
    Refused(#[source] table_store::Error),
    /// A row cannot be read.
    #[error("the ledger holds a row that cannot be read")]
    Unreadable(#[from] Unreadable),
}

impl From<table_store::Error> for Error {
    fn from(error: table_store::Error) -> Self {
        match error {
            table_store::Error::Refused(_) | table_store::Error::Denied(_) => Self::Refused(error),
            table_store::Error::FileUnusable(_) | table_store::Error::Damaged(_) => Self::Unusable(error),
            other => Self::Unavailable(other),
        }
    }
}

/// Rows of one kind as far as they can be read. One that cannot be read is told of, and stops no other.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows<T> {
    /// Those that can be read, in the order of their keys.
    pub read: Vec<T>,
    /// Which rows the others are, and what is wrong with each.
    pub unreadable: Vec<Unreadable>,
}

impl<T> Rows<T> {
    fn of(rows: impl IntoIterator<Item = Result<T, Unreadable>>) -> Self {
        let mut all = Self { read: Vec::new(), unreadable: Vec::new() };
        for row in rows {
            match row {
                Ok(row) => all.read.push(row),
                Err(unreadable) => all.unreadable.push(unreadable),
            }
        }
        all
    }
}

impl<T> std::ops::Deref for Rows<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.read
    }
}

impl<T> IntoIterator for Rows<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.read.into_iter()
    }
}

/// What became of a scoring that was to be written as new.
#[derive(Debug, Clone, PartialEq)]
pub enum Acceptance {
    /// It is in the ledger now, by us.
    New(ETag),
    /// It was there already: the event is a repetition.
    Duplicate(Box<Scoring>),
}

/// How recording a move ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// It is on record; the version to continue from.
    Done(ETag),
    /// Somebody else moved the scoring: stop quietly.
    Lost,
}

/// What a ledger is made of.
#[derive(Debug, Clone)]
pub struct LedgerOptions {
    /// Prefix of the tables' names: `{Hub}State`, `{Hub}Instances`, `{Hub}History`.
    pub task_hub: String,
    /// Name of this writer, unlike that of any other process ever: the beginning of operation ids.
    pub writer: String,
    /// The id that this ledger gets if it has none yet: random, unlike that of any other ledger ever.
    pub new_id: LedgerId,
    /// Whether the Durable-shaped tables are written.
    pub projection: bool,
}

/// Why tables cannot be named after a task hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTaskHub {
    /// It is too short, or leaves no room for the suffixes.
    #[error("the task hub `{0}` has {len} characters; it takes 3 to 45", len = .0.len())]
    Length(String),
    /// A table's name is not made of its characters.
    #[error("the task hub `{task_hub}` cannot begin a table's name")]
    Name {
        /// The task hub that was given (`SCOREKEEPER_TASK_HUB`).
        task_hub: String,
        /// What the Table service does not take.
        #[source]
        source: InvalidTableName,
    },
}

/// The ledger over a table store. Cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    store: Arc<dyn TableStore>,
    state: TableName,
    instances: TableName,
    history: TableName,
    writer: String,
    /// What the ledger is called if nobody has called it anything yet.
    new_id: LedgerId,
    /// What it is called, once this process has read it.
    id: OnceCell<LedgerId>,
    projection: bool,
    /// Something was published, as this process knows for sure.
    published: AtomicBool,
    ops: AtomicU64,
}

impl Ledger {
    /// A ledger; nothing is sent yet. Tables are made when a request first misses them.
    pub fn new(store: Arc<dyn TableStore>, options: &LedgerOptions) -> Result<Self, InvalidTaskHub> {
        let task_hub = &options.task_hub;
        // Durable Functions' rule for task hubs; the longest suffix leaves room within a table's name.
        if !(3..=45).contains(&task_hub.len()) {
            return Err(InvalidTaskHub::Length(task_hub.clone()));
        }
        let named = |table: &str| {
            TableName::read(&format!("{task_hub}{table}"))
                .map_err(|source| InvalidTaskHub::Name { task_hub: task_hub.clone(), source })
        };
        Ok(Self(Arc::new(Inner {
            store,
            state: named("State")?,
            instances: named("Instances")?,
            history: named("History")?,
            writer: options.writer.clone(),
            new_id: options.new_id.clone(),
            id: OnceCell::new(),
            projection: options.projection,
            published: AtomicBool::new(false),
            ops: AtomicU64::new(0),
        })))
    }

    /// What the names of its tables begin with.
    pub fn task_hub(&self) -> &str {
        let state = self.0.state.as_str();
        state.strip_suffix("State").unwrap_or(state)
    }

    fn op_id(&self) -> String {
        format!("{}-{}", self.0.writer, self.0.ops.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes a scoring in: one transaction. `entries` are its first lines of history, `scoring` as it is after them; `announced`
    /// is how it came.
    pub async fn accept(
        &self,
        scoring: &Scoring,
        entries: &[Entry],
        announced: &Announced<'_>,
    ) -> Result<Acceptance, Error> {
        let op = self.op_id();
        let index = match scoring.completed {
            // Its input was looked at on the way in, and it ended by that.
            Some(completed) => Op::Upsert(rows::to_terminal_row(scoring, completed)),
            None => Op::Insert(rows::to_in_flight_row(scoring)),
        };
        let mut ops = vec![Op::Insert(rows::to_scoring_row(scoring, &op)), index];
        ops.extend(scoring.completed.into_iter().flat_map(|completed| end_rows::added(scoring, completed)));
        if scoring.needs_acknowledgement() {
            ops.push(Op::Upsert(attention_rows::to_row(scoring)));
        }
        if !scoring.is_group() {
            ops.push(Op::Upsert(index_rows::to_listed_row(scoring)));
            ops.push(Op::Upsert(index_rows::to_received_row(scoring, announced)));
        }
        ops.extend(entries.iter().map(|entry| Op::Insert(rows::to_history_row(&scoring.id, entry))));
        if scoring.is_group() {
            // Nobody uploaded it: no list, no count and no other tool shows it beside its members.
            ops.push(Op::Insert(group_rows::to_row(scoring)));
        } else {
            ops.push(Op::Upsert(rows::outbox_row(&scoring.id)));
        }
        let mut is_repeated = false;
        loop {
            match self.write(&ops).await {
                Ok(etags) => return Ok(Acceptance::New(first(etags)?)),
                Err(
                    error @ (table_store::Error::AlreadyExists { .. }
                    | table_store::Error::Ambiguous(_)
                    | table_store::Error::Conflict { .. }),
                ) => match self.row(&rows::scoring_key(&scoring.id)).await? {
                    // Ours, and the answer got lost: without the operation id our own success would look like a repetition,
                    // and its intent would wait for its lease.
                    Some(row) if row.entity.string("OpId") == Some(&op) => return Ok(Acceptance::New(row.etag)),
                    Some(row) => return Ok(Acceptance::Duplicate(Box::new(self.whole_scoring(&row.entity).await?))),
                    // Not there after a lost answer (a 500, a reset). It may still arrive: then this insert, or that one, meets
                    // the other, and the operation id says that both are ours.
                    None if !is_repeated && matches!(error, table_store::Error::Ambiguous(_)) => is_repeated = true,
                    // The event is delivered again.
                    None => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Records a move of `before`, read at the version `etag`: one transaction.
    pub async fn record(
        &self,
        before: &Scoring,
        etag: &ETag,
        next: &Scoring,
        entry: &Entry,
    ) -> Result<Recorded, Error> {
        let op = self.op_id();
        let mut ops = vec![Op::Replace(rows::to_scoring_row(next, &op), IfMatch::Tag(etag.clone()))];
        if let Some(completed) = before.completed {
            // Its indexes are as they were if it only learned of an orphaned job.
            if !next.status.is_terminal() {
                // Opened again. These rows change with the scoring's: retention, which deletes the terminal row and the
                // scoring in one transaction, finds the one missing and leaves the other alone.
                let terminal = rows::end_key(before, completed);
                ops.extend(self.ends_removed(before.status, &terminal).await?);
                ops.push(end_count_rows::forgotten(&terminal.partition, completed));
                ops.push(Op::Delete(terminal, IfMatch::Any));
                ops.push(Op::Insert(rows::to_in_flight_row(next)));
            }
        } else if next.status.is_terminal() {
            // Without a condition on the index: the scoring's row beside it in the transaction is the one that is compared.
            ops.push(Op::Delete(rows::in_flight_key(&next.id), IfMatch::Any));
            // Upsert: a scoring that became final has no other terminal row, and a repair may have left one.
            let completed = next.completed.unwrap_or(next.updated);
            ops.push(Op::Upsert(rows::to_terminal_row(next, completed)));
            ops.extend(end_rows::added(next, completed));
        } else {
            ops.push(Op::Replace(rows::to_in_flight_row(next), IfMatch::Any));
        }
        if next.needs_acknowledgement() {
            ops.push(Op::Upsert(attention_rows::to_row(next)));
        } else if before.needs_acknowledgement() {
            ops.push(Op::Delete(attention_rows::attention_key(&next.id), IfMatch::Any));
        }
        // A scoring that goes round for years must not grow beyond what one transaction can purge; how it ended is kept.
        // What is gone or superseded may come and go again: beyond the limit its ends would be lines without end.
        let comes_again = matches!(next.status, Status::Gone | Status::Superseded);
        let ends = next.status.is_terminal() && entry.from != Some(next.status) && !comes_again;
        if entry.seq <= rows::MAX_HISTORY_ENTRIES || ends {
            ops.push(Op::Insert(rows::to_history_row(&next.id, entry)));
        }
        ops.extend(job_names::added(before, next));
        if !next.is_group() {
            // Also while the projection is off: switched on, it shows what moved meanwhile.
            ops.push(Op::Upsert(rows::outbox_row(&next.id)));
        }
        let mut is_repeated = false;
        loop {
            match self.write(&ops).await {
                Ok(etags) => return Ok(Recorded::Done(first(etags)?)),
                Err(
                    error @ (table_store::Error::Conflict { .. }
                    | table_store::Error::AlreadyExists { .. }
                    | table_store::Error::Missing { .. }
                    | table_store::Error::Ambiguous(_)),
                ) => match self.row(&rows::scoring_key(&next.id)).await? {
                    Some(row) if row.entity.string("OpId") == Some(&op) => return Ok(Recorded::Done(row.etag)),
                    // Nobody moved it, and ours may still arrive: not lost yet. Both are of one version, so that only one of
                    // them can be done.
                    Some(row) if row.etag == *etag && matches!(error, table_store::Error::Ambiguous(_)) => {
                        if is_repeated {
                            return Err(error.into());
                        }
                        is_repeated = true;
                    }
                    _ => return Ok(Recorded::Lost),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Changes the row of a scoring, read at the version `etag`, and nothing else: whoever has decided by a look that was begun
    /// before fails to record that, and looks again. `false` if somebody moved it meanwhile, or nobody knows.
    pub async fn touch(&self, id: &ScoringId, etag: &ETag, now: OffsetDateTime) -> Result<bool, Error> {
        // Not its operation id: by that a writer knows its own write whose answer was lost.
        let touched = Entity::new(rows::scoring_key(id)).with("SeenAgainTime", now);
        match self.write(&[Op::Merge(touched, IfMatch::Tag(etag.clone()))]).await {
            Ok(_) => Ok(true),
            Err(
                table_store::Error::Conflict { .. }
                | table_store::Error::Missing { .. }
                | table_store::Error::Ambiguous(_),
            ) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a scoring's times that lay ahead, read at the version `etag`. No move: where it stands and its history stay.
    pub async fn correct_times(&self, etag: &ETag, corrected: &Scoring) -> Result<Recorded, Error> {
        let op = self.op_id();
        let ops = [
            Op::Replace(rows::to_scoring_row(corrected, &op), IfMatch::Tag(etag.clone())),
            Op::Replace(rows::to_in_flight_row(corrected), IfMatch::Any),
        ];
        match self.write(&ops).await {
            Ok(etags) => Ok(Recorded::Done(first(etags)?)),
            // Whoever was faster, or our own lost answer: it is read again.
            Err(
                table_store::Error::Conflict { .. }
                | table_store::Error::Missing { .. }
                | table_store::Error::Ambiguous(_),
            ) => Ok(Recorded::Lost),
            Err(error) => Err(error.into()),
        }
    }

    /// The scoring of a row, with the names of jobs that are in rows of their own.
    async fn whole_scoring(&self, row: &Entity) -> Result<Scoring, Error> {
        let mut scoring = rows::from_scoring_row(row)?;
        if row.int32(rows::FURTHER_JOB_NAMES).is_some_and(|further| further > 0) {
            for row in self.all(&self.0.state, &job_names::range(&scoring.id), usize::MAX).await? {
                job_names::add(&mut scoring, &row.entity)?;
            }
        }
        Ok(scoring)
    }

    /// The scoring and its version.
    pub async fn get(&self, id: &ScoringId) -> Result<Option<(Scoring, ETag)>, Error> {
        match self.row(&rows::scoring_key(id)).await? {
            None => Ok(None),
            Some(row) => Ok(Some((self.whole_scoring(&row.entity).await?, row.etag))),
        }
    }

    /// The scoring's row, as JSON, for whoever looks for what a view leaves out. Of texts that are not our own words only the length
    /// is told: an event, a rule or a service may have put a secret there, and nothing tells a bare one from other text.
    pub async fn row_shown(&self, id: &ScoringId) -> Result<Option<String>, Error> {
        let row = self.row(&rows::scoring_key(id)).await?;
        Ok(row.map(|row| {
            let mut properties = Properties::default();
            for (name, value) in row.entity.properties.iter() {
                let value = match value {
                    Value::String(text) if !rows::OWN_WORDS.contains(&name) => {
                        Value::String(format!("({} characters)", text.chars().count()))
                    }
                    value => value.clone(),
                };
                properties.insert(name.to_owned(), value);
            }
            table_store::json::to_json(&properties)
        }))
    }

    /// The scoring's history, oldest first.
    pub async fn entries(&self, id: &ScoringId) -> Result<Rows<Entry>, Error> {
        let range = Range::of_prefix(rows::partition_of(id), &format!("H~{id}~"));
        let rows = self.all(&self.0.state, &range, 1_000).await?;
        Ok(Rows::of(rows.iter().map(|row| rows::from_history_row(&row.entity))))
    }

    /// One page of a part of the in-flight index, by the order of ids; rows that cannot be read are told apart, so that one of them does
    /// not stop the others.
    pub async fn in_flight_page(
        &self,
        part: u8,
        from: Option<&Continuation>,
    ) -> Result<(Vec<Result<InFlight, Unreadable>>, Option<Continuation>), Error> {
        let page = self.page(&self.0.state, &rows::in_flight_part(part), from).await?;
        Ok((page.rows.iter().map(|row| rows::from_in_flight_row(&row.entity)).collect(), page.next))
    }

    /// Every scoring that is not final, over all shards; for people, not for the tick.
    pub async fn in_flight(&self) -> Result<Rows<InFlight>, Error> {
        let shards = stream::iter(0..SHARDS).map(|shard| async move {
            let range = Range::of_prefix(rows::shard(shard), "F~");
            self.all(&self.0.state, &range, usize::MAX).await
        });
        let mut all = Vec::new();
        let mut pages = shards.buffered(8);
        while let Some(rows) = pages.next().await {
            all.extend(rows?.iter().map(|row| rows::from_in_flight_row(&row.entity)));
        }
        Ok(Rows::of(all))
    }

    /// Final scorings that ended in or after the hour of `since`, from the terminal index, the newest hour of a shard first.
    pub async fn ended_since(&self, since: OffsetDateTime) -> Result<Rows<Terminal>, Error> {
        let below = format!("{}{}~~", rows::TERMINAL, rows::newest_hour_first(since));
        let shards = stream::iter(0..SHARDS).map(|shard| {
            let range = Range { partition: rows::shard(shard), from: rows::TERMINAL.to_owned(), below: below.clone() };
            async move { self.all(&self.0.state, &range, usize::MAX).await }
        });
        let mut all = Vec::new();
        let mut pages = shards.buffered(8);
        while let Some(rows) = pages.next().await {
            all.extend(rows?.iter().map(|row| rows::from_terminal_row(&row.entity)));
        }
        Ok(Rows::of(all))
    }

    /// Scorings whose id begins so, at least one digit; at most `max`.
    pub async fn of_id(&self, beginning: &str, max: usize) -> Result<Rows<Scoring>, Error> {
        // One digit tells the shard.
        let padded = ScoringId::read(&format!("{beginning:0<32}"));
        let Some(least) = padded else { return Ok(Rows { read: Vec::new(), unreadable: Vec::new() }) };
        let range = Range::of_prefix(rows::partition_of(&least), &format!("J~{beginning}"));
        let found = self.all(&self.0.state, &range, max).await?;
        Ok(Rows::of(found.iter().map(|row| rows::from_scoring_row(&row.entity))))
    }

    /// Walks all scorings, shard by shard, page by page, and no groups; `each` returns whether to go on. Returns the rows that it passed
    /// and that cannot be read.
    pub async fn scorings(&self, mut each: impl FnMut(Scoring) -> bool) -> Result<Vec<Unreadable>, Error> {
        let mut unreadable = Vec::new();
        for shard in 0..SHARDS {
            let range = Range::of_prefix(rows::shard(shard), "J~");
            let mut from = None;
            loop {
                let page = self.page(&self.0.state, &range, from.as_ref()).await?;
                for row in &page.rows {
                    match rows::from_scoring_row(&row.entity) {
                        Ok(group) if group.is_group() => {}
                        Ok(scoring) => {
                            if !each(scoring) {
                                return Ok(unreadable);
                            }
                        }
                        Err(row) => unreadable.push(row),
                    }
                }
                match page.next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
        }
        Ok(unreadable)
    }

    async fn row(&self, key: &Key) -> Result<Option<Row>, Error> {
        match self.0.store.get(&self.0.state, key).await {
            Err(table_store::Error::TableMissing) => Ok(None),
            other => Ok(other?),
        }
    }

    async fn page(&self, table: &TableName, range: &Range, from: Option<&Continuation>) -> Result<Page, Error> {
        match self.0.store.page(table, range, from).await {
            Err(table_store::Error::TableMissing) => Ok(Page::default()),
            other => Ok(other?),
        }
    }

    async fn page_of(&self, range: &Range, from: Option<&Continuation>, max: usize) -> Result<Page, Error> {
        match self.0.store.page_of(&self.0.state, range, from, max).await {
            Err(table_store::Error::TableMissing) => Ok(Page::default()),
            other => Ok(other?),
        }
    }

    /// A whole range, up to about `most` rows.
    async fn all(&self, table: &TableName, range: &Range, max: usize) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        let mut from = None;
        loop {
            let page = self.page(table, range, from.as_ref()).await?;
            rows.extend(page.rows);
            match page.next {
                Some(next) if rows.len() < max => from = Some(next),
                _ => break,
            }
        }
        rows.truncate(max);
        Ok(rows)
    }

    /// Writes to the state table, making it when it is missed.
    async fn write(&self, ops: &[Op]) -> Result<Vec<Option<ETag>>, table_store::Error> {
        self.write_to(&self.0.state, ops).await
    }

    async fn write_to(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, table_store::Error> {
        match self.0.store.write(table, ops).await {
            // Made when first missed, not at the start: a cold start then costs no request, and a removed table comes back.
            Err(table_store::Error::TableMissing) => {
                self.0.store.create_table(table).await?;
                self.0.store.write(table, ops).await
            }
            other => other,
        }
    }
}

/// Counts by status, in the order of a life.
pub fn count_by_status(statuses: impl IntoIterator<Item = Status>) -> Vec<(Status, usize)> {
    let mut counts = Status::ALL.map(|status| (status, 0)).to_vec();
    for status in statuses {
        if let Some((_, count)) = counts.iter_mut().find(|(s, _)| *s == status) {
            *count += 1;
        }
    }
    counts
}

fn first(etags: Vec<Option<ETag>>) -> Result<ETag, Error> {
    etags.into_iter().next().flatten().ok_or_else(|| {
        Error::Unavailable(table_store::Error::Ambiguous(
            "the answer to a write has no ETag for its first row".to_owned(),
        ))
    })
}
