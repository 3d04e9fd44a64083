//! What waits, is sent, is refused, and backs off.

use super::*;

#[test]
fn a_queued_scoring_waits_for_its_back_off_its_slot_and_its_rule() {
    let mut life = Life::submitting();
    life.moves(&refused(false, Some(Duration::minutes(7))));
    assert_eq!(life.scoring.due, life.now + Duration::minutes(7));
    assert!(life.waits(&Observation::SlotFree).contains("back-off"));
    life.later(Duration::minutes(7));
    assert_eq!(life.waits(&Observation::Waiting { reason: "all slots are taken".into() }), "all slots are taken");
    let step = decide(&life.scoring, None, &Observation::SlotFree, life.now);
    assert!(matches!(step, Step::Wait { reason } if reason.contains("rule `claims`")));
}

#[test]
fn a_refused_attempt_keeps_its_number_request_and_output_path() {
    let mut life = Life::submitting();
    let sent = life.scoring.submission.clone();
    life.moves(&refused(false, None));
    life.later(Duration::hours(2)).moves(&Observation::SlotFree);
    assert_eq!((life.scoring.attempt, life.scoring.submits), (1, 2));
    assert_eq!(life.scoring.submission, sent);
}

#[test]
fn refusals_back_off_and_are_given_up_after_their_time() {
    let mut life = Life::submitting();
    let mut last = Duration::ZERO;
    for _ in 0..5 {
        life.moves(&refused(false, None));
        let pause = life.scoring.due - life.now;
        assert!(pause > last, "{pause} after {last}");
        last = pause;
        life.now = life.scoring.due;
        life.moves(&Observation::SlotFree);
    }
    life.later(Duration::days(1)).moves(&refused(false, None));
    assert_eq!(life.scoring.status, Status::Failed);
    assert!(life.scoring.error.as_deref().unwrap().contains("slow down"));
    let mut life = Life::submitting();
    life.moves(&refused(true, None));
    assert_eq!(life.scoring.status, Status::Failed);
}

#[test]
fn the_time_in_the_queue_does_not_count_for_give_up_after() {
    let mut life = Life::new();
    life.later(Duration::days(2)).moves(&Observation::SlotFree);
    life.moves(&refused(false, None));
    assert_eq!(life.scoring.status, Status::Queued);

    let mut life = Life::new();
    life.later(Duration::days(2)).moves(&Observation::SlotFree);
    life.moves(&Observation::Answer(Answer::Unknown { text: "reset".into() }));
    assert_eq!(life.later(Duration::minutes(20)).moves(&Observation::candidates(vec![])), Effect::Submit);
}

#[test]
fn reasons_say_when_and_what_is_final() {
    let waits = Life::submitting().waits(&Observation::Nothing);
    assert!(waits.ends_with("until 2026-07-21 10:02:00 UTC"), "{waits}");
    let mut life = Life::verifying();
    life.moves(&output(120, life.now));
    assert_eq!(life.waits(&Observation::Nothing), "scored is final");
    assert!(Life::running().waits(&Observation::Nothing).contains("nothing to conclude"));
}

#[test]
fn what_is_refused_for_its_tags_is_sent_once_more_without_them_by_the_reconciler() {
    let mut life = Life::submitting();
    assert_eq!(life.moves(&tags_refused()), Effect::None, "no invocation sends two requests");
    assert_eq!((life.scoring.status, life.scoring.due), (Status::Queued, life.now));
    assert_eq!(life.moves(&Observation::SlotFree), Effect::Submit);
    let sent = life.scoring.submission.as_ref().unwrap();
    assert!(sent.untagged && (life.scoring.attempt, life.scoring.submits) == (1, 2));
    life.moves(&tags_refused());
    assert_eq!(life.scoring.status, Status::Failed, "once, not for ever");
}
