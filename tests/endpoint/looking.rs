//! Looking at a job, looking for one, cancelling one.

use std::collections::HashSet;

use app::ports::{Answered, Blobs as _, Endpoint as _, Inconclusive, JobSearch, ScanTarget};
use lifecycle::{JobSnapshot, JobStatus, Scoring, StorageHosts};
use serde_json::{Value, json};

use super::*;
use crate::support::canned::{self, Answer, Canned, Reply};

const RUNS: &str =
    "/history/v1.0/subscriptions/s1/resourceGroups/g1/providers/Microsoft.MachineLearningServices/workspaces/w1/runs";

/// `METHOD path` of a job in Resource Manager; without a name, of the list.
pub(super) fn arm(method: &str, rest: &str) -> String {
    format!("{method} {WORKSPACE}/jobs{rest}")
}

fn seen(found: Result<Answered<Option<JobSnapshot>>, Inconclusive>) -> JobSnapshot {
    found.unwrap().value.expect("the job is known")
}

#[tokio::test]
async fn a_job_is_looked_at_below_the_endpoints_own_path() {
    let server = Canned::start().await;
    server.at("GET /base/jobs/j%201", canned::json(200, &job(&server, "j 1", "running")));
    let mut scoring = scoring(&server);
    scoring.endpoint = server.url("/base/jobs").parse().unwrap();
    let found = seen(azure_ml(&server).job(&address(&scoring, "j 1")).await);
    let studio = Some("https://ml.azure.com/runs/j 1".to_owned());
    assert_eq!(found, JobSnapshot { status: JobStatus::Running, error: None, studio });
    let request = &server.requests()[0];
    assert_eq!(request.target, "/base/jobs/j%201");
    assert_eq!(request.header("authorization"), Some("Bearer https://ml.azure.com/.default#1"));
}

#[tokio::test]
async fn any_status_word_is_taken_and_none_is_not_final() {
    let server = Canned::start().await;
    let at = address(&scoring(&server), "j");
    let unlisted = JobStatus::Unlisted("Defrosting".to_owned());
    for (body, expected) in [
        (json!({ "properties": { "status": "COMPLETED" } }), JobStatus::Completed),
        (json!({ "Properties": { "Status": "Queued" } }), JobStatus::Queued),
        (json!({ "status": "Finalizing" }), JobStatus::Finalizing),
        (json!({ "properties": { "status": "Defrosting" } }), unlisted),
        (json!({ "properties": { "status": null } }), JobStatus::Unknown),
        (json!({ "properties": null }), JobStatus::Unknown),
        (json!({}), JobStatus::Unknown),
        // `provisioningState` is about the submission: it must not end a job that runs.
        (json!({ "properties": { "status": "Running", "provisioningState": "Failed" } }), JobStatus::Running),
    ] {
        server.next(canned::json(200, &body));
        assert_eq!(seen(azure_ml(&server).job(&at).await).status, expected, "{body}");
    }
}

#[tokio::test]
async fn a_job_is_missing_only_if_resource_manager_does_not_know_it_either() {
    let server = Canned::start().await;
    let at = address(&scoring(&server), "j");
    server.at("GET /jobs/j", canned::text(404, "No valid deployments to route to."));
    let ml = azure_ml(&server);

    server.at(&arm("GET", "/j"), canned::json(200, &json!({ "name": "j", "properties": { "status": "Running" } })));
    assert_eq!(seen(ml.job(&at).await).status, JobStatus::Running);

    server.at(&arm("GET", "/j"), canned::text(403, "")).at(&arm("GET", "/j"), canned::text(404, ""));
    ml.job(&at).await.expect("the 200 is served once more, as the script's first");
    let inconclusive = ml.job(&at).await.unwrap_err();
    assert!(
        inconclusive.what.contains("No valid deployments") && inconclusive.what.contains("jobs/read"),
        "{inconclusive}"
    );
    assert_eq!(ml.job(&at).await, Ok(None.into()));

    let mut unknown = at.clone();
    unknown.workspace = None;
    let fresh = azure_ml(&server);
    assert!(fresh.job(&unknown).await.is_err(), "no deployment to route to says nothing of the job");
    let plain = Canned::start().await;
    plain.at("GET /jobs/j", canned::json(404, &json!({ "error": { "code": "NotFound", "message": "no such job" } })));
    unknown.endpoint = plain.url("/jobs").parse().unwrap();
    assert_eq!(fresh.job(&unknown).await, Ok(None.into()));
}

#[tokio::test]
async fn a_look_is_repeated_a_few_times_and_concludes_nothing_from_failure() {
    let server = Canned::start().await;
    let at = address(&scoring(&server), "j");
    let good = canned::json(200, &job(&server, "j", "Running"));
    server.next(canned::text(503, "").header("Retry-After", "0")).next(Reply::CutRead).next(good.clone());
    assert_eq!(seen(azure_ml(&server).job(&at).await).status, JobStatus::Running);
    assert_eq!(server.requests().len(), 3);

    server.at("GET /jobs/j", canned::text(502, "<html><title>Bad Gateway</title>"));
    let inconclusive = azure_ml(&server).job(&at).await.unwrap_err();
    assert!(inconclusive.what.contains("502") && inconclusive.what.contains("Bad Gateway"), "{inconclusive}");
    assert_eq!(server.requests().len(), 6);

    let server = Canned::start().await;
    let mut at = at;
    at.endpoint = server.url("/jobs").parse().unwrap();
    server.next(canned::text(429, "").header("Retry-After", "10"));
    assert!(azure_ml(&server).job(&at).await.unwrap_err().what.contains("429"));
    assert_eq!(server.requests().len(), 1, "so long is not waited within a look");

    server.next(canned::text(200, "<html>"));
    assert!(azure_ml(&server).job(&at).await.is_err());
}

#[tokio::test]
async fn a_401_renews_the_token_once() {
    let server = Canned::start().await;
    let at = address(&scoring(&server), "j");
    server.next(canned::text(401, "")).next(canned::json(200, &job(&server, "j", "Running")));
    seen(azure_ml(&server).job(&at).await);
    let tokens: Vec<_> =
        server.requests().iter().map(|request| request.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(tokens, ["Bearer https://ml.azure.com/.default#1", "Bearer https://ml.azure.com/.default#2"]);

    server.at("GET /jobs/j", canned::text(401, "denied"));
    let inconclusive = azure_ml(&server).job(&at).await.unwrap_err();
    assert!(
        inconclusive.what.contains("401") && inconclusive.what.contains("AzureML Data Scientist"),
        "{inconclusive}"
    );
    assert_eq!(server.requests().len(), 4, "once, not for ever");
}

fn run(code: &str, message: &str) -> Value {
    json!({ "runId": "r", "error": { "error": { "code": code, "message": message, "details": [] } } })
}

#[tokio::test]
async fn a_failed_job_tells_why() {
    let server = Canned::start().await;
    server.at("GET /jobs/j", canned::json(200, &job(&server, "j", "Failed")));
    let details = format!("GET {RUNS}/j/details");
    server.at(&details, canned::json(200, &run("UserError", "The path already exists: https://a/c?sig=SECRET")));
    let found = seen(azure_ml(&server).job(&address(&scoring(&server), "j")).await);
    assert_eq!(found.status, JobStatus::Failed);
    assert_eq!(found.error.as_deref(), Some("UserError: The path already exists: https://a/c?sig=***"));
    assert_eq!(server.requests()[1].header("authorization"), Some("Bearer https://ml.azure.com/.default#1"));
}

#[tokio::test]
async fn a_general_reason_is_looked_for_in_the_steps() {
    let server = Canned::start().await;
    server.at("GET /jobs/j", canned::json(200, &job(&server, "j", "Failed")));
    let general = run("UserError", "Pipeline has some failed steps. See child run or execution logs for more details.");
    server.at(&format!("GET {RUNS}/j/details"), canned::json(200, &general));
    let children = json!({ "value": [
        { "runId": "fine", "name": "prepare", "status": "Completed" },
        { "runId": "step", "displayName": "batchscoring", "status": "Failed" }
    ] });
    server.at(&format!("GET {RUNS}/j/children"), canned::json(200, &children));
    server.at(&format!("GET {RUNS}/step/details"), canned::json(200, &run("UserError", "exit code 42")));
    let found = seen(azure_ml(&server).job(&address(&scoring(&server), "j")).await);
    assert_eq!(found.error.as_deref(), Some("batchscoring: UserError: exit code 42"));
}

#[tokio::test]
async fn an_error_without_a_reason_is_looked_for_in_logs_on_permitted_hosts_tokenless() {
    let server = Canned::start().await;
    server.at("GET /jobs/j", canned::json(200, &job(&server, "j", "Failed")));
    let mut details = run("UserError", "User process '/bin/python' exited with status code 42. Please check log file.");
    let at = |file: &str| format!("https://logs.blob.core.windows.net/azureml/{file}?sp=r&sig=SECRET");
    details["logFiles"] = json!({ "logs/user/error.txt": at("error.txt"), "user_logs/std_log.txt": at("std_log.txt") });
    server.at(&format!("GET {RUNS}/j/details"), canned::json(200, &details));
    server.at("GET /there/azureml/error.txt", canned::text(200, "this file shows errors\n"));
    let trace =
        "Traceback (most recent call last):\n  File \"x\"\nValueError: https://a/c?sig=OTHER is empty\nSystemExit: 42";
    server.at("GET /there/azureml/std_log.txt", canned::text(206, trace));
    let here = address(&scoring(&server), "j");
    let asked = || server.requests().iter().filter(|request| request.path().contains("/azureml/")).count();

    let foreign = StorageHosts::of_cloud("core.chinacloudapi.cn");
    let found = seen(azure_ml(&server).with_logs_on(foreign).job(&here).await);
    assert!(found.error.is_some_and(|told| told.contains("exited with status code 42")), "the general text is kept");
    assert_eq!(asked(), 0);

    let there = server.url("/there").parse().unwrap();
    let named = StorageHosts::default().and("logs.blob.core.windows.net", Some(there));
    let found = seen(azure_ml(&server).with_logs_on(named).job(&here).await);
    assert_eq!(found.error.as_deref(), Some("ValueError: https://a/c?sig=*** is empty (user_logs/std_log.txt)"));
    assert_eq!(asked(), 2);
    let requests = server.requests();
    let logs: Vec<_> = requests.iter().filter(|request| request.path().contains("/azureml/")).collect();
    assert!(logs.iter().all(|request| request.header("authorization").is_none()), "{logs:?}");
    assert!(logs.iter().all(|request| request.target.ends_with("?sp=r&sig=SECRET")), "{logs:?}");
    assert!(logs.iter().all(|request| request.header("range") == Some("bytes=0-131071")), "{logs:?}");
}

#[tokio::test]
async fn without_run_history_a_failed_job_is_failed_all_the_same() {
    for reply in [Reply::from(canned::text(403, "")), Reply::CutRead, canned::text(200, "<html>").into()] {
        let server = Canned::start().await;
        server.at("GET /jobs/j", canned::json(200, &job(&server, "j", "Failed")));
        server.at(&format!("GET {RUNS}/j/details"), reply);
        let found = seen(azure_ml(&server).job(&address(&scoring(&server), "j")).await);
        assert_eq!((found.status, found.error), (JobStatus::Failed, None));
    }
}

#[tokio::test]
async fn each_side_gets_a_token_of_its_own_audience() {
    let server = Canned::start().await;
    server.at("GET /jobs/j", canned::json(200, &job(&server, "j", "Running")));
    server.at(&arm("POST", "/j/cancel"), canned::text(202, "null"));
    let ml = azure_ml(&server);
    let at = address(&scoring(&server), "j");
    seen(ml.job(&at).await);
    ml.cancel(&at).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests[0].header("authorization"), Some("Bearer https://ml.azure.com/.default#1"));
    assert_eq!(requests[1].header("authorization"), Some("Bearer https://management.azure.com/.default#1"));
}

#[tokio::test]
async fn the_services_own_id_of_each_look_list_and_cancel_is_told() {
    let server = Canned::start().await;
    let (ml, scoring) = (azure_ml(&server), scoring(&server));
    let at = address(&scoring, "j");
    let id = |answer: Answer, id: &str| answer.header("x-ms-request-id", id);
    let text = |id: &Option<lifecycle::ServiceRequestId>| id.as_deref().map(str::to_owned);
    let running = canned::json(200, &job(&server, "j", "Running"));
    server
        .next(id(running, "look-1"))
        .next(id(canned::text(403, ""), "look-2"))
        .next(id(canned::text(404, ""), "look-3"));
    assert_eq!(text(&ml.job(&at).await.unwrap().request_id).as_deref(), Some("look-1"));
    assert_eq!(text(&ml.job(&at).await.unwrap_err().request_id).as_deref(), Some("look-2"));
    // Missing on the endpoint: it is Resource Manager's answer that counts.
    server.next(id(canned::text(404, ""), "manager-1"));
    let missing = ml.job(&at).await.unwrap();
    assert_eq!((missing.value, text(&missing.request_id).as_deref()), (None, Some("manager-1")));
    server.next(id(canned::text(202, ""), "cancel-1")).next(id(canned::text(403, ""), "cancel-2"));
    assert_eq!(text(&ml.cancel(&at).await.unwrap().request_id).as_deref(), Some("cancel-1"));
    assert_eq!(text(&ml.cancel(&at).await.unwrap_err().request_id).as_deref(), Some("cancel-2"));
    server.next(id(canned::json(200, &json!({ "value": [] })), "list-1"));
    assert_eq!(text(&ml.find(&scoring).await.unwrap().request_id).as_deref(), Some("list-1"));
    let orphans = ScanTarget {
        endpoint: scoring.endpoint.clone(),
        workspace: scoring.workspace.clone(),
        identity: None,
        experiments: Some(vec![]),
    };
    let list = json!({ "value": [listed("j", IN_TIME)] });
    server
        .next(id(canned::json(200, &list), "list-2"))
        .next(id(with_output(&server, "j", IN_TIME, "azureml://x"), "look-4"));
    let listing =
        azure_ml(&server).jobs_created_since(&orphans, NOW - Duration::hours(1), &HashSet::new()).await.unwrap();
    assert_eq!(listing.jobs.iter().map(|job| text(&job.request_id)).collect::<Vec<_>>(), [Some("look-4".to_owned())]);
}

#[tokio::test]
async fn a_cancel_is_safe_to_repeat() {
    let server = Canned::start().await;
    let at = address(&scoring(&server), "j");
    for status in [200, 202, 204, 404, 409] {
        server.next(canned::text(status, ""));
        assert_eq!(azure_ml(&server).cancel(&at).await, Ok(().into()), "{status}");
    }
    let request = &server.requests()[0];
    assert_eq!(request.line(), arm("POST", "/j/cancel"));
    assert_eq!(request.target.split_once('?').unwrap().1, "api-version=2025-12-01");
    assert_eq!((request.header("content-length"), request.body.len()), (Some("0"), 0));

    server.next(canned::text(403, ""));
    assert!(azure_ml(&server).cancel(&at).await.unwrap_err().what.contains("jobs/cancel/action"));
}

#[tokio::test]
async fn the_workspace_is_given_or_told_by_the_job_or_asked_for() {
    let server = Canned::start().await;
    let ml = azure_ml(&server);
    let mut scoring = scoring(&server);
    scoring.workspace = None;
    let mut at = address(&scoring, "j");
    for inconclusive in [ml.find(&scoring).await.unwrap_err(), ml.cancel(&at).await.unwrap_err()] {
        assert!(inconclusive.what.contains("endpoint.workspace"), "{inconclusive}");
    }
    assert_eq!(server.requests().len(), 0);

    at.job.id = Some(format!("{WORKSPACE}/batchEndpoints/e/jobs/j"));
    server.next(canned::text(202, ""));
    ml.cancel(&at).await.unwrap();
    assert_eq!(server.lines(), [arm("POST", "/j/cancel")]);
}

/// A job in Resource Manager's list.
pub(super) fn listed(name: &str, created: &str) -> Value {
    json!({ "name": name, "properties": { "status": "Running", "jobType": "Pipeline" }, "systemData": { "createdAt": created } })
}

/// The same job on the endpoint, with this output.
pub(super) fn with_output(server: &Canned, name: &str, created: &str, output: &str) -> Answer {
    let mut body = job(server, name, "Running");
    body["properties"]["outputData"] = json!({ "score": { "jobOutputType": "UriFile", "uri": output } });
    body["systemData"]["createdAt"] = json!(created);
    canned::json(200, &body)
}

/// Jobs that a search found.
pub(super) fn names(found: &JobSearch) -> Vec<&str> {
    found.jobs.iter().map(|candidate| candidate.job.name.as_str()).collect()
}

pub(super) const IN_TIME: &str = "2026-07-21T09:58:30Z";

/// No job, as of now.
pub(super) fn none() -> JobSearch {
    JobSearch { jobs: vec![], possible: vec![], as_of: Some(NOW), request_id: None }
}

#[tokio::test]
async fn only_jobs_with_our_output_or_our_mark_are_found() {
    let server = Canned::start().await;
    let scoring = scoring(&server);
    let output = scoring.output_uri().unwrap().to_owned();
    let long =
        output.replace("azureml://datastores", "azureml://subscriptions/s1/resourcegroups/g1/workspaces/w1/datastores");
    let mut marked = job(&server, "marked", "Queued");
    marked["properties"]["tags"] = json!({ "scorekeeper.scoring": scoring.id.as_str(), "scorekeeper.attempt": "2" });
    let mut earlier = marked.clone();
    earlier["properties"]["tags"]["scorekeeper.attempt"] = json!("1");
    let mut other = listed("other-scoring", IN_TIME);
    other["properties"]["tags"] = json!({ "scorekeeper.scoring": "0".repeat(32), "scorekeeper.attempt": "2" });

    server.at("GET /jobs/by-output", with_output(&server, "by-output", "2026-07-21T09:59:00Z", &output));
    server.at("GET /jobs/by-long-output", with_output(&server, "by-long-output", "2026-07-21T09:58:31Z", &long));
    server.at("GET /jobs/marked", canned::json(200, &marked));
    server.at("GET /jobs/earlier-attempt", canned::json(200, &earlier));
    server.at("GET /jobs/previous-path", with_output(&server, "previous-path", IN_TIME, &output.replace("/2/", "/1/")));
    server.at("GET /jobs/foreign", canned::json(200, &job(&server, "foreign", "Running")));
    server.at("GET /jobs/not-of-this-endpoint", canned::text(404, ""));
    server.at(
        &arm("GET", ""),
        canned::json(
            200,
            &json!({ "value": [
        listed("by-output", "2026-07-21T09:59:00Z"), listed("by-long-output", IN_TIME), listed("marked", IN_TIME),
        listed("earlier-attempt", IN_TIME), listed("previous-path", IN_TIME), listed("foreign", IN_TIME),
        listed("not-of-this-endpoint", IN_TIME), other,
        listed("too-old", "2026-07-21T09:52:59Z"), listed("from-the-future", "2026-07-21T10:05:01Z"),
        { "properties": {} }
    ] }),
        )
        .header("Date", "Tue, 21 Jul 2026 10:00:00 GMT"),
    );

    let found = azure_ml(&server).find(&scoring).await.unwrap();
    assert_eq!(names(&found), ["by-output", "by-long-output", "marked"]);
    assert_eq!(found.jobs[0].status, JobStatus::Running);
    assert_eq!(found.jobs[0].created, datetime!(2026-07-21 09:59 UTC));
    assert!(found.jobs[0].job.id.as_deref().is_some_and(|id| id.starts_with(WORKSPACE)));
    let lines = server.lines();
    for skipped in ["too-old", "from-the-future", "other-scoring"] {
        assert!(!lines.contains(&format!("GET /jobs/{skipped}")), "{skipped} was looked at");
    }
}

#[tokio::test]
async fn an_orphan_scan_sees_outputs_and_tags_but_nothing_known_old_or_of_others() {
    let server = Canned::start().await;
    let scoring = scoring(&server);
    let place = ScanTarget {
        endpoint: scoring.endpoint.clone(),
        workspace: WORKSPACE.parse().ok(),
        identity: None,
        experiments: Some(vec![]),
    };
    let mut marked = listed("marked", IN_TIME);
    marked["properties"]["tags"] = json!({ "scorekeeper.scoring": scoring.id.as_str(), "scorekeeper.attempt": "2" });
    server.at("GET /jobs/plain", with_output(&server, "plain", IN_TIME, "azureml://datastores/d/paths/p.csv"));
    server.at("GET /jobs/marked", canned::text(404, "not yet"));
    server.at("GET /jobs/elsewhere", canned::text(404, ""));
    server.at("GET /jobs/hidden", canned::text(403, ""));
    let list = json!({ "value": [
        listed("plain", IN_TIME), marked, listed("elsewhere", IN_TIME), listed("hidden", IN_TIME),
        listed("known", IN_TIME), listed("too-old", "2026-07-21T09:52:59Z"),
    ] });
    server.at(&arm("GET", ""), canned::json(200, &list).header("Date", "Tue, 21 Jul 2026 10:00:00 GMT"));
    let (since, known) = (datetime!(2026-07-21 09:58 UTC), HashSet::from(["known".parse().unwrap()]));
    let ml = azure_ml(&server);
    let listing = ml.jobs_created_since(&place, since, &known).await.unwrap();
    let shown: Vec<_> = listing
        .jobs
        .iter()
        .map(|listed| (listed.job.name.as_str(), listed.outputs.clone(), listed.tags.clone()))
        .collect();
    let path = vec!["azureml://datastores/d/paths/p.csv".to_owned()];
    assert_eq!(shown, [("plain", path, None), ("marked", vec![], Some((scoring.id.clone(), 2)))]);
    assert!(!listing.complete, "one could not be looked at");
    for skipped in ["known", "too-old"] {
        assert!(!server.lines().contains(&format!("GET /jobs/{skipped}")), "{skipped} was looked at");
    }
    let (known, unplaced) = (
        HashSet::from(["known", "hidden"].map(|name| name.parse().unwrap())),
        ScanTarget { workspace: None, ..place.clone() },
    );
    assert!(ml.jobs_created_since(&place, since, &known).await.unwrap().complete);
    assert!(
        azure_ml(&server)
            .jobs_created_since(&unplaced, since, &known)
            .await
            .unwrap_err()
            .what
            .contains("endpoint.workspace")
    );
}

#[tokio::test]
async fn our_mark_in_the_list_is_enough() {
    let server = Canned::start().await;
    let scoring = scoring(&server);
    let mut ours = listed("fresh", IN_TIME);
    ours["properties"]["tags"] = json!({ "scorekeeper.scoring": scoring.id.as_str(), "scorekeeper.attempt": "2" });
    server.at(&arm("GET", ""), canned::json(200, &json!({ "value": [ours] })));
    server.at("GET /jobs/fresh", canned::text(404, "not yet"));
    assert_eq!(names(&azure_ml(&server).find(&scoring).await.unwrap()), ["fresh"]);
}

#[tokio::test]
async fn every_page_is_read_and_the_order_is_not_believed() {
    let server = Canned::start().await;
    let scoring = scoring(&server);
    let output = scoring.output_uri().unwrap().to_owned();
    // Oldest first: the job is on the last page, behind pages that are too old.
    let next = |n: u32| server.url(&format!("{WORKSPACE}/jobs?api-version=2025-12-01&$skip={n}"));
    let page = |name: &str, created: &str, next: Option<String>| {
        canned::json(200, &json!({ "value": [listed(name, created)], "nextLink": next }))
    };
    server
        .next(page("a", "2026-07-01T00:00:00Z", Some(next(1))))
        .next(page("b", "2026-07-02T00:00:00Z", Some(next(2))))
        .next(page("ours", IN_TIME, None));
    server.at("GET /jobs/ours", with_output(&server, "ours", IN_TIME, &output));
    assert_eq!(names(&azure_ml(&server).find(&scoring).await.unwrap()), ["ours"]);
    let targets: Vec<_> = server.requests().iter().map(|request| request.target.clone()).collect();
    assert!(targets[1].ends_with("$skip=1") && targets[2].ends_with("$skip=2"), "{targets:?}");
}

#[tokio::test]
async fn a_list_that_is_sorted_is_left_when_it_is_past_the_window() {
    let server = Canned::start().await;
    let scoring = scoring(&server);
    let page = |hour: u8| {
        let jobs: Vec<_> = (0..6).map(|n| listed("x", &format!("2026-07-21T{hour:02}:{:02}:00Z", 59 - n))).collect();
        canned::json(200, &json!({ "value": jobs, "nextLink": server.url(&format!("{WORKSPACE}/jobs?n")) }))
            .header("Date", "Tue, 21 Jul 2026 10:00:00 GMT")
    };
    server.at("GET /jobs/x", canned::json(200, &job(&server, "x", "Running")));
    server.next(page(9)).next(page(8)).next(page(7)).next(page(6));
    assert_eq!(azure_ml(&server).find(&scoring).await, Ok(none()));
    assert_eq!(server.lines().iter().filter(|line| **line == arm("GET", "")).count(), 3);
}

#[tokio::test]
async fn a_list_without_end_is_inconclusive_and_never_none() {
    let server = Canned::start().await;
    let scoring = scoring(&server);
    let endless = json!({ "value": [], "nextLink": server.url(&format!("{WORKSPACE}/jobs")) });
    server.at(&arm("GET", ""), canned::json(200, &endless));
    let inconclusive = azure_ml(&server).find(&scoring).await.unwrap_err();
    assert!(inconclusive.what.contains("more jobs than are looked through"), "{inconclusive}");
}

#[tokio::test]
async fn what_cannot_be_seen_is_inconclusive_and_never_none() {
    let server = Canned::start().await;
    let scoring = scoring(&server);
    let denied = json!({ "error": { "code": "AuthorizationFailed", "message": "no" } });
    server.next(canned::json(403, &denied));
    let inconclusive = azure_ml(&server).find(&scoring).await.unwrap_err();
    assert!(
        inconclusive.what.contains("AuthorizationFailed") && inconclusive.what.contains("workspaces/jobs/read"),
        "{inconclusive}"
    );

    for list in [json!({}), json!({ "value": null }), json!([])] {
        server.next(canned::json(200, &list));
        assert!(azure_ml(&server).find(&scoring).await.is_err(), "{list}");
    }
    server.next(canned::json(200, &json!({ "value": [], "nextLink": "https://elsewhere.example/jobs" })));
    assert!(azure_ml(&server).find(&scoring).await.unwrap_err().what.contains("another host"));

    // One job in the window that cannot be looked at: it might be ours.
    server.next(canned::json(200, &json!({ "value": [listed("hidden", IN_TIME)] })));
    server.at("GET /jobs/hidden", canned::text(403, ""));
    assert!(azure_ml(&server).find(&scoring).await.is_err());
}

/// The scoring as the endpoint shows its job that omits the outputs, with these inputs.
fn silent(server: &Canned, name: &str, uris: &[&str]) -> Value {
    let mut body = job(server, name, "Running");
    let inputs =
        uris.iter().enumerate().map(|(n, uri)| (format!("in{n}"), json!({ "uri": uri, "jobInputType": "UriFile" })));
    body["properties"]["inputData"] = Value::Object(inputs.collect());
    body
}

fn possible(found: &JobSearch) -> Vec<&str> {
    found.possible.iter().map(|candidate| candidate.job.name.as_str()).collect()
}

#[tokio::test]
async fn jobs_with_our_inputs_that_show_neither_outputs_nor_tags_are_possible() {
    let server = Canned::start().await;
    let uri = server.url("/jobs");
    let ours = "https://acct.blob.core.windows.net/uploads/eu/a%20b.csv";
    let folder = "azureml://datastores/d/paths/f/";
    let scoring = scoring_of(
        &uri,
        &json!({ "endpoint": { "uri": uri, "workspace": WORKSPACE }, "inputs": {
        "data": { "type": "UriFile", "uri": "{blob.url}" }, "folder": { "type": "UriFolder", "uri": folder } } }),
    );
    let gen2 = "https://ACCT.dfs.core.windows.net/uploads/eu/a b.csv";
    let mut deployment = silent(&server, "other-deployment", &[ours, folder]);
    deployment["id"] = json!(format!("{WORKSPACE}/batchEndpoints/claims/deployments/green/jobs/other-deployment"));
    let mut theirs = silent(&server, "of-another-ledger", &[ours, folder]);
    theirs["properties"]["tags"] = json!({ "scorekeeper.scoring": "0".repeat(32), "scorekeeper.attempt": "2" });
    let mut shown = silent(&server, "writes-elsewhere", &[ours, folder]);
    shown["properties"]["outputData"] = json!({ "score": { "uri": "azureml://datastores/d/paths/else.csv" } });
    let mut nothing = silent(&server, "shows-nothing", &[]);
    nothing["properties"]["inputData"] = json!(null);
    let mut jobs = Vec::new();
    for body in [
        silent(&server, "same", &[folder, ours]),
        silent(&server, "written-otherwise", &[gen2, "azureml://datastores/D/paths/f"]),
        silent(&server, "one-of-two", &[ours]),
        silent(&server, "one-differs", &[ours, "azureml://datastores/d/paths/g/"]),
        silent(&server, "twice", &[ours, ours]),
        nothing,
        deployment,
        theirs,
        shown,
    ] {
        let name = body["name"].as_str().unwrap().to_owned();
        server.at(&format!("GET /jobs/{name}"), canned::json(200, &body));
        jobs.push(listed(&name, IN_TIME));
    }
    let mut training = listed("training", IN_TIME);
    training["properties"]["jobType"] = json!("Command");
    jobs.push(training);
    server.at(&arm("GET", ""), canned::json(200, &json!({ "value": jobs })));
    let found = azure_ml(&server).find(&scoring).await.unwrap();
    assert_eq!(names(&found), Vec::<&str>::new());
    // No deployment was asked for, so none excludes one.
    assert_eq!(possible(&found), ["same", "written-otherwise", "shows-nothing", "other-deployment"]);
    assert!(!server.lines().contains(&"GET /jobs/training".to_owned()), "no batch endpoint makes such a job");
    assert!(server.requests()[0].target.contains("listViewType=All"), "archived ones too");

    let asked = Scoring { deployment: Some("blue".parse().unwrap()), ..scoring.clone() };
    assert_eq!(
        possible(&azure_ml(&server).find(&asked).await.unwrap()),
        ["same", "written-otherwise", "shows-nothing"]
    );
    let followed = Scoring { followed: vec!["deleted".parse().unwrap()], ..scoring };
    let found = azure_ml(&server).find(&followed).await.unwrap();
    assert_eq!(possible(&found).last(), Some(&"deleted"), "nothing is concluded while it is not seen");
    assert!(!found.possible.last().unwrap().status.is_final());
}

#[tokio::test]
async fn jobs_are_looked_for_by_the_services_clock_and_an_hour_each_way_without_one() {
    for (date, found) in [
        (None, ["-90 min", "-50 min", "50 min", "90 min"].as_slice()[1..3].to_vec()),
        (Some("Tue, 21 Jul 2026 10:00:00 GMT"), vec![]),
        (Some("Tue, 21 Jul 2026 11:30:00 GMT"), vec!["90 min"]),
        (Some("Tue, 21 Jul 2026 08:30:00 GMT"), vec!["-90 min"]),
    ] {
        let server = Canned::start().await;
        let scoring = scoring(&server);
        let output = scoring.output_uri().unwrap().to_owned();
        let mut jobs = Vec::new();
        for minutes in [-90_i64, -50, 50, 90] {
            let name = format!("{minutes} min");
            let created = scoring.submitted.unwrap() + time::Duration::minutes(minutes);
            let created = created.format(&time::format_description::well_known::Rfc3339).unwrap();
            server
                .at(&format!("GET /jobs/{}", name.replace(' ', "%20")), with_output(&server, &name, &created, &output));
            jobs.push(listed(&name, &created));
        }
        let list = canned::json(200, &json!({ "value": jobs }));
        server.at(&arm("GET", ""), date.map_or(list.clone(), |date| list.header("Date", date)));
        assert_eq!(names(&azure_ml(&server).find(&scoring).await.unwrap()), found, "{date:?}");
    }
}

#[tokio::test]
async fn jobs_of_other_experiments_are_looked_at_last_and_not_denied() {
    let server = Canned::start().await;
    let uri = server.url("/batchEndpoints/claims/jobs");
    let scoring = scoring_of(&uri, &json!({ "endpoint": { "uri": uri, "workspace": WORKSPACE } }));
    let output = scoring.output_uri().unwrap().to_owned();
    let mut jobs = Vec::new();
    for (name, experiment) in [("other", json!("training")), ("ours", json!("Claims")), ("silent", json!(null))] {
        let mut one = listed(name, IN_TIME);
        one["properties"]["experimentName"] = experiment;
        jobs.push(one);
        server.at(&format!("GET /batchEndpoints/claims/jobs/{name}"), with_output(&server, name, IN_TIME, &output));
    }
    server.at(&arm("GET", ""), canned::json(200, &json!({ "value": jobs })));
    assert_eq!(names(&azure_ml(&server).find(&scoring).await.unwrap()), ["ours", "silent"]);
    assert_eq!(server.requests().len(), 3, "not those of other experiments, as its own was found");
    // `Properties.experimentName` puts our job into an experiment that nobody expects.
    let server = Canned::start().await;
    let mut one = listed("other", IN_TIME);
    one["properties"]["experimentName"] = json!("training");
    let uri = server.url("/batchEndpoints/claims/jobs");
    let scoring = scoring_of(&uri, &json!({ "endpoint": { "uri": uri, "workspace": WORKSPACE } }));
    let output = scoring.output_uri().unwrap().to_owned();
    server.at("GET /batchEndpoints/claims/jobs/other", with_output(&server, "other", IN_TIME, &output));
    server.at(&arm("GET", ""), canned::json(200, &json!({ "value": [one] })));
    assert_eq!(names(&azure_ml(&server).find(&scoring).await.unwrap()), ["other"]);
}

#[tokio::test]
async fn an_orphan_scan_looks_once_at_old_pipelines_of_other_experiments() {
    let server = Canned::start().await;
    let uri = server.url("/batchEndpoints/claims/jobs");
    let scoring = scoring_of(&uri, &json!({ "endpoint": { "uri": uri, "workspace": WORKSPACE } }));
    let output = scoring.output_uri().unwrap().to_owned();
    let of_training = |name: &str, created: &str, kind: &str| {
        let mut one = listed(name, created);
        one["properties"]["experimentName"] = json!("training");
        one["properties"]["jobType"] = json!(kind);
        one
    };
    let old = "2026-07-21T09:20:00Z";
    let list = json!({ "value": [
        of_training("young", IN_TIME, "Pipeline"), of_training("ours", old, "Pipeline"),
        of_training("theirs", old, "Pipeline"), of_training("no-batch-job", old, "Command"),
    ] });
    server.at(&arm("GET", ""), canned::json(200, &list));
    server.at("GET /batchEndpoints/claims/jobs/ours", with_output(&server, "ours", old, &output));
    server.at("GET /batchEndpoints/claims/jobs/theirs", canned::text(404, ""));
    let target = ScanTarget {
        endpoint: scoring.endpoint,
        workspace: WORKSPACE.parse().ok(),
        identity: None,
        experiments: Some(vec![]),
    };
    let since = datetime!(2026-07-21 09:00 UTC);
    let listing = azure_ml(&server).jobs_created_since(&target, since, &HashSet::new()).await.unwrap();
    assert_eq!(listing.jobs.iter().map(|listed| listed.job.name.as_str()).collect::<Vec<_>>(), ["ours"]);
    assert_eq!((listing.elsewhere, listing.complete), (vec!["theirs".parse().unwrap()], true));
    assert_eq!(server.requests().len(), 3, "neither the young one nor the command is asked for");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let server = Canned::start().await;
    let mut endless = job(&server, "j", "Running");
    endless["padding"] = json!("x".repeat(8 << 20));
    server.at("GET /jobs/j", canned::json(200, &endless));
    let inconclusive = azure_ml(&server).job(&address(&scoring(&server), "j")).await.unwrap_err();
    let told = app::error_chain(&inconclusive);
    assert!(told.contains("longer than"), "{told}");
}

/// Support asks for it, and without it `azure_core` makes an error object, with a stack trace, for each request.
#[tokio::test]
async fn each_request_has_an_id_and_a_submission_that_of_its_attempt() {
    let server = Canned::start().await;
    let (ml, scoring) = (azure_ml(&server), scoring(&server));
    let at = address(&scoring, "j");
    server.at("GET /jobs/j", canned::text(500, "")).at("GET /jobs/j", canned::text(404, ""));
    let _ = ml.submit(&scoring, std::time::Duration::from_secs(5)).await;
    let _ = ml.job(&at).await;
    let _ = ml.cancel(&at).await;
    let _ = blobs::blobs(&server).outputs(&scoring).await;
    let requests = server.requests();
    let id = |line: &str| {
        let of_line = requests.iter().filter(|request| request.line() == line);
        of_line.map(|request| request.header("x-ms-client-request-id").expect("an id")).collect::<Vec<_>>()
    };
    assert_eq!(id("POST /jobs"), [scoring.id.request_id(2)]);
    assert_eq!(id("GET /jobs/j")[0], id("GET /jobs/j")[1], "its repetition is the same question");
    let others = [id(&arm("GET", "/j")), id(&arm("POST", "/j/cancel"))].concat();
    assert!(others.len() == 2 && others[0] != others[1], "{others:?}");
    assert!(requests.iter().all(|request| request.header("x-ms-client-request-id").is_some()));
    assert_eq!(requests.len(), 6, "{:?}", server.lines());
}

#[tokio::test(start_paused = true)]
async fn silence_is_waited_for_in_bounds() {
    let server = Canned::start().await;
    server.at("GET /jobs/j", Reply::Hang);
    let before = tokio::time::Instant::now();
    assert!(azure_ml(&server).job(&address(&scoring(&server), "j")).await.is_err());
    assert!(before.elapsed() < std::time::Duration::from_secs(45), "{:?}", before.elapsed());
}
