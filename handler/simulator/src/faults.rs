//! The orders in force: which of them a request meets.
//!
//! What a probability comes to depends on the seed, the order's place in the list and how many requests the order could
//! have happened to, and on nothing else: what other orders or other routes see does not shift it, so a run repeats as far
//! as its requests come in the same order.

use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use crate::fault_plan::{Fault, FaultKind, Route, Stage};

/// What is known of a request.
#[derive(Debug, Clone)]
pub(super) struct RequestFacts {
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
pub(super) struct ActiveFaults {
    orders: Vec<ActiveFault>,
    seed: u64,
    /// When they were given.
    since: OffsetDateTime,
}

/// One order and how far it has come.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActiveFault {
    #[serde(flatten)]
    fault: Fault,
    /// Requests that it could have happened to.
    seen: u64,
    /// Requests that it happened to.
    done: u64,
}

impl ActiveFault {
    fn concerns(&self, stage: Stage, request: &RequestFacts, since: OffsetDateTime) -> bool {
        let fault = &self.fault;
        let matches = fault.matching.as_ref();
        fault.route == request.route
            && fault.kind.stage() == stage
            && matches.is_none_or(|text| request.inputs.iter().any(|uri| uri.contains(text.as_str())))
            && match &fault.kind {
                FaultKind::OldToken { seconds } => request.token_age.is_some_and(|age| age > lasting(*seconds)),
                FaultKind::Forbid { seconds } => request.now < since + lasting(*seconds),
                FaultKind::NotFoundFirst { polls } => request.polls.is_some_and(|before| before < *polls),
                FaultKind::ListLag { .. } => request.is_list,
                _ => true,
            }
    }
}

fn lasting(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

impl ActiveFaults {
    /// No orders. The seed decides what probabilities come to.
    pub(super) fn none(seed: u64) -> Self {
        Self { orders: Vec::new(), seed, since: OffsetDateTime::UNIX_EPOCH }
    }

    /// Replaces all orders, or says which one makes no sense. Times that count from the order count from `now`.
    pub(super) fn set(&mut self, faults: Vec<Fault>, now: OffsetDateTime) -> Result<(), String> {
        faults.iter().try_for_each(Fault::check)?;
        self.orders = faults.into_iter().map(|fault| ActiveFault { fault, seen: 0, done: 0 }).collect();
        self.since = now;
        Ok(())
    }

    /// The orders, and how far each has come.
    pub(super) fn orders(&self) -> &[ActiveFault] {
        &self.orders
    }

    /// What happens to a request that has just arrived, in place of its answer.
    pub(super) fn on_arrival(&mut self, request: &RequestFacts) -> Option<FaultKind> {
        self.meet(Stage::Arrived, request)
    }

    /// What happens to an invoke that has made its job.
    pub(super) fn on_created(&mut self, request: &RequestFacts) -> Option<FaultKind> {
        self.meet(Stage::Created, request)
    }

    /// What happens to the answer of a request.
    pub(super) fn on_answer(&mut self, request: &RequestFacts) -> Option<FaultKind> {
        self.meet(Stage::Answered, request)
    }

    fn meet(&mut self, stage: Stage, request: &RequestFacts) -> Option<FaultKind> {
        let (since, seed) = (self.since, self.seed);
        let orders = self.orders.iter_mut().zip(0_u64..);
        for (order, place) in orders.filter(|(order, _)| order.concerns(stage, request, since)) {
            order.seen += 1;
            let due = order.seen > order.fault.after && order.fault.times.is_none_or(|times| order.done < times);
            if due && chance([seed, place, order.seen]) < order.fault.probability {
                order.done += 1;
                return Some(order.fault.kind.clone());
            }
        }
        None
    }
}

/// A number in 0..1 by SplitMix64: repeatable, and nothing here is worth guessing.
fn chance(of: [u64; 3]) -> f64 {
    let mixed = of.into_iter().fold(0_u64, |state, next| {
        let mut z = (state ^ next).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    });
    f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn request(route: Route) -> RequestFacts {
        RequestFacts { route, inputs: Vec::new(), token_age: None, polls: None, is_list: false, now: START }
    }

    #[test]
    fn a_fault_begins_after_its_start_and_ends_after_its_count() {
        let mut faults = ActiveFaults::none(1);
        let throttle = FaultKind::Throttle { retry_after: 2 };
        faults.set(vec![Fault::new(Route::Invoke, throttle.clone()).after(2).times(1)], START).unwrap();
        assert_eq!(faults.on_arrival(&request(Route::Poll)), None);
        let met: Vec<_> = (0..4).map(|_| faults.on_arrival(&request(Route::Invoke))).collect();
        assert_eq!(met, [None, None, Some(throttle), None]);
        assert_eq!(faults.on_created(&request(Route::Invoke)), None);
    }

    /// Which of 4,000 invokes lose their answer, at one in four.
    fn draws(seed: u64, others: bool) -> Vec<bool> {
        let mut faults = ActiveFaults::none(seed);
        let throttle = Fault::new(Route::Poll, FaultKind::ThrottleSilently).with_probability(0.5);
        let cut = Fault::new(Route::Invoke, FaultKind::CutAfterCreate).with_probability(0.25);
        faults.set(vec![throttle, cut], START).unwrap();
        let invoke = request(Route::Invoke);
        let next = |_| {
            if others {
                faults.on_arrival(&request(Route::Poll));
            }
            faults.on_created(&invoke).is_some()
        };
        (0..4000).map(next).collect()
    }

    #[test]
    fn what_a_probability_comes_to_depends_on_the_seed_and_on_no_other_order() {
        let first = draws(7, false);
        let met = first.iter().filter(|met| **met).count();
        assert!((900..1100).contains(&met), "{met}");
        assert_eq!(first, draws(7, true));
        let same = first.iter().zip(draws(8, false)).filter(|(a, b)| *a == b).count();
        assert!((2300..2700).contains(&same), "another seed draws anew: {same} of 4000 are alike");
    }
}
