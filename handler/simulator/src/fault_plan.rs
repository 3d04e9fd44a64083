//! The fault plan: a list of faults, each bound to a route, a number of requests, a probability and a blob. `faults.rs` says
//! which of them a request meets, `inject.rs` injects them.
//!
//! The words are those of the stores' and the simulation's faults (`lostRequest`, `lostAnswer`, `duplicated`, `refused`,
//! `throttled`), in camel case. A new kind of fault is a variant of [`FaultKind`], a line in [`FaultKind::stage`] and one in
//! `inject.rs` (what is answered) or `scoring.rs` (what is made). No fault reaches the simulator's own pages (`/admin`,
//! `/runs`).

use serde::{Deserialize, Serialize};

use crate::behaviour::Behaviour;
use crate::job_failure::JobFailure;
use crate::resources::{InvalidResources, Resources};

/// A fault plan as a file, a flag or a request gives it: what is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultPlan {
    /// Replaces all faults that are in force; an empty list ends them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<Vec<Fault>>,
    /// Replaces all switches; one that is left out is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behaviour: Option<Behaviour>,
    /// Replaces all that is wrong around the endpoint; what is left out is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl FaultPlan {
    /// Checks the plan before it takes effect; the error names the first fault or resource that makes no sense.
    pub fn check(&self) -> Result<(), InvalidFaultPlan> {
        self.faults.iter().flatten().try_for_each(Fault::check)?;
        Ok(self.resources.iter().try_for_each(Resources::check)?)
    }
}

/// Why a fault plan makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidFaultPlan {
    /// The fault happens to a request that has made a job, and this route makes none.
    #[error("only requests on the route `invoke` make jobs")]
    MakesNoJob,
    /// Nothing on this route is like it.
    #[error("{kind:?} has no meaning on the route {route:?}; it has on {routes:?}")]
    Route {
        /// What was to go wrong.
        kind: FaultKind,
        /// The route that the fault was to happen on.
        route: Route,
        /// The routes on which such a fault has a meaning.
        routes: &'static [Route],
    },
    /// Requests for lists concern no one input.
    #[error("`matching` never holds there: such a request concerns no one input")]
    Matching,
    /// A probability is a number from 0 to 1.
    #[error("probability {0} is not between 0 and 1")]
    Probability(f64),
    /// An HTTP status code that is no answer of this kind.
    #[error("status {status} is not between {from} and 599")]
    Status {
        /// The one that was given.
        status: u16,
        /// The lowest that can be.
        from: u16,
    },
    /// One request makes at least one job and not without bound.
    #[error("{0} jobs by one request is not between 1 and {MAX_JOBS_PER_REQUEST}")]
    Jobs(u32),
    /// What is wrong around the endpoint makes no sense.
    #[error(transparent)]
    Resources(#[from] InvalidResources),
}

/// One fault: which requests it happens to, how often, and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// The group of requests that it happens to.
    pub route: Route,
    /// What goes wrong; `fault` in JSON.
    #[serde(rename = "fault")]
    pub kind: FaultKind,
    /// Only requests that concern an input whose URI contains this text: the invoke's own inputs, those of the job that
    /// is looked at, the path in storage. Of Resource Manager also requests whose own path contains it; of the managed
    /// identity those for such an audience. Requests that concern nothing of the kind never match.
    #[serde(default)]
    pub matching: Option<String>,
    /// So many requests pass before the fault begins.
    #[serde(default)]
    pub after: u64,
    /// So often it happens; `None` is for ever.
    #[serde(default)]
    pub times: Option<u64>,
    /// How likely it happens to a request that it could happen to, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
}

fn always() -> f64 {
    1.0
}

impl Fault {
    /// A fault of this kind that happens to every request on `route`.
    pub fn new(route: Route, kind: FaultKind) -> Self {
        Self { route, kind, matching: None, after: 0, times: None, probability: 1.0 }
    }

    /// It happens so often and then no more.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// It begins after so many requests.
    #[must_use]
    pub fn after(mut self, passed: u64) -> Self {
        self.after = passed;
        self
    }

    /// It happens only where an input's URI contains this text.
    #[must_use]
    pub fn matching(mut self, text: impl Into<String>) -> Self {
        self.matching = Some(text.into());
        self
    }

    /// It happens with this probability, 0 to 1.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// When in the life of a request it happens.
    pub(super) fn stage(&self) -> Stage {
        self.kind.stage_on(self.route)
    }

    /// Checks that the fault can happen on its route at all, and that its numbers are in range.
    pub(super) fn check(&self) -> Result<(), InvalidFaultPlan> {
        if self.route != Route::Invoke && (self.stage() == Stage::Created || self.kind.jobs() > 1) {
            return Err(InvalidFaultPlan::MakesNoJob);
        }
        let routes = self.kind.routes();
        if !routes.contains(&self.route) {
            return Err(InvalidFaultPlan::Route { kind: self.kind.clone(), route: self.route, routes });
        }
        if self.matching.is_some() && self.route == Route::Poll && matches!(self.kind, FaultKind::ListLag { .. }) {
            return Err(InvalidFaultPlan::Matching);
        }
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(InvalidFaultPlan::Probability(self.probability));
        }
        match self.kind {
            FaultKind::Refused { status, .. } | FaultKind::Relabeled { status } if !(200..=599).contains(&status) => {
                Err(InvalidFaultPlan::Status { status, from: 200 })
            }
            FaultKind::LostAnswer { jobs, .. } | FaultKind::Duplicated { jobs }
                if !(1..=MAX_JOBS_PER_REQUEST).contains(&jobs) =>
            {
                Err(InvalidFaultPlan::Jobs(jobs))
            }
            FaultKind::LostAnswer { instead: Instead::Status(status), .. } if !(400..=599).contains(&status) => {
                Err(InvalidFaultPlan::Status { status, from: 400 })
            }
            _ => Ok(()),
        }
    }
}

/// Jobs that one request may make. The worst that was ever reported is about 50.
const MAX_JOBS_PER_REQUEST: u32 = 100;

/// The groups of routes that faults happen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Route {
    /// POST of a job at the scoring host.
    Invoke,
    /// GET of a job, or of the jobs, at the scoring host.
    Poll,
    /// Requests to Resource Manager, with or without a job.
    Arm,
    /// Looks at runs and their steps in run history.
    RunHistory,
    /// Requests to storage accounts: inputs, outputs and what is published.
    Storage,
    /// Requests for tokens, of the managed identity or of a service principal.
    Identity,
}

/// What goes wrong. Seconds are those of the service's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FaultKind {
    /// All is done that was asked for, a job made or a blob written, and the proper answer never comes.
    LostAnswer {
        /// Of an invoke: so many jobs from the one request, all alike but for their names.
        #[serde(default = "one")]
        jobs: u32,
        /// What comes in place of the answer.
        #[serde(default)]
        instead: Instead,
    },
    /// Invoke only: the request makes several jobs, all alike but for their names, and is answered as if it had made the
    /// first one only.
    Duplicated {
        /// So many jobs from the one request.
        #[serde(default = "two")]
        jobs: u32,
    },
    /// Invoke only: the job is made and never leaves `Running`, until it is cancelled or the simulator is restarted.
    Stuck,
    /// Invoke only: the job is made and fails when it works, unless the simulator is restarted before.
    Failed {
        /// What the job's error and its log files say.
        by: JobFailure,
    },
    /// The connection ends; nothing is done.
    LostRequest,
    /// The connection stays and no answer ever comes; nothing is done.
    Unanswered,
    /// 429, as a service does that has too much to do; nothing is done.
    Throttled {
        /// Seconds until the client may come again, in `Retry-After`; without it the answer has no such header.
        #[serde(default)]
        retry_after: Option<u32>,
        /// `Retry-After` is an HTTP date and not a number.
        #[serde(default)]
        as_date: bool,
    },
    /// This answer; nothing is done. 404 after some polls is an endpoint that was deleted.
    Refused {
        /// The HTTP status of the answer.
        status: u16,
        /// What its body looks like.
        #[serde(default)]
        body: BodyKind,
    },
    /// 401 to tokens that were issued longer ago than this, however long they say that they are good.
    OldToken {
        /// The greatest age that is accepted, in seconds.
        seconds: u32,
    },
    /// 403 until so long after the plan was set: a role assignment that has not reached all servers.
    Forbidden {
        /// Seconds from when the plan was set.
        seconds: u32,
    },
    /// 404 to the first looks at each job, which then is found.
    Hidden {
        /// So many looks, at all planes together.
        looks: u64,
    },
    /// The proper answer, but with this status word for the job: an earlier one, one that no list has, `NotResponding`.
    WrongStatus {
        /// The status word that is shown for the job.
        status: String,
    },
    /// The proper answer without the job's status.
    NoStatus,
    /// Lists leave out jobs younger than this.
    ListLag {
        /// Age in seconds from which on a job is listed.
        seconds: u32,
    },
    /// The proper answer with another status code, as 200 for 201.
    Relabeled {
        /// The HTTP status in place of the proper one.
        status: u16,
    },
    /// The proper answer, its body cut in half with a length that agrees.
    Truncated,
    /// The proper answer, a byte at a time.
    Trickled {
        /// Milliseconds that pass before each byte.
        millis: u32,
    },
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

/// What comes in place of an answer that is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Instead {
    /// Nothing comes, as the connection ends.
    #[default]
    Cut,
    /// Nothing, and the connection stays.
    Hang,
    /// This status code with the service's error document.
    Status(u16),
}

/// What a body looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BodyKind {
    /// The JSON error document of the service whose request it is.
    #[default]
    Json,
    /// Plain text: the reason phrase of the status.
    Text,
    /// A page, as from a gateway.
    Html,
    /// A page that says it is JSON.
    HtmlAsJson,
    /// An answer without any body.
    Empty,
}

/// When in the life of a request a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// On arrival: nothing is done.
    Arrived,
    /// When an invoke makes its job, before it is answered.
    Created,
    /// The proper answer is there.
    Answered,
}

impl FaultKind {
    /// One job is made, and this comes in place of the answer.
    pub fn lost_answer(instead: Instead) -> Self {
        Self::LostAnswer { jobs: 1, instead }
    }

    /// 429 whose answer does not say when to come again.
    pub fn throttled() -> Self {
        Self::Throttled { retry_after: None, as_date: false }
    }

    /// When in the life of a request on this route it happens.
    fn stage_on(&self, route: Route) -> Stage {
        match self {
            Self::LostAnswer { .. } if route != Route::Invoke => Stage::Answered,
            Self::LostAnswer { .. } | Self::Duplicated { .. } | Self::Stuck | Self::Failed { .. } => Stage::Created,
            Self::WrongStatus { .. }
            | Self::NoStatus
            | Self::ListLag { .. }
            | Self::Relabeled { .. }
            | Self::Truncated
            | Self::Trickled { .. } => Stage::Answered,
            _ => Stage::Arrived,
        }
    }

    /// The routes on which it has a meaning.
    fn routes(&self) -> &'static [Route] {
        use Route::{Arm, Identity, Invoke, Poll, RunHistory, Storage};
        match self {
            Self::Duplicated { .. } | Self::Stuck | Self::Failed { .. } => &[Invoke],
            Self::NoStatus => &[Invoke, Poll, Arm],
            Self::WrongStatus { .. } | Self::Hidden { .. } => &[Poll, Arm, RunHistory],
            Self::ListLag { .. } => &[Poll, Arm],
            Self::OldToken { .. } => &[Invoke, Poll, Arm, RunHistory, Storage],
            _ => &[Invoke, Poll, Arm, RunHistory, Storage, Identity],
        }
    }

    /// How many jobs a request makes.
    pub(super) fn jobs(&self) -> u32 {
        match self {
            Self::LostAnswer { jobs, .. } | Self::Duplicated { jobs } => *jobs,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_faults_are_refused() {
        let lost = |jobs, instead| FaultKind::LostAnswer { jobs, instead };
        let with = |route, kind| Fault::new(route, kind);
        let improbable = with(Route::Invoke, lost(1, Instead::Cut)).with_probability(f64::NAN);
        let wrong = [
            improbable,
            with(Route::Arm, lost(2, Instead::Cut)),
            with(Route::Poll, FaultKind::Stuck),
            with(Route::Invoke, FaultKind::Hidden { looks: 1 }),
            with(Route::RunHistory, FaultKind::ListLag { seconds: 1 }),
            with(Route::Poll, FaultKind::ListLag { seconds: 1 }).matching("x"),
            with(Route::Identity, FaultKind::OldToken { seconds: 1 }),
            with(Route::Poll, FaultKind::Refused { status: 1000, body: BodyKind::Json }),
            with(Route::Invoke, FaultKind::Duplicated { jobs: 0 }),
            with(Route::Invoke, lost(1, Instead::Status(201))),
            with(Route::Storage, lost(1, Instead::Status(201))),
        ];
        for fault in wrong {
            assert!(fault.check().is_err(), "{fault:?}");
        }
    }
}
