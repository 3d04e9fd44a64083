//! Misbehaviour on order: a list of faults, each bound to a route, a number of requests and a probability.
//!
//! A new kind of fault is a variant of [`Misdeed`] and one arm in `Misdeed::commit` (`answer.rs`).

use serde::{Deserialize, Serialize};

/// One order to misbehave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Which requests.
    pub route: Route,
    /// What happens to them.
    pub misdeed: Misdeed,
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
        Self { route, misdeed, after: 0, times: None, probability: 1.0 }
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
}

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

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Misdeed {
    /// Invoke only: the job is made, the connection ends before the answer.
    CutAfterCreate,
    /// Invoke only: the job is made, the answer is 500.
    Answer500AfterCreate,
    /// 429 with `Retry-After`; nothing is done.
    Throttle {
        /// Seconds until the client may come again.
        retry_after: u32,
    },
}

impl Misdeed {
    /// It happens to requests that have made a job, and counts only those.
    fn is_after_create(&self) -> bool {
        matches!(self, Self::CutAfterCreate | Self::Answer500AfterCreate)
    }
}

/// The orders, and how far each has come.
#[derive(Debug)]
pub(super) struct Faults {
    orders: Vec<Order>,
    random: u64,
}

#[derive(Debug)]
struct Order {
    fault: Fault,
    seen: u64,
    done: u64,
}

impl Faults {
    /// No orders. The seed decides what probabilities come to.
    pub(super) fn none(seed: u64) -> Self {
        Self { orders: Vec::new(), random: seed }
    }

    /// Replaces all orders, or says which one makes no sense.
    pub(super) fn set(&mut self, faults: Vec<Fault>) -> Result<(), String> {
        for fault in &faults {
            if fault.misdeed.is_after_create() && fault.route != Route::Invoke {
                return Err("only requests on the route `invoke` make jobs".to_owned());
            }
            if !(0.0..=1.0).contains(&fault.probability) {
                return Err(format!("probability {} is not between 0 and 1", fault.probability));
            }
        }
        self.orders = faults.into_iter().map(|fault| Order { fault, seen: 0, done: 0 }).collect();
        Ok(())
    }

    /// What happens to a request that has just arrived.
    pub(super) fn on_arrival(&mut self, route: Route) -> Option<Misdeed> {
        self.meet(|fault| fault.route == route && !fault.misdeed.is_after_create())
    }

    /// What happens to an invoke that has made its job.
    pub(super) fn on_created(&mut self) -> Option<Misdeed> {
        self.meet(|fault| fault.misdeed.is_after_create())
    }

    fn meet(&mut self, concerns: impl Fn(&Fault) -> bool) -> Option<Misdeed> {
        for order in self.orders.iter_mut().filter(|order| concerns(&order.fault)) {
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

    #[test]
    fn a_fault_begins_after_its_start_and_ends_after_its_count() {
        let mut faults = Faults::none(1);
        let throttle = Misdeed::Throttle { retry_after: 2 };
        faults.set(vec![Fault::new(Route::Invoke, throttle.clone()).after(2).times(1)]).unwrap();
        assert_eq!(faults.on_arrival(Route::Poll), None);
        let met: Vec<_> = (0..4).map(|_| faults.on_arrival(Route::Invoke)).collect();
        assert_eq!(met, [None, None, Some(throttle), None]);
        assert_eq!(faults.on_created(), None);
    }

    #[test]
    fn probability_is_about_kept() {
        let mut faults = Faults::none(7);
        let mut fault = Fault::new(Route::Invoke, Misdeed::CutAfterCreate);
        fault.probability = 0.25;
        faults.set(vec![fault]).unwrap();
        let met = (0..4000).filter(|_| faults.on_created().is_some()).count();
        assert!((900..1100).contains(&met), "{met}");
    }

    #[test]
    fn senseless_orders_are_refused() {
        let mut faults = Faults::none(1);
        assert!(faults.set(vec![Fault::new(Route::Arm, Misdeed::CutAfterCreate)]).is_err());
        let mut fault = Fault::new(Route::Invoke, Misdeed::CutAfterCreate);
        fault.probability = f64::NAN;
        assert!(faults.set(vec![fault]).is_err());
    }
}
