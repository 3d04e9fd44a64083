//! What the suites need of a world around an implementation: scorings that end as they say, faults by plan, and a time
//! that moves when it is told to.

use app::ports::{Blobs, Endpoint, JobAddress};
use async_trait::async_trait;
use lifecycle::{BlobVersion, Job, JobName, LedgerId, Rules, Scoring, UnversionedBlob};
use serde_json::json;
use stores::fault::Fault;
use time::{Duration, OffsetDateTime};

/// How the job of a scoring ends, if nobody stops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// `Completed`, with predictions.
    Scored,
    /// `Completed`, with a blob of no bytes.
    Empty,
    /// `Completed`, and nothing is there.
    Absent,
    /// `Failed`.
    Failed,
}

/// One implementation of the ports and the world behind it.
#[async_trait]
pub trait Stage: Send + Sync {
    fn endpoint(&self) -> &dyn Endpoint;

    fn blobs(&self) -> &dyn Blobs;

    /// The world's time, which is also the implementation's.
    fn now(&self) -> OffsetDateTime;

    /// The rule that scorings are of: its endpoint is the one on stage.
    fn rules(&self) -> Rules;

    /// Makes ready for a job of this scoring that ends so. Of several scorings in the order of their submission.
    fn prepare(&self, scoring: &Scoring, ending: Ending);

    /// What becomes of the next submission.
    fn next(&self, fault: Fault);

    /// What becomes of the next write to a published path: `LostRequest`, `LostAnswer` or `Refused`, which is the right to write.
    fn next_write(&self, fault: Fault);

    /// Lets so much time pass.
    async fn pass(&self, by: Duration);

    /// Lets all jobs come to their ends.
    async fn finish(&self);

    /// Puts a blob at an output's URI.
    fn place(&self, uri: &str, bytes: usize);

    /// Writes an input, and tells its version.
    fn write_input(&self, path: &str) -> BlobVersion;

    /// Changes what lies beside the content of an input.
    fn mark_input(&self, blob: &BlobVersion);

    /// From now on the storage refuses to copy this input.
    fn refuse_to_copy(&self, blob: &BlobVersion);

    /// Deletes an input.
    fn delete_input(&self, blob: &BlobVersion);

    /// Makes somebody else's job over the inputs of a scoring; its name.
    async fn make_strangers(&self, like: &Scoring) -> JobName;

    /// Uploads a blob of so many bytes to the container that the rules watch; gives its name.
    fn upload(&self, path: &str, bytes: usize) -> UnversionedBlob;

    /// Gives an uploaded blob a metadata and an index tag.
    fn label(&self, blob: &UnversionedBlob, metadata: (&str, &str), tag: (&str, &str));

    /// The name of a blob in that container, there or not.
    fn upload_name(&self, path: &str) -> UnversionedBlob;

    /// From now on nobody may look at jobs, inputs, uploads and outputs.
    fn deny_lookups(&self);
}

/// Its name in the worlds that have no wire.
pub fn name_in_azure(path: &str) -> UnversionedBlob {
    let claims = UnversionedBlob::read("https://uploads.blob.core.windows.net/claims/x").unwrap();
    claims.beside(path).unwrap()
}

/// A scoring of `path` in its first attempt, as it is recorded before it is sent.
pub async fn scoring(stage: &dyn Stage, path: &str, ending: Ending) -> Scoring {
    let rules = stage.rules();
    let rule = rules.iter().next().unwrap();
    let url = format!("https://uploads.blob.core.windows.net/claims/{path}");
    let mut scoring =
        Scoring::accept(&LedgerId::of_random([1; 16]), rule, BlobVersion::read(&url, "1").unwrap(), stage.now());
    next_attempt(stage, &mut scoring, ending).await;
    scoring
}

/// The scoring's next attempt, which has outputs of its own.
pub async fn next_attempt(stage: &dyn Stage, scoring: &mut Scoring, ending: Ending) {
    // A search may be shared with those that were due in the same moment, so no two attempts are sent in one.
    stage.pass(Duration::SECOND).await;
    let rules = stage.rules();
    scoring.attempt += 1;
    let rule = rules.iter().next().unwrap();
    scoring.submission = Some(rule.submission(scoring, scoring.attempt));
    scoring.submitted = Some(stage.now());
    scoring.due = stage.now();
    stage.prepare(scoring, ending);
}

/// Where a job of the scoring is looked at.
pub fn address(scoring: &Scoring, job: &Job) -> JobAddress {
    let Scoring { endpoint, workspace, identity, .. } = scoring.clone();
    JobAddress { endpoint, workspace, identity, job: job.clone() }
}

/// One rule for the container `claims` and this endpoint.
pub fn rules_for(endpoint: &str, workspace: Option<&str>) -> Rules {
    let mut target = json!({ "uri": endpoint });
    if let Some(workspace) = workspace {
        target["workspace"] = json!(workspace);
    }
    Rules::read(
        &json!({ "rules": [{ "id": "claims", "match": { "container": "claims" }, "endpoint": target }] }).to_string(),
    )
    .unwrap()
}
