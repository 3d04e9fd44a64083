//! What a look at the input leads to.

use super::*;
use crate::id::ScoringId;
use crate::input::{InputContent, InputFound, SeenVersion};

pub(super) fn version(etag: &str, md5: Option<&str>) -> SeenVersion {
    SeenVersion { etag: etag.to_owned(), content: InputContent { bytes: 7, md5: md5.map(str::to_owned) } }
}

pub(super) fn other_scoring() -> ScoringId {
    ScoringId::read(&"7".repeat(32)).expect("32 hex digits")
}

pub(super) fn newer() -> InputFound {
    InputFound::Newer { etag: "2".into(), scoring: other_scoring() }
}

pub(super) fn after(then: Observation, found: InputFound) -> Observation {
    Observation::Input { found, then: Box::new(then) }
}

fn failed() -> Observation {
    job(JobStatus::Failed)
}

#[test]
fn the_version_that_was_named_is_submitted_and_its_content_is_kept() {
    let mut life = Life::new();
    let named = after(Observation::SlotFree, InputFound::Named(version("1", Some("m"))));
    assert_eq!(life.moves(&named), Effect::Submit);
    assert_eq!(life.scoring.input, Some(InputContent { bytes: 7, md5: Some("m".into()) }));
    assert_eq!(life.scoring.aliases, Vec::<String>::new());
}

#[test]
fn another_etag_of_the_same_content_joins_the_scoring_and_it_goes_on() {
    let mut life = Life::verifying();
    life.moves(&after(output(9, NOW), InputFound::SameContent(version("2", Some("m")))));
    assert_eq!((life.scoring.status, life.scoring.aliases.as_slice()), (Status::Scored, &["2".to_owned()][..]));
    assert_eq!(life.scoring.input, None, "the content of another ETag is not that of the first look");
}

#[test]
fn etags_of_one_content_do_not_fill_the_row() {
    let mut life = Life::running();
    for n in 0..3 * crate::scoring::MAX_ALIASES {
        let word = JobStatus::read(&format!("Word{n}"));
        life.moves(&after(job(word), InputFound::SameContent(version(&format!("a{n}"), None))));
    }
    assert_eq!(life.scoring.aliases.len(), crate::scoring::MAX_ALIASES);
    assert_eq!(life.scoring.aliases.last().map(String::as_str), Some("a59"), "the last are kept");
}

#[test]
fn what_is_gone_or_newer_before_a_job_is_made_ends_without_one() {
    for (found, status, replaced_by) in
        [(InputFound::Gone, Status::Gone, None), (newer(), Status::Superseded, Some(other_scoring()))]
    {
        let mut life = Life::new();
        assert_eq!(life.moves(&after(Observation::SlotFree, found)), Effect::None);
        assert_eq!((life.scoring.status, life.scoring.attempt), (status, 0));
        assert_eq!((&life.scoring.replaced_by, life.scoring.error.as_deref()), (&replaced_by, None));
    }
}

#[test]
fn what_cannot_be_looked_at_waits_longer_each_time_and_is_never_taken_for_gone() {
    let mut life = Life::new();
    let mut last = Duration::ZERO;
    for _ in 0..20 {
        life.moves(&after(Observation::SlotFree, InputFound::NotSeen("storage answered 403".into())));
        assert_eq!((life.scoring.status, life.scoring.attempt), (Status::Queued, 0));
        assert!(life.scoring.last_error.as_deref().unwrap().contains("403"));
        let pause = life.scoring.due - life.now;
        assert!(pause >= last && pause <= Duration::minutes(15), "{pause} after {last}");
        (last, life.now) = (pause.min(Duration::minutes(8)), life.scoring.due);
    }
    life.moves(&after(Observation::SlotFree, InputFound::Named(version("1", None))));
    assert_eq!((life.scoring.status, life.scoring.last_error), (Status::Submitting, None));
}

#[test]
fn a_failed_job_whose_input_is_gone_or_newer_is_no_failed_attempt() {
    for (found, status) in [(InputFound::Gone, Status::Gone), (newer(), Status::Superseded)] {
        for last in [false, true] {
            let mut life = Life::running();
            life.rule.policy.max_attempts = if last { 1 } else { 3 };
            life.moves(&after(failed(), found.clone()));
            assert_eq!(life.scoring.status, status, "with {last}");
        }
    }
    for found in [InputFound::NotSeen("403".into()), InputFound::Named(version("1", None))] {
        let mut life = Life::running();
        life.moves(&after(failed(), found));
        assert_eq!(life.scoring.status, Status::Queued, "it failed by itself, as far as anybody can tell");
    }
}

#[test]
fn an_output_is_not_shown_as_scored_while_its_input_is_newer_or_was_not_looked_at() {
    let good = || output(9, NOW);
    let mut life = Life::verifying();
    life.moves(&after(good(), InputFound::NotSeen("403".into())));
    life.waits(&after(good(), InputFound::NotSeen("403".into())));
    assert_eq!(life.scoring.status, Status::Verifying);
    life.moves(&after(good(), newer()));
    assert_eq!((life.scoring.status, life.scoring.output_bytes), (Status::Superseded, None));
    let mut life = Life::verifying();
    life.moves(&after(good(), InputFound::Gone));
    assert_eq!(life.scoring.status, Status::Scored, "what was scored may be deleted");
}

#[test]
fn gone_is_not_for_ever_and_begins_an_attempt_of_its_own() {
    let mut life = Life::running();
    let path = life.scoring.output_uri().unwrap().to_owned();
    life.moves(&after(failed(), InputFound::Gone));
    assert!(life.scoring.completed.is_some());
    life.later(Duration::hours(1)).moves(&Observation::VersionSeen);
    assert_eq!((life.scoring.status, life.scoring.completed, life.scoring.due), (Status::Queued, None, life.now));
    assert_eq!((life.scoring.job.as_ref(), life.scoring.previous_jobs.len()), (None, 1));
    life.moves(&Observation::SlotFree);
    assert_eq!(life.scoring.attempt, 2);
    assert_ne!(life.scoring.output_uri(), Some(path.as_str()));
}

#[test]
fn a_version_that_is_seen_changes_nothing_unless_it_was_gone_or_superseded() {
    for life in [Life::new(), Life::submitting(), Life::running(), Life::verifying(), Life::unknown()] {
        life.waits(&Observation::VersionSeen);
    }
    let mut superseded = Life::new();
    superseded.moves(&after(Observation::SlotFree, newer()));
    superseded.moves(&Observation::VersionSeen);
    let Scoring { status, replaced_by, in_place_of, .. } = &superseded.scoring;
    assert_eq!((*status, replaced_by, in_place_of), (Status::Queued, &None, &Some(other_scoring())));
}

#[test]
fn a_second_etag_of_a_content_joins_its_scoring() {
    let mut life = Life::new();
    life.moves(&Observation::ScoredAs(other_scoring()));
    assert_eq!((life.scoring.status, &life.scoring.replaced_by), (Status::Superseded, &Some(other_scoring())));
    Life::running().waits(&Observation::ScoredAs(other_scoring()));
}

#[test]
fn a_verified_input_is_looked_at_before_a_job_after_a_failure_and_before_scored() {
    let looking = |mut life: Life| {
        life.rule.policy.verify_input = true;
        life
    };
    let asks = |life: &Life, seen: &Observation| life.decide(seen) == Step::LookAtInput;
    assert!(asks(&looking(Life::new()), &Observation::SlotFree));
    assert!(asks(&looking(Life::running()), &failed()));
    let mut verifying = looking(Life::verifying());
    assert!(asks(&verifying, &output(9, NOW)));
    assert!(!asks(&verifying, &absent()), "an output that is late costs no look");
    assert!(asks(verifying.later(Duration::minutes(2)), &absent()), "the attempt fails by it");
    for (life, seen) in [(Life::new(), Observation::SlotFree), (Life::running(), failed())] {
        assert!(!asks(&life, &seen), "verifyInput: false");
        let waits = Observation::Waiting { reason: "all slots are taken".into() };
        assert!(!asks(&looking(life), &waits), "what waits is not looked at");
    }
}

#[test]
fn without_its_rule_only_what_could_be_looked_at_before_is() {
    for (input, expected) in [(None, false), (Some(version("1", None).content), true)] {
        let mut life = Life::verifying();
        life.scoring.input = input;
        let step = decide(&life.scoring, None, &output(9, NOW), NOW);
        assert_eq!(step == Step::LookAtInput, expected, "{step:?}");
    }
}

#[test]
fn a_newer_version_that_the_rule_does_not_want_supersedes_all_the_same() {
    let mut life = Life::new();
    let unwanted = InputFound::Unwanted { etag: "2".into(), why: "it is empty".into() };
    life.moves(&after(Observation::SlotFree, unwanted));
    assert_eq!((life.scoring.status, life.scoring.replaced_by), (Status::Superseded, None));
}
