//! `scorekeeper doctor`, as a process, on an installation of processes: a simulator and Azurite. What is healthy is said to
//! be, and each fault alone is named, alone, with what fixes it.

mod cases;
mod stage;

use futures::StreamExt as _;
use serde_json::{Value, json};

use cases::Case;
use stage::{ALIVE, Stage};

/// Examinations at one time.
const MAX_CONCURRENT_CASES: usize = 4;

fn by_verdict<'a>(report: &'a Value, verdict: &str) -> Vec<&'a Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["verdict"] == verdict).collect()
}

#[tokio::test]
async fn a_healthy_installation_is_healthy_in_every_respect() {
    if !stage::ready().await {
        return;
    }
    // What is healthy in more than one way.
    let older = json!({ "resources": { "subscriptionOnAccount": true } });
    let stored = json!({ "properties": { "credentials": { "credentialsType": "AccountKey" } } });
    let keys = json!({ "resources": { "changed": { "datastores/*": stored } } });
    for plan in [json!({}), older, keys] {
        let stage = Stage::start(&plan, ALIVE).await;
        let (code, report) = stage.examine(&[]).await;
        let findings = report["findings"].as_array().unwrap();
        let not_ok: Vec<_> = findings.iter().filter(|finding| finding["verdict"] != "ok").collect();
        assert!(not_ok.is_empty(), "{plan}: {not_ok:#?}");
        assert_eq!((code, &report["exitCode"]), (0, &json!(0)));
        let looked_at: Vec<&str> = findings.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
        for check in doctor::CHECKS {
            assert!(looked_at.contains(&check.id()), "nothing is said of {check}");
        }
    }
}

/// What is wrong with a report on an installation of which one thing is wrong.
fn wrong(case: &Case, code: i32, report: &Value) -> Option<String> {
    let (named, shown) = (by_verdict(report, case.verdict()), |all: &[&Value]| format!("{all:#?}"));
    let [finding] = named.as_slice() else { return Some(format!("not one {}: {}", case.verdict(), shown(&named))) };
    let text = |member: &str| finding[member].as_str().unwrap_or_default();
    if text("check") != case.check {
        return Some(format!("another check: {finding:#}"));
    }
    if let Some(part) = case.remedy.iter().find(|part| !text("remedy").contains(*part)) {
        return Some(format!("the remedy lacks `{part}`: {finding:#}"));
    }
    if text("seen").is_empty() || text("cause").is_empty() {
        return Some(format!("it lacks what was seen, or the cause: {finding:#}"));
    }
    // All else is fine, or hangs on what is wrong and says so.
    let other = if case.is_fault() { "warning" } else { "fault" };
    let mut others = by_verdict(report, other);
    others.extend(by_verdict(report, "unknown").into_iter().filter(|finding| {
        let seen = finding["seen"].as_str().unwrap_or_default();
        !(case.is_fault() && seen.starts_with("not looked at, because"))
    }));
    if !others.is_empty() {
        return Some(format!("more is said: {}", shown(&others)));
    }
    let expected = i32::from(case.is_fault());
    (code != expected).then(|| format!("the exit code is {code} and not {expected}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_alone_is_named_alone_with_what_fixes_it() {
    if !stage::ready().await {
        return;
    }
    let cases = cases::all();
    assert!(cases.iter().filter(|case| case.is_fault()).count() >= 15);
    let examined = futures::stream::iter(cases)
        .map(|case| async move {
            let mut stage = Stage::start(&case.plan, case.task_hub).await;
            case.change(&mut stage.vars);
            let (code, report) = stage.examine(&[]).await;
            wrong(&case, code, &report).map(|why| format!("{}: {why}", case.what))
        })
        .buffer_unordered(MAX_CONCURRENT_CASES);
    let wrong: Vec<String> = examined.filter_map(|wrong| async { wrong }).collect().await;
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[tokio::test]
async fn whoever_is_signed_in_examines_the_rights_of_the_app_and_not_their_own() {
    if !stage::ready().await {
        return;
    }
    let unassigned = json!({ "resources": { "unassigned": ["app/Storage Blob Data Reader"] } });
    for (plan, faults) in [(json!({}), vec![]), (unassigned, vec!["input", "output.read"])] {
        let mut stage = Stage::start(&plan, ALIVE).await;
        stage.sign_in().await;
        stage.vars.remove("WEBSITE_ARM_RESOURCE_ID");
        let (code, report) = stage.examine(&["--app", &stage.app]).await;
        assert!(report["identity"].as_str().unwrap().starts_with("whoever is signed in"), "{report:#}");
        let named: Vec<_> = by_verdict(&report, "fault").iter().map(|finding| finding["check"].clone()).collect();
        assert_eq!(named, faults, "{report:#}");
        assert_eq!(by_verdict(&report, "unknown"), Vec::<&Value>::new());
        assert_eq!(code, i32::from(!faults.is_empty()));
        // Without knowing who the app is, nothing is said of its rights.
        let (code, report) = stage.examine(&[]).await;
        assert_eq!(code, 2, "{report:#}");
        for finding in by_verdict(&report, "ok") {
            assert!(!finding["check"].as_str().unwrap().starts_with("permission."), "{finding:#}");
        }
    }
}

#[tokio::test]
async fn an_app_that_may_not_write_where_its_rule_publishes_is_named() {
    if !stage::ready().await {
        return;
    }
    let unassigned = json!({ "resources": { "unassigned": ["app/Storage Blob Data Contributor"] } });
    for (plan, may) in [(json!({}), true), (unassigned, false)] {
        let (code, report) = Stage::publishing(&plan, ALIVE).await.examine(&[]).await;
        let findings = report["findings"].as_array().unwrap();
        let of_check: Vec<_> = findings.iter().filter(|finding| finding["check"] == "output.publish").collect();
        let [finding] = of_check.as_slice() else { panic!("{report:#}") };
        let faults = by_verdict(&report, "fault");
        if may {
            assert!(finding["seen"].as_str().unwrap().contains("may write to local/outbox"), "{finding:#}");
            assert_eq!((code, faults), (0, vec![]));
            continue;
        }
        assert_eq!((code, faults), (1, vec![*finding]), "and nothing else");
        for part in ["dataAccess.publishedContainerResourceIds", "'Storage Blob Data Contributor'", "local/outbox"] {
            assert!(finding["remedy"].as_str().unwrap().contains(part), "{part}: {finding:#}");
        }
    }
}

/// Files that the storage shows below a folder.
fn shown(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let visible = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    visible.flat_map(|entry| if entry.path().is_dir() { shown(&entry.path()) } else { vec![entry.path()] }).collect()
}

#[tokio::test]
async fn a_copy_is_made_where_a_rule_groups_and_each_refusal_has_its_remedy() {
    if !stage::ready().await {
        return;
    }
    let contributor = json!({ "resources": { "unassigned": ["app/Storage Blob Data Contributor"] } });
    let no_container = json!({ "resources": { "changed": { "containers/scorekeeper-staging": null } } });
    for (plan, source, expected) in [
        (json!({}), None, Ok("an upload, claims/a.csv, was copied to local/scorekeeper-staging")),
        (contributor, None, Err("'Storage Blob Data Contributor'")),
        (no_container, None, Err("az storage container create --auth-mode login --account-name local")),
        (json!({}), Some(403), Err("'Storage Blob Data Reader'")),
    ] {
        let stage = Stage::grouping(&plan, ALIVE).await;
        let inbox = stage.folder().join("cloud/inbox/claims");
        std::fs::create_dir_all(&inbox).unwrap();
        std::fs::write(inbox.join("a.csv"), "n\n1\n").unwrap();
        if let Some(status) = source {
            let refused = json!({ "copyRefused": status }).to_string();
            std::fs::write(simulator::sidecar_of(&inbox.join("a.csv")), refused).unwrap();
        }
        let (code, report) = stage.examine(&[]).await;
        let findings = report["findings"].as_array().unwrap();
        let of_check: Vec<_> = findings.iter().filter(|finding| finding["check"] == "staging").collect();
        let [finding] = of_check.as_slice() else { panic!("{report:#}") };
        let faults = by_verdict(&report, "fault");
        match expected {
            Ok(seen) => {
                assert!(finding["seen"].as_str().unwrap().contains(seen), "{finding:#}");
                assert_eq!((code, faults), (0, vec![]), "{report:#}");
            }
            Err(remedy) => {
                assert!(finding["remedy"].as_str().unwrap().contains(remedy), "{finding:#}");
                assert_eq!((code, faults), (1, vec![*finding]), "and nothing else");
            }
        }
        assert_eq!(shown(&stage.folder().join("cloud/scorekeeper-staging")), Vec::<std::path::PathBuf>::new());
    }
}

/// Subscriptions, filters and roles are those of the rules at the last deployment.
#[tokio::test]
async fn rules_check_says_what_must_be_deployed_for_new_rules_and_nothing_where_all_is() {
    if !stage::ready().await {
        return;
    }
    let unassigned = json!({ "resources": { "unassigned": ["app/Storage Blob Data Contributor"] } });
    let stage = Stage::publishing(&unassigned, ALIVE).await;
    let deployed: Value = serde_json::from_str(&stage.vars["SCOREKEEPER_RULES"]).unwrap();
    let mut plain = deployed.clone();
    plain["rules"][0].as_object_mut().unwrap().remove("outputs");
    let (code, said) = stage.check(&plain, &[]).await;
    assert!(code == 0 && said.contains("good, 1 rule") && !said.contains("fault"), "{said}");
    // A right to write that nobody has given, and a container of which no filter lets events through.
    let mut new = deployed.clone();
    let mut other = plain["rules"][0].clone();
    (other["id"], other["match"]["container"]) = (json!("other"), json!("newcomers"));
    new["rules"].as_array_mut().unwrap().push(other);
    let (code, said) = stage.check(&new, &[]).await;
    assert!(code == 1 && said.contains("good, 2 rules"), "{said}");
    for told in ["fault output.publish", "fault delivery.filter", "deploy: "] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let (code, said) = stage.check(&new, &["--json"]).await;
    let report: Value = serde_json::from_str(&said).unwrap();
    let faults = report["deployed"].as_array().unwrap().iter().filter(|finding| finding["verdict"] == "fault");
    let faults: Vec<&str> = faults.map(|finding| finding["check"].as_str().unwrap()).collect();
    assert!(code == 1 && faults.contains(&"output.publish") && faults.contains(&"delivery.filter"), "{report:#}");
}

/// Nobody gives the app more roles than it needs to score. It then sees less than an operator.
#[tokio::test]
async fn with_the_templates_roles_alone_no_fault_is_found_and_what_is_hidden_is_named() {
    if !stage::ready().await {
        return;
    }
    let stage = Stage::start(&json!({ "resources": { "unassigned": ["app/Reader"] } }), ALIVE).await;
    let (code, report) = stage.examine(&[]).await;
    assert_eq!((by_verdict(&report, "fault"), by_verdict(&report, "warning")), (vec![], vec![]));
    for finding in by_verdict(&report, "unknown") {
        let says_what_it_takes = finding["remedy"].is_string();
        let hangs_on_another = finding["seen"].as_str().unwrap().starts_with("not looked at, because");
        assert!(says_what_it_takes || hangs_on_another, "{finding:#}");
    }
    assert_eq!(code, 2, "what was not seen is not fine");
}
