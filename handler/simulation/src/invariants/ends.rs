//! What a final status says of the world, held against the world.

use lifecycle::rule::Overwrites;
use lifecycle::{Scoring, ScoringId, Status};
use time::{Duration, OffsetDateTime};

use super::Invariants;
use crate::cloud::Cloud;
use crate::durable_readers;
use app::ledger::rows;
use app::ports::table_store::{Entity, Row};

/// What the projection shows of a scoring: its instance, and its history.
type ProjectionReader<'a> = &'a dyn Fn(&ScoringId) -> Option<(Entity, Vec<Entity>)>;

impl Invariants {
    /// What a status says of the world must be so when a scoring comes to it.
    pub(super) fn ended(&mut self, next: &Scoring, before: Option<&Scoring>, cloud: &Cloud, now: OffsetDateTime) {
        let id = &next.id;
        match next.status {
            Status::Scored => {
                self.scored(next, cloud, now);
                self.content(next, cloud);
            }
            Status::Gone => {
                let deleted = cloud.inputs.was_deleted(&next.blob.url);
                self.hold(deleted, "gone", id, || "gone, and its blob was there all the time".to_owned());
            }
            Status::Superseded => {
                let replaced_by = next.replaced_by.as_ref().is_some_and(|other| self.tracked.contains_key(other));
                let nobody = next.replaced_by.is_none() && self.overwrites(&next.rule) == Overwrites::Ignore;
                self.hold(replaced_by || nobody, "superseded", id, || {
                    "superseded, and what takes its place is not in the ledger".to_owned()
                });
            }
            Status::Cancelled => {
                let ours =
                    before.and_then(|before| before.job.as_ref()).is_some_and(|job| cloud.stop_requested(&job.name));
                let ordered = next.stop_ordered;
                self.hold(!ours || ordered, "cancelled", id, || {
                    "cancelled, but it was us who told the job to stop".to_owned()
                });
            }
            _ => {}
        }
    }

    pub(super) fn scored(&mut self, next: &Scoring, cloud: &Cloud, now: OffsetDateTime) {
        let id = &next.id;
        let good = next.output_uri().and_then(|uri| cloud.output(uri, now));
        let submitted = next.submitted.unwrap_or(next.created);
        // What the product allows clocks to differ, and what they may differ here.
        let oldest = submitted - Duration::minutes(5) - self.spread;
        let good = good.filter(|(bytes, modified)| *bytes > 0 && *modified >= oldest);
        self.hold(good.is_some(), "scored", id, || "scored, and there is no new output that is not empty".to_owned());
        let seen = next.output_uri().is_some_and(|uri| cloud.was_looked_at(uri));
        self.hold(seen, "scored", id, || "scored, and nobody has looked at the output".to_owned());
    }

    /// What is shown as scored is the content that was named, and no content of one path is scored twice under a rule.
    pub(super) fn content(&mut self, next: &Scoring, cloud: &Cloud) {
        let blob = &next.blob;
        let (Some(named), true) = (cloud.inputs.content_of(&blob.url, &blob.etag), self.verify.contains(&next.rule))
        else {
            return;
        };
        // What was overwritten, and rolled back or deleted, while its job ran cannot be told afterwards (RELIABILITY).
        let untold = cloud.inputs.was_rolled_back(&blob.url) || cloud.inputs.was_overwritten_and_is_gone(&blob.url);
        let job = next.job.as_ref().filter(|_| !untold);
        let read = job.and_then(|job| cloud.content_read_by(&job.name));
        self.hold(read.is_none_or(|read| read == named), "content", &next.id, || {
            format!("scored, and its job read content {read:?} and not {named}")
        });
        // Of a path that was overwritten, an older scoring may find the mark of a newer content that was scored already, and
        // knows nothing of that one's MD5: at most three an hour of a path (RELIABILITY).
        if !self.is_one_more(next)
            && cloud.inputs.has_md5(&blob.url, &blob.etag)
            && !cloud.inputs.was_overwritten(&blob.url)
        {
            let key = (next.rule.clone(), blob.url.clone(), named, next.generation);
            // Two marks of an upload that was not on record yet, because its acceptance was lost, may both be scored: nothing in
            // the ledger knows their content. They are at most three an hour of a path. An upload that was scored is known.
            let is_mark = blob.etag.contains('m');
            let other = match self.contents.get(&key) {
                Some(other) => other.clone(),
                None => next.id.clone(),
            };
            if !is_mark {
                self.contents.insert(key, next.id.clone());
            }
            self.hold(other == next.id, "scored once", &next.id, || {
                format!("the same content of {} at {} was scored as {other} before", blob.path, blob.etag)
            });
        }
    }

    /// Whether somebody asked for one more, by a key or of what was scored; or this takes the place of what they asked for, as the
    /// path holds another version by now.
    fn is_one_more(&self, scoring: &Scoring) -> bool {
        let origin = |of: &&Scoring| Some(&self.tracked.get(of.in_place_of.as_ref()?)?.scoring);
        // Two versions may have taken each other's place.
        let mut origins = std::iter::successors(Some(scoring), |of| origin(of)).take(self.tracked.len());
        origins.any(|of| of.start_key().is_some() || of.generation > 0)
    }

    /// No path is left without a scoring for what it holds: what has ended as not being there is not, or its content has another
    /// scoring.
    pub(crate) fn what_is_there(&mut self, cloud: &Cloud, now: OffsetDateTime) {
        let ended = |scoring: &Scoring| matches!(scoring.status, Status::Gone | Status::Superseded);
        let all: Vec<&Scoring> = self.tracked.values().map(|known| &known.scoring).collect();
        let content = |scoring: &Scoring| cloud.inputs.content_of(&scoring.blob.url, &scoring.blob.etag);
        let left = all.iter().find(|left| {
            let same = |other: &&&Scoring| {
                let of_path = other.rule == left.rule && other.blob.url == left.blob.url;
                of_path && !ended(other) && content(other) == content(left)
            };
            // Under `latestOnly` it may have given way to a later version that an operator skipped then, before a look could show that
            // this one is back: what a person stopped is not started again behind their back.
            let by = left.replaced_by.as_ref().and_then(|by| self.tracked.get(by));
            let is_stopped = by.is_some_and(|by| by.scoring.status == Status::Cancelled)
                && cloud.inputs.was_rolled_back(&left.blob.url);
            ended(left)
                && !is_stopped
                && cloud.inputs.holds(&left.blob.url, &left.blob.etag, now)
                && !all.iter().any(|other| same(&other))
        });
        if let Some(id) = left.map(|left| left.id.clone()) {
            self.broken("what is there", Some(&id), "its path holds it, and nobody scores it");
        }
    }

    /// At the end, from the tables themselves: lines of history without a gap, and the projection's rows as the scoring is and as
    /// Durable's readers take them. `instance` gives what is shown of a scoring, its history included.
    pub(crate) fn at_the_end(&mut self, history: &dyn Fn(&ScoringId) -> Vec<Row>, instance: ProjectionReader<'_>) {
        // What was opened again at rest is looked at by a tick that may not come any more.
        // Groups are shown by nobody else.
        let settled = self.tracked.values().filter(|known| !known.opened && !known.scoring.is_group());
        let all: Vec<Scoring> = settled.map(|known| known.scoring.clone()).collect();
        for scoring in all {
            let id = &scoring.id;
            let seqs: Vec<i64> =
                history(id).iter().filter_map(|row| rows::from_history_row(&row.entity).ok()).map(|e| e.seq).collect();
            let whole =
                seqs == (1..=scoring.version).collect::<Vec<_>>() || scoring.version > rows::MAX_HISTORY_ENTRIES;
            self.hold(whole, "history", id, || format!("version {} has the history lines {seqs:?}", scoring.version));
            let expected = match scoring.status {
                Status::Scored => "Completed",
                Status::Failed => "Failed",
                Status::Gone | Status::Superseded => "Terminated",
                _ => "Canceled",
            };
            let rows = instance(id);
            let shown = rows.as_ref().and_then(|(row, _)| row.string("RuntimeStatus"));
            self.hold(shown == Some(expected), "projection", id, || {
                format!("{} is shown as {shown:?}", scoring.status)
            });
            let complaints = rows.as_ref().map(|(row, history)| durable_readers::complaints(row, history));
            let complaint = complaints.iter().flatten().next();
            self.hold(complaint.is_none(), "projection", id, || complaint.cloned().unwrap_or_default());
        }
    }
}
