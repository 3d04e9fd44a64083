//! Who gets a token, and where it opens.

use reqwest::StatusCode;
use serde_json::Value;
use simulator::Client;
use time::macros::datetime;

use super::{ARM, ML, VERSION, body, seconds, sim};

#[tokio::test]
async fn each_plane_takes_tokens_of_its_own_audience_only() {
    let (sim, _root) = sim(|o| o.token_lifetime = seconds(100)).await;
    let name = sim.submit("x.csv", "x").await;
    let workspace = sim.handle.workspace_id();
    let scoring = format!("{}/{name}", sim.handle.scoring_uri("claims"));
    let arm = sim.url(&format!("{workspace}/jobs/{name}?{VERSION}"));
    let history = sim.url(&format!("/history/v1.0{workspace}/runs/{name}/details"));
    let storage = "https://storage.azure.com";
    for (url, audience, good) in [
        (&scoring, ML, true),
        (&scoring, ARM, false),
        (&arm, ARM, true),
        (&arm, ML, false),
        (&history, ML, true),
        (&history, ARM, true),
        (&history, storage, false),
    ] {
        let answer = sim.get(url, audience).await;
        assert_eq!(answer.status() == StatusCode::OK, good, "{url} {audience}");
        if !good {
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
        }
    }
    let good = sim.token(&format!("{ML}/")).await;
    let (claims, signature) = good.split_once('.').unwrap();
    let other = sim.token(ARM).await;
    let forged = format!("{}.{signature}", other.split_once('.').unwrap().0);
    for (token, status) in [
        (good.as_str(), StatusCode::OK),
        (claims, StatusCode::UNAUTHORIZED),
        ("", StatusCode::UNAUTHORIZED),
        (forged.as_str(), StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(sim.http.get(&scoring).bearer_auth(token).send().await.unwrap().status(), status);
    }
    assert_eq!(sim.http.get(&scoring).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    sim.hand.advance(seconds(101));
    assert_eq!(sim.http.get(&scoring).bearer_auth(&good).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let post = sim.http.post(sim.handle.scoring_uri("claims")).bearer_auth(sim.token(ARM).await).json(&body("x", "x"));
    assert_eq!(post.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(sim.handle.summary().jobs, 1);
}

#[tokio::test]
async fn a_managed_identity_is_known_by_its_header() {
    let (sim, _root) = sim(|_| {}).await;
    let endpoint = sim.handle.identity_endpoint();
    let ask = |header: Option<&'static str>, query: &'static str| {
        let mut request = sim.http.get(format!("{endpoint}?{query}"));
        if let Some(value) = header {
            request = request.header("x-identity-header", value);
        }
        async { request.send().await.unwrap() }
    };
    let (right, good) =
        (Some("a secret of the platform"), "api-version=2019-08-01&resource=https%3A%2F%2Fml.azure.com");
    assert_eq!(ask(None, good).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ask(Some("wrong"), good).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ask(right, "api-version=2017-09-01&resource=x").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(ask(right, "api-version=2019-08-01").await.status(), StatusCode::BAD_REQUEST);
    let answer = ask(right, "api-version=2019-08-01&resource=https%3A%2F%2Fml.azure.com&client_id=me").await;
    let answer: Value = answer.json().await.unwrap();
    let end = (datetime!(2026-01-01 13:00 UTC)).unix_timestamp().to_string();
    assert_eq!((answer["expires_on"].as_str(), answer["client_id"].as_str()), (Some(end.as_str()), Some("me")));
    assert_eq!((answer["resource"].as_str(), answer["token_type"].as_str()), (Some(ML), Some("Bearer")));
}

#[tokio::test]
async fn a_service_principal_gets_tokens_by_either_version() {
    let client = Client { id: "me".into(), secret: "s3cret".into() };
    let (sim, _root) = sim(|o| o.client = Some(client)).await;
    let ask = async |path: &str, form: &str| {
        let request = sim.http.post(sim.url(path)).body(form.to_owned());
        let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    let (v1, v2) = ("/tenant/oauth2/token", "/tenant/oauth2/v2.0/token");
    let me = "grant_type=client_credentials&client_id=me&client_secret=s3cret";
    let (status, one) = ask(v1, &format!("{me}&resource=https%3A%2F%2Fml.azure.com")).await;
    assert_eq!((status, one["expires_in"].as_str()), (StatusCode::OK, Some("3600")));
    let (status, two) = ask(v2, &format!("{me}&scope=https%3A%2F%2Fml.azure.com%2F.default")).await;
    assert_eq!((status, two["expires_in"].as_u64()), (StatusCode::OK, Some(3600)));
    let job = format!("{}/{}", sim.handle.scoring_uri("claims"), sim.submit("x.csv", "x").await);
    for token in [&one, &two].map(|answer| answer["access_token"].as_str().unwrap()) {
        assert_eq!(sim.http.get(&job).bearer_auth(token).send().await.unwrap().status(), StatusCode::OK);
    }
    let wrong = me.replace("s3cret", "guess");
    let (status, refused) = ask(v2, &format!("{wrong}&scope=x%2F.default")).await;
    assert_eq!((status, refused["error"].as_str()), (StatusCode::UNAUTHORIZED, Some("invalid_client")));
    assert_eq!(ask(v2, &format!("{me}&scope=https%3A%2F%2Fml.azure.com")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(ask(v1, me).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(ask(v1, &me.replace("client_credentials", "password")).await.0, StatusCode::BAD_REQUEST);
}
