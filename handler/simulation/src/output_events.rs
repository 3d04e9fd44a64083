//! Events about the app's own outputs: jobs write them into the container that is watched, and Event Grid tells of them as it
//! tells of uploads. No scoring may ever come of one, or its output would be told of in turn, and so on for ever.

use std::collections::BTreeSet;

use lifecycle::ScoringId;
use lifecycle::datastore::DatastorePath;
use serde_json::Value;
use time::OffsetDateTime;

use crate::arrivals::created;
use crate::cloud::Cloud;
use crate::faults::{Dice, Kind};
use crate::plan::CONTAINERS;

/// What was told of outputs so far.
#[derive(Debug, Default)]
pub(super) struct OutputEvents {
    told: BTreeSet<String>,
}

impl OutputEvents {
    /// Events about outputs that were written since the last call: each may come, and one of a file that its tool left beside it.
    /// With each, whose output it is.
    pub(super) fn draw(&mut self, cloud: &Cloud, dice: &mut Dice, now: OffsetDateTime) -> Vec<(ScoringId, Value)> {
        if !dice.likes(Kind::OwnOutputs) {
            return Vec::new();
        }
        let mut events = Vec::new();
        for (of, uri) in cloud.written(now) {
            let Some(place) = DatastorePath::read(uri).filter(|_| self.told.insert(uri.to_owned())) else { continue };
            let path = place.path.trim_start_matches('/');
            let beside =
                path.rsplit_once('/').map_or_else(|| path.to_owned(), |(folder, _)| format!("{folder}/part-0.csv"));
            for path in [path, &beside] {
                if dice.strikes(Kind::OwnOutputs, 200) {
                    events.push((of.clone(), created(CONTAINERS[0], path, "1", "PutBlob")));
                }
            }
        }
        events
    }
}
