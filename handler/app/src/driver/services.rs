//! The services that a driver looks at and acts on: the batch endpoint, and the storage of inputs and outputs.

use std::borrow::Cow;
use std::sync::Arc;

use lifecycle::{
    Answer, CancelAnswer, Job, JobsFound, LostLook, Observation, OutputFound, OutputSnapshot, Policy, Rule, Scoring,
    Status,
};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::observed::Observed;
use crate::clock::LedgerClock;
use crate::error::error_chain;
use crate::ports::{Answered, Blobs, Endpoint, Inconclusive, JobAddress, JobSearch};
use crate::workspaces::Workspaces;

/// The batch endpoint, and the storage of inputs and outputs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) endpoint: Arc<dyn Endpoint>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) workspaces: Workspaces,
    pub(crate) clock: LedgerClock,
}

impl Services {
    /// Sends the scoring's submission, which is on record, once. What is sent is not known to be answered.
    ///
    /// Never again without a look at the attempt's output path: what lies there was written by an earlier request of the same
    /// attempt, whatever was concluded of it.
    /// `begun` is when its lease began, or before.
    pub(crate) async fn submit(&self, scoring: &Scoring, rule: Option<&Rule>, begun: Instant) -> Answered<Observation> {
        let policy = rule.map_or_else(Policy::default, |rule| rule.policy);
        // An intent may have waited behind others, or its record taken long. Whoever holds a lease may send only what
        // is answered before it ends; after that somebody else may look for the job, find none, and send it too.
        let earlier = if scoring.submits > 1 {
            self.output_found(&*self.with_workspace(scoring).await).await
        } else {
            OutputFound::Nothing
        };
        match earlier {
            OutputFound::Nothing => {}
            OutputFound::Something(_) => {
                let text = "it was not sent again, as something is at its output path: an earlier request ran";
                return Answered::from(Observation::Answer(Answer::Unknown { text: text.to_owned() }));
            }
            OutputFound::NotSeen(why) => return not_sent(format!("its output path could not be looked at: {why}")),
        }
        // By both clocks: the wall clock may be set back meanwhile, and the other stands still while a machine sleeps.
        let half_over = begun.elapsed() >= std::time::Duration::try_from(policy.lease() / 2).unwrap_or_default();
        if half_over || self.clock.now() + policy.submit_timeout.0 > scoring.due {
            return not_sent("too little was left of the lease for the request and its answer".to_owned());
        }
        let timeout = std::time::Duration::try_from(policy.submit_timeout.0).unwrap_or_default(); // rules refuse negative ones
        self.endpoint.submit(scoring, timeout).await.map(Observation::Answer)
    }

    /// Asks for jobs of a scoring to be stopped, and says what was answered. A request that is lost, or not listened to, is made
    /// again by whoever meets the job next: the look at a scoring that is `cancelling`, or the scan for orphaned jobs.
    pub(crate) async fn cancel(&self, scoring: &Scoring, jobs: Vec<Job>) -> Answered<Observation> {
        let mut answers = Vec::new();
        for job in jobs {
            let name = job.name.clone();
            let (request_id, refused) = match self.endpoint.cancel(&address(scoring, job)).await {
                Ok(Answered { request_id, value: () }) => {
                    tracing::info!(scoring = %scoring.id, job = name.as_str(), request = request_id.as_deref(), "cancellation of job {name} requested");
                    (request_id, None)
                }
                Err(error) => {
                    let why = error_chain(&error);
                    tracing::warn!(scoring = %scoring.id, job = name.as_str(), request = error.request_id.as_deref(), error = why, "job {name} could not be cancelled: {why}");
                    (error.request_id, Some(format!("job {name} could not be told to stop: {why}")))
                }
            };
            answers.push(CancelAnswer { job: name, refused, request_id });
        }
        // With several the reason tells each id.
        let request_id = if let [one] = answers.as_slice() { one.request_id.clone() } else { None };
        Answered { value: Observation::CancelAnswered(answers), request_id }
    }

    /// The look that a scoring's status needs. What is queued needs none here: whether it may go is for admission to say.
    pub(crate) async fn observe(&self, scoring: &Scoring, rule: Option<&Rule>) -> Observed {
        let now = self.clock.now();
        // Where there is a job, its id tells the workspace or nothing does.
        let needs_workspace =
            scoring.job.is_none() && matches!(scoring.status, Status::Unknown | Status::Held | Status::Verifying);
        let scoring = if needs_workspace { &*self.with_workspace(scoring).await } else { scoring };
        let seen = match scoring.status {
            // Before it is due a job may not be listed yet: "none" would mean nothing, and the list is dear.
            Status::Unknown | Status::Held if scoring.due <= now => return self.look_for_lost(scoring, now).await,
            Status::Running | Status::Cancelling => match &scoring.job {
                Some(job) => self.observe_job(&address(scoring, job.clone())).await,
                None => Observation::CannotLook("the ledger has no job for a running scoring".to_owned()).into(),
            },
            Status::Verifying if scoring.is_group() => Box::pin(self.group_output(scoring, rule)).await,
            Status::Verifying => match self.output(scoring, rule).await {
                Ok(output) => output.into(),
                Err(inconclusive) => cannot_look(inconclusive),
            },
            _ => Observation::Nothing.into(),
        };
        // The time before the look, whatever it took: a job that was made meanwhile must not be found missing "after
        // `resubmitAfter`".
        Observed::of(seen, now)
    }

    /// The attempt's outputs, and before them which versions are there of those that are published.
    async fn output(&self, scoring: &Scoring, rule: Option<&Rule>) -> Result<Observation, Inconclusive> {
        if scoring.asks_for_no_output() {
            return Ok(Observation::Output { output: OutputSnapshot::NotAskedFor, sources: Vec::new() });
        }
        let sources = self.sources(scoring, rule).await?;
        Ok(Observation::Output { output: self.blobs.outputs(scoring).await?, sources })
    }

    /// The scoring with what tells the workspace of its outputs' datastores.
    pub(super) async fn with_workspace_for_storage<'a>(&self, scoring: &'a Scoring) -> Cow<'a, Scoring> {
        // Where there is a job, its id tells the workspace or nothing does.
        if scoring.job.is_some() { Cow::Borrowed(scoring) } else { self.with_workspace(scoring).await }
    }

    /// The scoring with the workspace of its endpoint: neither the rule nor a job of its own may have said it.
    async fn with_workspace<'a>(&self, scoring: &'a Scoring) -> Cow<'a, Scoring> {
        if scoring.workspace.is_some() {
            return Cow::Borrowed(scoring);
        }
        let workspace = self.workspaces.of(&scoring.endpoint).await;
        Cow::Owned(Scoring { workspace, ..scoring.clone() })
    }

    /// A look for the job of a lost submission.
    async fn look_for_lost(&self, scoring: &Scoring, now: OffsetDateTime) -> Observed {
        let (jobs, at, request_id) = match self.endpoint.find(scoring).await {
            // Searches share lists, so that what was seen may be older than this look.
            Ok(JobSearch { jobs: ours, possible, as_of, request_id }) => {
                (JobsFound::Seen { ours, possible }, as_of.map_or(now, |as_of| as_of.min(now)), request_id)
            }
            Err(inconclusive) => (JobsFound::NotSeen(error_chain(&inconclusive)), now, inconclusive.request_id),
        };
        let output = self.output_found(scoring).await;
        Observed::of(Answered { value: Observation::Lost(LostLook { jobs, output }), request_id }, at)
    }

    async fn output_found(&self, scoring: &Scoring) -> OutputFound {
        match self.blobs.output_print(scoring).await {
            Ok(None) => OutputFound::Nothing,
            Ok(Some(print)) => OutputFound::Something(print),
            Err(inconclusive) => OutputFound::NotSeen(error_chain(&inconclusive)),
        }
    }

    /// A job as it is now. That it could not be looked at is an observation too, and never "missing".
    pub(crate) async fn observe_job(&self, at: &JobAddress) -> Answered<Observation> {
        match self.endpoint.job(at).await {
            Ok(answered) => answered.map(|job| job.map_or(Observation::JobMissing, Observation::Job)),
            Err(inconclusive) => cannot_look(inconclusive),
        }
    }
}

pub(super) fn cannot_look(inconclusive: Inconclusive) -> Answered<Observation> {
    Answered { value: Observation::CannotLook(error_chain(&inconclusive)), request_id: inconclusive.request_id }
}

fn not_sent(text: String) -> Answered<Observation> {
    Answered::from(Observation::Answer(Answer::Refused {
        code: "not sent".to_owned(),
        text,
        permanent: false,
        retry_after: None,
    }))
}

fn address(scoring: &Scoring, job: Job) -> JobAddress {
    let Scoring { endpoint, workspace, identity, .. } = scoring.clone();
    JobAddress { endpoint, workspace, identity, job }
}
