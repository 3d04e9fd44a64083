//! What is remembered of a scoring: the blob version, the current attempt, the job, and how it came to be so.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use url::Url;

use crate::job::{Job, Submission};
use crate::rules::Rule;
use crate::status::{Event, Status};

/// What is percent-encoded in a blob's URL: as browsers do, and what would be read as something else.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');
/// Where blobs without a container in their URL live.
const ROOT: &str = "$root";
/// Between the parts of a hashed key: it occurs in no rule id, URL or ETag.
const SEPARATOR: char = '\u{1f}';

/// Names a scoring: the first 32 hex digits of SHA-256 over rule id, normalised blob URL, unquoted ETag and
/// generation. The same upload gives the same id however often and by whichever event it is told of; event ids, times,
/// app and deployment names are left out on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScoringId(String);

impl ScoringId {
    /// The id of `blob` under `rule` in `generation`.
    pub fn new(rule: &str, blob: &BlobVersion, generation: u32) -> Self {
        let key = format!("{rule}{SEPARATOR}{}{SEPARATOR}{}{SEPARATOR}{generation}", blob.key_url(), blob.etag);
        Self(hex(&Sha256::digest(key.as_bytes())[..16]))
    }

    /// Reads an id: exactly 32 lower-case hex digits.
    pub fn read(text: &str) -> Option<Self> {
        let good = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        good.then(|| Self(text.to_owned()))
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The request id of an attempt, shaped as a UUID: the same before and after a crash, so that an endpoint which
    /// honours it sees a repetition as one.
    pub fn request_id(&self, attempt: u32) -> String {
        let digest = hex(&Sha256::digest(format!("{}{SEPARATOR}{attempt}", self.0).as_bytes())[..16]);
        format!("{}-{}-8{}-8{}-{}", &digest[..8], &digest[8..12], &digest[13..16], &digest[17..20], &digest[20..])
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for ScoringId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What was uploaded: account, container, path and ETag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobVersion {
    /// The blob's URL: `blob` host, without query, percent-encoded in one way.
    pub url: String,
    /// Storage account.
    pub account: String,
    /// Container.
    pub container: String,
    /// Path in the container, decoded.
    pub path: String,
    /// ETag without quotes.
    pub etag: String,
    /// Orders the versions of one blob; informative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
    /// Length in bytes, if the event told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Content type, if the event told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

impl BlobVersion {
    /// Takes a blob's URL apart. Accepts `blob` and `dfs` hosts and path-style URLs of emulators
    /// (`http://127.0.0.1:10000/account/container/path`), and writes the URL in one spelling: two events about one upload
    /// may encode its path differently, and must have one id. The error is one sentence for people.
    pub fn read(url: &str, etag: &str) -> Result<Self, String> {
        let mut parsed = Url::parse(url.trim()).map_err(|e| format!("`{}` is no URL: {e}", without_query(url)))?;
        let shown = without_query(url);
        if !matches!(parsed.scheme(), "https" | "http") {
            return Err(format!("`{shown}` is not an http(s) URL"));
        }
        parsed.set_query(None);
        parsed.set_fragment(None);
        if parsed.set_username("").and_then(|()| parsed.set_password(None)).is_err() {
            return Err(format!("`{shown}` has no host"));
        }
        let host = parsed.host_str().unwrap_or_default().to_owned();
        let path_style = !matches!(parsed.host(), Some(url::Host::Domain(_))) || host == "localhost";
        if host.contains(".dfs.") {
            let blob_host = host.replacen(".dfs.", ".blob.", 1);
            parsed.set_host(Some(&blob_host)).map_err(|e| format!("`{shown}`: {e}"))?;
        }
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| format!("the path of `{shown}` is not UTF-8"))
        };
        let mut rest = parsed.path().trim_start_matches('/');
        let mut before = String::new();
        let account = if path_style {
            let (account, behind) = rest.split_once('/').unwrap_or((rest, ""));
            rest = behind;
            before = format!("/{account}");
            account.to_owned()
        } else {
            host.split('.').next().unwrap_or_default().to_owned()
        };
        let (container, path) = rest.split_once('/').unwrap_or((ROOT, rest));
        let (container, path) = (decode(container)?, decode(path)?);
        if account.is_empty() || container.is_empty() || path.is_empty() {
            return Err(format!("`{shown}` names no blob: expected https://ACCOUNT.blob.…/CONTAINER/PATH"));
        }
        let encoded = |text| utf8_percent_encode(text, ENCODED);
        let whole = if container == ROOT && !path.contains('/') {
            format!("{before}/{}", encoded(&path))
        } else {
            format!("{before}/{}/{}", encoded(&container), encoded(&path))
        };
        parsed.set_path(&whole);
        // An encoded slash beside dots, or in a container's name: no blob has such a name, and a URL cannot hold it.
        if container.contains('/') || parsed.path() != whole {
            return Err(format!("`{shown}` names no blob: its path does not stay what it is as a URL"));
        }
        let etag = unquoted(etag);
        if etag.is_empty() {
            return Err(format!("the event about `{shown}` has no eTag"));
        }
        let forbidden = |text: &str| text.chars().any(char::is_control);
        if forbidden(&path) || forbidden(&container) || forbidden(etag) {
            return Err(format!("`{shown}` holds control characters"));
        }
        Ok(Self {
            url: parsed.into(),
            account,
            container,
            path,
            etag: etag.to_owned(),
            sequencer: None,
            size: None,
            content_type: None,
        })
    }

    /// Last segment of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The form of the URL that goes into ids. [`Self::read`] has normalised it already.
    fn key_url(&self) -> &str {
        &self.url
    }
}

/// ETags come with and without inner quotes, and weak ones with `W/`.
fn unquoted(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// A URL cut before its query, where SAS signatures and keys live.
pub fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// Names of jobs that a scoring keeps in a list. A service that makes more than this for one scoring is broken, and a row
/// has its limits.
pub const MAX_JOB_NAMES: usize = 40;

/// One blob version to be scored under one rule: the unit of work and the row that everything else hangs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scoring {
    /// Its id.
    pub id: ScoringId,
    /// Id of the rule that wants it.
    pub rule: String,
    /// Scoring generation; raised to score everything again under the same rule.
    pub generation: u32,
    /// What is scored.
    pub blob: BlobVersion,
    /// The batch endpoint's invoke URI (`…/jobs`), as it was when the scoring was accepted.
    pub endpoint: String,
    /// Deployment asked for; `None` is the endpoint's default.
    pub deployment: Option<String>,
    /// ARM id of the workspace, when it is known: needed to list and cancel.
    pub workspace: Option<String>,

    /// Where it stands.
    pub status: Status,
    /// Since when it stands there.
    pub since: OffsetDateTime,
    /// When something is due. `queued`: not before; `submitting`: the lease ends; `running`: the job's time limit;
    /// `unknown`, `held`, `cancelling`, `verifying`: first look.
    pub due: OffsetDateTime,

    /// Number of the attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// What the attempt sends; recorded before it is sent.
    pub submission: Option<Submission>,
    /// When the attempt's first POST was intended.
    pub submitted: Option<OffsetDateTime>,
    /// When a submission that was held was last sent again; `submitDeadline` counts from here.
    pub resumed: Option<OffsetDateTime>,
    /// POSTs of this attempt, counted when intended. All of them carry the same submission.
    pub submits: u32,
    /// Refusals in a row; drives the back-off.
    pub refusals: u32,

    /// The adopted job.
    pub job: Option<Job>,
    /// Azure ML's word for it, when last recorded.
    pub job_status: Option<String>,
    /// Since when the job cannot be found.
    pub missing_since: Option<OffsetDateTime>,
    /// Jobs that earlier attempts had adopted, the last [`MAX_JOB_NAMES`].
    pub previous_jobs: Vec<String>,
    /// Jobs that were made for this scoring and adopted by no attempt; the first [`MAX_JOB_NAMES`] of them.
    pub orphaned_jobs: Vec<String>,
    /// How many of those there were. Each was cancelled unless it had ended.
    pub orphaned_job_count: u32,

    /// Size of the verified output.
    pub output_bytes: Option<u64>,
    /// Why the last attempt ended badly.
    pub error: Option<String>,
    /// What keeps it from moving on, for people.
    pub last_error: Option<String>,

    /// When it was accepted.
    pub created: OffsetDateTime,
    /// When it last moved.
    pub updated: OffsetDateTime,
    /// When it became final.
    pub completed: Option<OffsetDateTime>,
    /// Rises by one with each move, from 1.
    pub version: i64,
}

impl Scoring {
    /// A scoring that has just been accepted: queued, due at once.
    pub fn accept(rule: &Rule, blob: BlobVersion, now: OffsetDateTime) -> Self {
        Self {
            id: ScoringId::new(&rule.id, &blob, rule.generation),
            rule: rule.id.clone(),
            generation: rule.generation,
            blob,
            endpoint: rule.endpoint.uri.clone(),
            deployment: rule.endpoint.deployment.clone(),
            workspace: rule.endpoint.workspace.clone(),
            status: Status::Queued,
            since: now,
            due: now,
            attempt: 0,
            submission: None,
            submitted: None,
            resumed: None,
            submits: 0,
            refusals: 0,
            job: None,
            job_status: None,
            missing_since: None,
            previous_jobs: Vec::new(),
            orphaned_jobs: Vec::new(),
            orphaned_job_count: 0,
            output_bytes: None,
            error: None,
            last_error: None,
            created: now,
            updated: now,
            completed: None,
            version: 1,
        }
    }

    /// The first entry of its history.
    pub fn accepted_entry(&self, reason: String) -> Entry {
        Entry {
            seq: self.version,
            at: self.created,
            from: None,
            to: self.status,
            event: None,
            reason,
            attempt: 0,
            job: None,
        }
    }

    /// URI of the attempt's first output: what people look for.
    pub fn output_uri(&self) -> Option<&str> {
        self.submission.as_ref()?.outputs.values().next().map(|output| output.uri.as_str())
    }
}

/// One line of a scoring's history: what happened and why. Immutable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The scoring's version after it.
    pub seq: i64,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Status before; `None` for the first entry.
    pub from: Option<Status>,
    /// Status after.
    pub to: Status,
    /// The row of the transition table; `None` for the first entry.
    pub event: Option<Event>,
    /// The decision's reason, for people.
    pub reason: String,
    /// Number of the attempt.
    pub attempt: u32,
    /// The job's name, if there was one.
    pub job: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(url: &str, etag: &str) -> BlobVersion {
        BlobVersion::read(url, etag).expect("a blob URL")
    }

    #[test]
    fn one_upload_has_one_id_however_it_is_written() {
        let same = [
            ("https://uploads.blob.core.windows.net/claims/eu/a%20b.csv", "0x8DC1"),
            ("https://UPLOADS.BLOB.core.windows.net/claims/eu/a b.csv", "\"0x8DC1\""),
            ("https://uploads.dfs.core.windows.net/claims/eu/a%20b.csv?sig=secret", "0x8DC1"),
            ("https://uploads.blob.core.windows.net:443/%63laims/eu%2fa%20%62.csv", "W/\"0x8DC1\""),
        ];
        let ids: Vec<_> = same.iter().map(|(url, etag)| ScoringId::new("claims", &blob(url, etag), 0)).collect();
        assert!(ids.windows(2).all(|w| w[0] == w[1]), "{ids:?}");
        // Pinned: a change of this value re-scores everything that anybody has.
        assert_eq!(ids[0].as_str(), "8eab74ca1334548c648de2f3ccc5c3aa");
    }

    #[test]
    fn an_id_has_32_lower_case_hex_digits() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(ScoringId::read(id).expect("an id").as_str(), id);
        for other in [&id[1..], &format!("{id}0"), &id.replace('f', "g"), &id.to_uppercase(), ""] {
            assert_eq!(ScoringId::read(other), None, "{other}");
        }
    }

    #[test]
    fn what_names_no_blob_is_refused_and_shown_without_its_query() {
        for url in [
            "http://127.0.0.1:10000/account//p",
            "https://x.blob.core.windows.net/",
            "http://127.0.0.1:10000/account/c/",
        ] {
            let why = BlobVersion::read(&format!("{url}?sig=secret#x"), "1").unwrap_err();
            assert_eq!(why, format!("`{url}` names no blob: expected https://ACCOUNT.blob.…/CONTAINER/PATH"));
        }
    }

    #[test]
    fn rule_path_etag_and_generation_each_change_the_id() {
        let url = "https://uploads.blob.core.windows.net/claims/a.csv";
        let base = ScoringId::new("claims", &blob(url, "1"), 0);
        for other in [
            ScoringId::new("other", &blob(url, "1"), 0),
            ScoringId::new("claims", &blob("https://uploads.blob.core.windows.net/claims/A.csv", "1"), 0),
            ScoringId::new("claims", &blob(url, "2"), 0),
            ScoringId::new("claims", &blob(url, "1"), 1),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn urls_are_taken_apart() {
        let b = blob("https://uploads.z12.blob.storage.azure.net/c/d/e%23f.csv", "W/\"x\"");
        assert_eq!(
            (b.account.as_str(), b.container.as_str(), b.path.as_str(), b.etag.as_str()),
            ("uploads", "c", "d/e#f.csv", "x")
        );
        assert_eq!(b.name(), "e#f.csv");
        let b = blob("http://127.0.0.1:10000/devstoreaccount1/c/p.csv", "x");
        assert_eq!((b.account.as_str(), b.container.as_str(), b.path.as_str()), ("devstoreaccount1", "c", "p.csv"));
        for root in ["https://a.blob.core.windows.net/root.txt", "https://a.blob.core.windows.net/$root/root.txt"] {
            let b = blob(root, "x");
            assert_eq!((b.container.as_str(), b.url.as_str()), ("$root", "https://a.blob.core.windows.net/root.txt"));
        }
        assert_eq!(blob("http://127.0.0.1:10000/acct/root.txt", "x").url, "http://127.0.0.1:10000/acct/root.txt");
    }

    #[test]
    fn bad_urls_are_refused_without_their_query() {
        for (url, etag) in [
            ("", "1"),
            ("file:///etc/passwd", "1"),
            ("https://a.blob.core.windows.net/", "1"),
            ("https://a.blob.core.windows.net/c/%FF.csv", "1"),
            ("https://a.blob.core.windows.net/c%2Fd/x.csv", "1"),
            ("https://a.blob.core.windows.net/c/a%2F..%2Fx.csv", "1"),
            ("https://a.blob.core.windows.net/c/x%0A.csv", "1"),
            ("https://a.blob.core.windows.net/c/x.csv?sig=SECRET", "\"\""),
            ("not a url?sig=SECRET", "1"),
        ] {
            let error = BlobVersion::read(url, etag).unwrap_err();
            assert!(!error.contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn a_request_id_is_a_uuid_and_depends_on_the_attempt() {
        let id = ScoringId::new("claims", &blob("https://a.blob.core.windows.net/c/x", "1"), 0);
        let one = id.request_id(1);
        assert_eq!(one.len(), 36);
        assert_eq!(one.matches('-').count(), 4);
        assert_eq!(one, id.request_id(1));
        assert_ne!(one, id.request_id(2));
    }
}
