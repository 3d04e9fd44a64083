//! Verified results at paths that users chose: once each, the newest one, and never what a reader must not see.

use app::App;
use app::reports::{self, FindingKind, ScoringLookup, ScoringView};
use handler::cli::export::{ExportArgs, ExportFormat, export};
use handler::cli::filter::FurtherFilter;
use handler::config::WhichLedger;
use lifecycle::publishing::PublishedPlace;
use lifecycle::{JobStatus, NotedResult, Rules, Status, UnversionedBlob};
use serde_json::{Value, json};
use simulation::Content;
use time::Duration;

use super::renames::tick;
use crate::support::world::{Fault, World, event};
use crate::support::yielding::Yielding;

/// In the container that is watched, so that each copy is an event about an upload.
const LATEST: &str = "azureml://datastores/claims/paths/latest/a.csv";

fn rules(publish: &Value) -> String {
    rules_of("UriFile", publish, &json!({}))
}

fn rules_of(kind: &str, publish: &Value, more: &Value) -> String {
    let mut rule = json!({"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"},
        "outputs": {"score": {"type": kind, "uri": "azureml://datastores/out/paths/{scoring.id}/{attempt}/p", "publish": publish}}});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "rules": [rule] }).to_string()
}

fn latest(if_exists: &str) -> Value {
    json!({"uri": "azureml://datastores/claims/paths/latest/{blob.stem}.csv", "ifExists": if_exists})
}

/// Uploads a version, the n-th of its path by its event.
async fn upload(world: &World, app: &App, version: u32) -> String {
    let mut event = event("a.csv", &version.to_string());
    event["data"]["sequencer"] = json!(format!("{version:032}"));
    world.deliver(app, &event).await.remove(0)
}

/// Some minutes, with a look at everything every two of them.
async fn minutes(world: &World, app: &App, times: usize) {
    for _ in 0..times {
        tick(world, app, Duration::minutes(2)).await;
    }
}

async fn scored(world: &World, app: &App, version: u32) -> String {
    let id = upload(world, app, version).await;
    world.end_jobs(&JobStatus::Completed);
    minutes(world, app, 7).await;
    assert_eq!(world.get(app, &id).await.status, Status::Scored);
    id
}

/// The scoring whose result lies there now.
fn lies_there(world: &World, uri: &str) -> Option<String> {
    world.publications(|all| all.at(uri).and_then(|it| it.shown.mark.clone())).map(|mark| mark.scoring.to_string())
}

async fn told(world: &World, app: &App, id: &str) -> String {
    let scoring = world.get(app, id).await;
    assert_eq!(scoring.status, Status::Scored, "{:?}", scoring.last_error);
    let entries = app.ledger().entries(&scoring.id).await.unwrap();
    entries.last().unwrap().reason.clone()
}

async fn findings(world: &World, app: &App) -> Vec<FindingKind> {
    let report = reports::status(app.ledger(), world.now(), None).await.unwrap();
    report.findings.iter().map(|finding| finding.kind).filter(|kind| *kind == FindingKind::NotPublished).collect()
}

#[tokio::test]
async fn a_result_is_copied_to_its_path_and_the_next_version_takes_its_place() {
    let world = World::with_rules(&rules(&latest("replace")));
    let app = world.app();
    let first = scored(&world, &app, 1).await;
    assert_eq!(lies_there(&world, LATEST), Some(first.clone()));
    let scoring = world.get(&app, &first).await;
    let copied = world.publications(|all| all.at(LATEST).map(|it| it.content.clone()));
    assert!(
        matches!(&copied, Some(Content::CopyOf { uri, .. }) if Some(uri.as_str()) == scoring.output_uri()),
        "{copied:?}"
    );
    assert!(told(&world, &app, &first).await.ends_with(&format!("published at {LATEST}")));
    let view = ScoringView::from(scoring);
    assert_eq!(view.publications[0].published_uri.as_deref(), Some(LATEST));
    assert_eq!((view.published_uri.as_deref(), view.all_publications().as_deref()), (Some(LATEST), Some(LATEST)));
    assert_eq!(shown(&app, &first).await, LATEST);
    let second = scored(&world, &app, 2).await;
    assert_eq!(lies_there(&world, LATEST), Some(second.clone()));
    assert_eq!(world.publish_calls(), 2);
    let replaced = format!("{LATEST} (by now there is the newer result of scoring {second})");
    assert_eq!((shown(&app, &first).await, shown(&app, &second).await), (replaced, LATEST.to_owned()));
}

/// What `show` and the page say of a scoring's publication.
async fn shown(app: &App, id: &str) -> String {
    match reports::detail_of(app.ledger(), &id.parse().unwrap()).await.unwrap() {
        Some(ScoringLookup::Scoring(detail)) => detail.scoring.all_publications().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Exports list where it was published; what of it is left alone is in the JSON.
#[tokio::test]
async fn an_export_has_a_column_of_where_results_are_published() {
    let world = World::with_rules(&rules(&latest("refuse")));
    let app = world.app();
    let id = scored(&world, &app, 1).await;
    let args = ExportArgs {
        which: WhichLedger { ledger: None, data: None, profile: None, task_hub: None },
        status: Vec::new(),
        rule: None,
        prefix: None,
        since: None,
        further: FurtherFilter::default(),
        output: ExportFormat::Csv,
    };
    let mut out = Vec::new();
    export(app.ledger(), &args, world.now(), &mut out).await.unwrap();
    let out = String::from_utf8(out).unwrap();
    let mut lines = out.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let (header, row) = (lines.next().unwrap(), lines.next().unwrap());
    let column = header.iter().position(|name| *name == "publishedUri").unwrap();
    assert_eq!((row[0], row[column]), (id.as_str(), LATEST));
}

#[tokio::test]
async fn the_older_result_that_comes_later_is_scored_and_not_published() {
    let world = World::with_rules(&rules(&latest("replace")));
    let app = world.app();
    let first = upload(&world, &app, 1).await;
    let second = upload(&world, &app, 2).await;
    for (job, id) in [(1, &second), (0, &first)] {
        world.end_job(&world.jobs()[job].name, &JobStatus::Completed);
        minutes(&world, &app, 4).await;
        assert_eq!(world.get(&app, id).await.status, Status::Scored);
    }
    assert_eq!(lies_there(&world, LATEST), Some(second.clone()));
    let told = told(&world, &app, &first).await;
    assert!(told.contains(&format!("not published, newer there, of scoring {second}")), "{told}");
    assert_eq!((world.publish_calls(), findings(&world, &app).await), (1, vec![]));
}

#[tokio::test]
async fn an_older_result_does_not_come_after_a_newer_one_that_does_not_lie_there_any_more() {
    let world = World::with_rules(&rules(&latest("replace")));
    let app = world.app();
    let first = upload(&world, &app, 1).await;
    let second = upload(&world, &app, 2).await;
    world.end_job(&world.jobs()[1].name, &JobStatus::Completed);
    minutes(&world, &app, 4).await;
    assert_eq!(lies_there(&world, LATEST), Some(second.clone()));
    world.publications(|all| all.put_foreign(LATEST, 3));
    world.end_job(&world.jobs()[0].name, &JobStatus::Completed);
    minutes(&world, &app, 4).await;
    let said = told(&world, &app, &first).await;
    assert!(said.contains(&format!("newer was published there, of scoring {second}")), "{said}");
    assert_eq!((lies_there(&world, LATEST), world.publish_calls()), (None, 1));
}

/// Its note comes last, as whoever looks before the newer one has written and notes after that does.
#[tokio::test]
async fn an_older_result_that_is_noted_late_hides_no_newer_one_from_a_third() {
    let world = World::with_rules(&rules(&latest("replace")));
    let app = world.app();
    let mut ids = Vec::new();
    for version in 1..=3 {
        ids.push(upload(&world, &app, version).await);
    }
    world.end_job(&world.jobs()[2].name, &JobStatus::Completed);
    minutes(&world, &app, 4).await;
    assert_eq!(lies_there(&world, LATEST), Some(ids[2].clone()));
    let path = UnversionedBlob::read("https://uploads.blob.core.windows.net/claims/latest/a.csv").unwrap();
    let late = world.get(&app, &ids[1]).await;
    for _ in 0..2 {
        app.ledger().note_published(&path, &NotedResult::of(&late), world.now()).await.unwrap();
    }
    let noted = app.ledger().published_at(&PublishedPlace::of(&path)).await.unwrap();
    let noted: Vec<_> = noted.iter().map(|noted| noted.scoring.to_string()).collect();
    assert_eq!(noted, [ids[2].clone(), ids[1].clone()], "the newest first, each once");
    world.publications(|all| all.put_foreign(LATEST, 3));
    world.end_job(&world.jobs()[0].name, &JobStatus::Completed);
    minutes(&world, &app, 4).await;
    let said = told(&world, &app, &ids[0]).await;
    assert!(said.contains(&format!("newer was published there, of scoring {}", ids[2])), "{said}");
    assert_eq!((lies_there(&world, LATEST), world.publish_calls()), (None, 1));
}

/// Of six processes that look at a note together none loses what another has noted.
#[tokio::test]
async fn results_that_are_noted_together_are_all_noted() {
    let world = World::on(Yielding::store(), &rules(&latest("replace")));
    let apps: Vec<App> = (0..6).map(|_| world.app()).collect();
    let mut results = Vec::new();
    for version in 1..=6 {
        let id = upload(&world, &apps[0], version).await;
        results.push(NotedResult::of(&world.get(&apps[0], &id).await));
    }
    let path = UnversionedBlob::read("https://uploads.blob.core.windows.net/claims/latest/a.csv").unwrap();
    let writes = apps.iter().zip(&results).map(|(app, result)| app.ledger().note_published(&path, result, world.now()));
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    let noted = apps[0].ledger().published_at(&PublishedPlace::of(&path)).await.unwrap();
    results.reverse();
    assert_eq!(noted, results, "the newest first");
}

/// A newer one that was noted and came to nothing hides neither.
#[tokio::test]
async fn of_results_that_were_about_to_be_written_those_that_were_count() {
    let world = World::with_rules(&rules_of("UriFile", &latest("replace"), &json!({"outputTimeout": "PT1M"})));
    let app = world.app();
    let mut ids = Vec::new();
    for version in 1..=3 {
        ids.push(upload(&world, &app, version).await);
    }
    world.end_job(&world.jobs()[2].name, &JobStatus::Completed);
    let mut refused = 0;
    for _ in 0..21 {
        if world.publish_calls() == refused {
            world.next_publish_faults([Fault::Refused { permanent: true }]);
            refused += 1;
        }
        minutes(&world, &app, 1).await;
    }
    assert!(told(&world, &app, &ids[2]).await.contains("not published, "));
    world.end_job(&world.jobs()[1].name, &JobStatus::Completed);
    minutes(&world, &app, 6).await;
    assert_eq!(lies_there(&world, LATEST), Some(ids[1].clone()));
    world.publications(|all| all.put_foreign(LATEST, 3));
    world.end_job(&world.jobs()[0].name, &JobStatus::Completed);
    minutes(&world, &app, 4).await;
    let said = told(&world, &app, &ids[0]).await;
    assert!(said.contains(&format!("newer was published there, of scoring {}", ids[1])), "{said}");
    assert_eq!(lies_there(&world, LATEST), None);
}

#[tokio::test]
async fn the_blob_that_was_scored_is_not_replaced_by_its_result() {
    let itself = "azureml://datastores/claims/paths/{blob.path}";
    let world = World::with_rules(&rules(&json!({ "uri": itself })));
    let app = world.app();
    let id = scored(&world, &app, 1).await;
    let said = told(&world, &app, &id).await;
    assert!(
        said.contains("not published, the blob that was scored lies at azureml://datastores/claims/paths/a.csv"),
        "{said}"
    );
    assert_eq!((world.publish_calls(), findings(&world, &app).await), (0, vec![FindingKind::NotPublished]));
    let next = scored(&world, &app, 2).await;
    assert_ne!(id, next, "its next version is an upload like any other");
}

/// Whatever the rules say by then, and by whichever process the event is taken.
#[tokio::test]
async fn an_event_about_a_published_path_never_triggers() {
    let mut world = World::with_rules(&rules(&latest("replace")));
    let app = world.app();
    let before = world.app();
    assert_eq!(world.deliver(&before, &event("other.csv", "1")).await.len(), 1, "nothing was ever published");
    scored(&world, &app, 1).await;
    assert!(world.deliver(&app, &event("latest/a.csv", "7")).await.is_empty());
    let told = reports::explain(app.ledger(), "claims/latest/a.csv", world.now(), || ()).await.unwrap();
    assert_eq!(
        (told.verdicts[0].verdict, told.verdicts[0].next.as_deref()),
        ("skipped", None),
        "a replay would be skipped, too"
    );
    assert!(world.deliver(&before, &event("latest/a.csv", "7")).await.is_empty());
    world.rules = Rules::read(crate::support::world::RULE).unwrap();
    assert!(world.deliver(&world.app(), &event("latest/a.csv", "8")).await.is_empty());
    assert_eq!(world.deliver(&world.app(), &event("latest/b.csv", "8")).await.len(), 1, "an upload beside it is one");
    let elsewhere = rules(&json!({"uri": "azureml://datastores/results/paths/{blob.path}"}));
    let world = World::with_rules(&elsewhere);
    let app = world.app();
    scored(&world, &app, 1).await;
    assert_eq!(world.publications(|all| all.all().count()), 1);
    scored(&world, &app, 2).await; // the same path in another container is an upload
}

#[tokio::test]
async fn a_copy_whose_answer_was_lost_is_no_conflict_and_not_made_again() {
    for if_exists in ["refuse", "replace", "version"] {
        let world = World::with_rules(&rules(&latest(if_exists)));
        let app = world.app();
        world.next_publish_faults([Fault::LostAnswer { times: 1 }]);
        let id = scored(&world, &app, 1).await;
        assert_eq!((lies_there(&world, LATEST), world.publish_calls()), (Some(id.clone()), 1), "{if_exists}");
        assert!(told(&world, &app, &id).await.ends_with(&format!("published at {LATEST}")), "{if_exists}");
    }
}

#[tokio::test]
async fn what_is_written_meanwhile_is_looked_at_again_and_left_where_the_rule_says_so() {
    for (if_exists, published) in [("replace", true), ("refuse", false), ("version", true)] {
        let world = World::with_rules(&rules(&latest(if_exists)));
        let app = world.app();
        let stranger = world.clone();
        world.before_next_publish(async move || stranger.publications(|all| all.put_foreign(LATEST, 3)));
        let id = scored(&world, &app, 1).await;
        let told = told(&world, &app, &id).await;
        let beside = format!("azureml://datastores/claims/paths/latest/a.{id}.csv");
        let ours = [LATEST, &beside].map(|uri| lies_there(&world, uri).is_some());
        assert_eq!(ours, [if_exists == "replace", if_exists == "version"], "{if_exists}: {told}");
        assert_eq!(told.contains("; published at"), published, "{if_exists}: {told}");
        let found = findings(&world, &app).await;
        assert_eq!(found.len(), usize::from(!published), "{if_exists}: {found:?}");
        if if_exists == "version" {
            assert!(world.deliver(&app, &event(&format!("latest/a.{id}.csv"), "9")).await.is_empty());
        }
    }
}

#[tokio::test]
async fn a_missing_right_is_waited_for_and_then_told_of_until_it_is_acknowledged() {
    let patient = json!({"outputTimeout": "PT10M"});
    let world = World::with_rules(&rules_of("UriFile", &latest("replace"), &patient));
    let app = world.app();
    world.next_publish_faults([Fault::Refused { permanent: true }]);
    let id = upload(&world, &app, 1).await;
    world.end_jobs(&JobStatus::Completed);
    minutes(&world, &app, 2).await;
    let waiting = world.get(&app, &id).await;
    assert!(waiting.last_error.is_some_and(|why| why.contains("403")), "{}", waiting.status);
    minutes(&world, &app, 2).await;
    assert_eq!(lies_there(&world, LATEST), Some(id), "the right came");

    world.next_publish_faults([const { Fault::Refused { permanent: true } }; 30]);
    let id = upload(&world, &app, 2).await;
    world.end_jobs(&JobStatus::Completed);
    minutes(&world, &app, 21).await;
    let told = told(&world, &app, &id).await;
    assert!(told.contains("not published, ") && told.contains("403"), "{told}");
    assert_eq!(findings(&world, &app).await.len(), 1);
    let order = lifecycle::Order { verb: lifecycle::Verb::Acknowledge, by: "ann".into(), reason: "seen".into() };
    app::order(app.ledger(), &world.get(&app, &id).await.id, &order, world.now()).await.unwrap();
    minutes(&world, &app, 1).await;
    assert_eq!(findings(&world, &app).await, vec![]);
}

/// By whatever process, and whatever dies on the way; what was verified and nothing else, without a further job.
#[tokio::test]
async fn what_could_not_be_published_is_ordered_to_be_and_makes_no_job() {
    let order = lifecycle::Order { verb: lifecycle::Verb::Publish, by: "ann".into(), reason: "moved away".into() };
    for changed in [false, true] {
        let mut world = World::with_rules(&rules(&latest("refuse")));
        let app = world.app();
        world.publications(|all| all.put_foreign(LATEST, 3));
        let id = scored(&world, &app, 1).await;
        let scoring = world.get(&app, &id).await;
        let report = reports::status(app.ledger(), world.now(), None).await.unwrap();
        let finding = report.findings.iter().find(|finding| finding.kind == FindingKind::NotPublished).unwrap();
        let next = format!("scorekeeper publish --finding {} --reason …", finding.id.as_deref().unwrap());
        assert!(finding.next.contains(&next), "{}", finding.next);
        // Whoever orders has said what is to become of what lies there.
        world.rules = Rules::read(&rules(&latest("replace"))).unwrap();
        let app = world.app();
        if changed {
            world.place(scoring.output_uri().unwrap(), 9);
        }
        app::order(app.ledger(), &scoring.id, &order, world.now()).await.unwrap();
        assert_eq!(lies_there(&world, LATEST), None, "a command has the ledger alone");
        minutes(&world, &app, 2).await;
        let published = (!changed).then(|| id.clone());
        assert_eq!(lies_there(&world, LATEST), published);
        let told = told(&world, &app, &id).await;
        assert!(
            told.contains(if changed { "not the one that was verified any more" } else { "; published at" }),
            "{told}"
        );
        let history = app.ledger().entries(&scoring.id).await.unwrap();
        let line = "ordered to be published by ann (moved away): the next reconcile run goes by its rule";
        assert!(history.iter().any(|entry| entry.reason == line), "{history:?}");
        assert_eq!((world.jobs().len(), findings(&world, &app).await.len()), (1, usize::from(changed)));
        if changed {
            let report = reports::status(app.ledger(), world.now(), None).await.unwrap();
            let next =
                report.findings.iter().map(|finding| finding.next.as_str()).find(|next| next.contains(" --finding "));
            assert!(next.unwrap().contains("scorekeeper rescore --finding"), "nothing else helps: {next:?}");
        }
    }
}

#[tokio::test]
async fn a_shadow_is_scored_and_never_published() {
    let shadow = json!({"endpoint": {"uri": "https://heart.example/jobs", "shadow": "v2"}});
    let world = World::with_rules(&rules_of("UriFile", &latest("replace"), &shadow));
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.end_jobs(&JobStatus::Completed);
    minutes(&world, &app, 4).await;
    assert_eq!(ids.len(), 2);
    for id in &ids {
        assert_eq!(world.get(&app, id).await.status, Status::Scored);
    }
    assert_eq!((lies_there(&world, LATEST), world.publish_calls()), (Some(ids[0].clone()), 1));
}

#[tokio::test]
async fn a_folder_is_published_whole_with_its_manifest_last() {
    let folder = "azureml://datastores/claims/paths/latest";
    let world = World::with_rules(&rules_of("UriFolder", &json!({ "uri": folder }), &json!({})));
    let app = world.app();
    world.next_publish_faults([Fault::LostRequest, Fault::LostAnswer { times: 1 }, Fault::LostAnswer { times: 1 }]);
    let id = scored(&world, &app, 1).await;
    let manifest = format!("{folder}/manifest.json");
    let file = format!("{folder}/{id}/1/predictions.csv");
    assert_eq!(lies_there(&world, &manifest), Some(id.clone()));
    let Some(Content::Document(body)) = world.publications(|all| all.at(&manifest).map(|it| it.content.clone())) else {
        panic!("no manifest")
    };
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["files"][0]["path"], &body["scoring"]), (&json!("predictions.csv"), &json!(id)));
    assert_eq!(format!("{}/predictions.csv", body["folder"].as_str().unwrap()), file);
    assert!(world.publications(|all| all.at(&file).is_some()));
    for path in ["latest/manifest.json".to_owned(), format!("latest/{id}/1/predictions.csv")] {
        assert!(world.deliver(&app, &event(&path, "9")).await.is_empty(), "{path}");
    }
    let second = scored(&world, &app, 2).await;
    assert_eq!(lies_there(&world, &manifest), Some(second));
    assert!(world.publications(|all| all.at(&file).is_some()), "a reader of the former manifest finds its files");
}

/// Whoever has written in the folder of an attempt has no business there, be it before or between the look and the copy.
#[tokio::test]
async fn a_strangers_file_in_an_attempts_folder_is_replaced_before_the_manifest() {
    for meanwhile in [false, true] {
        let folder = "azureml://datastores/claims/paths/latest";
        let world = World::with_rules(&rules_of("UriFolder", &json!({ "uri": folder }), &json!({})));
        let app = world.app();
        let id = upload(&world, &app, 1).await;
        let file = format!("{folder}/{id}/1/predictions.csv");
        if meanwhile {
            let (stranger, file) = (world.clone(), file.clone());
            world.before_next_publish(async move || stranger.publications(|all| all.put_foreign(&file, 3)));
        } else {
            world.publications(|all| all.put_foreign(&file, 3));
        }
        world.end_jobs(&JobStatus::Completed);
        minutes(&world, &app, 7).await;
        assert_eq!(world.get(&app, &id).await.status, Status::Scored);
        assert_eq!(lies_there(&world, &file), Some(id.clone()), "meanwhile: {meanwhile}");
        assert_eq!(lies_there(&world, &format!("{folder}/manifest.json")), Some(id));
    }
}

/// One file among several may be another one by then: all of them are verified again.
#[tokio::test]
async fn a_folder_written_to_after_its_verification_is_verified_again_before_publishing() {
    let folder = "azureml://datastores/claims/paths/latest";
    let world = World::with_rules(&rules_of("UriFolder", &json!({ "uri": folder }), &json!({})));
    let app = world.app();
    let id = upload(&world, &app, 1).await;
    world.end_jobs(&JobStatus::Completed);
    world.next_publish_faults([Fault::LostRequest]);
    minutes(&world, &app, 1).await;
    let scoring = world.get(&app, &id).await;
    assert!(scoring.publishing.is_some() && scoring.status == Status::Verifying, "{scoring:?}");
    world.place(&format!("{}/late.csv", scoring.output_uri().unwrap()), 9);
    minutes(&world, &app, 4).await;
    let history = app.ledger().entries(&scoring.id).await.unwrap();
    let again = history.iter().filter(|entry| entry.reason.contains("it is verified again")).count();
    assert_eq!(again, 1, "{history:?}");
    assert_eq!(world.get(&app, &id).await.status, Status::Scored);
    assert!(
        world.publications(|all| all.at(&format!("{folder}/{id}/1/late.csv")).is_some()),
        "as it was verified then"
    );
}

#[tokio::test]
async fn a_further_generation_replaces_the_one_before_and_a_replay_changes_nothing() {
    let publish = latest("refuse");
    let mut world = World::with_rules(&rules(&publish));
    let app = world.app();
    let first = scored(&world, &app, 1).await;
    assert!(world.deliver(&app, &event("a.csv", "1")).await.is_empty());
    world.rules = Rules::read(&rules_of("UriFile", &publish, &json!({"generation": 1}))).unwrap();
    let app = world.app();
    let second = scored(&world, &app, 1).await;
    assert_ne!(first, second);
    assert_eq!(lies_there(&world, LATEST), Some(second));
}
