//! What an answer means for the caller.
//!
//! The service's error code is in the body (`{"odata.error":…}`); it sends no `x-ms-error-code`, emulators and proxies
//! do. Nothing here prints more of an answer than its code and the first line of its message: authentication errors quote
//! the request's signature.
//!
//! Sources: *Table service error codes*, *Common REST API error codes*, *Status and error codes*.

use std::time::Duration;

use lifecycle::text::one_line;
use reqwest::header::HeaderName;
use serde::Deserialize;

use app::ports::table_store::Error;

/// The header that has the code, where one is sent.
pub(super) const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");

/// An error answer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Failure {
    pub(super) status: u16,
    /// The service's word, such as `EntityAlreadyExists`; empty if it said none.
    pub(super) code: String,
    /// First line of its message, without the operation's index.
    pub(super) message: String,
    /// The operation that the message names, in a transaction.
    pub(super) op: Option<usize>,
    pub(super) retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "odata.error")]
    error: Inner,
}

#[derive(Deserialize)]
struct Inner {
    code: String,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    value: String,
}

/// Codes by which the service says that it will never take this write: what is written is too large, or not of a form that it
/// takes. Any other 4xx may pass: a gateway or a proxy on the way says 400, 413 and 431 as well, and says nothing of these.
const REFUSED_FOR_GOOD: [&str; 13] = [
    "DuplicatePropertiesSpecified",
    "EntityTooLarge",
    "ContentLengthExceeded",
    "InvalidInput",
    "InvalidValueType",
    "KeyValueTooLarge",
    "OutOfRangeInput",
    "PropertiesNeedValue",
    "PropertyNameInvalid",
    "PropertyNameTooLong",
    "PropertyValueTooLarge",
    "RequestBodyTooLarge",
    "TooManyProperties",
];

/// Takes an error answer apart; `code_header` and `retry_after` are from its headers.
pub(super) fn failure(status: u16, code_header: Option<&str>, retry_after: Option<Duration>, body: &[u8]) -> Failure {
    let (code, message) = match serde_json::from_slice::<Body>(body) {
        Ok(Body { error }) => (error.code, error.message.map(|m| m.value).unwrap_or_default()),
        // Authentication is checked by another layer, which answers in XML.
        Err(_) => (xml_code(body).or(code_header).unwrap_or_default().to_owned(), String::new()),
    };
    let first = message.lines().next().unwrap_or_default();
    let (op, text) = match first.split_once(':') {
        Some((index, text)) if index.parse::<usize>().is_ok() => (index.parse().ok(), text),
        _ => (None, first),
    };
    Failure { status, code, message: one_line(text, 200), op, retry_after }
}

fn xml_code(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>").or_else(|| text.split_once("<m:code>"))?;
    let (code, _) = rest.split_once('<')?;
    code.bytes().all(|b| b.is_ascii_alphanumeric()).then_some(code)
}

/// What was asked for: decides what a failure means for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// A read: nothing can have happened.
    Read,
    /// A write; `op` is known if it was a single operation.
    Write {
        /// There was just one operation.
        single: bool,
    },
    /// A table is made: that it is there already is no failure of the account.
    CreateTable,
}

/// What the failure of such a request means in the store's terms: that nothing was done, which operation was at fault, or that nobody
/// knows.
pub(super) fn classify(kind: RequestKind, failure: &Failure) -> Error {
    let Failure { status, code, message, .. } = failure;
    let said = match (code.is_empty(), message.is_empty()) {
        (true, _) => format!("{status}"),
        (false, true) => format!("{status} {code}"),
        (false, false) => format!("{status} {code}: {message}"),
    };
    let op = match kind {
        RequestKind::Read | RequestKind::CreateTable | RequestKind::Write { single: true } => Some(0),
        RequestKind::Write { single: false } => failure.op,
    };
    // Nothing was written, but which operation failed? Only reading back can tell.
    let named = |error: fn(usize) -> Error| op.map_or_else(|| Error::Ambiguous(said.clone()), error);
    let coded = || if code.is_empty() { status.to_string() } else { format!("{status} {code}") };
    match (*status, code.as_str()) {
        (409, "TableAlreadyExists") if kind == RequestKind::CreateTable => Error::AlreadyExists { op: 0 },
        (409, "EntityAlreadyExists") => named(|op| Error::AlreadyExists { op }),
        (412, _) => named(|op| Error::Conflict { op }),
        (404, "TableNotFound") => Error::TableMissing,
        (404, "ResourceNotFound" | "EntityNotFound") => named(|op| Error::Missing { op }),
        (429, _) | (503, "ServerBusy") => Error::Throttled { retry_after: failure.retry_after },
        // Without the message: it quotes the request's signature.
        (401, _) => Error::Denied(format!(
            "{}: the service does not accept the identity's token, also not a new one; the identity must be of the account's tenant, and the clock right",
            coded()
        )),
        (403, _) => Error::Denied(format!(
            "{}: the identity is known and may not do this; it needs the role Storage Table Data Contributor on the account, and the account's firewall must let it in",
            coded()
        )),
        // Another 404 or 409 is about the account or a table that is just going: not an entity's absence.
        (404 | 409, _) => Error::Unavailable(said),
        (400..=499, code) if REFUSED_FOR_GOOD.contains(&code) => Error::Refused(said),
        // Whoever refused it, the service did not do it; the next one to come by may get through.
        (400..=499, _) if *status != 408 => Error::Unavailable(said),
        // 500 OperationTimedOut, gateways' 502 and 504 and whatever else: the write may have been done.
        _ if kind == RequestKind::Read => Error::Unavailable(said),
        _ => Error::Ambiguous(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(code: &str, message: &str) -> Vec<u8> {
        // The shape that the real service sends, in one line.
        let value = format!("{message}\nRequestId:5ea2a3c0-1002-0058\nTime:2021-06-09T01:17:13.4011459Z");
        serde_json::json!({"odata.error": {"code": code, "message": {"lang": "en-US", "value": value}}})
            .to_string()
            .into()
    }

    fn meant(kind: RequestKind, status: u16, code: &str, message: &str) -> Error {
        classify(kind, &failure(status, None, None, &body(code, message)))
    }

    const ONE: RequestKind = RequestKind::Write { single: true };
    const MANY: RequestKind = RequestKind::Write { single: false };

    #[test]
    fn the_code_is_taken_from_the_body_and_the_index_from_the_message() {
        let failure =
            failure(409, Some("409"), None, &body("EntityAlreadyExists", "17:The specified entity already exists."));
        assert_eq!(failure.code, "EntityAlreadyExists");
        assert_eq!(failure.op, Some(17));
        assert_eq!(failure.message, "The specified entity already exists.");
    }

    #[test]
    fn each_failure_is_told_by_what_the_caller_can_do() {
        let cases = [
            (409, "EntityAlreadyExists", Error::AlreadyExists { op: 2 }),
            (412, "UpdateConditionNotSatisfied", Error::Conflict { op: 2 }),
            (412, "ConditionNotMet", Error::Conflict { op: 2 }),
            (404, "ResourceNotFound", Error::Missing { op: 2 }),
            (404, "TableNotFound", Error::TableMissing),
            (503, "ServerBusy", Error::Throttled { retry_after: None }),
            (429, "TooManyRequests", Error::Throttled { retry_after: None }),
        ];
        for (status, code, error) in cases {
            assert_eq!(meant(MANY, status, code, "2:text"), error);
        }
        assert_eq!(meant(ONE, 412, "UpdateConditionNotSatisfied", "text"), Error::Conflict { op: 0 });
        assert!(
            matches!(meant(ONE, 400, "EntityTooLarge", "too large"), Error::Refused(said) if said == "400 EntityTooLarge: too large")
        );
        assert!(matches!(meant(ONE, 413, "RequestBodyTooLarge", ""), Error::Refused(_)));
        assert!(matches!(
            meant(MANY, 400, "InvalidInput", "0:One of the request inputs is not valid."),
            Error::Refused(_)
        ));
        for status in [400, 405, 411, 413, 414, 431] {
            let of_a_gateway = failure(status, None, None, b"<html><title>Bad request</title></html>");
            assert!(matches!(classify(MANY, &of_a_gateway), Error::Unavailable(_)), "{status}");
            assert!(matches!(meant(ONE, status, "InvalidHeaderValue", ""), Error::Unavailable(_)), "{status}");
        }
        assert!(matches!(meant(ONE, 409, "TableBeingDeleted", ""), Error::Unavailable(_)));
        assert!(matches!(meant(ONE, 404, "AccountNotFound", ""), Error::Unavailable(_)));
    }

    #[test]
    fn an_unanswered_write_may_have_happened_and_an_unanswered_read_has_not() {
        for (status, code) in
            [(500, "OperationTimedOut"), (500, "InternalError"), (502, ""), (503, ""), (504, ""), (408, ""), (302, "")]
        {
            assert!(matches!(meant(ONE, status, code, ""), Error::Ambiguous(_)), "{status} {code}");
            assert!(matches!(meant(MANY, status, code, "1:x"), Error::Ambiguous(_)), "{status} {code}");
            assert!(matches!(meant(RequestKind::Read, status, code, ""), Error::Unavailable(_)), "{status} {code}");
        }
    }

    #[test]
    fn a_transaction_that_does_not_say_where_it_failed_must_be_read_back() {
        assert!(matches!(
            meant(MANY, 409, "EntityAlreadyExists", "The specified entity already exists."),
            Error::Ambiguous(_)
        ));
    }

    #[test]
    fn a_denial_names_code_and_remedy_but_never_quotes_the_request() {
        let xml = br#"<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthenticationFailed</Code><Message>Server failed to
            authenticate the request.</Message><AuthenticationErrorDetail>The MAC signature 'c2VjcmV0' is wrong</AuthenticationErrorDetail></Error>"#;
        let denied = classify(ONE, &failure(403, None, None, xml));
        let Error::Denied(said) = &denied else { panic!("{denied:?}") };
        assert!(
            said.starts_with("403 AuthenticationFailed:") && said.contains("Storage Table Data Contributor"),
            "{said}"
        );
        assert!(!said.contains("c2VjcmV0"), "{said}");
        let quoted = meant(ONE, 403, "AuthenticationFailed", "the signature 'c2VjcmV0' is wrong");
        assert!(!quoted.to_string().contains("c2VjcmV0"), "{quoted}");
        let unauthorized = classify(RequestKind::Read, &failure(401, None, None, b"")).to_string();
        assert!(unauthorized.contains("tenant") && !unauthorized.contains("role"), "{unauthorized}");
    }
}
