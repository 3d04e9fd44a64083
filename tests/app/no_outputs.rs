//! A rule that asks for no output: nothing of it is looked at, and nothing is concluded from an output path that there is not.

use app::reports::{self, ScoringLookup};
use lifecycle::{JobStatus, Status};
use time::Duration;

use super::renames::tick;
use crate::support::world::{Fault, World, event};

const RULES: &str = r#"{"rules": [{"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"},
    "outputs": {}}]}"#;

#[tokio::test]
async fn what_asks_for_no_output_is_scored_by_its_job_and_says_so() {
    let world = World::with_rules(RULES);
    let app = world.app();
    let id = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
    world.end_jobs(&JobStatus::Completed);
    for _ in 0..3 {
        tick(&world, &app, Duration::minutes(3)).await;
    }
    let scoring = world.get(&app, &id).await;
    assert_eq!((scoring.status, scoring.output_uri(), scoring.output_bytes), (Status::Scored, None, None));
    let entries = app.ledger().entries(&scoring.id).await.unwrap();
    assert_eq!(entries.last().unwrap().reason, "the job completed; its rule asks for no output");
    assert_eq!(scoring.sentence(), "the job completed; its rule asks for no output");
    let mut out = Vec::new();
    let code = handler::cli::output::output(app.ledger(), "a.csv", &mut out).await.unwrap();
    assert_eq!((code, out.as_slice()), (1, b"`a.csv` is scored; its rule asks for no output.\n".as_slice()));
    let Some(ScoringLookup::Scoring(detail)) = reports::detail_of(app.ledger(), &scoring.id).await.unwrap() else {
        panic!()
    };
    assert_eq!(detail.scoring.all_outputs(), None);
}

/// Its job fails like any other, and the next attempt is made.
#[tokio::test]
async fn a_failed_job_without_outputs_is_followed_by_another_attempt() {
    let world = World::with_rules(RULES);
    let app = world.app();
    let id = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
    world.end_jobs(&JobStatus::Failed);
    for _ in 0..3 {
        tick(&world, &app, Duration::minutes(3)).await;
    }
    assert_eq!((world.get(&app, &id).await.attempt, world.jobs().len()), (2, 2));
}

/// Nothing tells whether a request ran that made a job which shows nothing, so that it is never sent again by itself.
#[tokio::test]
async fn a_lost_request_without_outputs_is_held_unless_a_tag_tells_its_job() {
    for (lost, tagged) in
        [(Fault::LostAnswer { times: 1 }, true), (Fault::LostAnswer { times: 1 }, false), (Fault::LostRequest, false)]
    {
        let world = World::with_rules(RULES);
        world.keep_tags(tagged);
        let app = world.app();
        world.next_faults([lost]);
        let id = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
        let made = world.jobs().len();
        world.end_jobs(&JobStatus::Completed);
        for _ in 0..40 {
            tick(&world, &app, Duration::minutes(1)).await;
        }
        let scoring = world.get(&app, &id).await;
        let expected = if tagged { Status::Scored } else { Status::Held };
        assert_eq!((scoring.status, world.jobs().len()), (expected, made), "{:?}", scoring.last_error);
        if !tagged {
            let why = scoring.last_error.unwrap();
            assert!(why.contains("it asks for no output, by which it would be seen whether it ran"), "{why}");
        }
    }
}
