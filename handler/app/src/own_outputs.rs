//! Outputs of ours never trigger again, whatever the rules say today: the ledger knows the scoring whose id is in the path, as
//! long as it remembers that. A path that a result is published to holds no id, and is noted as such. Below a folder of the ledger's own
//! id lie copies of uploads alone, whether or not their group is remembered.

use std::fmt;

use lifecycle::own_output::{ids_in, is_output_of};
use lifecycle::publishing::PublishedPlace;
use lifecycle::{BlobVersion, RuleId, Rules, ScoringId, UnversionedBlob};

use crate::ledger::{self, Ledger};

/// Whose output a blob is. For people it says what the blob is.
pub(crate) struct Owner {
    /// The scoring; of a copy the ledger's own id, below which all copies lie.
    pub(crate) id: ScoringId,
    /// Its rule, if its row can be read.
    pub(crate) rule: Option<RuleId>,
    is_copy: bool,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_copy {
            return f.write_str("one of the copies of this ledger's groups");
        }
        write!(f, "an output of scoring {}", self.id)
    }
}

/// The scoring that a blob is an output of. Asks the ledger only if the path has something in the form of an id, or if results may
/// have been published.
pub(crate) async fn owner_of(
    ledger: &Ledger,
    blob: &BlobVersion,
    may_be_published: bool,
) -> Result<Option<Owner>, ledger::Error> {
    let output_of = |id, rule| Ok(Some(Owner { id, rule, is_copy: false }));
    for id in ids_in(&blob.path) {
        // Nothing else than copies is kept below it.
        if id.as_str() == ledger.id().await?.as_str() {
            return Ok(Some(Owner { id, rule: None, is_copy: true }));
        }
        match ledger.get(&id).await {
            Ok(Some((scoring, _))) if is_output_of(&scoring, &blob.path) => return output_of(id, Some(scoring.rule)),
            Ok(_) => {}
            // Such a scoring there is. To score what may be its output is worse than to skip what lies beside one.
            Err(ledger::Error::Unreadable(_)) => return output_of(id, None),
            Err(error) => return Err(error),
        }
    }
    if !may_be_published {
        return Ok(None);
    }
    let place = PublishedPlace::of(&UnversionedBlob::from(blob.clone()));
    let published = ledger.published_at(&place).await?;
    published.into_iter().next().map_or(Ok(None), |result| output_of(result.scoring, None))
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
