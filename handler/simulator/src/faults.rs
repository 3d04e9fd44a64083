//! The faults of the plan that is in force: which of them a request meets.
//!
//! What a probability comes to depends on the seed, the fault's place in the plan and how many requests the fault could have
//! happened to, and on nothing else: what other faults or other routes see does not shift it, so a run repeats as far as its
//! requests come in the same order.

use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use crate::fault_plan::{Fault, FaultKind, InvalidFaultPlan, Route, Stage};

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

/// The faults, and how far each has come.
#[derive(Debug)]
pub(super) struct ActiveFaults {
    active: Vec<ActiveFault>,
    seed: u64,
    /// When the plan was set.
    since: OffsetDateTime,
}

/// One fault and how far it has come.
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
            && fault.stage() == stage
            && matches.is_none_or(|text| request.inputs.iter().any(|uri| uri.contains(text.as_str())))
            && match &fault.kind {
                FaultKind::OldToken { seconds } => request.token_age.is_some_and(|age| age > lasting(*seconds)),
                FaultKind::Forbidden { seconds } => request.now < since + lasting(*seconds),
                FaultKind::Hidden { looks } => request.polls.is_some_and(|before| before < *looks),
                FaultKind::ListLag { .. } => request.is_list,
                _ => true,
            }
    }
}

fn lasting(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

impl ActiveFaults {
    /// No faults. The seed decides what probabilities come to.
    pub(super) fn none(seed: u64) -> Self {
        Self { active: Vec::new(), seed, since: OffsetDateTime::UNIX_EPOCH }
    }

    /// Replaces all faults, or none if one makes no sense. Times that count from the setting of the plan count from `now`.
    pub(super) fn set(&mut self, faults: Vec<Fault>, now: OffsetDateTime) -> Result<(), InvalidFaultPlan> {
        faults.iter().try_for_each(Fault::check)?;
        self.active = faults.into_iter().map(|fault| ActiveFault { fault, seen: 0, done: 0 }).collect();
        self.since = now;
        Ok(())
    }

    /// The faults, and how far each has come.
    pub(super) fn active(&self) -> &[ActiveFault] {
        &self.active
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
        let active = self.active.iter_mut().zip(0_u64..);
        for (fault, place) in active.filter(|(fault, _)| fault.concerns(stage, request, since)) {
            fault.seen += 1;
            let due = fault.seen > fault.fault.after && fault.fault.times.is_none_or(|times| fault.done < times);
            if due && chance([seed, place, fault.seen]) < fault.fault.probability {
                fault.done += 1;
                return Some(fault.fault.kind.clone());
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
    use crate::fault_plan::Instead;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn request(route: Route) -> RequestFacts {
        RequestFacts { route, inputs: Vec::new(), token_age: None, polls: None, is_list: false, now: START }
    }

    #[test]
    fn a_fault_begins_after_its_start_and_ends_after_its_count() {
        let mut faults = ActiveFaults::none(1);
        let throttle = FaultKind::Throttled { retry_after: Some(2), as_date: false };
        faults.set(vec![Fault::new(Route::Invoke, throttle.clone()).after(2).times(1)], START).unwrap();
        assert_eq!(faults.on_arrival(&request(Route::Poll)), None);
        let met: Vec<_> = (0..4).map(|_| faults.on_arrival(&request(Route::Invoke))).collect();
        assert_eq!(met, [None, None, Some(throttle), None]);
        assert_eq!(faults.on_created(&request(Route::Invoke)), None);
    }

    /// Which of 4,000 invokes lose their answer, at one in four.
    fn draws(seed: u64, others: bool) -> Vec<bool> {
        let mut faults = ActiveFaults::none(seed);
        let throttle =
            Fault::new(Route::Poll, FaultKind::Throttled { retry_after: None, as_date: false }).with_probability(0.5);
        let cut =
            Fault::new(Route::Invoke, FaultKind::LostAnswer { jobs: 1, instead: Instead::Cut }).with_probability(0.25);
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
    fn what_a_probability_comes_to_depends_on_the_seed_and_on_no_other_fault() {
        let first = draws(7, false);
        let met = first.iter().filter(|met| **met).count();
        assert!((900..1100).contains(&met), "{met}");
        assert_eq!(first, draws(7, true));
        let same = first.iter().zip(draws(8, false)).filter(|(a, b)| *a == b).count();
        assert!((2300..2700).contains(&same), "another seed draws anew: {same} of 4000 are alike");
    }
}
