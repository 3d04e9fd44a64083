//! The app over the in-memory ledger and a small world: what it does, in how many round trips, and under faults.

// Tests fail by panicking and say on stdout what a failure needs to be understood; the lints that keep both out
// of the product do not apply here. What tests share is used in part by each.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::too_many_lines
)]

use std::sync::Arc;

use app::ledger::{Cap, LimitScope, SLOT_EXPIRY};
use app::ports::table_store::{Range, Row, TableStore};
use azure::tables::{Auth, AzureTables};
use azure_core::credentials::Secret;
use lifecycle::{JobStatus, ScoringId, Status};
use serde_json::json;
use stores::faulty::{Calls, Fault};
use stores::memory::MemoryStore;
use time::Duration;

use crate::support::azurite;
use crate::support::storage::fresh_name;
use crate::support::world::{RULE, World, event};

mod backfill;
mod bad_files;
mod breaker;
mod caps;
mod cases;
mod cases_renames;
mod clocks;
mod coverage;
mod dead_letters;
mod deliveries;
mod durable_tables;
mod explain;
mod findings;
mod followed;
mod groups;
mod groups_changing;
mod groups_copied;
mod groups_interrupted;
mod groups_removed;
mod groups_shown;
mod groups_split;
mod groups_staged;
mod guards;
mod heartbeat;
mod identities;
mod in_flight;
mod input;
mod load;
mod metadata_and_tags;
mod moves;
mod needs_person;
mod no_outputs;
mod nobody_traces;
mod orders;
mod orphaned_jobs;
mod overwrites;
mod own_outputs;
mod pending_looks;
mod publishing;
mod races;
mod rate;
mod record_refused;
mod renames;

mod reports;
mod rolled_back;
mod shadow;
mod starts;
#[path = "../support/mod.rs"]
mod support;
mod sweep;
mod two_installations;
mod upgrade;

/// What the limit of the rule `claims` counts.
fn claims() -> LimitScope {
    LimitScope::rule("claims")
}

fn cap(limit: u32) -> Cap {
    Cap { limit, surplus: false }
}

async fn rows(world: &World, table: &str, partition: &str, prefix: &str) -> Vec<Row> {
    let table = world.table(table);
    let range = if prefix.is_empty() {
        Range { partition: partition.into(), from: String::new(), below: "~~".into() }
    } else {
        Range::of_prefix(partition, prefix)
    };
    world.store.page(&table, &range, None).await.unwrap_or_default().rows
}

async fn state_rows(world: &World, prefix: &str) -> Vec<Row> {
    let mut all = Vec::new();
    for shard in 0..app::ledger::SHARDS {
        all.extend(rows(world, "State", &app::ledger::rows::shard(shard), prefix).await);
    }
    all
}

fn since(before: Calls, now: Calls) -> (u64, u64, u64) {
    (now.reads - before.reads, now.pages - before.pages, now.writes - before.writes)
}

#[tokio::test]
async fn an_event_costs_one_transaction_one_post_and_one_transaction() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("warm-up.csv", "0")).await; // makes the table
    let before = world.store.calls();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    assert_eq!(since(before, world.store.calls()), (0, 0, 2));
    assert_eq!(world.jobs().len(), 2);
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Running);
}

#[tokio::test]
async fn a_limited_rule_costs_one_round_trip_more() {
    let world = World::with_rules(
        r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},"maxInFlight":50}]}"#,
    );
    let app = world.app();
    world.deliver(&app, &event("warm-up.csv", "0")).await;
    let before = world.store.calls();
    world.deliver(&app, &event("b.csv", "1")).await;
    let (reads, pages, writes) = since(before, world.store.calls());
    assert_eq!((reads, pages), (0, 0));
    assert_eq!(writes, 3);
}

async fn an_upload_goes_from_event_to_scored_and_says_why_at_each_step(world: World) {
    let app = world.app();
    let ids = world.deliver(&app, &event("eu/a.csv", "0x1")).await;
    world.tick_until_final(&app, 5).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, scoring.output_bytes, scoring.attempt), (Status::Scored, Some(7), 1));
    let entries = app.ledger().entries(&scoring.id).await.unwrap();
    let words: Vec<_> = entries.iter().map(|entry| entry.to.name()).collect();
    assert_eq!(words, ["queued", "submitting", "running", "verifying", "scored"]);
    assert!(entries.iter().all(|entry| !entry.reason.is_empty()));
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(state_rows(&world, "F~").await.is_empty());
    assert_eq!(state_rows(&world, "T~").await.len(), 1);
}

async fn a_redelivered_event_is_not_a_new_scoring_and_a_new_version_is(world: World) {
    let app = world.app();
    assert_eq!(world.deliver(&app, &event("a.csv", "1")).await.len(), 1);
    for _ in 0..3 {
        assert!(world.deliver(&app, &event("a.csv", "\"1\"")).await.is_empty());
    }
    world.tick_until_final(&app, 5).await;
    assert!(world.deliver(&app, &event("a.csv", "1")).await.is_empty(), "also after it was scored");
    assert_eq!(world.jobs().len(), 1);
    assert_eq!(world.deliver(&app, &event("a.csv", "2")).await.len(), 1);
    assert_eq!(world.jobs().len(), 2);
}

async fn twelve_processes_that_get_the_same_event_at_once_make_one_job(world: World) {
    let deliveries = (0..12).map(|_| {
        let (world, app) = (world.clone(), world.app());
        tokio::spawn(async move { world.deliver(&app, &event("a.csv", "1")).await.len() })
    });
    let mut new = 0;
    for delivery in deliveries.collect::<Vec<_>>() {
        new += delivery.await.unwrap();
    }
    assert_eq!((new, world.jobs().len()), (1, 1));
}

#[tokio::test]
async fn a_tick_over_unchanged_jobs_reads_pages_and_jobs_and_writes_signs_of_life_alone() {
    let world = World::new();
    let app = world.app();
    for n in 0..50 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
    }
    let deadline = Duration::minutes(5);
    app.tick(world.now() + deadline).await.unwrap(); // notes that they run, projects
    world.later(Duration::minutes(2));
    let (before, polls) = (world.store.calls(), world.polls());
    let report = app.tick(world.now() + deadline).await.unwrap();
    assert_eq!((report.in_flight, report.due, report.moved, report.complete), (50, 50, 0, true));
    let (reads, pages, writes) = since(before, world.store.calls());
    // The runs before it, the controls and what waits for a look at the storage; one page of each of 16 parts of the in-flight index
    // and of the outbox of each of 3 shards.
    assert_eq!((reads, pages, writes), (0, 22, 2));
    assert_eq!(world.polls() - polls, 50);
    // Half an interval later about half of them are due again.
    world.later(Duration::seconds(60));
    let report = app.tick(world.now() + deadline).await.unwrap();
    assert!((5..45).contains(&report.due), "{report:?}");
}

/// What `handler/docs/infrastructure.md` multiplies by a price.
#[tokio::test]
async fn an_upload_costs_as_many_requests_to_the_tables_as_the_docs_say() {
    let world = World::new();
    let app = world.app();
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let before = world.store.calls();
    world.deliver(&app, &event("a.csv", "1")).await;
    let mut ticks = 0;
    for status in [JobStatus::Running, JobStatus::Completed, JobStatus::Completed, JobStatus::Completed] {
        world.later(Duration::minutes(2));
        world.end_jobs(&status);
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
        ticks += 1;
    }
    let (reads, pages, writes) = since(before, world.store.calls());
    let idle = 22 + 2;
    assert_eq!(reads + pages + writes - ticks * idle, 36, "{reads} {pages} {writes}");
    assert_eq!(world.statuses(&app).await[&Status::Scored], 1);
}

#[tokio::test]
async fn a_tick_whose_time_is_over_starts_nothing_and_says_so() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    let polls = world.polls();
    let report = app.tick(world.now()).await.unwrap();
    assert!(!report.complete);
    assert_eq!((report.due, world.polls()), (0, polls));
}

async fn a_lost_answer_is_found_and_adopted_and_nothing_is_sent_twice(world: World) {
    let app = world.app();
    world.next_faults([Fault::LostAnswer { times: 1 }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Unknown);
    world.tick_until_final(&app, 6).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Scored);
    assert_eq!(world.jobs().len(), 1);
}

#[tokio::test]
async fn of_two_jobs_from_one_post_the_older_is_adopted_and_the_other_cancelled() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::LostAnswer { times: 2 }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(1));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, scoring.orphaned_job_count), (Status::Running, 1));
    assert_eq!(scoring.job.unwrap().name, "job-1");
    assert_eq!(world.jobs()[1].status, JobStatus::Canceled);
}

#[tokio::test]
async fn a_lost_request_is_sent_again_to_the_same_path_after_resubmit_after() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let path = world.get(&app, &ids[0]).await.output_uri().unwrap().to_owned();
    for _ in 0..7 {
        world.later(Duration::minutes(2));
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
        assert!(world.jobs().is_empty(), "nothing is sent within resubmitAfter");
    }
    world.tick_until_final(&app, 6).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, scoring.attempt, scoring.submits), (Status::Scored, 1, 2));
    assert_eq!(scoring.output_uri(), Some(path.as_str()));
    assert_eq!(world.jobs().len(), 1);
}

#[tokio::test]
async fn while_nobody_can_look_nothing_is_sent_and_the_reason_shows() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.blind(Some("Resource Manager answers 403"));
    for _ in 0..20 {
        world.later(Duration::minutes(10));
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    }
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, scoring.last_error.as_deref()), (Status::Held, Some("Resource Manager answers 403")));
    assert!(world.jobs().is_empty());
    world.blind(None);
    // What was held for three hours is looked at every half hour.
    world.tick_until_final(&app, 40).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Scored);
}

#[tokio::test]
async fn a_failed_job_is_followed_by_another_attempt_with_its_own_path_and_then_given_up() {
    let world = World::new();
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    for _ in 0..8 {
        world.later(Duration::minutes(5));
        world.end_jobs(&JobStatus::Failed);
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    }
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, scoring.error.as_deref(), scoring.attempt), (Status::Failed, Some("exit code 42"), 2));
    let jobs = world.jobs();
    assert_eq!(jobs.len(), 2);
    assert_ne!(jobs[0].submission.outputs, jobs[1].submission.outputs);
}

#[tokio::test]
async fn a_refusal_that_may_pass_waits_and_one_for_good_ends_it() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: false }, Fault::Refused { permanent: true }]);
    let first = world.deliver(&app, &event("a.csv", "1")).await;
    let second = world.deliver(&app, &event("b.csv", "1")).await;
    assert_eq!(world.get(&app, &first[0]).await.status, Status::Queued);
    assert_eq!(world.get(&app, &second[0]).await.status, Status::Failed);
    world.tick_until_final(&app, 6).await;
    assert_eq!(world.get(&app, &first[0]).await.status, Status::Scored);
}

const THREE_IN_FLIGHT: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},"maxInFlight":3}]}"#;

use caps::an_endpoint_is_limited_over_all_its_rules_and_processes;
use durable_tables::rows_are_what_durable_readers_accept;
use rate::in_no_minute_is_more_submitted_than_the_endpoint_takes;

async fn never_more_jobs_run_than_the_rule_allows_over_all_processes(world: World) {
    let apps: Vec<_> = (0..3).map(|_| world.app()).collect();
    let deliveries: Vec<_> = (0..30)
        .map(|n| {
            let (world, app) = (world.clone(), apps[n % 3].clone());
            tokio::spawn(async move { world.deliver(&app, &event(&format!("{n}.csv"), "1")).await })
        })
        .collect();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(world.jobs().len(), 3);
    world.tick_until_final(&apps[0], 60).await;
    assert_eq!(world.statuses(&apps[0]).await[&Status::Scored], 30);
    assert_eq!((world.jobs().len(), world.max_running()), (30, 3));
}

#[tokio::test]
async fn a_slot_whose_owner_died_before_its_transaction_is_freed() {
    let world = World::with_rules(
        r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},"maxInFlight":1}]}"#,
    );
    let app = world.app();
    let ghost = ScoringId::read(&"f".repeat(32)).unwrap();
    assert!(app.ledger().claim_slot(&claims(), cap(1), &ghost, 1, world.now()).await.unwrap().is_some());
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Queued);
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Queued, "a young slot is left alone");
    world.later(SLOT_EXPIRY);
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(report.slots_freed, 1);
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Running);
}

#[tokio::test]
async fn skipped_and_unreadable_events_are_kept_with_their_reasons() {
    let world = World::new();
    let app = world.app();
    let mut other = event("a.csv", "1");
    other["subject"] = json!("/blobServices/default/containers/photos/blobs/a.jpg");
    other["data"]["url"] = json!("https://uploads.blob.core.windows.net/photos/a.jpg");
    let (accepted, _) = app.accept(&json!([other, {"x": 1}, other])).await.unwrap().into_parts();
    assert_eq!((accepted.accepted.len(), accepted.skipped, accepted.quarantined), (0, 2, 1));
    let skipped = state_rows(&world, "S~").await;
    assert_eq!(skipped.len(), 1, "the same event twice is one row");
    assert!(skipped[0].entity.string("Reason").unwrap().contains("container `photos`"));
    let quarantined = state_rows(&world, "Q~").await;
    assert_eq!(quarantined[0].entity.string("Received"), Some("{\"x\":1}"));
}

#[tokio::test]
async fn an_event_is_refused_only_if_the_ledger_could_not_take_it() {
    let world = World::new();
    let app = world.app();
    world.store.push(Fault::NotSent);
    assert!(app.accept(&event("a.csv", "1")).await.is_err());
    world.store.push(Fault::LostRequest);
    assert!(app.accept(&event("a.csv", "1")).await.is_err(), "a lost request is not known to be there");
    assert_eq!(world.deliver(&app, &event("a.csv", "1")).await.len(), 1);
    assert_eq!(world.jobs().len(), 1);
}

/// For each kind of fault and each k: the k-th write fails that way, the process "dies" at the first error it
/// reports, another one gets the event again and ticks. Whatever k, one job and one scored scoring come out.
#[tokio::test]
async fn a_fault_at_any_write_leaves_one_job_and_one_scoring() {
    for rules in [
        crate::support::world::RULE.to_owned(),
        crate::support::world::RULE.replace("\"maxAttempts\":2", "\"maxInFlight\":2"),
        caps::TWO_LIMITS.to_owned(),
    ] {
        for fault in [Fault::NotSent, Fault::LostRequest, Fault::LostAnswer { times: 1 }, Fault::Throttled(None)] {
            for k in 0..12 {
                let world = World::with_rules(&rules);
                for _ in 0..k {
                    world.store.push(Fault::Pass);
                }
                world.store.push(fault.clone());
                let app = world.app();
                for _ in 0..3 {
                    if let Ok(delivery) = app.accept(&event("a.csv", "1")).await {
                        delivery.submit().await;
                    }
                }
                let app = world.app();
                world.tick_until_final(&app, 30).await;
                let counts = world.statuses(&app).await;
                assert_eq!(counts.get(&Status::Scored), Some(&1), "{fault:?} at {k}: {counts:?}");
                assert_eq!(world.jobs().len(), 1, "{fault:?} at {k}");
            }
        }
    }
}

#[tokio::test]
async fn an_intent_that_nobody_carried_out_is_looked_for_and_then_sent() {
    let world = World::new();
    let app = world.app();
    let (accepted, intents) = app.accept(&event("a.csv", "1")).await.unwrap().into_parts();
    drop(intents); // the process dies here
    let app = world.app();
    world.tick_until_final(&app, 20).await;
    assert_eq!(world.get(&app, &accepted.accepted[0].id).await.submits, 2);
    assert_eq!(world.jobs().len(), 1);
}

#[tokio::test]
async fn what_is_older_than_the_retention_goes_whole_and_nothing_else() {
    let world = World::new();
    let app = world.app();
    let old = world.deliver(&app, &event("old.csv", "1")).await;
    app.accept(&json!("rubbish")).await.unwrap().submit().await;
    world.tick_until_final(&app, 5).await;
    world.later(Duration::days(20));
    let young = world.deliver(&app, &event("young.csv", "1")).await;
    world.tick_until_final(&app, 5).await;
    world.later(Duration::days(11));
    // As if runs had gone on all the time.
    app.ledger().record_purged_through(world.now() - Duration::days(30)).await.unwrap();
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(report.purged, 1);
    app.tick(world.now() + Duration::minutes(5)).await.unwrap(); // projects the removal
    for prefix in ["J~", "T~"] {
        let left = state_rows(&world, prefix).await;
        assert_eq!(left.len(), 1, "{prefix}");
        assert!(left[0].entity.key.row.ends_with(&young[0]));
    }
    assert_eq!(state_rows(&world, "H~").await.len(), 5);
    assert!(state_rows(&world, "Q~").await.is_empty());
    assert!(state_rows(&world, "P~").await.is_empty());
    let table = world.table("Instances");
    let store: Arc<dyn TableStore> = world.store.clone();
    let key = app::ports::table_store::Key::new(young[0].as_str(), "");
    assert!(store.get(&table, &key).await.unwrap().is_some());
    for table in ["Instances", "History"] {
        assert!(rows(&world, table, &old[0], "").await.is_empty(), "{table} shows nothing of what is gone");
    }
}

#[tokio::test]
async fn a_task_hub_may_be_called_like_its_tables() {
    let world = World::in_task_hub("OurInstances", Arc::new(MemoryStore::new()), RULE);
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let instances = rows(&world, "Instances", &ids[0], "").await;
    assert_eq!(instances[0].entity.string("TaskHubName"), Some("OurInstances"));
}

/// A world whose ledger is in Azurite's tables; `None` where it is not installed.
fn in_azurite(rules: &str) -> Option<World> {
    let (url, account, key) = azurite::tables()?;
    let auth = Auth::SharedKeyLite { account: account.to_owned(), key: Secret::new(key) };
    let store = AzureTables::with_client(azurite::client(), &url.parse().unwrap(), auth).unwrap();
    Some(World::in_task_hub(&fresh_name(), Arc::new(store), rules))
}

/// What must hold on any store is asked of the one in memory and of a real service.
macro_rules! hold {
    ($($claim:ident with $rules:expr;)*) => {
        mod in_memory {
            $(
                #[tokio::test]
                async fn $claim() {
                    super::$claim(super::World::with_rules($rules)).await;
                }
            )*
        }
        mod in_azurite {
            $(
                #[tokio::test]
                async fn $claim() {
                    // Not installed: said once, by `azurite`.
                    let Some(world) = super::in_azurite($rules) else { return };
                    super::$claim(world).await;
                }
            )*
        }
    };
}

hold! {
    an_upload_goes_from_event_to_scored_and_says_why_at_each_step with super::RULE;
    a_redelivered_event_is_not_a_new_scoring_and_a_new_version_is with super::RULE;
    twelve_processes_that_get_the_same_event_at_once_make_one_job with super::RULE;
    a_lost_answer_is_found_and_adopted_and_nothing_is_sent_twice with super::RULE;
    never_more_jobs_run_than_the_rule_allows_over_all_processes with super::THREE_IN_FLIGHT;
    an_endpoint_is_limited_over_all_its_rules_and_processes with super::caps::TWO_RULES;
    in_no_minute_is_more_submitted_than_the_endpoint_takes with super::rate::THREE_A_MINUTE;
    rows_are_what_durable_readers_accept with super::RULE;
}
