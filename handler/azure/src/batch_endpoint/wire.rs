//! The data plane's JSON: what a submission looks like, and a lenient reading of the job resource that comes back.
//!
//! There is no published schema of this API; `Resource` trusts nothing but `name`. Every member may be absent or null,
//! in either casing (recordings of Microsoft's own clients differ from month to month).

use lifecycle::job::{Input, Job, OutputKind, Submission};
use lifecycle::{JobStatus, Scoring, ScoringId};
use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::text::member;

/// Tags by which a job says whose it is. Whether the service keeps tags is not documented, so a search never relies on
/// them alone; a job that has them is ours beyond doubt.
pub(super) const TAG_SCORING: &str = "scorekeeper.scoring";
/// The attempt, as a decimal number.
pub(super) const TAG_ATTEMPT: &str = "scorekeeper.attempt";

/// A setting of the rule would break what was recorded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SettingError {
    /// The recorded URIs are what a lost job is searched by; they cannot be replaced behind our back.
    #[error("`settings.{0}` would replace the rule's own; use `inputs` and `outputs`")]
    Replaces(String),
    /// Tags are put together from the rule's and ours.
    #[error("`settings.{0}` is `{1}`; tags are an object of texts")]
    Tags(String, Value),
}

/// The body of the POST. What is sent untagged has no member `tags` at all, also none of the rule's: it is the member that a
/// service may refuse.
///
/// Members are in PascalCase inside `properties`, as Microsoft's documentation sends them.
pub(super) fn request(scoring: &Scoring, submission: &Submission) -> Result<Value, SettingError> {
    let inputs = submission.inputs.iter().map(|(name, input)| {
        let input = match input {
            Input::UriFile(data) => {
                described("JobInputType", "UriFile", &data.uri, data.mode, data.description.as_deref())
            }
            Input::UriFolder(data) => {
                described("JobInputType", "UriFolder", &data.uri, data.mode, data.description.as_deref())
            }
            Input::Literal { value } => json!({ "JobInputType": "Literal", "Value": value }),
        };
        (name.clone(), input)
    });
    let outputs = submission.outputs.iter().map(|(name, output)| {
        let kind = match output.kind {
            OutputKind::UriFile => "UriFile",
            OutputKind::UriFolder => "UriFolder",
        };
        (name.clone(), described("JobOutputType", kind, &output.uri, output.mode, output.description.as_deref()))
    });
    let mut properties = Map::new();
    properties.insert("InputData".to_owned(), Value::Object(inputs.collect()));
    properties.insert("OutputData".to_owned(), Value::Object(outputs.collect()));
    let mut tags = Map::new();
    for (name, value) in &submission.settings {
        if name.eq_ignore_ascii_case("inputData") || name.eq_ignore_ascii_case("outputData") {
            return Err(SettingError::Replaces(name.clone()));
        }
        match value {
            Value::Object(theirs) if name.eq_ignore_ascii_case("tags") => tags.extend(theirs.clone()),
            other if name.eq_ignore_ascii_case("tags") => {
                return Err(SettingError::Tags(name.clone(), other.clone()));
            }
            other => {
                properties.insert(name.clone(), other.clone());
            }
        }
    }
    if !submission.untagged {
        // Last: a tag of the rule under our name would make the job look like somebody else's.
        tags.insert(TAG_SCORING.to_owned(), json!(scoring.id.as_str()));
        tags.insert(TAG_ATTEMPT.to_owned(), json!(scoring.attempt.to_string()));
        properties.insert("tags".to_owned(), Value::Object(tags));
    }
    Ok(json!({ "properties": properties }))
}

/// An input or output; what is not said is not sent.
fn described(
    type_member: &str,
    kind: &str,
    uri: &str,
    mode: Option<impl Serialize>,
    description: Option<&str>,
) -> Value {
    let mut data = json!({ type_member: kind, "Uri": uri });
    if let Some(mode) = mode {
        data["Mode"] = json!(mode);
    }
    if let Some(description) = description {
        data["Description"] = json!(description);
    }
    data
}

/// What our tags on a job say, as it came.
#[derive(Debug, Clone)]
pub(super) struct JobTags {
    scoring: String,
    attempt: String,
}

impl JobTags {
    /// It names this scoring's current attempt.
    pub(super) fn is_of(&self, scoring: &Scoring) -> bool {
        self.scoring == scoring.id.as_str() && self.attempt == scoring.attempt.to_string()
    }

    /// Scoring and attempt that it names.
    pub(super) fn read(&self) -> Option<(ScoringId, u32)> {
        Some((ScoringId::read(&self.scoring)?, self.attempt.parse().ok()?))
    }

    /// Bytes of both texts, for the bound on a list that is kept.
    pub(super) fn bytes(&self) -> usize {
        self.scoring.len() + self.attempt.len()
    }
}

/// One input as a job shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InputShown {
    /// Where it lies; `None` if it is a literal, or not shown.
    pub(super) uri: Option<String>,
    /// Text of a literal, or its JSON where it is no string; `None` if it is none, or not shown.
    pub(super) value: Option<String>,
}

/// A job resource as it came: of the data plane or of Resource Manager, which differ little in what we read.
#[derive(Debug, Clone)]
pub(super) struct Resource(Value);

impl Resource {
    /// Takes any JSON object, whatever members it has; `None` for anything else.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().filter(Value::is_object).map(Self)
    }

    pub(super) fn of(value: Value) -> Self {
        Self(value)
    }

    fn text(&self, path: &[&str]) -> Option<&str> {
        let found = path.iter().try_fold(&self.0, |value, name| member(value, name))?;
        found.as_str().filter(|text| !text.is_empty())
    }

    /// Key of every later call; equal to the last segment of the id.
    pub(super) fn name(&self) -> Option<&str> {
        self.text(&["name"]).or_else(|| {
            let id = self.text(&["id"])?;
            let at = id.to_ascii_lowercase().rfind("/jobs/")? + "/jobs/".len();
            id.get(at..).filter(|name| !name.is_empty() && !name.contains('/'))
        })
    }

    pub(super) fn job(&self) -> Option<Job> {
        let name = self.name()?.parse().ok()?;
        Some(Job::told(name, self.id(), self.place("Studio")))
    }

    /// The status, if there is one. `provisioningState` speaks of the submission: `Failed` there is a failed job.
    pub(super) fn status(&self) -> Option<JobStatus> {
        let word = self.text(&["properties", "status"]).or_else(|| self.text(&["status"]));
        let submission = self.text(&["properties", "provisioningState"]).unwrap_or_default();
        match word.map(JobStatus::read) {
            None | Some(JobStatus::NotStarted | JobStatus::Preparing | JobStatus::Unknown)
                if submission.eq_ignore_ascii_case("Failed") =>
            {
                Some(JobStatus::Failed)
            }
            status => status,
        }
    }

    fn place(&self, name: &str) -> Option<&str> {
        self.text(&["properties", "interactionEndpoints", name, "endpoint"])
            .or_else(|| self.text(&["properties", "services", name, "endpoint"]))
    }

    pub(super) fn studio(&self) -> Option<String> {
        self.place("Studio").map(str::to_owned)
    }

    /// Address of the job's run, `azureml://HOST/mlflow/v1.0/subscriptions/…?`, where the job shows it.
    pub(super) fn tracking(&self) -> Option<&str> {
        self.place("Tracking")
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.text(&["id"])
    }

    pub(super) fn experiment(&self) -> Option<&str> {
        self.text(&["properties", "experimentName"])
    }

    pub(super) fn created(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.text(&["systemData", "createdAt"])?, &Rfc3339).ok()
    }

    /// Our tags, if it has them.
    pub(super) fn tags(&self) -> Option<JobTags> {
        let tag = |name| self.text(&["properties", "tags", name]).map(str::to_owned);
        Some(JobTags { scoring: tag(TAG_SCORING)?, attempt: tag(TAG_ATTEMPT)? })
    }

    /// Its kind in Resource Manager's words (`Pipeline`, `Command`).
    pub(super) fn kind(&self) -> Option<&str> {
        self.text(&["properties", "jobType"])
    }

    /// A segment of its id: `/batchEndpoints/{endpoint}/deployments/{deployment}/jobs/{name}`.
    fn segment_after(&self, name: &str) -> Option<&str> {
        let mut segments = self.id()?.split('/');
        segments.find(|segment| segment.eq_ignore_ascii_case(name))?;
        segments.next().filter(|segment| !segment.is_empty())
    }

    /// The endpoint that made it.
    pub(super) fn endpoint(&self) -> Option<&str> {
        self.segment_after("batchEndpoints")
    }

    /// The deployment that runs it.
    pub(super) fn deployment(&self) -> Option<&str> {
        self.segment_after("deployments").or_else(|| self.text(&["properties", "tags", "azureml.deploymentname"]))
    }

    /// Its inputs, in no order, as far as they are shown.
    pub(super) fn inputs(&self) -> Vec<InputShown> {
        let all = member(&self.0, "properties").and_then(|properties| member(properties, "inputData"));
        let all = all.and_then(Value::as_object).into_iter().flat_map(Map::values);
        all.map(|one| InputShown {
            uri: member(one, "uri").and_then(Value::as_str).map(str::to_owned),
            value: member(one, "value").map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        })
        .collect()
    }

    /// URIs of the outputs, in no order.
    pub(super) fn outputs(&self) -> Vec<&str> {
        let all = member(&self.0, "properties").and_then(|properties| member(properties, "outputData"));
        let all = all.and_then(Value::as_object).into_iter().flat_map(Map::values);
        all.filter_map(|one| member(one, "uri").and_then(Value::as_str)).collect()
    }
}
