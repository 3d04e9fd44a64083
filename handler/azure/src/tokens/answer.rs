//! What an issuer of tokens answers: a token with its end, or a refusal in its own words.
//!
//! `azure_identity`'s errors quote whole answers, of which one could be a token. What is quoted from here is the member of a
//! refusal that is known to be a sentence.

use std::fmt;
use std::time::Duration;

use azure_core::credentials::AccessToken;
use azure_core::error::ErrorKind;
use lifecycle::text::one_line;
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::entra_errors;
use crate::http::body::read_body;
use crate::http::retry::wished_pause;

/// Bytes of an answer that are read; tokens have a few thousand.
const MAX_ANSWER: usize = 256 * 1024;

/// Who was asked for a token, as errors name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Issuer {
    /// The endpoint that the platform gives an app.
    IdentityEndpoint,
    /// Microsoft Entra ID's token endpoint.
    Entra,
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IdentityEndpoint => "the identity endpoint",
            Self::Entra => "Microsoft Entra ID",
        })
    }
}

/// What the issuer answered instead of a token. Its message is its own; a token is never part of a refusal.
#[derive(Debug, thiserror::Error)]
#[error("{issuer} answered {status}{}", if message.is_empty() { String::new() } else { format!(": {message}") })]
pub(super) struct Refused {
    issuer: Issuer,
    status: u16,
    message: String,
    /// How long it asks to wait before the next request.
    pub(super) retry_after: Option<Duration>,
}

impl Refused {
    /// What to do, where the refusal says what is wrong. `None`: it may pass, or the status alone has to tell.
    pub(super) fn remedy(&self) -> Option<&'static str> {
        (self.issuer == Issuer::Entra && (400..500).contains(&self.status) && self.status != 429)
            .then(|| entra_errors::remedy(&self.message))
    }
}

/// Why an answer of success is none. The answer itself is not quoted: it may hold the token.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it is not a JSON object")]
    NotJson,
    #[error("it has no `access_token`")]
    TokenMissing,
    #[error("neither `expires_on` nor `expires_in` says when the token ends")]
    EndMissing,
}

/// The token of an answer.
pub(super) async fn token(issuer: Issuer, response: reqwest::Response) -> azure_core::Result<AccessToken> {
    let status = response.status().as_u16();
    let retry_after = wished_pause(response.headers(), now());
    let body = read_body(response, MAX_ANSWER).await.map_err(|error| azure_core::Error::new(ErrorKind::Io, error))?;
    if status != 200 {
        let kind = ErrorKind::HttpResponse { status: status.into(), error_code: None, raw_response: None };
        return Err(azure_core::Error::new(kind, Refused { issuer, status, message: message(&body), retry_after }));
    }
    read(&body, now()).map_err(|why| azure_core::Error::new(ErrorKind::DataConversion, why))
}

#[expect(clippy::disallowed_methods, reason = "`expires_in` counts from the moment of the answer, not of a decision")]
pub(super) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// What a refusal says: `message` of App Service, `error_description` of others, else its text.
fn message(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let member = |name: &str| json.as_ref().and_then(|json| json.get(name)).and_then(Value::as_str);
    let text = member("message").or_else(|| member("error_description")).or_else(|| member("error"));
    // Without a known member only a text is shown: an object might hold anything.
    let text = text.map(str::to_owned).or_else(|| json.is_none().then(|| String::from_utf8_lossy(body).into_owned()));
    // What Entra ID adds are ids and a time for its support, each time other ones: a log would hold no two equal lines.
    let text = text.unwrap_or_default();
    one_line(text.split(" Trace ID:").next().unwrap_or_default(), 300)
}

/// The token of an answer, and its end.
fn read(body: &[u8], now: OffsetDateTime) -> Result<AccessToken, Unreadable> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| Unreadable::NotJson)?;
    let answer = answer.as_object().ok_or(Unreadable::NotJson)?;
    let token = answer.get("access_token").and_then(Value::as_str).filter(|token| !token.is_empty());
    let token = token.ok_or(Unreadable::TokenMissing)?;
    let end = answer.get("expires_on").and_then(end).or_else(|| {
        let seconds = answer.get("expires_in").and_then(number)?;
        now.checked_add(time::Duration::seconds(seconds))
    });
    Ok(AccessToken::new(token.to_owned(), end.ok_or(Unreadable::EndMissing)?))
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Seconds since 1970 as number or text, or a date in one of the forms that were seen.
fn end(value: &Value) -> Option<OffsetDateTime> {
    if let Some(seconds) = number(value) {
        // What would lie tens of thousands of years ahead is milliseconds.
        let seconds = if seconds > 100_000_000_000 { seconds / 1_000 } else { seconds };
        return OffsetDateTime::from_unix_timestamp(seconds).ok();
    }
    let text = value.as_str()?.trim();
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(at);
    }
    // `07/21/2026 10:00:00 AM +00:00`; the offset is +00:00 always, and the hour has twelve or 24.
    let local = text.trim_end_matches(['Z', 'z']).trim_end();
    let local = ["+00:00", "+0000", "UTC"].iter().find_map(|zone| local.strip_suffix(zone)).unwrap_or(local).trim_end();
    let half_days = format_description!(
        "[month padding:none]/[day padding:none]/[year] [hour padding:none repr:12]:[minute]:[second] [period case_sensitive:false]"
    );
    let days =
        format_description!("[month padding:none]/[day padding:none]/[year] [hour padding:none]:[minute]:[second]");
    let iso = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let iso_t = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let read = PrimitiveDateTime::parse(local, half_days)
        .or_else(|_| PrimitiveDateTime::parse(local, days))
        .or_else(|_| PrimitiveDateTime::parse(local, iso))
        .or_else(|_| PrimitiveDateTime::parse(local, iso_t));
    read.ok().map(PrimitiveDateTime::assume_utc)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

    #[test]
    fn the_end_of_a_token_is_read_in_every_form_that_was_seen() {
        let at = datetime!(2026-07-21 13:05:09 UTC);
        let seconds = at.unix_timestamp();
        for end in [
            json!(seconds),
            json!(seconds.to_string()),
            json!(seconds * 1_000),
            json!("2026-07-21T13:05:09Z"),
            json!("2026-07-21T15:05:09+02:00"),
            json!("2026-07-21T13:05:09"),
            json!("2026-07-21 13:05:09 UTC"),
            json!("07/21/2026 13:05:09 +00:00"),
            json!("7/21/2026 1:05:09 PM +00:00"),
            json!("07/21/2026 01:05:09 PM"),
        ] {
            let answer = json!({ "access_token": "SECRET", "expires_on": end }).to_string();
            assert_eq!(read(answer.as_bytes(), NOW).expect("a token").expires_on, at, "{end}");
        }
        for seconds in [json!(11_109), json!("11109")] {
            let answer = json!({ "access_token": "SECRET", "expires_on": "soon", "expires_in": seconds }).to_string();
            assert_eq!(read(answer.as_bytes(), NOW).expect("a token").expires_on, at);
        }
    }

    #[test]
    fn an_answer_without_token_or_end_is_none_and_is_not_quoted() {
        for bad in [
            "",
            "[]",
            "SECRET",
            "{}",
            r#"{"access_token": "SECRET"}"#,
            r#"{"access_token": "SECRET", "expires_on": "soon"}"#,
            r#"{"access_token": "", "expires_on": 5}"#,
            r#"{"access_token": "SECRET", "expires_in": 9223372036854775807}"#,
        ] {
            let error = read(bad.as_bytes(), NOW).expect_err(bad);
            assert!(!format!("{error} {error:?}").contains("SECRET"), "{bad}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_endpoints_own_words_without_secrets() {
        let app_service = br#"{"statusCode":400,"message":"No User Assigned or Delegated Managed Identity found for specified ClientId"}"#;
        assert!(message(app_service).starts_with("No User Assigned"));
        assert_eq!(
            message(br#"{"error":"invalid_request","error_description":"Identity\nnot found"}"#),
            "Identity not found"
        );
        let entra = br#"{"error":"invalid_client","error_description":"AADSTS7000222: The keys are expired. Trace ID: 1 Correlation ID: 2"}"#;
        assert_eq!(message(entra), "AADSTS7000222: The keys are expired.");
        assert_eq!(message(b"down"), "down");
        assert_eq!(message(br#"{"access_token":"SECRET"}"#), "");
        assert!(!message(b"see https://a/?sig=SECRET").contains("SECRET"));
    }
}
