//! What Durable Functions' tools are shown of a scoring: one row of `{Hub}Instances`, and its history in `{Hub}History`.
//!
//! Vocabulary and types are what the oldest reader accepts (Core Tools still reads with the library of 2019): no `Suspended`, no
//! `EventSent`, whole numbers of 32 bits (Node's `JSON.stringify` takes no others), JSON in `Input` and `Output` (a bare URL there is
//! taken for a reference to a blob and downloaded).
//!
//! Each line of our history has two rows of theirs, so that a line that ends a submission and something else as well says both, in
//! that order. Every `TaskScheduled` has its end, and every final instance one `ExecutionCompleted`.
//!
//! Source: durabletask, `AzureTableTrackingStore.cs`, `TableEntityConverter.cs`, `DurableTask.Core/History`.

use lifecycle::{Entry, Event, Scoring, Status};
use serde_json::json;

use crate::ports::table_store::{Entity, Key, TableName};

use super::rows::{MAX_FOREIGN, MAX_HISTORY_ENTRIES, clipped};

/// Own column on the instance and on the sentinel: a projection never goes back to an older version.
pub(super) const STATE_VERSION: &str = "StateVersion";
/// Own column on the instance: which ETag the sentinel of its history has.
pub(super) const HISTORY_ETAG: &str = "HistoryETag";
/// Keys below every other but the sentinel's, for what the ledger itself kept no line of.
const BEYOND_THE_LIMIT: [&str; 2] = ["FFFFFFFFFFFFFFFE", "FFFFFFFFFFFFFFFF"];

/// The word that Durable Functions has for a status. All of these are known to every reader.
pub fn runtime_status(status: Status) -> &'static str {
    match status {
        Status::Queued | Status::Grouped => "Pending",
        Status::Staging
        | Status::Submitting
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

/// Of what has more lines than a number of 32 bits counts, the last number.
fn number(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn input(scoring: &Scoring) -> String {
    let (url, etag) = (foreign(&scoring.blob.url), foreign(&scoring.blob.etag));
    json!({ "blobUrl": url, "etag": etag, "rule": scoring.rule }).to_string()
}

fn output(scoring: &Scoring, reason: Option<&str>) -> String {
    let (uri, error) = (scoring.output_uri().map(foreign), scoring.error.as_deref().map(foreign));
    let mut output =
        json!({ "outputUri": uri, "bytes": scoring.output_bytes, "error": error, "reason": reason.map(foreign) });
    // Where one URI does not tell them; as long as they are, they fit beside the rest.
    let all: std::collections::BTreeMap<&str, &str> = scoring.output_uris().collect();
    let length: usize = all.iter().map(|(name, uri)| name.len() + uri.len()).sum();
    if all.len() > 1 && length <= MAX_FOREIGN {
        output["outputs"] = json!(all);
    }
    output.to_string()
}

/// The row of `{Hub}Instances`, which is the table `instances`. `reason` is that of the latest move.
pub(super) fn instance(s: &Scoring, reason: Option<&str>, instances: &TableName) -> Entity {
    let custom = json!({
        "status": s.status.name(),
        "reason": reason.map(foreign),
        "attempt": s.attempt,
        "job": s.job.as_ref().map(|job| &job.name),
        "jobStatus": s.job_status,
        "lastError": s.last_error.as_deref().map(foreign),
    });
    let table = instances.as_str();
    Entity::new(Key::new(s.id.as_str(), ""))
        .with("ExecutionId", s.id.as_str())
        .with("Name", s.rule.as_str())
        .with("Version", "")
        .with("Input", input(s))
        .with_some("Output", s.status.is_terminal().then(|| output(s, reason)))
        .with("CustomStatus", custom.to_string())
        .with("CreatedTime", s.created)
        .with("LastUpdatedTime", s.updated)
        .with_some("CompletedTime", s.completed)
        .with("RuntimeStatus", runtime_status(s.status))
        .with("Generation", 0)
        .with("TaskHubName", table.strip_suffix("Instances").unwrap_or(table))
        .with(STATE_VERSION, number(s.version))
}

/// History rows, and the sentinel, which has our version as the instance has it.
pub(super) fn history(s: &Scoring, entries: &[Entry]) -> (Vec<Entity>, Entity) {
    let mut history = History { scoring: s, scheduled: None, rows: Vec::with_capacity(2 * entries.len() + 2) };
    // An orphaned job that is found later is written below the end, and leaves it the end. What was opened again has another one.
    let end = entries.iter().rfind(|entry| entry.from != Some(entry.to) && entry.to == s.status).map(|entry| entry.seq);
    let end = end.filter(|_| s.status.is_terminal());
    for entry in entries {
        history.add(entry, end == Some(entry.seq));
    }
    if s.version > MAX_HISTORY_ENTRIES {
        history.beyond_the_limit(s.status.is_terminal() && end.is_none());
    }
    let sentinel = history.row("sentinel".to_owned()).with("IsCheckpointComplete", true);
    let sentinel = sentinel.with("CheckpointCompletedTimestamp", s.updated).with(STATE_VERSION, number(s.version));
    (history.rows, sentinel)
}

fn ended(row: Entity, s: &Scoring, reason: Option<&str>) -> Entity {
    row.with("EventType", "ExecutionCompleted")
        .with("OrchestrationStatus", runtime_status(s.status))
        .with("Result", output(s, reason))
}

/// Durable Functions Monitor shows `Details`, others `Reason`.
fn failed(row: Entity, scheduled: i32, reason: &str) -> Entity {
    row.with("EventType", "TaskFailed")
        .with("TaskScheduledId", scheduled)
        .with("Reason", reason)
        .with("Details", reason)
}

/// The rows of a scoring's history, which are made one line after the other.
struct History<'a> {
    scoring: &'a Scoring,
    /// `EventId` of the submission that has no end yet.
    scheduled: Option<i32>,
    rows: Vec<Entity>,
}

impl History<'_> {
    fn row(&self, key: String) -> Entity {
        let id = self.scoring.id.as_str();
        Entity::new(Key::new(id, key)).with("ExecutionId", id)
    }

    /// The first or the second row of a line, but for its type.
    fn of(&self, entry: &Entry, second: bool) -> Entity {
        let row = self.row(format!("{:016X}", 2 * (entry.seq - 1) + i64::from(second)));
        row.with("_Timestamp", entry.at).with("IsPlayed", false)
    }

    fn add(&mut self, entry: &Entry, is_end: bool) {
        match entry.event {
            None => return self.begun(entry),
            Some(Event::RefusedTransiently) if !is_end => {
                if let Some(failed) = self.failed(entry, true) {
                    return self.rows.push(failed);
                }
            }
            Some(Event::Accepted | Event::FoundOne | Event::FoundSeveral | Event::JobNamed | Event::OutputProved) => {
                if let Some(scheduled) = self.scheduled.take() {
                    let result = json!({ "job": entry.job, "reason": entry.reason }).to_string();
                    let completed = self.of(entry, true).with("EventType", "TaskCompleted").with("EventId", -1);
                    return self.rows.push(completed.with("TaskScheduledId", scheduled).with("Result", result));
                }
            }
            // The request that nobody found is at an end, and another one begins.
            Some(Event::SlotFree | Event::FoundNone) => {
                let failed = self.failed(entry, false);
                self.rows.extend(failed);
                return self.scheduled(entry);
            }
            Some(_) => {}
        }
        // Whatever else takes it back into the queue, or ends it, ends the submission first.
        if entry.to == Status::Queued || entry.to.is_terminal() {
            let failed = self.failed(entry, false);
            self.rows.extend(failed);
        }
        let row = self.of(entry, true).with("EventId", -1);
        self.rows.push(if is_end {
            ended(row, self.scoring, Some(&entry.reason))
        } else {
            let details = json!({ "reason": entry.reason, "to": entry.to.name(), "job": entry.job });
            let name = entry.event.map_or("received", Event::name);
            row.with("EventType", "EventRaised").with("Name", name).with("Input", details.to_string())
        });
    }

    /// Lines beyond the limit are not kept. If the latest of them was an end, it is told here. The rows are there in any case then:
    /// an end that is none any more must be overwritten.
    fn beyond_the_limit(&mut self, ended_there: bool) {
        let s = self.scoring;
        let text = "the ledger keeps no more lines of this history";
        for (n, key) in BEYOND_THE_LIMIT.into_iter().enumerate() {
            let row =
                self.row(key.to_owned()).with("_Timestamp", s.updated).with("IsPlayed", false).with("EventId", -1);
            let open = self.scheduled.filter(|_| ended_there && n == 0);
            self.rows.push(match open {
                Some(scheduled) => failed(row, scheduled, text),
                None if ended_there && n == 1 => ended(row, s, None),
                None => {
                    let details = json!({ "reason": text, "to": s.status.name() }).to_string();
                    row.with("EventType", "EventRaised").with("Name", "historyLimit").with("Input", details)
                }
            });
        }
    }

    /// The beginning, whose own row has no place for a reason.
    fn begun(&mut self, entry: &Entry) {
        let id = self.scoring.id.as_str();
        let started = self
            .of(entry, false)
            .with("EventType", "ExecutionStarted")
            .with("EventId", -1)
            .with("Name", self.scoring.rule.as_str())
            .with("Version", "")
            .with("Input", input(self.scoring))
            .with("OrchestrationInstance", json!({ "InstanceId": id, "ExecutionId": id }).to_string());
        let reason = json!({ "reason": entry.reason, "to": entry.to.name() }).to_string();
        let received = self.of(entry, true).with("EventType", "EventRaised").with("EventId", -1);
        self.rows.extend([started, received.with("Name", "received").with("Input", reason)]);
    }

    fn scheduled(&mut self, entry: &Entry) {
        // Unique among scheduled rows: readers build a dictionary on it.
        let id = number(entry.seq);
        self.scheduled = Some(id);
        let input = json!({ "attempt": entry.attempt, "reason": entry.reason }).to_string();
        let row = self.of(entry, true).with("EventType", "TaskScheduled").with("EventId", id);
        self.rows.push(row.with("Name", "Submit").with("Version", "").with("Input", input));
    }

    /// The end of a submission that came to nothing, if one is open.
    fn failed(&mut self, entry: &Entry, second: bool) -> Option<Entity> {
        let scheduled = self.scheduled.take()?;
        Some(failed(self.of(entry, second).with("EventId", -1), scheduled, &entry.reason))
    }
}
