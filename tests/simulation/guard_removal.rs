//! With one guard taken away, the simulation finds it: nothing here changes the product, each replacement stands between
//! the app and its world and says why that equals a product without the guard.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use app::ports::table_store::{
    Continuation, ETag, Entity, Error, IfMatch, Key, Op, Page, Range, Row, TableName, TableStore,
};
use app::ports::{Answered, Endpoint, Inconclusive, JobAddress, JobListing, JobSearch, ScanTarget};
use async_trait::async_trait;
use lifecycle::duration::IsoDuration;
use lifecycle::rule::template::Template;
use lifecycle::rule::{AskedTags, Overwrites};
use lifecycle::{Answer, Event, JobSnapshot, LedgerId, Rule, Rules, Scoring, TRANSITIONS};
use serde_json::Value;
use simulation::{Faults, Kind, RunOptions, Wiring, run};
use stores::faulty::{Fault, Faulty};
use time::{Duration, OffsetDateTime};

use super::storage_guard::StorageGuard;

/// Seeds within which a missing guard must show.
const SEEDS: u64 = 100;

/// Asserts that some seed breaks one of these promises, and that the first broken one is one of them.
pub(super) fn is_found(wiring: &Wiring, invariants: &[&str]) {
    is_found_among(RunOptions::new(1).events, wiring, invariants);
}

/// The same, with so many uploads in each run.
fn is_found_among(events: usize, wiring: &Wiring, invariants: &[&str]) {
    is_found_in(&|seed| RunOptions { events, ..RunOptions::new(seed) }, wiring, invariants);
}

/// The same, in runs like these.
fn is_found_in(options: &dyn Fn(u64) -> RunOptions, wiring: &Wiring, invariants: &[&str]) {
    for seed in 1..=SEEDS {
        if let Some(violation) = run(&options(seed), wiring, false).violation {
            assert!(invariants.contains(&violation.invariant), "seed {seed}: {violation:?}");
            return;
        }
    }
    panic!("{SEEDS} seeds did not find it; it should have broken {invariants:?}");
}

/// A table whose rows or writes are bent on their way.
struct Bent {
    inner: Arc<dyn TableStore>,
    read: fn(Row) -> Row,
    write: fn(Op) -> Op,
}

#[async_trait]
impl TableStore for Bent {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        self.inner.create_table(table).await
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        Ok(self.inner.get(table, key).await?.map(self.read))
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        let Page { rows, next } = self.inner.page_of(table, range, from, max).await?;
        Ok(Page { rows: rows.into_iter().map(self.read).collect(), next })
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        let ops: Vec<Op> = ops.iter().cloned().map(self.write).collect();
        self.inner.write(table, &ops).await
    }
}

pub(super) fn bent(read: fn(Row) -> Row, write: fn(Op) -> Op) -> impl Fn(Arc<dyn TableStore>) -> Arc<dyn TableStore> {
    move |inner| Arc::new(Bent { inner, read, write })
}

fn is_submitting(row: &Entity) -> bool {
    row.string("State") == Some("submitting")
}

/// No row read back ever carries our operation id, so that our own success is taken for somebody else's. Whoever
/// succeeded stops there, as if it had died: that breaks no promise, but nobody sends its request before the lease and
/// `resubmitAfter` have ended.
#[test]
fn a_read_back_that_never_knows_its_own_write_is_found() {
    /// Each third transaction of a scoring is done and its answer lost.
    fn silent(inner: Arc<dyn TableStore>) -> Arc<dyn TableStore> {
        let (store, done) = (Faulty::new(inner), AtomicUsize::new(0));
        store.rule(move |_, ops| {
            let of_scoring = ops.iter().any(|op| op.key().row.starts_with("J~"));
            (of_scoring && done.fetch_add(1, Ordering::Relaxed) % 3 == 2).then_some(Fault::LostAnswer { times: 1 })
        });
        Arc::new(store)
    }
    fn read(mut row: Row) -> Row {
        row.entity.properties.remove("OpId");
        row
    }
    let left_behind = |wiring: &Wiring| -> u64 {
        let gone = TRANSITIONS.iter().position(|(_, event, _)| *event == Event::OwnerGone).unwrap();
        let count = |seed| {
            let outcome = run(&RunOptions { faults: Faults::NONE, ..RunOptions::new(seed) }, wiring, false);
            assert_eq!(outcome.violation, None, "seed {seed}");
            outcome.taken[gone]
        };
        (1..=20).map(count).sum()
    };
    assert_eq!(left_behind(&Wiring { store: silent, ..Wiring::default() }), 0);
    assert_ne!(left_behind(&Wiring { store: |it| bent(read, |op| op)(silent(it)), ..Wiring::default() }), 0);
}

/// Every row read back carries the operation id of the write before, so that another's success is taken for ours.
struct Credulous {
    inner: Arc<dyn TableStore>,
    last: Mutex<Option<String>>,
}

#[async_trait]
impl TableStore for Credulous {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        self.inner.create_table(table).await
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        let mut row = self.inner.get(table, key).await?;
        if let (Some(row), Some(op)) = (&mut row, self.last.lock().unwrap().clone())
            && key.row.starts_with("J~")
        {
            row.entity.properties.insert("OpId".to_owned(), op.into());
        }
        Ok(row)
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        self.inner.page_of(table, range, from, max).await
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        let done = self.inner.write(table, ops).await;
        let op = ops.iter().find_map(|op| op.entity()?.string("OpId")).map(str::to_owned);
        if op.is_some() {
            *self.last.lock().unwrap() = op;
        }
        done
    }
}

#[test]
fn a_read_back_that_takes_any_write_for_its_own_is_found() {
    let wiring = Wiring { store: |inner| Arc::new(Credulous { inner, last: Mutex::default() }), ..Wiring::default() };
    is_found(&wiring, &["intent", "maxInFlight", "versions"]);
}

/// The table says yes to an intent and writes nothing: the request goes out as if nothing had been recorded before it.
struct Forgetful(Arc<dyn TableStore>);

#[async_trait]
impl TableStore for Forgetful {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        self.0.create_table(table).await
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        self.0.get(table, key).await
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        self.0.page_of(table, range, from, max).await
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        let intent = ops.iter().filter_map(Op::entity).any(|row| row.key.row.starts_with("J~") && is_submitting(row));
        if intent {
            return Ok(ops.iter().map(|_| Some(ETag("never".to_owned()))).collect());
        }
        self.0.write(table, ops).await
    }
}

#[test]
fn a_request_without_an_intent_on_record_is_found() {
    is_found(&Wiring { store: |it| Arc::new(Forgetful(it)), ..Wiring::default() }, &["intent"]);
}

/// Every lease reads as long over, which is what nobody asking for it comes to.
#[test]
fn a_lease_that_nobody_respects_is_found() {
    fn read(mut row: Row) -> Row {
        if is_submitting(&row.entity) {
            row.entity.properties.insert("Due".to_owned(), OffsetDateTime::UNIX_EPOCH.into());
        }
        row
    }
    is_found(&Wiring { store: |it| bent(read, |op| op)(it), ..Wiring::default() }, &["lease"]);
}

/// What makes a write depend on the version it continues is dropped on its way to the table: the condition on the
/// scoring's row, and that each line of history is new. The last writer wins.
#[test]
fn writes_without_compare_and_swap_are_found() {
    fn write(op: Op) -> Op {
        match op {
            Op::Replace(row, _) if row.key.row.starts_with("J~") => Op::Replace(row, IfMatch::Any),
            Op::Insert(row) if row.key.row.starts_with("H~") => Op::Upsert(row),
            other => other,
        }
    }
    let wiring = Wiring { store: |it| bent(|row| row, write)(it), ..Wiring::default() };
    is_found(&wiring, &["versions", "history", "final is final", "intent"]);
}

/// A history that keeps what was ordered, and not by whom and why.
#[test]
fn orders_that_leave_no_author_in_the_history_are_found() {
    fn write(op: Op) -> Op {
        match op {
            Op::Insert(row)
                if row.key.row.starts_with("H~") && row.string("Reason").is_some_and(|it| it.contains(" by ")) =>
            {
                Op::Insert(row.with("Reason", "ordered"))
            }
            other => other,
        }
    }
    is_found(&Wiring { store: |it| bent(|row| row, write)(it), ..Wiring::default() }, &["orders"]);
}

fn without(mut row: Row, mark: &str) -> Row {
    if row.entity.key.row.starts_with("J~") {
        row.entity.properties.remove(mark);
    }
    row
}

/// An order is known to be done by what it left in the row: read back without that it is done each time that it is given. Found where
/// little else goes wrong: what is ordered twice is seldom done even once while the table is away.
fn an_order_that_is_done_again_is_found(store: fn(Arc<dyn TableStore>) -> Arc<dyn TableStore>) {
    let faults = Faults::NONE.with(Kind::Orders).with(Kind::Jobs);
    let options = |seed| RunOptions { events: 20, faults, ..RunOptions::new(seed) };
    is_found_in(&options, &Wiring { store, ..Wiring::default() }, &["orders"]);
}

#[test]
fn a_cancel_that_is_done_as_often_as_it_is_given_is_found() {
    an_order_that_is_done_again_is_found(|it| bent(|row| without(row, "StopOrdered"), |op| op)(it));
}

#[test]
fn an_expedite_that_is_done_as_often_as_it_is_given_is_found() {
    an_order_that_is_done_again_is_found(|it| bent(|row| without(row, "Expedited"), |op| op)(it));
}

/// A line of a limit's history that does not say who set it.
#[test]
fn limits_whose_history_has_no_author_are_found() {
    fn write(op: Op) -> Op {
        match op {
            Op::Insert(row) if row.key.row.starts_with("~limit~") => Op::Insert(row.with("SetBy", "")),
            other => other,
        }
    }
    is_found(&Wiring { store: |it| bent(|row| row, write)(it), ..Wiring::default() }, &["orders"]);
}

/// A circuit breaker that is closed, and nobody knows by whom.
#[test]
fn a_breaker_that_is_closed_without_a_reason_is_found() {
    fn write(op: Op) -> Op {
        match op {
            Op::Insert(row) if row.string("ClosedBy").is_some() => Op::Insert(row.with("Reason", "")),
            other => other,
        }
    }
    is_found(&Wiring { store: |it| bent(|row| row, write)(it), ..Wiring::default() }, &["orders"]);
}

/// Each delivery of an event that cannot be read writes over who has seen it.
#[test]
fn an_acknowledgement_that_a_further_delivery_writes_over_is_found() {
    fn write(op: Op) -> Op {
        match op {
            Op::Merge(row, _) if row.key.row.starts_with("Q~") && row.string("AcknowledgedBy").is_none() => {
                Op::Upsert(row)
            }
            other => other,
        }
    }
    is_found(&Wiring { store: |it| bent(|row| row, write)(it), ..Wiring::default() }, &["orders"]);
}

/// Ends that no index by status has, or that it keeps though they were tried again.
#[test]
fn the_index_of_ends_that_is_not_written_or_not_removed_is_found() {
    fn elsewhere(row: Entity) -> Entity {
        let key = Key::new(row.key.partition.as_str(), format!("x{}", row.key.row));
        Entity { key, ..row }
    }
    fn unwritten(op: Op, prefix: &str) -> Op {
        match op {
            Op::Upsert(row) if row.key.row.starts_with(prefix) => Op::Upsert(elsewhere(row)),
            other => other,
        }
    }
    fn unremoved(op: Op, prefix: &str) -> Op {
        match op {
            Op::Delete(key, _) if key.row.starts_with(prefix) => {
                Op::Upsert(Entity::new(Key::new(key.partition, format!("x{}", key.row))))
            }
            other => other,
        }
    }
    // By status, and by cause.
    let found = |store: fn(Arc<dyn TableStore>) -> Arc<dyn TableStore>| {
        is_found(&Wiring { store, ..Wiring::default() }, &["index of ends"]);
    };
    found(|it| bent(|row| row, |op| unwritten(op, "E~"))(it));
    found(|it| bent(|row| row, |op| unwritten(op, "C~"))(it));
    found(|it| bent(|row| row, |op| unremoved(op, "E~"))(it));
    found(|it| bent(|row| row, |op| unremoved(op, "C~"))(it));
}

/// The ledger's id is written over: of two processes that find none each goes on with its own.
#[test]
fn a_ledger_id_that_is_not_inserted_but_written_over_is_found() {
    fn write(op: Op) -> Op {
        match op {
            Op::Insert(row) if row.key.partition == "ledger" => Op::Upsert(row),
            other => other,
        }
    }
    is_found(&Wiring { store: |it| bent(|row| row, write)(it), ..Wiring::default() }, &["one scoring"]);
}

/// Each ledger is called the same: the scorings of two installations have the same ids, tags and output paths.
#[test]
fn two_installations_whose_ledgers_have_one_id_are_found() {
    let wiring = Wiring { ledger_id: |_| LedgerId::of_random([7; 16]), ..Wiring::default() };
    is_found(&wiring, &["installations"]);
}

/// The rules that reading refuses: attempts, then scorings, share one output path.
#[test]
fn output_paths_that_are_used_twice_are_found() {
    fn without(rule: &mut Rule, hole: &str) {
        for output in rule.outputs.values_mut() {
            output.uri = Template::parse(&output.uri.source().replace(hole, "x")).unwrap();
        }
    }
    for rules in [(|rules| rules.clone().changed(|rule| without(rule, "{attempt}"))) as fn(&Rules) -> Rules, |rules| {
        rules.clone().changed(|rule| without(rule, "{scoring.id}"))
    }] {
        is_found(&Wiring { rules, ..Wiring::default() }, &["output paths", "adoption"]);
    }
}

/// The app waits for nothing after a lost answer: it has `resubmitAfter` of nothing where the rules as they are meant have
/// minutes.
#[test]
fn a_second_request_within_resubmit_after_is_found() {
    fn rules(rules: &Rules) -> Rules {
        rules.clone().changed(|rule| {
            rule.policy.lookup_interval = IsoDuration(Duration::ZERO);
            rule.policy.resubmit_after = IsoDuration(Duration::ZERO);
        })
    }
    is_found(&Wiring { rules, ..Wiring::default() }, &["resubmitAfter", "look first"]);
}

/// The app scores each version where the rules as they are meant want the path's first or latest one alone.
#[test]
fn overwrites_that_are_scored_all_the_same_are_found() {
    let rules = |rules: &Rules| rules.clone().changed(|rule| rule.overwrites = Overwrites::NewVersion);
    is_found(&Wiring { rules, ..Wiring::default() }, &["one scoring", "latest only"]);
}

/// The app claims no slot: it has no limit where the rules as they are meant have one.
#[test]
fn submissions_without_a_slot_are_found() {
    let wiring = Wiring { rules: |rules| rules.clone().changed(|rule| rule.max_in_flight = None), ..Wiring::default() };
    is_found(&wiring, &["maxInFlight"]);
}

/// Every permit reads as used long ago: the endpoint takes as many requests a minute as there are.
#[test]
fn requests_without_a_permit_are_found() {
    fn read(mut row: Row) -> Row {
        if row.entity.key.partition.starts_with("rate~") {
            row.entity.properties.insert("UsedTime".to_owned(), OffsetDateTime::UNIX_EPOCH.into());
        }
        row
    }
    let wiring = Wiring { store: |it| bent(read, |op| op)(it), ..Wiring::default() };
    // Uploads that are taken in by ticks come one after the other: a limit a minute is seldom met by these.
    let faults = Faults::all().without(Kind::Renames);
    let options = |seed| RunOptions { events: 20, faults, ..RunOptions::new(seed) };
    is_found_in(&options, &wiring, &["submitsPerMinute"]);
}

/// What becomes of the answers about jobs.
#[derive(Clone, Copy)]
pub(super) enum AnswersBent {
    /// The search for an attempt's jobs is not made: there is never one.
    NoSearch,
    /// Jobs that may be the attempt's own and show too little are taken for it.
    PossibleAdopted,
    /// The same are left out.
    PossibleDenied,
    /// Why a job failed is not told.
    ErrorsUntold,
}

struct Answering {
    bent: AnswersBent,
    inner: Arc<dyn Endpoint>,
}

impl AnswersBent {
    pub(super) fn of(self, inner: Arc<dyn Endpoint>) -> Arc<dyn Endpoint> {
        Arc::new(Answering { bent: self, inner })
    }
}

#[async_trait]
impl Endpoint for Answering {
    async fn submit(&self, scoring: &Scoring, timeout: std::time::Duration) -> Answered<Answer> {
        self.inner.submit(scoring, timeout).await
    }

    async fn job(&self, at: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive> {
        let mut answer = self.inner.job(at).await?;
        if let (AnswersBent::ErrorsUntold, Some(job)) = (self.bent, &mut answer.value) {
            job.error = job.error.as_ref().map(|_| "it failed".to_owned());
        }
        Ok(answer)
    }

    async fn find(&self, scoring: &Scoring) -> Result<JobSearch, Inconclusive> {
        if matches!(self.bent, AnswersBent::NoSearch) {
            return Ok(JobSearch { jobs: Vec::new(), possible: Vec::new(), as_of: None, request_id: None });
        }
        let JobSearch { mut jobs, possible, as_of, request_id } = self.inner.find(scoring).await?;
        let possible = match self.bent {
            AnswersBent::ErrorsUntold => possible,
            AnswersBent::PossibleAdopted => {
                jobs.extend(possible);
                Vec::new()
            }
            AnswersBent::NoSearch | AnswersBent::PossibleDenied => Vec::new(),
        };
        Ok(JobSearch { jobs, possible, as_of, request_id })
    }

    async fn jobs_created_since(
        &self,
        at: &ScanTarget,
        since: OffsetDateTime,
        known: &HashSet<lifecycle::JobName>,
    ) -> Result<JobListing, Inconclusive> {
        self.inner.jobs_created_since(at, since, known).await
    }

    async fn cancel(&self, at: &JobAddress) -> Result<Answered<()>, Inconclusive> {
        self.inner.cancel(at).await
    }
}

#[test]
fn a_second_request_without_a_look_for_the_first_ones_job_is_found() {
    // Or the first one's job, which no search shows, is neither adopted nor counted.
    let invariants = ["look first", "liveness"];
    is_found(&Wiring { endpoint: |it| AnswersBent::NoSearch.of(it), ..Wiring::default() }, &invariants);
}

#[test]
fn scored_without_a_look_at_the_output_is_found() {
    is_found(&Wiring { blobs: |it| StorageGuard::Output.removed(it), ..Wiring::default() }, &["scored"]);
}

/// Tags that could not be read are none, so that the upload is skipped for good.
#[test]
fn index_tags_that_could_not_be_read_and_count_as_none_are_found() {
    is_found(&Wiring { blobs: |it| StorageGuard::FailedTags.removed(it), ..Wiring::default() }, &["liveness"]);
}

#[test]
fn uploads_that_are_taken_in_whatever_their_index_tags_are_found() {
    fn rules(rules: &Rules) -> Rules {
        rules.clone().changed(|rule| rule.matches.index_tags = AskedTags::default())
    }
    is_found(&Wiring { rules, ..Wiring::default() }, &["index tags"]);
}

/// Its scorings have the ids of the rule's own, so that one of the two is taken for a redelivery.
#[test]
fn a_shadow_without_an_id_of_its_own_is_found() {
    fn rules(rules: &Rules) -> Rules {
        rules.clone().changed(|rule| {
            if let Some(of) = &rule.shadow_of {
                rule.id = of.clone();
            }
        })
    }
    is_found(&Wiring { rules, ..Wiring::default() }, &["liveness"]);
}

/// Outputs of rule and shadow have one path for both where only the attempt tells them apart.
#[test]
fn a_shadow_that_writes_where_its_rule_does_is_found() {
    fn rules(rules: &Rules) -> Rules {
        rules.clone().changed(|rule| {
            let template = "azureml://datastores/workspaceblobstore/paths/{blob.path}/{blob.etag8}/{attempt}";
            let shadowed = rule.shadow_of.is_some() || rule.endpoint.shadow.is_some();
            for output in rule.outputs.values_mut().filter(|_| shadowed) {
                output.uri = Template::parse(template).unwrap();
            }
        })
    }
    is_found(&Wiring { rules, ..Wiring::default() }, &["output paths", "scored"]);
}

/// Each process has shares of its own, as if a change of the rules changed what was picked.
#[test]
fn a_split_that_is_not_the_rules_is_found() {
    fn rules(rules: &Rules) -> Rules {
        rules.clone().changed(|rule| rule.endpoint.deployments = None)
    }
    is_found(&Wiring { rules, ..Wiring::default() }, &["deployments"]);
}

#[test]
fn temporary_names_that_are_not_left_out_are_found() {
    let rules = |rules: &Rules| rules.clone().changed(|rule| rule.matches.exclude.defaults = false);
    is_found(&Wiring { rules, ..Wiring::default() }, &["temporary names", "names", "liveness"]);
}

#[test]
fn a_second_request_without_a_look_at_the_output_path_is_found() {
    is_found(&Wiring { blobs: |it| StorageGuard::OutputPath.removed(it), ..Wiring::default() }, &["output first"]);
}

/// Equal inputs are taken for a proof, so that strangers' jobs, and those of other scorings of one blob, are adopted.
#[test]
fn adopting_what_only_has_the_same_inputs_is_found() {
    is_found(
        &Wiring { endpoint: |it| AnswersBent::PossibleAdopted.of(it), ..Wiring::default() },
        &["adoption", "strangers", "cancel"],
    );
}

/// What shows too little is denied, so that a request is sent again while its job runs.
#[test]
fn denying_what_shows_too_little_is_found() {
    // It takes two lost requests for one scoring: more uploads have them more often.
    is_found_among(
        30,
        &Wiring { endpoint: |it| AnswersBent::PossibleDenied.of(it), ..Wiring::default() },
        &["look first"],
    );
}

#[test]
fn a_look_that_failed_and_is_taken_for_gone_is_found() {
    is_found(&Wiring { blobs: |it| StorageGuard::FailedUpload.removed(it), ..Wiring::default() }, &["liveness"]);
}

/// The ledger does not say whose output a path is: scorings that have outputs are not found when they are asked for.
struct Forgotten(Arc<dyn TableStore>);

#[async_trait]
impl TableStore for Forgotten {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        self.0.create_table(table).await
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        let row = self.0.get(table, key).await?;
        let scored = |row: &Row| key.row.starts_with("J~") && row.entity.string("State") == Some("scored");
        if !row.as_ref().is_some_and(scored) {
            return Ok(row);
        }
        // Whoever projects it asks for it as well, and finds it.
        let outbox = Key::new(key.partition.clone(), key.row.replacen("J~", "P~", 1));
        Ok(if self.0.get(table, &outbox).await?.is_some() { row } else { None })
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        self.0.page_of(table, range, from, max).await
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        self.0.write(table, ops).await
    }
}

/// A file that a tool left beside an output is known by the ledger alone: no rule's template has its name.
#[test]
fn outputs_that_the_ledger_is_not_asked_about_are_found() {
    let wiring = Wiring { store: |it| Arc::new(Forgotten(it)), ..Wiring::default() };
    // Nothing else goes wrong: whoever asks for a scoring again for another reason would not find it either.
    let options = |seed| RunOptions { faults: Faults::NONE.with(Kind::OwnOutputs), ..RunOptions::new(seed) };
    // A row that is hidden is not projected either, so that some seeds end with that alone.
    let mut violations = (1..=SEEDS).filter_map(|seed| run(&options(seed), &wiring, false).violation);
    assert!(violations.any(|violation| violation.invariant == "own outputs"), "{SEEDS} seeds did not find it");
}

/// Where an attempt that is over was told to write is not kept. Its file is known by nothing else, where the scoring's id is in the
/// file's own name, and the next attempt has another template.
#[test]
fn outputs_of_former_attempts_that_are_not_kept_are_found() {
    fn read(mut row: Row) -> Row {
        row.entity.properties.remove("FormerOutputs");
        row
    }
    let wiring = Wiring { store: |it| bent(read, |op| op)(it), ..Wiring::default() };
    let faults = Faults::NONE.with(Kind::OwnOutputs).with(Kind::Outputs);
    is_found_in(&|seed| RunOptions { faults, events: 10, ..RunOptions::new(seed) }, &wiring, &["own outputs"]);
}

#[test]
fn a_folder_of_which_only_the_first_page_is_taken_in_is_found() {
    is_found_among(
        12,
        &Wiring { blobs: |it| StorageGuard::FurtherPages.removed(it), ..Wiring::default() },
        &["liveness"],
    );
}

/// The row of what waits for a look is never written.
fn unkept(op: Op) -> Op {
    match op {
        Op::Insert(row) if row.key.partition == "pending" => {
            Op::Upsert(Entity::new(Key::new("forgotten", row.key.row)))
        }
        op => op,
    }
}

#[test]
fn a_rename_that_is_answered_before_it_is_on_record_is_found() {
    is_found(&Wiring { store: |it| bent(|row| row, unkept)(it), ..Wiring::default() }, &["liveness"]);
}

#[test]
fn scored_for_another_content_without_a_look_at_the_input_is_found() {
    is_found(&Wiring { blobs: |it| StorageGuard::Input.removed(it), ..Wiring::default() }, &["content"]);
}

#[test]
fn an_input_that_could_not_be_looked_at_and_is_taken_for_gone_is_found() {
    is_found(&Wiring { blobs: |it| StorageGuard::FailedInput.removed(it), ..Wiring::default() }, &["gone"]);
}

/// Only the URL is asked for the name, as a parser of URLs reads it: what follows `#` or `?` is gone, and `%20` in a name is a space.
#[test]
fn a_name_that_is_read_from_the_url_alone_is_found() {
    fn without_subject(mut delivery: Value) -> Value {
        match &mut delivery {
            Value::Array(events) => events.iter_mut().for_each(|event| event["subject"] = "".into()),
            event if event.is_object() => event["subject"] = "".into(),
            _ => {}
        }
        delivery
    }
    let options = |seed| RunOptions { faults: Faults::NONE.with(Kind::Names), ..RunOptions::new(seed) };
    is_found_in(&options, &Wiring { deliveries: without_subject, ..Wiring::default() }, &["names"]);
    for seed in 1..=20 {
        assert_eq!(run(&options(seed), &Wiring::default(), false).violation, None, "seed {seed}: with both witnesses");
    }
}

/// Each of the hosts that one account has is an account of its own: one upload has as many scorings as spellings.
#[test]
fn hosts_of_an_account_that_are_not_written_as_one_are_found() {
    fn apart(event: &mut Value) {
        let Some((scheme, host, rest)) = event["data"]["url"].as_str().and_then(|url| {
            let (scheme, behind) = url.split_once("://")?;
            let (host, rest) = behind.split_once('/')?;
            Some((scheme, host, rest))
        }) else {
            return;
        };
        if host != "uploads.blob.core.windows.net" || scheme != "https" {
            let account: String = host.chars().chain(scheme.chars()).filter(char::is_ascii_alphanumeric).collect();
            event["data"]["url"] =
                format!("https://{}.blob.core.windows.net/{rest}", account.to_ascii_lowercase()).into();
        }
    }
    fn deliveries(mut delivery: Value) -> Value {
        match &mut delivery {
            Value::Array(events) => events.iter_mut().for_each(apart),
            event => apart(event),
        }
        delivery
    }
    let options = |seed| RunOptions { faults: Faults::NONE.with(Kind::Names), ..RunOptions::new(seed) };
    is_found_in(&options, &Wiring { deliveries, ..Wiring::default() }, &["names", "liveness"]);
}
