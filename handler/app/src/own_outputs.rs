//! Outputs of ours never trigger again, whatever the rules say today: the ledger knows the scoring whose id is in the path, as
//! long as it remembers that. A path that a result is published to holds no id, and is noted as such. Below a folder of the ledger's own
//! id lie copies of uploads alone, whether or not their group is remembered.

use lifecycle::own_output::{ids_in, is_output_of};
use lifecycle::publishing::PublishedPlace;
use lifecycle::{BlobVersion, RuleId, Rules, ScoringId, UnversionedBlob};

use crate::ledger::{self, Ledger};

/// The scoring that a blob is an output of, and its rule if its row can be read. Asks the ledger only if the path has
/// something in the form of an id, or if results may have been published.
pub(crate) async fn owner_of(
    ledger: &Ledger,
    blob: &BlobVersion,
    may_be_published: bool,
) -> Result<Option<(ScoringId, Option<RuleId>)>, ledger::Error> {
    for id in ids_in(&blob.path) {
        // Nothing else than copies is kept below it.
        if id.as_str() == ledger.id().await?.as_str() {
            return Ok(Some((id, None)));
        }
        match ledger.get(&id).await {
            Ok(Some((scoring, _))) if is_output_of(&scoring, &blob.path) => return Ok(Some((id, Some(scoring.rule)))),
            Ok(_) => {}
            // Such a scoring there is. To score what may be its output is worse than to skip what lies beside one.
            Err(ledger::Error::Unreadable(_)) => return Ok(Some((id, None))),
            Err(error) => return Err(error),
        }
    }
    if !may_be_published {
        return Ok(None);
    }
    let place = PublishedPlace::of(&UnversionedBlob::from(blob.clone()));
    let published = ledger.published_at(&place).await?;
    Ok(published.into_iter().next().map(|result| (result.scoring, None)))
}

/// What a blob is of which [`owner_of`] found this id, which may be the ledger's own.
pub(crate) async fn told_of(ledger: &Ledger, id: &ScoringId) -> Result<String, ledger::Error> {
    Ok(if id.as_str() == ledger.id().await?.as_str() {
        "one of the copies of this ledger's groups".to_owned()
    } else {
        format!("an output of scoring {id}")
    })
}

/// The rule whose outputs have the form of the path `before`, from which a blob was moved to `now_at`, if it may be one that the
/// ledger has forgotten: it knows no scoring of an id in that path, and never took the version in. Outputs lie longer than the
/// ledger remembers, and their whole folder may be moved.
///
/// What has that form at both places says nothing: uploads are moved about in folders that look like it.
pub(crate) async fn forgotten(
    ledger: &Ledger,
    rules: &Rules,
    before: &BlobVersion,
    now_at: &str,
) -> Result<Option<RuleId>, ledger::Error> {
    let Some(of) = rules.output_at(&before.path).filter(|_| rules.output_at(now_at).is_none()) else { return Ok(None) };
    let ledger_id = ledger.id().await?;
    let taken_in = rules.iter().map(|rule| rule.scoring_id(ledger_id, before));
    for id in ids_in(&before.path).into_iter().chain(taken_in) {
        match ledger.get(&id).await {
            Ok(None) => {}
            Ok(Some(_)) | Err(ledger::Error::Unreadable(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(of.id.clone()))
}
