//! The POST: what is sent, that it is sent once, and what every answer means.

use std::time::Duration;

use app::ports::Endpoint as _;
use lifecycle::{Answer, JobStatus};
use serde_json::json;

use super::*;
use crate::support::canned::{self, Canned, Reply};

const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_request_is_the_documented_one() {
    let server = Canned::start().await;
    server.next(canned::json(201, &job(&server, "batchjob-1", "Preparing")));
    let uri = server.url("/jobs");
    let rule = json!({
        "endpoint": { "uri": uri, "deployment": "blue", "workspace": WORKSPACE },
        "inputs": {
            "data": { "type": "UriFile", "uri": "{blob.url}" },
            "folder": { "type": "UriFolder", "uri": "azureml://datastores/d/paths/f/" },
            "mode": { "type": "Literal", "template": "append {blob.name}" },
            "factor": { "type": "Literal", "value": 0.5 }
        },
        "settings": {
            "miniBatchSize": 5,
            "properties": { "experimentName": "nightly" },
            "tags": { "team": "risk" }
        }
    });
    let mut scoring = scoring_of(&uri, &rule);
    // No rule says this; a row may.
    scoring.submission.as_mut().unwrap().settings["tags"]["scorekeeper.attempt"] = json!("99");
    azure_ml(&server).submit(&scoring, TIMEOUT).await;

    let requests = server.requests();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/jobs"));
    assert_eq!(request.header("authorization"), Some("Bearer https://ml.azure.com/.default#1"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("azureml-model-deployment"), Some("blue"));
    assert_eq!(request.header("repeatability_request-id"), Some(scoring.id.request_id(2).as_str()));
    let id = scoring.id.as_str();
    let output = format!("azureml://datastores/workspaceblobstore/paths/scorekeeper/claims/{id}/2/predictions.csv");
    assert_eq!(
        request.json(),
        json!({ "properties": {
            "InputData": {
                "data": { "JobInputType": "UriFile", "Uri": "https://acct.blob.core.windows.net/uploads/eu/a%20b.csv" },
                "folder": { "JobInputType": "UriFolder", "Uri": "azureml://datastores/d/paths/f/" },
                "mode": { "JobInputType": "Literal", "Value": "append a b.csv" },
                "factor": { "JobInputType": "Literal", "Value": "0.5" }
            },
            "OutputData": { "score": { "JobOutputType": "UriFile", "Uri": output } },
            "miniBatchSize": 5,
            "properties": { "experimentName": "nightly" },
            "tags": { "team": "risk", "scorekeeper.scoring": id, "scorekeeper.attempt": "2" }
        } })
    );
}

#[tokio::test]
async fn without_tags_the_member_is_absent_and_the_rules_own_are_with_it() {
    let server = Canned::start().await;
    server.next(canned::json(201, &job(&server, "j", "Preparing")));
    let uri = server.url("/jobs");
    let rule = json!({ "tags": false, "settings": { "tags": { "team": "risk" }, "miniBatchSize": 5 } });
    azure_ml(&server).submit(&scoring_of(&uri, &rule), TIMEOUT).await;
    let sent = server.requests()[0].json();
    let mut members: Vec<_> = sent["properties"].as_object().expect("an object").keys().collect();
    members.sort();
    assert_eq!(members, ["InputData", "OutputData", "miniBatchSize"]);
}

#[tokio::test]
async fn the_services_own_id_of_each_answer_is_told() {
    let server = Canned::start().await;
    let complete = canned::json(201, &job(&server, "j", "Preparing"));
    server.next(complete.clone().header("x-ms-request-id", "8a1e").header("X-Request-ID", "other"));
    server.next(canned::text(500, "").header("X-Request-ID", "9b2f"));
    server.next(canned::text(403, "")).next(Reply::CutRead);
    let (ml, mut told) = (azure_ml(&server), Vec::new());
    for _ in 0..4 {
        let told_id = ml.submit(&scoring(&server), TIMEOUT).await.request_id;
        told.push(told_id.as_deref().map(str::to_owned));
    }
    assert_eq!(told, [Some("8a1e".to_owned()), Some("9b2f".to_owned()), None, None]);
}

#[tokio::test]
async fn without_a_deployment_the_header_is_absent() {
    let server = Canned::start().await;
    server.next(canned::json(201, &job(&server, "j", "Preparing")));
    azure_ml(&server).submit(&scoring(&server), TIMEOUT).await;
    assert_eq!(server.requests()[0].header("azureml-model-deployment"), None);
}

#[tokio::test]
async fn an_accepted_job_has_name_id_studio_and_status() {
    let server = Canned::start().await;
    let mut failed = job(&server, "batchjob-3", "Preparing");
    failed["properties"]["provisioningState"] = json!("Failed");
    let mut silent = job(&server, "batchjob-2", "");
    silent["properties"]["status"] = json!(null);
    let only_id = json!({ "id": format!("{WORKSPACE}/jobs/batchjob-4") });
    for (body, name, expected) in [
        (job(&server, "batchjob-1", "Running"), "batchjob-1", JobStatus::Running),
        (silent, "batchjob-2", JobStatus::Preparing),
        (failed, "batchjob-3", JobStatus::Failed),
        (only_id, "batchjob-4", JobStatus::Preparing),
        (json!({ "name": "batchjob-5", "properties": null }), "batchjob-5", JobStatus::Preparing),
    ] {
        server.next(canned::json(if name == "batchjob-1" { 200 } else { 201 }, &body));
        match azure_ml(&server).submit(&scoring(&server), TIMEOUT).await.value {
            Answer::Accepted { job, status } => assert_eq!((job.name.as_str(), status), (name, expected)),
            other => panic!("{name}: {other:?}"),
        }
    }
    server.next(canned::json(201, &job(&server, "j", "Running")));
    let Answer::Accepted { job, .. } = azure_ml(&server).submit(&scoring(&server), TIMEOUT).await.value else {
        panic!("accepted")
    };
    assert_eq!(job.studio.as_deref(), Some("https://ml.azure.com/runs/j"));
    assert_eq!(job.id.as_deref(), Some(format!("{WORKSPACE}/batchEndpoints/claims/deployments/blue/jobs/j").as_str()));
}

/// What an answer is, in a word that fits in a table.
fn verdict(answer: &Answer) -> String {
    match answer {
        Answer::Accepted { .. } => "accepted".to_owned(),
        Answer::Refused { permanent: true, code, .. } => format!("refused for good, {code}"),
        Answer::Refused { permanent: false, code, retry_after: None, .. } => format!("refused, {code}"),
        Answer::Refused { code, retry_after: Some(after), .. } => {
            format!("refused, {code}, {} s", after.whole_seconds())
        }
        Answer::TagsRefused { code, .. } => format!("refused for its tags, {code}"),
        Answer::Unknown { .. } => "unknown".to_owned(),
    }
}

#[tokio::test]
async fn every_answer_means_what_is_certain_of_it() {
    let server = Canned::start().await;
    let user_error = json!({ "error": { "code": "UserError", "message": "wrong" } });
    let service_error =
        json!({ "error": { "code": "ServiceError", "message": "Received 500 from a service request" } });
    let error = |status, code: &str, message: &str| {
        canned::json(status, &json!({ "error": { "code": code, "message": message } }))
    };
    let fluent = r#"[{"PropertyName":"OutputData.Values[0].JobOutputType","ErrorMessage":"Must be 'uri_file'."}]"#;
    let denied = "Microsoft Entra Token denied by policy, please review";
    let no_route = "No valid deployments to route to. Please check";
    let page = "<html><head><title>Bad Gateway</title></head></html>";
    let complete = job(&server, "j", "Preparing");
    let mut endless = complete.clone();
    endless["padding"] = json!("x".repeat(1 << 20));
    let table: Vec<(Reply, &str)> = vec![
        (canned::json(200, &complete).into(), "accepted"),
        (canned::json(201, &complete).into(), "accepted"),
        (canned::json(202, &complete).into(), "accepted"),
        // A 2xx that cannot be read: a job was made, who knows which.
        (canned::text(201, "").into(), "unknown"),
        (canned::text(201, "{\"name\": \"batchjob-").into(), "unknown"),
        (canned::json(201, &json!({ "properties": { "status": "Preparing" } })).into(), "unknown"),
        (canned::json(201, &json!({ "name": "" })).into(), "unknown"),
        (canned::json(201, &json!(["name"])).into(), "unknown"),
        (canned::text(200, page).header("Content-Type", "application/json").into(), "unknown"),
        (Reply::CutInside(canned::json(201, &complete)), "unknown"),
        (canned::text(204, "").into(), "unknown"),
        (canned::json(201, &endless).into(), "unknown"),
        // Azure ML says that the request is wrong.
        (canned::json(400, &user_error).into(), "refused for good, 400 UserError"),
        (canned::json(422, &user_error).into(), "refused for good, 422 UserError"),
        (error(400, "ValidationError", "Input is missing").into(), "refused for good, 400 ValidationError"),
        (error(400, "BadRequest", &format!("Errors: {fluent}")).into(), "refused for good, 400 BadRequest"),
        (error(400, "UserError", "Received 400 from a service request").into(), "refused for good, 400 UserError"),
        (
            error(400, "UserError", "Could not find member 'tags' on object of type 'BatchJob'.").into(),
            "refused for its tags, 400 UserError",
        ),
        (
            error(
                400,
                "UserError",
                &format!("Errors: {}", fluent.replace("OutputData.Values[0].JobOutputType", "Tags.Values[0]")),
            )
            .into(),
            "refused for its tags, 400 UserError",
        ),
        // Somebody on the way says so, and may say otherwise tomorrow.
        (canned::text(400, "bad").into(), "refused, 400"),
        (canned::text(400, page).into(), "refused, 400"),
        (canned::json(400, &json!({ "statusCode": 400, "message": "Invalid body" })).into(), "refused, 400"),
        (canned::json(400, &json!({ "code": "InvalidHeader", "message": "x" })).into(), "refused, 400 InvalidHeader"),
        (error(400, "Throttled", "slow down").into(), "refused, 400 Throttled"),
        (canned::text(413, "").into(), "refused, 413"),
        (canned::text(413, page).into(), "refused, 413"),
        (error(413, "UserError", "too large").into(), "refused, 413 UserError"),
        // The deployment is in the making.
        (
            error(400, "UserError", "Deployment blue cannot take jobs, provisioning state: Updating").into(),
            "refused, 400 UserError",
        ),
        (error(409, "UserError", "ProvisioningState is Creating").into(), "refused, 409 UserError"),
        // A service behind failed, whatever the status: jobs may have been made.
        (canned::json(400, &service_error).into(), "unknown"),
        (canned::json(424, &service_error).into(), "unknown"),
        (canned::json(429, &service_error).into(), "unknown"),
        (canned::json(503, &service_error).into(), "unknown"),
        (error(400, "UserError", "Received 503 from a service request").into(), "unknown"),
        (error(404, "UserError", "Received an answer from a service request").into(), "unknown"),
        (
            error(400, "UserError", "Received 400 from a service request; Received 500 from a service request").into(),
            "unknown",
        ),
        (
            error(400, "UserError", &format!("{} Received 500 from a service request", "x".repeat(5_000))).into(),
            "unknown",
        ),
        // What is missing may have said that.
        (Reply::CutInside(canned::json(400, &user_error)), "unknown"),
        (Reply::CutInside(canned::json(424, &user_error)), "unknown"),
        (
            canned::json(
                400,
                &json!({ "error": { "code": "UserError", "message": "see details",
            "details": [{ "code": "InternalServerError", "message": "{}" }] } }),
            )
            .into(),
            "unknown",
        ),
        // It may pass.
        (canned::text(401, denied).into(), "refused, 401"),
        (
            canned::json(403, &json!({ "error": { "code": "AuthorizationFailed", "message": "x" } })).into(),
            "refused, 403 AuthorizationFailed",
        ),
        (canned::text(404, no_route).into(), "refused, 404"),
        (canned::text(405, "").into(), "refused, 405"),
        (canned::text(409, "").into(), "refused, 409"),
        (canned::text(418, page).into(), "refused, 418"),
        (canned::text(424, "").into(), "refused, 424"),
        (Reply::CutInside(canned::json(403, &user_error)), "refused, 403"),
        (canned::text(302, "").header("Location", &server.url("/login")).into(), "refused, 302"),
        (canned::text(307, "").header("Location", &server.url("/jobs")).into(), "refused, 307"),
        // Throttled.
        (canned::text(429, "").into(), "refused, 429"),
        (canned::text(429, "").header("Retry-After", "17").into(), "refused, 429, 17 s"),
        (canned::text(429, "").header("Retry-After", "Tue, 21 Jul 2026 10:01:40 GMT").into(), "refused, 429, 100 s"),
        (canned::text(503, "").into(), "refused, 503"),
        (canned::text(503, "").header("Retry-After", "99999999999").into(), "refused, 503, 86400 s"),
        // Nobody knows.
        (canned::text(303, "").into(), "unknown"),
        (canned::text(408, "").into(), "unknown"),
        (canned::json(500, &service_error).into(), "unknown"),
        (canned::text(502, page).into(), "unknown"),
        (canned::text(504, "upstream request timeout").into(), "unknown"),
        (canned::text(599, "").into(), "unknown"),
        (Reply::CutUnread, "unknown"),
        (Reply::CutRead, "unknown"),
    ];
    for (number, (reply, expected)) in table.into_iter().enumerate() {
        let told = format!("{number}: {reply:?}");
        server.next(reply);
        let before = (server.connections(), server.requests().len());
        let answer = azure_ml(&server).submit(&scoring(&server), TIMEOUT).await.value;
        assert_eq!(verdict(&answer), expected, "{told}\n{answer:?}");
        // Sent exactly once, whatever happened to it.
        assert_eq!(server.connections(), before.0 + 1, "{told}");
        assert!(server.requests().len() <= before.1 + 1, "{told}");
    }
}

#[tokio::test]
async fn silence_and_trickles_end_at_the_timeout_and_are_unknown() {
    let server = Canned::start().await;
    for reply in [Reply::Hang, Reply::Trickle(canned::json(201, &job(&server, "j", "Preparing")))] {
        server.next(reply);
        let answer = azure_ml(&server).submit(&scoring(&server), Duration::from_millis(300)).await.value;
        assert_eq!(verdict(&answer), "unknown", "{answer:?}");
    }
    assert_eq!(server.lines(), ["POST /jobs", "POST /jobs"]);
}

#[tokio::test]
async fn a_kept_connection_that_breaks_does_not_send_again() {
    let server = Canned::start().await;
    let ml = azure_ml(&server);
    server.next(Reply::KeptAlive(canned::json(201, &job(&server, "j", "Preparing")))).next(Reply::CutRead);
    assert_eq!(verdict(&ml.submit(&scoring(&server), TIMEOUT).await.value), "accepted");
    assert_eq!(verdict(&ml.submit(&scoring(&server), TIMEOUT).await.value), "unknown");
    assert_eq!(server.requests().len(), 2);
    assert_eq!(server.connections(), 1, "the second went over the first one's connection");
}

#[tokio::test]
async fn what_was_never_sent_is_refused() {
    let server = Canned::start().await;
    let ml = azure_ml(&server);
    let nobody = format!("http://{}/jobs", Canned::nobody().await);
    let tls = server.url("/jobs").replacen("http", "https", 1);
    server.next(Reply::CutUnread); // in the TLS handshake
    for uri in [nobody.as_str(), tls.as_str()] {
        let answer = ml.submit(&scoring_of(uri, &json!({})), TIMEOUT).await.value;
        assert_eq!(verdict(&answer), "refused, not sent", "{uri}: {answer:?}");
    }
    let clear = "http://10.255.255.1/jobs".parse::<lifecycle::EndpointUri>();
    assert!(clear.is_err(), "no scoring can have it, so no token goes in the clear: {clear:?}");

    let mut unrecorded = scoring(&server);
    unrecorded.submission = None;
    assert_eq!(verdict(&ml.submit(&unrecorded, TIMEOUT).await.value), "refused, not sent");

    for name in ["outputData", "InputData"] {
        let uri = server.url("/jobs");
        let mut replacing = scoring_of(&uri, &json!({}));
        replacing.submission.as_mut().unwrap().settings.insert(name.to_owned(), json!({}));
        assert_eq!(verdict(&ml.submit(&replacing, TIMEOUT).await.value), "refused for good, not sent");
    }
    assert_eq!(server.requests().len(), 0);
}

/// A source that has no tokens, and says so with a secret in its text.
#[derive(Debug)]
struct Dry;

#[async_trait::async_trait]
impl TokenCredential for Dry {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, "the well is dry"))
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let server = Canned::start().await;
    let ml = AzureMl::new(Tokens::new(Arc::new(Dry), clock()), EndpointHosts::default(), manager(&server));
    let answer = ml.submit(&scoring(&server), TIMEOUT).await.value;
    assert_eq!(verdict(&answer), "refused, no token");
    let Answer::Refused { text, .. } = answer else { panic!() };
    assert!(text.contains("https://ml.azure.com") && text.contains("the well is dry"), "{text}");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn waiting_for_a_token_is_part_of_the_time() {
    #[derive(Debug)]
    struct Silent;
    #[async_trait::async_trait]
    impl TokenCredential for Silent {
        async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
            std::future::pending().await
        }
    }
    let server = Canned::start().await;
    let ml = AzureMl::new(Tokens::new(Arc::new(Silent), clock()), EndpointHosts::default(), manager(&server));
    let before = std::time::Instant::now();
    let answer = ml.submit(&scoring(&server), Duration::from_millis(50)).await.value;
    assert_eq!(verdict(&answer), "refused, no token");
    assert!(
        before.elapsed() < Duration::from_secs(2),
        "{:?}: the lease is counted from the same time",
        before.elapsed()
    );
}

#[tokio::test]
async fn a_401_drops_the_token_and_sends_nothing_more() {
    let server = Canned::start().await;
    let ml = azure_ml(&server);
    server.next(canned::text(401, "expired")).next(canned::json(201, &job(&server, "j", "Preparing")));
    assert_eq!(verdict(&ml.submit(&scoring(&server), TIMEOUT).await.value), "refused, 401");
    assert_eq!(server.requests().len(), 1);
    assert_eq!(verdict(&ml.submit(&scoring(&server), TIMEOUT).await.value), "accepted");
    assert_eq!(server.requests()[1].header("authorization"), Some("Bearer https://ml.azure.com/.default#2"));
}

#[tokio::test]
async fn a_validation_error_is_told_member_by_member() {
    let server = Canned::start().await;
    let list = json!([{ "PropertyName": "OutputData.Values[0].JobOutputType", "ErrorMessage": "Job output type must be 'uri_file'.",
        "AttemptedValue": "uri_folder", "ErrorCode": "PredicateValidator" }]);
    let message = format!("The Job request provided has the following validation errors: {list}");
    server.next(canned::json(400, &json!({ "error": { "code": "UserError", "message": message } })));
    let Answer::Refused { text, .. } = azure_ml(&server).submit(&scoring(&server), TIMEOUT).await.value else {
        panic!()
    };
    assert!(text.ends_with("JobOutputType: Job output type must be 'uri_file'. (it was `uri_folder`)"), "{text}");
}

#[tokio::test]
async fn no_token_for_azure_ml_goes_to_a_host_that_is_not_of_the_cloud() {
    let server = Canned::start().await;
    let dry = || Tokens::new(Arc::new(Dry), clock()); // it would say that it was asked
    let public = MlDomains { inference: "inference.ml.azure.com", api: "api.azureml.ms" };
    let ml = AzureMl::new(dry(), EndpointHosts::of_cloud(public), manager(&server));
    for host in
        ["evil.example", "heart.westeurope.inference.ml.azure.com.evil.example", "heart.x.inference.ml.azure.cn"]
    {
        let mut scoring = scoring(&server);
        scoring.endpoint = format!("https://{host}/jobs").parse().unwrap();
        let answer = ml.submit(&scoring, TIMEOUT).await.value;
        assert_eq!(verdict(&answer), "refused, not sent", "{host}");
        let Answer::Refused { text, permanent, .. } = answer else { panic!() };
        assert!(text.contains(&format!("`{host}` is no host of a batch endpoint")), "{text}");
        assert!(!permanent, "the setting may come back");
        let at = address(&scoring, "j1");
        let looked = ml.job(&at).await.unwrap_err();
        assert!(looked.what.contains("SCOREKEEPER_ENDPOINT_HOSTS"), "{looked:?}");
    }
    let mut elsewhere = scoring(&server);
    elsewhere.endpoint = "https://heart.westeurope.inference.ml.azure.com/jobs".parse().unwrap();
    assert_eq!(verdict(&ml.submit(&elsewhere, TIMEOUT).await.value), "refused, no token", "this one may have it");
}
