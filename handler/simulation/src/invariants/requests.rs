//! What must be true of requests to the batch endpoint: an intent before each, a look before a second one, limits on how many,
//! and no job stopped that somebody counts on.

use lifecycle::{Rule, Scoring, ScoringId, Status};
use time::{Duration, OffsetDateTime};

use super::{Invariants, MAX_LEASE};
use crate::cloud::Cloud;
use app::ledger::MAX_CLAIM_AGE;

impl Invariants {
    pub(super) fn intended(&mut self, next: &Scoring) {
        let id = &next.id;
        let (attempt, post) = (next.attempt, next.submits);
        // Of the rules as they are meant, which no run changes in this: each attempt and each version of a blob goes there. A
        // further generation, as an operator orders it, is picked for anew.
        let of_generation = |rule: &Rule| Rule { generation: next.generation, ..rule.clone() };
        let meant = self.rules.get(&next.rule).map(|rule| of_generation(rule).deployment_for(&next.blob).cloned());
        let other = meant.filter(|meant| *meant != next.deployment);
        self.hold(other.is_none(), "deployments", id, || {
            format!("attempt {attempt} goes to {:?}, and {other:?} is meant", next.deployment)
        });
        let Some(submission) = &next.submission else {
            self.broken("intent", Some(id), "an intent without a submission");
            return;
        };
        for output in submission.outputs.values() {
            let owner = self.paths.entry(output.uri.clone()).or_insert_with(|| (id.clone(), attempt)).clone();
            self.hold(owner == (id.clone(), attempt), "output paths", id, || {
                format!("attempt {attempt} writes to {}, as attempt {} of {} does", output.uri, owner.1, owner.0)
            });
        }
        let Some(known) = self.tracked.get_mut(id) else { return };
        let first = known.intents.range((attempt, 0)..(attempt, u32::MAX)).next().map(|(_, sent)| sent.clone());
        let taken = known.intents.insert((attempt, post), submission.clone()).is_some();
        let same = first.is_none_or(|first| first.outputs == submission.outputs);
        self.hold(same, "output paths", id, || {
            format!("two requests of attempt {attempt} differ in their output path")
        });
        self.hold(!taken, "intent", id, || format!("request {post} of attempt {attempt} is intended twice"));
    }

    /// A request to the batch endpoint is being sent.
    pub(crate) fn sent(&mut self, scoring: &Scoring, cloud: &Cloud, now: OffsetDateTime) {
        let id = &scoring.id;
        self.rate(scoring, now);
        let removed = self.removed.as_ref().is_some_and(|(rule, since)| *rule == scoring.rule && now >= *since);
        self.hold(!removed, "removed rules", id, || {
            format!("a request in the name of rule `{}`, which is removed", scoring.rule)
        });
        let (attempt, post) = (scoring.attempt, scoring.submits);
        let resubmit_after = self.resubmit_after.get(&scoring.rule).copied().unwrap_or_default();
        let Some(known) = self.tracked.get_mut(id) else {
            self.broken("intent", Some(id), "a request for a scoring that is not in the ledger");
            return;
        };
        let recorded = known.intents.get(&(attempt, post));
        let same = recorded.is_some() && recorded == scoring.submission.as_ref();
        let may_have_made = known.sent.iter().filter(|((a, p), (_, refused))| *a == attempt && *p != post && !refused);
        let nearest = may_have_made.map(|((_, p), (at, _))| (now - *at, *p)).min();
        let first = known.sent.insert((attempt, post), (now, false)).is_none();
        let looked = known.found_none;
        let last = known.sent.iter().filter(|((a, p), _)| *a == attempt && *p != post).map(|(_, (at, _))| *at).max();
        let empty = known.path_empty.filter(|(of, _)| *of == attempt).map(|(_, at)| at);
        self.hold(same, "intent", id, || {
            format!("request {post} of attempt {attempt} was sent and not on record before")
        });
        self.hold(first, "intent", id, || format!("request {post} of attempt {attempt} was sent twice"));
        self.hold(last.is_none_or(|last| empty.is_some_and(|empty| empty >= last)), "output first", id, || {
            format!("request {post} of attempt {attempt} was sent again without a look at its output path")
        });
        let Some((since, other)) = nearest else { return };
        // Who counts `resubmitAfter` reads another clock than who wrote its beginning, twice.
        self.hold(since >= resubmit_after - self.spread * 2, "resubmitAfter", id, || {
            format!(
                "request {post} of attempt {attempt} was sent {since} after request {other}; resubmitAfter is {resubmit_after}"
            )
        });
        let listed = looked.and_then(|at| cloud.listed(id, attempt, at));
        self.hold(looked.is_some(), "look first", id, || {
            format!("request {post} of attempt {attempt} was sent without a look for the job of request {other}")
        });
        self.hold(listed.is_none(), "look first", id, || {
            format!("request {post} of attempt {attempt} was sent although {listed:?} was there to be found")
        });
    }

    /// `submitsPerMinute`. A permit is used before its request is on record and sent, by whichever clock: those of all the
    /// minutes in between may arrive in one.
    pub(super) fn rate(&mut self, scoring: &Scoring, now: OffsetDateTime) {
        let Some((max, sent)) = self.rates.get_mut(&scoring.endpoint) else { return };
        sent.retain(|at| now - *at < Duration::MINUTE);
        sent.push(now);
        let between: Duration = MAX_CLAIM_AGE + MAX_LEASE + self.spread * 2;
        let minutes = 1 + usize::try_from(between.whole_minutes()).unwrap_or(0);
        let (count, max) = (sent.len(), *max);
        self.hold(count <= max * minutes, "submitsPerMinute", &scoring.id, || {
            format!("{count} requests in a minute to {}, submitsPerMinute is {max}", scoring.endpoint)
        });
    }

    /// A person has looked into the workspace and vouches that no request of this attempt made a job, or will.
    pub(crate) fn vouched(&mut self, scoring: &Scoring) {
        let Some(known) = self.tracked.get_mut(&scoring.id) else { return };
        for ((attempt, _), (_, refused)) in &mut known.sent {
            *refused |= *attempt == scoring.attempt;
        }
    }

    /// A request was refused: surely it made no job.
    pub(crate) fn refused(&mut self, scoring: &Scoring) {
        let Some(known) = self.tracked.get_mut(&scoring.id) else { return };
        if let Some((_, refused)) = known.sent.get_mut(&(scoring.attempt, scoring.submits)) {
            *refused = true;
        }
    }

    /// A search for jobs found none, truly.
    pub(crate) fn found_none(&mut self, id: &ScoringId, now: OffsetDateTime) {
        if let Some(known) = self.tracked.get_mut(id) {
            known.found_none = Some(now);
        }
    }

    /// Somebody looked at the output path of the scoring's attempt.
    pub(crate) fn looked_at_path(&mut self, scoring: &Scoring, there: bool, now: OffsetDateTime) {
        if let Some(known) = self.tracked.get_mut(&scoring.id) {
            known.path_empty = (!there).then_some((scoring.attempt, now));
        }
    }

    /// A job is told to stop. It must not be one that its scoring counts on, nor one that this installation did not ask for.
    pub(crate) fn stop_requested(&mut self, name: &str, cloud: &Cloud) {
        let of_another = cloud.owner(name).is_some_and(|(id, _)| !self.has(&id));
        if cloud.is_strangers(name) || of_another {
            self.broken("strangers", None, format!("{name} is told to stop, and is somebody else's"));
        }
        let Some((id, _)) = cloud.owner(name) else { return };
        let wanted = self.tracked.get(&id).is_some_and(|known| {
            let own = known.scoring.job.as_ref().is_some_and(|job| job.name == name);
            own && matches!(known.scoring.status, Status::Running)
        });
        self.hold(!wanted, "cancel", &id, || format!("{name} is told to stop, and the scoring waits for it"));
    }
}
