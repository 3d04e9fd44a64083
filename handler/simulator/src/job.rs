//! One job: what was asked for, how far it is, and what may be shown of it.

use std::collections::BTreeMap;

use crate::urls::without_query;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::installation::DeploymentKind;
use crate::job_failure::JobFailure;
use crate::request::Request;
use crate::run_error::RunError;

/// How far a job is. The service has two words for it, the job's and its one step's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Phase {
    Preparing,
    /// The job runs, its step waits for a node.
    Waiting,
    Working,
    Finalizing,
    CancelRequested,
    Completed,
    Failed,
    Canceled,
}

impl Phase {
    /// The status word that the scoring host shows for a job in this phase.
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Preparing => "Preparing",
            Self::Waiting | Self::Working => "Running",
            Self::Finalizing => "Finalizing",
            Self::CancelRequested => "CancelRequested",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }

    /// The status word of its step `batchscoring`.
    pub(super) fn step_status(self) -> &'static str {
        match self {
            Self::Preparing => "NotStarted",
            Self::Waiting => "Queued",
            other => other.status(),
        }
    }

    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }
}

/// A job as the simulator keeps it, in memory and in its journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    /// Order of creation, from 1.
    pub(super) seq: u64,
    pub(super) name: String,
    pub(super) endpoint: String,
    pub(super) deployment: String,
    pub(super) kind: DeploymentKind,
    pub(super) request: Request,
    /// Where it writes: the request's outputs, or the one that the service chose, by name.
    pub(super) outputs: BTreeMap<String, String>,
    pub(super) display_name: String,
    pub(super) experiment: String,
    pub(super) pipeline_id: String,
    pub(super) request_id: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) created: OffsetDateTime,
    pub(super) phase: Phase,
    /// When it entered the phase.
    #[serde(with = "time::serde::rfc3339")]
    pub(super) since: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub(super) started: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub(super) ended: Option<OffsetDateTime>,
    pub(super) error: Option<RunError>,
    #[serde(skip)]
    pub(super) polls: Polls,
    /// By a fault: its work never ends. Not kept over a restart.
    #[serde(skip)]
    pub(super) is_stuck: bool,
    /// By a fault: its work fails so. Not kept over a restart.
    #[serde(skip)]
    pub(super) fails: Option<JobFailure>,
    /// A person archived it: lists leave it out unless they are asked for all. Not kept over a restart.
    #[serde(skip)]
    pub(super) is_archived: bool,
}

/// How often somebody looked at a job, here or in Resource Manager. Not kept over a restart.
#[derive(Debug, Clone, Default)]
pub(super) struct Polls {
    pub(super) count: u64,
    pub(super) last: Option<OffsetDateTime>,
    pub(super) min_interval: Option<time::Duration>,
}

impl Polls {
    pub(super) fn count(&mut self, now: OffsetDateTime) {
        self.count += 1;
        if let Some(last) = self.last.replace(now) {
            let interval = now - last;
            self.min_interval = Some(self.min_interval.map_or(interval, |least| least.min(interval)));
        }
    }
}

impl Job {
    /// Enters a phase, and notes when work began or the job ended; an earlier error stays unless there is a new one.
    pub(super) fn enter(&mut self, phase: Phase, at: OffsetDateTime, error: Option<RunError>) {
        self.phase = phase;
        self.since = at;
        if phase == Phase::Working {
            self.started = Some(at);
        }
        if phase.is_final() {
            self.ended = Some(at);
        }
        if error.is_some() {
            self.error = error;
        }
    }

    /// The job as `/admin/jobs` shows it.
    pub(super) fn view(&self) -> JobView {
        let inputs = &self.request.inputs;
        JobView {
            name: self.name.clone(),
            endpoint: self.endpoint.clone(),
            deployment: self.deployment.clone(),
            inputs: inputs
                .iter()
                .map(|(name, data)| {
                    let literal = data.value.as_deref().filter(|_| data.is_literal());
                    (name.clone(), literal.unwrap_or_else(|| without_query(&data.uri)).to_owned())
                })
                .collect(),
            request: serde_json::to_value(self.request.without_queries()).unwrap_or_default(), // texts always serialise
            outputs: self.outputs.clone(),
            request_id: self.request_id.clone(),
            created: self.created,
            status: self.phase.status().to_owned(),
            step_status: self.phase.step_status().to_owned(),
            error: self.error.as_ref().map(|error| error.message.clone()),
            polls: self.polls.count,
            min_poll_seconds: self.polls.min_interval.map(time::Duration::as_seconds_f64),
        }
    }
}

/// What the administrator sees of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// Its name, by which it is looked at.
    pub name: String,
    /// The endpoint that made it.
    pub endpoint: String,
    /// The deployment that runs it.
    pub deployment: String,
    /// Input URIs by name, without queries; a literal's text.
    pub inputs: BTreeMap<String, String>,
    /// Output URIs by name: those of the request, or the one that the service chose.
    pub outputs: BTreeMap<String, String>,
    /// All that was asked for, in one spelling: inputs, outputs, name, description, tags, properties, settings.
    pub request: serde_json::Value,
    /// The request's `repeatability_request-id`; `None` if it had none.
    pub request_id: Option<String>,
    /// When it was made, by the service's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// The job's status word, as the scoring host shows it.
    pub status: String,
    /// The status word of its step.
    pub step_status: String,
    /// What run history says of its failure; `None`: it did not fail.
    pub error: Option<String>,
    /// How often it was looked at since the simulator started.
    pub polls: u64,
    /// The shortest time between two looks.
    pub min_poll_seconds: Option<f64>,
}
