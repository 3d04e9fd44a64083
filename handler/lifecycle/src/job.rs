//! Azure ML's side in our words: what is sent, what comes back, what a look finds.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use time::{Duration, OffsetDateTime};

use crate::digest::digest;
use crate::id::{DeploymentName, JobName};
use crate::text::one_line;

/// What one POST asks for, with every template filled in. It is recorded before it is sent, so that a lost answer can
/// be searched by exactly these URIs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Submission {
    /// Inputs by name. Model deployments take one, and ignore its name.
    pub inputs: BTreeMap<String, Input>,
    /// Outputs by name, each at a path that no other attempt uses.
    pub outputs: BTreeMap<String, Output>,
    /// Further members of the request's `properties`, passed on as the rule gives them.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// It is sent without the member `tags`: the rule says so, or the service refused a request for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untagged: bool,
}

/// A submission is kept as JSON in one property of a table's row, which takes 64 KiB of UTF-16.
pub const MAX_SUBMISSION_UNITS: usize = 32_768;

impl Submission {
    /// What it takes of the property that it is kept in, in UTF-16 units; at most [`MAX_SUBMISSION_UNITS`] can be kept.
    pub fn units(&self) -> usize {
        units_of_json(self)
    }
}

/// UTF-16 units of what is kept as JSON.
pub(crate) fn units_of_json(kept: &impl Serialize) -> usize {
    let json = serde_json::to_string(kept).unwrap_or_default(); // texts, numbers and maps with string keys always serialise
    json.encode_utf16().count()
}

/// The experiment that a rule's settings ask for (pipeline component deployments only; else it is the endpoint's name).
pub fn experiment_asked_for(settings: &serde_json::Map<String, serde_json::Value>) -> Option<String> {
    // The service reads names of members without regard to case.
    let named = |members: &serde_json::Map<String, serde_json::Value>, wanted: &str| {
        members.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone())
    };
    Some(named(named(settings, "properties")?.as_object()?, "experimentName")?.as_str()?.to_owned())
}

/// One input of a job. `JobInput` of the batch endpoint's data plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Input {
    /// One file, read where it lies: https, `azureml://datastores/…/paths/…` or an ARM datastore path.
    UriFile(InputData),
    /// A folder; model deployments do not descend into its folders. Its URI ends in `/`.
    UriFolder(InputData),
    /// A value, for pipeline component deployments only.
    Literal {
        /// The text of a string, a number or a boolean, as it was written. On the wire each is a string; the component's
        /// declared type says how it is read.
        value: String,
    },
}

/// A file or folder that a job reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputData {
    /// An https URL, a path on a datastore or a data asset's id, with all placeholders filled in.
    pub uri: String,
    /// How it is brought to the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<InputMode>,
    /// Text for people, sent as the input's `Description`; nothing decides by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// How an input is brought to the job; without one the service mounts it to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum InputMode {
    /// Mounted, to be read; nothing is downloaded first.
    ReadOnlyMount,
    /// Mounted, to be read and written.
    ReadWriteMount,
    /// Downloaded before the job starts.
    Download,
    /// The URI itself is handed to the job.
    Direct,
    /// Mounted as an evaluated `MLTable`.
    EvalMount,
    /// Downloaded as an evaluated `MLTable`.
    EvalDownload,
}

/// How an output is brought to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OutputMode {
    /// Written through a mount while the job runs.
    ReadWriteMount,
    /// Uploaded when the job has ended.
    Upload,
}

/// One output of a job. Model deployments accept `UriFile` only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Whether one file or a folder is written.
    #[serde(rename = "type")]
    pub kind: OutputKind,
    /// A path on a registered Blob datastore; it must not exist yet.
    pub uri: String,
    /// How it is brought there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<OutputMode>,
    /// Text for people, sent as the output's `Description`; nothing decides by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The two kinds of output that the service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OutputKind {
    /// One file; all that model deployments accept.
    UriFile,
    /// A folder (pipeline component deployments).
    UriFolder,
}

/// A job that Azure ML told us of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Opaque name, the key of every later call.
    pub name: JobName,
    /// ARM id of the data-plane resource; it names subscription, resource group and workspace.
    pub id: Option<String>,
    /// Page of the job in Azure ML studio.
    pub studio: Option<String>,
}

/// Longest ARM id and address that is kept of a job, in characters. Azure's own end below 1,000.
const MAX_ADDRESS: usize = 2_048;

impl Job {
    /// A job as a service tells of it. An id or an address that is too long to be kept is left out: cut, it would name
    /// something else.
    pub fn told(name: JobName, id: Option<&str>, studio: Option<&str>) -> Self {
        Self { name, id: id.and_then(address), studio: studio.and_then(address) }
    }
}

impl Job {
    /// The deployment that it runs on, which its id names (`…/deployments/NAME/jobs/…`) also where the request named none.
    pub fn deployment(&self) -> Option<DeploymentName> {
        let mut parts = self.id.as_deref()?.split('/');
        parts.find(|part| part.eq_ignore_ascii_case("deployments"))?;
        parts.next()?.parse().ok()
    }
}

/// The address, if it can be kept.
pub(crate) fn address(text: &str) -> Option<String> {
    (text.chars().count() <= MAX_ADDRESS).then(|| text.to_owned())
}

/// What became of the POST, as far as we can know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A job was made and we know its name.
    Accepted {
        /// The job that was made.
        job: Job,
        /// Its first status; rarely more than `NotStarted` or `Preparing`.
        status: JobStatus,
    },
    /// Surely no job was made.
    Refused {
        /// Short code of the refusal (`400 UserError`, `not sent`).
        code: String,
        /// What the endpoint said, without secrets.
        text: String,
        /// Sending the same again cannot help.
        permanent: bool,
        /// When the endpoint wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Surely no job was made: Azure ML does not take the request's member `tags`. The same request without it may be taken.
    TagsRefused {
        /// Short code of the refusal (`400 UserError`).
        code: String,
        /// What the endpoint said, without secrets.
        text: String,
    },
    /// A job may have been made.
    Unknown {
        /// What was seen instead of an answer.
        text: String,
    },
}

/// What a look at a known job found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSnapshot {
    /// Azure ML's word for it at the time of the look.
    pub status: JobStatus,
    /// Its error text, fetched when the status is `Failed`.
    pub error: Option<String>,
    /// Page in the studio, if the answer had one.
    pub studio: Option<String>,
}

/// A job that carries the same inputs and outputs as a lost submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The job, as far as the list shows it.
    pub job: Job,
    /// Its status when it was listed; one that has ended is adopted all the same.
    pub status: JobStatus,
    /// When Azure ML made it; decides which of several is adopted.
    pub created: OffsetDateTime,
}

/// What a look for the job of a submission found whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostLook {
    /// Among the jobs of the workspace.
    pub jobs: JobsFound,
    /// At the attempt's own output path.
    pub output: OutputFound,
}

impl LostLook {
    /// It saw everything and found nothing.
    pub fn is_empty(&self) -> bool {
        matches!(&self.jobs, JobsFound::Seen { ours, possible } if ours.is_empty() && possible.is_empty())
            && self.output == OutputFound::Nothing
    }
}

/// What a search through the jobs found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobsFound {
    /// It saw all of them.
    Seen {
        /// Jobs that carry the attempt's output or our tags: its own beyond doubt.
        ours: Vec<Candidate>,
        /// Jobs of the same endpoint and time that have the same inputs and show neither outputs nor tags: each may be its own
        /// or a stranger's. Every job that the scoring follows is among them, unless it was seen to be somebody else's.
        possible: Vec<Candidate>,
    },
    /// They could not be looked through: why, and the remedy.
    NotSeen(String),
}

/// What is at the output paths of an attempt, whatever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputFound {
    /// Nothing, at none of them.
    Nothing,
    /// Something, at one of them at least.
    Something(OutputPrint),
    /// It could not be looked at: why, and the remedy.
    NotSeen(String),
}

/// What lies at an attempt's outputs, told by names and ETags: two looks that saw the same blobs have equal prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPrint(String);

impl OutputPrint {
    /// The print of some blobs, by name and ETag, in any order.
    pub fn of<'a>(blobs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut parts: Vec<(&str, &str)> = blobs.into_iter().collect();
        parts.sort_unstable();
        let parts: Vec<&str> = parts.into_iter().flat_map(|(name, etag)| [name, etag]).collect();
        Self(digest(&parts))
    }

    /// The print that was kept as this text.
    pub fn read(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text to be kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a look at an attempt's outputs found. With several outputs, the worst.
///
/// Never: "nothing was asked for" of an attempt whose row does not say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputSnapshot {
    /// Something is at the path of every output.
    Present {
        /// Sum of sizes in bytes.
        bytes: u64,
        /// The oldest modification among the outputs.
        modified: OffsetDateTime,
        /// Which versions of which blobs they are.
        print: OutputPrint,
    },
    /// At least one output has nothing at its URI.
    Absent {
        /// The URI that was looked at.
        uri: String,
    },
    /// The attempt asked for none: there is nothing to be looked at.
    NotAskedFor,
}

macro_rules! job_statuses {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Azure ML's status words. What is not listed is kept as it came and is never final.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum JobStatus {
            $($(#[$doc])* $name,)*
            /// A word that this version does not know.
            Unlisted(String),
        }

        impl JobStatus {
            /// Reads a status word in any case.
            pub fn read(word: &str) -> Self {
                match word {
                    $(w if w.eq_ignore_ascii_case(stringify!($name)) => Self::$name,)*
                    // The status of ARM *operations*; Microsoft's own samples accept it for jobs.
                    w if w.eq_ignore_ascii_case("Succeeded") => Self::Completed,
                    other if other.chars().count() <= MAX_STATUS_WORD => Self::Unlisted(other.to_owned()),
                    // Masked before it is cut: half of a secret has no shape any more.
                    other => Self::Unlisted(one_line(other, MAX_STATUS_WORD)),
                }
            }

            /// The word as Azure ML spells it.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    Self::Unlisted(word) => word,
                }
            }
        }
    };
}

job_statuses! {
    /// The job is known and nothing has begun.
    NotStarted,
    /// Being processed in the cloud.
    Starting,
    /// Compute on demand is being made; minutes.
    Provisioning,
    /// The environment's image is being built; the first time many minutes.
    Preparing,
    /// It waits for nodes of its compute, as long as others hold them.
    Queued,
    /// Runs, or one of its steps waits: the parent says little.
    Running,
    /// User code is done, outputs are collected.
    Finalizing,
    /// Somebody asked to stop it, and it has not stopped.
    CancelRequested,
    /// Final: success, as the service sees it.
    Completed,
    /// Final: the job ended without success; its error text is fetched from the run history.
    Failed,
    /// Final: it was stopped before its end, by us or by somebody else.
    Canceled,
    /// Heartbeat lost; the service says that it may come back, so it is not final.
    NotResponding,
    /// Labelling jobs only; suspect, not final.
    Paused,
    /// The service could not map its own status; not final.
    Unknown,
}

/// A status word that nobody lists is kept up to this length: no word of the service has a quarter of it.
const MAX_STATUS_WORD: usize = 64;

impl JobStatus {
    /// It has ended, in whatever way. `NotResponding`, `Paused` and words that are not listed are no end.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_words_are_read_in_any_case_and_unlisted_ones_are_kept() {
        assert_eq!(JobStatus::read("completed"), JobStatus::Completed);
        assert_eq!(JobStatus::read("Succeeded"), JobStatus::Completed);
        assert_eq!(JobStatus::read("NOTRESPONDING"), JobStatus::NotResponding);
        assert_eq!(JobStatus::read("Defrosting").name(), "Defrosting");
        assert_eq!(format!("{:>10}", JobStatus::Failed), "    Failed");
    }

    #[test]
    fn a_print_tells_names_and_etags_in_any_order() {
        let print = OutputPrint::of([("a", "1"), ("b", "2")]);
        assert_eq!(print, OutputPrint::of([("b", "2"), ("a", "1")]));
        for other in [vec![("a", "1")], vec![("a", "1"), ("b", "3")], vec![("a", "1"), ("c", "2")], vec![]] {
            assert_ne!(print, OutputPrint::of(other));
        }
    }

    #[test]
    fn what_a_service_tells_of_a_job_is_kept_within_bounds() {
        assert_eq!(JobStatus::read(&"w ".repeat(50_000)).name().chars().count(), MAX_STATUS_WORD + 1);
        let key = JobStatus::read(&format!("{}==", "aB3+".repeat(21)));
        assert!(!key.name().contains("aB3"), "cut before it is known for a key it is shown: {}", key.name());
        let (good, long) = ("x".repeat(MAX_ADDRESS), "x".repeat(MAX_ADDRESS + 1));
        let job = |id, studio| Job::told("job-1".parse().expect("a name"), Some(id), Some(studio));
        assert_eq!(job(&good, &long), Job { name: job("", "").name, id: Some(good.clone()), studio: None });
        assert_eq!(job(&long, &good).studio, Some(good));
        assert!("n".repeat(261).parse::<JobName>().is_err(), "a name that is cut names another job, or none");
    }

    #[test]
    fn an_experiment_is_asked_for_by_the_settings_or_not_at_all() {
        let asked = |settings: serde_json::Value| experiment_asked_for(settings.as_object().expect("an object"));
        assert_eq!(asked(serde_json::json!({"properties": {"experimentName": "nightly"}})).as_deref(), Some("nightly"));
        assert_eq!(asked(serde_json::json!({"Properties": {"ExperimentName": "nightly"}})).as_deref(), Some("nightly"));
        assert_eq!(asked(serde_json::json!({"properties": {}})), None);
        assert_eq!(asked(serde_json::json!({})), None);
    }
}
