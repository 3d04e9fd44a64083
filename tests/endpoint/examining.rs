//! What the doctor asks of Azure, on the wire: where, with what, and what is made of the answers.

use azure::management::AzureCloud;
use doctor::{Cloud as _, QueryError};
use lifecycle::StorageHosts;
use serde_json::{Value, json};

use super::*;
use crate::support::canned::{self, Canned};

fn cloud(server: &Canned) -> AzureCloud {
    at(&server.url(""))
}

fn at(base: &str) -> AzureCloud {
    let source = Source::default;
    AzureCloud::new(
        base,
        Tokens::new(Arc::new(source()), clock()),
        (Tokens::new(Arc::new(source()), clock()), EndpointHosts::default()),
        (Tokens::new(Arc::new(source()), clock()), StorageHosts::default()),
    )
    .unwrap()
}

fn refusal(status: u16, code: &str) -> canned::Answer {
    canned::json(status, &json!({ "error": { "code": code, "message": "it says why" } }))
}

fn endpoint(uri: &str) -> lifecycle::EndpointUri {
    uri.parse().unwrap()
}

#[tokio::test]
async fn a_resource_is_got_by_its_id_in_the_version_of_its_provider() {
    let server = Canned::start().await;
    server.next(canned::json(200, &json!({ "name": "w 1" })));
    let got = cloud(&server).resource("/subscriptions/s/providers/Microsoft.X/things/w 1", "2025-02-15").await;
    assert_eq!(got.unwrap()["name"], "w 1");
    let request = &server.requests()[0];
    assert_eq!(request.target, "/subscriptions/s/providers/Microsoft.X/things/w%201?api-version=2025-02-15");
    assert_eq!(request.header("authorization"), Some("Bearer https://management.azure.com/.default#1"));
}

#[tokio::test]
async fn answers_are_told_apart_by_what_may_be_concluded() {
    let server = Canned::start().await;
    server
        .next(refusal(404, "ResourceNotFound"))
        .next(refusal(403, "AuthorizationFailed"))
        .next(refusal(409, "Conflict"));
    server.next(canned::text(200, "no json"));
    let cloud = cloud(&server);
    let asked = async || cloud.resource("/subscriptions/s", "v").await.unwrap_err();
    assert!(matches!(asked().await, QueryError::Missing(text) if text.contains("it says why")));
    assert!(matches!(asked().await, QueryError::Forbidden { code: Some(code), .. } if code == "AuthorizationFailed"));
    assert!(matches!(asked().await, QueryError::Inconclusive(told) if told.what.contains("409")));
    assert!(matches!(asked().await, QueryError::Inconclusive(told) if told.what.contains("could not be read")));
}

#[tokio::test]
async fn nobody_there_is_no_answer() {
    let gone = Canned::nobody().await;
    let (cloud, job, container) =
        (at(&format!("http://{gone}")), endpoint(&format!("http://{gone}/jobs")), format!("http://{gone}/a/c"));
    let (resource, job, container) =
        futures::join!(cloud.resource("/subscriptions/s", "v"), cloud.job(&job, "x"), cloud.container(&container));
    assert!(matches!(resource, Err(QueryError::NoAnswer(_))), "{resource:?}");
    assert!(matches!(job, Err(QueryError::NoAnswer(_))), "{job:?}");
    assert!(matches!(container, Err(QueryError::NoAnswer(_))), "{container:?}");
}

#[tokio::test]
async fn lists_are_followed_page_by_page_and_say_whether_they_are_whole() {
    let server = Canned::start().await;
    let page = |items: Value, next: Option<String>| canned::json(200, &json!({ "value": items, "nextLink": next }));
    let next = || Some(server.url("/more?page=2"));
    server.next(page(json!([1]), next())).next(page(json!([2]), None));
    let cloud = cloud(&server);
    let filter = "atScope() and assignedTo('p 1')";
    let listed = cloud.list("/s/roleAssignments", "v", Some(filter), 5).await.unwrap();
    assert_eq!((listed.items, listed.complete), (vec![json!(1), json!(2)], true));
    let first = &server.requests()[0].target;
    assert_eq!(first, "/s/roleAssignments?api-version=v&%24filter=atScope%28%29+and+assignedTo%28%27p+1%27%29");
    assert_eq!(server.requests()[1].target, "/more?page=2");

    server.next(page(json!([1]), next()));
    let listed = cloud.list("/s/jobs", "v", None, 1).await.unwrap();
    assert_eq!((listed.items.len(), listed.complete), (1, false), "one page was asked for");

    server.next(page(json!([1]), Some("https://elsewhere.example/more".into())));
    let foreign = cloud.list("/s/jobs", "v", None, 5).await;
    assert!(
        matches!(foreign, Err(QueryError::Inconclusive(told)) if told.what.contains("another host")),
        "a token goes nowhere else"
    );
}

#[tokio::test]
async fn the_endpoint_is_asked_about_a_job_with_its_own_token() {
    let server = Canned::start().await;
    server.next(refusal(404, "UserError"));
    let cloud = cloud(&server);
    assert!(matches!(
        cloud.job(&endpoint(&server.url("/endpoints/heart/jobs")), "none").await,
        Err(QueryError::Missing(_))
    ));
    assert_eq!(server.lines(), ["GET /endpoints/heart/jobs/none"]);
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer https://ml.azure.com/.default#1"));
}

#[tokio::test]
async fn a_container_is_listed_without_a_token_where_it_is_an_emulators() {
    let server = Canned::start().await;
    let none = r#"<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="c"><Blobs/><NextMarker/></EnumerationResults>"#;
    let error = |status: u16, code: &str| {
        canned::text(status, "").header("x-ms-error-code", code).header("Content-Type", "application/xml")
    };
    server.next(canned::text(200, none).header("Content-Type", "application/xml"));
    server.next(error(404, "ContainerNotFound")).next(error(403, "AuthorizationPermissionMismatch"));
    let cloud = cloud(&server);
    let url = server.url("/acct/c");
    assert_eq!(cloud.container(&url).await, Ok(()));
    assert!(matches!(cloud.container(&url).await, Err(QueryError::Missing(_))));
    let refused = cloud.container(&url).await.unwrap_err();
    assert!(
        matches!(&refused, QueryError::Forbidden { code: Some(code), .. } if code == "AuthorizationPermissionMismatch"),
        "{refused:?}"
    );
    for request in server.requests() {
        assert_eq!((request.header("authorization"), request.path()), (None, "/acct/c"));
        assert!(request.target.contains("comp=list") && request.target.contains("maxresults=1"), "{}", request.target);
    }
}

#[tokio::test]
async fn dates_of_answers_tell_how_far_the_clocks_are_apart() {
    let server = Canned::start().await;
    let ahead = clock()() + Duration::minutes(7);
    let date = azure_core::time::to_rfc7231(&ahead);
    server.next(canned::json(200, &json!({})).header("Date", &date));
    let cloud = cloud(&server);
    cloud.resource("/subscriptions/s", "v").await.unwrap();
    let clocks = cloud.clocks();
    let [(host, skew)] = clocks.as_slice() else { panic!("{clocks:?}") };
    assert_eq!(host, "Resource Manager");
    assert!((skew.whole_seconds() - 420).abs() <= 2, "{skew}");
}
