//! Events about the app's own outputs: jobs write them into the container that is watched, and Event Grid tells of them as it
//! tells of uploads. No scoring may ever come of one, or its output would be told of in turn, and so on for ever.

use std::collections::BTreeSet;

use lifecycle::ScoringId;
use lifecycle::datastore::DatastorePath;
use lifecycle::job::OutputKind;
use serde_json::Value;
use time::OffsetDateTime;

use crate::account::CONTAINERS;
use crate::arrivals::created;
use crate::cloud::{Cloud, WrittenOutput};
use crate::faults::{Dice, Kind};
use crate::names;

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
        for written in cloud.written(now) {
            if self.told.insert(written.uri.to_owned()) {
                let told = of_output(&written).into_iter().filter(|_| dice.strikes(Kind::OwnOutputs, 200));
                events.extend(told.map(|event| (written.of.clone(), event)));
            }
        }
        for (of, etag, event) in published(cloud) {
            if self.told.insert(etag) && dice.strikes(Kind::OwnOutputs, 200) {
                events.push((of, event));
            }
        }
        events
    }
}

/// Every event about every output that was ever written.
pub(super) fn all(cloud: &Cloud, now: OffsetDateTime) -> Vec<(ScoringId, Value)> {
    let mut events = Vec::new();
    for written in cloud.written(now) {
        events.extend(of_output(&written).into_iter().map(|event| (written.of.clone(), event)));
    }
    events.extend(published(cloud).map(|(of, _, event)| (of, event)));
    events
}

/// The events about what lies at published paths, with the scoring that wrote it and its ETag.
fn published(cloud: &Cloud) -> impl Iterator<Item = (ScoringId, String, Value)> {
    cloud.publications.all().filter_map(|(uri, written)| {
        let (of, etag) = (written.shown.mark.as_ref()?.scoring.clone(), written.shown.etag.clone());
        let path = DatastorePath::read(uri)?.path;
        Some((of, etag.clone(), created(CONTAINERS[0], &path, &etag, "PutBlob")))
    })
}

/// The events about an output, and about what tools leave beside it.
fn of_output(written: &WrittenOutput<'_>) -> Vec<Value> {
    let Some(place) = DatastorePath::read(written.uri) else { return Vec::new() };
    let path = place.path.trim_matches('/');
    let paths = match (written.kind, path.rsplit_once('/')) {
        (OutputKind::UriFolder, _) => vec![format!("{path}/a.csv"), format!("{path}/x/b.csv")],
        (OutputKind::UriFile, Some((folder, _))) if folder.contains(written.of.as_str()) => {
            vec![path.to_owned(), format!("{folder}/part-0.csv")]
        }
        // What lies beside it is an upload of somebody.
        (OutputKind::UriFile, _) => vec![path.to_owned()],
    };
    let told = |(n, path): (usize, &String)| {
        let mut event = created(CONTAINERS[0], path, "1", "PutBlob");
        let [raw, encoded] = names::urls(CONTAINERS[0], path);
        event["data"]["url"] = if n % 2 == 0 { encoded } else { raw }.into();
        event
    };
    paths.iter().enumerate().map(told).collect()
}
