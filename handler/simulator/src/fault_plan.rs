//! Misbehaviour that can be ordered: a list of faults, each bound to a route, a number of requests, a probability and a
//! blob. `faults.rs` says which of them a request meets, `inject.rs` commits them.
//!
//! A new kind of fault is a variant of [`Misdeed`], a line in [`Misdeed::stage`] and one in `inject.rs` (what is said)
//! or `scoring.rs` (what is made). No fault reaches the simulator's own pages (`/admin`, `/runs`).

use serde::{Deserialize, Serialize};

use crate::options::Behaviour;
use crate::resources::Resources;

/// Orders as a file, a flag or a request gives them: what is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultPlan {
    /// Replaces all faults.
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
    /// Why they make no sense, if they do not.
    pub fn check(&self) -> Result<(), String> {
        self.faults.iter().flatten().try_for_each(Fault::check)?;
        self.resources.iter().try_for_each(Resources::check)
    }
}

/// One order to misbehave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Which requests.
    pub route: Route,
    /// What happens to them.
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
    /// `fault` happens to every request on `route`.
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

    /// Why it makes no sense, if it does not.
    pub(super) fn check(&self) -> Result<(), String> {
        use Route::{Arm, Identity, Invoke, Poll, RunHistory, Storage};
        let routes: &[Route] = match &self.kind {
            FaultKind::CutAfterCreate
            | FaultKind::Answer500AfterCreate
            | FaultKind::Made { .. }
            | FaultKind::Stuck
            | FaultKind::NoStatus => &[Invoke, Poll, Arm],
            FaultKind::ShowStatus { .. } | FaultKind::NotFoundFirst { .. } => &[Poll, Arm, RunHistory],
            FaultKind::ListLag { .. } => &[Poll, Arm],
            FaultKind::OldToken { .. } => &[Invoke, Poll, Arm, RunHistory, Storage],
            _ => &[Invoke, Poll, Arm, RunHistory, Storage, Identity],
        };
        if self.kind.stage() == Stage::Created && self.route != Invoke {
            return Err("only requests on the route `invoke` make jobs".to_owned());
        }
        if !routes.contains(&self.route) {
            return Err(format!("{:?} has no meaning on the route {:?}; it has on {routes:?}", self.kind, self.route));
        }
        if self.matching.is_some() && self.route == Poll && matches!(self.kind, FaultKind::ListLag { .. }) {
            return Err("`matching` never holds there: such a request concerns no one input".to_owned());
        }
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(format!("probability {} is not between 0 and 1", self.probability));
        }
        match &self.kind {
            FaultKind::Answer { status, .. } | FaultKind::Relabel { status } if !(200..=599).contains(status) => {
                Err(format!("status {status} is not between 200 and 599"))
            }
            FaultKind::Made { jobs, .. } if !(1..=MAX_JOBS_PER_REQUEST).contains(jobs) => {
                Err(format!("{jobs} jobs by one request is not between 1 and {MAX_JOBS_PER_REQUEST}"))
            }
            FaultKind::Made { answer: AnswerKind::Status(status), .. } if !(400..=599).contains(status) => {
                Err(format!("status {status} is not between 400 and 599"))
            }
            _ => Ok(()),
        }
    }
}

/// Jobs that one request may make. The worst that was ever reported is about 50.
const MAX_JOBS_PER_REQUEST: u32 = 100;

/// The groups of routes that faults are ordered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Route {
    /// POST of a job.
    Invoke,
    /// GET of a job, or of the jobs, at the scoring host.
    Poll,
    /// Resource Manager.
    Arm,
    /// Run history.
    RunHistory,
    /// Storage.
    Storage,
    /// Tokens.
    Identity,
}

/// What goes wrong. Seconds are those of the service's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FaultKind {
    /// Invoke only: the job is made, the connection ends before the answer. Short for [`Misdeed::Made`].
    CutAfterCreate,
    /// Invoke only: the job is made, the answer is 500. Short for [`Misdeed::Made`].
    Answer500AfterCreate,
    /// Invoke only: jobs are made, as many as asked, then there is this answer.
    Made {
        /// So many from the one request, all alike but for their names.
        #[serde(default = "one")]
        jobs: u32,
        /// What is answered.
        #[serde(default)]
        answer: AnswerKind,
    },
    /// Invoke only: the job is made and never leaves `Running`, until it is cancelled or the simulator is restarted.
    Stuck,
    /// 429 with `Retry-After` in seconds; nothing is done.
    Throttle {
        /// Seconds until the client may come again.
        retry_after: u32,
    },
    /// 429 with `Retry-After` as an HTTP date; nothing is done.
    ThrottleUntil {
        /// Seconds until that date.
        seconds: u32,
    },
    /// 429 without `Retry-After`; nothing is done.
    ThrottleSilently,
    /// This answer; nothing is done. 404 after some polls is an endpoint that was deleted.
    Answer {
        /// Its status code.
        status: u16,
        /// What its body looks like.
        #[serde(default)]
        body: BodyKind,
    },
    /// The connection ends; nothing is done.
    Cut,
    /// No answer ever; nothing is done.
    Hang,
    /// 401 to tokens that were issued longer ago than this, however long they say that they are good.
    OldToken {
        /// The greatest age that is accepted, in seconds.
        seconds: u32,
    },
    /// 403 until so long after the order: a role assignment that has not reached all servers.
    Forbid {
        /// For so many seconds.
        seconds: u32,
    },
    /// 404 to the first looks at each job, which then is found.
    NotFoundFirst {
        /// So many looks, at all planes together.
        polls: u64,
    },
    /// The proper answer, but with this status word for the job: an earlier one, one that no list has, `NotResponding`.
    ShowStatus {
        /// The word.
        status: String,
    },
    /// The proper answer without the job's status.
    NoStatus,
    /// Lists leave out jobs younger than this.
    ListLag {
        /// That age in seconds.
        seconds: u32,
    },
    /// The proper answer with another status code, as 200 for 201.
    Relabel {
        /// That code.
        status: u16,
    },
    /// The proper answer, its body cut in half with a length that agrees.
    Truncate,
    /// The proper answer, a byte at a time.
    Trickle {
        /// Milliseconds before each byte.
        millis: u32,
    },
}

fn one() -> u32 {
    1
}

/// What is answered to a request that has made its jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AnswerKind {
    /// What should be answered, about the first job.
    #[default]
    Proper,
    /// Nothing: the connection ends.
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
    /// The service's error document.
    #[default]
    Json,
    /// Plain text.
    Text,
    /// A page, as from a gateway.
    Html,
    /// A page that says it is JSON.
    HtmlAsJson,
    /// None at all.
    Empty,
}

/// When in the life of a request a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// On arrival: nothing is done.
    Arrived,
    /// A job was made.
    Created,
    /// The proper answer is there.
    Answered,
}

impl FaultKind {
    pub(super) fn stage(&self) -> Stage {
        match self {
            Self::CutAfterCreate | Self::Answer500AfterCreate | Self::Made { .. } | Self::Stuck => Stage::Created,
            Self::ShowStatus { .. }
            | Self::NoStatus
            | Self::ListLag { .. }
            | Self::Relabel { .. }
            | Self::Truncate
            | Self::Trickle { .. } => Stage::Answered,
            _ => Stage::Arrived,
        }
    }

    /// How many jobs a request makes, and how it is answered.
    pub(super) fn makes(&self) -> (u32, AnswerKind) {
        match self {
            Self::CutAfterCreate => (1, AnswerKind::Cut),
            Self::Answer500AfterCreate => (1, AnswerKind::Status(500)),
            Self::Made { jobs, answer } => (*jobs, *answer),
            _ => (1, AnswerKind::Proper),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_orders_are_refused() {
        let with = |route, kind| Fault::new(route, kind);
        let improbable = with(Route::Invoke, FaultKind::CutAfterCreate).with_probability(f64::NAN);
        let wrong = [
            improbable,
            with(Route::Arm, FaultKind::CutAfterCreate),
            with(Route::Poll, FaultKind::Stuck),
            with(Route::Invoke, FaultKind::NotFoundFirst { polls: 1 }),
            with(Route::RunHistory, FaultKind::ListLag { seconds: 1 }),
            with(Route::Poll, FaultKind::ListLag { seconds: 1 }).matching("x"),
            with(Route::Identity, FaultKind::OldToken { seconds: 1 }),
            with(Route::Poll, FaultKind::Answer { status: 1000, body: BodyKind::Json }),
            with(Route::Invoke, FaultKind::Made { jobs: 0, answer: AnswerKind::Proper }),
            with(Route::Invoke, FaultKind::Made { jobs: 1, answer: AnswerKind::Status(201) }),
        ];
        for fault in wrong {
            assert!(fault.check().is_err(), "{fault:?}");
        }
    }
}
