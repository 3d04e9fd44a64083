//! Bad files, a missing right and a broken model among good uploads, in simulated time: what fails, and who waits for whom.
//! Then the same with one guard taken away, which must show.

use std::collections::HashSet;
use std::sync::Arc;

use app::ports::table_store::{Continuation, ETag, Entity, Error, Key, Op, Page, Range, Row, TableName, TableStore};
use app::ports::{Answered, Endpoint, Inconclusive, JobAddress, JobListing, JobSearch, ScanTarget};
use async_trait::async_trait;
use lifecycle::{Answer, JobName, JobSnapshot, Rule, Rules, Scoring};
use simulation::{Outcome, Poison, Wiring, run_poisoned};
use time::{Duration, OffsetDateTime};

/// Seeds of a poison, and seeds within which a missing guard must show.
const SEEDS: u64 = 20;
const FEW: u64 = 5;
/// Between two ticks, three times: what waits is seen by one, and its end by another.
const TICKS: Duration = Duration::minutes(3);

/// When the last upload of those with such a name was scored.
fn last(outcome: &Outcome, end_of_name: &str) -> Duration {
    let of = outcome.scored.iter().filter(|(name, _)| name.ends_with(end_of_name));
    of.map(|(_, at)| *at).max().unwrap_or_default()
}

/// What is wrong with a run in which jobs fail for this reason, held against the same run in which none does.
fn wrong(seed: u64, poison: Poison, wiring: &Wiring) -> Option<String> {
    let (with, without) = (run_poisoned(seed, poison, wiring), run_poisoned(seed, Poison::Nothing, &Wiring::default()));
    assert_eq!(
        (&without.violation, without.scored.len()),
        (&None, 100),
        "seed {seed}: where nothing fails all are scored"
    );
    if let Some(violation) = &with.violation {
        return Some(violation.invariant.to_owned());
    }
    // What may fail, how many jobs may be made, and whose last one is late by how much.
    let (may_fail, may_be_made, whose, late_by) = match poison {
        Poison::Nothing => (0, 100, "", TICKS),
        // Each bad one is tried once, and nobody waits for it.
        Poison::BadFiles => (10, 100, "", TICKS),
        // The other rule of the deployment does not notice.
        Poison::RightTakenAway => (3, 120, "/two", TICKS),
        // A quarter of an hour, the pause behind it, and what was to be done meanwhile.
        Poison::BrokenModel => (10, 140, "", Duration::minutes(35)),
    };
    let failed = with.ends.values().filter(|end| end.starts_with("failed")).count();
    let (late, usual) = (last(&with, whose), last(&without, whose));
    if failed > may_fail || with.scored.len() + failed != 100 {
        return Some(format!("{failed} failed, {} are scored", with.scored.len()));
    }
    if with.jobs > may_be_made {
        return Some(format!("{} jobs were made", with.jobs));
    }
    (late > usual + late_by).then(|| format!("the last one came at {late}, without these failures at {usual}"))
}

fn nothing_is_wrong(poison: Poison, seeds: u64) {
    for seed in 1..=seeds {
        assert_eq!(wrong(seed, poison, &Wiring::default()), None, "seed {seed}");
    }
}

/// Asserts that some seed is wrong, for a reason that begins with this.
fn is_found(poison: Poison, wiring: &Wiring, reason: &str) {
    let found = (1..=FEW).find_map(|seed| wrong(seed, poison, wiring));
    let found = found.unwrap_or_else(|| panic!("{FEW} seeds did not find it"));
    assert!(found.starts_with(reason), "{found}");
}

#[test]
fn ten_percent_bad_inputs_hold_up_no_good_one_of_two_rules_on_one_deployment() {
    nothing_is_wrong(Poison::BadFiles, SEEDS);
}

#[test]
fn a_right_that_is_taken_away_fails_few_and_holds_up_no_other_rule() {
    nothing_is_wrong(Poison::RightTakenAway, FEW);
}

#[test]
fn a_model_that_is_broken_for_a_while_costs_few_jobs_and_no_upload_but_the_bad_ones() {
    nothing_is_wrong(Poison::BrokenModel, FEW);
}

#[test]
fn user_errors_that_are_tried_again_are_found() {
    fn rules(rules: &Rules) -> Rules {
        rules.clone().changed(|rule: &mut Rule| rule.policy.retry_user_errors = true)
    }
    is_found(Poison::BadFiles, &Wiring { rules, ..Wiring::default() }, "user errors");
}

/// A table whose rows are bent when they are read.
struct BentRows {
    inner: Arc<dyn TableStore>,
    read: fn(&mut Entity),
}

#[async_trait]
impl TableStore for BentRows {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        self.inner.create_table(table).await
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        let mut row = self.inner.get(table, key).await?;
        if let Some(row) = &mut row {
            (self.read)(&mut row.entity);
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
        let mut page = self.inner.page_of(table, range, from, max).await?;
        page.rows.iter_mut().for_each(|row| (self.read)(&mut row.entity));
        Ok(page)
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        self.inner.write(table, ops).await
    }
}

/// The pause of a rule reads as none.
#[test]
fn a_rule_without_a_pause_is_found() {
    fn read(row: &mut Entity) {
        if row.key.row.starts_with("pause~") {
            row.properties.remove("OpenUntil");
        }
    }
    let wiring = Wiring { store: |inner| Arc::new(BentRows { inner, read }), ..Wiring::default() };
    is_found(Poison::RightTakenAway, &wiring, "4 failed");
}

/// The breaker of a deployment reads as closed.
#[test]
fn a_deployment_without_a_breaker_is_found() {
    fn read(row: &mut Entity) {
        if row.key.row.starts_with("breaker~") {
            row.properties.remove("OpenUntil");
        }
    }
    let wiring = Wiring { store: |inner| Arc::new(BentRows { inner, read }), ..Wiring::default() };
    is_found(Poison::BrokenModel, &wiring, "14 failed");
}

/// Whoever waits reads as never tried, so that the first in line probes, again and again the same bad file.
#[test]
fn a_probe_that_is_the_first_in_line_is_found() {
    fn read(row: &mut Entity) {
        if row.key.row.starts_with("F~") {
            row.properties.insert("Attempt".to_owned(), 0.into());
        }
    }
    let wiring = Wiring { store: |inner| Arc::new(BentRows { inner, read }), ..Wiring::default() };
    is_found(Poison::BrokenModel, &wiring, "the last one came at");
}

/// Jobs say of a missing right no more than that they failed.
struct Speechless(Arc<dyn Endpoint>);

#[async_trait]
impl Endpoint for Speechless {
    async fn submit(&self, scoring: &Scoring, timeout: std::time::Duration) -> Answered<Answer> {
        self.0.submit(scoring, timeout).await
    }

    async fn job(&self, at: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive> {
        let mut answer = self.0.job(at).await?;
        if let Some(error) = answer.value.as_mut().and_then(|job| job.error.as_mut()) {
            "it failed".clone_into(error);
        }
        Ok(answer)
    }

    async fn find(&self, scoring: &Scoring) -> Result<JobSearch, Inconclusive> {
        self.0.find(scoring).await
    }

    async fn jobs_created_since(
        &self,
        at: &ScanTarget,
        since: OffsetDateTime,
        known: &HashSet<JobName>,
    ) -> Result<JobListing, Inconclusive> {
        self.0.jobs_created_since(at, since, known).await
    }

    async fn cancel(&self, at: &JobAddress) -> Result<Answered<()>, Inconclusive> {
        self.0.cancel(at).await
    }
}

/// What is a rule's fault counts on the deployment, and stops the other rule.
#[test]
fn a_missing_right_that_counts_on_the_deployment_is_found() {
    let wiring = Wiring { endpoint: |it| Arc::new(Speechless(it)), ..Wiring::default() };
    is_found(Poison::RightTakenAway, &wiring, "8 failed");
}
