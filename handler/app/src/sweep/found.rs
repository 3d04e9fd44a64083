//! A version that was listed by a sweep or a backfill: whether the ledger knows it, and what becomes of it if not.
//!
//! The cheapest question is asked first, and for nearly all versions it is the last one: one read of the scoring of this version.

use std::sync::Arc;

use lifecycle::listing::BlobPrefix;
use lifecycle::own_output::may_be_forgotten;
use lifecycle::pending::{Finder, Judgement};
use lifecycle::skipped::SkippedEvent;
use lifecycle::sweep::SweepCounts;
use lifecycle::text::one_line;
use lifecycle::{BlobSnapshot, BlobVersion, PendingUpload, Rule, Rules, Status, UnversionedBlob};
use time::OffsetDateTime;

use crate::error::{Error, during};
use crate::intake::{Intake, Outcome};
use crate::ledger::{self, Ledger, Pending, Received};
use crate::own_outputs;
use crate::ports::{Blobs, with_index_tags};

/// What was received of a path that is looked through, the newest.
const MAX_RECEIVED: usize = 20;
/// Requests to the ledger for what was received of a path: one for each of its partitions.
const RECEIVED_REQUESTS: u32 = 16;
/// Requests that taking a version in takes beside, about.
const TAKE_IN_REQUESTS: u32 = 4;

/// Takes in what the ledger does not know.
#[derive(Clone)]
pub(crate) struct FoundIntake {
    pub(crate) ledger: Ledger,
    pub(crate) rules: Arc<Rules>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) intake: Intake,
    /// For whom it is listed, a sweep or a backfill: histories, reasons and the place in the queue depend on it.
    pub(crate) by: Finder,
    /// Whether what is not ready yet is kept, to be looked at again by the reconcile runs.
    pub(crate) keeps_waiting: bool,
}

/// What a listed version is under a rule.
pub(crate) enum Standing {
    /// Its scoring is in the ledger, in this status if that can be read.
    Known(Option<Status>),
    /// It is an output of ours.
    Own,
    /// The ledger knows neither. What becomes of it, and whether it was skipped before.
    New { judgement: Judgement, skipped: bool },
}

/// Whether anything may be written for a look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Names that it had before are noted.
    Noted,
    /// Nothing is written, for plans and checks.
    Preview,
}

/// What the ledger has of a path under a rule.
#[derive(Default)]
struct OfPath {
    /// Status of the scoring of the same content, under another ETag.
    joined: Option<Status>,
    /// The same version was skipped before, under this rule or without any.
    skipped: bool,
    /// ETag of the version that was taken in last.
    taken: Option<String>,
}

impl FoundIntake {
    /// Takes a version in under the rule and its shadow, unless the ledger knows it. Returns what it was, and requests, about.
    /// **Durable once `Ok`.**
    pub(crate) async fn take_in(
        &self,
        rule: &Rule,
        place: &BlobPrefix,
        (path, shown): &(String, BlobSnapshot),
        now: OffsetDateTime,
    ) -> Result<(SweepCounts, u32), Error> {
        let (version, blob) = match named(place, path, shown) {
            Ok(named) => named,
            Err(invalid) => {
                let skip = unreadable(rule, place, path, shown, &invalid.to_string());
                self.intake.skip(&skip, None, now, &mut Outcome::default()).await?;
                return Ok((SweepCounts { skipped: 1, ..SweepCounts::default() }, 1));
            }
        };
        let (mut counts, mut requests) = (SweepCounts::default(), 0);
        let shadows = self.rules.iter().filter(|other| other.shadow_of.as_ref() == Some(&rule.id));
        for rule in std::iter::once(rule).chain(shadows) {
            let (seen, asked) = Box::pin(self.under(rule, &blob, &version, shown, now)).await?;
            counts = counts.and(seen);
            requests += asked;
        }
        Ok((counts, requests))
    }

    async fn under(
        &self,
        rule: &Rule,
        blob: &UnversionedBlob,
        version: &BlobVersion,
        shown: &BlobSnapshot,
        now: OffsetDateTime,
    ) -> Result<(SweepCounts, u32), Error> {
        let none = SweepCounts::default();
        let (seen, requests) = self.seen(rule, blob, version, shown, Look::Noted, now).await?;
        let (judgement, skipped) = match seen {
            Standing::Known(_) => return Ok((SweepCounts { known: 1, ..none }, requests)),
            Standing::Own => return Ok((SweepCounts { own: 1, ..none }, requests)),
            Standing::New { judgement, skipped } => (judgement, skipped),
        };
        // What was refused before and is wanted now, as a rule has changed, is taken in.
        if matches!(judgement, Judgement::Skip(_)) && skipped {
            return Ok((SweepCounts { known: 1, ..none }, requests));
        }
        if matches!(judgement, Judgement::Wait(_)) && !self.keeps_waiting {
            return Ok((SweepCounts { young: 1, ..none }, requests));
        }
        let mut outcome = Outcome::default();
        if let Some(again) = self.intake.carry_out(judgement, None, now, &mut outcome).await? {
            self.ledger
                .keep_pending(&Pending::Upload(again))
                .await
                .map_err(during("keeping what a sweep has found"))?;
            outcome.accepted.pending += 1;
        }
        let accepted = outcome.accepted;
        let counts = SweepCounts {
            found: u64::from(!accepted.accepted.is_empty() || accepted.pending > 0),
            skipped: u64::from(accepted.skipped > 0 || accepted.quarantined > 0),
            // Its event came at this moment.
            known: u64::from(accepted.duplicates > 0),
            ..none
        };
        Ok((counts, requests + TAKE_IN_REQUESTS))
    }

    /// What a listed version is under a rule, and requests, about.
    pub(crate) async fn seen(
        &self,
        rule: &Rule,
        blob: &UnversionedBlob,
        version: &BlobVersion,
        shown: &BlobSnapshot,
        look: Look,
        now: OffsetDateTime,
    ) -> Result<(Standing, u32), Error> {
        let asking = || during("asking the ledger about a version that was listed");
        let ledger_id = self.ledger.id().await.map_err(asking())?;
        match self.ledger.get(&rule.scoring_id(ledger_id, version)).await {
            Ok(Some((scoring, _))) => return Ok((Standing::Known(Some(scoring.status)), 1)),
            // One that cannot be read is there, and is told of elsewhere.
            Err(ledger::Error::Unreadable(_)) => return Ok((Standing::Known(None), 1)),
            Ok(None) => {}
            Err(error) => return Err(asking()(error)),
        }
        let forgotten = self.rules.output_at(&version.path).is_some() && may_be_forgotten(shown.modified, now);
        let may_be_published = self.intake.driver().may_have_published(now).await;
        let owner = own_outputs::owner_of(&self.ledger, version, may_be_published).await.map_err(asking())?;
        if forgotten || owner.is_some() {
            return Ok((Standing::Own, 2));
        }
        let of_path = self.of_path(rule, version).await.map_err(asking())?;
        let requests = 2 + RECEIVED_REQUESTS;
        if let Some(status) = of_path.joined {
            return Ok((Standing::Known(Some(status)), requests));
        }
        let upload = PendingUpload::found(rule, blob.clone(), shown, (of_path.taken, self.by.clone()), now);
        let shown = with_index_tags(&*self.blobs, blob, shown.clone(), [rule]).await;
        let judgement = match look {
            Look::Noted => self.intake.judge(upload, Ok(Some(&shown)), now).await?,
            Look::Preview => self.intake.preview(upload, &shown, now).await?,
        };
        Ok((Standing::New { judgement, skipped: of_path.skipped }, requests))
    }

    async fn of_path(&self, rule: &Rule, version: &BlobVersion) -> Result<OfPath, ledger::Error> {
        let received = self.ledger.received(&version.container, &version.path, MAX_RECEIVED).await?;
        let mut of_path = OfPath::default();
        for row in received {
            match row {
                Received::Skipped(skip) => {
                    let of_rule = skip.rule.is_none() || skip.rule.as_ref() == Some(&rule.id);
                    of_path.skipped |=
                        of_rule && skip.subject == version.url && skip.etag.as_deref() == Some(&version.etag);
                }
                Received::Scoring(row) => {
                    let Some((scoring, _)) = self.ledger.get(&row.id).await? else { continue };
                    if scoring.rule != rule.id || scoring.blob.url != version.url {
                        continue;
                    }
                    if scoring.aliases.contains(&version.etag) {
                        of_path.joined.get_or_insert(scoring.status);
                    }
                    of_path.taken.get_or_insert(scoring.blob.etag);
                }
            }
        }
        Ok(of_path)
    }
}

/// A listed blob as an event about it would name it.
pub(crate) fn named(
    place: &BlobPrefix,
    path: &str,
    shown: &BlobSnapshot,
) -> Result<(BlobVersion, UnversionedBlob), lifecycle::blob::InvalidBlob> {
    let blob = place.blob(path)?;
    Ok((blob.version(&shown.etag)?, blob))
}

/// Whether the rule, and so its shadow, may want a blob of this name. What it does not want by its name is in no place of it.
pub(crate) fn may_want(rule: &Rule, place: &BlobPrefix, path: &str) -> bool {
    let Ok(blob) = place.blob(path) else { return true };
    rule.refuses_name(&blob.account, &blob.container, &blob.path).is_none()
}

/// The record of a listed name that no event could tell of either.
fn unreadable(rule: &Rule, place: &BlobPrefix, path: &str, shown: &BlobSnapshot, why: &str) -> SkippedEvent {
    let reason = one_line(&format!("found by sweep: {why}"), 1_000);
    let subject = format!("{}/{}", place.container_url(), one_line(path, 2_000));
    let key = lifecycle::digest::digest(&["swept", &rule.id, &subject, &shown.etag]);
    SkippedEvent { key, subject, rule: Some(rule.id.clone()), etag: Some(shown.etag.clone()), reason }
}
