//! What an HTTP function is sent and what it answers, whoever runs it.
//!
//! The Functions host sends an invocation with a request in it (`Data.req`), or the request itself, as its settings say; both
//! become an [`HttpRequest`]. An [`HttpAnswer`] is what the host's `http` binding takes, and Lambda's function URLs too.
//!
//! URL and headers hold the caller's key: neither is ever logged or told. Nothing is taken from `Host` or `X-Forwarded-*`, which
//! anybody may send: addresses in answers are paths.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lifecycle::redact::redacted;
use lifecycle::text::one_line;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded;

/// A request. Members as the Functions host has them.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HttpRequest {
    /// Its address, or the path of it alone.
    pub url: String,
    /// The HTTP verb of the request, such as `GET`.
    pub method: String,
    /// Headers: names as the client wrote them, each with its values.
    #[serde(default, deserialize_with = "one_or_many")]
    pub headers: BTreeMap<String, Vec<String>>,
    /// The body; none: there was none, or the host has lost it.
    #[serde(default)]
    pub body: Option<String>,
}

/// A host may write one value as a text.
fn one_or_many<'de, D: Deserializer<'de>>(reader: D) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Values {
        Many(Vec<String>),
        One(String),
        None,
    }
    let read = BTreeMap::<String, Values>::deserialize(reader)?;
    let values = |values| match values {
        Values::Many(values) => values,
        Values::One(value) => vec![value],
        Values::None => Vec::new(),
    };
    Ok(read.into_iter().map(|(name, of)| (name, values(of))).collect())
}

/// Without anything of it: the address and the headers hold a key.
impl std::fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpRequest(…)")
    }
}

/// Query parameters of who hands a request on: the host's key, and a gateway's.
const OF_THE_WAY: [&str; 3] = ["code", "clientId", "subscription-key"];
/// Characters of a parameter's name that are quoted.
const MAX_NAME: usize = 40;
/// What the host puts before each function's path (host.json).
const PREFIX: &str = "/api/";

impl HttpRequest {
    /// Path and query: of the host that the address names nothing is believed.
    fn behind_host(&self) -> &str {
        let rest = self.url.split_once("://").map(|(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        rest.unwrap_or(&self.url).split('#').next().unwrap_or_default()
    }

    /// The segments of the path behind `/api/`.
    pub fn segments(&self) -> Vec<&str> {
        let path = self.behind_host().split('?').next().unwrap_or_default();
        let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        if segments.first().is_some_and(|first| first.eq_ignore_ascii_case("api")) {
            segments.remove(0);
        }
        segments
    }

    /// The path behind `/api/` and this segment, with its query, as it came; `None`: nothing is behind it, not even a slash.
    pub fn below(&self, segment: &str) -> Option<&str> {
        let behind = |text: &str, begin: &str| text.get(..begin.len()).is_some_and(|it| it.eq_ignore_ascii_case(begin));
        let rest = self.behind_host();
        let rest = &rest[behind(rest, PREFIX).then_some(PREFIX.len())?..];
        let rest = &rest[behind(rest, segment).then_some(segment.len())?..];
        rest.starts_with('/').then_some(rest)
    }

    fn parameters(&self) -> form_urlencoded::Parse<'_> {
        let query = self.url.split_once('?').map(|(_, query)| query.split('#').next().unwrap_or_default());
        form_urlencoded::parse(query.unwrap_or_default().as_bytes())
    }

    /// The value of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.parameters().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Refuses a query parameter that is none of these, or comes twice: left aside, a misspelt filter would list everything, and a
    /// pipeline go on that should have failed. Names alone are quoted: a value may be a key.
    pub(super) fn refuse_parameters_but(&self, known: &[&str]) -> Result<(), HttpAnswer> {
        let mut seen = Vec::new();
        for (name, _) in self.parameters() {
            if OF_THE_WAY.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
                continue;
            }
            let found = known.iter().find(|known| known.eq_ignore_ascii_case(&name));
            let problem = match found {
                Some(known) if seen.contains(known) => format!("`{known}` stands twice in the address"),
                Some(known) => {
                    seen.push(*known);
                    continue;
                }
                None => {
                    let names = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                    format!("`{}` is no parameter of this address; expected {names}", one_line(&name, MAX_NAME))
                }
            };
            return Err(HttpAnswer::problem(400, "BadRequest", &problem));
        }
        Ok(())
    }

    /// A header, its values joined as on the wire.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .flat_map(|(_, values)| values.iter().map(String::as_str))
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// An answer. Members as the host's `http` binding and Lambda have them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAnswer {
    /// HTTP status that the client gets.
    pub status_code: u16,
    /// Headers of the answer, one value for each name.
    pub headers: BTreeMap<String, String>,
    /// JSON text; a value would be laid out anew by the host.
    pub body: String,
}

impl HttpAnswer {
    /// An answer of JSON, without secrets whatever it was made of.
    pub fn json(status_code: u16, body: &Value) -> Self {
        let headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { status_code, headers, body: redacted(&body.to_string()).into_owned() }
    }

    /// Why there is no other answer. `code` is for programs.
    pub fn problem(status_code: u16, code: &str, message: &str) -> Self {
        Self::json(status_code, &json!({ "error": { "code": code, "message": redacted(message) } }))
    }

    /// Adds a header to the answer; one of the same spelling is replaced.
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are written alike")]
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.insert(name.to_owned(), value.to_string());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> HttpRequest {
        HttpRequest { url: url.to_owned(), ..HttpRequest::default() }
    }

    #[test]
    fn path_and_query_are_read_out_of_an_address_or_a_path_and_the_host_is_not_asked() {
        for url in [
            "https://evil.example/api/scorings/abc?a=b%20c&code=k#f",
            "/api/Scorings/abc/?A=b+c",
            "/scorings/abc?a=b+c",
        ] {
            let request = of(url);
            assert!(request.segments()[0].eq_ignore_ascii_case("scorings"), "{url}");
            assert_eq!((request.segments()[1], request.query("a").as_deref()), ("abc", Some("b c")), "{url}");
        }
        assert_eq!(of("https://evil.example").segments(), [""; 0]);
    }

    #[test]
    fn what_is_below_a_segment_is_told_with_its_query_and_nothing_of_the_host() {
        for (url, below) in [
            ("https://evil.example/api/ops/scorings/0a?q=a%20b#f", Some("/scorings/0a?q=a%20b")),
            ("/api/Ops/", Some("/")),
            ("/API/ops/?q=x/y", Some("/?q=x/y")),
            ("/api/ops", None),
            ("https://evil.example/api/ops?q=x", None),
            ("/api/opsx/y", None),
            ("/ops/y", None),
            ("/api/öps/", None),
            ("https://evil.example", None),
        ] {
            assert_eq!(of(url).below("ops"), below, "{url}");
        }
    }

    #[test]
    fn headers_are_found_in_any_case_and_come_as_texts_or_lists() {
        let read: HttpRequest = serde_json::from_value(json!({
            "Url": "/api/scorings", "Method": "POST", "Query": {"code": "k"}, "Identities": [],
            "Headers": {"idempotency-KEY": ["1", "2"], "X": "y", "Z": null}, "Body": "{}"
        }))
        .unwrap();
        assert_eq!(read.header("Idempotency-Key").as_deref(), Some("1, 2"));
        assert_eq!((read.header("x").as_deref(), read.header("z"), read.header("w")), (Some("y"), None, None));
        assert_eq!(format!("{read:?}"), "HttpRequest(…)");
    }

    #[test]
    fn no_answer_shows_a_secret_whatever_it_is_made_of() {
        let signed = "https://a.blob.core.windows.net/c/x?sv=1&sig=SECRETSECRETSECRET";
        for answer in [HttpAnswer::json(200, &json!({ "uri": signed })), HttpAnswer::problem(400, "BadRequest", signed)]
        {
            assert!(
                answer.body.contains("blob.core.windows.net") && !answer.body.contains("SECRET"),
                "{}",
                answer.body
            );
        }
    }
}
