//! The Durable-shaped projection: `{Hub}Instances` and `{Hub}History`, for tools that know Durable Functions.
//!
//! It is written from the outbox rows that every move leaves in its own transaction, so none is ever forgotten; it is
//! never read back into a decision, so a tool that deletes or edits it does no harm. Vocabulary and types are what the
//! oldest reader accepts (Core Tools still reads with the library of 2019): no `Suspended`, no `EventSent`, JSON in
//! `Input` and `Output` (a bare URL there is taken for a reference to a blob and downloaded).
//!
//! Source: durabletask, `AzureTableTrackingStore.cs`, `TableEntityConverter.cs`, `DurableTask.Core/History`.

use futures::{StreamExt as _, stream};
use lifecycle::{Entry, Event, Scoring, ScoringId, Status};
use serde_json::json;

use crate::ports::table_store::{self, Entity, IfMatch, Key, Op, Range, Row};

use super::rows::{MAX_FOREIGN, clipped};
use super::{Error, Ledger, SHARDS, rows};

/// Own column on the instance row: a projection never goes back to an older version.
const STATE_VERSION: &str = "StateVersion";
/// Instances projected at one time.
const MAX_CONCURRENT_PROJECTIONS: usize = 8;
/// Attempts against another projector of the same instance.
const MAX_TRIES: usize = 4;

impl Ledger {
    /// Projects what waits in the outboxes until `go_on` says no. Returns how many instances were projected; what could
    /// not be projected stays in its outbox.
    pub async fn project(&self, go_on: &(dyn Fn() -> bool + Sync)) -> Result<usize, Error> {
        let mut projected = 0;
        for shard in 0..SHARDS {
            let range = Range::of_prefix(rows::shard(shard), "P~");
            let mut from = None;
            loop {
                if !go_on() {
                    return Ok(projected);
                }
                let page = self.page(&self.0.state, &range, from.as_ref()).await?;
                let results = stream::iter(page.rows)
                    .map(|row| self.project_one(row))
                    .buffer_unordered(MAX_CONCURRENT_PROJECTIONS);
                let results: Vec<Result<(), Error>> = results.collect().await;
                for result in results {
                    match result {
                        Ok(()) => projected += 1,
                        // One unreadable row must not stop the projection of all others.
                        Err(error) => {
                            tracing::warn!(error = %error, "an instance was not projected and stays in the outbox");
                        }
                    }
                }
                match page.next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
        }
        Ok(projected)
    }

    async fn project_one(&self, outbox: Row) -> Result<(), Error> {
        let Some(id) = outbox.entity.key.row.strip_prefix("P~").and_then(ScoringId::read) else {
            return Ok(());
        };
        match self.get(&id).await? {
            Some((scoring, _)) => {
                let entries = self.entries(&id).await?;
                // History first, like Durable: a reader never sees a final instance without its end.
                self.project_write(&self.0.history, &history(&scoring, &entries)).await?;
                self.project_instance(&scoring).await?;
            }
            None => self.unproject(&id).await?,
        }
        match self.write(&[Op::Delete(outbox.entity.key, IfMatch::Tag(outbox.etag))]).await {
            // A newer move has written the outbox again, or another projector was faster.
            Ok(_) | Err(table_store::Error::Conflict { .. } | table_store::Error::Missing { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn project_write(&self, table: &table_store::TableName, ops: &[Op]) -> Result<(), Error> {
        // Upserts of equal content: a lost answer is answered by writing again.
        match self.write_to(table, ops).await {
            Err(table_store::Error::Ambiguous(_)) => self.write_to(table, ops).await.map(drop)?,
            other => other.map(drop)?,
        }
        Ok(())
    }

    async fn project_instance(&self, scoring: &Scoring) -> Result<(), Error> {
        let row = instance(scoring, self.0.instances.as_str());
        for _ in 0..MAX_TRIES {
            let current = match self.0.store.get(&self.0.instances, &row.key).await {
                Err(table_store::Error::TableMissing) => None,
                other => other?,
            };
            let op = match current {
                Some(current) if current.entity.int64(STATE_VERSION).unwrap_or(0) >= scoring.version => return Ok(()),
                Some(current) => Op::Replace(row.clone(), IfMatch::Tag(current.etag)),
                None => Op::Insert(row.clone()),
            };
            match self.write_to(&self.0.instances, &[op]).await {
                Ok(_) => return Ok(()),
                Err(
                    table_store::Error::Conflict { .. }
                    | table_store::Error::AlreadyExists { .. }
                    | table_store::Error::Missing { .. }
                    | table_store::Error::Ambiguous(_),
                ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Unavailable(table_store::Error::Unavailable(format!(
            "the instance row of {} keeps changing",
            scoring.id
        ))))
    }

    async fn unproject(&self, id: &ScoringId) -> Result<(), Error> {
        let range = Range { partition: id.to_string(), from: String::new(), below: "~".to_owned() };
        for table in [&self.0.history, &self.0.instances] {
            let found = self.all(table, &range, usize::MAX).await?;
            let deletes: Vec<Op> = found.into_iter().map(|row| Op::Delete(row.entity.key, IfMatch::Any)).collect();
            for batch in deletes.chunks(100) {
                match self.write_to(table, batch).await {
                    Ok(_) | Err(table_store::Error::Missing { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

/// Durable's word for a status. All of these are known to every reader.
fn runtime_status(status: Status) -> &'static str {
    match status {
        Status::Queued => "Pending",
        Status::Submitting
        | Status::Unknown
        | Status::Held
        | Status::Running
        | Status::Cancelling
        | Status::Verifying => "Running",
        Status::Scored => "Completed",
        Status::Failed => "Failed",
        Status::Cancelled => "Canceled",
        // Ended without a result, and nobody's failure.
        Status::Gone | Status::Superseded => "Terminated",
    }
}

/// A text from outside, short enough for a JSON text among others, as in the ledger.
fn foreign(text: &str) -> String {
    clipped(text, MAX_FOREIGN)
}

fn input(scoring: &Scoring) -> String {
    let (url, etag) = (foreign(&scoring.blob.url), foreign(&scoring.blob.etag));
    json!({ "blobUrl": url, "etag": etag, "rule": scoring.rule }).to_string()
}

fn output(scoring: &Scoring) -> String {
    let (uri, error) = (scoring.output_uri().map(foreign), scoring.error.as_deref().map(foreign));
    let mut output = json!({ "outputUri": uri, "bytes": scoring.output_bytes, "error": error });
    // Where one URI does not tell them; as long as they are, they fit beside the rest.
    let all: std::collections::BTreeMap<&str, &str> = scoring.output_uris().collect();
    let length: usize = all.iter().map(|(name, uri)| name.len() + uri.len()).sum();
    if all.len() > 1 && length <= MAX_FOREIGN {
        output["outputs"] = json!(all);
    }
    output.to_string()
}

fn instance(s: &Scoring, table: &str) -> Entity {
    let custom = json!({
        "status": s.status.name(),
        "attempt": s.attempt,
        "job": s.job.as_ref().map(|job| &job.name),
        "jobStatus": s.job_status,
        "lastError": s.last_error.as_deref().map(foreign),
    });
    Entity::new(Key::new(s.id.as_str(), ""))
        .with("ExecutionId", s.id.as_str())
        .with("Name", s.rule.as_str())
        .with("Version", "")
        .with("Input", input(s))
        .with_some("Output", s.status.is_terminal().then(|| output(s)))
        .with("CustomStatus", custom.to_string())
        .with("CreatedTime", s.created)
        .with("LastUpdatedTime", s.updated)
        .with_some("CompletedTime", s.completed)
        .with("RuntimeStatus", runtime_status(s.status))
        .with("Generation", 0)
        .with("TaskHubName", table.strip_suffix("Instances").unwrap_or(table))
        .with(STATE_VERSION, s.version)
}

/// History rows and the sentinel, as upserts of one transaction.
fn history(s: &Scoring, entries: &[Entry]) -> Vec<Op> {
    let row = |key: String| Entity::new(Key::new(s.id.as_str(), key)).with("ExecutionId", s.id.as_str());
    let mut scheduled = None;
    // An orphaned job that is found later is written below the end, and leaves it the end.
    let last = entries.iter().rfind(|entry| entry.from != Some(entry.to) && entry.to == s.status).map_or(0, |e| e.seq);
    let mut ops: Vec<Op> = Vec::with_capacity(entries.len() + 1);
    for entry in entries {
        let number = i32::try_from(entry.seq).unwrap_or(i32::MAX);
        let base = row(format!("{:016X}", entry.seq - 1)).with("_Timestamp", entry.at).with("IsPlayed", false);
        let raised = |name: &str| {
            let details = json!({ "reason": entry.reason, "to": entry.to.name(), "job": entry.job });
            base.clone()
                .with("EventType", "EventRaised")
                .with("EventId", -1)
                .with("Name", name)
                .with("Input", details.to_string())
        };
        let event = match entry.event {
            None => base
                .clone()
                .with("EventType", "ExecutionStarted")
                .with("EventId", -1)
                .with("Name", s.rule.as_str())
                .with("Version", "")
                .with("Input", input(s))
                .with(
                    "OrchestrationInstance",
                    json!({ "InstanceId": s.id.as_str(), "ExecutionId": s.id.as_str() }).to_string(),
                ),
            // But for an end after which it was opened again: an instance has one end, its last.
            Some(_) if entry.to.is_terminal() && entry.seq == last => base
                .clone()
                .with("EventType", "ExecutionCompleted")
                .with("EventId", -1)
                .with("OrchestrationStatus", runtime_status(entry.to))
                .with("Result", output(s)),
            Some(Event::SlotFree | Event::FoundNone) => {
                scheduled = Some(number);
                // Unique among scheduled rows: readers build a dictionary on it.
                base.clone()
                    .with("EventType", "TaskScheduled")
                    .with("EventId", number)
                    .with("Name", "Submit")
                    .with("Version", "")
                    .with("Input", json!({ "attempt": entry.attempt, "reason": entry.reason }).to_string())
            }
            Some(event @ (Event::Accepted | Event::FoundOne | Event::FoundSeveral)) => match scheduled.take() {
                Some(id) => base
                    .clone()
                    .with("EventType", "TaskCompleted")
                    .with("EventId", -1)
                    .with("TaskScheduledId", id)
                    .with("Result", json!({ "job": entry.job, "reason": entry.reason }).to_string()),
                None => raised(event.name()),
            },
            Some(event @ Event::RefusedTransiently) => match scheduled.take() {
                Some(id) => base
                    .clone()
                    .with("EventType", "TaskFailed")
                    .with("EventId", -1)
                    .with("TaskScheduledId", id)
                    .with("Reason", entry.reason.as_str()),
                None => raised(event.name()),
            },
            Some(event) => raised(event.name()),
        };
        ops.push(Op::Upsert(event));
    }
    let sentinel =
        row("sentinel".to_owned()).with("IsCheckpointComplete", true).with("CheckpointCompletedTimestamp", s.updated);
    ops.push(Op::Upsert(sentinel));
    ops
}
