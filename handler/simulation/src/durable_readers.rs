//! What the readers of Durable Functions' tables require of rows: the Durable Task library, its HTTP API, Durable Functions Monitor,
//! and the library of 2019 that Core Tools reads with. A row that one of them cannot take fails a whole page there.
//!
//! Source: durabletask, `AzureTableTrackingStore.cs`, `TableEntityConverter.cs`, `DurableTask.Core/History`; durable extension,
//! `DurableOrchestrationClient`; Durable Functions Monitor, `DfmRunHistory`.

use std::collections::BTreeSet;

use app::ports::table_store::{Entity, Value};
use serde_json::Value as Json;

/// `RuntimeStatus` that every reader knows, and whether it is an end.
const STATUSES: [(&str, bool); 6] = [
    ("Pending", false),
    ("Running", false),
    ("Completed", true),
    ("Failed", true),
    ("Canceled", true),
    ("Terminated", true),
];
/// `EventType`s that every reader knows and that are written, and the texts that each must have.
const EVENTS: [(&str, &[&str]); 6] = [
    ("ExecutionStarted", &["Name", "Version", "Input", "OrchestrationInstance"]),
    ("ExecutionCompleted", &["OrchestrationStatus", "Result"]),
    ("TaskScheduled", &["Name", "Version", "Input"]),
    ("TaskCompleted", &["Result"]),
    ("TaskFailed", &["Reason", "Details"]),
    ("EventRaised", &["Name", "Input"]),
];
/// What is read as JSON; a bare URL in it is taken for a reference to a blob and downloaded.
const JSON: [&str; 5] = ["Input", "Output", "CustomStatus", "Result", "OrchestrationInstance"];

/// What a reader would stumble over in an instance's row and its history as stored, the sentinel included; nothing where all can read it.
pub fn complaints(instance: &Entity, history: &[Entity]) -> Vec<String> {
    let mut complaints = Complaints(Vec::new());
    let ended = complaints.of_instance(instance);
    let Some((sentinel, events)) = history.split_last() else {
        complaints.say(instance, "has no history");
        return complaints.0;
    };
    let execution = instance.string("ExecutionId");
    for row in history {
        complaints.of_values(row);
        complaints.unless(
            execution.is_some() && row.string("ExecutionId") == execution,
            row,
            "is of another execution",
        );
    }
    complaints.unless(sentinel.key.row == "sentinel", sentinel, "is the last one and not the sentinel");
    let checkpoint =
        sentinel.boolean("IsCheckpointComplete").is_some() && sentinel.time("CheckpointCompletedTimestamp").is_some();
    complaints.unless(checkpoint, sentinel, "has no checkpoint");
    complaints.of_events(instance, events, ended);
    complaints.0
}

struct Complaints(Vec<String>);

impl Complaints {
    fn say(&mut self, row: &Entity, what: impl std::fmt::Display) {
        self.0.push(format!("{}: {what}", row.key));
    }

    fn unless(&mut self, right: bool, row: &Entity, what: impl std::fmt::Display) {
        if !right {
            self.say(row, what);
        }
    }

    /// What holds of the values of any row.
    fn of_values(&mut self, row: &Entity) {
        for (name, value) in row.properties.iter() {
            match value {
                Value::Int64(_) => self.say(row, format!("{name} is a number that Node cannot write as JSON")),
                Value::String(text) => {
                    self.unless(text.encode_utf16().count() <= 32_768, row, format!("{name} is too long for a row"));
                    if JSON.contains(&name) {
                        let is_object = serde_json::from_str::<Json>(text).is_ok_and(|json| json.is_object());
                        self.unless(is_object, row, format!("{name} is not a JSON object: {text}"));
                    }
                }
                Value::Int32(_) | Value::Boolean(_) | Value::DateTime(_) => {}
            }
        }
    }

    /// Whether the instance has ended.
    fn of_instance(&mut self, row: &Entity) -> bool {
        self.of_values(row);
        self.unless(row.key.row.is_empty(), row, "has a row key, and is listed as an instance of its own");
        for name in ["ExecutionId", "Name", "Version", "Input", "CustomStatus", "TaskHubName"] {
            self.unless(row.string(name).is_some(), row, format!("{name} is missing"));
        }
        let dated = row.time("CreatedTime").is_some() && row.time("LastUpdatedTime").is_some();
        self.unless(dated, row, "has no dates");
        self.unless(row.int32("Generation").is_some(), row, "Generation is missing");
        let status = row.string("RuntimeStatus").unwrap_or_default();
        let Some((_, ended)) = STATUSES.into_iter().find(|(known, _)| *known == status) else {
            self.say(row, format!("not every reader knows the status `{status}`"));
            return false;
        };
        self.unless(
            row.time("CompletedTime").is_some() == ended,
            row,
            format!("{status}, and CompletedTime says otherwise"),
        );
        self.unless(row.string("Output").is_some() == ended, row, format!("{status}, and Output says otherwise"));
        ended
    }

    fn of_events(&mut self, instance: &Entity, events: &[Entity], ended: bool) {
        let (mut scheduled, mut open, mut ends) = (BTreeSet::new(), BTreeSet::new(), 0);
        let mut before = "";
        for (n, row) in events.iter().enumerate() {
            let key = row.key.row.as_str();
            let is_number = key.len() == 16 && key.chars().all(|c| matches!(c, '0'..='9' | 'A'..='F'));
            self.unless(is_number && key > before, row, "is not a number above the one before it");
            before = key;
            let kind = row.string("EventType").unwrap_or_default();
            self.unless((kind == "ExecutionStarted") == (n == 0), row, format!("{kind} is number {n}"));
            let Some((_, texts)) = EVENTS.into_iter().find(|(known, _)| *known == kind) else {
                self.say(row, format!("not every reader knows the event `{kind}`"));
                continue;
            };
            for name in texts {
                self.unless(row.string(name).is_some(), row, format!("{kind} has no {name}"));
            }
            let told = row.time("_Timestamp").is_some() && row.boolean("IsPlayed").is_some();
            self.unless(told, row, format!("{kind} has no date, or does not say whether it was played"));
            let number = row.int32("EventId");
            self.unless(number.is_some(), row, format!("{kind} has no EventId"));
            match kind {
                "TaskScheduled" => {
                    self.unless(
                        scheduled.insert(number),
                        row,
                        "readers build a dictionary on EventId, and this one is there already",
                    );
                    open.insert(number);
                }
                "TaskCompleted" | "TaskFailed" => {
                    let was_open = open.remove(&row.int32("TaskScheduledId"));
                    self.unless(was_open, row, format!("{kind} is of nothing that is open"));
                }
                "ExecutionCompleted" => {
                    ends += 1;
                    let same = row.string("OrchestrationStatus") == instance.string("RuntimeStatus");
                    self.unless(same, row, "ends otherwise than the instance");
                }
                _ => {}
            }
        }
        self.unless(ends == usize::from(ended), instance, format!("has {ends} ends in its history"));
        self.unless(!ended || open.is_empty(), instance, format!("has ended, and these tasks have not: {open:?}"));
    }
}

#[cfg(test)]
mod tests {
    use app::ports::table_store::Key;
    use time::OffsetDateTime;

    use super::*;

    type OfInstance = fn(Entity) -> Entity;
    type OfHistory = fn(&mut Vec<Entity>);

    fn row(key: &str) -> Entity {
        Entity::new(Key::new("id", key)).with("ExecutionId", "id")
    }

    fn event(key: &str, kind: &'static str, number: i32) -> Entity {
        let event = row(key).with("EventType", kind).with("EventId", number).with("IsPlayed", false);
        let event = event.with("_Timestamp", OffsetDateTime::UNIX_EPOCH);
        let (_, texts) = EVENTS.into_iter().find(|(known, _)| *known == kind).unwrap();
        let text = |name: &str| if JSON.contains(&name) { "{}" } else { "Completed" };
        texts.iter().fold(event, |event, name| event.with(*name, text(name)))
    }

    fn instance() -> Entity {
        let at = OffsetDateTime::UNIX_EPOCH;
        let dated = row("").with("CreatedTime", at).with("LastUpdatedTime", at).with("CompletedTime", at);
        let named = dated.with("Name", "rule").with("Version", "").with("TaskHubName", "Hub").with("Generation", 0);
        let told = named.with("RuntimeStatus", "Completed").with("Input", "{}").with("Output", "{}");
        told.with("CustomStatus", "{}").with("StateVersion", 4)
    }

    fn history() -> Vec<Entity> {
        let sentinel = row("sentinel").with("IsCheckpointComplete", true);
        vec![
            event("0000000000000000", "ExecutionStarted", -1),
            event("0000000000000001", "TaskScheduled", 2),
            event("0000000000000002", "TaskCompleted", -1).with("TaskScheduledId", 2),
            event("000000000000000A", "ExecutionCompleted", -1),
            sentinel.with("CheckpointCompletedTimestamp", OffsetDateTime::UNIX_EPOCH),
        ]
    }

    #[test]
    fn what_every_reader_takes_is_not_complained_of() {
        assert_eq!(complaints(&instance(), &history()), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_a_reader_stumbles_over_is_complained_of() {
        let instances: [(&str, OfInstance); 5] = [
            ("Suspended", |row| row.with("RuntimeStatus", "Suspended")),
            ("Node", |row| row.with("StateVersion", 4_i64)),
            ("not a JSON object", |row| row.with("Output", "https://a.blob.core.windows.net/c/b")),
            ("CompletedTime says otherwise", |row| row.with("RuntimeStatus", "Running")),
            ("too long", |row| row.with("Name", "n".repeat(32_769))),
        ];
        for (said, spoil) in instances {
            let complaints = complaints(&spoil(instance()), &history());
            assert!(complaints.iter().any(|complaint| complaint.contains(said)), "{said}: {complaints:?}");
        }
        let histories: [(&str, OfHistory); 9] = [
            ("has 2 ends", |rows| rows.insert(4, event("000000000000000B", "ExecutionCompleted", -1))),
            ("has 0 ends", |rows| drop(rows.remove(3))),
            ("have not", |rows| drop(rows.remove(2))),
            ("nothing that is open", |rows| drop(rows.remove(1))),
            ("dictionary", |rows| rows.insert(2, event("000000000000000010", "TaskScheduled", 2))),
            ("above the one before", |rows| rows[2].key.row = "000000000000000B".to_owned()),
            ("another execution", |rows| drop(rows[1].properties.remove("ExecutionId"))),
            ("not the sentinel", |rows| drop(rows.pop())),
            ("has no Details", |rows| {
                rows[2] = event("0000000000000002", "TaskFailed", -1).with("TaskScheduledId", 2);
                drop(rows[2].properties.remove("Details"));
            }),
        ];
        for (said, spoil) in histories {
            let mut history = history();
            spoil(&mut history);
            let complaints = complaints(&instance(), &history);
            assert!(complaints.iter().any(|complaint| complaint.contains(said)), "{said}: {complaints:?}");
        }
    }
}
