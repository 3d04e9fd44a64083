//! The look at an input, and what follows from it for *other* scorings: a newer version is in the ledger before the older
//! one ends, and a second ETag of one content joins the scoring that has it.
//!
//! Never: a scoring that ends because of another one which is not on record.

use std::collections::BTreeMap;

use lifecycle::pending::{Cause, Judgement};
use lifecycle::rule::Overwrites;
use lifecycle::{
    Entry, InputFound, InputSnapshot, Likeness, Observation, PendingUpload, Rule, Scoring, ScoringId, SeenVersion,
    Status, Step, UnversionedBlob,
};
use time::OffsetDateTime;

use super::observed::{Loaded, Observed};
use super::services::Services;
use super::{Driver, Reach, ShownBy};
use crate::error::error_chain;
use crate::ledger::{self, Acceptance, Announced, MAX_UNANNOUNCED, Pending, Received, Recorded, Unannounced};
use crate::ports::table_store::{self, ETag};
use crate::ports::with_index_tags;

/// Attempts against other processes that move the same scoring.
const MAX_TRIES: usize = 5;
/// Versions of a path that are looked through for a later one.
const MAX_VERSIONS: usize = 20;
/// Scorings of a path that have taken each other's place, and are followed.
const MAX_REPLACED: usize = 20;

impl Driver {
    /// Decides; if the decision wants the input looked at first, looks and decides by that. Without services there is no
    /// look, and [`Step::LookAtInput`] is the outcome.
    pub(super) async fn decide_looking(&self, scoring: &Scoring, observed: &mut Observed) -> Step {
        let step = self.decide(scoring, &observed.observation, observed.at);
        let (Step::LookAtInput, Reach::Services { services, .. }) = (&step, &self.reach) else { return step };
        // Boxed, as it has kilobytes, and each future around it would be copied with it.
        let found = Box::pin(self.look_at_input(services, scoring)).await;
        observed.add_input(found, self.clock.now());
        self.decide(scoring, &observed.observation, observed.at)
    }

    async fn look_at_input(&self, services: &Services, scoring: &Scoring) -> InputFound {
        if self.gives_way(scoring) {
            match Box::pin(self.later_version(scoring)).await {
                Ok(None) => {}
                Ok(Some(later)) => return InputFound::Newer { etag: later.blob.etag, scoring: later.id },
                Err(error) => return InputFound::NotSeen(error_chain(&error)),
            }
        }
        let seen = match services.blobs.input(&scoring.blob).await {
            Ok(InputSnapshot::Present(seen)) => seen,
            Ok(InputSnapshot::Gone) => return InputFound::Gone,
            Err(inconclusive) => return InputFound::NotSeen(error_chain(&inconclusive)),
        };
        let settled = match scoring.likeness(&seen) {
            Likeness::SameVersion => self.settle_named(scoring, seen).await,
            likeness => self.settle_other(services, scoring, likeness, seen).await,
        };
        // Nothing is concluded from a version that could not be put on record.
        settled.unwrap_or_else(|error| {
            InputFound::NotSeen(format!("the version that its path holds was not recorded: {}", error_chain(&error)))
        })
    }

    /// The path holds the version that was named. Where no event had told of it, another scoring's look did, which may have
    /// known nothing of its own content; whoever moved that one on meanwhile may. Until it has ended, or is known to have
    /// another content, nothing is sent for this one: the same bytes would be scored twice.
    async fn settle_named(&self, scoring: &Scoring, seen: SeenVersion) -> Result<InputFound, ledger::Error> {
        if scoring.status != Status::Queued {
            return Ok(InputFound::Named(seen));
        }
        let mut origin = scoring.in_place_of.clone();
        for _ in 0..MAX_REPLACED {
            let Some(id) = origin else { break };
            let Some(before) = self.standing(id.clone()).await? else { break };
            // What has given way to this one never looked at its own content: the one in whose place that was taken in may know it,
            // as where an operator replays a path that is marked again and again.
            if before.id == scoring.id {
                origin = self.ledger.get(&id).await?.and_then(|(given_way, _)| given_way.in_place_of);
                continue;
            }
            return Ok(match before.status {
                Status::Queued => {
                    InputFound::NotSeen(format!("it takes the place of scoring {}, which has not ended yet", before.id))
                }
                _ if scores(&before) && before.likeness(&seen) != Likeness::Other => InputFound::SameAs(before.id),
                _ => InputFound::Named(seen),
            });
        }
        Ok(InputFound::Named(seen))
    }

    /// The path holds another version: what follows for that one is put on record.
    async fn settle_other(
        &self,
        services: &Services,
        scoring: &Scoring,
        likeness: Likeness,
        seen: SeenVersion,
    ) -> Result<InputFound, ledger::Error> {
        // An event has a scoring that was not read: what is, or comes, on record of it may know the content, be further, or have
        // ended. Nothing may follow for others from one that will be found to be a repetition.
        match self.ledger.get(&scoring.id).await? {
            Some((known, _)) if known.version == scoring.version => {}
            Some(_) => return Ok(InputFound::NotSeen("the scoring was moved on meanwhile".to_owned())),
            None => {
                let etag = &seen.etag;
                return Ok(InputFound::NotSeen(format!(
                    "its path holds another version already ({etag}), which is put on record after this one"
                )));
            }
        }
        match likeness {
            Likeness::SameContent => self.join(scoring, seen).await,
            _ => self.take_in_newer(services, scoring, &seen).await,
        }
    }

    /// The path holds another content: its version is taken in, unless it is there already.
    async fn take_in_newer(
        &self,
        services: &Services,
        scoring: &Scoring,
        seen: &SeenVersion,
    ) -> Result<InputFound, ledger::Error> {
        let (now, etag) = (self.clock.now(), seen.etag.clone());
        let Some(rule) = self.rule(scoring) else { return Ok(without_rule(scoring, seen)) };
        if rule.overwrites == Overwrites::Ignore {
            let why = "of its path the first version alone counts (overwrites is ignore)".to_owned();
            return Ok(InputFound::Unwanted { etag, why });
        }
        let mut other = scoring.of_version(self.ledger.id().await?, rule, seen, now);
        other.in_place_of = Some(scoring.id.clone());
        if let Some(why) = rule.refuses(&other.blob) {
            return Ok(InputFound::Unwanted { etag, why });
        }
        let known = if let Some((known, _)) = self.ledger.get(&other.id).await? {
            Some(known)
        } else {
            let metadata = match self.fit(services, rule, scoring, seen).await? {
                Ok(metadata) => metadata,
                Err(found) => return Ok(found),
            };
            other.blob.metadata = metadata;
            // A writer that never comes to rest, or one that marks each input by rewriting it, would else be scored for ever.
            match self.ledger.count_unannounced(&other.blob, now).await? {
                Unannounced::Counted => {
                    let reason = format!("the path of scoring {} holds this version; no event told of it", scoring.id);
                    self.insert(&other, &[self.accepted(&other, reason)]).await?
                }
                Unannounced::TooMany { until } => {
                    return Ok(InputFound::NotSeen(format!(
                        "the path holds another version ({}), and {}",
                        seen.etag,
                        too_many(until)
                    )));
                }
            }
        };
        let Some(known) = known else { return Ok(InputFound::Newer { etag, scoring: other.id }) };
        // It may have given way to this one while this one's version was there, or be about to.
        let shown = self.show(known, ShownBy::Look).await?;
        let scored_as = if shown.status == Status::Superseded { self.scored_as(&shown).await? } else { None };
        Ok(InputFound::Newer { etag, scoring: scored_as.map_or(shown.id, |by| by.id) })
    }

    /// The metadata that is kept of a newer version that no event told of, or what stands against it: it is not whole yet, or of a
    /// kind that the rule does not score. No other version costs a second look.
    async fn fit(
        &self,
        services: &Services,
        rule: &Rule,
        scoring: &Scoring,
        seen: &SeenVersion,
    ) -> Result<Result<BTreeMap<String, String>, InputFound>, ledger::Error> {
        let (now, etag) = (self.clock.now(), &seen.etag);
        let not_seen =
            |why: String| Ok(Err(InputFound::NotSeen(format!("its path holds another version ({etag}): {why}"))));
        let blob = UnversionedBlob::from(scoring.blob.clone());
        let shown = match services.blobs.blob(&blob).await {
            Ok(Some(shown)) if shown.etag.trim_matches('"') == etag.as_str() => {
                with_index_tags(&*services.blobs, &blob, shown, [rule]).await
            }
            Ok(_) => return not_seen("it has changed again".to_owned()),
            Err(inconclusive) => return not_seen(error_chain(&inconclusive)),
        };
        let changed = Cause::Changed { taken: scoring.blob.etag.clone() };
        let upload = PendingUpload::new(rule, blob, changed, now);
        match upload.judge(self.ledger.id().await?, Some(rule), Some(&shown), None, now) {
            Judgement::TakeIn { scoring, .. } => Ok(Ok(scoring.blob.metadata)),
            // On record before the older version waits for it.
            Judgement::Wait(upload) => {
                let why = upload.reason.clone();
                self.ledger.keep_pending(&Pending::Upload(*upload)).await?;
                not_seen(why)
            }
            Judgement::Skip(skip) => Ok(Err(InputFound::Unwanted { etag: etag.clone(), why: skip.reason })),
            Judgement::Done => not_seen("it is not there any more".to_owned()),
        }
    }

    /// The path holds the same content under another ETag. That version joins the scoring, so that its event, should
    /// one come, is a repetition; unless it has a scoring that is further than this one.
    async fn join(&self, scoring: &Scoring, seen: SeenVersion) -> Result<InputFound, ledger::Error> {
        // Without its rule it goes on all the same: the content is the one that was named. Where overwrites are ignored no other
        // version has a scoring.
        let rule = self.rule(scoring).filter(|rule| rule.overwrites != Overwrites::Ignore);
        let Some(rule) = rule else { return Ok(InputFound::SameContent(seen)) };
        let other = scoring.of_version(self.ledger.id().await?, rule, &seen, self.clock.now());
        let joins = Observation::ScoredAs(scoring.id.clone());
        let present = match self.ledger.get(&other.id).await? {
            None => {
                let reason = format!("the path of scoring {} holds this version", scoring.id);
                let mut entries = vec![self.accepted(&other, reason)];
                let Step::Move { next, entry, .. } = self.decide(&other, &joins, other.created) else {
                    return Ok(InputFound::SameContent(seen));
                };
                entries.push(entry);
                self.insert(&next, &entries).await?.or(Some(*next))
            }
            // Nothing was sent for it yet: one of the two is enough.
            Some((queued, etag)) if queued.status == Status::Queued && queued.attempt == 0 => {
                self.move_other((queued, etag).into(), &joins).await?
            }
            Some((present, _)) => Some(present),
        };
        match present {
            Some(present) if scoring.status == Status::Queued && scores(&present) => {
                let present = self.show(present, ShownBy::Look).await?;
                if scores(&present) {
                    return Ok(InputFound::Newer { etag: seen.etag, scoring: present.id });
                }
                Ok(InputFound::SameContent(seen))
            }
            _ => Ok(InputFound::SameContent(seen)),
        }
    }

    /// Whether a scoring gives way to a later version of its path: its rule wants the latest alone, and it only waits. What a look or
    /// a list has shown is there, whatever the order of events says: only looks end that. An event that comes late is of an earlier
    /// version, though it is accepted later; and what somebody started is an order, which no upload drops.
    fn gives_way(&self, scoring: &Scoring) -> bool {
        let blob = &scoring.blob;
        let is_told = blob.sequencer.is_some() || blob.event_time.is_some();
        scoring.status == Status::Queued
            && is_told
            && scoring.in_place_of.is_none()
            && self.rule(scoring).is_some_and(|rule| rule.overwrites == Overwrites::LatestOnly)
    }

    /// The later version of its path that is scored in the place of one that [gives way](Self::gives_way). A decision that the later
    /// one ends, made before, is made to fail, as [`show`](Self::show) does: two versions must not give way to each other.
    async fn later_version(&self, scoring: &Scoring) -> Result<Option<Scoring>, ledger::Error> {
        // Of a later generation too: somebody has had that version scored once more.
        let takes_its_place =
            |later: &Scoring| scores(later) && later.generation >= scoring.generation && later.is_later_than(scoring);
        for (later, etag) in self.versions_beside(scoring).await? {
            if let Some(later) = self.holding(later, etag, &takes_its_place).await? {
                return Ok(Some(later));
            }
        }
        Ok(None)
    }

    /// A scoring of which this holds, touched unless it is final, so that no older decision about it can be recorded. Whoever moves
    /// it meanwhile does not make it one of which it does not: it is read again.
    async fn holding(
        &self,
        mut scoring: Scoring,
        mut etag: ETag,
        holds: &(dyn Fn(&Scoring) -> bool + Sync),
    ) -> Result<Option<Scoring>, ledger::Error> {
        for _ in 0..MAX_TRIES {
            if !holds(&scoring) {
                return Ok(None);
            }
            if scoring.status.is_terminal() || self.ledger.touch(&scoring.id, &etag, self.clock.now()).await? {
                return Ok(Some(scoring));
            }
            let Some(again) = self.ledger.get(&scoring.id).await? else { return Ok(None) };
            (scoring, etag) = again;
        }
        Err(keeps_changing(&scoring.id))
    }

    /// Scorings of other versions of its path under its rule, of any generation, the newest first.
    async fn versions_beside(&self, scoring: &Scoring) -> Result<Vec<(Scoring, ETag)>, ledger::Error> {
        let received = self.ledger.received(&scoring.blob.container, &scoring.blob.path, MAX_VERSIONS).await?;
        let mut versions = Vec::new();
        for row in received.iter() {
            let Received::Scoring(row) = row else { continue };
            if row.id == scoring.id {
                continue;
            }
            if let Some((other, etag)) = self.ledger.get(&row.id).await?
                && other.rule == scoring.rule
                && other.blob.url == scoring.blob.url
                && other.blob.etag != scoring.blob.etag
            {
                versions.push((other, etag));
            }
        }
        Ok(versions)
    }

    /// The newest other version of its path that is scored, or will be.
    pub(crate) async fn latest_beside(&self, scoring: &Scoring) -> Result<Option<ScoringId>, ledger::Error> {
        let beside = self.versions_beside(scoring).await?;
        let is_it = |other: &Scoring| scores(other) && other.generation == scoring.generation;
        Ok(beside.into_iter().find(|(other, _)| is_it(other)).map(|(other, _)| other.id))
    }

    /// Of a rule that wants the latest version alone: a version has come to be on record, so that what is queued of its path and
    /// is earlier than another one is not scored any more, itself included. What is in flight goes on.
    pub(crate) async fn overtake(&self, scoring: &Scoring) -> Result<(), ledger::Error> {
        let beside = self.versions_beside(scoring).await?;
        let queued = |one: &&Scoring| one.status == Status::Queued;
        for one in beside.iter().map(|(one, _)| one).chain([scoring]).filter(queued) {
            let Some((earlier, etag)) = self.ledger.get(&one.id).await? else { continue };
            if !self.gives_way(&earlier) {
                continue;
            }
            if let Some(later) = self.later_version(&earlier).await? {
                let seen = Observation::Overtaken { etag: later.blob.etag, by: later.id };
                self.move_other((earlier, etag).into(), &seen).await?;
            }
        }
        Ok(())
    }

    /// Takes another scoring in. Returns it as it is in the ledger, if it was there already.
    async fn insert(&self, other: &Scoring, entries: &[Entry]) -> Result<Option<Scoring>, ledger::Error> {
        Ok(match self.ledger.accept(other, entries, &Announced::default()).await? {
            Acceptance::New(_) => {
                let reason = entries.last().map_or("", |entry| entry.reason.as_str());
                tracing::info!(scoring = %other.id, rule = other.rule.as_str(), blob = other.blob.url, status = %other.status,
                    "scoring {} accepted as {}: {reason}", other.id, other.status);
                None
            }
            Acceptance::Duplicate(present) => Some(*present),
        })
    }

    /// Moves another scoring by what was seen of it. Returns it as it is then, as far as that is known.
    async fn move_other(&self, loaded: Loaded, seen: &Observation) -> Result<Option<Scoring>, ledger::Error> {
        let Loaded { scoring, etag } = loaded;
        let now = self.clock.now();
        let Step::Move { next, entry, .. } = self.decide(&scoring, seen, now) else { return Ok(Some(*scoring)) };
        match self.ledger.record(&scoring, &etag, &next, &entry).await? {
            Recorded::Done(_) => {
                self.announce(&scoring, &next, &entry, now).await;
                Ok(Some(*next))
            }
            Recorded::Lost => Ok(self.ledger.get(&scoring.id).await?.map(|(present, _)| present)),
        }
    }

    /// A version that is known is shown: what had ended because it was not at its path is opened again, so that no path is
    /// without a scoring for what it holds. A version comes back to its path when it is renamed there, and whoever looked before
    /// that may be about to end its scoring. Where a look shows it, such a decision is made to fail.
    pub(super) async fn show(&self, known: Scoring, by: ShownBy) -> Result<Scoring, ledger::Error> {
        let ended = |scoring: &Scoring| matches!(scoring.status, Status::Gone | Status::Superseded);
        let says_something = match by {
            // An upload's event may be an old one that is delivered again, and what replaced a superseded version has been scored
            // since: only who looks knows that it is there again. A rename's event is looked at.
            ShownBy::Event => known.status == Status::Gone,
            ShownBy::Look => ended(&known) || !known.status.is_terminal(),
        };
        if !says_something {
            return Ok(known);
        }
        for _ in 0..MAX_TRIES {
            let Some((scoring, etag)) = self.ledger.get(&known.id).await? else { return Ok(known) };
            if !ended(&scoring) {
                if scoring.status.is_terminal() || self.ledger.touch(&scoring.id, &etag, self.clock.now()).await? {
                    return Ok(scoring);
                }
            } else if scoring.status == Status::Superseded && self.scored_as(&scoring).await?.is_some() {
                return Ok(scoring);
            } else if let Some(opened) = self.move_other((scoring, etag).into(), &Observation::VersionSeen).await?
                && !ended(&opened)
            {
                return Ok(opened);
            }
        }
        Err(keeps_changing(&known.id))
    }

    /// The scoring that scores the content of a superseded one, known to be the same by the ETag.
    async fn scored_as(&self, superseded: &Scoring) -> Result<Option<Scoring>, ledger::Error> {
        let Some(by) = superseded.replaced_by.clone() else { return Ok(None) };
        let etag = &superseded.blob.etag;
        let by = self.standing(by).await?;
        Ok(by.filter(|by| scores(by) && (by.blob.etag == *etag || by.aliases.contains(etag))))
    }

    /// A scoring, or the one that has taken its place in the end; if that cannot be told, the last one that was come by.
    pub(crate) async fn standing(&self, mut id: ScoringId) -> Result<Option<Scoring>, ledger::Error> {
        let mut last = None;
        for _ in 0..MAX_REPLACED {
            let Some((scoring, _)) = self.ledger.get(&id).await? else { break };
            let next = scoring.replaced_by.clone().filter(|_| scoring.status == Status::Superseded);
            last = Some(scoring);
            match next {
                Some(next) => id = next,
                None => break,
            }
        }
        Ok(last)
    }
}

/// Why a version that no event told of waits.
pub(crate) fn too_many(until: OffsetDateTime) -> String {
    format!(
        "{MAX_UNANNOUNCED} of its versions were scored within an hour without an event of their own; the next at {}",
        lifecycle::duration::utc_text(until)
    )
}

fn keeps_changing(id: &ScoringId) -> ledger::Error {
    ledger::Error::Unavailable(table_store::Error::Unavailable(format!("scoring {id} keeps changing")))
}

/// Whether a scoring has scored its content, or is about to.
fn scores(scoring: &Scoring) -> bool {
    !scoring.status.is_terminal() || scoring.status == Status::Scored
}

/// What takes its place can be scored by nobody: whoever put the rule away decides.
fn without_rule(scoring: &Scoring, seen: &SeenVersion) -> InputFound {
    InputFound::NotSeen(format!(
        "the path holds another version ({}), and rule `{}` is not in the rules any more; put it back to have that one scored",
        seen.etag, scoring.rule
    ))
}
