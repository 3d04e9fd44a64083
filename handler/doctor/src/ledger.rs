//! The ledger's table: takes a row, shows it, gives it up again.

use std::sync::Arc;

use lifecycle::text::error_chain;

use crate::access::Permission;
use crate::examination::Examination;
use crate::finding::{Check, Finding, Verdict};
use crate::installation::Caller;
use crate::permissions::WRITE_ROWS;
use crate::remedy::{deploy_with, shell};
use crate::storage::STORAGE;
use app::ledger::Ledger;
use app::ports::Clock;
use app::ports::management::{Audience, QueryError};
use app::ports::table_store::{Entity, Error, IfMatch, Key, Op, TableName, TableStore};

/// The partition of probe rows; nothing else reads or writes it.
const PARTITION: &str = "doctor";

/// How far the probe of the ledger's table came.
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

/// The ledger cannot be opened: what is wrong with its place or its settings.
#[derive(Debug, thiserror::Error)]
#[error("the ledger cannot be opened")]
pub struct LedgerNotOpened(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl Examination {
    /// Everything about the ledger, and what it tells of the past.
    pub(super) async fn ledger(
        &self,
        opened: Result<(Ledger, Arc<dyn TableStore>), LedgerNotOpened>,
        clock: &Clock,
    ) -> Vec<Finding> {
        let skipped =
            |reason: &str| vec![Finding::skipped(Check::LastEvent, reason), Finding::skipped(Check::LastRun, reason)];
        let (ledger, store) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                let fault = Finding::fault(
                    Check::Ledger,
                    error_chain(why.0.as_ref()),
                    "the ledger cannot be opened, so no event can be taken in",
                    "correct SCOREKEEPER_LEDGER, or the folder that it names",
                );
                return [vec![fault], skipped("the ledger cannot be opened")].concat();
            }
        };
        if let Some(reason) =
            self.no_token_reason(Audience::Storage).filter(|_| self.at.ledger_place.starts_with("https:"))
        {
            return [vec![Finding::skipped(Check::Ledger, &reason)], skipped(&reason.to_string())].concat();
        }
        let Ok(table) = TableName::read(&format!("{}State", self.at.task_hub)) else { return Vec::new() };
        let probing = async { Ok(probe(store.as_ref(), &table, &self.nonce).await) };
        let probe = self.queries.in_time(probing).await;
        let finding = self.judge_ledger(&table, probe).await;
        let broken = finding.verdict == Verdict::Fault;
        let mut findings = vec![finding];
        if broken {
            findings.extend(skipped("the ledger does not work"));
        } else {
            findings.extend(self.activity(&ledger, clock()).await);
        }
        findings
    }

    /// Whether Resource Manager shows the table. It needs no right to the rows.
    async fn table_exists(&self, account: Option<&str>, table: &TableName) -> bool {
        let Some(account) = account else { return false };
        let Ok(account) = self.account(account).await else { return false };
        let id = format!("{}/tableServices/default/tables/{table}", account.id);
        self.queries.resource(&id, STORAGE).await.is_ok()
    }

    /// What the probe of the ledger comes to.
    pub(super) async fn judge_ledger(&self, table: &TableName, probe: Result<Probe, QueryError>) -> Finding {
        let check = Check::Ledger;
        let place = &self.at.ledger_place;
        let probe = match probe {
            Ok(probe) => probe,
            Err(error @ QueryError::NoAnswer(_)) => {
                Probe::Stopped { step: "to write a row", why: Error::Unavailable(error.to_string()) }
            }
            Err(error) => return Finding::unknown(check, error.to_string(), "run it again"),
        };
        let account = self.at.ledger_account.as_deref();
        let role = || deploy_with("the same parameters", "Storage Table Data Contributor");
        let of_app = match account {
            Some(account) if self.subject.caller == Caller::Operator && place.starts_with("https:") => {
                Some(self.app_may(account, |account| account.id.clone(), WRITE_ROWS).await)
            }
            _ => None,
        };
        if of_app == Some(Permission::No) {
            let seen = format!("the app's identity has no role that writes rows at {place}");
            return Finding::fault(check, seen, "no event can be taken in", role());
        }
        match probe {
            Probe::Passed { made } => works(table, place, made, of_app),
            Probe::Lost => Finding::fault(
                check,
                format!("{table} at {place} took a row and did not show it"),
                "what stands there is no table service that keeps what it acknowledges",
                "point SCOREKEEPER_LEDGER at a storage account's table endpoint",
            ),
            Probe::Stopped { step, why: Error::Denied(text) } => {
                let seen = format!("{table} at {place} refuses {step}: {text}");
                if of_app == Some(Permission::Yes) && self.table_exists(account, table).await {
                    return Finding::ok(
                        check,
                        format!("{table} at {place} is there, and the app's identity has a role that writes rows"),
                    );
                }
                if of_app.is_some() {
                    return Finding::unknown(check, seen, "the role Storage Table Data Contributor for whoever looks");
                }
                let fix = if account.is_some() { role() } else { format!("let the app write to {place}") };
                Finding::fault(
                    check,
                    seen,
                    "no event can be taken in: the identity may not write, or the account's firewall says no",
                    fix,
                )
            }
            Probe::Stopped { step, why: Error::Unavailable(text) } => {
                let seen = format!("{place} was asked {step}: {text}");
                if of_app.is_some() {
                    return Finding::unknown(check, seen, "run it where the account can be reached");
                }
                let fix = match account {
                    Some(account) => format!(
                        "az storage account show --name {} --query primaryEndpoints.table --output tsv shows the address; correct SCOREKEEPER_LEDGER, or the network",
                        shell(account)
                    ),
                    None => format!("make {place} a folder on a local disk that the app may write to"),
                };
                Finding::fault(check, seen, "the ledger cannot be reached, so no event can be taken in", fix)
            }
            Probe::Stopped { step, why: Error::FileUnusable(text) | Error::Damaged(text) } => {
                unusable(format!("{place} was asked {step}: {text}"))
            }
            Probe::Stopped { step, why } => {
                Finding::unknown(check, format!("{place} was asked {step}: {why}"), "run it again")
            }
        }
    }
}

/// The text names the file and its remedy.
fn unusable(seen: String) -> Finding {
    let cause = "the ledger's file cannot be used, so no event can be taken in";
    Finding::fault(Check::Ledger, seen, cause, "what is said of the file; then run it again")
}

/// The probe passed. For whom it did, and whether the app can do the same, are two things.
fn works(table: &TableName, place: &str, made: bool, of_app: Option<Permission>) -> Finding {
    let check = Check::Ledger;
    let made = if made { " (the table was made)" } else { "" };
    match of_app {
        Some(Permission::Unknown(why)) => Finding::unknown(
            check,
            format!("{table} at {place} works for whoever is signed in; whether for the app is not known: {why}"),
            "--app, and the role Reader on the function app and on the storage account for whoever looks",
        ),
        _ => Finding::ok(check, format!("{table} at {place} took a row, showed it and gave it up{made}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use app::ports::table_store::Range;
    use stores::faulty::{Fault, Faulty};
    use stores::memory::MemoryStore;

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
            for fault in faults {
                store.push(fault);
            }
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
