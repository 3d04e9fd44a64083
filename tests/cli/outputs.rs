//! `wait` and `output`: whoever asks for predictions.

use handler::cli::json::JsonArgs;
use handler::cli::on_ledger::{ATTENTION, OK};
use handler::cli::order::{Doing, OrderArgs};
use handler::cli::output;
use handler::cli::wait;
use handler::cli::wait::WaitArgs;
use handler::cli::{explain, order};
use lifecycle::skipped::SkippedEvent;
use lifecycle::{Status, Verb};
use time::Duration;

use super::{HERE, text};
use crate::support::world::{Fault, RULE, START, World, event};

#[tokio::test(start_paused = true)]
async fn wait_ends_when_a_blob_is_scored_or_ended_otherwise_and_tells_its_output() {
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1"));
    let app = world.app();
    let waits = async |blob: &str| {
        let args = WaitArgs { which: HERE, blob: blob.to_owned(), timeout: Duration::minutes(5) };
        text(async |out| wait::wait(app.ledger(), &args, out).await).await
    };
    let (code, told) = waits("claims/eu/a.csv").await;
    assert!(code == ATTENTION && told.contains("did not come to its end in time"), "{told}");
    let id = world.deliver(&app, &event("eu/a.csv", "1")).await.remove(0);
    let later = async {
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        world.tick_until_final(&app, 6).await;
    };
    let ((code, told), ()) = tokio::join!(waits("claims/eu/a.csv"), later);
    assert_eq!((code, told), (OK, format!("{id}  scored      claims/eu/a.csv\n")));
    let (code, uri) = text(async |out| output::output(app.ledger(), "claims/eu/a.csv", out).await).await;
    assert!(code == OK && uri.trim_end().ends_with("/1/predictions.csv") && uri.lines().count() == 1, "{uri}");
    // A newer version that fails: what the earlier one came to is not taken for its end.
    world.later(Duration::SECOND);
    world.next_faults([Fault::Refused { permanent: true }]);
    world.deliver(&app, &event("eu/a.csv", "2")).await;
    let (code, told) = waits("claims/eu/a.csv").await;
    assert!(code == ATTENTION && told.contains("  failed      claims/eu/a.csv: "), "{told}");
    let (code, told) = text(async |out| output::output(app.ledger(), "claims/eu/a.csv", out).await).await;
    assert!(code == ATTENTION && told.starts_with("`claims/eu/a.csv` is failed; there is no output"), "{told}");
}

/// Where it is published; a folder by its manifest, and what could not be published where its attempt wrote it.
#[tokio::test]
async fn the_output_of_what_is_published_is_where_people_read_it() {
    let datastore = "azureml://datastores/workspaceblobstore/paths";
    let output = |name: &str, kind: &str, publish: &str| {
        format!(
            r#""{name}":{{"type":"{kind}","uri":"{datastore}/{{scoring.id}}/{{attempt}}/{name}",
                "publish":{{"uri":"{datastore}/published/{publish}","ifExists":"refuse"}}}}"#
        )
    };
    let outputs = [output("a", "UriFile", "a.csv"), output("b", "UriFolder", "b"), output("c", "UriFile", "c.csv")];
    let outputs = format!(r#""maxAttempts":2,"outputs":{{{}}}"#, outputs.join(","));
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", &outputs));
    let app = world.app();
    world.publications(|all| all.put_foreign(&format!("{datastore}/published/c.csv"), 3));
    let id = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
    world.tick_until_final(&app, 8).await;
    let (code, told) = text(async |out| output::output(app.ledger(), "a.csv", out).await).await;
    let expected = [
        format!("{datastore}/published/a.csv"),
        format!("{datastore}/published/b/manifest.json"),
        format!("{datastore}/{id}/1/c"),
    ];
    assert_eq!((code, told.lines().collect::<Vec<_>>()), (OK, expected.iter().map(String::as_str).collect()));
}

#[tokio::test(start_paused = true)]
async fn what_was_skipped_last_is_not_waited_for_and_has_no_output() {
    let world = World::with_rules(RULE);
    let app = world.app();
    let wait = async || {
        let blob = "claims/eu/a.csv".to_owned();
        let args = WaitArgs { which: HERE, blob, timeout: Duration::hours(24) };
        text(async |out| wait::wait(app.ledger(), &args, out).await).await
    };
    let output = async || text(async |out| output::output(app.ledger(), "claims/eu/a.csv", out).await).await;
    let skip = async |etag: &str| {
        let subject = "https://uploads.blob.core.windows.net/claims/eu/a.csv".to_owned();
        let (key, reason) = (lifecycle::digest::digest(&[etag]), "it was scored under another name".to_owned());
        let event = SkippedEvent { key, subject, rule: None, etag: Some(etag.to_owned()), reason };
        app.ledger().skip(&event, None, world.now()).await.unwrap();
    };
    skip("0").await;
    let begun = tokio::time::Instant::now();
    for (code, told) in [wait().await, output().await] {
        assert_eq!((code, told.starts_with("`claims/eu/a.csv` was skipped at ")), (ATTENTION, true), "{told}");
        assert!(told.contains("it was scored under another name"), "{told}");
    }
    assert_eq!(begun.elapsed(), std::time::Duration::ZERO, "nothing is waited for");
    world.later(Duration::SECOND);
    world.deliver(&app, &event("eu/a.csv", "1")).await;
    world.tick_until_final(&app, 6).await;
    // Of the version that is scored: another delivery of it, or a rule that does not want it.
    skip("1").await;
    assert_eq!((wait().await.0, output().await.0), (OK, OK));
    world.later(Duration::MINUTE);
    skip("2").await;
    assert_eq!((wait().await.0, output().await.0), (ATTENTION, ATTENTION), "what is there is another version");
}

/// Another generation of an older version is accepted later than the newest version, and makes it no newer.
#[tokio::test]
async fn the_output_is_that_of_the_newest_version_though_an_older_one_was_scored_again() {
    let world = World::new();
    let app = world.app();
    let mut ids = Vec::new();
    for etag in ["1", "2"] {
        ids.extend(world.deliver(&app, &event("a.csv", etag)).await);
        world.tick_until_final(&app, 6).await;
        world.later(Duration::HOUR);
    }
    let again = OrderArgs { ids: vec![ids[0].clone()], reason: Some("model v8".to_owned()), ..OrderArgs::default() };
    let (code, told) =
        text(async |out| order::order(app.ledger(), Doing::Rescore, &again, "ann", world.now(), out).await).await;
    assert!(code == OK && told.contains("with the next reconcile run, as another generation"), "{told}");
    world.tick_until_final(&app, 6).await;
    assert_eq!(world.statuses(&app).await[&Status::Scored], 3);
    let (code, uri) = text(async |out| output::output(app.ledger(), "claims/a.csv", out).await).await;
    assert!(code == OK && uri.contains(&ids[1]) && uri.lines().count() == 1, "{uri}");
    let (_, told) =
        text(async |out| explain::explain(app.ledger(), &HERE, "a.csv", &JsonArgs::TEXT, START, out).await).await;
    let heads: Vec<_> = told.lines().filter_map(|line| line.trim().strip_prefix("version ")).collect();
    assert!(heads[0].starts_with("1, generation 1: scored") && heads[1].starts_with("2: scored"), "{told}");
    // And so is what an order means by its name.
    let cancel = OrderArgs { ids: vec!["claims/a.csv".to_owned()], dry_run: true, ..OrderArgs::default() };
    let (_, told) =
        text(async |out| order::order(app.ledger(), Verb::Cancel, &cancel, "ann", world.now(), out).await).await;
    assert!(told.starts_with(&format!("{}  left alone: scored is final", ids[1])), "{told}");
}
