//! What somebody asks to be scored who uploads nothing: a rule, a blob that it accepts, and values for parameters that it declares.
//!
//! Whoever may ask holds a key of the function app, and no right of its identity. So a request never names a URI, a host, a
//! datastore, a deployment or an identity: by one of these the app's token could be sent anywhere, or its rights be used to read
//! anything. What it may name is what the rule says already.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::json;
use serde_json::value::RawValue;

use crate::callback::{CallbackHosts, CallbackUri, InvalidCallback};
use crate::digest::digest;
use crate::id::AccountName;
use crate::payload::{each_member, string};
use crate::rule::Rule;
use crate::text::one_line;
use crate::unversioned::{MAX_PATH, UnversionedBlob};

/// Bytes that a request may have. A path of 1,024 characters takes 12 kB at most, and parameters are few.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Characters of all values together, so that a row holds them.
const MAX_PARAMETERS: usize = 8_000;
/// Characters of an idempotency key.
const MAX_KEY: usize = 256;
/// Characters of a name or value that are shown.
const SHOWN: usize = 100;

/// Members that would choose where something is sent to, or read from, by whom.
const NEVER: [&str; 12] = [
    "uri",
    "url",
    "endpoint",
    "host",
    "input",
    "inputs",
    "output",
    "outputs",
    "datastore",
    "deployment",
    "identity",
    "settings",
];

/// What the body of a request for a scoring asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRequest {
    /// Id of the rule to score under, which is not looked up here.
    pub rule: String,
    /// The container, decoded: what stands before the first slash of the member `blob`.
    pub container: String,
    /// The blob's path in it, decoded.
    pub path: String,
    /// The blob's account, where the rule names none and events of several arrive.
    pub account: Option<AccountName>,
    /// Values for parameters of the rule, by name, as texts that are sent.
    pub parameters: BTreeMap<String, String>,
    /// Scored once more, as a generation of its own, also where it was scored.
    pub again: bool,
    /// Whom to tell of the end.
    pub callback: Option<CallbackUri>,
}

/// Why a request cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStart {
    /// The request has no body, or one of white space alone.
    #[error("the request has no body; expected JSON such as {EXAMPLE}")]
    Empty,
    /// It is not what it should be.
    #[error("the body is not a JSON object; expected {EXAMPLE}")]
    NotAnObject,
    /// Something that only a rule says.
    #[error(
        "`{0}` is not for a request to say: the rule says where its scorings go, what they read and by whom; remove it"
    )]
    Never(String),
    /// A member that a request does not have, cut: probably a typing error.
    #[error("`{0}` is not known; there are rule, blob, account, parameters, again, callBackUri")]
    Unknown(String),
    /// A member is there twice, or a parameter is, and nobody guesses which one holds.
    #[error("`{0}` stands twice; remove one of them")]
    Twice(&'static str),
    /// A member that each request must have is not there: `rule` or `blob`.
    #[error("`{0}` is missing; expected {EXAMPLE}")]
    Missing(&'static str),
    /// A member is there whose value is not of the form that it must have.
    #[error("`{member}` is not {expected}")]
    Form {
        /// Name of the member; of one parameter `parameters.NAME`.
        member: String,
        /// The form that is expected, as it follows on "is not" in the message.
        expected: &'static str,
    },
    /// The blob is named by a URI.
    #[error("`blob` is `{0}`; expected CONTAINER/PATH, decoded, such as claims/eu/a.csv: a request names no URI")]
    Blob(String),
    /// Nobody may be told there.
    #[error(transparent)]
    Callback(#[from] InvalidCallback),
}

const EXAMPLE: &str = r#"{"rule": "claims", "blob": "CONTAINER/PATH"}"#;

impl StartRequest {
    /// Reads a request's body. `hosts`: those that may be called back.
    pub fn read(body: &str, hosts: &CallbackHosts) -> Result<Self, InvalidStart> {
        if body.trim().is_empty() {
            return Err(InvalidStart::Empty);
        }
        let mut read = Reading::default();
        let mut wrong = None;
        let object = each_member(body, |name, value| {
            if wrong.is_none() {
                wrong = read.member(name, value, hosts).err();
            }
        });
        object.ok_or(InvalidStart::NotAnObject)?;
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let (container, path) = read.blob.ok_or(InvalidStart::Missing("blob"))?;
        Ok(Self {
            rule: read.rule.ok_or(InvalidStart::Missing("rule"))?,
            container,
            path,
            account: read.account,
            parameters: read.parameters.unwrap_or_default(),
            again: read.again.unwrap_or(false),
            callback: read.callback,
        })
    }

    /// A start of this blob under a rule, by somebody who names it so.
    pub fn of_blob(rule: &str, blob: &UnversionedBlob, parameters: BTreeMap<String, String>, again: bool) -> Self {
        let (container, path) = (blob.container.clone(), blob.path.clone());
        Self {
            rule: rule.to_owned(),
            container,
            path,
            account: blob.account.parse().ok(),
            parameters,
            again,
            callback: None,
        }
    }

    /// The same for the same request, however it is written. Whom to tell is not part of it: an orchestrator that asks again listens
    /// at another address.
    pub fn digest(&self) -> String {
        let Self { rule, container, path, account, parameters, again, callback: _ } = self;
        digest(&["start", &json!([rule, container, path, account.as_deref(), parameters, again]).to_string()])
    }

    /// The name of a parameter that the rule does not declare.
    pub fn undeclared(&self, rule: &Rule) -> Option<&str> {
        let declared = |name: &&str| rule.parameters().any(|declared| declared == *name);
        self.parameters.keys().map(String::as_str).find(|name| !declared(name))
    }
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    rule: Option<String>,
    blob: Option<(String, String)>,
    account: Option<AccountName>,
    parameters: Option<BTreeMap<String, String>>,
    again: Option<bool>,
    callback: Option<CallbackUri>,
}

impl Reading {
    fn member(&mut self, name: &str, value: &RawValue, hosts: &CallbackHosts) -> Result<(), InvalidStart> {
        let text = |expected| string(value).ok_or(InvalidStart::Form { member: name.to_owned(), expected });
        match name {
            "rule" => once("rule", &mut self.rule, text("the id of a rule")?.into_owned()),
            "blob" => once("blob", &mut self.blob, blob(&text("a text")?)?),
            "account" => {
                let form = || InvalidStart::Form {
                    member: "account".to_owned(),
                    expected: "the name of a storage account, without a host",
                };
                once("account", &mut self.account, text("a text")?.parse().map_err(|_| form())?)
            }
            "parameters" => once("parameters", &mut self.parameters, parameters(value)?),
            "again" => {
                let expected = "true or false";
                let again = serde_json::from_str(value.get());
                let again = again.map_err(|_| InvalidStart::Form { member: "again".to_owned(), expected })?;
                once("again", &mut self.again, again)
            }
            "callBackUri" => once("callBackUri", &mut self.callback, CallbackUri::read(&text("a text")?, hosts)?),
            other if NEVER.iter().any(|never| never.eq_ignore_ascii_case(other)) => {
                Err(InvalidStart::Never(one_line(other, SHOWN)))
            }
            other => Err(InvalidStart::Unknown(one_line(other, SHOWN))),
        }
    }
}

fn once<T>(name: &'static str, slot: &mut Option<T>, value: T) -> Result<(), InvalidStart> {
    if slot.replace(value).is_some() { Err(InvalidStart::Twice(name)) } else { Ok(()) }
}

/// Container and path. A name with a scheme before it is a URI, whatever a container may be called.
fn blob(text: &str) -> Result<(String, String), InvalidStart> {
    let parted = text.split_once('/').filter(|(container, path)| {
        let plain = |part: &str| !part.is_empty() && !part.chars().any(char::is_control);
        plain(container) && plain(path) && !container.contains([':', '?', '#', '\\'])
    });
    let parted = parted.filter(|(_, path)| path.chars().count() <= MAX_PATH);
    let (container, path) = parted.ok_or_else(|| InvalidStart::Blob(one_line(text, SHOWN)))?;
    Ok((container.to_owned(), path.to_owned()))
}

/// Texts as they are, numbers and booleans as they are written.
fn parameters(value: &RawValue) -> Result<BTreeMap<String, String>, InvalidStart> {
    let (mut values, mut wrong, mut characters) = (BTreeMap::new(), None, 0);
    let object = each_member(value.get(), |name, value| {
        let raw = value.get();
        let scalar = match raw.as_bytes().first() {
            Some(b'"') => string(value).map(std::borrow::Cow::into_owned),
            Some(b'{' | b'[' | b'n') | None => None,
            Some(_) => Some(raw.to_owned()),
        };
        characters += name.chars().count() + raw.chars().count();
        if let Some(text) = scalar {
            if values.insert(name.to_owned(), text).is_some() {
                wrong = Some(InvalidStart::Twice("parameters"));
            }
        } else {
            let member = format!("parameters.{}", one_line(name, SHOWN));
            wrong = Some(InvalidStart::Form { member, expected: "a text, a number, true or false" });
        }
    });
    let form = |expected| InvalidStart::Form { member: "parameters".to_owned(), expected };
    object.ok_or_else(|| form("an object: values by name"))?;
    if characters > MAX_PARAMETERS {
        return Err(form("within 8,000 characters"));
    }
    wrong.map_or(Ok(values), Err)
}

/// An idempotency key: whoever sends one request several times with one gets one scoring. Kept as a digest, together with its rule.
#[derive(Clone, PartialEq, Eq)]
pub struct StartKey(String);

/// A text that is no idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`Idempotency-Key` takes 1 to {MAX_KEY} visible ASCII characters without a comma, such as a run's id and a file's name; and it is sent once"
)]
pub struct InvalidKey;

impl StartKey {
    /// Reads a key. Of a header that was sent twice a host makes one with a comma.
    pub fn read(text: &str) -> Result<Self, InvalidKey> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if visible && (1..=MAX_KEY).contains(&text.len()) { Ok(Self(text.to_owned())) } else { Err(InvalidKey) }
    }

    /// The key itself, for the row of an order that is given by it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What stands for it in the ledger.
    pub fn digest(&self, rule: &str) -> String {
        digest(&["key", rule, &self.0])
    }
}

impl fmt::Debug for StartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StartKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rules;

    fn read(body: &str) -> Result<StartRequest, InvalidStart> {
        StartRequest::read(body, &CallbackHosts::data_factory())
    }

    #[test]
    fn a_request_names_a_rule_a_blob_and_values_and_is_the_same_however_it_is_written() {
        let request =
            read(r#"{"rule":"r","blob":"con/eu/ä b%.csv","parameters":{"t":1e5,"s":"x","b":true},"again":true}"#)
                .unwrap();
        assert_eq!((request.container.as_str(), request.path.as_str()), ("con", "eu/ä b%.csv"));
        assert_eq!(request.parameters["t"], "1e5", "no digit is lost");
        let again = r#" {"again":true, "parameters":{"b":true,"s":"x","t":1e5}, "blob":"con/eu/\u00e4 b%.csv", "rule":"r",
            "callBackUri":"https://x.svc.datafactory.azure.com/a?t=1"}"#;
        assert_eq!(read(again).unwrap().digest(), request.digest());
        for other in [
            r#"{"rule":"q","blob":"con/eu/ä b%.csv","parameters":{"t":1e5,"s":"x","b":true},"again":true}"#,
            r#"{"rule":"r","blob":"con/eu/ä b.csv","parameters":{"t":1e5,"s":"x","b":true},"again":true}"#,
            r#"{"rule":"r","blob":"con/eu/ä b%.csv","parameters":{"t":2e5,"s":"x","b":true},"again":true}"#,
            r#"{"rule":"r","blob":"con/eu/ä b%.csv","parameters":{"t":1e5,"s":"x","b":true}}"#,
            r#"{"rule":"r","blob":"con/eu/ä b%.csv","account":"abc","parameters":{"t":1e5,"s":"x","b":true},"again":true}"#,
        ] {
            assert_ne!(read(other).unwrap().digest(), request.digest(), "{other}");
        }
    }

    #[test]
    fn what_only_a_rule_says_is_refused_by_name() {
        for never in NEVER {
            let error = read(&format!(r#"{{"rule":"r","blob":"c/x","{never}":"y"}}"#)).unwrap_err();
            assert_eq!(error, InvalidStart::Never(never.to_owned()));
        }
        for blob in [
            "https://evil.example/c/x.csv",
            "https://a.blob.core.windows.net/c/x.csv",
            "azureml://datastores/d/paths/x",
            "c",
            "/c/x",
            "c/",
            "c?x/y",
            "\\\\host/share",
            "c/x\u{7}.csv",
            "c\n/x.csv",
            &format!("c/{}", "x".repeat(MAX_PATH + 1)),
        ] {
            let error = read(&json!({"rule": "r", "blob": blob}).to_string()).unwrap_err();
            assert!(matches!(error, InvalidStart::Blob(_)), "{blob}: {error:?}");
        }
        let account = read(r#"{"rule":"r","blob":"c/x","account":"evil.example"}"#).unwrap_err();
        assert!(account.to_string().contains("without a host"), "{account}");
    }

    #[test]
    fn what_is_no_request_says_what_is_wrong_with_it() {
        for (body, told) in [
            (" ", "no body"),
            ("[]", "not a JSON object"),
            ("{", "not a JSON object"),
            (r#"{"blob":"c/x"}"#, "`rule` is missing"),
            (r#"{"rule":"r"}"#, "`blob` is missing"),
            (r#"{"rule":1,"blob":"c/x"}"#, "`rule` is not the id"),
            (r#"{"rule":"r","rule":"q","blob":"c/x"}"#, "`rule` stands twice"),
            (r#"{"rule":"r","blob":"c/x","again":1}"#, "`again` is not true or false"),
            (r#"{"rule":"r","blob":"c/x","what":1}"#, "`what` is not known"),
            (r#"{"rule":"r","blob":"c/x","parameters":[]}"#, "an object: values by name"),
            (r#"{"rule":"r","blob":"c/x","parameters":{"a":{}}}"#, "`parameters.a` is not a text"),
            (r#"{"rule":"r","blob":"c/x","parameters":{"a":null}}"#, "`parameters.a` is not a text"),
            (r#"{"rule":"r","blob":"c/x","parameters":{"a":1,"a":2}}"#, "stands twice"),
        ] {
            let error = read(body).unwrap_err().to_string();
            assert!(error.contains(told), "{body}: {error}");
        }
        let long = json!({"rule": "r", "blob": "c/x", "parameters": {"a": "x".repeat(8_001)}}).to_string();
        assert!(read(&long).unwrap_err().to_string().contains("8,000"));
    }

    #[test]
    fn a_value_is_given_to_a_declared_parameter_only_and_replaces_what_the_rule_says() {
        let text = r#"{"rules":[{"id":"r","match":{"container":"con"},"endpoint":{"uri":"https://e.example/jobs"},"inputs":{
            "t":{"type":"Literal","value":0.5,"parameter":true},"n":{"type":"Literal","template":"{blob.name}","parameter":true},
            "fixed":{"type":"Literal","value":"x"}}}]}"#;
        let rules = Rules::read(text).unwrap();
        let rule = rules.get("r").unwrap();
        assert_eq!(rule.parameters().collect::<Vec<_>>(), ["n", "t"]);
        let asks =
            |name: &str| read(&format!(r#"{{"rule":"r","blob":"con/x","parameters":{{"{name}":0.7}}}}"#)).unwrap();
        assert_eq!(asks("t").undeclared(rule), None);
        assert_eq!(asks("fixed").undeclared(rule), Some("fixed"));
        let blob = crate::BlobVersion::read("https://a.blob.core.windows.net/con/x.csv", "1").unwrap();
        let ledger = crate::LedgerId::of_random([1; 16]);
        let mut scoring = crate::Scoring::accept(&ledger, rule, blob, time::macros::datetime!(2026-07-21 10:00 UTC));
        let sent = |scoring: &crate::Scoring| rule.submission(scoring, 1).inputs;
        let literal = |value: &str| crate::job::Input::Literal { value: value.to_owned() };
        assert_eq!((&sent(&scoring)["t"], &sent(&scoring)["n"]), (&literal("0.5"), &literal("x.csv")));
        // `fixed` too, as a row may be of a rule that has changed since: what is not declared is not replaced.
        let parameters = ["t", "n", "fixed"].map(|name| (name.to_owned(), "{blob.url}".to_owned())).into();
        scoring.start = crate::scoring::StartOf { key: None, parameters }.boxed();
        assert_eq!((&sent(&scoring)["t"], &sent(&scoring)["n"]), (&literal("{blob.url}"), &literal("{blob.url}")));
        assert_eq!(sent(&scoring)["fixed"], literal("x"));
    }

    #[test]
    fn a_key_is_visible_short_and_sent_once_and_counts_for_one_rule() {
        assert!(StartKey::read("1, 2").is_err() && StartKey::read("").is_err() && StartKey::read("ä").is_err());
        assert!(StartKey::read(&"x".repeat(MAX_KEY + 1)).is_err());
        let key = StartKey::read("3f0c9a1e:eu/a.csv").unwrap();
        assert_ne!(key.digest("r"), key.digest("q"));
        assert!(!format!("{key:?}").contains("3f0c"), "a key may be anything that its sender has");
    }
}
