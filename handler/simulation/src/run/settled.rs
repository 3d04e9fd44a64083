//! Once nothing goes wrong any more: is everything at its end, and does it stay there?

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use lifecycle::{ScoringId, Status};
use time::Duration;

use super::{Run, START, none_taken};
use crate::cloud::Cloud;
use crate::invariants::{Invariants, ScoredVersion};
use crate::names;

/// After the end of all faults everything must be settled within this: three jobs of an hour, and back-offs.
const TO_SETTLE: Duration = Duration::hours(8);
/// Ticks after everything is settled, in which nothing may change any more.
const TICKS_AFTER: u32 = 3;

impl Run {
    /// The paths to which a version came back, after a later one of them was skipped. Under `latestOnly` that version may have given
    /// way to the skipped one, and an event that shows it again queues it: something does come of it.
    fn returned_and_skipped(&self) -> BTreeSet<String> {
        let skipped = self.scorings().into_iter().filter(|(_, scoring)| scoring.status == Status::Cancelled);
        let urls: BTreeSet<String> = skipped.map(|(_, scoring)| scoring.blob.url).collect();
        let state = self.world.state();
        urls.into_iter().filter(|url| state.cloud.inputs.was_rolled_back(url)).collect()
    }

    /// Once nothing goes wrong any more, everything must come to its end, and stay there.
    pub(super) fn watch(&mut self) {
        self.ticks_since += 1;
        let unsettled = self.unsettled();
        let posts = self.world.state().posts;
        match (unsettled, self.settled) {
            (Some((scoring, what)), None) => {
                if self.world.time().elapsed() > self.plan.fault_period + TO_SETTLE {
                    self.world.state().broken("liveness", scoring.as_ref(), what);
                }
            }
            (Some((scoring, what)), Some(_)) => {
                let what = format!("everything was settled, and then: {what}");
                self.world.state().broken("rest", scoring.as_ref(), what);
            }
            (None, None) => {
                self.settled = Some((self.ticks_since, posts));
                // Every event once more: nothing may come of it.
                let taken = none_taken(&self.plan);
                let returned = self.returned_and_skipped();
                for (installation, n) in self.all_deliveries() {
                    if !self.plan.told_by(n).any(|upload| returned.contains(&upload.url())) {
                        self.hand_over(installation, n, Arc::clone(&taken));
                    }
                }
                if self.plan.tells_of_outputs {
                    self.tell_of_all_outputs();
                }
                self.move_what_is_oddly_named();
            }
            (None, Some((ticks, before))) => {
                if posts != before {
                    self.world.state().broken("rest", None, "an event of which nothing may come made a request");
                }
                if self.ticks_since >= ticks + TICKS_AFTER {
                    for installation in 0..self.plan.installations {
                        names::check(&mut self.world.state().invariants[installation], &self.plan.urls());
                        self.world.check_the_end(installation);
                    }
                    self.over = true;
                }
            }
        }
    }

    /// What is not done yet, if something is not.
    fn unsettled(&self) -> Option<(Option<ScoringId>, String)> {
        if let Some(what) = (0..self.plan.installations).find_map(|installation| self.unsettled_in(installation)) {
            return Some(what);
        }
        if self.delivers_again {
            return Some((None, "a rule is removed".to_owned()));
        }
        let state = self.world.state();
        let adopted = state.invariants.iter().flat_map(Invariants::adopted_jobs).cloned().collect();
        if let Some(name) = state.cloud.orphaned_jobs(&adopted, self.world.time().now()).first() {
            let id = state.cloud.owner(name).map(|(id, _)| id);
            return Some((id, format!("{name} is needed by nobody and runs on")));
        }
        // Who froze before it heard an answer acts on it when it goes on.
        if self.executor.is_any_paused() {
            return Some((None, "a process is frozen".to_owned()));
        }
        // What is written or asked again at rest is under way too.
        let waits = self.settled.is_none() && state.under_way > 0;
        waits.then(|| (None, "requests are under way".to_owned()))
    }

    /// A blob that no sweep has seen as it is now: whoever was scored last was marked then, which is another ETag, and the next sweep
    /// finds it.
    fn not_swept(&self, installation: usize, cloud: &Cloud) -> Option<String> {
        let began = self.world.last_sweep_began(installation);
        let after = self.plan.rules.iter().map(|rule| rule.sweep.after.0).max().unwrap_or_default();
        let now = self.world.time().now();
        let is_seen = |url: &str| {
            began.zip(cloud.inputs.written(url, now)).is_some_and(|(began, written)| written + after <= began)
        };
        cloud.inputs.urls().find(|url| !is_seen(url)).map(str::to_owned)
    }

    /// What is not done yet in one installation.
    fn unsettled_in(&self, installation: usize) -> Option<(Option<ScoringId>, String)> {
        let state = self.world.state();
        let invariants = &state.invariants[installation];
        let taken = self.taken[installation].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = taken.iter().position(|taken| !taken) {
            return Some((None, format!("delivery {n} is not taken")));
        }
        let is_missing = |of: &ScoredVersion| invariants.scoring_of(of).is_none();
        let since = self.plan.sweeps.then(|| self.world.swept_since(installation)).flatten();
        // What was written before the place was to be swept was there before it.
        let was_before = |(_, url, etag): &ScoredVersion| {
            let written = self.plan.written(url, etag).map(|at| START + at);
            written.zip(since).is_some_and(|(written, since)| written < since)
        };
        if let Some((_, name)) = self.expected.iter().find(|(of, _)| is_missing(of) && !was_before(of)) {
            return Some((None, format!("{name} is not in the ledger")));
        }
        if self.settled.is_none()
            && self.plan.sweeps
            && let Some(url) = self.not_swept(installation, &state.cloud)
        {
            return Some((None, format!("{url} was written to after the last sweep")));
        }
        // An event that is repeated may leave something to look at again; at the very end nothing is left.
        if self.settled.is_none() && self.world.pending(installation) > 0 {
            return Some((None, "an upload waits for a look at the storage".to_owned()));
        }
        let (id, what) = invariants.unsettled(&state.cloud, self.settled.is_some())?;
        Some((Some(id), what))
    }
}
