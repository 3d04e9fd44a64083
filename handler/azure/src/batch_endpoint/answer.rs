//! What the answer to a submission means: a pure table over status and body.
//!
//! The question is always the same: is it certain that no job was made? Only then it is a refusal. A 5xx has been seen
//! to come with fifty jobs (azure-sdk-for-python issue 31166), so it is not certain there; nor is it where the front door
//! passes on, under whatever status, that a service behind it failed.
//!
//! A refusal is final only if Azure ML itself says that the request is wrong. A gateway or a proxy on the way says 400 and 413
//! as well, and may say otherwise tomorrow.

use lifecycle::{Answer, JobStatus};
use time::Duration;

use super::wire::Resource;
use crate::text::{ServiceError, parse_service_error};

/// Codes by which Azure ML says that a service behind the front door failed.
const FAILED_BEHIND: [&str; 4] = ["ServiceError", "SystemError", "InternalServerError", "InternalError"];
/// Codes, or parts of codes, by which it says that the request is wrong.
const REQUEST_IS_WRONG: [&str; 5] = ["usererror", "validation", "invalid", "badargument", "malformed"];

/// Classifies an answer. `body` is `Err` if it broke off: the status stands, its text does not.
pub(super) fn read(status: u16, retry_after: Option<Duration>, body: Result<&[u8], &str>) -> Answer {
    if (200..300).contains(&status)
        && let Some(resource) = body.ok().and_then(Resource::read)
        && let Some(job) = resource.job()
    {
        return Answer::Accepted { job, status: resource.status().unwrap_or(JobStatus::Preparing) };
    }
    let said = match &body {
        Ok(body) => parse_service_error(body),
        Err(error) => parse_service_error(error.as_bytes()),
    };
    let code = match &said.code {
        Some(code) => format!("{status} {code}"),
        None => status.to_string(),
    };
    let text = said.text.clone();
    let unknown = || Answer::Unknown { text: format!("{code}: {text}") };
    match status {
        200..=299 => Answer::Unknown { text: format!("{status}, but the answer names no job: {text}") },
        _ if failed_behind(&said) => unknown(),
        400 | 422 if request_is_wrong(&said) && names_tags(&text) => Answer::TagsRefused { code, text },
        // Somebody waited for something in vain, behind the front door perhaps.
        408 => unknown(),
        // Its beginning may have said that a service behind failed.
        400 | 409 | 422 | 424 if body.is_err() => unknown(),
        // It may pass: roles that spread, a deployment in the making, a redirect that is not followed, a gateway that lets no
        // body of this size through today. 429 and 503 are throttling; Azure ML documents neither, but a gateway that is full
        // has not handed the request on.
        301 | 302 | 307 | 308 | 400..=499 | 503 => {
            let permanent = matches!(status, 400 | 422) && request_is_wrong(&said);
            Answer::Refused { code, text, permanent, retry_after }
        }
        _ => unknown(),
    }
}

/// A service behind the front door failed, which may have made jobs before: "Received 500 from a service request".
fn failed_behind(said: &ServiceError) -> bool {
    if said.codes.iter().any(|code| FAILED_BEHIND.iter().any(|failed| code.eq_ignore_ascii_case(failed))) {
        return true;
    }
    // A refusal that is passed on is one; what is not a status is not known to be. One that is not says it of them all.
    let refused = |before: &str| {
        let status = before.rsplit(' ').next().and_then(|status| status.parse().ok());
        status.is_some_and(|status: u16| (400..500).contains(&status) && status != 408)
    };
    let text = said.whole.to_ascii_lowercase();
    text.match_indices(" from a service request").any(|(at, _)| !refused(&text[..at]))
}

/// Azure ML's own document, and it says that the request is wrong.
fn request_is_wrong(said: &ServiceError) -> bool {
    let is_wrong = |code: &String| {
        let code = code.to_ascii_lowercase();
        REQUEST_IS_WRONG.iter().any(|part| code.contains(part))
    };
    // "The deployment is not ready, provisioning state: Updating" comes as the caller's error, and passes.
    let text = said.text.to_ascii_lowercase();
    let passes = text.contains("provisioning state") || text.contains("provisioningstate");
    ((said.enveloped && said.codes.iter().any(is_wrong)) || said.validation) && !passes
}

/// The member `tags` is what is wrong: "Could not find member 'tags' on object of type 'BatchJob'.", "Tags: …" of a validator,
/// `$.properties.tags` of a reader of JSON.
fn names_tags(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["'tags'", "\"tags\"", "`tags`", "properties.tags", " tags:", " tags[", " tags."]
        .iter()
        .any(|name| text.contains(name))
        || text.starts_with("tags:")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,16}".prop_map(Value::from),
            Just(json!("/subscriptions/s/workspaces/w/batchEndpoints/e/jobs/j-1")),
            Just(json!("2026-07-21T10:00:00Z")),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            let name = prop_oneof![
                prop::sample::select(vec![
                    "name",
                    "Name",
                    "id",
                    "status",
                    "Status",
                    "properties",
                    "provisioningState",
                    "interactionEndpoints",
                    "Studio",
                    "endpoint",
                    "services",
                    "outputData",
                    "uri",
                    "tags",
                    "error",
                    "code",
                    "message",
                    "details",
                    "systemData",
                    "createdAt",
                ])
                .prop_map(str::to_owned),
                "[a-z]{1,5}",
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name, inner.clone(), 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
                inner.prop_map(|value| json!(value.to_string())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_job_is_accepted_only_if_it_has_a_name_and_refused_only_if_none_was_made(
            status in 100_u16..600, value in json_value(), bytes in prop::collection::vec(any::<u8>(), 0..60), broken: bool
        ) {
            let text = value.to_string();
            for body in [text.as_bytes(), &bytes] {
                let answer = read(status, None, if broken { Err("reset") } else { Ok(body) });
                match answer {
                    Answer::Accepted { job, .. } => {
                        prop_assert!((200..300).contains(&status) && !broken && !job.name.is_empty(), "{:?}", job);
                    }
                    // A 5xx may have made jobs; only a full gateway's has not.
                    Answer::Refused { .. } => prop_assert!((300..500).contains(&status) && status != 408 || status == 503, "{}", status),
                    Answer::TagsRefused { .. } => prop_assert!(matches!(status, 400 | 422), "{}", status),
                    Answer::Unknown { text } => prop_assert!(!text.is_empty()),
                }
            }
        }

        #[test]
        fn a_resource_of_any_shape_is_read_without_surprise(value in json_value()) {
            if let Some(resource) = Resource::read(value.to_string().as_bytes()) {
                let job = resource.job();
                prop_assert_eq!(job.as_ref().map(|job| job.name.as_str()), resource.name());
                prop_assert!(resource.name().is_none_or(|name| !name.is_empty()));
                let _ = (resource.status(), resource.tracking(), resource.experiment(), resource.created(), resource.tags().map(|tags| tags.read()), resource.outputs());
            }
        }

        #[test]
        fn what_a_service_said_is_one_short_line_without_secrets(value in json_value(), secret in "[A-Za-z0-9%]{8,20}", glue in "[ ?&;\"]", html: bool) {
            let text = format!("{value}{glue}sig=SECRET{secret}&x");
            let body = if html { format!("<html><title>{text}</title>") } else { json!({"error": {"code": "X", "message": text}}).to_string() };
            let said = parse_service_error(body.as_bytes());
            prop_assert!(!said.text.contains("SECRET"), "{}", said.text);
            prop_assert!(!said.text.contains('\n') && said.text.chars().count() <= 1_001);
        }
    }
}
