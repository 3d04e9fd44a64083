//! The ledger's id: one row, written once, read once by each process that takes events in.
//!
//! Every scoring id is made of it, so what two installations make on one endpoint can never be mixed up, however alike
//! their rules are. It must therefore never change: the row is inserted, never replaced, and of several processes that
//! find none the first one's id holds for all.

use lifecycle::id::LedgerId;

use super::rows::{self, Unreadable};
use super::{Error, Ledger};
use crate::ports::table_store::{self, Entity, Key, Op};

/// In a partition of its own, so that no walk over scorings or controls meets it.
fn key() -> Key {
    Key::new("ledger", "id")
}

impl Ledger {
    /// The ledger's id. The first call costs a round trip, in the first process ever two; later ones cost nothing.
    ///
    /// Fails if it can be neither read nor written. Nothing may be taken in then: under another id it would be scored twice.
    pub async fn id(&self) -> Result<&LedgerId, Error> {
        self.0.id.get_or_try_init(|| self.read_or_write_id()).await
    }

    /// Whether anybody has ever written the ledger's id.
    pub async fn exists(&self) -> Result<bool, Error> {
        Ok(self.row(&key()).await?.is_some())
    }

    async fn read_or_write_id(&self) -> Result<LedgerId, Error> {
        // Read first: there is none once in the life of a ledger, and one at each cold start.
        if let Some(id) = self.written_id().await? {
            return Ok(id);
        }
        let new = &self.0.new_id;
        let row = Entity::new(key()).with("SchemaVersion", rows::SCHEMA).with("LedgerId", new.as_str());
        match self.write(&[Op::Insert(row)]).await {
            Ok(_) => Ok(new.clone()),
            // Another process was first, or our own write had its answer lost or was sent twice: what stands there holds.
            Err(
                error @ (table_store::Error::AlreadyExists { .. }
                | table_store::Error::Conflict { .. }
                | table_store::Error::Ambiguous(_)),
            ) => self.written_id().await?.ok_or_else(|| error.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// As the row has it; `None` if there is no row.
    async fn written_id(&self) -> Result<Option<LedgerId>, Error> {
        let Some(row) = self.row(&key()).await? else { return Ok(None) };
        let unreadable = |what: String| Unreadable { key: row.entity.key.to_string(), what };
        let text = row.entity.string("LedgerId").ok_or_else(|| unreadable("`LedgerId` is missing".to_owned()))?;
        Ok(Some(text.parse().map_err(|error| unreadable(format!("`LedgerId`: {error}")))?))
    }
}
