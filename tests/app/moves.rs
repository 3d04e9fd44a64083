//! Blobs that are moved after they were scored, moved outputs, and what is kept of them.

use lifecycle::JobStatus;
use serde_json::json;
use time::Duration;

use super::renames::{created, jobs, name, pending, put, renamed, renamed_at, ruled, skips, tick, url};
use crate::support::world::{START, World, event};

/// Moves a blob, or a folder, and lets it be seen.
async fn moved(world: &World, app: &app::App, kind: &str, from: &str, to: &str) {
    match kind {
        "BlobRenamed" => world.uploaded(|uploaded| uploaded.rename(&name(from), &name(to))),
        _ => world.uploaded(|uploaded| uploaded.rename_folder(&name(from), &name(to))),
    }
    world.deliver(app, &renamed(kind, from, to)).await;
    for _ in 0..3 {
        tick(world, app, Duration::minutes(3)).await;
    }
}

#[tokio::test]
async fn what_was_scored_may_be_moved_on_and_on_without_being_scored_again() {
    let world = World::new();
    let app = world.app();
    put(&world, "a.csv", "1", 5);
    world.deliver(&app, &event("a.csv", "1")).await;
    world.tick_until_final(&app, 5).await;
    for (from, to) in [
        ("a.csv", "done/a.csv"),
        ("done/a.csv", "archive/a.csv"),
        ("archive/a.csv", "old/a.csv"),
        ("old/a.csv", "a.csv"),
    ] {
        moved(&world, &app, "BlobRenamed", from, to).await;
        assert_eq!(jobs(&world), ["a.csv"], "{from} -> {to}");
    }
}

#[tokio::test]
async fn folders_of_scored_files_may_be_moved_on_and_on_too() {
    let world = World::new();
    let app = world.app();
    for n in 0..3 {
        put(&world, &format!("in/{n}.csv"), &format!("{n}"), 5);
        world.deliver(&app, &event(&format!("in/{n}.csv"), &format!("{n}"))).await;
    }
    world.tick_until_final(&app, 5).await;
    for (from, to) in [("in", "done"), ("done", "old")] {
        moved(&world, &app, "DirectoryRenamed", from, to).await;
        assert_eq!(world.jobs().len(), 3, "{from} -> {to}");
    }
    let told = skips(&world, &app).await;
    assert!(
        told.iter().any(|(subject, why)| subject.ends_with("/old/1.csv") && why.contains("ignoreScored")),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_was_marked_while_it_was_scored_is_not_scored_again_for_being_moved() {
    let world = World::new();
    let app = world.app();
    put(&world, "a.csv", "1", 5);
    world.change_inputs(|inputs, now| inputs.put(&url("a.csv"), "1", 5, true, now));
    world.deliver(&app, &event("a.csv", "1")).await;
    let etag = world.change_inputs(|inputs, now| inputs.mark(&url("a.csv"), now)).unwrap();
    put(&world, "a.csv", &etag, 5);
    world.tick_until_final(&app, 5).await;
    moved(&world, &app, "BlobRenamed", "a.csv", "done/a.csv").await;
    assert_eq!(jobs(&world), ["a.csv"]);
}

#[tokio::test]
async fn a_rename_that_is_told_again_after_the_blob_was_marked_scores_nothing_twice() {
    let world = World::new();
    let app = world.app();
    put(&world, "a.csv", "1", 5);
    world.change_inputs(|inputs, now| inputs.put(&url("a.csv"), "1", 5, true, now));
    moved(&world, &app, "BlobRenamed", "a.csv.filepart", "a.csv").await;
    world.tick_until_final(&app, 5).await;
    let etag = world.change_inputs(|inputs, now| inputs.mark(&url("a.csv"), now)).unwrap();
    put(&world, "a.csv", &etag, 5);
    moved(&world, &app, "BlobRenamed", "a.csv.filepart", "a.csv").await;
    world.tick_until_final(&app, 5).await;
    assert_eq!(jobs(&world), ["a.csv"]);

    // Renamed once more it is another upload.
    put(&world, "a.csv", "2", 5);
    world.change_inputs(|inputs, now| inputs.put(&url("a.csv"), "2", 6, true, now));
    world.deliver(&app, &renamed_at("2026-07-21T11:00:00Z", "BlobRenamed", "a.csv.filepart", "a.csv")).await;
    world.tick_until_final(&app, 5).await;
    assert_eq!(jobs(&world), ["a.csv", "a.csv"]);
}

#[tokio::test]
async fn what_is_moved_twice_while_its_job_runs_is_scored_once_more_only_if_that_fails() {
    for (end, count) in [(JobStatus::Completed, 1), (JobStatus::Canceled, 2)] {
        let world = World::new();
        let app = world.app();
        put(&world, "a.csv", "1", 5);
        world.deliver(&app, &event("a.csv", "1")).await;
        moved(&world, &app, "BlobRenamed", "a.csv", "b.csv").await;
        moved(&world, &app, "BlobRenamed", "b.csv", "c.csv").await;
        assert_eq!(jobs(&world), ["a.csv"]);
        world.end_jobs(&end);
        for _ in 0..30 {
            tick(&world, &app, Duration::minutes(3)).await;
        }
        assert_eq!(world.jobs().len(), count, "{end:?}");
        assert!(pending(&app).await.is_empty());
    }
}

/// Moves twice before anybody looks, and lets the events come in their order then.
async fn moved_twice_at_once(world: &World, app: &app::App, kind: &str, names: [&str; 3]) {
    let [first, second, third] = names;
    for (from, to) in [(first, second), (second, third)] {
        match kind {
            "BlobRenamed" => world.uploaded(|uploaded| uploaded.rename(&name(from), &name(to))),
            _ => world.uploaded(|uploaded| uploaded.rename_folder(&name(from), &name(to))),
        }
    }
    for (from, to) in [(first, second), (second, third)] {
        world.deliver(app, &renamed(kind, from, to)).await;
    }
    for _ in 0..3 {
        tick(world, app, Duration::minutes(3)).await;
    }
}

#[tokio::test]
async fn what_is_moved_on_before_anybody_looked_is_not_scored_again() {
    for (kind, names) in [
        ("BlobRenamed", ["in/a.csv", "in/b.csv", "in/c.csv"]),
        ("BlobRenamed", ["in/a.csv", "elsewhere/a.csv", "in/c.csv"]),
        ("DirectoryRenamed", ["in/x", "in/y", "in/z"]),
        ("DirectoryRenamed", ["in/x", "elsewhere/y", "in/z"]),
    ] {
        let world = ruled(&json!({ "match": { "container": "claims", "prefix": "in/" } }));
        let app = world.app();
        let path = if kind == "BlobRenamed" { "in/a.csv" } else { "in/x/deep/a.csv" };
        put(&world, path, "1", 5);
        world.deliver(&app, &event(path, "1")).await;
        world.tick_until_final(&app, 5).await;
        moved_twice_at_once(&world, &app, kind, names).await;
        assert_eq!(jobs(&world), [path], "{names:?}");
        let last = if kind == "BlobRenamed" { names[2].to_owned() } else { format!("{}/deep/a.csv", names[2]) };
        let told = skips(&world, &app).await;
        let is = |(subject, why): &(String, String)| subject.ends_with(&last) && why.contains("ignoreScored");
        assert!(told.iter().any(is), "{told:?}");

        // From there it is known by its version.
        moved(&world, &app, "BlobRenamed", &last, "in/last.csv").await;
        assert_eq!(jobs(&world), [path], "{names:?}");
        // Another version that came to the name in between is another upload.
        put(&world, names[1], "2", 5);
        moved(&world, &app, "BlobRenamed", names[1], "in/new.csv").await;
        assert_eq!(world.jobs().len(), 2, "{names:?}");
    }
}

#[tokio::test]
async fn an_output_that_is_moved_on_before_anybody_looked_never_triggers() {
    for kind in ["BlobRenamed", "DirectoryRenamed"] {
        for between in ["in/tmp", "elsewhere/tmp"] {
            let world = ruled(&json!({ "match": { "container": "claims", "prefix": "in/" }, "renames": "score",
                "outputs": {"s":{"type":"UriFile","uri":"azureml://datastores/claims/paths/out/{scoring.id}/{attempt}/p.csv"}} }));
            let app = world.app();
            world.deliver(&app, &event("in/a.csv", "1")).await;
            world.tick_until_final(&app, 5).await;
            let out = world.jobs()[0].submission.outputs["s"].uri.split_once("/paths/").unwrap().1.to_owned();
            let written = |path: &str, etag: &str, after: i64| {
                put(&world, path, etag, 5);
                let at = START + Duration::seconds(after);
                world.uploaded(|uploaded| uploaded.change(&name(path), |shown| shown.modified = Some(at)));
            };
            written(&out, "0x9", -1);
            let first = if kind == "BlobRenamed" { out.as_str() } else { out.rsplit_once('/').unwrap().0 };
            moved_twice_at_once(&world, &app, kind, [first, between, "in/done"]).await;
            assert_eq!(jobs(&world), ["in/a.csv"], "{kind} by {between}");

            // What somebody has written to the name in between, after that, is an upload.
            let other = if kind == "BlobRenamed" { between.to_owned() } else { format!("{between}/p.csv") };
            written(&other, "0xA", 1);
            moved(&world, &app, "BlobRenamed", &other, "in/b.csv").await;
            assert_eq!(jobs(&world), ["in/a.csv", "in/b.csv"], "{kind} by {between}");
        }
    }
}

#[tokio::test]
async fn an_output_that_is_moved_and_moved_on_never_triggers() {
    let rules = json!({"rules":[{"id":"claims","match":{"container":"claims"},"renames":"score","endpoint":{"uri":"https://heart.example/jobs"},
        "outputs":{"s":{"type":"UriFile","uri":"azureml://datastores/claims/paths/out/{scoring.id}/{attempt}/p.csv"}}}]});
    let world = World::with_rules(&rules.to_string());
    let app = world.app();
    world.deliver(&app, &event("in.csv", "1")).await;
    world.tick_until_final(&app, 5).await;
    let out = world.jobs()[0].submission.outputs["s"].uri.split_once("/paths/").unwrap().1.to_owned();
    put(&world, &out, "0x9", 5);
    moved(&world, &app, "BlobRenamed", &out, "published/1.csv").await;
    moved(&world, &app, "DirectoryRenamed", "published", "archive").await;
    assert_eq!(jobs(&world), ["in.csv"]);
    let told = skips(&world, &app).await;
    for path in ["/published/1.csv", "/archive/1.csv"] {
        let is = |(subject, why): &(String, String)| subject.ends_with(path) && why.contains("an output of scoring");
        assert!(told.iter().any(is), "{path}: {told:?}");
    }
}

/// The event has the source in its URL alone, which may be raw or encoded.
#[tokio::test]
async fn what_has_an_odd_name_may_be_moved_as_well_however_its_url_is_spelled() {
    let rules = json!({"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},
        "outputs":{"s":{"type":"UriFile","uri":"azureml://datastores/claims/paths/out/{blob.path}/{scoring.id}-{attempt}.csv"}}}]});
    let literally = |path: &str| name("x").beside(path).unwrap();
    for odd in ["a%20b.csv", "a?b.csv", "a%41b.csv", "a?b%20c#.csv", "a b.csv", "100%.csv"] {
        for spelled in [odd.to_owned(), literally(odd).url.rsplit('/').next().unwrap().to_owned()] {
            for folder in [false, true] {
                let world = World::with_rules(&rules.to_string());
                let app = world.app();
                let path = if folder { format!("{odd}/{odd}") } else { odd.to_owned() };
                let moved = async |from: &str, spelled: &str, to: &str| {
                    let kind = if folder {
                        world.uploaded(|uploaded| uploaded.rename_folder(&literally(from), &literally(to)));
                        "DirectoryRenamed"
                    } else {
                        world.uploaded(|uploaded| uploaded.rename(&literally(from), &literally(to)));
                        "BlobRenamed"
                    };
                    world.deliver(&app, &renamed(kind, spelled, to)).await;
                    for _ in 0..2 {
                        tick(&world, &app, Duration::minutes(3)).await;
                    }
                };
                world.uploaded(|uploaded| uploaded.put_version(&literally(&path), "1", 5));
                world.deliver(&app, &event(&path, "1")).await;
                world.tick_until_final(&app, 5).await;
                moved(odd, &spelled, "done").await;
                assert_eq!(world.jobs().len(), 1, "{spelled}, folder: {folder}");

                let out = world.jobs()[0].submission.outputs["s"].uri.split_once("/paths/").unwrap().1.to_owned();
                world.uploaded(|uploaded| uploaded.put_version(&literally(&out), "9", 5));
                let (from, to) = if folder { (format!("out/{odd}"), "old") } else { (out.clone(), "old.csv") };
                let spelled = from.replacen(odd, &spelled, 2);
                moved(&from, &spelled, to).await;
                assert_eq!(world.jobs().len(), 1, "its output from {spelled}, folder: {folder}");
            }
        }
    }
}

/// The ledger remembers as long as its retention, and outputs lie for years. What is moved out of a place that looks like an
/// output's, and was never taken in itself, is none of a user's.
#[tokio::test]
async fn outputs_that_the_ledger_has_forgotten_may_be_moved_too() {
    let rules = |renames: &str| {
        json!({"rules":[{"id":"claims","match":{"container":"claims"},"renames":renames,"endpoint":{"uri":"https://heart.example/jobs"},
            "outputs":{"s":{"type":"UriFile","uri":"azureml://datastores/claims/paths/out/{scoring.id}/{attempt}/p.csv"}}}]})
        .to_string()
    };
    let path = "out/0123456789abcdef0123456789abcdef/1/p.csv";
    for renames in ["score", "ignoreScored"] {
        let world = World::with_rules(&rules(renames));
        let app = world.app();
        put(&world, path, "0x9", 5);
        moved(&world, &app, "DirectoryRenamed", "out", "archive").await;
        moved(&world, &app, "DirectoryRenamed", "archive", "attic").await;
        assert!(world.jobs().is_empty(), "{renames}");
        let told = skips(&world, &app).await;
        assert!(told.iter().any(|(_, why)| why.contains("has the form of an output of rule `claims`")), "{told:?}");

        // What was taken in as an upload is one.
        let world = World::with_rules(&rules(renames));
        let app = world.app();
        put(&world, path, "0x9", 5);
        world.deliver(&app, &event(path, "0x9")).await;
        world.tick_until_final(&app, 5).await;
        moved(&world, &app, "DirectoryRenamed", "out", "archive").await;
        assert_eq!(world.jobs().len(), if renames == "score" { 2 } else { 1 }, "{renames}");
    }
}

#[tokio::test]
async fn skips_of_one_rename_for_two_reasons_are_both_kept() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &renamed("BlobRenamed", "t", "x.csv")).await;
    put(&world, "x.csv", "0x2", 0);
    for _ in 0..2 {
        world.deliver(&app, &renamed("BlobRenamed", "t", "x.csv")).await;
    }
    let told = skips(&world, &app).await;
    assert_eq!(told.len(), 2, "{told:?}");
}

#[tokio::test]
async fn a_name_that_ends_with_a_slash_is_not_another_blobs() {
    let world = World::new();
    let app = world.app();
    world.blind_storage(Some("503"));
    world.deliver(&app, &created("CopyBlob", "x.csv/", "0x9", 5)).await;
    world.blind_storage(None);
    put(&world, "x.csv", "0x1", 5);
    put(&world, "x.csv/", "0x9", 5);
    tick(&world, &app, Duration::minutes(3)).await;
    assert_eq!(jobs(&world), ["x.csv/"]);
}

#[tokio::test]
async fn notes_of_moves_go_with_the_retention() {
    let world = World::new();
    let app = world.app();
    put(&world, "a.csv", "1", 5);
    world.deliver(&app, &event("a.csv", "1")).await;
    world.tick_until_final(&app, 5).await;
    moved(&world, &app, "BlobRenamed", "a.csv", "b.csv").await;
    let moved = name("b.csv").version("1").unwrap();
    assert!(app.ledger().first_name(&moved).await.unwrap().is_some_and(|first| first.path == "a.csv"));
    app.ledger().purge(world.now() + Duration::days(2), 100).await.unwrap();
    assert_eq!(app.ledger().first_name(&moved).await.unwrap(), None);
}

/// It was overwritten before it was scored, and its rename is told after that.
#[tokio::test]
async fn what_was_superseded_under_its_old_name_is_scored_under_its_new_one() {
    let world = World::new();
    let app = world.app();
    let put_both = |path: &str, etag: &str, content: u64| {
        put(&world, path, etag, 5);
        world.change_inputs(|inputs, now| inputs.put(&url(path), etag, content, true, now));
    };
    put_both("b.csv", "1", 1);
    put_both("a.csv", "2", 2);
    world.deliver(&app, &event("a.csv", "1")).await;
    world.tick_until_final(&app, 5).await;
    assert_eq!(jobs(&world), ["a.csv"]);
    world.deliver(&app, &renamed("BlobRenamed", "a.csv", "b.csv")).await;
    world.tick_until_final(&app, 5).await;
    assert_eq!(jobs(&world), ["a.csv", "b.csv"], "{:?}", skips(&world, &app).await);
}
