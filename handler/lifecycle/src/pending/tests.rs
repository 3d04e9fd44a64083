use serde_json::{Value, json};
use time::macros::datetime;

use super::*;
use crate::intake::{Classification, read};
use crate::rule::Rules;

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
const URL: &str = "https://uploads.blob.core.windows.net/claims/eu/a.csv";

fn ledger() -> LedgerId {
    LedgerId::of_random([1; 16])
}

fn rules(members: &Value) -> Rules {
    let mut rule = json!({"id": "r", "match": {"container": "claims"}, "endpoint": {"uri": "https://e.example/jobs"}});
    for (name, value) in members.as_object().expect("members") {
        rule[name] = value.clone();
    }
    Rules::read(&json!({ "rules": [rule] }).to_string()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn resting() -> Rules {
    rules(&json!({"complete": {"unchangedFor": "PT2M"}}))
}

fn created(api: &str, kind: &str, size: u64) -> Value {
    json!({"id": "1", "eventType": "Microsoft.Storage.BlobCreated", "eventTime": "2026-07-21T10:00:00Z",
        "subject": "/blobServices/default/containers/claims/blobs/eu/a.csv",
        "data": {"api": api, "eTag": "0x1", "blobType": kind, "contentLength": size, "url": URL}})
}

fn classified(event: &Value, rules: &Rules) -> Classification {
    read(event, &ledger(), rules, NOW).expect("one event").remove(0)
}

/// What one event leaves to be looked at.
fn pending(event: &Value, rules: &Rules) -> PendingUpload {
    match classified(event, rules) {
        Classification::Pending { scorings, mut uploads } => {
            assert_eq!((scorings.len(), uploads.len()), (0, 1));
            uploads.remove(0)
        }
        other => panic!("{other:?}"),
    }
}

fn renamed(from: &str) -> PendingUpload {
    let blob = UnversionedBlob::read(URL).expect("a blob");
    let rules = rules(&json!({}));
    let rule = rules.get("r").expect("the rule");
    PendingUpload::new(rule, blob, Cause::Renamed { from: vec![from.to_owned()] }, NOW)
}

fn seen(etag: &str, size: u64) -> BlobSnapshot {
    BlobSnapshot {
        etag: etag.to_owned(),
        size,
        content_type: None,
        kind: BlobKind::Block,
        archived: false,
        copy: CopyState::Whole,
        is_folder: false,
        modified: None,
        metadata: BTreeMap::new(),
        index_tags: IndexTags::NotAsked,
    }
}

fn judged(pending: PendingUpload, rules: &Rules, seen: &BlobSnapshot, after: Duration) -> Judgement {
    pending.judge(&ledger(), rules.get("r"), Some(seen), None, NOW + after)
}

fn waits(judgement: Judgement) -> PendingUpload {
    match judgement {
        Judgement::Wait(pending) => *pending,
        other => panic!("{other:?}"),
    }
}

fn skip_of(judgement: Judgement) -> String {
    match judgement {
        Judgement::Skip(skipped) => skipped.reason,
        other => panic!("{other:?}"),
    }
}

fn taken(judgement: Judgement) -> (Scoring, Option<PendingUpload>) {
    match judgement {
        Judgement::TakeIn { scoring, again, .. } => (*scoring, again.map(|again| *again)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_renamed_blob_is_taken_in_in_the_version_that_is_there() {
    let (scoring, again) =
        taken(judged(renamed("https://x/c/a"), &rules(&json!({})), &seen("\"0x7\"", 9), Duration::ZERO));
    assert_eq!((scoring.blob.url.as_str(), scoring.blob.etag.as_str(), scoring.blob.size), (URL, "0x7", Some(9)));
    assert_eq!(again, None);
}

#[test]
fn a_renamed_blob_that_is_gone_or_empty_or_a_folder_is_skipped() {
    let rules = rules(&json!({}));
    let gone = renamed("https://x/c/a").judge(&ledger(), rules.get("r"), None, None, NOW);
    assert!(skip_of(gone).contains("not there any more"));
    assert!(skip_of(judged(renamed("x"), &rules, &seen("1", 0), Duration::ZERO)).contains("no bytes"));
    let folder = BlobSnapshot { is_folder: true, ..seen("1", 0) };
    assert!(skip_of(judged(renamed("x"), &rules, &folder, Duration::ZERO)).contains("folder"));
}

#[test]
fn an_upload_waits_for_a_rule_that_is_not_there_and_is_skipped_a_day_later() {
    let without = |upload: PendingUpload, at| upload.judge(&ledger(), None, Some(&seen("1", 1)), None, at);
    let Judgement::Wait(waits) = without(renamed("x"), NOW) else { panic!("a process may not know the rule yet") };
    assert!(waits.reason.contains("rule `r` is not in the rules any more; put it back"), "{}", waits.reason);
    assert_eq!(taken(judged((*waits).clone(), &rules(&json!({})), &seen("1", 1), Duration::HOUR)).0.blob.etag, "1");
    assert!(skip_of(without(*waits, NOW + Duration::DAY)).contains("removed"));
}

#[test]
fn what_was_scored_or_is_in_flight_is_not_scored_again_for_being_moved() {
    let (all, score) = (rules(&json!({})), rules(&json!({"renames": "score"})));
    let from = "https://uploads.blob.core.windows.net/claims/b.csv";
    let before = renamed(from).former_versions(&seen("\"0x1\"", 5)).remove(0);
    assert_eq!((before.url.as_str(), before.etag.as_str()), (from, "0x1"));
    let id = ScoringId::new(&ledger(), &renamed(from).rule, &before, 0);
    let judge = |rules: &Rules, former: &Former| {
        renamed(from).judge(&ledger(), rules.get("r"), Some(&seen("0x1", 5)), Some(former), NOW)
    };
    let former = |status| Former::Scoring { id: id.clone(), status };
    for status in Status::ALL {
        assert!(matches!(judge(&score, &former(status)), Judgement::TakeIn { .. }), "{status}");
        match status {
            Status::Scored => assert!(skip_of(judge(&all, &former(status))).contains("ignoreScored")),
            Status::Queued | Status::Failed | Status::Cancelled | Status::Gone | Status::Superseded => {
                assert!(matches!(judge(&all, &former(status)), Judgement::TakeIn { .. }), "{status}");
            }
            _ => assert!(waits(judge(&all, &former(status))).reason.contains(id.as_str()), "{status}"),
        }
    }
    for rules in [all, score] {
        assert!(skip_of(judge(&rules, &Former::Output { of: id.clone() })).contains("an output of scoring"));
    }
}

#[test]
fn an_event_that_comes_again_is_waited_for_from_then_on_and_keeps_what_rests() {
    let rules = resting();
    let first = waits(judged(
        pending(&created("CreateFile", "BlockBlob", 0), &rules),
        &rules,
        &seen("0x2", 4),
        Duration::MINUTE,
    ));
    let later = NOW + Duration::days(2);
    let told = PendingUpload {
        since: later,
        due: later,
        updated: later,
        ..pending(&created("CreateFile", "BlockBlob", 0), &rules)
    };
    assert_eq!(told.key, first.key);
    let again = first.clone().told_again(told.clone());
    assert_eq!((again.since, again.due, &again.seen), (later, first.due, &first.seen));
    let not_seen = first.not_seen("403", NOW).told_again(told);
    assert!(not_seen.look_failed && not_seen.reason.contains("403"), "{not_seen:?}");
}

#[test]
fn what_a_clock_far_ahead_told_is_told_now() {
    let (rules, ahead) = (resting(), Duration::days(400));
    let begun = pending(&created("CreateFile", "BlockBlob", 0), &rules);
    let watched = waits(judged(begun, &rules, &seen("0x2", 4), ahead));
    assert!(watched.due > NOW + ahead);
    let corrected = waits(judged(watched, &rules, &seen("0x2", 4), Duration::ZERO));
    assert_eq!(corrected.due, NOW + Duration::minutes(2));
    assert!(matches!(judged(corrected, &rules, &seen("0x2", 4), Duration::minutes(2)), Judgement::TakeIn { .. }));
}

#[test]
fn skips_of_one_blob_for_two_reasons_or_at_two_times_are_two_records() {
    let rules = rules(&json!({}));
    let key = |upload: PendingUpload, seen: Option<&BlobSnapshot>| match upload.judge(
        &ledger(),
        rules.get("r"),
        seen,
        None,
        NOW,
    ) {
        Judgement::Skip(skipped) => skipped.key,
        other => panic!("{other:?}"),
    };
    let empty = seen("1", 0);
    let first = key(renamed("x"), Some(&empty));
    assert_eq!(first, key(renamed("x"), Some(&empty)), "a repetition");
    assert_ne!(first, key(renamed("x"), None));
    assert_ne!(first, key(PendingUpload { event_time: Some(NOW), ..renamed("x") }, Some(&empty)));
}

#[test]
fn no_copy_is_taken_before_it_is_whole_and_a_failed_one_never() {
    let rules = rules(&json!({}));
    let copied = || pending(&created("CopyBlob", "BlockBlob", 9), &rules);
    assert_eq!(copied().due, NOW, "asked at once");
    let with = |copy| BlobSnapshot { copy, ..seen("0x2", 9) };
    let wait = waits(judged(copied(), &rules, &with(CopyState::Pending), Duration::ZERO));
    assert!(wait.reason.contains("x-ms-copy-status") && wait.due > NOW, "{wait:?}");
    let (scoring, _) = taken(judged(wait, &rules, &with(CopyState::Whole), Duration::HOUR));
    assert_eq!(scoring.blob.etag, "0x2");
    let failed = with(CopyState::Failed("404 BlobNotFound".to_owned()));
    assert!(skip_of(judged(copied(), &rules, &failed, Duration::ZERO)).contains("404 BlobNotFound"));
    assert!(skip_of(judged(copied(), &rules, &with(CopyState::Aborted), Duration::ZERO)).contains("aborted"));
}

#[test]
fn a_file_that_nobody_closes_is_taken_when_it_rests_and_looked_at_once_more() {
    let rules = resting();
    let (minute, mut at) = (Duration::MINUTE, Duration::minutes(2));
    let begun = pending(&created("CreateFile", "BlockBlob", 0), &rules);
    assert_eq!(begun.due, NOW + at);
    let empty = waits(judged(begun, &rules, &seen("0x1", 0), at));
    at += 3 * minute;
    let growing = waits(judged(empty, &rules, &seen("0x2", 4), at));
    assert_eq!(growing.due, NOW + at + 2 * minute);
    let still_growing = waits(judged(growing, &rules, &seen("0x3", 8), at + 2 * minute));
    assert!(matches!(judged(still_growing.clone(), &rules, &seen("0x3", 8), at + 3 * minute), Judgement::Wait(_)));
    let (scoring, again) = taken(judged(still_growing, &rules, &seen("0x3", 8), at + 4 * minute));
    assert_eq!((scoring.blob.etag.as_str(), scoring.blob.size), ("0x3", Some(8)));
    let again = again.expect("one more look");
    assert_eq!(again.due, NOW + at + 6 * minute);
    assert_eq!(judged(again.clone(), &rules, &seen("0x3", 8), at + 6 * minute), Judgement::Done);
    assert_eq!(again.clone().judge(&ledger(), rules.get("r"), None, None, NOW + at + 6 * minute), Judgement::Done);
    let changed = waits(judged(again, &rules, &seen("0x4", 9), at + 6 * minute));
    let judgement = judged(changed.clone(), &rules, &seen("0x4", 9), at + 8 * minute);
    // No event told of that one: it is counted, and compared with the one before.
    assert!(matches!(&judgement, Judgement::TakeIn { unannounced: Some(waits), .. } if **waits == changed));
    let (later, _) = taken(judgement);
    assert_eq!((later.blob.etag.as_str(), later.in_place_of), ("0x4", Some(scoring.id)));
    let told = PendingUpload { since: NOW + at, ..pending(&created("CreateFile", "BlockBlob", 0), &rules) };
    let announced = judged(changed.told_again(told), &rules, &seen("0x4", 9), at + 8 * minute);
    assert!(matches!(announced, Judgement::TakeIn { unannounced: None, .. }));
}

#[test]
fn content_that_comes_after_its_event_is_waited_for_a_day() {
    let rules = rules(&json!({}));
    let commit = pending(&created("SftpCommit", "BlockBlob", 0), &rules);
    assert!(commit.due > NOW);
    let wait = waits(judged(commit.clone(), &rules, &seen("0x1", 0), Duration::minutes(2)));
    assert!(wait.reason.contains("no bytes yet"));
    let (scoring, again) = taken(judged(wait.clone(), &rules, &seen("0x2", 7), Duration::minutes(3)));
    assert_eq!((scoring.blob.etag.as_str(), again), ("0x2", None));
    assert!(skip_of(judged(wait, &rules, &seen("0x1", 0), Duration::days(1))).contains("a day after"));
}

#[test]
fn blob_types_and_tiers_that_are_not_scored_yet_or_never_say_so() {
    let closed = rules(&json!({}));
    let reason = |event| match classified(&event, &closed) {
        Classification::Skipped(skipped) => skipped.reason,
        other => panic!("{other:?}"),
    };
    assert!(reason(created("PutBlob", "AppendBlob", 0)).contains("append blob"));
    assert!(reason(created("CreateFile", "BlockBlob", 0)).contains("complete is closed"));
    let append = BlobSnapshot { kind: BlobKind::Append, ..seen("1", 5) };
    assert!(skip_of(judged(renamed("x"), &closed, &append, Duration::ZERO)).contains("append blob"));
    let resting_append = pending(&created("PutBlob", "AppendBlob", 0), &resting());
    assert!(matches!(judged(resting_append, &resting(), &append, Duration::MINUTE), Judgement::Wait(_)));

    let mut archived = created("PutBlob", "BlockBlob", 5);
    archived["data"]["accessTier"] = json!("Archive");
    let archive = BlobSnapshot { archived: true, ..seen("0x1", 5) };
    let wait = waits(judged(pending(&archived, &closed), &closed, &archive, Duration::ZERO));
    assert!(wait.reason.contains("archive tier"));
    assert!(matches!(judged(wait, &closed, &seen("0x1", 5), Duration::days(3)), Judgement::TakeIn { .. }));

    let page = pending(&created("PutBlob", "PageBlob", 512), &closed);
    let pages = BlobSnapshot { kind: BlobKind::Page, ..seen("0x1", 512) };
    assert!(matches!(judged(page, &closed, &pages, Duration::minutes(2)), Judgement::TakeIn { again: Some(_), .. }));
}

#[test]
fn what_cannot_be_looked_at_is_looked_at_again_less_and_less_often() {
    let first = renamed("x").not_seen("403", NOW);
    assert!(
        first.look_failed && first.reason.contains("403") && first.due > NOW && first.due <= NOW + Duration::MINUTE,
        "{first:?}"
    );
    let later = (0..20).fold(first, |pending, _| pending.not_seen("403", NOW));
    assert!(later.due > NOW + Duration::minutes(59) && later.due < NOW + Duration::minutes(76), "{later:?}");
}

#[test]
fn a_former_name_counts_while_a_job_alone_or_of_a_group_may_read_it_or_has() {
    let id = ScoringId::read(&"1".repeat(32)).unwrap();
    let counts = |status| Former::Scoring { id: id.clone(), status }.counts();
    for status in [Status::Grouped, Status::Submitting, Status::Running, Status::Verifying, Status::Scored] {
        assert!(counts(status), "{status}");
    }
    for status in [Status::Queued, Status::Gone, Status::Failed, Status::Cancelled] {
        assert!(!counts(status), "{status}");
    }
}
