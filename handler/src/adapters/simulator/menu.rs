//! Misbehaviour on order: a list of faults, each bound to a route, a number of requests, a probability and a blob.
//!
//! A new kind of fault is a variant of [`Misdeed`], a line in [`Misdeed::stage`] and one in `answer.rs` (what is said) or
//! `scoring.rs` (what is made).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::options::Behaviour;

/// Orders as a file, a flag or a request gives them: what is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Orders {
    /// Replaces all faults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<Vec<Fault>>,
    /// Replaces all switches; one that is left out is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behaviour: Option<Behaviour>,
}

/// One order to misbehave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Which requests.
    pub route: Route,
    /// What happens to them.
    pub misdeed: Misdeed,
    /// Only requests that concern an input whose URI contains this text: the invoke's own inputs, those of the job that
    /// is looked at, the path in storage. Requests that concern no one input never match.
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
    /// `misdeed` happens to every request on `route`.
    pub fn new(route: Route, misdeed: Misdeed) -> Self {
        Self { route, misdeed, matching: None, after: 0, times: None, probability: 1.0 }
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

    /// Why it makes no sense, if it does not.
    fn check(&self) -> Result<(), String> {
        use Route::{Arm, Identity, Invoke, Poll, RunHistory, Storage};
        let routes: &[Route] = match &self.misdeed {
            Misdeed::CutAfterCreate
            | Misdeed::Answer500AfterCreate
            | Misdeed::Made { .. }
            | Misdeed::Stuck
            | Misdeed::NoStatus => &[Invoke, Poll, Arm],
            Misdeed::ShowStatus { .. } | Misdeed::NotFoundFirst { .. } => &[Poll, Arm, RunHistory],
            Misdeed::ListLag { .. } => &[Poll, Arm],
            Misdeed::OldToken { .. } => &[Invoke, Poll, Arm, RunHistory, Storage],
            _ => &[Invoke, Poll, Arm, RunHistory, Storage, Identity],
        };
        if self.misdeed.stage() == Stage::Created && self.route != Invoke {
            return Err("only requests on the route `invoke` make jobs".to_owned());
        }
        if !routes.contains(&self.route) {
            return Err(format!(
                "{:?} has no meaning on the route {:?}; it has on {routes:?}",
                self.misdeed, self.route
            ));
        }
        if self.matching.is_some() && (self.route == Identity || matches!(self.misdeed, Misdeed::ListLag { .. })) {
            return Err("`matching` never holds there: such a request concerns no one input".to_owned());
        }
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(format!("probability {} is not between 0 and 1", self.probability));
        }
        match &self.misdeed {
            Misdeed::Answer { status, .. } | Misdeed::Relabel { status } if !(200..=599).contains(status) => {
                Err(format!("status {status} is not between 200 and 599"))
            }
            Misdeed::Made { jobs, .. } if !(1..=MOST_JOBS).contains(jobs) => {
                Err(format!("{jobs} jobs by one request is not between 1 and {MOST_JOBS}"))
            }
            Misdeed::Made { answer: Ending::Status(status), .. } if !(400..=599).contains(status) => {
                Err(format!("status {status} is not between 400 and 599"))
            }
            _ => Ok(()),
        }
    }
}

/// Jobs that one request may make. The worst that was ever reported is about 50.
const MOST_JOBS: u32 = 100;

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
pub enum Misdeed {
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
        answer: Ending,
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
        body: Form,
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
pub enum Ending {
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
pub enum Form {
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

/// When in the life of a request a misdeed happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// On arrival: nothing is done.
    Arrived,
    /// A job was made.
    Created,
    /// The proper answer is there.
    Answered,
}

impl Misdeed {
    fn stage(&self) -> Stage {
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
    pub(super) fn makes(&self) -> (u32, Ending) {
        match self {
            Self::CutAfterCreate => (1, Ending::Cut),
            Self::Answer500AfterCreate => (1, Ending::Status(500)),
            Self::Made { jobs, answer } => (*jobs, *answer),
            _ => (1, Ending::Proper),
        }
    }
}

/// What is known of a request.
#[derive(Debug, Clone)]
pub(super) struct Circumstances {
    pub(super) route: Route,
    /// URIs of the inputs that it concerns.
    pub(super) inputs: Vec<String>,
    /// How long ago its token was issued; `None` if it has none of ours.
    pub(super) token_age: Option<time::Duration>,
    /// How often the job that it looks at was looked at before.
    pub(super) polls: Option<u64>,
    /// It asks for a list of jobs.
    pub(super) is_list: bool,
    /// When it came, by the service's clock.
    pub(super) now: OffsetDateTime,
}

/// The orders, and how far each has come.
#[derive(Debug)]
pub(super) struct Faults {
    orders: Vec<Order>,
    random: u64,
    /// When they were given.
    since: OffsetDateTime,
}

/// One order and how far it has come.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Order {
    #[serde(flatten)]
    fault: Fault,
    /// Requests that it could have happened to.
    seen: u64,
    /// Requests that it happened to.
    done: u64,
}

impl Order {
    fn concerns(&self, stage: Stage, request: &Circumstances, since: OffsetDateTime) -> bool {
        let fault = &self.fault;
        let matches = fault.matching.as_ref();
        fault.route == request.route
            && fault.misdeed.stage() == stage
            && matches.is_none_or(|text| request.inputs.iter().any(|uri| uri.contains(text.as_str())))
            && match &fault.misdeed {
                Misdeed::OldToken { seconds } => request.token_age.is_some_and(|age| age > lasting(*seconds)),
                Misdeed::Forbid { seconds } => request.now < since + lasting(*seconds),
                Misdeed::NotFoundFirst { polls } => request.polls.is_some_and(|before| before < *polls),
                Misdeed::ListLag { .. } => request.is_list,
                _ => true,
            }
    }
}

fn lasting(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

impl Faults {
    /// No orders. The seed decides what probabilities come to.
    pub(super) fn none(seed: u64) -> Self {
        Self { orders: Vec::new(), random: seed, since: OffsetDateTime::UNIX_EPOCH }
    }

    /// Replaces all orders, or says which one makes no sense. Times that count from the order count from `now`.
    pub(super) fn set(&mut self, faults: Vec<Fault>, now: OffsetDateTime) -> Result<(), String> {
        faults.iter().try_for_each(Fault::check)?;
        self.orders = faults.into_iter().map(|fault| Order { fault, seen: 0, done: 0 }).collect();
        self.since = now;
        Ok(())
    }

    /// The orders, and how far each has come.
    pub(super) fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// What happens to a request that has just arrived, in place of its answer.
    pub(super) fn on_arrival(&mut self, request: &Circumstances) -> Option<Misdeed> {
        self.meet(Stage::Arrived, request)
    }

    /// What happens to an invoke that has made its job.
    pub(super) fn on_created(&mut self, request: &Circumstances) -> Option<Misdeed> {
        self.meet(Stage::Created, request)
    }

    /// What happens to the answer of a request.
    pub(super) fn on_answer(&mut self, request: &Circumstances) -> Option<Misdeed> {
        self.meet(Stage::Answered, request)
    }

    fn meet(&mut self, stage: Stage, request: &Circumstances) -> Option<Misdeed> {
        let since = self.since;
        for order in self.orders.iter_mut().filter(|order| order.concerns(stage, request, since)) {
            order.seen += 1;
            let due = order.seen > order.fault.after && order.fault.times.is_none_or(|times| order.done < times);
            if due && chance(&mut self.random) < order.fault.probability {
                order.done += 1;
                return Some(order.fault.misdeed.clone());
            }
        }
        None
    }
}

/// Next number in 0..1 of SplitMix64: repeatable, and nothing here is worth guessing.
fn chance(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    f64::from(u32::try_from(z >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn request(route: Route) -> Circumstances {
        Circumstances { route, inputs: Vec::new(), token_age: None, polls: None, is_list: false, now: START }
    }

    #[test]
    fn a_fault_begins_after_its_start_and_ends_after_its_count() {
        let mut faults = Faults::none(1);
        let throttle = Misdeed::Throttle { retry_after: 2 };
        faults.set(vec![Fault::new(Route::Invoke, throttle.clone()).after(2).times(1)], START).unwrap();
        assert_eq!(faults.on_arrival(&request(Route::Poll)), None);
        let met: Vec<_> = (0..4).map(|_| faults.on_arrival(&request(Route::Invoke))).collect();
        assert_eq!(met, [None, None, Some(throttle), None]);
        assert_eq!(faults.on_created(&request(Route::Invoke)), None);
    }

    #[test]
    fn probability_is_about_kept() {
        let mut faults = Faults::none(7);
        let mut fault = Fault::new(Route::Invoke, Misdeed::CutAfterCreate);
        fault.probability = 0.25;
        faults.set(vec![fault], START).unwrap();
        let met = (0..4000).filter(|_| faults.on_created(&request(Route::Invoke)).is_some()).count();
        assert!((900..1100).contains(&met), "{met}");
    }

    #[test]
    fn senseless_orders_are_refused() {
        let with = |route, misdeed| Fault::new(route, misdeed);
        let improbable = Fault { probability: f64::NAN, ..with(Route::Invoke, Misdeed::CutAfterCreate) };
        let wrong = [
            improbable,
            with(Route::Arm, Misdeed::CutAfterCreate),
            with(Route::Poll, Misdeed::Stuck),
            with(Route::Invoke, Misdeed::NotFoundFirst { polls: 1 }),
            with(Route::RunHistory, Misdeed::ListLag { seconds: 1 }),
            with(Route::Poll, Misdeed::ListLag { seconds: 1 }).matching("x"),
            with(Route::Identity, Misdeed::Cut).matching("x"),
            with(Route::Identity, Misdeed::OldToken { seconds: 1 }),
            with(Route::Poll, Misdeed::Answer { status: 1000, body: Form::Json }),
            with(Route::Invoke, Misdeed::Made { jobs: 0, answer: Ending::Proper }),
            with(Route::Invoke, Misdeed::Made { jobs: 1, answer: Ending::Status(201) }),
        ];
        for fault in wrong {
            assert!(Faults::none(1).set(vec![fault.clone()], START).is_err(), "{fault:?}");
        }
    }
}
