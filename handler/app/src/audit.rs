//! The audit: finds jobs that the service made and no scoring needs.
//!
//! A lost answer is resolved where it happened. What is left are jobs that nobody will ever look for: one that appears
//! after its submission was sent again, the second of two that one request made, one that a process sent late, after
//! others had gave it up. So the jobs behind each endpoint are listed regularly, and each that writes to an output path
//! of a scoring is held against that scoring. What no attempt needs is a *stray*: it is cancelled, counted, and kept by
//! name in the scoring's row and history.
//!
//! Never: a job cancelled whose scoring may still adopt it, or which is not provably ours (its output path or our tags).

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, stream};
use lifecycle::datastore::same_place;
use lifecycle::id::{EndpointUri, WorkspaceId};
use lifecycle::job::experiment_asked_for;
use lifecycle::{JobStatus, Scoring, ScoringId, Seen, Status, Step, decide};
use time::{Duration, OffsetDateTime};

use crate::admission::Permit;
use crate::ledger::Audited;
use crate::ports::table_store::ETag;
use crate::ports::{Listed, Place};
use crate::{App, Error, Look, chain, during};

/// Jobs may appear in a list so long after they were made. Nobody says how long that takes; what appears within the
/// grace time is found by the search for it.
const LIST_LAG: Duration = Duration::hours(1);
/// How far the first audit looks back, and for how long a stray that runs on is told to stop.
const FIRST: Duration = Duration::days(1);
/// Scorings looked at together.
const AT_ONCE: usize = 8;
/// Times that a job is held against its scoring while others move that on.
const TRIES: usize = 4;
/// Places in one URI that are held to be ids; ours have one, and a URI full of hex digits is not worth more reads.
const MOST_IDS: usize = 16;
/// Names of jobs that need no second look; more are looked at again.
const MOST_REMEMBERED: usize = 50_000;

/// What a process remembers between audits: a hint that spares looks, never a fact that correctness needs.
#[derive(Debug, Default)]
pub(super) struct Memory {
    last: HashMap<EndpointUri, OffsetDateTime>,
    settled: HashSet<String>,
}

/// What an audit found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) strays: usize,
    pub(super) errors: usize,
}

/// What the tick knows of the scorings in flight.
#[derive(Debug, Default)]
pub(super) struct InFlightJobs {
    /// Names of adopted jobs: none of them is a stray.
    pub(super) names: HashSet<String>,
    /// Workspace by endpoint.
    pub(super) workspaces: HashMap<EndpointUri, WorkspaceId>,
}

impl App {
    /// Audits every endpoint that is due. Starts nothing new after `deadline`.
    pub(super) async fn audit(&self, in_flight: InFlightJobs, deadline: OffsetDateTime) -> Found {
        let mut found = Found::default();
        let Some(interval) = self.0.parts.audit else { return found };
        let InFlightJobs { names, workspaces } = in_flight;
        let mut known = None;
        for mut place in self.places() {
            let now = self.now();
            if now >= deadline {
                break;
            }
            if self.memory().last.get(&place.endpoint).is_some_and(|last| now - *last < interval) {
                continue;
            }
            place.workspace = place.workspace.or_else(|| workspaces.get(&place.endpoint).cloned());
            let known = known.get_or_insert_with(|| {
                let mut known = self.memory().settled.clone();
                known.extend(names.iter().cloned());
                known
            });
            match self.audit_place(&place, known, interval, now).await {
                Ok(strays) => found.strays += strays,
                Err(why) => {
                    found.errors += 1;
                    tracing::warn!(
                        endpoint = place.endpoint.as_str(),
                        because = why,
                        "the jobs of {} were not audited: {why}",
                        place.endpoint
                    );
                }
            }
            self.memory().last.insert(place.endpoint, now);
        }
        found
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.audits.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Every endpoint of the rules, with what its rules say of it.
    fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for rule in &self.0.parts.rules {
            let target = &rule.endpoint;
            let asked = experiment_asked_for(&rule.settings);
            let workspace = target.workspace.clone();
            match places.iter_mut().find(|place| place.endpoint == target.uri) {
                Some(place) => {
                    place.workspace = place.workspace.take().or(workspace);
                    place.experiments.extend(asked);
                }
                None => places.push(Place {
                    endpoint: target.uri.clone(),
                    workspace,
                    experiments: asked.into_iter().collect(),
                }),
            }
        }
        places
    }

    async fn audit_place(
        &self,
        place: &Place,
        known: &HashSet<String>,
        interval: Duration,
        now: OffsetDateTime,
    ) -> Result<usize, String> {
        let told = |error: crate::ledger::Error| chain(&error);
        let last = self.ledger().audited(&place.endpoint).await.map_err(told)?;
        // Another process did it a moment ago.
        if last.is_some_and(|last| now - last.at < interval) {
            return Ok(0);
        }
        let since = last.map_or(now - FIRST, |last| last.through);
        let listing = self.0.parts.endpoint.made_since(place, since, known).await.map_err(|unclear| unclear.0)?;
        let whole = listing.whole;
        let mut looks = stream::iter(listing.jobs)
            .map(|listed| async move { (self.audit_job(place, &listed).await, listed) })
            .buffer_unordered(AT_ONCE);
        let (mut outcomes, mut busy) = (Vec::new(), Vec::new());
        while let Some((outcome, listed)) = looks.next().await {
            match outcome {
                Ok(Outcome::Busy) => busy.push(listed),
                outcome => outcomes.push((outcome, listed.job.name)),
            }
        }
        // Jobs of one scoring got into each other's way: one after the other.
        for listed in busy {
            outcomes.push((self.audit_job(place, &listed).await, listed.job.name));
        }
        let (mut strays, mut running, mut busy, mut failure) = (0, false, false, None);
        for (outcome, name) in outcomes {
            match outcome {
                Ok(outcome) => {
                    strays += usize::from(matches!(outcome, Outcome::Stray { .. }));
                    running |= matches!(outcome, Outcome::Stray { runs: true } | Outcome::RunsOn);
                    busy |= outcome == Outcome::Busy;
                    let mut memory = self.memory();
                    if outcome == Outcome::Settled && memory.settled.len() < MOST_REMEMBERED {
                        memory.settled.insert(name);
                    }
                }
                Err(error) => failure = failure.or(Some(chain(&error))),
            }
        }
        if let Some(why) = failure {
            return Err(why);
        }
        let through = match (whole && !busy, running) {
            (true, false) => now - LIST_LAG,
            // A request to stop a job may be lost, or not be listened to: what still runs is to be listed again.
            (true, true) => since.max(now - FIRST),
            (false, _) => since,
        };
        self.ledger().keep_audited(&place.endpoint, Audited { at: now, through }).await.map_err(told)?;
        if whole {
            Ok(strays)
        } else {
            Err("there were more jobs than one audit looks at; the next goes on".to_owned())
        }
    }

    async fn audit_job(&self, place: &Place, listed: &Listed) -> Result<Outcome, Error> {
        let mut ids: Vec<ScoringId> = listed.outputs.iter().flat_map(|uri| ids_in(uri)).collect();
        ids.extend(listed.mark.iter().map(|(id, _)| id.clone()));
        ids.sort();
        ids.dedup();
        for id in ids {
            // Each try is lost to another who moved the scoring on.
            let mut tries = 0..TRIES;
            while let Some((scoring, etag)) = self.ledger().get(&id).await.map_err(during("reading a scoring"))?
                && scoring.endpoint == place.endpoint
                && let Some(attempt) = self.attempt_of(&scoring, listed)
            {
                if tries.next().is_none() {
                    return Ok(Outcome::Busy);
                }
                if let Some(outcome) = self.audit_job_of(scoring, etag, attempt, listed).await? {
                    return Ok(outcome);
                }
            }
        }
        // None of ours, unless it does not show its outputs yet.
        Ok(if listed.outputs.is_empty() { Outcome::Open } else { Outcome::Settled })
    }

    /// `None`: somebody else moved the scoring on, so that it is to be read again.
    async fn audit_job_of(
        &self,
        scoring: Scoring,
        etag: ETag,
        attempt: u32,
        listed: &Listed,
    ) -> Result<Option<Outcome>, Error> {
        let (id, name) = (scoring.id.clone(), &listed.job.name);
        let ended = matches!(listed.status, JobStatus::Completed | JobStatus::Failed | JobStatus::Canceled);
        if scoring.strays.contains(name) {
            if !ended {
                // Whoever recorded it may have died before it asked, or the service did not listen.
                tracing::warn!(
                    scoring = %scoring.id,
                    rule = scoring.rule.as_str(),
                    endpoint = scoring.endpoint.as_str(),
                    job = name,
                    because = "it was told to stop and still runs",
                    "stray job {name} of {} still runs",
                    scoring.id
                );
                self.cancel(&scoring, vec![listed.job.clone()]).await;
            }
            return Ok(Some(if ended { Outcome::Settled } else { Outcome::RunsOn }));
        }
        let undecided = matches!(scoring.status, Status::Submitting | Status::Unknown | Status::Held);
        if undecided && attempt == scoring.attempt {
            // The search for it decides, with all candidates in view.
            return Ok(Some(Outcome::Open));
        }
        let seen = Seen::Made { attempt, job: listed.job.clone(), status: listed.status.clone() };
        let now = self.now();
        if matches!(decide(&scoring, self.rule(&scoring), &seen, now), Step::Wait { .. }) {
            return Ok(Some(Outcome::Settled));
        }
        self.drive_look(scoring, etag, Look { seen, at: now, permit: Permit::default() }).await?;
        let after = self.ledger().get(&id).await.map_err(during("reading a scoring"))?;
        Ok(match after {
            Some((after, _)) if after.strays.contains(name) => Some(Outcome::Stray { runs: !ended }),
            Some((after, _)) if after.job.as_ref().is_none_or(|own| own.name != *name) => None,
            _ => Some(Outcome::Open),
        })
    }

    /// The attempt of the scoring that a job was made for.
    fn attempt_of(&self, scoring: &Scoring, listed: &Listed) -> Option<u32> {
        if let Some((id, attempt)) = &listed.mark {
            return (*id == scoring.id).then_some(*attempt);
        }
        let writes_to = |submission: &lifecycle::Submission| {
            submission.outputs.values().any(|ours| listed.outputs.iter().any(|theirs| same_place(&ours.uri, theirs)))
        };
        if scoring.submission.as_ref().is_some_and(writes_to) {
            return Some(scoring.attempt);
        }
        let rule = self.rule(scoring)?;
        (1..=scoring.attempt).rev().find(|attempt| writes_to(&rule.submission(&scoring.blob, &scoring.id, *attempt)))
    }
}

/// Tells operators of jobs that a move recorded as strays: they cost money, and show that answers are lost. Whoever finds
/// one records it by a move, so this is where all of them come by.
pub(super) fn tell_of_strays(before: &Scoring, after: &Scoring, because: &str) {
    for job in after.strays.iter().filter(|job| !before.strays.contains(job)) {
        tracing::warn!(
            scoring = %after.id,
            rule = after.rule.as_str(),
            endpoint = after.endpoint.as_str(),
            job,
            because,
            "stray job {job} of {}: {because}",
            after.id
        );
    }
}

/// What an audit made of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It needs no second look.
    Settled,
    /// It is looked at again.
    Open,
    /// Its scoring was moved on by others each time: it must be looked at again, however old it is.
    Busy,
    /// It was found to be needed by nobody.
    Stray {
        /// It was told to stop.
        runs: bool,
    },
    /// It was found so before, and told to stop again.
    RunsOn,
}

/// Every scoring id that a URI may hold; each output path of ours holds one. A template may put hex digits beside it.
fn ids_in(uri: &str) -> Vec<ScoringId> {
    let runs = uri.split(|c: char| !c.is_ascii_hexdigit());
    let places = runs.flat_map(|run| (0..=run.len().saturating_sub(32)).filter_map(|at| run.get(at..at + 32)));
    places.filter_map(ScoringId::read).take(MOST_IDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_wherever_a_template_puts_them() {
        let id = "8eab74ca1334548c648de2f3ccc5c3aa";
        for uri in [
            format!("azureml://datastores/d/paths/scorekeeper/claims/{id}/1/predictions.csv"),
            format!("azureml://datastores/d/paths/x-{id}-1.csv"),
            format!("azureml://datastores/d/paths/XXdead{id}/1").replace("dead", "z"),
            format!("/subscriptions/0-0/workspaces/w/datastores/d/paths/{id}"),
        ] {
            assert_eq!(ids_in(&uri).iter().map(ScoringId::as_str).collect::<Vec<_>>(), [id], "{uri}");
        }
        assert_eq!(ids_in("azureml://datastores/d/paths/of-another/app.csv"), []);
    }
}
