//! What the answer to a submission means: a pure table over status and body.
//!
//! The question is always the same: is it certain that no job was made? Only then it is a refusal. A 5xx has been seen
//! to come with fifty jobs (azure-sdk-for-python issue 31166), so it is not certain there.

use lifecycle::{Answer, JobStatus};
use time::Duration;

use super::wire::Resource;
use crate::text::parse_service_error;

/// Classifies an answer. `body` is `Err` if it broke off: the status stands, its text does not.
pub(super) fn read(status: u16, retry_after: Option<Duration>, body: Result<&[u8], &str>) -> Answer {
    if (200..300).contains(&status)
        && let Some(resource) = body.ok().and_then(Resource::read)
        && let Some(job) = resource.job()
    {
        return Answer::Accepted { job, status: resource.status().unwrap_or(JobStatus::Preparing) };
    }
    let said = match body {
        Ok(body) => parse_service_error(body),
        Err(error) => parse_service_error(error.as_bytes()),
    };
    let code = match &said.code {
        Some(code) => format!("{status} {code}"),
        None => status.to_string(),
    };
    let text = said.text;
    let refused = |permanent| Answer::Refused { code: code.clone(), text: text.clone(), permanent, retry_after };
    match status {
        200..=299 => Answer::Unknown { text: format!("{status}, but the answer names no job: {text}") },
        // The request itself is wrong.
        400 | 413 | 422 => refused(true),
        // Somebody waited for something in vain, behind the front door perhaps.
        408 => Answer::Unknown { text: format!("{code}: {text}") },
        // It may pass: roles that spread, a deployment in the making, a redirect that is not followed. 429 and 503 are
        // throttling; Azure ML documents neither, but a gateway that is full has not handed the request on.
        301 | 302 | 307 | 308 | 401..=499 | 503 => refused(false),
        _ => Answer::Unknown { text: format!("{code}: {text}") },
    }
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
