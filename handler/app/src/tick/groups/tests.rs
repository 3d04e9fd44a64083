use lifecycle::{BlobVersion, FailureCause, LedgerId};
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

/// The rule `claims`, with `group` or without.
fn rules(group: &str) -> Rules {
    let text =
        r#"{"rules":[{"id":"claims","match":{"container":"con"},"endpoint":{"uri":"https://e.example/jobs"}GROUP}]}"#;
    Rules::read(&text.replace("GROUP", group)).expect("good rules")
}

fn grouping() -> Rules {
    rules(r#","group":{"by":"folder"}"#)
}

/// One that waits for others.
fn waiting() -> Scoring {
    let blob = BlobVersion::read("https://a.blob.core.windows.net/con/eu/x.csv", "1").expect("a blob");
    Scoring::accept(&LedgerId::of_random([1; 16]), grouping().get("claims").expect("the rule"), blob, NOW)
}

fn row() -> InFlight {
    InFlight::of(&waiting()).expect("it is read back")
}

fn id(n: usize) -> ScoringId {
    ScoringId::read(&format!("{n:032x}")).expect("32 hex digits")
}

/// How many are to be grouped now after a walk that met this row, and whether it is kept from being submitted.
fn met(row: &InFlight, rules: &Rules) -> (usize, bool) {
    let mut seen = GroupsSeen::default();
    let is_kept = seen.add(row, rules, NOW);
    (seen.waiting.values().map(Vec::len).sum(), is_kept)
}

#[test]
fn what_waits_is_grouped_once_it_is_due_and_not_on_hold_and_is_in_no_queue() {
    assert_eq!(met(&row(), &grouping()), (1, true));
    assert_eq!(met(&InFlight { due: NOW + Duration::SECOND, ..row() }, &grouping()), (0, true));
    assert_eq!(met(&InFlight { on_hold: Some("hold".to_owned()), ..row() }, &grouping()), (0, true));
    assert!(met(&row(), &Rules::default()).1, "nobody knows whether its rule groups");
    assert!(!met(&row(), &rules("")).1, "its rule does not group any more");
}

#[test]
fn of_a_rule_no_more_wait_in_memory_than_its_queue_holds() {
    let (mut seen, rules) = (GroupsSeen::default(), grouping());
    for n in 0..MAX_QUEUED_PER_RULE + 2 {
        seen.add(&InFlight { id: id(n), ..row() }, &rules, NOW);
    }
    assert_eq!(seen.waiting[row().rule.as_str()].len(), MAX_QUEUED_PER_RULE);
}

/// Sizes of the groups that are made of files of these bytes, and how many files are left to wait.
fn groups_of(group: &str, bytes: &[u64], is_closed: bool) -> (Vec<usize>, usize) {
    let closed = is_closed.then_some(SealReason::Waited);
    let rules = rules(group);
    let settings = rules.get("claims").and_then(|rule| rule.group.clone()).expect("it groups");
    let mut seen = GroupsSeen::default();
    for (n, bytes) in bytes.iter().enumerate() {
        let folder = "https://a.blob.core.windows.net/con/eu".to_owned();
        let group = Some(InGroup::Waits { folder, bytes: Some(*bytes) });
        seen.add(&InFlight { id: id(n), group, ..row() }, &rules, NOW);
    }
    let files = seen.waiting.remove("claims").expect("they wait");
    let batches = batches::cut(&settings, files, closed);
    let full = |batch: &Batch| batch.reason == SealReason::Full;
    assert!(batches.iter().rev().skip(1).all(full), "only the last one goes though it is not full");
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.files.len()).collect();
    let left = bytes.len() - sizes.iter().sum::<usize>();
    (sizes, left)
}

#[test]
fn a_group_goes_once_it_is_full_by_files_or_bytes_and_a_large_file_goes_by_itself() {
    let by_files = r#","group":{"by":"folder","maxFiles":2}"#;
    assert_eq!(groups_of(by_files, &[1, 1, 1], false), (vec![2], 1));
    assert_eq!(groups_of(by_files, &[1, 1, 1], true), (vec![2, 1], 0));
    assert_eq!(groups_of(by_files, &[1, 1], false), (vec![2], 0));
    let by_bytes = r#","group":{"by":"folder","maxBytes":10}"#;
    assert_eq!(groups_of(by_bytes, &[5, 4, 3], false), (vec![2], 1));
    assert_eq!(groups_of(by_bytes, &[5, 5], false), (vec![2], 0));
    assert_eq!(groups_of(by_bytes, &[20], false), (vec![1], 0));
    assert_eq!(groups_of(by_bytes, &[5, 20, 5], false), (vec![1, 1], 1));
}

/// What a member in this state hears of a group that ended so.
fn heard(status: Status, state: MemberState) -> MemberEnd {
    let mut group = Group::sealed([id(1), id(2)], None);
    group.members[0].state = state;
    group.members[1].state = MemberState::Staged;
    group.reasons.insert(id(1), "409".to_owned());
    let scoring = Scoring {
        status,
        error: Some("why".to_owned()),
        failure: Some(FailureCause::UserCode),
        grouping: Some(Box::new(Grouping::Group(group.clone()))),
        ..waiting()
    };
    end_of(&scoring, &group, &id(1))
}

#[test]
fn no_member_is_told_that_it_is_scored_but_one_whose_copy_the_output_may_be_of() {
    for state in MemberState::ALL {
        let is_scored = matches!(heard(Status::Scored, state), MemberEnd::Scored(_));
        assert_eq!(is_scored, matches!(state, MemberState::Staged | MemberState::Named), "{state:?}");
    }
}

#[test]
fn who_is_not_in_a_job_hears_nothing_of_its_end_and_who_is_ends_as_it_did() {
    for status in [Status::Scored, Status::Failed, Status::Cancelled] {
        assert_eq!(heard(status, MemberState::Left), MemberEnd::NotSealed, "{status}");
        for (state, why) in [(MemberState::Changed, "version"), (MemberState::NotCopied, "409")] {
            let end = heard(status, state);
            assert!(matches!(&end, MemberEnd::Alone(told) if told.contains(why)), "{status} {state:?}: {end:?}");
        }
    }
    let end = heard(Status::Scored, MemberState::NotNamed);
    assert!(matches!(&end, MemberEnd::Alone(told) if told.contains("does not name it")), "{end:?}");
    assert_eq!(heard(Status::Failed, MemberState::Sealed), MemberEnd::NotSealed);
    for state in [MemberState::Sealed, MemberState::Staged] {
        assert_eq!(heard(Status::Cancelled, state), MemberEnd::Cancelled("why".to_owned()), "{state:?}");
    }
    let MemberEnd::Failed(failed) = heard(Status::Failed, MemberState::Staged) else { panic!("it failed") };
    assert_eq!((failed.error.as_str(), failed.cause), ("why", FailureCause::UserCode));
}
