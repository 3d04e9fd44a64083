//! The inputs in `tests/cases/renames` and `tests/cases/sequences`, each with its right outcome: what is in the ledger, and
//! what was sent, after all events of a case were delivered in any of the orders given.

use serde_json::Value;
use time::Duration;

use crate::support::world::World;
use app::ledger::RecordedEvent;
use lifecycle::UnversionedBlob;

fn case(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases").join(name);
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display())))
        .unwrap()
}

/// Blobs that are there: path, ETag, size.
type There = (&'static str, &'static str, u64);

/// Events, what is there when they come, paths that are scored, and part of a reason of a skip.
type Case = (&'static [&'static str], &'static [There], &'static [&'static str], &'static str);

const CASES: &[Case] = &[
    (
        &["renames/filepart-0-created.json", "renames/filepart-1-committed.json", "renames/filepart-2-renamed.json"],
        &[("w.csv", "0x2", 9)],
        &["w.csv"],
        "`.filepart`",
    ),
    (
        &["renames/filepart-2-renamed.json", "renames/filepart-1-committed.json", "renames/filepart-0-created.json"],
        &[("w.csv", "0x2", 9)],
        &["w.csv"],
        "`.filepart`",
    ),
    (&["renames/rename-file.json"], &[("eu/part-00000-abc.csv", "0x3", 5)], &["eu/part-00000-abc.csv"], ""),
    (&["renames/rename-file.json"], &[], &[], "not there any more"),
    (&["sequences/sftp-commit-length-0.json"], &[("eu/sftp.csv", "0xB7", 7)], &["eu/sftp.csv"], ""),
    (&["sequences/append-blob-created.json"], &[("a.csv", "0x1", 0)], &[], "append blob"),
    (
        &["sequences/gen2-0-create.json", "sequences/gen2-1-flush.json"],
        &[("x.csv", "0x2", 9)],
        &["x.csv"],
        "CreateFile",
    ),
    (
        &["sequences/gen2-1-flush.json", "sequences/gen2-0-create.json"],
        &[("x.csv", "0x2", 9)],
        &["x.csv"],
        "CreateFile",
    ),
];

#[tokio::test]
async fn each_case_of_renames_and_sequences_comes_to_its_right_outcome() {
    for (events, there, scored, skipped) in CASES {
        let world = World::new();
        let app = world.app();
        for (path, etag, size) in *there {
            let url = format!("https://uploads.blob.core.windows.net/claims/{path}");
            world.uploaded(|uploaded| uploaded.put_version(&UnversionedBlob::read(&url).unwrap(), etag, *size));
        }
        // Event Grid delivers at least once.
        for event in events.iter().chain(*events) {
            world.deliver(&app, &case(event)).await;
        }
        for _ in 0..3 {
            world.later(Duration::minutes(3));
            app.tick(world.now() + Duration::minutes(5)).await.unwrap();
        }
        let jobs: Vec<_> = world.jobs().into_iter().map(|job| job.path).collect();
        assert_eq!(jobs, *scored, "{events:?}");
        let skips =
            app.ledger().recorded_events(RecordedEvent::Skipped, world.now() - Duration::DAY, 100).await.unwrap();
        let reasons: Vec<_> = skips.iter().filter_map(|skip| skip.string("Reason")).collect();
        assert!(skipped.is_empty() == reasons.is_empty(), "{events:?}: {reasons:?}");
        assert!(skipped.is_empty() || reasons.iter().any(|reason| reason.contains(skipped)), "{events:?}: {reasons:?}");
        assert!(app.ledger().pending_page(None).await.unwrap().0.is_empty(), "{events:?}");
    }
}
