//! A request as all routes read it: its path, its query, and what it is about.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method};

use crate::fault_plan::Route;

/// Beginnings of paths that no storage account may be named after.
pub(super) const RESERVED: &[&str] =
    &["identity", "endpoints", "subscriptions", "history", "runs", "admin", "mlflow", "mferp", "discovery"];

/// One request: its path as segments, decoded.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) segments: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// Lists leave out jobs younger than this.
    pub(super) list_lag: Duration,
}

impl Call {
    /// The call and its body, which is kept apart since it can be read only once.
    pub(super) fn read(request: Request) -> Option<(Self, Body)> {
        let (parts, body) = request.into_parts();
        let uri = &parts.uri;
        let decode = |part: &str| {
            percent_encoding::percent_decode_str(part).decode_utf8().ok().map(std::borrow::Cow::into_owned)
        };
        let segments = uri.path().trim_start_matches('/').split('/').map(decode).collect::<Option<_>>()?;
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        Some((Self { method: parts.method, segments, query, headers: parts.headers, list_lag: Duration::ZERO }, body))
    }

    /// The first query parameter of this name, in any case; its value is decoded.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A header that is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The metadata that a blob is written with, by names in lower case.
    pub(super) fn metadata(&self) -> BTreeMap<String, String> {
        let named = self.headers.iter().filter_map(|(name, value)| {
            Some((name.as_str().strip_prefix("x-ms-meta-")?.to_owned(), value.to_str().ok()?.to_owned()))
        });
        named.collect()
    }

    /// The content type that a blob is written with. That of the request itself is the one of a block list, or of nothing.
    pub(super) fn content_type(&self) -> Option<String> {
        self.header("x-ms-blob-content-type").map(str::to_owned)
    }

    /// A browser asks on behalf of another site: by a name that this site lets point here, or with its own name as the origin.
    /// No client of the service does either.
    pub(super) fn is_of_another_site(&self) -> bool {
        let host = self.header("host").unwrap_or_default();
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let local = name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok();
        let origin = self.headers.get("origin").map(|origin| origin.to_str().unwrap_or_default());
        !local || origin.is_some_and(|origin| origin != format!("http://{host}"))
    }

    /// The group of routes that a call belongs to; `None` for the simulator's own.
    pub(super) fn group(&self) -> Option<Route> {
        let segments: Vec<&str> = self.segments.iter().map(String::as_str).collect();
        Some(match (self.method.as_str(), segments.as_slice()) {
            ("GET", ["identity", "oauth2", "token"])
            | ("POST", [_, "oauth2", "token"] | [_, "oauth2", "v2.0", "token"]) => Route::Identity,
            ("POST", ["endpoints", _, "jobs"]) => Route::Invoke,
            ("GET", ["endpoints", _, "jobs"] | ["endpoints", _, "jobs", _]) => Route::Poll,
            (_, [first, ..]) if first.eq_ignore_ascii_case("subscriptions") => Route::Arm,
            ("GET", ["mferp", "managementfrontend", "subscriptions", ..]) => Route::Poll,
            ("GET", ["history", "v1.0", "subscriptions", ..]) => Route::RunHistory,
            ("GET" | "HEAD" | "PUT" | "DELETE", [account, _, ..]) if !RESERVED.contains(account) => Route::Storage,
            _ => return None,
        })
    }

    /// The name of the job that a call is about.
    pub(super) fn job(&self) -> Option<&str> {
        let mut rest = self.segments.iter().map(String::as_str);
        rest.find(|segment| segment.eq_ignore_ascii_case("jobs") || *segment == "runs")?;
        rest.next()
    }
}
