//! What people wait for when a ledger holds a million scorings: a list, a filter, one scoring, `status`, and the page; on the embedded store.
//!
//! `cargo bench -p handler --bench lists [-- COUNT]`. The scorings are spread over thirty days, each hundredth has failed, and the
//! last hundred of these wait for a person; only the rows that these reads touch are made, as what is written with them is another
//! bench's subject.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use app::ledger::{Ledger, LedgerOptions, Place, attention_key, end_keys, rows};
use app::ports::table_store::{Entity, Key, Op, TableName, TableStore};
use app::reports::{self, Filter};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use handler::config::{LedgerLocation, WhichLedger};
use handler::page::{self, Live, Measured, PageOptions};
use lifecycle::{BlobVersion, FailureCause, LedgerId, Rules, Scoring, ScoringId, Status};
use stores::embedded::EmbeddedStore;
use stores::faulty::Faulty;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tower::ServiceExt as _;

const NOW: OffsetDateTime = datetime!(2026-07-21 10:59 UTC);
/// When a reconcile run counted what had ended last: the latest minute in which it leaves two hours to be read.
const COUNTED: OffsetDateTime = datetime!(2026-07-21 10:14 UTC);
const COUNT: u32 = 1_000_000;
/// Operations of one transaction, and rows of one scoring here at most.
const MAX_OPS: usize = 100;
const MAX_ROWS: usize = 8;
/// Failures that nobody has acknowledged.
const UNACKNOWLEDGED: u32 = 100;

#[expect(clippy::print_stdout, reason = "a bench's figures are what it is for")]
fn main() {
    let count = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(COUNT);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = EmbeddedStore::open(folder.path()).expect("a store can be made in an empty folder");
    let store = Arc::new(Faulty::new(Arc::new(store)));
    let options = LedgerOptions {
        task_hub: "Bench".to_owned(),
        writer: "bench".to_owned(),
        new_id: LedgerId::of_random([1; 16]),
        projection: false,
    };
    let ledger = Ledger::new(Arc::clone(&store) as Arc<dyn TableStore>, &options).expect("the task hub's name is good");
    runtime.block_on(async {
        let begun = Instant::now();
        fill(&ledger, store.as_ref(), count).await;
        println!("{count} scorings made in {:.0} s", begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        ledger.count_ended_hours(COUNTED).await.expect("hours are counted");
        println!(
            "a day's ends counted in {:.0} ms, as a reconcile run does of an hour",
            begun.elapsed().as_secs_f64() * 1e3
        );
        let page = Filter { limit: 100, ..Filter::default() };
        let first = reports::newest(&ledger, &page, || ()).await.expect("a list");
        let failed = Filter { status: vec![Status::Failed], ..page.clone() };
        let rare = Filter { cause: Some(FailureCause::Access), ..page.clone() };
        let old = Filter { before: Some(NOW - Duration::days(29)), ..page.clone() };
        let scored = Filter { status: vec![Status::Scored], ..page.clone() };
        let of_folder = Filter { prefix: Some("claims/0/7".to_owned()), ..failed.clone() };
        let day = Filter { since: Some(NOW - Duration::DAY), prefix: Some("claims/7/".to_owned()), ..page.clone() };
        let next = Filter { after: first.next.clone(), ..page.clone() };
        let nobody = Filter { rule: Some("nobody".to_owned()), ..page.clone() };
        let scored_of_folder = Filter { prefix: Some("claims/7/".to_owned()), ..scored.clone() };
        for (what, filter) in [
            ("first page", page),
            ("next page", next),
            ("older than 29 days", old),
            ("scored", scored),
            ("failed", failed),
            ("failed of a folder", of_folder),
            ("failed for a cause", rare),
            ("a day's of a folder", day),
            ("scored of a folder", scored_of_folder),
            ("of a rule of nobody", nobody),
        ] {
            let (before, begun) = (store.calls(), Instant::now());
            let found = reports::newest(&ledger, &filter, || ()).await.expect("a list");
            let (took, after) = (begun.elapsed(), store.calls());
            let (pages, reads) = (after.pages - before.pages, after.reads - before.reads);
            let back_to = found.looked_back_to.map(|at| format!(", looked back to {at}")).unwrap_or_default();
            println!(
                "{what:20} {:7.1} ms  {} shown, {pages} queries, {reads} point reads{back_to}",
                took.as_secs_f64() * 1e3,
                found.scorings.len()
            );
        }
        let begun = Instant::now();
        reports::find(&ledger, &first.scorings[0].id, || ()).await.expect("a scoring");
        println!("{:20} {:7.1} ms", "one by its id", begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        let id = ScoringId::read(&first.scorings[0].id).expect("an id");
        reports::detail_of(&ledger, &id).await.expect("a scoring");
        println!("{:20} {:7.1} ms", "its detail", begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        let report = reports::status(&ledger, NOW, None).await.expect("a report");
        let ended = report.count(Status::Scored) + report.count(Status::Failed);
        let told = report.findings.iter().map(|finding| finding.count).sum::<usize>();
        println!(
            "{:20} {:7.1} ms  {ended} ended in the last day, {told} need attention",
            "status",
            begun.elapsed().as_secs_f64() * 1e3
        );
        pages(&ledger, &store, &id).await;
    });
}

/// What a page may hold, and ask for: neither grows with the ledger. Most of the queries ask of each unacknowledged failure whether a
/// newer version made up for it, and for the histories whose phases are measured once a minute.
const MAX_PAGE_BYTES: usize = 150_000;
const MAX_PAGE_CALLS: u64 = 700;

/// The page as a browser asks for it: how long until it is there, its bytes, and what it asked the store for.
#[expect(clippy::print_stdout, reason = "a bench's figures are what it is for")]
async fn pages(ledger: &Ledger, store: &Faulty, id: &ScoringId) {
    let router = page::router(PageOptions {
        ledger: ledger.clone(),
        place: LedgerLocation::Embedded("ledger".into()),
        clock: Arc::new(|| NOW),
        title: "Bench".to_owned(),
        which: WhichLedger::default(),
        operator: Some("bench".to_owned()),
        token: page::new_token(),
        live: Live::Pushed,
        measured: Measured::default(),
        results: None,
    });
    let detail = format!("/scorings/{id}");
    for (what, path) in [
        ("page: the first look", "/"),
        ("page: looked at again", "/"),
        ("page: failed", "/?q=status:failed"),
        ("page: of a folder", "/?q=status:failed+claims/0/7"),
        ("page: of nobody", "/?q=rule:nobody"),
        ("page: a scoring", &detail),
    ] {
        let (before, begun) = (store.calls(), Instant::now());
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let answer = router.clone().oneshot(request).await.expect("it always answers");
        assert_eq!(answer.status(), 200, "{path}");
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.expect("a body").len();
        let (took, after) = (begun.elapsed(), store.calls());
        let (queries, reads) = (after.pages - before.pages, after.reads - before.reads);
        println!(
            "{what:22} {:7.1} ms  {bytes} bytes, {queries} queries, {reads} point reads",
            took.as_secs_f64() * 1e3
        );
        assert!(bytes <= MAX_PAGE_BYTES && queries + reads <= MAX_PAGE_CALLS, "{what} is more than a page");
    }
}

/// Scorings that ended, by rows of each in one transaction of its partition.
async fn fill(ledger: &Ledger, store: &dyn TableStore, count: u32) {
    let id = ledger.id().await.expect("the ledger's id is written");
    let rules =
        r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"}}]}"#;
    let rules = Rules::read(rules).expect("good rules");
    let rule = rules.get("claims").expect("the rule");
    let table = TableName::read("BenchState").expect("a table's name");
    let mut waiting: BTreeMap<String, Vec<Op>> = BTreeMap::new();
    for number in 0..count {
        let at = NOW - Duration::days(30) * f64::from(count - number) / f64::from(count);
        let url = format!("https://uploads.blob.core.windows.net/claims/{}/{number}.csv", number % 10);
        let blob = BlobVersion::read(&url, "1").expect("a blob");
        let mut scoring = Scoring::accept(id, rule, blob, at);
        scoring.status = if number % 100 == 0 { Status::Failed } else { Status::Scored };
        scoring.completed = Some(at);
        // One cause is a thousandth of the failures.
        let cause = if number % 100_000 == 0 { FailureCause::Access } else { FailureCause::UserCode };
        scoring.failure = (scoring.status == Status::Failed).then_some(cause);
        let partition = rows::scoring_key(&scoring.id).partition;
        let listed = Entity::new(Key::new(&partition, Place::of(&scoring.id, at).as_str()))
            .with("SchemaVersion", rows::SCHEMA)
            .with("RuleId", scoring.rule.as_str())
            .with("BlobUrl", scoring.blob.url.as_str())
            .with("Endpoint", scoring.endpoint.as_str())
            .with("CreatedTime", at);
        let terminal = rows::terminal_key(&scoring.id, at);
        let ends: Vec<_> = end_keys(scoring.status, scoring.failure, &terminal)
            .into_iter()
            .map(|key| {
                let end = Entity { key, ..listed.clone() };
                end.with("Attempt", 1).with_some("FailureCause", scoring.failure.map(FailureCause::name))
            })
            .collect();
        let is_of_last = number + UNACKNOWLEDGED * 100 > count;
        let terminal = rows::to_terminal_row(&scoring, at);
        let attention = (scoring.status == Status::Failed && is_of_last).then(|| {
            Entity::new(attention_key(&scoring.id))
                .with("SchemaVersion", rows::SCHEMA)
                .with("State", scoring.status.name())
                .with("RuleId", scoring.rule.as_str())
                .with_some("BlobKey", terminal.string("BlobKey"))
                .with("CreatedTime", at)
                .with("Since", at)
                .with("OrphanedJobCount", 0)
        });
        let entry = scoring.accepted_entry("made".to_owned());
        let ops = waiting.entry(partition).or_default();
        ops.extend(
            [rows::to_scoring_row(&scoring, "bench"), listed, rows::to_history_row(&scoring.id, &entry), terminal]
                .into_iter()
                .chain(ends)
                .chain(attention)
                .map(Op::Insert),
        );
        if ops.len() > MAX_OPS - MAX_ROWS {
            let ops = std::mem::take(ops);
            store.write(&table, &ops).await.expect("rows are written");
        }
    }
    for ops in waiting.into_values().filter(|ops| !ops.is_empty()) {
        store.write(&table, &ops).await.expect("rows are written");
    }
}
