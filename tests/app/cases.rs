//! Events as writers and Event Grid really make them, each with its right outcome beside it.

use app::ledger::RecordedEvent;
use lifecycle::{BlobVersion, Rules, ScoringId};
use serde_json::Value;
use time::Duration;

use crate::support::world::World;

/// What must become of an event.
#[derive(Debug)]
enum Outcome {
    /// One scoring, of the blob at this path in this version.
    Scored(&'static str, &'static str),
    /// Kept as unreadable, with these texts in its reason.
    Quarantined(&'static [&'static str]),
    /// Skipped, with this text in its reason.
    Skipped(&'static str),
}
use Outcome::{Quarantined, Scored, Skipped};

const RULES: &str =
    r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"}}]}"#;

/// File in `tests/cases`, and what must become of its event.
const CASES: &[(&str, Outcome)] = &[
    ("names/hash-raw.json", Scored("eu/report#1.csv", "0xA1")),
    ("names/percent-percent-3a.json", Scored("eu/a%%3Ab.csv", "0xA6")),
    ("names/tab-raw.json", Quarantined(&["control characters", r"eu/a\tb.csv"])),
    ("names/replacement-characters-in-subject.json", Scored("eu/tasklog_14\u{1F48E}.csv", "0xAA")),
    ("names/encoded-slash.json", Scored("eu/2026/a.csv", "0xA8")),
    ("names/etag-quoted.json", Scored("eu/q.csv", "0x8D4BCC2E4835CD0")),
    ("own-outputs/file-below-output-folder.json", Skipped("output of scoring 0123456789abcdef0123456789abcdef")),
    ("own-outputs/file-beside-output-file.json", Skipped("output of scoring 0123456789abcdef0123456789abcdef")),
    ("own-outputs/file-in-output-folder.json", Skipped("output of scoring 0123456789abcdef0123456789abcdef")),
];

fn case(file: &str) -> String {
    let path = format!("{}/../tests/cases/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// A ledger that has scored something under the rules of the own outputs, which are not those of today.
async fn world_with_outputs() -> World {
    let world = World::with_rules(RULES);
    let before = Rules::read(&case("own-outputs/rules.json")).unwrap();
    let rule = before.iter().next().unwrap();
    let blob = BlobVersion::read("https://uploads.blob.core.windows.net/claims/eu/in.csv", "0x1").unwrap();
    let mut scoring = lifecycle::Scoring::accept(&world.ledger_id, rule, blob, world.now());
    scoring.id = ScoringId::read("0123456789abcdef0123456789abcdef").unwrap();
    scoring.attempt = 1;
    scoring.submission = Some(rule.submission(&scoring, 1));
    let entry = scoring.accepted_entry("a test".to_owned());
    world.app().ledger().accept(&scoring, &[entry], &app::ledger::Announced::default()).await.unwrap();
    world
}

#[tokio::test]
async fn each_case_has_its_right_outcome() {
    for (file, outcome) in CASES {
        let world = world_with_outputs().await;
        let app = world.app();
        let event: Value = serde_json::from_str(&case(file)).unwrap();
        let (accepted, intents) = app.accept(&event).await.unwrap().into_parts();
        intents.send().await;
        let reason = async |kind| {
            let rows = app.ledger().recorded_events(kind, world.now() - Duration::days(1), 10).await.unwrap();
            assert_eq!(rows.len(), 1, "{file}: {accepted:?}");
            rows[0].string("Reason").unwrap().to_owned()
        };
        match outcome {
            Scored(path, etag) => {
                assert_eq!(accepted.accepted.len(), 1, "{file}: {accepted:?}");
                let scoring = world.get(&app, &accepted.accepted[0].id).await;
                assert_eq!((scoring.blob.path.as_str(), scoring.blob.etag.as_str()), (*path, *etag), "{file}");
            }
            Quarantined(texts) => {
                let why = reason(RecordedEvent::Quarantined).await;
                assert!(texts.iter().all(|text| why.contains(text)), "{file}: {why}");
            }
            Skipped(text) => {
                let why = reason(RecordedEvent::Skipped).await;
                assert!(why.contains(text), "{file}: {why}");
            }
        }
    }
}

#[tokio::test]
async fn an_id_that_no_scoring_has_is_only_a_name() {
    // The same paths, in a ledger that never handed them out.
    for (file, _) in CASES.iter().filter(|(_, outcome)| matches!(outcome, Skipped(_))) {
        let world = World::with_rules(RULES);
        let event: Value = serde_json::from_str(&case(file)).unwrap();
        assert_eq!(world.deliver(&world.app(), &event).await.len(), 1, "{file}");
    }
}
