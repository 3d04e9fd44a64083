//! What a blob was before it was renamed: known under a former name it is not scored again.

use lifecycle::pending::{Cause, Former};
use lifecycle::rule::{Overwrites, Renames};
use lifecycle::{BlobSnapshot, BlobVersion, PendingUpload, Rule, Scoring};

use super::Intake;
use crate::error::{Error, during};
use crate::ledger::FormerName;
use crate::own_outputs;

/// Moves of one blob in a row after which nobody saw it that are followed back.
const MAX_UNSEEN_MOVES: usize = 8;

impl Intake {
    /// What is known of an upload's version under the names that it had before, if it counts, and which of these it is.
    pub(super) async fn former(
        &self,
        upload: &PendingUpload,
        rule: &Rule,
        seen: &BlobSnapshot,
    ) -> Result<Option<(Former, BlobVersion)>, Error> {
        let reading = || during("reading what a blob was before it was renamed");
        let (mut names, mut asked) = (Vec::new(), Vec::new());
        // A sweep has no event that tells of names: what is noted of this one counts.
        if matches!(upload.cause, Cause::Found { .. })
            && let Ok(found) = upload.blob.version(&seen.etag)
        {
            names.extend(self.ledger.first_name(&found).await.map_err(reading())?);
            asked.push(found);
        }
        for before in upload.former_versions(seen) {
            let first = self.ledger.first_name(&before).await.map_err(reading())?;
            names.push(first.unwrap_or(before));
        }
        let sure = names.len() == 1;
        let mut former = self.known_among(&names, rule, &upload.blob.path, sure, |_| true).await?;
        // Moved before anybody looked, or by a name that no rule wants.
        asked.extend(names.iter().cloned());
        let mut moves = 0;
        while former.is_none() && !asked.is_empty() && moves < MAX_UNSEEN_MOVES {
            let mut earlier = Vec::new();
            for blob in std::mem::take(&mut asked) {
                for FormerName { url, until } in self.ledger.former_names(&blob.into()).await.map_err(reading())? {
                    if let Ok(before) = BlobVersion::read(&url, &seen.etag)
                        && !names.contains(&before)
                    {
                        // Nobody saw the version that was moved: it may be another one that has been written there since.
                        let is_it = seen.modified.zip(until).is_some_and(|(modified, until)| modified <= until);
                        names.push(before.clone());
                        asked.push(before.clone());
                        let first = self.ledger.first_name(&before).await.map_err(reading())?;
                        earlier.push((first.unwrap_or(before), is_it));
                    }
                }
            }
            let versions: Vec<BlobVersion> = earlier.iter().map(|(before, _)| before.clone()).collect();
            let is_it = |before: &BlobVersion| earlier.iter().any(|(other, is_it)| other == before && *is_it);
            former = self.known_among(&versions, rule, &upload.blob.path, false, is_it).await?;
            moves += 1;
        }
        Ok(former)
    }

    /// What is known of a version under one of the names that it had, or may have had if that is not `sure`, if it counts; an output is
    /// known by its name alone, and counts if the version `is` what had that name.
    async fn known_among(
        &self,
        names: &[BlobVersion],
        rule: &Rule,
        now_at: &str,
        sure: bool,
        is: impl Fn(&BlobVersion) -> bool,
    ) -> Result<Option<(Former, BlobVersion)>, Error> {
        for before in names {
            let known = self.known_as(before, rule, sure).await?.filter(Former::counts);
            if let Some(known) = known.filter(|known| matches!(known, Former::Scoring { .. }) || is(before)) {
                return Ok(Some((known, before.clone())));
            }
        }
        for before in names.iter().filter(|before| is(before)) {
            let of = own_outputs::forgotten(&self.ledger, &self.rules, before, now_at).await;
            if let Some(of) = of.map_err(during("asking whether a blob was an output"))? {
                return Ok(Some((Former::LikeOutput { of }, before.clone())));
            }
        }
        Ok(None)
    }

    /// What the ledger knows of a version under a name that it had, or may have had if that is not `sure`.
    async fn known_as(&self, before: &BlobVersion, rule: &Rule, sure: bool) -> Result<Option<Former>, Error> {
        let owner =
            own_outputs::owner_of(&self.ledger, before, self.driver.may_have_published(self.clock.now()).await).await;
        if let Some(owner) = owner.map_err(during("asking whose output a blob is"))? {
            return Ok(Some(Former::Output { of: owner.id }));
        }
        if rule.renames == Renames::Score {
            return Ok(None);
        }
        let ledger = self.ledger.id().await.map_err(during("reading the ledger's id"))?;
        let id = rule.scoring_id(ledger, before);
        let known = self.driver.standing(id).await.map_err(during("reading a scoring of a blob's former name"))?;
        // What has taken its place may have another content. And where overwrites are ignored a path has one id for all versions: of two
        // names one may be another blob's.
        let is_it = |scoring: &Scoring| {
            let by_id = sure && rule.overwrites == Overwrites::Ignore;
            by_id || scoring.blob.etag == before.etag || scoring.aliases.contains(&before.etag)
        };
        Ok(known.filter(is_it).map(|scoring| Former::Scoring { id: scoring.id, status: scoring.status }))
    }
}
