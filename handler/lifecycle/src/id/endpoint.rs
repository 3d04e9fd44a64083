//! Batch endpoints: the invoke URI, parsed once, and the keys that name it and its deployments in rows.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use url::Url;

use super::name::{DeploymentName, text};
use crate::digest::{digest, is_digest};
use crate::uri::{is_loopback, without_query};

/// The invoke URI of a batch endpoint, as the studio shows it (`https://ENDPOINT.REGION.inference.ml.azure.com/jobs`).
///
/// It is https, or http to this machine: a token must not travel in the clear. It keeps the text that was given, which is
/// what people see and rows hold, beside the parsed form and the key, so that nothing parses or hashes it again. Two are
/// equal if they name the same endpoint, that is if their keys are equal, however they are spelled.
#[derive(Clone)]
pub struct EndpointUri(Arc<Parsed>);

struct Parsed {
    text: String,
    url: Url,
    /// What the keys are made of.
    canonical: String,
    key: EndpointKey,
}

/// The longest invoke URI, in characters. It stands in rows, in reasons and in commands.
const MAX_LENGTH: usize = 1_024;

/// Why a text is no [`EndpointUri`]. Queries are left out: people paste URLs with keys in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpointUri {
    /// Not a URL at all.
    #[error("`{text}` is not a URL ({source}); expected https://ENDPOINT.REGION.inference.ml.azure.com/jobs")]
    NoUrl {
        /// What was given, without its query.
        text: String,
        /// What the parser says about it.
        source: url::ParseError,
    },
    /// Plain http to another machine.
    #[error("`{0}` is plain http, which would send a token in the clear; use https (http is for loopback hosts only)")]
    Clear(
        /// What was given, without its query.
        String,
    ),
    /// Longer than any address that a host has.
    #[error("the URI has {0} characters; it takes {MAX_LENGTH} at most")]
    Long(
        /// The length of what was given, in characters.
        usize,
    ),
    /// Another path than that of invoking. The studio's page of an endpoint and its ARM id are pasted too.
    #[error("`{0}` does not end in `/jobs`; copy the endpoint's REST endpoint (scoringUri) as it is")]
    NoJobs(
        /// What was given, without its query.
        String,
    ),
    /// With a query, a fragment or user information, which is where secrets stand. Authorization is the identity's.
    #[error("`{0}` has a query, a fragment or a user name; leave it out, the identity is used")]
    Extra(
        /// What was given, without them.
        String,
    ),
    /// The scheme is neither https nor http: nothing can be sent there.
    #[error("`{text}` has the scheme `{scheme}`; expected https")]
    Scheme {
        /// What was given, without its query.
        text: String,
        /// The scheme that it has.
        scheme: String,
    },
}

impl EndpointUri {
    /// The URI as it was given.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The URI in parsed form, to send requests to.
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// The endpoint's name, where the URI tells it for certain: the first label of an inference host
    /// (`NAME.REGION.inference.…`), or what follows `batchEndpoints/` in the path. `None` of a gateway or an emulator: what
    /// their paths mean is theirs.
    pub fn name(&self) -> Option<&str> {
        let mut segments = self.url().path_segments()?;
        if segments.any(|segment| segment.eq_ignore_ascii_case("batchEndpoints")) {
            return segments.next().filter(|name| !name.is_empty());
        }
        let (front, _) = self.url().domain()?.split_once(".inference.")?;
        front.split('.').next()
    }

    /// The key that names the endpoint in rows.
    pub fn key(&self) -> &EndpointKey {
        &self.0.key
    }

    /// The key that names one of the endpoint's deployments in rows; `None` is the default deployment, whichever Azure ML
    /// takes for it.
    pub fn deployment_key(&self, deployment: Option<&DeploymentName>) -> EndpointKey {
        EndpointKey(digest(&[&self.0.canonical, deployment.map_or("", DeploymentName::as_str)]).into())
    }
}

text!(EndpointUri);

impl FromStr for EndpointUri {
    type Err = InvalidEndpointUri;

    fn from_str(text: &str) -> Result<Self, InvalidEndpointUri> {
        let shown = || without_query(text).to_owned();
        let length = text.chars().count();
        if length > MAX_LENGTH {
            return Err(InvalidEndpointUri::Long(length));
        }
        let url = Url::parse(text).map_err(|source| InvalidEndpointUri::NoUrl { text: shown(), source })?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(InvalidEndpointUri::Clear(shown())),
            other => return Err(InvalidEndpointUri::Scheme { text: shown(), scheme: other.to_owned() }),
        }
        // Before what is more than it: without that a page of the studio would be no endpoint either.
        if !url.path().trim_end_matches('/').ends_with("/jobs") {
            return Err(InvalidEndpointUri::NoJobs(shown()));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            let bare = format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path());
            return Err(InvalidEndpointUri::Extra(bare));
        }
        let canonical = canonical(url.clone());
        let key = EndpointKey(digest(&[&canonical]).into());
        Ok(Self(Arc::new(Parsed { text: text.to_owned(), url, canonical, key })))
    }
}

impl PartialEq for EndpointUri {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.key == other.0.key
    }
}

impl Eq for EndpointUri {}

impl Hash for EndpointUri {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl PartialOrd for EndpointUri {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EndpointUri {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

/// Names an endpoint, or one deployment of it, in keys of rows: the first 32 hex digits of SHA-256 over the invoke URI, with
/// the host in lower case and without a port that is the scheme's own, a query or slashes at the end; for a deployment
/// followed by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey(Arc<str>);

/// A text that is not 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is an invalid endpoint key; it takes 32 lower-case hex digits")]
pub struct InvalidKey(pub String);

impl EndpointKey {
    /// The key of a text that need not be a good invoke URI. What is not a URL has a key too: that of itself.
    pub fn of(uri: &str) -> Self {
        Self(digest(&[&Url::parse(uri).map_or_else(|_| uri.to_owned(), canonical)]).into())
    }

    /// The key of one deployment behind an invoke URI; `None` is the endpoint's default deployment.
    #[doc(hidden)]
    pub fn of_deployment(uri: &str, deployment: Option<&str>) -> Self {
        Self(
            digest(&[&Url::parse(uri).map_or_else(|_| uri.to_owned(), canonical), deployment.unwrap_or_default()])
                .into(),
        )
    }

    /// The 32 digits, as rows have them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EndpointKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        if is_digest(text) { Ok(Self(text.into())) } else { Err(InvalidKey(text.to_owned())) }
    }
}

impl fmt::Display for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn canonical(mut url: Url) -> String {
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
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
        assert_eq!(key.as_str().parse(), Ok(key));
        assert!("16edc0cc".parse::<EndpointKey>().is_err());
    }

    #[test]
    fn a_uri_keeps_its_text_and_is_equal_to_every_spelling_of_its_endpoint() {
        let uri: EndpointUri = "https://E.example:443/jobs/".parse().expect("a URI");
        assert_eq!((uri.as_str(), uri.url().host_str()), ("https://E.example:443/jobs/", Some("e.example")));
        let other: EndpointUri = "https://e.example/jobs".parse().expect("a URI");
        assert_eq!(std::collections::HashSet::from([uri.clone(), other.clone()]).len(), 1);
        assert_eq!((uri.cmp(&other), uri.key()), (Ordering::Equal, other.key()));
        assert_ne!(uri, "https://f.example/jobs".parse().expect("a URI"));
    }

    #[test]
    fn a_uri_that_is_refused_is_shown_without_its_query() {
        for bad in ["http://10.0.0.1/jobs?code=SECRET", "ftp://e.example/?sig=SECRET", "jobs?key=SECRET"] {
            let error = bad.parse::<EndpointUri>().expect_err("refused").to_string();
            assert!(error.contains(without_query(bad)) && !error.contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn what_never_takes_an_invoke_is_no_uri_of_one() {
        for (bad, part) in [
            ("https://e.example/", "does not end in `/jobs`"),
            ("https://e.example/jobs/j1", "does not end in `/jobs`"),
            ("https://e.example/myjobs", "does not end in `/jobs`"),
            ("https://e.example/jobs?api-version=1", "has a query"),
            ("https://e.example/jobs#x", "has a query"),
            ("https://name:PASSWORD@e.example/jobs", "`https://e.example/jobs` has a query, a fragment or a user name"),
        ] {
            let error = bad.parse::<EndpointUri>().expect_err("refused").to_string();
            assert!(error.contains(part) && !error.contains("PASSWORD"), "{error}");
        }
        let old = "https://r.api.azureml.ms/mferp/managementfrontend/subscriptions/s/batchEndpoints/e/jobs";
        assert!(old.parse::<EndpointUri>().is_ok());
    }

    #[test]
    fn deployments_of_one_endpoint_differ() {
        let uri: EndpointUri = "https://e.example/jobs".parse().expect("a URI");
        let of = |deployment: Option<&str>| {
            uri.deployment_key(deployment.map(|name| name.parse().expect("a name")).as_ref())
        };
        assert_ne!(of(Some("v7")), of(Some("v8")));
        assert_ne!(of(None), of(Some("v7")));
        assert_ne!(of(None), *uri.key());
        assert_eq!(*uri.key(), EndpointKey::of("https://e.example/jobs"));
    }

    #[test]
    fn http_is_for_loopback_only() {
        for good in
            ["http://127.0.0.1:9/jobs", "http://localhost:1/jobs", "http://[::1]:1/jobs", "https://e.example/jobs"]
        {
            assert!(good.parse::<EndpointUri>().is_ok(), "{good}");
        }
        for bad in ["http://10.0.0.1/jobs", "http://localhost.example/jobs", "ftp://127.0.0.1/", "jobs"] {
            assert!(bad.parse::<EndpointUri>().is_err(), "{bad}");
        }
    }
}
