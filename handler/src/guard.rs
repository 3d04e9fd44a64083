//! Whom a server on this machine answers: who was sent here by the user, or by the Functions host, and not by another site.
//!
//! Neither the page of `local` nor the handler asks for a password: both are for this machine alone. So any site that this
//! machine's browser visits could read them, by a name of its own that it lets point to 127.0.0.1 (DNS rebinding), or have them
//! asked (CSRF; a form or a script may send `text/plain` anywhere). A browser says both: the name in `Host`, the site in `Origin`.
//! The Functions host calls the handler by 127.0.0.1 and sends no `Origin`. What it hands on of clients as it came, below `/api/`, has
//! the clients' own headers, and goes by the key that the host has checked (`hosts::azure::forwarded`).
//!
//! Source: Azure/azure-functions-host, `DefaultHttpWorkerService`.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
#[cfg(feature = "dev")]
use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// Which names in `Host` are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Addresses, and `localhost`: nobody can let these point elsewhere.
    Local,
    /// Any: the page was opened to the network, where it has whatever name the network gives it.
    #[cfg(feature = "dev")]
    Any,
}

/// Refuses what another site has the browser ask.
#[cfg(feature = "dev")] // the handler answers in JSON
pub(crate) async fn guard(State(names): State<Names>, request: Request, next: Next) -> Response {
    match refused(names, request.headers()) {
        None => next.run(request).await,
        Some(why) => (StatusCode::FORBIDDEN, why).into_response(),
    }
}

/// Why a request with these headers is refused, if it is.
pub(crate) fn refused(names: Names, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or_default();
    if names == Names::Local && !is_local(host) {
        return Some("nothing is served under this name; use the address\n");
    }
    match text(header::ORIGIN) {
        Some(origin) if origin != format!("http://{host}") => Some("other sites get no answer here\n"),
        _ => None,
    }
}

/// Whether a `Host` is an address or `localhost`.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(names: Names, host: Option<&str>, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        refused(names, &headers).is_none()
    }

    #[test]
    fn a_name_that_anybody_can_let_point_here_gets_no_answer() {
        for good in ["127.0.0.1:7072", "localhost:7072", "LOCALHOST", "[::1]:7072", "192.168.1.7:80"] {
            assert!(answered(Names::Local, Some(good), None), "{good}");
        }
        for bad in [
            None,
            Some(""),
            Some("evil.example:7072"),
            Some("localhost.evil.example"),
            Some("127.0.0.1.evil.example:80"),
        ] {
            assert!(!answered(Names::Local, bad, None), "{bad:?}");
        }
        assert!(answered(Names::Any, Some("build-7.lan:7072"), None), "it was opened to the network");
    }

    #[test]
    fn another_site_gets_no_answer_under_any_name() {
        let host = Some("127.0.0.1:7072");
        for names in [Names::Local, Names::Any] {
            assert!(answered(names, host, Some("http://127.0.0.1:7072")));
            for bad in ["http://evil.example", "null", "https://127.0.0.1:7072", "http://127.0.0.1:8080"] {
                assert!(!answered(names, host, Some(bad)), "{bad}");
            }
        }
    }
}
