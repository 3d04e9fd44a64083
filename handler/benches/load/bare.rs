//! The limit: an axum handler that does the same I/O as the handler under test and thinks nothing. For each POST it
//! sends the recorded three (or four) requests, byte for byte what the real handler sent, over a client with the same
//! settings, reads each answer to its end, and writes the line that the real handler logged.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::fakes::Request;
use crate::process::Start;
use crate::{Outcome, drive, wire};

/// First argument of a process that is to be the bare handler.
pub(crate) const ROLE: &str = "--bare-handler";

/// What the real handler did for one event.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    requests: Vec<Sent>,
    /// What it logged, line end included.
    log: String,
}

/// Part of the one line that an event is in the log at the default level: its job is on record.
const LOGGED: &str = "submitting -> running";

/// A request to repeat.
#[derive(Debug, Serialize, Deserialize)]
struct Sent {
    url: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// Has our handler take a few events, and gives what it did for one, as JSON for [`serve`].
pub(crate) async fn recorded(start: &Start<'_>, kinds: &[Request]) -> Outcome<String> {
    let (fakes, log) = (start.fakes, start.folder.join("handler.log"));
    fakes.remember(true);
    let handler = Start { log: Some(&log), counted: None, ..*start }.ours()?;
    drive::events(&handler, drive::CONNECTIONS).await?;
    fakes.remember(false);
    handler.end()?;
    let each = kinds.iter().map(|kind| {
        let (port, request) = fakes.last(*kind).ok_or_else(|| format!("no {kind:?} was seen"))?;
        sent(port, &request)
    });
    let requests = each.collect::<Outcome<Vec<_>>>()?;
    let lines = std::fs::read_to_string(&log)?;
    let of_events: Vec<_> = lines.split_inclusive('\n').filter(|line| line.contains(LOGGED)).collect();
    if of_events.len() != drive::CONNECTIONS {
        return Err(
            format!("{} events are {} lines in the log, not one each", drive::CONNECTIONS, of_events.len()).into()
        );
    }
    Ok(serde_json::to_string(&Recorded { requests, log: of_events[0].to_owned() })?)
}

fn sent(port: u16, request: &wire::Message) -> Outcome<Sent> {
    let target = request.start().split(' ').nth(1).unwrap_or_default();
    // The client writes these itself.
    let own = |name: &str| ["host", "content-length"].iter().any(|own| name.eq_ignore_ascii_case(own));
    let headers = request.headers().filter(|(name, _)| !own(name));
    Ok(Sent {
        url: format!("http://127.0.0.1:{port}{target}"),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: String::from_utf8(request.body.clone())?,
    })
}

/// Serves until the process is killed.
pub(crate) async fn serve(port: u16, recorded: &str) -> Outcome<()> {
    let Recorded { requests: sent, log } = serde_json::from_str(recorded)?;
    let mut requests = Vec::new();
    for Sent { url, headers, body } in sent {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        requests.push((reqwest::Url::parse(&url)?, map, Bytes::from(body)));
    }
    let shared = Arc::new((requests, log));
    let client = azure::http::client();
    let work = move |_event: Bytes| {
        let (client, shared) = (client.clone(), shared.clone());
        async move {
            let (requests, log) = &*shared;
            for (url, headers, body) in requests {
                let request = client.post(url.clone()).headers(headers.clone()).body(body.clone());
                let answer = request.send().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
                answer.bytes().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
            }
            std::io::stdout().write_all(log.as_bytes()).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
            Ok::<_, StatusCode>(r#"{"Outputs":{},"Logs":[],"ReturnValue":null}"#)
        }
    };
    let routes = Router::new().route("/", get(|| async { "{}" })).route("/BlobCreated", post(work));
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    // Only latency is at stake, and the handler under test does the same.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, routes).await?)
}
