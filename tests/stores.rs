//! One table, four implementations: every claim of the port holds for each of them.
//!
//! `claims` is the port's meaning, written once. What only one implementation promises stands beside its run: pages in
//! memory, several processes and sudden death for the embedded store.

mod claims;
mod processes;

use std::sync::atomic::{AtomicU32, Ordering};

use azure_core::credentials::Secret;
use azure_core::http::Transport;
use handler::adapters::azure_tables::{Auth, AzureTables};
use handler::adapters::embedded::EmbeddedStore;
use handler::adapters::memory::MemoryStore;
use handler::table_store::{TableName, TableStore};
use std::sync::Arc;
use tempfile::TempDir;

use crate::support::azurite;

/// A name that nobody had before.
fn fresh_name() -> TableName {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("T{}n{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    TableName::read(&name).unwrap()
}

async fn fresh_table(store: &dyn TableStore) -> TableName {
    let table = fresh_name();
    store.create_table(&table).await.unwrap();
    table
}

type Fresh<S> = Option<(S, Option<TempDir>)>;

#[expect(clippy::unnecessary_wraps, reason = "one macro for all")]
fn whole() -> Fresh<MemoryStore> {
    Some((MemoryStore::new(), None))
}

#[expect(clippy::unnecessary_wraps, reason = "one macro for all")]
fn paged() -> Fresh<MemoryStore> {
    Some((MemoryStore::with_pages(2, true), None))
}

#[expect(clippy::unnecessary_wraps, reason = "one macro for all")]
fn on_disk() -> Fresh<EmbeddedStore> {
    let folder = tempfile::tempdir().unwrap();
    Some((EmbeddedStore::open(folder.path()).unwrap(), Some(folder)))
}

fn emulated() -> Fresh<AzureTables> {
    let (url, account, key) = azurite::tables()?;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let auth = Auth::SharedKeyLite { account: account.to_owned(), key: Secret::new(key) };
    Some((AzureTables::new(&url.parse().unwrap(), auth, Transport::new(Arc::new(client))).unwrap(), None))
}

macro_rules! hold {
    ($($claim:ident)*) => {
        hold! { @on memory whole [$($claim)*] }
        hold! { @on memory_in_small_and_empty_pages paged [$($claim)*] }
        hold! { @on embedded on_disk [$($claim)*] }
        hold! { @on azurite_tables emulated [$($claim)*] }
    };
    (@on $module:ident $make:ident [$($claim:ident)*]) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $claim() {
                    // Not installed: said once, by `azurite`.
                    let Some((store, _folder)) = super::$make() else { return };
                    let table = super::fresh_table(&store).await;
                    super::claims::$claim(&store, &table).await;
                }
            )*
        }
    };
}

hold! {
    an_inserted_entity_is_read_back_with_its_etag
    an_absent_entity_is_none
    an_insert_of_a_taken_key_changes_nothing
    a_replace_drops_what_it_does_not_name
    a_merge_keeps_what_it_does_not_name
    an_upsert_inserts_and_replaces
    a_stale_etag_is_a_conflict_and_changes_nothing
    a_condition_on_an_absent_entity_is_missing
    any_version_will_do_if_it_exists
    a_deleted_entity_is_gone_and_its_key_is_free
    every_write_gives_another_etag
    a_transaction_gives_the_etags_of_its_operations
    a_transaction_that_fails_anywhere_writes_nothing_and_says_where
    a_transaction_takes_100_operations
    every_value_type_survives
    the_longest_values_survive
    strange_keys_survive_alone_in_transactions_and_in_ranges
    pages_are_complete_and_in_order
    a_range_has_its_lower_bound_in_and_its_upper_bound_out
    what_the_service_would_refuse_is_refused
    a_missing_table_is_told_and_creating_it_twice_does_no_harm
    table_names_are_case_insensitive
    of_two_swaps_of_one_version_exactly_one_wins
    of_12_transactions_that_insert_one_key_exactly_one_wins
}
