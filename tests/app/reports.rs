//! The read model: what the command line and the page are told of a ledger.

use app::App;
use app::ledger::{Announced, SHARDS, rows};
use app::ports::table_store::{Entity, IfMatch, Key, Op, Range, TableStore as _};
use app::reports::{self, Filter, FindingKind, MAX_LOOKED, ScoringDetail, ScoringLookup};
use futures::{StreamExt as _, stream};
use lifecycle::{BlobVersion, FailureCause, JobStatus, Order, Scoring, ScoringId, Status, Verb};
use serde_json::{Value, json};
use stores::fault::Fault;
use time::Duration;

use crate::support::meanwhile::Meanwhile;
use crate::support::world::{RULE, World, event};

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
    let mut made = Vec::with_capacity(count);
    for n in 0..count {
        let url = format!("https://uploads.blob.core.windows.net/claims/{n}.csv");
        let blob = BlobVersion::read(&url, "1").unwrap();
        let mut scoring = Scoring::accept(&world.ledger_id, rule, blob, world.now());
        scoring.status = if n % 100 == 0 { Status::Failed } else { Status::Scored };
        scoring.failure = (n % 100 == 0).then_some(FailureCause::UserCode);
        scoring.completed = Some(world.now());
        let entry = scoring.accepted_entry("made".to_owned());
        made.push((scoring, entry));
        world.later(Duration::SECOND);
    }
    // Side by side: a service takes its time for each.
    let accepted = made.iter().map(|(scoring, entry)| async move {
        app.ledger().accept(scoring, std::slice::from_ref(entry), &Announced::default()).await.unwrap();
    });
    stream::iter(accepted).buffer_unordered(32).collect::<Vec<_>>().await;
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
            assert!(pages == 3 && rows <= 512, "{count}: {pages} pages with {rows} rows");
        }
        // By status as well: what was scored in between is not read.
        let failed = Filter { status: vec![Status::Failed], limit: 5, ..Filter::default() };
        let page = reports::newest(app.ledger(), &failed, || ()).await.unwrap();
        let cause = Filter { status: Vec::new(), cause: Some(FailureCause::UserCode), ..failed.clone() };
        for filter in [failed.clone(), Filter { after: page.next, ..failed }, cause] {
            let (shown, pages, reads, rows) = cost(&world, &app, &filter).await;
            assert_eq!((shown, reads), (5, 5));
            assert!((3..=4).contains(&pages) && rows <= 40, "{count}: {pages} pages with {rows} rows");
        }
    }
}

#[tokio::test]
async fn a_page_of_five_thousand_takes_as_many_queries_of_a_real_table_service() {
    // Not installed: said once, by `azurite`.
    let Some(world) = super::in_azurite(RULE) else { return };
    let app = world.app();
    many(&world, &app, 5_000).await;
    let page = Filter { limit: 100, ..Filter::default() };
    let next = reports::newest(app.ledger(), &page, || ()).await.unwrap().next;
    let failed = Filter { status: vec![Status::Failed], limit: 5, ..Filter::default() };
    let cause = Filter { cause: Some(FailureCause::UserCode), limit: 5, ..Filter::default() };
    let cases = [
        ("first page", 100, 3, page.clone()),
        ("next page", 100, 3, Filter { after: next, ..page }),
        ("failed", 5, 4, failed.clone()),
        ("failed of a rule", 5, 4, Filter { rule: Some("claims".to_owned()), ..failed }),
        ("a cause", 5, 4, cause),
    ];
    for (what, wanted, max, filter) in cases {
        let (shown, pages, reads, rows) = cost(&world, &app, &filter).await;
        assert_eq!((shown, reads), (wanted, wanted as u64), "{what}");
        assert!((3..=max).contains(&pages) && rows <= 512, "{what}: {pages} pages with {rows} rows");
    }
}

#[tokio::test]
async fn a_filter_of_failed_ones_reads_their_rows_and_the_scorings_that_it_shows() {
    let world = World::new();
    let app = world.app();
    many(&world, &app, 20_000).await;
    let of = |filter: Filter| Filter { limit: 3, ..filter };
    let uri = |text: &str| Some(text.parse().unwrap());
    let failed = Filter { status: vec![Status::Failed], ..Filter::default() };
    let last_hour = Some(world.now() - Duration::HOUR);
    let cases = [
        ("a rule", 3, Filter { rule: Some("claims".to_owned()), ..failed.clone() }),
        ("another rule", 0, Filter { rule: Some("other".to_owned()), ..failed.clone() }),
        ("the oldest by its path", 1, Filter { prefix: Some("claims/0.".to_owned()), ..failed.clone() }),
        ("of the last hour", 3, Filter { since: last_hour, ..failed.clone() }),
        ("before the last hour", 3, Filter { before: last_hour, ..failed.clone() }),
        ("an endpoint", 3, Filter { endpoint: uri("https://HEART.example/jobs/"), ..failed.clone() }),
        ("another endpoint", 0, Filter { endpoint: uri("https://lung.example/jobs"), ..failed.clone() }),
        ("another deployment", 0, Filter { deployment: Some("v7".to_owned()), ..failed.clone() }),
        ("the first attempt", 0, Filter { attempt: Some(1), ..failed.clone() }),
        ("no attempt", 3, Filter { attempt: Some(0), ..failed }),
        ("a cause alone", 3, Filter { cause: Some(FailureCause::UserCode), ..Filter::default() }),
        ("another cause", 0, Filter { cause: Some(FailureCause::Input), ..Filter::default() }),
    ];
    for (what, wanted, filter) in cases {
        let (shown, pages, reads, rows) = cost(&world, &app, &of(filter)).await;
        assert_eq!((shown, reads), (wanted, wanted as u64), "{what}");
        // Two hundred failed, which are read a few of each shard at a time.
        assert!(pages <= 3 * 5 && rows <= 200, "{what}: {pages} pages with {rows} rows");
    }
    // Of the last day's hours none is read that ended before the time that is asked for.
    let (_, pages, _, rows) = cost(&world, &app, &Filter { since: last_hour, limit: 100, ..Filter::default() }).await;
    assert!(pages <= 6 && rows <= 512, "{pages} pages with {rows} rows");
    let scored = Filter { status: vec![Status::Scored], since: Some(world.now()), limit: 100, ..Filter::default() };
    let (shown, pages, _, rows) = cost(&world, &app, &scored).await;
    assert!(shown == 0 && pages <= 3 * 10 && rows <= 3 * 3_600, "{shown} shown, {pages} pages with {rows} rows");
    // By age a list begins where it is asked for.
    let old = Filter { before: Some(world.now() - Duration::hours(5)), limit: 100, ..Filter::default() };
    let (shown, pages, reads, rows) = cost(&world, &app, &old).await;
    assert!(shown == 100 && reads == 100 && pages <= 6 && rows <= 512, "{pages} pages with {rows} rows");
}

#[tokio::test]
async fn a_filter_that_no_index_serves_ends_its_page_after_so_many_rows_and_goes_on_there() {
    let world = World::new();
    let app = world.app();
    let count = 2 * MAX_LOOKED + 10;
    many(&world, &app, count).await;
    // The second oldest of all, by its path.
    let oldest = Filter { prefix: Some("claims/1.csv".to_owned()), limit: 5, ..Filter::default() };
    let found = reports::newest(app.ledger(), &oldest, || ()).await.unwrap();
    let (next, back_to) = (found.next.clone().unwrap(), found.looked_back_to.unwrap());
    assert!(found.scorings.is_empty() && next.time() == Some(back_to), "{found:?}");
    let looked = world.now() - back_to;
    assert_eq!(looked.whole_seconds(), i64::try_from(MAX_LOOKED).unwrap(), "one was accepted each second");
    let (_, pages, reads, rows) = cost(&world, &app, &oldest).await;
    assert!(pages <= 3 * 12 && reads == 0 && rows <= 2 * MAX_LOOKED as u64, "{pages} pages with {rows} rows");
    let mut filter = oldest.clone();
    for page in 0..2 {
        let found = reports::newest(app.ledger(), &filter, || ()).await.unwrap();
        assert!(found.scorings.is_empty() && found.looked_back_to.is_some(), "page {page}");
        filter.after = found.next;
    }
    let last = reports::newest(app.ledger(), &filter, || ()).await.unwrap();
    assert_eq!((last.scorings.len(), last.next, last.looked_back_to), (1, None, None));
    let whole = reports::newest_of_pages(app.ledger(), &oldest, usize::MAX, || ()).await.unwrap();
    assert_eq!((whole.scorings, whole.next, whole.looked_back_to), (last.scorings, None, None));
    // What only the scorings tell costs more, and less is looked at: to the hour.
    let scored = Filter { status: vec![Status::Scored], ..oldest };
    let found = reports::newest(app.ledger(), &scored, || ()).await.unwrap();
    let (_, _, reads, _) = cost(&world, &app, &scored).await;
    assert!(found.looked_back_to.is_some_and(|at| at > back_to) && reads <= 600, "{reads} reads, {found:?}");
}

#[tokio::test]
async fn a_day_is_counted_by_its_hours_and_what_is_taken_back_is_not_counted() {
    let world = World::new();
    let app = world.app();
    many(&world, &app, 20_000).await;
    let since = world.now() - Duration::DAY;
    let counted = async || {
        let before = world.store.calls();
        let (counts, unreadable) = app.ledger().counted_since(since).await.unwrap();
        assert!(unreadable.is_empty());
        (counts.of(Status::Scored), counts.of(Status::Failed), world.store.calls().rows - before.rows)
    };
    assert_eq!(counted().await, (19_800, 200, 20_000), "by the ends");
    app.ledger().count_ended_hours(world.now()).await.unwrap();
    let (scored, failed, rows) = counted().await;
    assert_eq!((scored, failed), (19_800, 200));
    // The present hour, and the last one where that is not long over; 25 hours of three shards.
    assert!(rows <= 2 * 3_600 + 25 * 3, "{rows} rows");
    let writes = world.store.calls().writes;
    app.ledger().count_ended_hours(world.now()).await.unwrap();
    assert_eq!(world.store.calls().writes, writes, "once");

    let oldest = Filter { status: vec![Status::Failed], limit: 200, ..Filter::default() };
    let oldest = reports::newest(app.ledger(), &oldest, || ()).await.unwrap().scorings.pop().unwrap();
    let order = Order { verb: Verb::Retry, by: "ops".to_owned(), reason: "fixed".to_owned() };
    app::order(app.ledger(), &oldest.id.parse().unwrap(), &order, world.now()).await.unwrap();
    let (scored, failed, _) = counted().await;
    assert_eq!((scored, failed), (19_800, 199), "one is tried again");
    app.ledger().count_ended_hours(world.now()).await.unwrap();
    let (scored, failed, rows) = counted().await;
    assert_eq!((scored, failed), (19_800, 199));
    assert!(rows <= 2 * 3_600 + 25 * 3, "{rows} rows: its hour is counted anew");
}

#[tokio::test]
async fn an_end_that_is_taken_back_while_its_hour_is_counted_leaves_the_hour_uncounted() {
    let store = Meanwhile::store();
    let world = World::on(store.clone(), RULE);
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: true }]);
    let id: ScoringId = world.deliver(&app, &event("a.csv", "1")).await[0].parse().unwrap();
    world.later(Duration::hours(3));
    let (retried, now) = (app.clone(), world.now());
    store.before_counting(async move || {
        let order = Order { verb: Verb::Retry, by: "ops".to_owned(), reason: "fixed".to_owned() };
        app::order(retried.ledger(), &id, &order, now).await.unwrap();
    });
    app.ledger().count_ended_hours(world.now()).await.unwrap();
    let (counts, _) = app.ledger().counted_since(world.now() - Duration::DAY).await.unwrap();
    assert_eq!(counts.of(Status::Failed), 0);
}

/// Rows of the index of ends by status or by cause, as their keys begin.
async fn ends_of(world: &World, prefix: &str) -> Vec<String> {
    let mut ends = Vec::new();
    for partition in (0..SHARDS).map(rows::shard) {
        let page = world.store.page(&world.table("State"), &Range::of_prefix(partition, prefix), None).await.unwrap();
        ends.extend(page.rows.into_iter().map(|row| row.entity.key.row.split('~').nth(1).unwrap().to_owned()));
    }
    ends
}

async fn ends(world: &World) -> Vec<String> {
    ends_of(world, "E~").await
}

#[tokio::test]
async fn an_end_is_listed_by_its_status_until_it_is_tried_again_or_removed() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: true }, Fault::Refused { permanent: true }]);
    let first = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
    world.later(Duration::SECOND);
    world.deliver(&app, &event("b.csv", "1")).await;
    world.deliver(&app, &event("c.csv", "1")).await;
    assert_eq!(ends(&world).await, ["failed", "failed"]);
    assert_eq!(ends_of(&world, "C~").await, ["request", "request"]);
    let order = Order { verb: Verb::Retry, by: "ops".to_owned(), reason: "fixed".to_owned() };
    app::order(app.ledger(), &first.parse().unwrap(), &order, world.now()).await.unwrap();
    assert_eq!(ends(&world).await, ["failed"], "it is tried again");
    assert_eq!(ends_of(&world, "C~").await, ["request"]);
    world.tick_until_final(&app, 5).await;
    assert_eq!(world.get(&app, &first).await.status, Status::Scored);
    assert_eq!(ends(&world).await, ["failed"], "what is scored is not among them");
    assert_eq!(app.ledger().purge(world.now() + Duration::days(1), 100).await.unwrap(), 3);
    assert!(ends(&world).await.is_empty() && ends_of(&world, "C~").await.is_empty());
}

async fn detail(app: &App, id: &ScoringId) -> ScoringDetail {
    match reports::detail_of(app.ledger(), id).await.unwrap() {
        Some(ScoringLookup::Scoring(detail)) => *detail,
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
    assert!(matches!(reports::detail_of(app.ledger(), &bad).await.unwrap(), Some(ScoringLookup::Unreadable(_))));
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
async fn a_pending_row_that_cannot_be_read_is_listed_counted_and_a_finding() {
    let world = World::new();
    let app = world.app();
    world.blind_storage(Some("403"));
    let renamed: Value = serde_json::from_str(include_str!("../cases/renames/rename-file.json")).unwrap();
    app.accept(&renamed).await.unwrap().submit().await;
    let damaged = Entity::new(Key::new("pending", "0".repeat(32))).with("SchemaVersion", 1).with("Kind", "lost");
    world.store.write(&world.table("State"), &[Op::Insert(damaged)]).await.unwrap();
    let found = reports::pending(app.ledger()).await.unwrap();
    assert_eq!((found.waiting.len(), found.unreadable.len(), found.unreadable[0].id.as_deref()), (1, 1, None));
    assert_eq!(json!(found)[1]["status"], "unreadable");
    let report = reports::status(app.ledger(), world.now(), None).await.unwrap();
    assert_eq!(report.pending, 2);
    let told = report.findings.iter().find(|finding| finding.kind == FindingKind::Unreadable).expect("it is told of");
    assert!(told.count == 1 && told.reason.contains("pending"), "{told:?}");
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
