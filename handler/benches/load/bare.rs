//! The limit: an axum handler that does the same I/O as the handler under test and thinks nothing. For each POST it
//! sends the recorded three (or four) requests, byte for byte what the real handler sent, over a client with the same
//! settings, and reads each answer to its end.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::fakes::{Fakes, Request};
use crate::{Outcome, wire};

/// First argument of a process that is to be the bare handler.
pub(crate) const ROLE: &str = "--bare-handler";

/// A request to repeat.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    url: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// What the fakes have last seen of these kinds, to be given to [`serve`] as JSON.
pub(crate) fn recorded(fakes: &Fakes, kinds: &[Request]) -> Outcome<String> {
    let each = kinds.iter().map(|kind| {
        let (port, request) = fakes.last(*kind).ok_or_else(|| format!("no {kind:?} was seen"))?;
        record(port, &request)
    });
    Ok(serde_json::to_string(&each.collect::<Outcome<Vec<_>>>()?)?)
}

fn record(port: u16, request: &wire::Message) -> Outcome<Recorded> {
    let target = request.start().split(' ').nth(1).unwrap_or_default();
    // The client writes these itself.
    let own = |name: &str| ["host", "content-length"].iter().any(|own| name.eq_ignore_ascii_case(own));
    let headers = request.headers().filter(|(name, _)| !own(name));
    Ok(Recorded {
        url: format!("http://127.0.0.1:{port}{target}"),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: String::from_utf8(request.body.clone())?,
    })
}

/// Serves until the process is killed.
pub(crate) async fn serve(port: u16, recorded: &str) -> Outcome<()> {
    let mut requests = Vec::new();
    for Recorded { url, headers, body } in serde_json::from_str::<Vec<Recorded>>(recorded)? {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        requests.push((reqwest::Url::parse(&url)?, map, Bytes::from(body)));
    }
    let requests = Arc::new(requests);
    let client = azure::http::client();
    let work = move |_event: Bytes| {
        let (client, requests) = (client.clone(), requests.clone());
        async move {
            for (url, headers, body) in requests.iter() {
                let request = client.post(url.clone()).headers(headers.clone()).body(body.clone());
                let answer = request.send().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
                answer.bytes().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
            }
            Ok::<_, StatusCode>(r#"{"Outputs":{},"Logs":[],"ReturnValue":null}"#)
        }
    };
    let routes = Router::new().route("/", get(|| async { "{}" })).route("/BlobCreated", post(work));
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    // Only latency is at stake, and the handler under test does the same.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, routes).await?)
}
