//! What readers of published paths see: the whole of a verified result, and after it never an older one.

use lifecycle::job::OutputKind;
use lifecycle::publishing::{NotPublished, Publication, PublicationEnd};
use lifecycle::rule::IfExists;
use lifecycle::{PublicationMark, Scoring, ScoringId, Status};
use serde_json::Value;

use super::Invariants;
use crate::cloud::Cloud;
use crate::publications::Content;

const PROMISE: &str = "published";

impl Invariants {
    /// Something was written for a scoring, and is there.
    pub(crate) fn written(&mut self, uri: &str, mark: &PublicationMark, cloud: &Cloud) {
        let id = &mark.scoring;
        let Some(known) = self.tracked.get(id).map(|known| known.scoring.clone()) else {
            return self.broken(PROMISE, Some(id), format!("{uri} is written of a scoring that is not on record"));
        };
        if known.is_group() {
            return self.staged(&known, uri, cloud);
        }
        if self.unpublished.contains(&known.rule) {
            return self.broken(
                "shadow",
                Some(id),
                format!("{uri} is written, and rule {} publishes nothing", known.rule),
            );
        }
        let all = known.publishing.iter().flat_map(|publishing| &publishing.outputs);
        let of = |one: &&Publication| {
            uri == one.target() || uri == one.beside(mark) || uri.starts_with(&format!("{}/", one.files(mark)))
        };
        let Some(publication) = all.clone().find(of).cloned() else {
            // Its attempt is over, or it is verified again: a copy of before that came late was on record then.
            let late = known.attempt > mark.attempt || known.publishing.is_none() && self.announced.contains(id);
            return self.hold(late, PROMISE, id, || format!("{uri} is written and was not on record"));
        };
        let is_part =
            publication.kind == OutputKind::UriFolder && uri != publication.target() && uri != publication.beside(mark);
        let history = cloud.publications.history(uri);
        let Some((written, before)) = history.split_last() else { return };
        let is_first = before.iter().all(|it| it.shown.mark.is_none());
        self.hold(!is_part || is_first, PROMISE, id, || format!("{uri} is written twice"));
        if is_part {
            return;
        }
        match &written.content {
            Content::CopyOf { etag, .. } => {
                let verified = publication.source.as_ref().is_some_and(|source| source.etag == *etag);
                self.hold(verified, PROMISE, id, || format!("{uri} is a copy of {etag}, which was not verified"));
            }
            Content::Document(body) => self.whole(id, uri, body, cloud),
            Content::Foreign => {}
        }
        let Some(before) = before.last() else { return };
        let ours = before.shown.mark.as_ref().filter(|by| by.ledger == mark.ledger);
        if let Some(by) = ours {
            let older = by.order.is_newer_than(&mark.order);
            self.hold(!older, "newest", id, || format!("{uri} held {}, which is newer", by.scoring));
        }
        let replaces_others = ours.is_none() && publication.if_exists != IfExists::Replace;
        self.hold(!replaces_others, "refuse", id, || format!("{uri} held something of somebody else"));
        let replaces = ours.is_some_and(|by| by.scoring != *id) && publication.if_exists == IfExists::Version;
        self.hold(!replaces, "version", id, || format!("{uri} held another version, which is to stay"));
    }

    /// A manifest lists nothing that is not there.
    fn whole(&mut self, id: &ScoringId, uri: &str, body: &[u8], cloud: &Cloud) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let folder = body["folder"].as_str().unwrap_or_default();
        let files = body["files"].as_array().cloned().unwrap_or_default();
        let is_there = |file: &Value| {
            let path = file["path"].as_str().unwrap_or_default();
            cloud.publications.at(&format!("{folder}/{path}")).is_some_and(|it| it.shown.mark.is_some())
        };
        self.hold(!files.is_empty() && files.iter().all(is_there), PROMISE, id, || {
            format!("{uri} lists files that are not there")
        });
    }

    /// At the end each path holds the newest of what was published there, unless somebody else was there last; and whoever is not
    /// published as older is.
    pub(crate) fn published_at_the_end(&mut self, cloud: &Cloud) {
        let scorings: Vec<Scoring> = self.scorings().cloned().collect();
        for scoring in scorings.iter().filter(|scoring| scoring.status == Status::Scored) {
            for one in scoring.publishing.iter().flat_map(|publishing| &publishing.outputs) {
                match &one.end {
                    None => self.broken(PROMISE, Some(&scoring.id), "scored, and its publication has not ended"),
                    Some(PublicationEnd::Published { uri, .. }) => self.reached(scoring, uri, cloud),
                    Some(PublicationEnd::NotPublished { why: NotPublished::Newer, .. }) => {
                        let history = cloud.publications.history(&one.target());
                        let newer = history.iter().filter_map(|it| it.shown.mark.as_ref()).any(|by| {
                            by.scoring != scoring.id
                                && by.order.is_newer_than(&lifecycle::PublicationOrder::of(scoring))
                        });
                        self.hold(newer, PROMISE, &scoring.id, || {
                            "a newer one is said to be there, and never was".to_owned()
                        });
                    }
                    Some(PublicationEnd::NotPublished { .. }) => {}
                }
            }
        }
    }

    /// What is told as published was there, and what lies there now is not older.
    fn reached(&mut self, scoring: &Scoring, uri: &str, cloud: &Cloud) {
        let history = cloud.publications.history(uri);
        let own = history.iter().position(|it| it.shown.mark.as_ref().is_some_and(|by| by.scoring == scoring.id));
        let Some(own) = own else {
            return self.broken(PROMISE, Some(&scoring.id), format!("told as published at {uri}, and never was there"));
        };
        let mine = lifecycle::PublicationOrder::of(scoring);
        let ledger = history[own].shown.mark.as_ref().map(|by| by.ledger.clone());
        let others =
            |it: &crate::publications::Publication| it.shown.mark.as_ref().map(|by| &by.ledger) != ledger.as_ref();
        let undisturbed = !history[own..].iter().any(others);
        // What no event told of has no sequencer, and two blobs compare by their acceptance: of three such results each may be newer
        // than the next.
        let told = |it: &crate::publications::Publication| {
            it.shown.mark.as_ref().is_some_and(|by| {
                by.order.blob == mine.blob && by.order.sequencer.is_some() == mine.sequencer.is_some()
            })
        };
        let undisturbed = undisturbed && history[own..].iter().all(told);
        let last = history.last().and_then(|it| it.shown.mark.as_ref());
        let older = last.is_some_and(|by| by.scoring != scoring.id && mine.is_newer_than(&by.order));
        self.hold(!(undisturbed && older), "newest", &scoring.id, || format!("{uri} ends with an older result"));
    }
}
