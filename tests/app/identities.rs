//! As whom the endpoint and its storage are asked for a scoring: as the identity that its rule names now, for all that it takes.

use std::collections::{BTreeMap, BTreeSet};

use app::App;
use lifecycle::{JobStatus, Order, Rules, Status, Verb};
use serde_json::{Value, json};
use time::Duration;

use super::renames::tick;
use crate::support::world::{Fault, World, event};

fn rules(identity: Option<&str>, kind: &str) -> String {
    let mut endpoint = json!({"uri": "https://heart.example/jobs"});
    endpoint["identity"] = identity.map_or(Value::Null, |name| json!(name));
    let publish = json!({"uri": "azureml://datastores/out/paths/latest/{blob.stem}", "ifExists": "version"});
    let outputs = json!({"score": {"type": kind, "uri": "azureml://datastores/out/paths/{scoring.id}/{attempt}/p", "publish": publish}});
    json!({"rules": [{"id": "claims", "match": {"container": "claims"}, "verifyInput": false, "endpoint": endpoint, "outputs": outputs}]})
        .to_string()
}

/// Calls since the last time, each with those as whom it was made.
fn asked(world: &World) -> BTreeMap<&'static str, BTreeSet<Option<String>>> {
    let mut by_call: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (call, identity) in world.take_asked() {
        by_call.entry(call).or_default().insert(identity.map(|name| name.to_string()));
    }
    by_call
}

fn all_as(calls: &[&'static str], identity: Option<&str>) -> BTreeMap<&'static str, BTreeSet<Option<String>>> {
    calls.iter().map(|call| (*call, BTreeSet::from([identity.map(str::to_owned)]))).collect()
}

async fn until_final(world: &World, app: &App) {
    for _ in 0..8 {
        tick(world, app, Duration::minutes(2)).await;
    }
}

#[tokio::test]
async fn everything_that_a_scoring_takes_is_asked_as_the_identity_of_its_rule() {
    for (kind, written) in [("UriFile", vec!["publish"]), ("UriFolder", vec!["parts", "publish", "write_manifest"])] {
        let world = World::with_rules(&rules(Some("partner"), kind));
        let app = world.app();
        let id = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
        world.end_jobs(&JobStatus::Completed);
        until_final(&world, &app).await;
        let scoring = world.get(&app, &id).await;
        assert_eq!((scoring.status, scoring.identity.as_deref()), (Status::Scored, Some("partner")), "{scoring:?}");
        let calls = [vec!["submit", "job", "outputs", "locate", "published"], written].concat();
        assert_eq!(asked(&world), all_as(&calls, Some("partner")), "{kind}");
    }
}

/// Whom the settings do not know, or the other tenant refuses, is corrected in the rule: what runs already is seen to its end by it.
#[tokio::test]
async fn whom_a_rule_names_now_asks_for_what_was_accepted_before() {
    for (before, now) in [(Some("wrong"), Some("partner")), (Some("wrong"), None), (None, Some("partner"))] {
        let world = World::with_rules(&rules(before, "UriFile"));
        let app = world.app();
        let lost = {
            world.next_faults([Fault::LostAnswer { times: 1 }]);
            world.deliver(&app, &event("lost.csv", "1")).await.remove(0)
        };
        let running = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
        let cancelled = world.deliver(&app, &event("cancelled.csv", "1")).await.remove(0);
        assert_eq!(asked(&world), all_as(&["submit"], before));
        let mut corrected = world.clone();
        corrected.rules = Rules::read(&rules(now, "UriFile")).unwrap();
        let app = corrected.app();
        let order = Order { verb: Verb::Cancel, by: "ann".to_owned(), reason: "a test".to_owned() };
        app::order(app.ledger(), &cancelled.parse().unwrap(), &order, world.now()).await.unwrap();
        tick(&world, &app, Duration::minutes(2)).await;
        world.end_jobs(&JobStatus::Completed);
        until_final(&world, &app).await;
        let calls = ["find", "output_print", "job", "cancel", "outputs", "locate", "published", "publish"];
        assert_eq!(asked(&world), all_as(&calls, now), "{before:?} to {now:?}");
        for (id, status) in [(lost, Status::Scored), (running, Status::Scored), (cancelled, Status::Cancelled)] {
            let scoring = world.get(&app, &id).await;
            assert_eq!(scoring.status, status, "{scoring:?}");
            assert_eq!(scoring.identity.as_deref(), now);
        }
    }
}

/// A rule that is gone, or has another endpoint now, says nothing of whom the endpoint of this scoring knows.
#[tokio::test]
async fn without_its_rule_a_scoring_is_asked_for_as_whom_it_was_accepted() {
    let world = World::with_rules(&rules(Some("partner"), "UriFile"));
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    world.take_asked();
    let mut changed = world.clone();
    let other = rules(Some("other"), "UriFile").replace("heart.example", "lung.example");
    changed.rules = Rules::read(&other).unwrap();
    let app = changed.app();
    tick(&world, &app, Duration::minutes(2)).await;
    assert_eq!(asked(&world).get("job"), all_as(&["job"], Some("partner")).get("job"));
}
