//! `show` and `explain`: the story of one blob or one scoring.

use handler::cli::json::JsonArgs;
use handler::cli::list::{Instead, ListArgs};
use handler::cli::on_ledger::{ATTENTION, OK};
use handler::cli::{explain, list, show};
use lifecycle::JobStatus;
use lifecycle::skipped::SkippedEvent;
use serde_json::{Value, json};
use time::Duration;

use super::{HERE, LIMITED, args, page, populate, text};
use crate::support::world::{Fault, START, World, event};

#[tokio::test]
async fn show_tells_the_story_by_id_beginning_url_or_path() {
    let world = World::new();
    let app = populate(&world).await;
    let golden = "\
ID1  scored: the output is there, not empty, and newer than the submission
  blob     https://uploads.blob.core.windows.net/claims/eu/a.csv
  etag     1
  rule     claims
  created  2026-07-21 10:00:00 UTC
  attempt  1
  job      job-1 (Completed)
  output   azureml://datastores/workspaceblobstore/paths/scorekeeper/claims/ID/1/predictions.csv
  bytes    7
  history  (UTC)
    2026-07-21 10:00:00             → queued      rule `claims` wants this blob version
    2026-07-21 10:00:00      queued → submitting  a slot is free
    2026-07-21 10:00:00  submitting → running     the endpoint made job job-1 (Preparing) (request post-1)
    2026-07-21 10:02:00     running → verifying   the job completed; its output is to be looked at (request poll-1)
    2026-07-21 10:02:00   verifying → scored      the output is there (7 bytes) and newer than the submission
";
    let (code, by_path) =
        text(async |out| show::show(app.ledger(), &HERE, "eu/a.csv", &JsonArgs::TEXT, START, out).await).await;
    let id = by_path[..32].to_owned();
    assert_eq!(by_path.replace(&format!("/{id}/"), "/ID/").replace(&id, "ID1"), golden);
    assert_eq!(code, OK);
    let url = "https://uploads.blob.core.windows.net/claims/eu/a.csv?sig=SECRET";
    // The last is how `list` prints it.
    for wanted in [id.as_str(), &id[..6], url, "claims/eu/a.csv"] {
        let (_, again) =
            text(async |out| show::show(app.ledger(), &HERE, wanted, &JsonArgs::TEXT, START, out).await).await;
        assert_eq!(again, by_path, "{wanted}");
    }
    let (code, none) =
        text(async |out| show::show(app.ledger(), &HERE, "nothing?sig=SECRET", &JsonArgs::TEXT, START, out).await)
            .await;
    assert_eq!(code, ATTENTION);
    assert!(none.contains("`nothing`") && none.contains("scorekeeper list") && !none.contains("SECRET"), "{none}");
    let (code, none) = text(async |out| show::show(app.ledger(), &HERE, "", &JsonArgs::TEXT, START, out).await).await;
    assert!(code == ATTENTION && none.contains("No event was ever received"), "{none}");
    let (_, trace) = text(async |out| show::show(app.ledger(), &HERE, &id, &JsonArgs::ALL, START, out).await).await;
    let trace: Value = serde_json::from_str(&trace).unwrap();
    assert_eq!(trace["history"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn show_of_a_path_tells_of_all_its_versions_the_newest_first_with_their_dates() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("eu/a.csv", "1")).await;
    world.later(Duration::hours(1));
    world.deliver(&app, &event("eu/a.csv", "2")).await;
    let (code, both) =
        text(async |out| show::show(app.ledger(), &HERE, "claims/eu/a.csv", &JsonArgs::TEXT, START, out).await).await;
    let told: Vec<_> = both.lines().filter(|line| line.contains("etag ") || line.contains("created ")).collect();
    assert_eq!(
        (code, told),
        (
            OK,
            vec![
                "  etag     2",
                "  created  2026-07-21 11:00:00 UTC",
                "  etag     1",
                "  created  2026-07-21 10:00:00 UTC"
            ]
        )
    );
    let (_, json) =
        text(async |out| show::show(app.ledger(), &HERE, "claims/eu/a.csv", &JsonArgs::ALL, START, out).await).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["etag"], &json[1]["etag"]), (&json!("2"), &json!("1")));
}

/// One refused by its rule, one of a container that no rule looks at, one that cannot be read, and one that never came.
#[tokio::test]
async fn what_became_no_scoring_is_explained_shown_and_listed_with_its_event() {
    let world = World::new();
    let app = populate(&world).await;
    let golden = "\
photos/a.jpg
  version 1: skipped since 2026-07-21 10:02:30 UTC (30 min)
    why        rule `claims`: container `photos` is not `claims`
    received   2026-07-21 10:02:30 UTC
    event      EVENT
    next       scorekeeper replay https://uploads.blob.core.windows.net/photos/a.jpg --reason …, once a rule wants it
";
    let later = world.now() + Duration::minutes(30);
    let url = "https://uploads.blob.core.windows.net/photos/a.jpg?sig=SECRET";
    for wanted in [url, "photos/a.jpg", "a.jpg"] {
        let (code, told) =
            text(async |out| explain::explain(app.ledger(), &HERE, wanted, &JsonArgs::TEXT, later, out).await).await;
        let event = told.lines().find_map(|line| line.trim().strip_prefix("event")).map(str::trim).unwrap_or_default();
        assert!(event.starts_with('{') && event.contains("BlobCreated") && event.contains("photos/a.jpg"), "{told}");
        assert_eq!((code, told.replace(event, "EVENT").as_str()), (OK, golden));
        let (_, shown) =
            text(async |out| show::show(app.ledger(), &HERE, wanted, &JsonArgs::TEXT, later, out).await).await;
        assert_eq!(shown, told, "`show` of it says the same");
    }
    let skipped = ListArgs { instead: Instead { skipped: true, ..Instead::default() }, ..args(&[]) };
    let (_, list) = text(async |out| list::list(app.ledger(), &skipped, later, out).await).await;
    assert!(list.contains("photos/a.jpg") && list.contains("is not `claims`"), "{list}");
    let other = ListArgs { prefix: Some("claims/".to_owned()), ..skipped };
    let (_, none) = text(async |out| list::list(app.ledger(), &other, later, out).await).await;
    assert_eq!(none, "No skipped event matches.\n");
    let quarantined = ListArgs { instead: Instead { quarantined: true, ..Instead::default() }, ..args(&[]) };
    let (_, list) = text(async |out| list::list(app.ledger(), &quarantined, later, out).await).await;
    assert!(list.contains("eventType") && list.contains(r#"{"x":1}"#), "{list}");
    let (code, never) = text(async |out| {
        explain::explain(app.ledger(), &HERE, "claims/eu/never.csv", &JsonArgs::TEXT, later, out).await
    })
    .await;
    assert_eq!(code, ATTENTION);
    assert!(never.starts_with("No event was ever received for `claims/eu/never.csv`"), "{never}");
}

#[tokio::test]
async fn show_tells_what_a_queued_scoring_waits_for() {
    let world = World::with_rules(LIMITED);
    let app = world.app();
    for n in 0..3 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
    }
    let waits = async || {
        let (_, trace) =
            text(async |out| show::show(app.ledger(), &HERE, "2.csv", &JsonArgs::TEXT, START, out).await).await;
        let waits = trace.lines().find_map(|line| line.strip_prefix("  waits "));
        waits.map(|waits| waits.trim_start().to_owned()).unwrap_or_default()
    };
    assert_eq!(waits().await, "the next reconcile run submits it");
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(waits().await, "all 2 slots of rule `claims` are taken (maxInFlight)");
    world.later(Duration::minutes(2));
    world.end_jobs(&JobStatus::Completed);
    world.next_faults([Fault::Refused { permanent: false }]);
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert!(waits().await.starts_with("not before 2026-07-21 10:02:1"), "{}", waits().await);
}

#[tokio::test]
async fn a_superseded_scoring_and_the_one_in_its_place_name_each_other() {
    let world = World::new();
    let app = world.app();
    let url = "https://uploads.blob.core.windows.net/claims/a.csv";
    world.change_inputs(|inputs, now| inputs.put(url, "2", 2, true, now));
    let old = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
    world.later(time::Duration::minutes(1));
    app.tick(world.now() + time::Duration::minutes(5)).await.unwrap();
    let new = world.get(&app, &old).await.replaced_by.unwrap();
    let (code, shown) =
        text(async |out| show::show(app.ledger(), &HERE, &old, &JsonArgs::TEXT, START, out).await).await;
    assert!(code == OK && shown.contains(&format!("  replacedBy {new}\n")), "{shown}");
    assert!(shown.starts_with(&format!("{old}  superseded: ")), "{shown}");
    let (_, shown) =
        text(async |out| show::show(app.ledger(), &HERE, new.as_str(), &JsonArgs::TEXT, START, out).await).await;
    assert!(shown.contains(&format!("  inPlaceOf {old}\n")), "{shown}");
    for (one, other) in [(old.as_str(), new.as_str()), (new.as_str(), old.as_str())] {
        let (_, _, html) = page(&app, &world, &format!("/scorings/{one}")).await;
        assert!(html.contains(&format!("href=\"../scorings/{other}\"")), "{html}");
    }
}

/// What people know of a file when they ask: a name with a space at its end, a name that never was in a container, the name in an
/// event that cannot be read.
#[tokio::test]
async fn names_are_found_as_they_are_wherever_they_stand() {
    let world = World::new();
    let app = world.app();
    let mut upload = event("a.csv%20", "1");
    upload["subject"] = json!("/blobServices/default/containers/claims/blobs/a.csv ");
    world.deliver(&app, &upload).await;
    let beside = SkippedEvent {
        key: lifecycle::digest::digest(&["beside"]),
        subject: "beside.csv".to_owned(),
        rule: None,
        etag: None,
        reason: "it lies beside the folders of the containers".to_owned(),
    };
    app.ledger().skip(&beside, None, world.now()).await.unwrap();
    let mut bad = event("bad.csv", "1");
    bad["data"].as_object_mut().unwrap().remove("eTag");
    app.accept(&bad).await.unwrap().submit().await;
    let explained = async |wanted: &str| {
        text(async |out| explain::explain(app.ledger(), &HERE, wanted, &JsonArgs::TEXT, START, out).await).await
    };
    for wanted in ["claims/a.csv ", "a.csv ", "https://uploads.blob.core.windows.net/claims/a.csv%20"] {
        let (code, told) = explained(wanted).await;
        assert!(code == OK && told.contains("running under rule claims"), "{wanted:?}: {told}");
    }
    let (code, told) = explained(" claims/a.csv").await;
    assert!(
        code == ATTENTION && told.contains("No event was ever received"),
        "the space at its end is part of it: {told}"
    );
    let (code, told) = explained("beside.csv").await;
    assert!(code == OK && told.contains("skipped") && told.contains("beside the folders"), "{told}");
    assert!(!told.contains("replay"), "no rule can ever want it: {told}");
    for wanted in ["bad.csv", "claims/bad.csv"] {
        let (code, told) = explained(wanted).await;
        assert!(code == OK && told.contains("cannot be read") && told.contains("eTag"), "{wanted}: {told}");
    }
}
