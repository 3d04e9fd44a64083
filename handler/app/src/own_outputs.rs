//! Outputs of ours never trigger again, whatever the rules say today: the ledger knows the scoring whose id is in the path.

use lifecycle::own_output::{ids_in, is_output_of};
use lifecycle::{BlobVersion, RuleId, ScoringId};

use crate::ledger::{self, Ledger};

/// The scoring that a blob is an output of, and its rule if its row can be read. Asks the ledger only if the path has
/// something in the form of an id.
pub(crate) async fn owner_of(
    ledger: &Ledger,
    blob: &BlobVersion,
) -> Result<Option<(ScoringId, Option<RuleId>)>, ledger::Error> {
    for id in ids_in(&blob.path) {
        match ledger.get(&id).await {
            Ok(Some((scoring, _))) if is_output_of(&scoring, &blob.path) => return Ok(Some((id, Some(scoring.rule)))),
            Ok(_) => {}
            // Such a scoring there is. To score what may be its output is worse than to skip what lies beside one.
            Err(ledger::Error::Unreadable(_)) => return Ok(Some((id, None))),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
