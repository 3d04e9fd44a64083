//! The ledger's table: takes a row, shows it, gives it up again.

use crate::table_store::{Entity, Error, IfMatch, Key, Op, TableName, TableStore};

/// The partition of probe rows; nothing else reads or writes it.
const PARTITION: &str = "doctor";

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Probe {
    /// The row was there and is gone; whether the table had to be made.
    Passed { made: bool },
    /// It ended at this step, for this reason.
    Stopped { step: &'static str, why: Error },
    /// The row was written and not shown.
    Lost,
}

/// Writes a row under a name that nobody else has, reads it, deletes it. A row that is left behind does no harm.
pub(super) async fn probe(store: &dyn TableStore, table: &TableName, name: &str) -> Probe {
    let stopped = |step| move |why| Probe::Stopped { step, why };
    let key = Key::new(PARTITION, name);
    let row = [Op::Upsert(Entity::new(key.clone()).with("Note", "written by scorekeeper doctor; may be deleted"))];
    let mut made = false;
    let written = match store.write(table, &row).await {
        Err(Error::TableMissing) => {
            if let Err(why) = store.create_table(table).await {
                return stopped("to make the table")(why);
            }
            made = true;
            store.write(table, &row).await
        }
        other => other,
    };
    if let Err(why) = written {
        return stopped("to write a row")(why);
    }
    match store.get(table, &key).await {
        Err(why) => return stopped("to read the row")(why),
        Ok(None) => return Probe::Lost,
        Ok(Some(_)) => {}
    }
    match store.write(table, &[Op::Delete(key, IfMatch::Any)]).await {
        // A repetition inside of the client may have deleted it already.
        Ok(_) | Err(Error::Missing { .. }) => Probe::Passed { made },
        Err(why) => stopped("to delete the row")(why),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::adapters::faulty::{Fault, Faulty};
    use crate::adapters::memory::MemoryStore;
    use crate::table_store::Range;

    fn table() -> TableName {
        TableName::read("ScorekeeperState").unwrap()
    }

    #[tokio::test]
    async fn the_probe_makes_a_missing_table_and_leaves_no_row() {
        let store = MemoryStore::new();
        assert_eq!(probe(&store, &table(), "p1").await, Probe::Passed { made: true });
        assert_eq!(probe(&store, &table(), "p1").await, Probe::Passed { made: false });
        let range = Range { partition: PARTITION.into(), from: " ".into(), below: "~".into() };
        assert_eq!(store.page(&table(), &range, None).await.unwrap().rows, []);
    }

    #[tokio::test]
    async fn the_probe_tells_at_which_step_it_ended() {
        for (faults, step) in
            [(vec![Fault::NotSent], "to write a row"), (vec![Fault::Pass, Fault::NotSent], "to delete the row")]
        {
            let store = Faulty::new(Arc::new(MemoryStore::new()));
            store.create_table(&table()).await.unwrap();
            faults.into_iter().for_each(|fault| store.push(fault));
            let stopped = probe(&store, &table(), "p1").await;
            assert!(matches!(&stopped, Probe::Stopped { step: at, .. } if *at == step), "{stopped:?}");
        }
        let store = Faulty::new(Arc::new(MemoryStore::new()));
        store.create_table(&table()).await.unwrap();
        store.push_read(Error::Denied("no".into()));
        let stopped = probe(&store, &table(), "p1").await;
        assert_eq!(stopped, Probe::Stopped { step: "to read the row", why: Error::Denied("no".into()) });
    }
}
