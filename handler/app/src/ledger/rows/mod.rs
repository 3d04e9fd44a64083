//! Scorings as rows of `{Hub}State`, and back.
//!
//! The PartitionKey is the shard (`s` and two hex digits, from the id); the RowKey begins with the row's kind:
//!
//! | RowKey | row | present |
//! |---|---|---|
//! | `J~{id}` | the scoring: authority and compare-and-swap target | from acceptance to purge |
//! | `F~{id}` | in-flight index: all that a tick needs to see that nothing is to do | while not final |
//! | `Y~{id}` | the folder in which a group's members are staged (`groups.rs`) | until its copies are removed |
//! | `H~{id}~{seq}` | one immutable line of history, at most [`MAX_HISTORY_ENTRIES`] | with `J~` |
//! | `T~{hour}~{id}` | terminal index by hour of completion, the newest first | while final |
//! | `G~{hour}~{id}` | the same of groups, which no list shows | while final |
//! | `E~{status}~{hour}~{id}` | ends other than `scored`, by status, the newest first (`ends.rs`) | while final and not `scored` |
//! | `C~{cause}~{hour}~{id}` | what failed, by its cause, the newest first (`ends.rs`) | while failed for a cause |
//! | `U~{hour}` | what ended in an hour, counted, the newest first (`end_counts.rs`) | for the retention |
//! | `L~{time}~{id}` | list index, the newest first (`listed.rs`) | with `J~` |
//! | `A~{id}` | failed or with orphaned jobs, and not acknowledged (`attention.rs`) | while so |
//! | `B~{blob}~{time}~{id or key}` | what was received of a blob, the newest first (`received.rs`) | with `J~` or `S~` |
//! | `N~{id}~{version}~{kind}{n}` | names of former and orphaned jobs for which `J~` has no room (`job_names.rs`) | with `J~` |
//! | `P~{id}` | projection outbox | until projected |
//! | `K~{key}` | an idempotency key of a start, and the scoring that it names (`starts.rs`) | as long as `J~` at least |
//! | `D~{yyyyMMdd}~{key}` | such keys by day | as long as `K~` |
//! | `O~{key}` | the first name of a version that was moved after it was scored, the names in a move of what nobody saw, or the scorings of a path that looks after renames have shown | for the retention |
//! | `M~{yyyyMMdd}~{key}` | such notes by day | for the retention |
//! | `S~{day}~{key}`, `Q~{day}~{key}` | skipped and quarantined events, the newest day first | for the retention |
//! | `V~{yyyyMMddHH}~{key}` | versions of a path that were taken in without an event, by hour | for the retention |
//!
//! Beside the shards stand the partitions of slots (`slots.rs`), of controls (`controls.rs`), of the orphan scan (`orphan_scan.rs`),
//! of what waits for a look at the storage (`pending.rs`) and of the heartbeat (`heartbeat.rs`).
//!
//! Hours, days and times that come the newest first are written as what is left of them until the year 10000, since a range is
//! read upwards only.
//!
//! Columns are readable in any storage browser. A row of a schema newer than [`SCHEMA`] is refused, not guessed at.

mod columns;
mod history;
mod in_flight;
mod keys;
mod scoring;
mod terminal;

pub use columns::{MAX_EVENT, SCHEMA, Unreadable};
pub(super) use columns::{MAX_FOREIGN, MAX_PROPERTY, MAX_SHORT_ERROR, Reader, by_name, clipped, count, list};
pub use history::{MAX_HISTORY_ENTRIES, from_history_row, to_history_row};
pub use in_flight::{InFlight, from_in_flight_row, to_in_flight_row};
pub(super) use keys::{
    ENDED_GROUP, TERMINAL, blob_key, end_key, in_flight_part, newest_day_first, newest_hour_first, outbox_row, time_of,
};
pub use keys::{
    IN_FLIGHT_PARTS, SHARDS, day, ended_group_key, history_key, hour, in_flight_key, newest_first, outbox_key,
    partition_of, partition_of_key, scoring_key, shard, terminal_key,
};
pub(super) use scoring::{FURTHER_JOB_NAMES, MAX_JOB_NAMES_IN_ROW, OWN_WORDS};
pub use scoring::{from_scoring_row, to_scoring_row};
pub use terminal::{Terminal, from_terminal_row, to_terminal_row};

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::job::OutputKind;
    use lifecycle::publishing::{FileVersion, NotPublished, Publication, PublicationEnd, PublishedPlace, Publishing};
    use lifecycle::rule::IfExists;
    use lifecycle::scoring::FormerOutputs;
    use lifecycle::scoring::OutputSeen;
    use lifecycle::{Answer, JobStatus, Observation, Rules, Step, decide};
    use lifecycle::{BlobVersion, Entry, Job, OutputPrint, Scoring, ScoringId};
    use time::macros::datetime;

    fn scorings() -> Vec<(Scoring, Entry)> {
        let rules = Rules::read(
            r#"{"rules":[{"id":"claims","match":{"container": "con"},"endpoint":{"uri":"https://e.example/jobs","deployment":"v7"},"verifyInput":false}]}"#,
        )
        .unwrap();
        let rule = rules.get("claims").unwrap();
        let mut blob = BlobVersion::read("https://a.blob.core.windows.net/con/ü%20x.csv", "0x1").unwrap();
        blob.size = Some(7);
        blob.sequencer = Some("0001".into());
        blob.metadata = [("tenant".to_owned(), "\"ä\" b".to_owned())].into();
        let now = datetime!(2026-07-21 10:00:00.1234567 UTC);
        let accepted = Scoring::accept(&lifecycle::LedgerId::of_random([1; 16]), rule, blob, now);
        let entry = accepted.accepted_entry("an event".into());
        let mut all = vec![(accepted, entry)];
        let job = Job { name: "job-1".parse().unwrap(), id: Some("/subscriptions/s/x".into()), studio: None };
        let answer = Answer::Accepted { job, status: JobStatus::Preparing };
        for seen in [Observation::SlotFree, Observation::Answer(answer), Observation::JobMissing] {
            let (last, _) = all.last().unwrap();
            match decide(last, Some(rule), &seen, now) {
                Step::Move { next, entry, .. } => all.push((*next, entry)),
                other => panic!("{other:?}"),
            }
        }
        let (last, entry) = all.last().unwrap().clone();
        let output_seen = Some(OutputSeen { print: OutputPrint::of([("a", "1")]), at: now });
        let followed = vec!["job-7".parse().unwrap()];
        let former_outputs = vec![FormerOutputs { attempt: 1, uris: vec!["azureml://datastores/d/paths/ü".into()] }];
        let last = Scoring { former_outputs, ..last };
        let ends = [
            None,
            Some(PublicationEnd::Published {
                uri: "azureml://datastores/d/paths/ü".into(),
                etag: "e".into(),
                place: Some(PublishedPlace::of(&lifecycle::UnversionedBlob::from(last.blob.clone()))),
            }),
            Some(PublicationEnd::NotPublished { why: NotPublished::Refused, text: "403".into() }),
        ];
        let publication = |end| Publication {
            output: "score".into(),
            kind: OutputKind::UriFile,
            uri: "azureml://datastores/d/paths/latest.csv".into(),
            if_exists: IfExists::Version,
            source: Some(FileVersion { etag: "0x1".into(), len: 7 }),
            end,
        };
        let publishing =
            Some(Publishing { since: now, scored: Some(now), outputs: ends.into_iter().map(publication).collect() });
        let last = Scoring { publishing, ..last };
        let output_print = Some(OutputPrint::of([("a", "2")]));
        let last = Scoring { output_print, ..last };
        all.push((Scoring { followed, followed_ended: Some(now), output_seen, slot_freed: true, ..last }, entry));
        all
    }

    #[test]
    fn rows_read_back_as_they_were_written() {
        for (scoring, entry) in scorings() {
            assert_eq!(from_scoring_row(&to_scoring_row(&scoring, "op")).unwrap(), scoring);
            assert_eq!(from_history_row(&to_history_row(&scoring.id, &entry)).unwrap(), entry);
            let in_flight = from_in_flight_row(&to_in_flight_row(&scoring)).unwrap();
            assert_eq!((&in_flight.id, in_flight.status, in_flight.due), (&scoring.id, scoring.status, scoring.due));
            assert_eq!(in_flight.missing, scoring.missing_since.is_some());
            assert_eq!(in_flight.deployment, scoring.deployment);
            let terminal = from_terminal_row(&to_terminal_row(&scoring, scoring.updated)).unwrap();
            assert_eq!((terminal.id, terminal.status), (scoring.id.clone(), scoring.status));
            let ops = [crate::ports::table_store::Op::Insert(to_scoring_row(&scoring, "op"))];
            crate::ports::table_store::check(&ops).unwrap();
        }
    }

    #[test]
    fn a_row_of_a_newer_schema_or_without_a_column_is_refused_by_name() {
        let (scoring, _) = scorings().pop().unwrap();
        let newer = to_scoring_row(&scoring, "op").with("SchemaVersion", SCHEMA + 1);
        assert!(from_scoring_row(&newer).unwrap_err().to_string().contains("newer"));
        let mut torn = to_scoring_row(&scoring, "op");
        torn.properties.remove("BlobUrl");
        assert!(from_scoring_row(&torn).unwrap_err().to_string().contains("BlobUrl"));
    }

    #[test]
    fn every_id_has_one_of_three_shards_and_lies_in_the_part_of_its_first_digit() {
        let shards: std::collections::BTreeSet<_> =
            (0..=255).map(|n| partition_of(&ScoringId::read(&format!("{n:02x}{:030}", 0)).unwrap())).collect();
        assert_eq!(shards.len(), usize::from(SHARDS));
        assert_eq!(shards, (0..SHARDS).map(shard).collect());
        for part in 0..IN_FLIGHT_PARTS {
            let id = ScoringId::read(&format!("{part:x}{:031}", 0)).unwrap();
            let (range, key) = (in_flight_part(part), in_flight_key(&id));
            assert_eq!(range.partition, key.partition);
            assert!(range.from <= key.row && key.row < range.below, "{range:?}: {key}");
        }
    }

    #[test]
    fn a_time_that_comes_the_newest_first_is_read_back() {
        let at = datetime!(2026-07-21 10:59:58.123_456_7 UTC);
        assert_eq!(time_of(&newest_first(at)), Some(at));
        assert_eq!(time_of(&newest_hour_first(at)), Some(datetime!(2026-07-21 10:00 UTC)));
        assert_eq!(time_of(&newest_day_first(at)), Some(datetime!(2026-07-21 0:00 UTC)));
        assert_eq!((time_of("99999999"), time_of("x"), time_of("")), (None, None, None));
    }
}
