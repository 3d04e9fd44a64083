//! Searches that share what they see: many lost answers at once, crowds of jobs, jobs that cannot be looked at, slow looks.

use std::collections::HashSet;

use app::ports::{Endpoint as _, Inconclusive, ScanTarget};
use futures::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use super::looking::{IN_TIME, arm, listed, names, none, with_output};
use super::*;
use crate::support::canned::{self, Answer, Canned, Reply};

const LATER: &str = "2026-07-21T09:59:30Z";
const ELSEWHERE: &str = "azureml://datastores/d/paths/x";

/// The list has these jobs.
fn list(server: &Canned, jobs: &[Value]) {
    server.at(&arm("GET", ""), canned::json(200, &json!({ "value": jobs })));
}

/// Scorings of one blob at one endpoint that have nothing in common but that.
fn some(server: &Canned, count: u32) -> Vec<Scoring> {
    let uri = server.url("/jobs");
    let own = |generation: u32| {
        let rule = json!({ "endpoint": { "uri": uri, "workspace": WORKSPACE }, "generation": generation });
        scoring_of(&uri, &rule)
    };
    (0..count).map(own).collect()
}

/// How often the list was read, and how many looks there were.
fn lists_and_looks(server: &Canned) -> (usize, usize) {
    let lines = server.lines();
    let lists = lines.iter().filter(|line| **line == arm("GET", "")).count();
    (lists, lines.iter().filter(|line| line.starts_with("GET /jobs/")).count())
}

#[tokio::test]
async fn many_lost_answers_cost_one_list_and_one_look_at_each_job() {
    let server = Canned::start().await;
    let mut scorings = some(&server, 8);
    let mut jobs = Vec::new();
    for (n, scoring) in scorings.iter_mut().enumerate() {
        // The first to search is the last that was submitted, and its list goes back far enough for all.
        scoring.submitted = Some(NOW - Duration::minutes(2) - Duration::minutes(i64::try_from(n).unwrap()));
        let name = format!("j{n}");
        jobs.push(listed(&name, IN_TIME));
        let output = scoring.output_uri().unwrap();
        server.at(&format!("GET /jobs/{name}"), with_output(&server, &name, IN_TIME, output));
    }
    list(&server, &jobs);
    let ml = azure_ml(&server);
    let found = join_all(scorings.iter().map(|scoring| ml.find(scoring))).await;
    for (n, found) in found.into_iter().enumerate() {
        assert_eq!(names(&found.unwrap()), [format!("j{n}")]);
    }
    // All of them for the first, and for each other one its own, as it is now.
    assert_eq!(lists_and_looks(&server), (1, 8 + 7));
}

#[tokio::test]
async fn a_list_serves_no_search_that_was_not_due_when_it_began_and_tells_its_age() {
    let server = Canned::start().await;
    let scoring = scoring(&server);
    list(&server, &[]);
    let (clock, hand) = moving_clock();
    let ml = azure_ml_at(&server, clock);
    assert_eq!(ml.find(&scoring).await, Ok(none()));
    hand(Duration::seconds(4));
    // Whoever sends again for "none" must know that it is four seconds old.
    assert_eq!(ml.find(&scoring).await, Ok(none()));
    assert_eq!(lists_and_looks(&server), (1, 0));
    let mut later = scoring.clone();
    later.due = NOW + Duration::seconds(1);
    assert_eq!(ml.find(&later).await.unwrap().as_of, Some(NOW + Duration::seconds(4)));
    assert_eq!(lists_and_looks(&server), (2, 0));
    // One that was submitted long before needs a list that goes back as far.
    let mut longer = scoring.clone();
    longer.submitted = Some(NOW - Duration::hours(1));
    ml.find(&longer).await.unwrap();
    assert_eq!(lists_and_looks(&server), (3, 0));
    hand(Duration::seconds(6));
    ml.find(&scoring).await.unwrap();
    assert_eq!(lists_and_looks(&server), (4, 0));
}

#[tokio::test]
async fn rules_that_name_different_workspaces_share_nothing() {
    let server = Canned::start().await;
    let one = scoring(&server);
    let mut other = one.clone();
    other.workspace = WORKSPACE.replace("w1", "w2").parse().ok();
    list(&server, &[]);
    server.at("GET /jobs/j", with_output(&server, "j", IN_TIME, other.output_uri().unwrap()));
    let there = arm("GET", "").replace("w1", "w2");
    server.at(&there, canned::json(200, &json!({ "value": [listed("j", IN_TIME)] })));
    let ml = azure_ml(&server);
    assert_eq!(ml.find(&one).await, Ok(none()));
    assert_eq!(names(&ml.find(&other).await.unwrap()), ["j"]);
}

#[tokio::test]
async fn a_list_that_failed_is_not_asked_for_by_each_search_but_again_a_moment_later() {
    let server = Canned::start().await;
    let scorings = some(&server, 8);
    server.at(&arm("GET", ""), canned::text(403, "no"));
    list(&server, &[]);
    let (clock, hand) = moving_clock();
    let ml = azure_ml_at(&server, clock);
    let found = join_all(scorings.iter().map(|scoring| ml.find(scoring))).await;
    let is_refused = |why: &Inconclusive| why.what.contains("workspaces/jobs/read");
    assert!(found.iter().all(|found| found.as_ref().is_err_and(is_refused)), "{found:?}");
    assert_eq!(lists_and_looks(&server), (1, 0));
    hand(Duration::seconds(6));
    assert_eq!(ml.find(&scorings[0]).await.map(|found| found.jobs), Ok(vec![]));
}

#[tokio::test]
async fn a_crowd_in_the_window_is_checked_in_parts_and_inconclusive_until_all_are_seen() {
    let server = Canned::start().await;
    let scoring = scoring(&server);
    let mut crowd = Vec::new();
    for n in 0..1_001 {
        let name = format!("j{n}");
        // The first is the farthest from the submission.
        crowd.push(listed(&name, if n == 0 { LATER } else { IN_TIME }));
        server.at(&format!("GET /jobs/{name}"), with_output(&server, &name, IN_TIME, ELSEWHERE));
    }
    list(&server, &crowd);
    let ml = azure_ml(&server);
    let inconclusive = ml.find(&scoring).await.unwrap_err();
    assert!(
        inconclusive.what.contains("1001 jobs") && inconclusive.what.contains("the next look goes on"),
        "{inconclusive}"
    );
    assert_eq!(lists_and_looks(&server), (1, 1_000));
    assert!(!server.lines().contains(&"GET /jobs/j0".to_owned()));
    assert_eq!(ml.find(&scoring).await, Ok(none()));
    assert_eq!(lists_and_looks(&server), (1, 1_001));
}

#[tokio::test]
async fn among_jobs_without_outputs_none_is_reported_as_of_the_oldest_lookup() {
    let server = Canned::start().await;
    let scorings = some(&server, 2);
    // Not known to the endpoint: of another one, or not yet. Jobs of other endpoints stay so.
    list(&server, &(0..1_500).map(|n| listed(&format!("j{n}"), IN_TIME)).collect::<Vec<_>>());
    let (clock, hand) = moving_clock();
    let ml = azure_ml_at(&server, clock);
    hand(Duration::seconds(10));
    let first = Some(NOW + Duration::seconds(10));
    assert!(ml.find(&scorings[0]).await.is_err());
    // Those that were looked at since the list was read are as good as listed and looked at.
    assert_eq!(ml.find(&scorings[1]).await.map(|found| (found.jobs.len(), found.as_of)), Ok((0, first)));
    assert_eq!(lists_and_looks(&server), (1, 1_500));
    hand(Duration::minutes(1));
    assert_eq!(ml.find(&scorings[0]).await.map(|found| (found.jobs.len(), found.as_of)), Ok((0, first)));
    assert_eq!(lists_and_looks(&server), (2, 2_500));
    // All looks were before this search was due, and may show outputs now.
    let mut later = scorings[1].clone();
    later.due = NOW + Duration::minutes(2);
    hand(Duration::minutes(1));
    assert!(ml.find(&later).await.is_err());
}

#[tokio::test]
async fn in_a_crowd_the_job_with_our_mark_is_looked_at_first() {
    let server = Canned::start().await;
    let scoring = scoring(&server);
    let mut crowd: Vec<_> = (0..1_000).map(|n| listed(&format!("j{n}"), IN_TIME)).collect();
    let mut ours = listed("ours", LATER);
    ours["properties"]["tags"] = json!({ "scorekeeper.scoring": scoring.id.as_str(), "scorekeeper.attempt": "2" });
    crowd.push(ours);
    list(&server, &crowd);
    assert_eq!(names(&azure_ml(&server).find(&scoring).await.unwrap()), ["ours"]);
}

#[tokio::test]
async fn a_job_that_cannot_be_looked_at_hides_neither_the_others_nor_the_one_that_is_ours() {
    let server = Canned::start().await;
    let scorings = some(&server, 2);
    list(&server, &["locked", "ours", "last"].map(|name| listed(name, IN_TIME)));
    server.at("GET /jobs/locked", canned::text(403, ""));
    server.at("GET /jobs/ours", with_output(&server, "ours", IN_TIME, scorings[0].output_uri().unwrap()));
    server.at("GET /jobs/last", with_output(&server, "last", IN_TIME, ELSEWHERE));
    let ml = azure_ml(&server);
    assert_eq!(names(&ml.find(&scorings[0]).await.unwrap()), ["ours"]);
    assert!(ml.find(&scorings[1]).await.unwrap_err().what.contains("about job locked"), "it might be its job");
    assert_eq!(lists_and_looks(&server), (1, 3 + 1));
}

#[tokio::test]
async fn an_endpoint_where_nothing_can_be_looked_at_is_left_alone_for_a_moment() {
    let server = Canned::start().await;
    let scorings = some(&server, 8);
    let crowd: Vec<_> = (0..100).map(|n| listed(&format!("j{n}"), IN_TIME)).collect();
    list(&server, &crowd);
    for n in 0..100 {
        server.at(&format!("GET /jobs/j{n}"), canned::text(403, ""));
    }
    let ml = azure_ml(&server);
    let found = join_all(scorings.iter().map(|scoring| ml.find(scoring))).await;
    assert!(found.iter().all(Result::is_err), "{found:?}");
    let (lists, looks) = lists_and_looks(&server);
    assert!(lists == 1 && looks <= 3 + 4, "{lists} lists and {looks} looks");
}

/// One answer every 15 seconds is slow, and not so slow that it is not waited for.
fn slow(answer: Answer) -> Reply {
    Reply::Late(std::time::Duration::from_secs(15), answer)
}

#[tokio::test(start_paused = true)]
async fn a_slow_search_ends_with_those_that_wait_for_it_and_the_next_one_goes_on() {
    let server = Canned::start().await;
    let scorings = some(&server, 2);
    let names: Vec<_> = (0..50).map(|n| format!("j{n}")).collect();
    for name in &names {
        server.at(&format!("GET /jobs/{name}"), slow(with_output(&server, name, IN_TIME, ELSEWHERE)));
    }
    list(&server, &names.iter().map(|name| listed(name, IN_TIME)).collect::<Vec<_>>());
    let ml = azure_ml(&server);
    let before = Instant::now();
    let found = join_all(scorings.iter().map(|scoring| ml.find(scoring))).await;
    assert!(found.iter().all(|found| found.as_ref().is_err_and(|why| why.what.contains("the next look goes on"))));
    assert!(before.elapsed() < std::time::Duration::from_secs(125), "{:?}", before.elapsed());
    let (_, looks) = lists_and_looks(&server);
    assert!((4..50).contains(&looks), "{looks}");
    assert_eq!(ml.find(&scorings[0]).await, Ok(none()));
    let (lists, looks) = lists_and_looks(&server);
    assert!(lists == 1 && looks <= 50 + 4, "{lists} lists and {looks} looks");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_takes_too_long_shows_what_it_has_and_is_inconclusive_otherwise() {
    let server = Canned::start().await;
    let scorings = some(&server, 2);
    let endless = json!({ "value": [listed("ours", IN_TIME)], "nextLink": server.url(&format!("{WORKSPACE}/jobs")) });
    server.at(&arm("GET", ""), slow(canned::json(200, &endless)));
    server.at("GET /jobs/ours", with_output(&server, "ours", IN_TIME, scorings[0].output_uri().unwrap()));
    let ml = azure_ml(&server);
    let before = Instant::now();
    // Each page shows it again, and it is one job all the same.
    assert_eq!(names(&ml.find(&scorings[0]).await.unwrap()), ["ours"]);
    let inconclusive = ml.find(&scorings[1]).await.unwrap_err();
    assert!(
        inconclusive.what.contains("more jobs than are looked through")
            && inconclusive.what.contains("scorekeeper resolve")
    );
    assert!(before.elapsed() < std::time::Duration::from_secs(125), "{:?}", before.elapsed());
    assert!(lists_and_looks(&server).0 < 10);
}

#[tokio::test]
async fn a_list_of_absurd_texts_is_not_kept_without_end() {
    let server = Canned::start().await;
    let uri = server.url("/batchEndpoints/claims/jobs");
    let scoring = scoring_of(&uri, &json!({ "endpoint": { "uri": uri, "workspace": WORKSPACE } }));
    for page in 0..4 {
        let of_others = |n| {
            let mut job = listed(&format!("{page}-{n}"), IN_TIME);
            job["properties"]["experimentName"] = json!("training".repeat(1 << 17));
            job
        };
        let jobs: Vec<_> = (0..5).map(of_others).collect();
        let next = server.url(&format!("{WORKSPACE}/jobs?n"));
        server.next(canned::json(200, &json!({ "value": jobs, "nextLink": next })));
    }
    let inconclusive = azure_ml(&server).find(&scoring).await.unwrap_err();
    assert!(inconclusive.what.contains("20 jobs since the submission"), "{inconclusive}");
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_orphan_scan_that_is_slow_shows_the_newest_jobs_and_does_not_call_them_all() {
    let server = Canned::start().await;
    let mut jobs = Vec::new();
    for minute in 10..60 {
        let (name, created) = (format!("j{minute}"), format!("2026-07-21T09:{minute}:00Z"));
        server.at(&format!("GET /jobs/{name}"), slow(with_output(&server, &name, &created, ELSEWHERE)));
        jobs.push(listed(&name, &created));
    }
    let mut timeless = listed("timeless", IN_TIME);
    timeless["systemData"] = json!({});
    jobs.push(timeless);
    server.at("GET /jobs/timeless", slow(with_output(&server, "timeless", IN_TIME, ELSEWHERE)));
    list(&server, &jobs);
    let place = ScanTarget {
        endpoint: server.url("/jobs").parse().unwrap(),
        workspace: WORKSPACE.parse().ok(),
        identity: None,
        experiments: Some(Vec::new()),
    };
    let before = Instant::now();
    let listing =
        azure_ml(&server).jobs_created_since(&place, NOW - Duration::hours(1), &HashSet::new()).await.unwrap();
    assert!(before.elapsed() < std::time::Duration::from_secs(125), "{:?}", before.elapsed());
    let shown: Vec<_> = listing.jobs.iter().map(|listed| listed.job.name.as_str()).collect();
    assert!(shown.len() < 50 && !listing.complete, "{shown:?}");
    assert_eq!(shown[..4], ["timeless", "j59", "j58", "j57"]);
}
