//! Rules that ask for what no event tells, metadata and index tags: each upload is looked at before it is decided, and what could not
//! be looked at waits.

use lifecycle::{BlobSnapshot, IndexTags, JobStatus, Status};
use serde_json::json;
use time::Duration;

use super::renames::{jobs, name, pending, put, renamed, ruled, skips, tick, url};
use super::since;
use crate::support::world::{World, event};

const MATCH: &str = r#"{"container": "claims", "metadata": {"Tenant": ["a", "b"]}, "indexTags": {"hold": false}}"#;

fn asking() -> World {
    ruled(&json!({ "match": serde_json::from_str::<serde_json::Value>(MATCH).unwrap() }))
}

/// Puts a blob with this metadata, and with an index tag or none.
fn put_as(world: &World, path: &str, etag: &str, tenant: Option<&str>, hold: bool) {
    put(world, path, etag, 9);
    world.uploaded(|uploaded| uploaded.change(&name(path), |shown| labelled(shown, tenant, hold)));
}

fn labelled(shown: &mut BlobSnapshot, tenant: Option<&str>, hold: bool) {
    shown.metadata = tenant.map(|tenant| ("tenant".to_owned(), tenant.to_owned())).into_iter().collect();
    shown.index_tags = IndexTags::Seen(hold.then(|| ("hold".to_owned(), "yes".to_owned())).into_iter().collect());
}

#[tokio::test]
async fn what_no_event_tells_is_looked_at_within_the_invocation_and_decides() {
    let world = asking();
    let app = world.app();
    put_as(&world, "warm-up.csv", "0", Some("a"), false);
    world.deliver(&app, &event("warm-up.csv", "0")).await;
    put_as(&world, "good.csv", "1", Some("b"), false);
    let before = world.store.calls();
    let ids = world.deliver(&app, &event("good.csv", "1")).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Running, "at once");
    assert_eq!(since(before, world.store.calls()).1, 0, "no other version is looked for: the event names this one");
    put_as(&world, "other.csv", "1", Some("c"), false);
    put_as(&world, "none.csv", "1", None, false);
    put_as(&world, "held.csv", "1", Some("a"), true);
    for path in ["other.csv", "none.csv", "held.csv"] {
        assert!(world.deliver(&app, &event(path, "1")).await.is_empty(), "{path}");
    }
    let mut told = skips(&world, &app).await;
    told.sort();
    let expected = [
        ("held.csv", "it has index tag `hold` (match.indexTags)"),
        ("none.csv", "it has no metadata `tenant` (match.metadata)"),
        ("other.csv", "its metadata `tenant` is `c`, not `a`, `b` (match.metadata)"),
    ];
    assert_eq!(told, expected.map(|(path, why)| (url(path), why.to_owned())));
    assert_eq!(jobs(&world), ["good.csv", "warm-up.csv"]);
    assert!(pending(&app).await.is_empty());
}

#[tokio::test]
async fn what_could_not_be_looked_at_waits_and_is_neither_skipped_nor_scored() {
    let world = asking();
    let app = world.app();
    put_as(&world, "good.csv", "1", Some("a"), false);
    put_as(&world, "held.csv", "1", Some("a"), true);
    world.blind_storage(Some("503"));
    for path in ["good.csv", "held.csv"] {
        assert!(world.deliver(&app, &event(path, "1")).await.is_empty());
    }
    assert_eq!(pending(&app).await.len(), 2);
    // The blob can be seen and its tags cannot, as without the right of their own.
    world.blind_storage(None);
    world.set_tags_inconclusive(Some("the app's identity may not read index tags"));
    tick(&world, &app, Duration::minutes(2)).await;
    let waiting = pending(&app).await;
    assert!(
        waiting.len() == 2 && waiting.iter().all(|one| one.reason().contains("may not read index tags")),
        "{waiting:?}"
    );
    assert!(jobs(&world).is_empty() && skips(&world, &app).await.is_empty());
    world.set_tags_inconclusive(None);
    tick(&world, &app, Duration::minutes(3)).await;
    assert_eq!(jobs(&world), ["good.csv"]);
    assert_eq!(skips(&world, &app).await.len(), 1);
    assert!(pending(&app).await.is_empty());
}

#[tokio::test]
async fn tags_are_asked_for_once_of_each_blob_and_only_where_a_rule_wants_them() {
    let rule = |id: &str, matches: &str| {
        format!(r#"{{"id": "{id}", "match": {matches}, "endpoint": {{"uri": "https://heart.example/jobs"}}}}"#)
    };
    let plain = r#"{"container": "claims", "metadata": {"tenant": true}}"#;
    for (rules, asked) in [(vec![rule("a", MATCH), rule("b", MATCH), rule("c", plain)], 1), (vec![rule("c", plain)], 0)]
    {
        let world = World::with_rules(&format!(r#"{{"rules": [{}]}}"#, rules.join(",")));
        let app = world.app();
        put_as(&world, "a.csv", "1", Some("a"), false);
        assert_eq!(world.deliver(&app, &event("a.csv", "1")).await.len(), rules.len());
        assert_eq!(world.tag_looks(), asked);
    }
}

#[tokio::test]
async fn a_renamed_folders_files_are_judged_by_their_metadata_and_tags() {
    let world = asking();
    let app = world.app();
    for (path, tenant, hold) in [("to/a.csv", "a", false), ("to/b.csv", "x", false), ("to/c.csv", "b", true)] {
        put_as(&world, path, path, Some(tenant), hold);
    }
    world.deliver(&app, &renamed("DirectoryRenamed", "from", "to")).await;
    tick(&world, &app, Duration::minutes(2)).await;
    assert_eq!(jobs(&world), ["to/a.csv"]);
    assert_eq!(skips(&world, &app).await.len(), 2);
}

#[tokio::test]
async fn metadata_is_filled_into_texts_and_kept_with_the_scoring_through_later_changes() {
    let uri = "azureml://datastores/blobs/paths/{blob.metadata.Tenant}/{scoring.id}/{attempt}/p.csv";
    let world = ruled(&json!({
        "outputs": { "score": { "type": "UriFile", "uri": uri } },
        "settings": { "name": "for {blob.metadata.tenant}{blob.metadata.absent}" },
        "retryBackOff": "PT0S",
    }));
    let app = world.app();
    put_as(&world, "a.csv", "1", Some("a b"), false);
    let id = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
    put_as(&world, "a.csv", "1", Some("c"), false);
    world.end_jobs(&JobStatus::Failed);
    for _ in 0..4 {
        tick(&world, &app, Duration::minutes(3)).await;
    }
    let sent: Vec<(String, String)> = world
        .jobs()
        .into_iter()
        .map(|job| (job.submission.outputs["score"].uri.clone(), job.submission.settings["name"].to_string()))
        .collect();
    assert!(sent.len() >= 2, "{sent:?}");
    for (attempt, (uri, name)) in sent.iter().enumerate() {
        let expected = format!("azureml://datastores/blobs/paths/a b/{id}/{}/p.csv", attempt + 1);
        assert_eq!((uri, name.as_str()), (&expected, "\"for a b\""), "by what was there when it was taken in");
    }
    // Whoever uploads does not choose where it goes.
    put_as(&world, "b.csv", "1", Some("../x"), false);
    assert!(world.deliver(&app, &event("b.csv", "1")).await.is_empty());
    assert!(skips(&world, &app).await[0].1.contains("cannot be a part of a path"));
}

#[tokio::test]
async fn a_newer_version_that_only_a_look_shows_is_judged_by_its_own_metadata() {
    for (tenant, wanted) in [("b", true), ("x", false)] {
        let world = ruled(&json!({
            "match": { "container": "claims", "metadata": { "tenant": ["a", "b"] } },
            "settings": { "name": "{blob.metadata.tenant}" },
            "maxInFlight": 1,
        }));
        let app = world.app();
        put_as(&world, "first.csv", "0", Some("a"), false);
        put_as(&world, "a.csv", "1", Some("a"), false);
        world.change_inputs(|inputs, now| inputs.put(&url("a.csv"), "1", 1, true, now));
        for (path, etag) in [("first.csv", "0"), ("a.csv", "1")] {
            world.deliver(&app, &event(path, etag)).await;
        }
        put_as(&world, "a.csv", "2", Some(tenant), false);
        world.change_inputs(|inputs, now| inputs.put(&url("a.csv"), "2", 2, true, now));
        for _ in 0..4 {
            world.end_jobs(&JobStatus::Completed);
            tick(&world, &app, Duration::minutes(3)).await;
        }
        let names: Vec<String> =
            world.jobs().into_iter().map(|job| job.submission.settings["name"].to_string()).collect();
        let expected: &[&str] = if wanted { &["\"a\"", "\"b\""] } else { &["\"a\""] };
        assert_eq!(names, expected);
    }
}
