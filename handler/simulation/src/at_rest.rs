//! What is told once everything is settled, and of which nothing may come: outputs, and blobs that are moved after they were scored.

use lifecycle::{ScoringId, Status, UnversionedBlob};
use serde_json::Value;

use crate::account;
use crate::arrivals::{self, SIZE};
use crate::names;
use crate::output_events;
use crate::run::Run;

impl Run {
    /// Tells of every output again, whatever the rules say by now; see [`Run::tell_of_outputs`].
    pub(super) fn tell_of_all_outputs(&mut self) {
        let events = output_events::all(&self.world.state().cloud, self.world.time().now());
        self.deliver_outputs(events);
    }

    /// Hands events about outputs to the installations whose outputs they are.
    pub(super) fn deliver_outputs(&mut self, events: Vec<(ScoringId, Value)>) {
        let told: Vec<(usize, Value)> = {
            let state = self.world.state();
            let owner = |of: &ScoringId| state.invariants.iter().position(|invariants| invariants.has(of));
            events.into_iter().filter_map(|(of, event)| Some((owner(&of)?, event))).collect()
        };
        for (installation, event) in told {
            self.tell(installation, "an output", event);
        }
    }

    /// Moves each oddly named blob that an installation has scored: the event has its former name in a URL alone, raw or encoded.
    pub(super) fn move_what_is_oddly_named(&mut self) {
        let scorings = self.scorings();
        let odd: Vec<(&'static str, String)> = self.plan.oddly_named().collect();
        for (container, path) in odd {
            let url = account::url(container, &path);
            let Ok(from) = UnversionedBlob::read(&url) else { continue };
            let (to, former) = (format!("moved/{path}"), self.order.pick(&names::urls(container, &path)));
            let Ok(moved) = from.beside(&to) else { continue };
            for installation in 0..self.plan.installations {
                let of = || scorings.iter().filter(|(of, scoring)| *of == installation && scoring.blob.url == from.url);
                // What ended without a result is scored under its new name.
                if of().next().is_none() || of().any(|(_, scoring)| scoring.status != Status::Scored) {
                    continue;
                }
                for (_, scoring) in of() {
                    self.world.state().cloud.uploaded.put_version(&moved, &scoring.blob.etag, SIZE);
                }
                self.tell(installation, "a move", arrivals::moved(container, former.clone(), &to));
            }
        }
    }

    /// Delivers an event that nobody waits for to a process of an installation.
    fn tell(&mut self, installation: usize, what: &'static str, event: Value) {
        let Some((process, app)) = self.somebody(installation) else { return };
        self.world.trace(Some(process), None, || format!("is told of {what}: {}", event["subject"]));
        self.executor.spawn(process, async move {
            if let Ok(delivery) = app.accept(&event).await {
                delivery.submit().await;
            }
        });
    }
}
