//! Settings and rules that are not good: commands end with 64; a handler under the Functions host stays, refuses every invocation with
//! the reason, and loses nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::hosts::ended;
use crate::support::cloud::{Cloud, event, with_rule};
use crate::support::functions_host::{FunctionsHost, SCOREKEEPER};
use crate::support::lambda::BOOTSTRAP;

#[tokio::test]
async fn wrong_settings_end_every_command_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let wrong =
        [("SCOREKEEPER_TASK_HUB", "my-hub"), ("SCOREKEEPER_RETENTION", "P7D"), ("SCOREKEEPER_LEDGER", "/ledger")];
    let wrong = wrong.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let vars: BTreeMap<_, _> = wrong;
    for (program, arguments) in [(SCOREKEEPER, &["serve"][..]), (SCOREKEEPER, &["config"]), (BOOTSTRAP, &[])] {
        let (code, process) = ended(program, arguments, folder.path(), &vars).await;
        assert_eq!(code, 64, "{program} {arguments:?}");
        let told = process.stderr();
        for name in ["SCOREKEEPER_TASK_HUB", "SCOREKEEPER_RETENTION", "SCOREKEEPER_LEDGER", "SCOREKEEPER_RULES"] {
            let about = format!("scorekeeper: `{name}` is ");
            assert_eq!(told.lines().filter(|line| line.starts_with(&about)).count(), 1, "{name} in {told}");
        }
        assert!(process.stdout().is_empty());
    }
}

/// The host gives up for good after the third end of its handler: a wrong setting would take the app away, and the reason with it.
#[tokio::test]
async fn wrong_settings_are_told_by_a_handler_that_stays_and_loses_no_event() {
    let cloud = Cloud::start().await;
    // A ledger's folder that is a file: only the adapters see that.
    std::fs::write(cloud.root().join("no-folder"), "").unwrap();
    cloud.upload("a.csv", "age\n65\n");
    let good = with_rule(cloud.vars("ledger"), &[("pollInterval", json!("PT1S"))]);
    for (name, value, told) in [
        ("SCOREKEEPER_TASK_HUB", "my-hub", "`SCOREKEEPER_TASK_HUB` is `my-hub`"),
        ("SCOREKEEPER_LEDGER", "embedded:no-folder/x", "no-folder"),
    ] {
        let mut bad = good.clone();
        bad.insert(name.to_owned(), value.to_owned());
        refused(&cloud, &bad, told, &[event("a.csv")]).await;
    }
    // Corrected: what was refused is delivered again.
    let mut host = FunctionsHost::start(cloud.root(), &good).await;
    scored(&cloud, &good, &mut host, &[event("a.csv")]).await;
}

/// As a file beside host.json, as a file that a setting names, and in the setting itself.
#[tokio::test]
async fn a_handler_with_broken_rules_stays_and_scores_the_same_events_once_corrected() {
    let misspelt: fn(&str) -> String = |rules| rules.replace("\"container\"", "\"contaner\"");
    let cut: fn(&str) -> String = |rules| rules[..rules.len() - 2].to_owned();
    let places = ["rules.json", "rules/ours.json", "(inline)"];
    let breaks = [(misspelt, "contaner"), (cut, "is not JSON")];
    for (place, (broken, told)) in places.into_iter().flat_map(|place| breaks.map(|one| (place, one))) {
        let cloud = Cloud::start().await;
        let good = with_rule(cloud.vars("ledger"), &[("pollInterval", json!("PT1S"))]);
        let rules = good["SCOREKEEPER_RULES"].clone();
        let with = |rules: &str| {
            let mut vars = good.clone();
            let file = cloud.root().join(place);
            match place {
                "(inline)" => {
                    vars.insert("SCOREKEEPER_RULES".to_owned(), rules.to_owned());
                }
                "rules.json" => {
                    vars.remove("SCOREKEEPER_RULES");
                    std::fs::write(file, rules).unwrap();
                }
                _ => {
                    vars.insert("SCOREKEEPER_RULES".to_owned(), place.to_owned());
                    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                    std::fs::write(file, rules).unwrap();
                }
            }
            vars
        };
        let events: Vec<Value> = (0..3).map(|n| event(&format!("{n}.csv"))).collect();
        for n in 0..events.len() {
            cloud.upload(&format!("{n}.csv"), "age\n65\n");
        }
        let bad = with(&broken(&rules));
        let said = refused(&cloud, &bad, told, &events).await;
        assert!(said.contains(place), "which file: {said}");
        // The app is restarted by a new package or setting, and Event Grid delivers what it was refused.
        let good = with(&rules);
        let mut host = FunctionsHost::start(cloud.root(), &good).await;
        scored(&cloud, &good, &mut host, &events).await;
        assert_eq!(cloud.simulator.summary().posts, 3);
    }
}

/// Each invocation is refused with this reason, by a handler that stays; its log and the doctor have it, too. What the answer says.
async fn refused(cloud: &Cloud, vars: &BTreeMap<String, String>, told: &str, events: &[Value]) -> String {
    let mut host = FunctionsHost::start(cloud.root(), vars).await;
    let mut said = String::new();
    for event in events {
        for function in ["BlobCreated", "BlobCreatedFromQueue", "Reconcile"] {
            let answer = host.invoke(function, "1", "event", event).await;
            assert_eq!((answer.status, &answer.json()["errorType"]), (500, &json!("Unusable")), "{told}: {function}");
            answer.json()["errorMessage"].as_str().unwrap().clone_into(&mut said);
            assert!(said.contains(told), "{said}");
        }
    }
    let logged = host.process().until_logged(|line| line.contains("every invocation is refused")).await;
    let record: Value = serde_json::from_str(&logged).unwrap();
    assert_eq!(record["level"], "ERROR");
    assert!(record["reason"].as_str().unwrap().contains(told), "{logged}");
    assert!(host.process().stderr().contains(told), "the host makes an error of it: {}", host.process().stderr());
    let logged = host.process().stdout().iter().filter(|line| line.contains("is refused")).count();
    assert_eq!(logged, 1, "once a minute, not for each event");
    let doctor = cloud.told(vars, &["doctor", "--within", "PT10S"]).await;
    let faults = doctor["findings"].as_array().unwrap().iter().filter(|finding| finding["verdict"] == "fault");
    let named = faults.filter(|finding| finding["seen"].as_str().unwrap().contains(told)).count();
    assert_eq!(named, 1, "{told}: {doctor}");
    assert!(host.process().child.try_wait().unwrap().is_none(), "it stays");
    said
}

/// The same events, delivered again, come to `scored`.
async fn scored(cloud: &Cloud, vars: &BTreeMap<String, String>, host: &mut FunctionsHost, events: &[Value]) {
    for event in events {
        let answer = host.invoke("BlobCreated", "2", "event", event).await;
        assert_eq!(answer.value()["accepted"].as_array().map(Vec::len), Some(1), "nothing of it was taken before");
    }
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while cloud.scored(vars).await < events.len() as u64 {
        host.invoke("Reconcile", "3", "timer", &json!({})).await.value();
        assert!(std::time::Instant::now() < end, "{:?}", cloud.simulator.summary());
    }
}
