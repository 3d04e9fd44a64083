//! The page in the function app: the function `Page` through the Functions protocol, in the real binary, with requests handed on as they
//! came and as invocations. Whom it believes, whom it lets order, and where its links lead.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use crate::support::cloud::{Cloud, event};
use crate::support::functions_host::FunctionsHost;
use crate::support::http_function::{MODES, Mode, Raw, Request};

/// An app whose page is open to whoever has signed in.
fn vars(cloud: &Cloud, ledger: &str) -> BTreeMap<String, String> {
    let mut vars = cloud.vars(ledger);
    let open = [("SCOREKEEPER_PAGE", "on"), ("SCOREKEEPER_SIGN_IN", "required"), ("WEBSITE_AUTH_ENABLED", "True")];
    vars.extend(open.map(|(name, value)| (name.to_owned(), value.to_owned())));
    vars
}

/// The principal of somebody with this app role, as App Service writes it.
fn principal(role: &str) -> String {
    let claims = json!({"auth_typ": "aad", "name_typ": "name", "role_typ": "roles",
        "claims": [{"typ": "name", "val": "Ann"}, {"typ": "roles", "val": role}]});
    STANDARD.encode(claims.to_string())
}

/// A request of somebody with this role, with these further headers.
async fn by(role: &str, request: Request<'_>, further: &[(&str, &str)], (mode, host): (Mode, &FunctionsHost)) -> Raw {
    let principal = principal(role);
    let request =
        request.with("X-MS-CLIENT-PRINCIPAL", &principal).with("X-MS-CLIENT-PRINCIPAL-NAME", "ann@contoso.com");
    let request = further.iter().fold(request, |request, (name, value)| request.with(name, value));
    request.raw(mode, host).await
}

/// An app with a scoring that failed for good: its host, and the scoring's id.
async fn failed(cloud: &Cloud, vars: &BTreeMap<String, String>) -> (FunctionsHost, String) {
    let host = FunctionsHost::start(cloud.root(), vars).await;
    let fault = json!({"route": "invoke", "times": 1, "fault": {"refused": {"status": 400, "body": "json"}}});
    cloud.simulator.set_faults(vec![serde_json::from_value(fault).unwrap()]).unwrap();
    cloud.upload("a.csv", "x\n1\n");
    host.invoke("BlobCreated", "1", "event", &event("a.csv")).await.value();
    let listed = cloud.told(vars, &["list"]).await;
    assert_eq!(listed[0]["status"], "failed", "{listed}");
    (host, listed[0]["id"].as_str().unwrap().to_owned())
}

async fn status(cloud: &Cloud, vars: &BTreeMap<String, String>) -> Value {
    cloud.told(vars, &["list"]).await[0]["status"].take()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_shown_to_nobody_before_it_is_opened_and_sign_in_is_on() {
    let cloud = Cloud::start().await;
    for (left_out, status) in
        [("SCOREKEEPER_PAGE", 404), ("SCOREKEEPER_SIGN_IN", 403), ("WEBSITE_AUTH_ENABLED", 403), ("none of them", 200)]
    {
        let mut vars = vars(&cloud, "ledger");
        vars.remove(left_out);
        let host = FunctionsHost::start(cloud.root(), &vars).await;
        for mode in MODES {
            for path in ["/api/ops/", "/api/ops/api/scorings", "/api/ops/page.css"] {
                let forged = by("Operator", Request::get(path), &[], (mode, &host)).await;
                assert_eq!(forged.status, status, "{left_out} {mode:?} {path}: {forged:?}");
            }
            let unsigned = Request::get("/api/ops/").raw(mode, &host).await;
            assert_eq!(unsigned.status, if status == 200 { 401 } else { status }, "{left_out} {mode:?}");
            let stranger = by("Owner", Request::get("/api/ops/"), &[], (mode, &host)).await;
            assert_eq!(stranger.status, if status == 200 { 403 } else { status }, "{left_out} {mode:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_sees_everything_and_changes_nothing_by_any_route() {
    let cloud = Cloud::start().await;
    let vars = vars(&cloud, "ledger");
    let (host, id) = failed(&cloud, &vars).await;
    let (scoring, json) = (format!("/api/ops/scorings/{id}"), format!("/api/ops/api/scorings/{id}"));
    let explain = format!("/api/ops/explain?blob={id}");
    let routes = [
        "/api/ops/",
        &scoring,
        &explain,
        "/api/ops/orders",
        "/api/ops/api/scorings",
        &json,
        "/api/ops/api/pending",
        "/api/ops/api/limits",
        "/api/ops/api/breakers",
        "/api/ops/page.css",
        "/api/ops/page.js",
        "/api/ops/nothing",
    ];
    let all = async || (cloud.told(&vars, &["show", &id]).await, cloud.told(&vars, &["limit"]).await);
    let before = all().await;
    for mode in MODES {
        let token = "0e7b1f5a-6ac5-4f2e-9f3e-7c3f0d3a9a11";
        let cookie = format!("__Host-scorekeeper-form={token}");
        for path in routes {
            let shown = by("Reader", Request::get(path), &[("Cookie", &cookie)], (mode, &host)).await;
            assert!(
                !shown.text.contains("method=\"post\"") && !shown.headers.contains_key("set-cookie"),
                "{path}: {shown:?}"
            );
            for order in [[("verb", "retry"), ("id", &*id)], [("verb", "pause"), ("rule", "claims")]] {
                let fields = [&order[..], &[("token", token), ("reason", "x"), ("confirmed", "1")]].concat();
                let answer = by("Reader", Request::form(path, &fields), &[("Cookie", &cookie)], (mode, &host)).await;
                assert!([403, 404, 405].contains(&answer.status), "{mode:?} {path}: {answer:?}");
            }
        }
    }
    assert_eq!(all().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_form_is_taken_with_the_cookie_of_its_page_alone() {
    let cloud = Cloud::start().await;
    for mode in MODES {
        let vars = vars(&cloud, &format!("ledger-{mode:?}"));
        let (host, id) = failed(&cloud, &vars).await;
        let at = (mode, &host);
        let path = format!("/api/ops/scorings/{id}");
        let shown = by("Operator", Request::get(&path), &[], at).await;
        let cookie = shown.headers["set-cookie"].clone();
        for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        let cookie = cookie.split(';').next().unwrap();
        let token = shown.text.split_once("name=\"token\" value=\"").unwrap().1.split_once('"').unwrap().0;
        let again = by("Operator", Request::get(&path), &[("Cookie", cookie)], at).await;
        assert!(
            again.text.contains(token) && !again.headers.contains_key("set-cookie"),
            "one token for all pages: {again:?}"
        );

        let other = "0e7b1f5a-6ac5-4f2e-9f3e-7c3f0d3a9a11";
        let fields =
            |token| [("verb", "retry"), ("id", &*id), ("reason", "fixed"), ("confirmed", "1"), ("token", token)];
        for (why, fields, headers) in [
            ("without its token", &fields("")[..4], &[("Cookie", cookie)][..]),
            ("with another's", &fields(other), &[("Cookie", cookie)]),
            ("without the cookie", &fields(token), &[]),
            ("of another site", &fields(token), &[("Cookie", cookie), ("Sec-Fetch-Site", "cross-site")]),
            ("of a site beside", &fields(token), &[("Cookie", cookie), ("Sec-Fetch-Site", "same-site")]),
        ] {
            let refused = by("Operator", Request::form("/api/ops/orders", fields), headers, at).await;
            assert_eq!(refused.status, 403, "{mode:?} {why}: {refused:?}");
            assert_eq!(status(&cloud, &vars).await, "failed", "{why}");
        }
        let headers = [("Cookie", cookie), ("Sec-Fetch-Site", "same-origin")];
        let done = by("Operator", Request::form("/api/ops/orders", &fields(token)), &headers, at).await;
        assert!(done.status == 200 && done.text.contains("retried; it is queued now"), "{done:?}");
        let history = cloud.told(&vars, &["show", &id]).await.to_string();
        assert!(history.contains("by ann@contoso.com (fixed)"), "{history}");
    }
}

/// Where the links, forms and files of a page lead, as a browser that is at `path` has it.
fn targets(path: &str, html: &str) -> BTreeSet<String> {
    let page = Url::parse("https://app.example").unwrap().join(path).unwrap();
    let of = |attribute: &'static str| {
        html.split(attribute).skip(1).map(|rest| rest.split_once('"').unwrap().0.replace("&amp;", "&"))
    };
    let all = ["href=\"", "src=\"", "action=\""].into_iter().flat_map(of);
    all.map(|link| page.join(&link).unwrap().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_link_of_the_page_leaves_its_path() {
    let cloud = Cloud::start().await;
    let vars = vars(&cloud, "ledger");
    let (host, id) = failed(&cloud, &vars).await;
    let scoring = format!("/api/ops/scorings/{id}");
    let explain = format!("/api/ops/explain?blob={id}");
    for mode in MODES {
        // Relative links of a page without a slash at its end would lead to the other functions.
        for bare in ["/api/ops", "/api/OPS?q=status%3Afailed"] {
            let moved = by("Operator", Request::get(bare), &[], (mode, &host)).await;
            let to = Url::parse("https://app.example").unwrap().join(bare).unwrap().join(&moved.headers["location"]);
            assert_eq!((moved.status, to.unwrap().path()), (302, "/api/ops/"), "{mode:?}");
        }
        let mut seen = BTreeSet::new();
        for path in ["/api/ops/", "/api/ops/?q=status%3Afailed", &scoring, &explain, "/api/ops/nothing/at/all"] {
            let page = by("Operator", Request::get(path), &[], (mode, &host)).await;
            assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
            let leads = targets(path, &page.text);
            assert!(leads.len() >= 3, "{path}: {leads:?}");
            for target in &leads {
                let below = target.strip_prefix("https://app.example/api/ops/");
                assert!(below.is_some() && !target.contains("code="), "{mode:?} {path}: {target}");
            }
            seen.extend(leads);
        }
        for target in seen.iter().filter(|target| !target.contains("/orders") && !target.contains('#')) {
            let path = target.strip_prefix("https://app.example").unwrap();
            let answer = by("Operator", Request::get(path), &[], (mode, &host)).await;
            assert_eq!(answer.status, 200, "{mode:?} {target}: {}", answer.text);
        }
    }
}
