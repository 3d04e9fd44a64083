//! What the answer to a submission means: a pure table over status and body.
//!
//! The question is always the same: is it certain that no job was made? Only then it is a refusal. A 5xx has been seen
//! to come with fifty jobs (azure-sdk-for-python issue 31166), so it is not certain there.

use lifecycle::{Answer, JobStatus};
use time::Duration;

use super::text::said;
use super::wire::Resource;

/// Classifies an answer. `body` is `Err` if it broke off: the status stands, its text does not.
pub(super) fn read(status: u16, retry_after: Option<Duration>, body: Result<&[u8], &str>) -> Answer {
    if (200..300).contains(&status)
        && let Some(resource) = body.ok().and_then(Resource::read)
        && let Some(job) = resource.job()
    {
        return Answer::Accepted { job, status: resource.status().unwrap_or(JobStatus::Preparing) };
    }
    let said = match body {
        Ok(body) => said(body),
        Err(trouble) => said(trouble.as_bytes()),
    };
    let code = match &said.code {
        Some(code) => format!("{status} {code}"),
        None => status.to_string(),
    };
    let text = said.text;
    let refused = |for_good| Answer::Refused { code: code.clone(), text: text.clone(), for_good, retry_after };
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
