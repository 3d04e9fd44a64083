//! Manifests of days: written once a day is over, whole whoever dies, and a file of them holds until a row, a blob or a day of it is
//! taken out or changed.

use std::sync::atomic::{AtomicUsize, Ordering};

use app::App;
use app::coverage::{Checked, Discrepancy};
use app::ledger::ManifestPart;
use app::ports::table_store::{IfMatch, Op, TableStore as _};
use handler::cli::coverage::{CoverageArgs, Days, shown};
use handler::cli::json::JsonArgs;
use handler::config::WhichLedger;
use lifecycle::JobStatus;
use lifecycle::coverage::{Outcome, chained};
use serde_json::{Value, json};
use time::macros::date;
use time::{Date, Duration};

use super::renames::{created, name, ruled, tick};
use super::sweep::{sweep, written};
use crate::support::world::{Fault, START, World, event};

const FIRST: Date = date!(2026 - 07 - 21);

fn args(manifest: Option<Days>) -> CoverageArgs {
    let which = WhichLedger { ledger: None, data: None, profile: None, task_hub: None };
    CoverageArgs { which, days: 5, manifest, check: None, since: None, json: JsonArgs::TEXT }
}

async fn printed(world: &World, app: &App, args: &CoverageArgs) -> String {
    let clock: app::ports::Clock = {
        let now = world.now();
        std::sync::Arc::new(move || now)
    };
    let mut out = Vec::new();
    shown(app.ledger(), args, &clock, None, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

/// Of the days on which something happened; the day before is the first that has a manifest.
async fn manifests(world: &World, app: &App) -> Vec<String> {
    let all = printed(world, app, &args(Some(Days::All))).await;
    let lines: Vec<String> = all.lines().map(str::to_owned).collect();
    assert!(lines[0].contains("2026-07-20") && lines[1].starts_with("{\"lines\":0"), "{lines:#?}");
    lines[2..].to_vec()
}

async fn checked(app: &App, lines: &[String]) -> Checked {
    app.check_coverage(lines.iter().cloned().map(Ok), None).await.unwrap()
}

/// Three days of uploads, each with four that are scored, one whose event is lost, one that is skipped and one that cannot be read.
async fn three_days() -> (World, App) {
    let world = ruled(&json!({"match": {"container": "claims", "maxBytes": 100}}));
    let app = world.app();
    sweep(&world, &app).await;
    world.later(Duration::HOUR);
    for day in 0..3 {
        for n in 0..4 {
            let path = format!("{day}/{n}.csv");
            written(&world, &path, "1", Duration::ZERO);
            world.deliver(&app, &created("PutBlob", &path, "1", 7)).await;
        }
        written(&world, &format!("{day}/lost.csv"), "1", Duration::ZERO);
        world.deliver(&app, &created("PutBlob", &format!("{day}/large.csv"), "1", 101)).await;
        world.deliver(&app, &json!({"nothing": day})).await;
        world.later(Duration::HOUR);
        sweep(&world, &app).await;
        for _ in 0..4 {
            tick(&world, &app, Duration::minutes(3)).await;
            world.end_jobs(&JobStatus::Completed);
        }
        let rest = START + Duration::days(day + 1) + Duration::HOUR - world.now();
        world.later(rest);
    }
    sweep(&world, &app).await;
    (world, app)
}

#[tokio::test]
async fn a_day_has_a_line_for_each_version_and_its_file_holds() {
    let (world, app) = three_days().await;
    let lines = manifests(&world, &app).await;
    // A head, a foot, five scorings, a skip and what cannot be read.
    assert_eq!(lines.len(), 3 * (2 + 7), "{lines:#?}");
    let parsed: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parsed[0]["day"], json!("2026-07-21"));
    assert_eq!(parsed[9]["before"], parsed[8]["digest"]);
    let scored: Vec<_> = parsed.iter().filter(|line| line["outcome"] == "scored").collect();
    assert_eq!(scored.len(), 15);
    assert!(scored.iter().all(|line| line["output"].as_str().is_some_and(|uri| uri.contains("/paths/"))));
    for outcome in ["skipped", "quarantined"] {
        assert_eq!(parsed.iter().filter(|line| line["outcome"] == outcome).count(), 3, "{outcome}");
    }
    let result = checked(&app, &lines).await;
    assert_eq!((result.wrong, result.days, result.lines), (0, 3, 21), "{result:?}");
    assert_eq!((result.from.as_deref(), result.until.as_deref()), (Some("2026-07-21"), Some("2026-07-23")));
    // Further runs change nothing.
    sweep(&world, &app).await;
    assert_eq!(manifests(&world, &app).await, lines);
}

#[tokio::test]
async fn a_row_or_a_day_that_is_taken_out_or_changed_is_found() {
    let (world, app) = three_days().await;
    let lines = manifests(&world, &app).await;
    let wrong = async |lines: &[String]| checked(&app, lines).await.discrepancies;
    let day = |text: &str| text.to_owned();
    for at in 1..8 {
        let mut without = lines.clone();
        without.remove(at);
        assert!(wrong(&without).await.contains(&Discrepancy::Digest(day("2026-07-21"))), "line {at} is taken out");
        let mut changed = lines.clone();
        changed[at] = changed[at].replace("{\"", "{ \"");
        assert_ne!(changed[at], lines[at]);
        assert!(wrong(&changed).await.contains(&Discrepancy::Digest(day("2026-07-21"))), "line {at} is changed");
        let mut moved = lines.clone();
        moved.swap(at, if at == 7 { 1 } else { at + 1 });
        assert!(wrong(&moved).await.contains(&Discrepancy::Digest(day("2026-07-21"))), "line {at} is moved");
    }
    let mut believed = lines.clone();
    let at = believed.iter().position(|line| line.contains("\"outcome\":\"scored\"")).unwrap();
    believed[at] = believed[at].replace("\"etag\":\"1\"", "\"etag\":\"2\"");
    let found = wrong(&believed).await;
    assert!(found.iter().any(|it| matches!(it, Discrepancy::OtherInLedger(_))), "{found:?}");
    // Whoever makes the chain anew does not get past the ledger.
    let mut forged = lines.clone();
    let gone: Value = serde_json::from_str(&forged.remove(1)).unwrap();
    let head: Value = serde_json::from_str(&forged[0]).unwrap();
    let begun =
        lifecycle::coverage::begun(head["ledger"].as_str().unwrap(), head["before"].as_str().unwrap(), "2026-07-21");
    let digest = forged[1..7].iter().fold(begun, |digest, line| chained(&digest, line));
    forged[7] = json!({"lines": 6, "digest": digest}).to_string();
    let found = wrong(&forged).await;
    assert!(found.contains(&Discrepancy::NotAsWritten(day("2026-07-21"))), "{found:?}");
    assert!(found.contains(&Discrepancy::NoLine(gone["blob"].as_str().unwrap().to_owned())), "{found:?}");
    // Days.
    let without = |from: usize, to: usize| [&lines[..from], &lines[to..]].concat();
    let middle = wrong(&without(9, 18)).await;
    assert!(middle.contains(&Discrepancy::DayMissing(day("2026-07-22"))), "{middle:?}");
    // By the chain alone too, whatever the ledger has of that day.
    assert!(middle.contains(&Discrepancy::DayMissing(day("before 2026-07-23"))), "{middle:?}");
    let last = wrong(&without(18, 27)).await;
    assert!(last.contains(&Discrepancy::DayMissing(day("2026-07-23"))), "{last:?}");
    let first = app.check_coverage(without(0, 9).into_iter().map(Ok), Some(FIRST)).await.unwrap();
    assert!(first.discrepancies.contains(&Discrepancy::DayMissing(day("2026-07-21"))), "{first:?}");
    assert!(app.check_coverage(lines[..5].iter().cloned().map(Ok), None).await.is_err(), "it ends within a day");
    let other = lines[0].replace("\"ledger\":\"", "\"ledger\":\"0");
    assert!(wrong(&[&[other], &lines[1..]].concat()).await.contains(&Discrepancy::OtherLedger(day("2026-07-21"))));
}

#[tokio::test]
async fn a_blob_that_is_taken_out_changed_or_unaccounted_for_is_found() {
    let (world, app) = three_days().await;
    let lines = manifests(&world, &app).await;
    let url = |path: &str| name(path).url;
    let wrong = async || checked(&app, &lines).await.discrepancies;
    assert_eq!(wrong().await, []);
    world.uploaded(|uploaded| uploaded.remove(&name("0/1.csv")));
    assert_eq!(wrong().await, [Discrepancy::NotThere(url("0/1.csv"))]);
    written(&world, "0/1.csv", "1", Duration::days(3) - Duration::HOUR);
    assert_eq!(wrong().await, []);
    written(&world, "1/2.csv", "2", Duration::ZERO);
    assert_eq!(wrong().await, [Discrepancy::NotThere(url("1/2.csv"))], "another version lies there");
    written(&world, "1/2.csv", "1", Duration::days(2) - Duration::HOUR);
    written(&world, "1/unknown.csv", "7", Duration::days(2) - Duration::HOUR);
    assert_eq!(wrong().await, [Discrepancy::Unaccounted(url("1/unknown.csv"))]);
}

#[tokio::test]
async fn a_scoring_that_is_taken_out_of_the_ledger_is_found() {
    let (world, app) = three_days().await;
    let lines = manifests(&world, &app).await;
    let scored: Value = serde_json::from_str(lines.iter().find(|line| line.contains("0/1.csv")).unwrap()).unwrap();
    let id = lifecycle::ScoringId::read(scored["scoring"].as_str().unwrap()).unwrap();
    let gone = Op::Delete(app::ledger::rows::scoring_key(&id), IfMatch::Any);
    world.store.write(&world.table("State"), &[gone]).await.unwrap();
    let found = checked(&app, &lines).await.discrepancies;
    assert!(found.contains(&Discrepancy::NotInLedger(name("0/1.csv").url)), "{found:?}");
}

#[tokio::test]
async fn while_one_writes_the_manifest_of_a_day_nobody_else_does() {
    let world = ruled(&json!({}));
    let app = world.app();
    sweep(&world, &app).await;
    world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::days(1) + Duration::hours(3));
    // It dies right after it has claimed the day.
    let is_manifest = |ops: &[Op]| ops.iter().any(|op| format!("{op:?}").contains("partition: \"manifest\""));
    let claims = AtomicUsize::new(0);
    world.store.rule(move |_, ops| {
        (is_manifest(ops) && claims.fetch_add(1, Ordering::SeqCst) > 0).then_some(Fault::LostRequest)
    });
    sweep(&world, &app).await;
    world.store.heal();
    let is_done = async || {
        let kept = app.ledger().manifests(FIRST).await.unwrap().read;
        kept.iter().any(|(manifest, _)| manifest.day == FIRST && manifest.lines == 1)
    };
    sweep(&world, &world.app()).await;
    assert!(!is_done().await, "the claim of the one that died still holds");
    world.later(Duration::minutes(6));
    for _ in 0..2 {
        sweep(&world, &world.app()).await;
    }
    assert!(is_done().await);
}

#[tokio::test]
async fn a_manifest_for_which_there_is_no_time_is_left_to_whoever_comes_next() {
    let world = ruled(&json!({}));
    let app = world.app();
    sweep(&world, &app).await;
    world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::days(1) + Duration::hours(3));
    // Each of its writes takes a third of the run's time.
    let is_manifest = |ops: &[Op]| ops.iter().any(|op| format!("{op:?}").contains("partition: \"manifest\""));
    let passing = world.clone();
    world.store.rule(move |_, ops| {
        if is_manifest(ops) {
            passing.later(Duration::minutes(2));
        }
        None
    });
    sweep(&world, &app).await;
    world.store.heal();
    let of_day = async || {
        let kept = app.ledger().manifests(FIRST).await.unwrap().read;
        kept.into_iter().map(|(manifest, _)| manifest).find(|manifest| manifest.day == FIRST)
    };
    let left = of_day().await.filter(|manifest| manifest.next != ManifestPart::Done);
    assert!(left.is_none_or(|manifest| manifest.claimed_until <= world.now()), "it has begun, and nobody has it");
    assert!(of_day().await.is_none_or(|manifest| manifest.next != ManifestPart::Done), "there was no time");
    sweep(&world, &world.app()).await;
    assert_eq!(of_day().await.map(|manifest| (manifest.next, manifest.lines)), Some((ManifestPart::Done, 1)));
}

#[tokio::test]
async fn a_day_has_its_manifest_when_its_last_hour_was_swept() {
    let world = ruled(&json!({}));
    let app = world.app();
    sweep(&world, &app).await;
    let midnight = (world.now() + Duration::DAY).replace_time(time::Time::MIDNIGHT);
    for (after, expected) in [(Duration::minutes(149), 0), (Duration::minutes(151), 1)] {
        world.later(midnight + after - world.now());
        sweep(&world, &app).await;
        assert_eq!(app.ledger().manifests(FIRST).await.unwrap().read.len(), expected, "{after}");
    }
}

#[tokio::test]
async fn whoever_dies_at_a_manifest_leaves_a_whole_beginning() {
    let (_, undisturbed) = three_days().await;
    let wanted = undisturbed.ledger().manifests(FIRST).await.unwrap().read;
    let is_manifest = |ops: &[Op]| ops.iter().any(|op| format!("{op:?}").contains("partition: \"manifest\""));
    let mut faults = 0;
    for fault in [Fault::NotSent, Fault::LostRequest, Fault::LostAnswer { times: 1 }] {
        for at in 0..12 {
            let world = ruled(&json!({"match": {"container": "claims", "maxBytes": 100}}));
            let app = world.app();
            sweep(&world, &app).await;
            for n in 0..4 {
                world.deliver(&app, &created("PutBlob", &format!("{n}.csv"), "1", 7)).await;
            }
            world.deliver(&app, &created("PutBlob", "large.csv", "1", 101)).await;
            world.later(Duration::days(2));
            let writes = AtomicUsize::new(0);
            let fault = fault.clone();
            world.store.rule(move |_, ops| {
                let is_it = is_manifest(ops) && writes.fetch_add(1, Ordering::SeqCst) == at;
                is_it.then(|| fault.clone())
            });
            for _ in 0..3 {
                sweep(&world, &world.app()).await;
                world.later(Duration::minutes(6));
            }
            let lines = manifests(&world, &app).await;
            assert_eq!(lines.iter().filter(|line| line.contains("\"outcome\"")).count(), 5, "{at} {lines:#?}");
            let result = checked(&app, &lines).await;
            assert!(result.discrepancies.iter().all(|it| matches!(it, Discrepancy::NotThere(_))), "{result:?}");
            faults += 1;
        }
    }
    assert_eq!((wanted.len(), faults), (3, 36));
}

#[tokio::test]
async fn a_long_day_is_written_in_pieces_and_old_lines_go() {
    let world = World::with_rules(
        r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},"maxInFlight":1}]}"#,
    );
    let app = world.app();
    sweep(&world, &app).await;
    let long = "x".repeat(900);
    for n in 0..900 {
        world.deliver(&app, &event(&format!("{long}{n}.csv"), "1")).await;
    }
    world.later(Duration::days(1));
    sweep(&world, &app).await;
    let (manifest, _) = app.ledger().manifests(FIRST).await.unwrap().read.remove(0);
    assert_eq!((manifest.lines, &manifest.counts["claims"][&Outcome::InFlight]), (900, &900));
    assert!(manifest.chunks > 30, "{}", manifest.chunks);
    assert_eq!(checked(&app, &manifests(&world, &app).await).await.lines, 900);
    world.later(Duration::days(40));
    for _ in 0..3 {
        sweep(&world, &app).await;
    }
    assert_eq!(app.ledger().manifest_lines(FIRST, 0).await.unwrap(), None);
    assert_eq!(app.ledger().manifests(FIRST).await.unwrap().read[0].0.digest, manifest.digest, "the chain stays");
}

#[tokio::test]
async fn coverage_counts_each_version_by_rule_and_day_and_tells_what_is_unaccounted_for() {
    let (world, app) = three_days().await;
    let text = printed(&world, &app, &args(None)).await;
    let row =
        |day: &str| text.lines().find(|line| line.starts_with(day) && line.contains("claims")).unwrap().to_owned();
    let cells = |line: String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells(row("2026-07-22")), ["2026-07-22", "claims", "6", "5", "0", "0", "1", "0", "0", "0", "0", "0"]);
    assert!(text.contains("1 skipped: ") && text.ends_with("0 unaccounted\n"), "{text}");
    // The ledger takes no more: what is listed then is unaccounted for, and told of.
    written(&world, "3/a.csv", "1", Duration::ZERO);
    written(&world, "3/b.csv", "1", Duration::ZERO);
    world.later(Duration::HOUR);
    let is_new = |ops: &[Op]| ops.iter().any(|op| matches!(op, Op::Insert(row) if row.key.row.starts_with("J~")));
    world.store.rule(move |_, ops| is_new(ops).then_some(Fault::NotSent));
    let pause: app::Pause = std::sync::Arc::new(|_| Box::pin(async {}));
    let report = app.sweep(world.now() + Duration::minutes(5), &pause).await.unwrap();
    assert_eq!(report.unaccounted, 2);
    assert!(printed(&world, &app, &args(None)).await.ends_with("2 unaccounted\n"));
    let status = app::reports::status(app.ledger(), world.now(), None).await.unwrap();
    assert_eq!(status.unaccounted(), 2);
    let told = status.findings.iter().find(|finding| finding.kind == app::reports::FindingKind::CannotSweep).unwrap();
    assert!(told.reason.contains("2 versions there are unaccounted for"), "{told}");
    world.store.heal();
    world.later(Duration::HOUR);
    sweep(&world, &app).await;
    assert_eq!(app::reports::status(app.ledger(), world.now(), None).await.unwrap().unaccounted(), 0);
}
