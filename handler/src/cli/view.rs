//! What people and scripts see of a scoring: the same members in the CLI's JSON and on the page.

use lifecycle::redact::redacted;
use lifecycle::{BlobVersion, Entry, Scoring};
use serde::Serialize;
use time::OffsetDateTime;

/// A scoring for display. Names are stable: scripts rely on them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScoringView {
    /// Its id.
    pub id: String,
    /// One word.
    pub status: &'static str,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Its rule.
    pub rule: String,
    /// The blob.
    pub blob_url: String,
    /// Container and path, decoded: what people call it.
    pub path: String,
    /// Its version.
    pub etag: String,
    /// Number of the attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// The job's name.
    pub job: Option<String>,
    /// Azure ML's word for it.
    pub job_status: Option<String>,
    /// Its page in Azure ML studio.
    pub studio: Option<String>,
    /// Where the attempt's output goes.
    pub output_uri: Option<String>,
    /// Size of the verified output.
    pub output_bytes: Option<u64>,
    /// Why the last attempt ended badly.
    pub error: Option<String>,
    /// What keeps it from moving on.
    pub last_error: Option<String>,
    /// Jobs that were made for it and that it did not need; they were cancelled.
    pub orphaned_job_count: u32,
    /// Names of those.
    pub orphaned_jobs: Vec<String>,
    /// When it was accepted.
    #[serde(with = "time::serde::rfc3339")]
    pub created_time: OffsetDateTime,
    /// When it last moved.
    #[serde(with = "time::serde::rfc3339")]
    pub last_updated_time: OffsetDateTime,
    /// When it became final.
    #[serde(with = "time::serde::rfc3339::option")]
    pub completed_time: Option<OffsetDateTime>,
}

impl From<Scoring> for ScoringView {
    /// Whatever an event, a rule or a service has said goes through the redactor here, before the page escapes it.
    fn from(s: Scoring) -> Self {
        let shown = |text: String| redacted(&text).into_owned();
        Self {
            status: s.status.name(),
            since: s.since,
            output_uri: s.output_uri().map(|uri| shown(uri.to_owned())),
            id: s.id.to_string(),
            rule: shown(s.rule.to_string()),
            path: shown(path(&s.blob)),
            blob_url: shown(s.blob.url),
            etag: shown(s.blob.etag),
            attempt: s.attempt,
            job: s.job.as_ref().map(|job| shown(job.name.to_string())),
            studio: s.job.and_then(|job| job.studio).map(shown),
            job_status: s.job_status.map(shown),
            output_bytes: s.output_bytes,
            error: s.error.map(shown),
            last_error: s.last_error.map(shown),
            orphaned_job_count: s.orphaned_job_count,
            orphaned_jobs: s.orphaned_jobs.into_iter().map(|job| shown(job.to_string())).collect(),
            created_time: s.created,
            last_updated_time: s.updated,
            completed_time: s.completed,
        }
    }
}

/// A scoring with its history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoringDetail {
    /// The scoring.
    #[serde(flatten)]
    pub scoring: ScoringView,
    /// Why it is not submitted yet, while it is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// Everything that happened, oldest first.
    pub history: Vec<Entry>,
}

impl ScoringDetail {
    /// A scoring with what is known of its past and of what it waits for.
    pub fn new(scoring: Scoring, waits: Option<String>, mut history: Vec<Entry>) -> Self {
        for entry in &mut history {
            entry.reason = redacted(&entry.reason).into_owned();
        }
        Self { scoring: scoring.into(), waits: waits.map(|text| redacted(&text).into_owned()), history }
    }
}

/// A time to the second, UTC, as people read it.
pub fn utc_text(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}:{:02}", at.date(), at.hour(), at.minute(), at.second())
}

/// How long ago, in the largest unit that says enough.
pub fn ago(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let seconds = (now - at).whole_seconds().max(0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A text cut in its middle, where paths differ least.
pub fn shortened(text: &str, new_limit: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= new_limit {
        return text.to_owned();
    }
    let tail = new_limit * 2 / 3;
    let head = new_limit - tail - 1;
    chars[..head].iter().chain(&['…']).chain(&chars[chars.len() - tail..]).collect()
}

/// Container and path of a blob, fit for a terminal: control characters never get into the ledger.
pub fn path(blob: &BlobVersion) -> String {
    format!("{}/{}", blob.container, blob.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn ages_have_a_fitting_unit_and_are_never_negative() {
        let now = datetime!(2026-07-21 10:00 UTC);
        for (seconds, text) in [(-5, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 d")] {
            assert_eq!(ago(now - time::Duration::seconds(seconds), now), text);
        }
    }

    #[test]
    fn long_texts_keep_their_end() {
        assert_eq!(shortened("short", 10), "short");
        let cut = shortened("eu/2026/07/21/claims-of-the-day.csv", 20);
        assert_eq!(cut.chars().count(), 20);
        assert!(cut.ends_with("of-the-day.csv") || cut.ends_with("the-day.csv"), "{cut}");
        let blob = BlobVersion::read("https://a.blob.core.windows.net/c/p%20q.csv", "1").unwrap();
        assert_eq!(path(&blob), "c/p q.csv");
    }
}
