//! One table: every claim of the port holds for each implementation, and for each way to one.
//!
//! `claims` is the port's meaning, written once. What only one implementation promises stands beside its run: pages in
//! memory, several processes and sudden death for the embedded store.

mod claims;
mod processes;

use std::sync::Arc;

use app::ports::table_store::{Error, Key, TableName, TableStore};
use azure::tables::{Auth, AzureTables};
use azure::tokens::{Storage, Tokens};
use azure_core::credentials::Secret;
use lifecycle::Rules;
use simulation::Sandbox;
use stores::embedded::EmbeddedStore;
use stores::faulty::Faulty;
use stores::memory::MemoryStore;
use tempfile::TempDir;
use time::macros::datetime;

use crate::support::azurite;
use crate::support::storage::{self, Entra, fresh_name};

async fn fresh_table(store: &dyn TableStore) -> TableName {
    let table = TableName::read(&fresh_name()).unwrap();
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

/// The table that a simulation runs on, with nothing drawn.
#[expect(clippy::unnecessary_wraps, reason = "one macro for all")]
fn simulated() -> Fresh<Sandbox> {
    let rules =
        r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"}}]}"#;
    Some((Sandbox::new(datetime!(2026-07-21 10:00 UTC), &Rules::read(rules).unwrap(), false), None))
}

/// As tests stand on it until they order a fault.
#[expect(clippy::unnecessary_wraps, reason = "one macro for all")]
fn without_faults() -> Fresh<Faulty> {
    Some((Faulty::new(Arc::new(MemoryStore::new())), None))
}

fn emulated() -> Fresh<AzureTables> {
    let (url, account, key) = azurite::tables()?;
    let auth = Auth::SharedKeyLite { account: account.to_owned(), key: Secret::new(key) };
    Some((AzureTables::with_client(azurite::client(), &url.parse().unwrap(), auth).unwrap(), None))
}

/// As in production: over TLS, with tokens from our own cache.
fn emulated_with(source: Entra) -> Fresh<AzureTables> {
    let azurite = azurite::over_tls()?;
    let tokens = Tokens::<Storage>::new(Arc::new(source), Arc::new(storage::now));
    let store = AzureTables::with_client(azurite.client(), &azurite.tables.parse().unwrap(), Auth::Entra(tokens));
    Some((store.unwrap(), None))
}

fn with_tokens() -> Fresh<AzureTables> {
    emulated_with(Entra::default())
}

#[tokio::test]
async fn a_token_for_another_audience_opens_no_table() {
    let Some((store, _)) = emulated_with(Entra { audience: Some("https://management.azure.com") }) else { return };
    let answer = store.get(&TableName::read("Nobodys").unwrap(), &Key::new("p", "r")).await;
    assert!(matches!(answer, Err(Error::Denied(_))), "{answer:?}");
}

macro_rules! hold {
    ($($claim:ident)*) => {
        hold! { @on memory whole [$($claim)*] }
        hold! { @on memory_in_small_and_empty_pages paged [$($claim)*] }
        hold! { @on world_of_the_simulation simulated [$($claim)*] }
        hold! { @on faulty_without_faults without_faults [$($claim)*] }
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
    a_page_of_few_rows_has_no_more_and_the_rest_is_behind_it
    a_range_has_its_lower_bound_in_and_its_upper_bound_out
    what_the_service_would_refuse_is_refused
    a_missing_table_is_told_and_creating_it_twice_does_no_harm
    table_names_are_case_insensitive
    of_two_swaps_of_one_version_exactly_one_wins
    of_12_transactions_that_insert_one_key_exactly_one_wins
}

// How a request is authorised changes nothing in its body; one claim for each kind of request is enough.
hold! { @on azurite_tables_over_tls_with_tokens with_tokens [
    an_inserted_entity_is_read_back_with_its_etag
    an_upsert_inserts_and_replaces
    a_stale_etag_is_a_conflict_and_changes_nothing
    a_transaction_gives_the_etags_of_its_operations
    a_transaction_that_fails_anywhere_writes_nothing_and_says_where
    strange_keys_survive_alone_in_transactions_and_in_ranges
    a_missing_table_is_told_and_creating_it_twice_does_no_harm
] }
