//! The read model: what the command line and the page are told of a ledger.

use app::App;
use app::ledger::{Announced, rows};
use app::ports::table_store::{Entity, IfMatch, Op, TableStore as _};
use app::reports::{self, Filter, FindingKind, Found, ScoringDetail};
use lifecycle::{BlobVersion, JobStatus, Scoring, ScoringId, Status};
use serde_json::json;
use stores::fault::Fault;
use time::Duration;

use crate::support::world::{World, event};

#[tokio::test]
async fn a_status_report_counts_each_scoring_once_and_finds_what_needs_attention() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: true }, Fault::Pass]);
    world.deliver(&app, &event("refused.csv", "1")).await;
    world.later(Duration::SECOND);
    world.deliver(&app, &event("running.csv", "1")).await;
    app.accept(&json!({"no": "event"})).await.unwrap().submit().await;

    let report = reports::status(app.ledger(), world.now(), None).await.unwrap();
    assert_eq!((report.in_flight, report.count(Status::Running), report.count(Status::Failed)), (1, 1, 1));
    assert_eq!(report.counts.iter().map(|(_, count)| count).sum::<usize>(), 2);
    assert_eq!((report.oldest, report.last_run), (Some(world.now()), None));
    let kinds: Vec<_> = report.findings.iter().map(|finding| (finding.kind, finding.count)).collect();
    assert_eq!(kinds, [(FindingKind::Failed, 1), (FindingKind::Quarantined, 1)], "{:?}", report.findings);

    let tomorrow = reports::status(app.ledger(), world.now() + Duration::days(2), None).await.unwrap();
    assert_eq!((tomorrow.count(Status::Failed), tomorrow.quarantined), (0, 0), "a day is over");
    let kinds: Vec<_> = tomorrow.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::RunOverdue, FindingKind::Failed], "it is still so: {:?}", tomorrow.findings);
}

#[tokio::test]
async fn the_newest_scorings_come_first_and_the_filter_keeps_to_its_number() {
    let world = World::new();
    let app = world.app();
    for name in ["a.csv", "b.csv", "c.csv"] {
        world.deliver(&app, &event(name, "1")).await;
        world.later(Duration::SECOND);
    }
    let paths = async |filter: Filter| {
        let mut read = 0;
        let found = reports::newest(app.ledger(), &filter, || read += 1).await.unwrap();
        (found.scorings.into_iter().map(|view| view.path).collect::<Vec<_>>(), read)
    };
    let two = Filter { limit: 2, ..Filter::default() };
    assert_eq!(paths(two.clone()).await, (vec!["claims/c.csv".to_owned(), "claims/b.csv".to_owned()], 2));
    let page = reports::newest(app.ledger(), &two, || ()).await.unwrap();
    assert_eq!(paths(Filter { after: page.next, ..two.clone() }).await.0, ["claims/a.csv"], "the page behind it");
    assert_eq!(paths(Filter { prefix: Some("claims/b".to_owned()), ..two.clone() }).await.0, ["claims/b.csv"]);
    let since = Some(world.now() - Duration::seconds(1));
    assert_eq!(paths(Filter { since, ..two.clone() }).await, (vec!["claims/c.csv".to_owned()], 2));
    assert!(paths(Filter { status: vec![Status::Scored], ..two.clone() }).await.0.is_empty());
    assert!(paths(Filter { rule: Some("another".to_owned()), ..two }).await.0.is_empty());
}

#[tokio::test]
async fn all_outputs_of_a_scoring_are_shown_and_kept() {
    let at = |name: &str| format!("azureml://datastores/d/paths/{{scoring.id}}/{{attempt}}/{name}");
    let rules = json!({"rules": [{"id": "r", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs"},
        "outputs": {"score": {"type": "UriFile", "uri": at("p.csv")}, "charts": {"type": "UriFolder", "uri": at("charts/")}}}]});
    let rules = lifecycle::Rules::read(&rules.to_string()).unwrap();
    let rule = rules.get("r").unwrap();
    let blob = lifecycle::BlobVersion::read("https://a.blob.core.windows.net/con/a.csv", "1").unwrap();
    let now = World::new().now();
    let mut scoring = lifecycle::Scoring::accept(&lifecycle::LedgerId::of_random([1; 16]), rule, blob, now);
    scoring.attempt = 1;
    scoring.submission = Some(rule.submission(&scoring, 1));
    let id = scoring.id.to_string();
    let (score, charts) = (at("p.csv"), at("charts/"));
    let filled = |uri: &str| uri.replace("{scoring.id}", &id).replace("{attempt}", "1");
    let all = json!({"charts": filled(&charts), "score": filled(&score)});
    let row = rows::to_scoring_row(&scoring, "op");
    assert_eq!(serde_json::from_str::<serde_json::Value>(row.string("Outputs").unwrap()).unwrap(), all);
    let shown = app::reports::ScoringView::from(scoring);
    assert_eq!(serde_json::to_value(&shown).unwrap()["outputs"], all);
    let line = format!("charts: {}, score: {}", filled(&charts), filled(&score));
    assert_eq!(shown.all_outputs(), Some(line));
}

/// A ledger with so many scorings of which each hundredth has failed and the others are scored, the newest last.
async fn many(world: &World, app: &App, count: usize) {
    let rule = world.rules.get("claims").unwrap();
    for n in 0..count {
        let url = format!("https://uploads.blob.core.windows.net/claims/{n}.csv");
        let blob = BlobVersion::read(&url, "1").unwrap();
        let mut scoring = Scoring::accept(&world.ledger_id, rule, blob, world.now());
        scoring.status = if n % 100 == 0 { Status::Failed } else { Status::Scored };
        scoring.completed = Some(world.now());
        let entry = scoring.accepted_entry("made".to_owned());
        app.ledger().accept(&scoring, &[entry], &Announced::default()).await.unwrap();
        world.later(Duration::SECOND);
    }
}

/// What a list of this filter costs: its rows, pages and reads, and rows on those pages.
async fn cost(world: &World, app: &App, filter: &Filter) -> (usize, u64, u64, u64) {
    let before = world.store.calls();
    let shown = reports::newest(app.ledger(), filter, || ()).await.unwrap().scorings.len();
    let after = world.store.calls();
    (shown, after.pages - before.pages, after.reads - before.reads, after.rows - before.rows)
}

#[tokio::test]
async fn a_page_of_a_list_costs_the_same_for_one_thousand_and_for_twenty_thousand() {
    for count in [1_000, 20_000] {
        let world = World::new();
        let app = world.app();
        many(&world, &app, count).await;
        let first = Filter { limit: 100, ..Filter::default() };
        let page = reports::newest(app.ledger(), &first, || ()).await.unwrap();
        let newest = format!("claims/{}.csv", count - 1);
        assert_eq!((page.scorings.len(), page.scorings[0].path.as_str()), (100, newest.as_str()));
        let second = Filter { after: page.next, ..first.clone() };
        for filter in [first, second] {
            let (shown, pages, reads, rows) = cost(&world, &app, &filter).await;
            assert_eq!((shown, reads), (100, 100));
            assert!(pages <= 32 && rows <= 512, "{count}: {pages} pages with {rows} rows");
        }
        // By status the final ones are read until there are enough: not more than are between them.
        let failed = Filter { status: vec![Status::Failed], limit: 5, ..Filter::default() };
        let (shown, pages, reads, rows) = cost(&world, &app, &failed).await;
        assert_eq!((shown, reads), (5, 5));
        assert!(pages <= 16 * 8 && rows <= 4_000, "{count}: {pages} pages with {rows} rows");
    }
}

async fn detail(app: &App, id: &ScoringId) -> ScoringDetail {
    match reports::detail_of(app.ledger(), id).await.unwrap() {
        Some(Found::Scoring(detail)) => *detail,
        other => panic!("{other:?}"),
    }
}

/// A status that this release does not know, in each row that has one, and a line of history without its time.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_shown_as_such_and_hides_no_other() {
    let world = World::new();
    let app = world.app();
    let good = world.deliver(&app, &event("good.csv", "1")).await.remove(0);
    let bad: ScoringId = world.deliver(&app, &event("bad.csv", "1")).await[0].parse().unwrap();
    let damage = |key| Op::Merge(Entity::new(key).with("State", "lost").with("At", "lost"), IfMatch::Any);
    let rows = [rows::scoring_key(&bad), rows::in_flight_key(&bad), rows::history_key(&good.parse().unwrap(), 1)];
    for row in rows {
        world.store.write(&world.table("State"), &[damage(row)]).await.unwrap();
    }

    for filter in [
        Filter { limit: 10, ..Filter::default() },
        Filter { status: vec![Status::Running], limit: 10, ..Filter::default() },
    ] {
        let list = reports::newest(app.ledger(), &filter, || ()).await.unwrap();
        assert_eq!(list.scorings.iter().map(|view| view.id.as_str()).collect::<Vec<_>>(), [good.as_str()]);
        assert_eq!(list.unreadable[0].id.as_deref(), Some(bad.as_str()));
        assert!(list.unreadable[0].error.contains("State"), "{list:?}");
        assert_eq!(json!(list).as_array().map(Vec::len), Some(2));
    }
    let report = reports::status(app.ledger(), world.now(), None).await.unwrap();
    assert_eq!((report.in_flight, report.count(Status::Running)), (1, 1));
    let kinds: Vec<_> = report.findings.iter().map(|finding| (finding.kind, finding.count)).collect();
    assert_eq!(kinds, [(FindingKind::Unreadable, 1)], "{:?}", report.findings);
    assert!(matches!(reports::detail_of(app.ledger(), &bad).await.unwrap(), Some(Found::Unreadable(_))));
    let shown = detail(&app, &good.parse().unwrap()).await;
    assert!(shown.unreadable.len() == 1 && !shown.history.is_empty(), "{shown:?}");

    world.end_jobs(&JobStatus::Completed);
    for _ in 0..3 {
        world.later(Duration::minutes(5));
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    }
    assert_eq!(world.get(&app, &good).await.status, Status::Scored, "it goes on");
}

#[tokio::test]
async fn the_detail_of_a_scoring_has_its_history_and_only_a_queued_one_waits() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: false }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let id = ids[0].parse().unwrap();
    let queued = detail(&app, &id).await;
    assert!(queued.waits.as_deref().is_some_and(|why| why.starts_with("not before")), "{:?}", queued.waits);
    world.later(Duration::minutes(5));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let running = detail(&app, &id).await;
    assert_eq!((running.scoring.status, running.waits), (Status::Running.name(), None));
    assert!(running.history.len() > queued.history.len());
    assert_ne!(running.scoring.job_status.as_deref(), Some(JobStatus::Completed.name()));
    let nobody = "0".repeat(32).parse().unwrap();
    assert!(reports::detail_of(app.ledger(), &nobody).await.unwrap().is_none());
}
