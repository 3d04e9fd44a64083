//! Exact paths with kills, lost answers and foreign writers; and with one guard taken away, the simulation finds it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use app::ports::table_store::{Op, TableStore};
use lifecycle::rule::template::Template;
use lifecycle::rule::{IfExists, Publish};
use simulation::{Faults, Kind, Published, Wiring, run_published};

use super::guard_removal::{bent, is_found};
use super::storage_guard::StorageGuard;

/// By two processes that die again and again, while answers of the storage and of the table are lost.
#[test]
fn two_hundred_versions_of_twenty_blobs_leave_the_newest_at_each_path() {
    let faults = [Kind::Kills, Kind::PublishLost, Kind::TableLost, Kind::Slow, Kind::Events, Kind::OutputsOverwritten];
    let faults = faults.into_iter().fold(Faults::NONE, Faults::with);
    let (mut injected, mut skipped) = (0, 0);
    for seed in 1..=4 {
        let outcome = run_published(seed, uploads(20, None), faults, &Wiring::default());
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert_eq!((outcome.scorings, outcome.scored.len()), (200, 200), "seed {seed}");
        assert_eq!(outcome.published.len(), 20, "seed {seed}");
        for (uri, held) in &outcome.published {
            assert_eq!(held.last(), Some(&Some("10".to_owned())), "seed {seed}, {uri}: {held:?}");
            assert!(held.is_sorted(), "seed {seed}: a reader of {uri} sees an older one after a newer: {held:?}");
            skipped += 10 - held.len();
        }
        injected += outcome.injected_faults;
    }
    println!("{injected} faults in 800 scorings; {skipped} of their results came late and were not published");
    assert!(injected > 100 && skipped > 0, "{injected} {skipped}");
}

/// Ten versions of so many blobs.
fn uploads(blobs: usize, shadow: Option<&'static str>) -> Published {
    Published { blobs, versions: 10, shadow }
}

/// The same, while each blob is scored by a shadow as well: of those nothing is ever written there, or the promise "shadow" is broken.
#[test]
fn a_shadow_never_writes_where_results_are_published_whoever_is_killed() {
    let faults = [Kind::Kills, Kind::PublishLost, Kind::TableLost, Kind::Slow, Kind::Events];
    let faults = faults.into_iter().fold(Faults::NONE, Faults::with);
    for seed in 1..=8 {
        let outcome = run_published(seed, uploads(5, Some("v9")), faults, &Wiring::default());
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert_eq!((outcome.scorings, outcome.scored.len()), (100, 100), "seed {seed}: each version twice");
        assert_eq!(outcome.published.len(), 5, "seed {seed}");
        for (uri, held) in &outcome.published {
            assert_eq!(held.last(), Some(&Some("10".to_owned())), "seed {seed}, {uri}: {held:?}");
        }
    }
}

/// Asserts that some seed of many versions breaks one of these promises.
fn is_found_among_versions(faults: &[Kind], wiring: &Wiring, invariants: &[&str]) {
    let faults = faults.iter().fold(Faults::NONE, |all, kind| all.with(*kind));
    for seed in 1..=20 {
        if let Some(violation) = run_published(seed, uploads(2, None), faults, wiring).violation {
            assert!(invariants.contains(&violation.invariant), "seed {seed}: {violation:?}");
            return;
        }
    }
    panic!("20 seeds did not find it; it should have broken {invariants:?}");
}

#[test]
fn results_that_replace_newer_ones_are_found() {
    let wiring = Wiring { blobs: |it| StorageGuard::PublishedOrder.removed(it), ..Wiring::default() };
    is_found_among_versions(&[Kind::Slow], &wiring, &["newest"]);
}

#[test]
fn copies_without_a_condition_are_found() {
    let wiring = Wiring { blobs: |it| StorageGuard::PublishedCondition.removed(it), ..Wiring::default() };
    is_found_among_versions(
        &[Kind::Slow, Kind::Kills, Kind::PublishLost],
        &wiring,
        &["newest", "version", "published"],
    );
}

/// What was written over a verified output is published, though nobody has looked at it.
#[test]
fn copies_of_what_was_not_verified_are_found() {
    let wiring = Wiring { blobs: |it| StorageGuard::VerifiedSource.removed(it), ..Wiring::default() };
    is_found_among_versions(&[Kind::OutputsOverwritten], &wiring, &["published"]);
}

/// The notes of published paths are lost: what is written there is an upload like any other.
#[test]
fn paths_that_are_not_on_record_before_they_are_written_are_found() {
    fn write(op: Op) -> Op {
        match op {
            Op::Insert(mut row) | Op::Replace(mut row, _) if row.time("PublishedTime").is_some() => {
                row.key.row = format!("lost~{}", row.key.row);
                Op::Upsert(row)
            }
            other => other,
        }
    }
    fn store(inner: Arc<dyn TableStore>) -> Arc<dyn TableStore> {
        bent(|row| row, write)(inner)
    }
    is_found_among_versions(&[Kind::OwnOutputs], &Wiring { store, ..Wiring::default() }, &["own outputs"]);
}

/// A shadow publishes like its rule.
#[test]
fn shadows_that_publish_are_found() {
    let wiring = Wiring {
        rules: |rules| {
            let places = Arc::new(Mutex::new(BTreeMap::new()));
            for rule in rules {
                let publish = rule.outputs.values().find_map(|output| output.publish.clone());
                places.lock().unwrap().insert(rule.id.to_string(), publish);
            }
            rules.clone().changed(|rule| {
                let of = rule.shadow_of.clone();
                let publish: Option<Publish> =
                    of.and_then(|of| places.lock().unwrap().get(of.as_str()).cloned().flatten());
                if let Some(publish) = publish {
                    let uri = Template::parse(&publish.uri.source().replace("{rule.id}", "one")).unwrap();
                    let publish = Publish { uri, if_exists: IfExists::Replace };
                    rule.outputs.values_mut().for_each(|output| output.publish = Some(publish.clone()));
                }
            })
        },
        ..Wiring::default()
    };
    is_found(&wiring, &["shadow"]);
}
