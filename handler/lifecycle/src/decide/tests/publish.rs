//! Publishing of verified results.

use super::*;
use crate::breaker::verdicts;
use crate::decide::{PublishAnswer, PublishOrder};
use crate::destination::DestinationLook;
use crate::publication::{
    NotedResult, PublicationMark, PublicationOrder, Published, PublishedBlob, Refusal, RefusalKind, WriteCondition,
};
use crate::publishing::{FileVersion, NotPublished, PublicationEnd, PublishedPlace};
use crate::rule::template::Template;
use crate::rule::{IfExists, Publish};
use crate::unversioned::UnversionedBlob;

const TARGET: &str = "azureml://datastores/d/paths/latest.csv";

fn place() -> PublishedPlace {
    PublishedPlace::of(&UnversionedBlob::read("https://acct.blob.core.windows.net/d/latest.csv").unwrap())
}

fn ledger(n: u8) -> LedgerId {
    LedgerId::of_random([n; 16])
}

/// A life that is verifying, under a rule that publishes.
fn life(if_exists: IfExists) -> Life {
    let mut life = Life::verifying();
    let publish = Publish { uri: Template::parse(TARGET).unwrap(), if_exists };
    life.rule.outputs.values_mut().for_each(|output| output.publish = Some(publish.clone()));
    life
}

fn good(life: &Life) -> Observation {
    let output = OutputSnapshot::Present { bytes: 9, modified: life.now, print: OutputPrint::of([("", "1")]) };
    Observation::Output { output, sources: vec![("score".into(), FileVersion { etag: "src".into(), len: 9 })] }
}

/// The same, whose result is on record to be published.
fn publishing(if_exists: IfExists) -> Life {
    let mut life = life(if_exists);
    let seen = good(&life);
    assert_eq!(life.moves(&seen), Effect::Publish);
    assert_eq!(life.scoring.status, Status::Verifying);
    life
}

fn mark(life: &Life) -> PublicationMark {
    PublicationMark::of(&ledger(1), &life.scoring, "score")
}

fn look(life: &Life, found: impl Into<Option<PublishedBlob>>, beside: impl Into<Option<PublishedBlob>>) -> Observation {
    let (mark, found, beside) = (mark(life), found.into(), beside.into());
    Observation::Destination(Box::new(DestinationLook {
        mark,
        place: place(),
        found,
        beside,
        is_input: false,
        newer: None,
    }))
}

fn there(etag: &str, mark: Option<PublicationMark>) -> PublishedBlob {
    PublishedBlob { etag: etag.into(), len: 7, mark }
}

/// The mark of a result so many seconds newer than the scoring's.
fn of_another(life: &Life, seconds: i64, ledger: LedgerId) -> PublicationMark {
    let own = mark(life);
    let order = PublicationOrder { accepted_at: own.order.accepted_at + Duration::seconds(seconds), ..own.order };
    PublicationMark {
        ledger,
        scoring: "0123456789abcdef0123456789abcdef".parse().unwrap(),
        output: "score".into(),
        attempt: 1,
        order,
    }
}

fn order(life: &Life, seen: &Observation) -> PublishOrder {
    match life.decide(seen) {
        Step::Publish(order) => *order,
        other => panic!("{seen:?}: {other:?}"),
    }
}

fn answered(to: &str, answer: Published) -> Observation {
    Observation::PublishAnswered { to: to.into(), place: Some(place()), answer: PublishAnswer::Answered(answer) }
}

fn end(life: &Life) -> &PublicationEnd {
    assert_eq!(life.scoring.status, Status::Scored);
    life.scoring.publishing.as_ref().unwrap().outputs[0].end.as_ref().unwrap()
}

fn not_published(life: &Life) -> NotPublished {
    match end(life) {
        PublicationEnd::NotPublished { why, .. } => *why,
        PublicationEnd::Published { uri, .. } => panic!("published at {uri}"),
    }
}

#[test]
fn a_good_output_is_on_record_with_its_paths_before_it_is_copied_and_scored_after() {
    let mut life = life(IfExists::Replace);
    let found = life.waits(&Observation::output(OutputSnapshot::Present {
        bytes: 9,
        modified: life.now,
        print: OutputPrint::of([("", "1")]),
    }));
    assert!(found.contains("which version of output score"), "nothing is copied that was not seen: {found}");
    let seen = good(&life);
    life.moves(&seen);
    let kept = life.scoring.publishing.clone().unwrap();
    assert_eq!((kept.outputs[0].uri.as_str(), kept.outputs[0].end.as_ref()), (TARGET, None));
    let order = order(&life, &look(&life, None, None));
    assert_eq!((order.to.as_str(), order.condition), (TARGET, WriteCondition::Absent));
    assert_eq!(order.publication.source, Some(FileVersion { etag: "src".into(), len: 9 }));
    life.moves(&answered(TARGET, Published::Written { etag: "new".into() }));
    assert_eq!(*end(&life), PublicationEnd::Published { uri: TARGET.into(), etag: "new".into(), place: Some(place()) });
    assert!(!life.scoring.needs_acknowledgement());
    let rows: Vec<_> = life.taken.iter().rev().take(2).map(|row| row.1).collect();
    assert_eq!(rows, [Event::OutputGood, Event::Publishing]);
}

#[test]
fn a_file_of_another_length_than_was_verified_is_looked_at_again_and_never_copied() {
    for (len, told) in
        [(0, "seen empty and then"), (8, "with 8 bytes and the output then with 9"), (10, "with 10 bytes")]
    {
        let mut life = life(IfExists::Replace);
        let output = OutputSnapshot::Present { bytes: 9, modified: life.now, print: OutputPrint::of([("", "1")]) };
        let sources = vec![("score".into(), FileVersion { etag: "src".into(), len })];
        let why = life.waits(&Observation::Output { output, sources });
        assert!(why.contains(told) && why.contains("looked at again"), "{why}");
        assert_eq!((life.scoring.status, life.scoring.publishing.as_ref()), (Status::Verifying, None));
        let seen = good(&life);
        assert_eq!(life.moves(&seen), Effect::Publish);
    }
}

#[test]
fn what_carries_the_mark_of_this_attempt_is_done_and_of_an_earlier_one_replaced() {
    for if_exists in [IfExists::Refuse, IfExists::Replace, IfExists::Version] {
        let mut life = publishing(if_exists);
        let seen = look(&life, there("e", Some(mark(&life))), None);
        life.moves(&seen);
        assert_eq!(
            *end(&life),
            PublicationEnd::Published { uri: TARGET.into(), etag: "e".into(), place: Some(place()) },
            "{if_exists:?}"
        );
    }
    let mut life = publishing(IfExists::Replace);
    life.scoring.attempt = 2;
    let earlier = PublicationMark { attempt: 1, ..mark(&life) };
    assert_eq!(
        order(&life, &look(&life, there("e", Some(earlier)), None)).condition,
        WriteCondition::Unchanged("e".into())
    );
    let later = PublicationMark { attempt: 3, ..mark(&life) };
    life.moves(&look(&life, there("e", Some(later)), None));
    assert_eq!(not_published(&life), NotPublished::Newer, "who is behind replaces nothing");
}

#[test]
fn an_older_result_never_takes_the_place_of_a_newer_one() {
    for if_exists in [IfExists::Refuse, IfExists::Replace] {
        let mut life = publishing(if_exists);
        let older = look(&life, there("e", Some(of_another(&life, -1, ledger(1)))), None);
        assert_eq!(order(&life, &older).condition, WriteCondition::Unchanged("e".into()), "{if_exists:?}");
        life.moves(&look(&life, there("e", Some(of_another(&life, 1, ledger(1)))), None));
        assert_eq!(not_published(&life), NotPublished::Newer, "{if_exists:?}");
        assert!(!life.scoring.needs_acknowledgement(), "nobody has to do anything");
    }
}

#[test]
fn what_somebody_else_has_written_is_replaced_left_or_left_beside() {
    for theirs in [None, Some(of_another(&publishing(IfExists::Replace), 9, ledger(2)))] {
        let life = publishing(IfExists::Replace);
        let seen = look(&life, there("e", theirs.clone()), None);
        assert_eq!(
            order(&life, &seen).condition,
            WriteCondition::Unchanged("e".into()),
            "of another ledger: not newer"
        );

        let mut life = publishing(IfExists::Refuse);
        life.moves(&look(&life, there("e", theirs.clone()), None));
        assert_eq!(not_published(&life), NotPublished::Exists);
        assert!(life.scoring.needs_acknowledgement());
        life.moves(&super::operator::order(Verb::Acknowledge));
        assert!(!life.scoring.needs_acknowledgement());

        let mut life = publishing(IfExists::Version);
        let beside = format!("azureml://datastores/d/paths/latest.{}.csv", life.scoring.id);
        let seen = look(&life, there("e", theirs.clone()), None);
        let order = order(&life, &seen);
        assert_eq!((order.to.as_str(), order.condition), (beside.as_str(), WriteCondition::Absent));
        life.moves(&look(&life, there("e", theirs), there("b", Some(mark(&life)))));
        assert_eq!(
            *end(&life),
            PublicationEnd::Published { uri: beside, etag: "b".into(), place: None },
            "done before it died"
        );
    }
}

/// With what a look shows beside what lies there.
fn look_with(life: &Life, found: Option<PublishedBlob>, is_input: bool, newer: Option<NotedResult>) -> Observation {
    let mark = mark(life);
    Observation::Destination(Box::new(DestinationLook { mark, place: place(), found, beside: None, is_input, newer }))
}

#[test]
fn another_output_of_the_same_attempt_is_not_taken_for_this_one_and_stays() {
    for if_exists in [IfExists::Refuse, IfExists::Replace] {
        let mut life = publishing(if_exists);
        let other = PublicationMark { output: "other".into(), ..mark(&life) };
        life.moves(&look(&life, there("e", Some(other)), None));
        assert_eq!(not_published(&life), NotPublished::Exists, "{if_exists:?}");
        assert!(end(&life).to_string().contains("output other of the same scoring"), "{}", end(&life));
    }
    let mut life = publishing(IfExists::Version);
    let other = there("e", Some(PublicationMark { output: "other".into(), ..mark(&life) }));
    let beside = format!("azureml://datastores/d/paths/latest.{}.csv", life.scoring.id);
    assert_eq!(order(&life, &look(&life, other.clone(), None)).to, beside);
    life.moves(&look(&life, other.clone(), other));
    assert_eq!(not_published(&life), NotPublished::Exists, "both places are the other one's");
    let mut life = publishing(IfExists::Replace);
    life.scoring.attempt = 2;
    let earlier = PublicationMark { attempt: 1, output: "other".into(), ..mark(&life) };
    let order = order(&life, &look(&life, there("e", Some(earlier)), None));
    assert_eq!(order.condition, WriteCondition::Unchanged("e".into()), "of an attempt that is over");
}

#[test]
fn the_blob_that_was_scored_is_never_replaced_be_it_there_or_gone() {
    for found in [None, Some(there("e", None))] {
        for if_exists in [IfExists::Refuse, IfExists::Replace] {
            let mut life = publishing(if_exists);
            life.moves(&look_with(&life, found.clone(), true, None));
            assert_eq!(not_published(&life), NotPublished::Input, "{if_exists:?}");
            assert!(life.scoring.needs_acknowledgement());
        }
        let life = publishing(IfExists::Version);
        let to = order(&life, &look_with(&life, found, true, None)).to;
        assert!(to.ends_with(&format!("latest.{}.csv", life.scoring.id)), "{to}");
    }
}

#[test]
fn an_older_result_is_not_published_where_a_newer_one_was_and_was_taken_away() {
    let last = |life: &Life, seconds| {
        let PublicationMark { scoring, order, .. } = of_another(life, seconds, ledger(1));
        Some(NotedResult { scoring, order })
    };
    for found in [None, Some(there("e", None))] {
        for if_exists in [IfExists::Refuse, IfExists::Replace] {
            let mut life = publishing(if_exists);
            life.moves(&look_with(&life, found.clone(), false, last(&life, 1)));
            assert_eq!(not_published(&life), NotPublished::Newer, "{if_exists:?}");
            assert!(end(&life).to_string().contains("was published there, of scoring 0123"), "{}", end(&life));
        }
        let life = publishing(IfExists::Replace);
        assert_eq!(order(&life, &look_with(&life, found, false, last(&life, -1))).to, TARGET, "that was older");
    }
    let life = publishing(IfExists::Version);
    let to = order(&life, &look_with(&life, None, false, last(&life, 1))).to;
    assert!(to.ends_with(&format!("latest.{}.csv", life.scoring.id)), "{to}");
}

#[test]
fn what_was_published_at_a_path_is_told_by_the_row_of_its_scoring() {
    let mut life = publishing(IfExists::Replace);
    assert!(!life.scoring.was_published_at(&place()), "it is under way");
    life.moves(&answered(TARGET, Published::Written { etag: "new".into() }));
    assert!(life.scoring.was_published_at(&place()));
    let other = UnversionedBlob::read("https://acct.blob.core.windows.net/d/other.csv").unwrap();
    assert!(!life.scoring.was_published_at(&PublishedPlace::of(&other)));
}

fn refused(kind: RefusalKind) -> Observation {
    answered(TARGET, Published::Refused(Refusal { kind, text: "storage answered 403; give the role".into() }))
}

#[test]
fn a_result_that_is_refused_is_tried_again_and_is_scored_all_the_same() {
    for kind in [RefusalKind::NoContainer, RefusalKind::Leased, RefusalKind::CannotReplace, RefusalKind::Other] {
        let mut life = publishing(IfExists::Replace);
        life.moves(&refused(kind));
        assert_eq!(life.scoring.status, Status::Verifying);
        assert!(life.scoring.due > life.now && life.scoring.last_error.as_deref().unwrap().contains("403"));
        life.later(Duration::minutes(2)).moves(&refused(kind));
        assert_eq!(not_published(&life), NotPublished::Refused);
        assert!(life.scoring.needs_acknowledgement() && life.scoring.error.is_none());
        assert!(life.taken.contains(&(Status::Verifying, Event::NotPublishedYet, Status::Verifying)));
    }
}

#[test]
fn a_role_has_half_an_hour_to_come_into_force_or_longer_if_the_rule_says_so() {
    for kind in [RefusalKind::MayNotWrite, RefusalKind::MayNotReadSource] {
        for (timeout, patience) in [(2, 30), (45, 45)] {
            let mut life = publishing(IfExists::Replace);
            life.rule.policy.output_timeout.0 = Duration::minutes(timeout);
            life.later(Duration::minutes(patience) - Duration::SECOND).moves(&refused(kind));
            assert_eq!(life.scoring.status, Status::Verifying, "{kind:?}");
            assert_eq!(life.scoring.due, life.now + Duration::SECOND, "tried a last time when that is over");
            life.later(Duration::SECOND).moves(&refused(kind));
            assert_eq!(not_published(&life), NotPublished::Refused, "{kind:?}");
        }
    }
}

/// A life whose result could not be published, as something lay there.
fn not_published_life() -> Life {
    let mut life = publishing(IfExists::Refuse);
    life.moves(&look(&life, there("e", None), None));
    assert_eq!(not_published(&life), NotPublished::Exists);
    life.moves(&super::operator::order(Verb::Acknowledge));
    life
}

fn publish() -> Observation {
    super::operator::order(Verb::Publish)
}

#[test]
fn what_could_not_be_published_is_ordered_by_todays_rule_and_without_a_job() {
    let mut life = not_published_life();
    let (attempt, job, was) = (life.scoring.attempt, life.scoring.job.clone(), life.now);
    assert_eq!(life.later(Duration::days(3)).moves(&publish()), Effect::None);
    assert_eq!((life.scoring.status, life.scoring.completed), (Status::Verifying, None));
    assert!(life.waits(&publish()).contains("being published already"), "twice is once");
    let elsewhere = "azureml://datastores/d/paths/elsewhere.csv";
    let rule = Publish { uri: Template::parse(elsewhere).unwrap(), if_exists: IfExists::Replace };
    life.rule.outputs.values_mut().for_each(|output| output.publish = Some(rule.clone()));
    let seen = look(&life, there("e", None), None);
    assert_eq!(life.moves(&seen), Effect::Publish, "on record before anything is written");
    let order = order(&life, &seen);
    assert_eq!((order.to.as_str(), order.publication.if_exists), (elsewhere, IfExists::Replace));
    assert_eq!(order.publication.source, Some(FileVersion { etag: "src".into(), len: 9 }), "what was verified");
    life.moves(&answered(elsewhere, Published::Written { etag: "new".into() }));
    assert_eq!(
        *end(&life),
        PublicationEnd::Published { uri: elsewhere.into(), etag: "new".into(), place: Some(place()) }
    );
    assert_eq!((life.scoring.attempt, &life.scoring.job), (attempt, &job));
    assert!(life.scoring.completed > Some(was) && !life.scoring.needs_acknowledgement());
    assert!(life.waits(&publish()).contains("nothing left to be published"));
    assert_eq!(verdicts(Event::OutputGood, &life.scoring), None, "the breaker was told when it was scored");
    assert!(life.taken.contains(&(Status::Scored, Event::PublishOrdered, Status::Verifying)));
}

/// What is seen of a life.
type Seen = fn(&Life) -> Observation;

#[test]
fn what_is_ordered_to_be_published_is_scored_whatever_comes_of_it() {
    let newer = |life: &Life| look(life, there("e", Some(of_another(life, 1, ledger(1)))), None);
    let ends: [(&str, Seen, NotPublished); 4] = [
        ("an older one never takes the place of a newer one", newer, NotPublished::Newer),
        ("what was verified is gone", |_| answered(TARGET, Published::SourceChanged), NotPublished::Changed),
        ("something is there still", |life| look(life, there("e", None), None), NotPublished::Exists),
        (
            "the ledger cannot hold it",
            |_| Observation::RecordRefused { reason: "413".into(), job: None },
            NotPublished::TooLarge,
        ),
    ];
    for (case, seen, why) in ends {
        let mut life = not_published_life();
        life.moves(&publish());
        let seen = seen(&life);
        assert_eq!(life.moves(&seen), Effect::None, "{case}");
        assert_eq!(not_published(&life), why, "{case}");
        assert_eq!(life.scoring.needs_acknowledgement(), why != NotPublished::Newer, "{case}");
        let done = matches!(why, NotPublished::Newer | NotPublished::Changed);
        assert_eq!(matches!(life.decide(&publish()), Step::Wait { .. }), done, "{case}");
    }
    let mut life = not_published_life();
    life.moves(&publish());
    let seen = look(&life, None, None);
    match decide(&life.scoring, None, &seen, life.now) {
        Step::Move { next, .. } => assert_eq!(next.status, Status::Scored, "nobody says where to"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_publications_back_off_ends_by_an_order_and_what_is_not_scored_has_no_result() {
    let mut life = publishing(IfExists::Replace);
    life.later(Duration::minutes(29)).moves(&refused(RefusalKind::MayNotWrite));
    assert!(life.scoring.due > life.now);
    life.moves(&publish());
    assert_eq!((life.scoring.status, life.scoring.due), (Status::Verifying, life.now));
    life.later(Duration::minutes(2)).moves(&refused(RefusalKind::MayNotWrite));
    assert_eq!(life.scoring.status, Status::Verifying, "its half hour begins anew");
    life.moves(&answered(TARGET, Published::Written { etag: "new".into() }));
    assert!(verdicts(Event::OutputGood, &life.scoring).is_some(), "it is scored for the first time");
    assert!(life.taken.contains(&(Status::Verifying, Event::PublishOrdered, Status::Verifying)));
    for life in [Life::new(), Life::running(), Life::verifying()] {
        assert!(life.waits(&publish()).contains("only what is scored"), "{}", life.scoring.status);
    }
    let mut life = Life::verifying();
    let seen = good(&life);
    life.moves(&seen);
    assert!(life.waits(&publish()).contains("published nothing of it"));
}

#[test]
fn a_changed_destination_is_looked_at_again_and_a_changed_source_is_verified_again() {
    let mut life = publishing(IfExists::Replace);
    life.moves(&answered(TARGET, Published::DestinationChanged));
    assert!(life.scoring.last_error.as_deref().unwrap().contains("something else than was seen lies at"), "it is told");
    life.waits(&Observation::PublishAnswered { to: TARGET.into(), place: None, answer: PublishAnswer::Unfinished(3) });
    let seen = good(&life);
    life.waits(&seen);
    life.moves(&answered(TARGET, Published::SourceChanged));
    assert_eq!((life.scoring.status, life.scoring.publishing.as_ref()), (Status::Verifying, None));
    let seen = good(&life);
    assert_eq!(life.moves(&seen), Effect::Publish);
}

#[test]
fn a_path_that_is_another_at_each_write_ends_it_after_output_timeout_and_not_before() {
    let mut life = publishing(IfExists::Replace);
    life.later(Duration::DAY);
    for n in 0..10 {
        life.moves(&answered(TARGET, Published::DestinationChanged));
        assert_eq!((life.scoring.status, life.scoring.due), (Status::Verifying, life.now), "{n}");
    }
    life.moves(&answered(TARGET, Published::DestinationChanged));
    assert_eq!(not_published(&life), NotPublished::Refused);
    assert!(life.scoring.needs_acknowledgement() && end(&life).to_string().contains("publish elsewhere"));
}

#[test]
fn what_is_under_way_is_not_said_to_be_published() {
    let life = publishing(IfExists::Replace);
    let told = life.scoring.publishing.as_ref().unwrap().told();
    assert_eq!(told, format!("is to be published at {TARGET}"));
    assert!(life.waits(&super::operator::order(Verb::Acknowledge)).contains("is to be published at"), "nor by `ack`");
}

#[test]
fn a_rule_that_publishes_no_more_ends_it_and_a_rule_that_is_gone_does_not() {
    let mut life = publishing(IfExists::Replace);
    let seen = look(&life, None, None);
    assert!(matches!(decide(&life.scoring, None, &seen, life.now), Step::Publish(_)), "seen to its end");
    assert!(life.waits(&super::operator::order(Verb::Cancel)).contains("is being published"));
    life.rule.outputs.values_mut().for_each(|output| output.publish = None);
    life.moves(&seen);
    assert_eq!(not_published(&life), NotPublished::Unwanted);
    let mut life = super::Life::verifying();
    let seen = good(&life);
    life.moves(&seen);
    assert_eq!((life.scoring.status, life.scoring.publishing.as_ref()), (Status::Scored, None), "nothing to publish");
}

#[test]
fn a_folders_manifest_lies_where_it_is_published_its_files_in_the_attempts_folder() {
    let mut life = life(IfExists::Replace);
    for output in life.scoring.submission.as_mut().unwrap().outputs.values_mut() {
        output.kind = crate::job::OutputKind::UriFolder;
    }
    life.rule.outputs.values_mut().for_each(|output| {
        output.publish.as_mut().unwrap().uri = Template::parse("azureml://datastores/d/paths/latest/").unwrap();
    });
    life.moves(&output(9, life.now));
    let order = order(&life, &look(&life, None, None));
    assert_eq!(order.to, "azureml://datastores/d/paths/latest/manifest.json");
    let files = order.publication.files(&order.mark);
    assert_eq!(files, format!("azureml://datastores/d/paths/latest/{}/1", life.scoring.id));
    life.moves(&Observation::PublishAnswered { to: order.to, place: None, answer: PublishAnswer::TooManyFiles });
    assert_eq!(not_published(&life), NotPublished::TooLarge);
}
