//! What is looked at before anything is called scored.

use super::*;

#[test]
fn scored_is_never_shown_for_an_output_that_is_absent_empty_or_old() {
    for bad in [absent(), output(0, NOW), output(9, NOW - Duration::hours(1))] {
        let mut life = Life::verifying();
        life.waits(&bad);
        life.later(Duration::minutes(2)).moves(&bad);
        assert_eq!(life.scoring.status, Status::Queued, "{bad:?}");
    }
    let mut life = Life::verifying();
    life.moves(&Observation::CannotLook("403".into()));
    life.waits(&Observation::CannotLook("403".into()));
    assert_eq!(life.scoring.status, Status::Verifying);
}

#[test]
fn a_clock_that_is_minutes_off_does_not_condemn_an_output() {
    let mut life = Life::verifying();
    life.moves(&output(9, NOW - Duration::minutes(4)));
    assert_eq!(life.scoring.status, Status::Scored);
}
