//! Batch endpoints: the invoke URI, and the key that names it in rows.

use std::fmt;

use url::Url;

use crate::digest::{digest, is_digest};
use crate::uri::is_loopback;

/// Names an endpoint in keys of rows: the first 32 hex digits of SHA-256 over its invoke URI, with the host in lower
/// case and without a port that is the scheme's own, a query or slashes at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey(String);

impl EndpointKey {
    /// The key of an invoke URI. A text that is no URL has a key too: that of itself.
    pub fn of(uri: &str) -> Self {
        Self::of_parts(uri, None)
    }

    /// The key of one deployment behind an invoke URI; `None` is the endpoint's default deployment.
    pub fn of_deployment(uri: &str, deployment: Option<&str>) -> Self {
        Self::of_parts(uri, Some(deployment.unwrap_or_default()))
    }

    fn of_parts(uri: &str, deployment: Option<&str>) -> Self {
        let uri = canonical(uri);
        Self(match deployment {
            None => digest(&[&uri]),
            Some(deployment) => digest(&[&uri, deployment]),
        })
    }

    /// Reads a key: exactly 32 lower-case hex digits.
    pub fn read(text: &str) -> Option<Self> {
        is_digest(text).then(|| Self(text.to_owned()))
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn canonical(uri: &str) -> String {
    let Ok(mut url) = Url::parse(uri) else { return uri.to_owned() };
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

/// Checks an endpoint's URI: https, or http on loopback (simulator, tests).
pub fn endpoint_uri(uri: &str) -> Result<Url, String> {
    let url = Url::parse(uri).map_err(|e| {
        format!("`{uri}` is no URL ({e}); expected https://ENDPOINT.REGION.inference.ml.azure.com/jobs")
    })?;
    let ours = is_loopback(&url);
    match url.scheme() {
        "https" => Ok(url),
        "http" if ours => Ok(url),
        "http" => Err(format!(
            "`{uri}` is plain http, which would send a token in the clear; use https (http is for loopback hosts only)"
        )),
        other => Err(format!("`{uri}` has the scheme `{other}`; expected https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_endpoint_has_one_key_however_it_is_written() {
        let key = EndpointKey::of("https://e.example/jobs");
        for same in ["https://E.EXAMPLE/jobs", "https://e.example:443/jobs/", "https://e.example/jobs?x=1#y"] {
            assert_eq!(EndpointKey::of(same), key, "{same}");
        }
        for other in ["https://e.example/Jobs", "https://e.example:8443/jobs", "http://e.example/jobs", "jobs"] {
            assert_ne!(EndpointKey::of(other), key, "{other}");
        }
        // Pinned: a change of this value forgets which slots are taken.
        assert_eq!(key.as_str(), "16edc0cce843097f4b275ab290f4fb25");
        assert_eq!(key.to_string(), key.as_str());
        assert_eq!(EndpointKey::read(key.as_str()), Some(key));
        assert_eq!(EndpointKey::read("16edc0cc"), None);
    }

    #[test]
    fn deployments_of_one_endpoint_differ() {
        let of = |deployment| EndpointKey::of_deployment("https://e.example/jobs", deployment);
        assert_ne!(of(Some("v7")), of(Some("v8")));
        assert_ne!(of(None), of(Some("v7")));
        assert_ne!(of(None), EndpointKey::of("https://e.example/jobs"));
    }

    #[test]
    fn http_is_for_loopback_only() {
        for good in
            ["http://127.0.0.1:9/jobs", "http://localhost:1/jobs", "http://[::1]:1/jobs", "https://e.example/jobs"]
        {
            assert!(endpoint_uri(good).is_ok(), "{good}");
        }
        for bad in ["http://10.0.0.1/jobs", "http://localhost.example/jobs", "ftp://127.0.0.1/", "jobs"] {
            assert!(endpoint_uri(bad).is_err(), "{bad}");
        }
    }
}
