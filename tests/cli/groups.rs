//! Groups as people see and order them: who is in one, what became of each, for what a member waits, and that an order of a group is one
//! of all its members, whoever gives it.

use app::App;
use axum::body::Body;
use axum::http::Request;
use handler::cli::export::{ExportArgs, ExportFormat};
use handler::cli::filter::FurtherFilter;
use handler::cli::json::JsonArgs;
use handler::cli::list::ListArgs;
use handler::cli::on_ledger::{ATTENTION, OK};
use handler::cli::order::OrderArgs;
use handler::cli::resolve::{ResolutionArgs, ResolveArgs};
use handler::cli::{explain, export, list, order, resolve, show};
use handler::functions::{HttpAccess, HttpRequest, operations};
use lambda_runtime::{Context, LambdaEvent};
use lifecycle::callback::CallbackHosts;
use lifecycle::{Group, Grouping, JobStatus, Scoring, ScoringId, Status, Verb};
use serde_json::{Value, json};
use time::Duration;
use tower::ServiceExt as _;

use super::{HERE, answer, args, page, site, text};
use crate::support::world::{World, event};

pub(super) fn world(group: &Value) -> World {
    let rule = json!({"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"}, "group": group});
    World::with_rules(&json!({ "rules": [rule] }).to_string())
}

fn url(path: &str) -> String {
    format!("https://uploads.blob.core.windows.net/claims/{path}")
}

pub(super) async fn tick(world: &World, app: &App) {
    world.later(Duration::minutes(2));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
}

/// Two files that share a job which runs: their ids, and their group.
pub(super) async fn running(world: &World, app: &App) -> (Vec<String>, Scoring) {
    let mut ids = Vec::new();
    for path in ["eu/a.csv", "eu/b.csv"] {
        ids.extend(world.deliver(app, &event(path, "1")).await);
        // Members are in the order in which they came.
        world.later(Duration::SECOND);
    }
    world.later(Duration::minutes(4));
    tick(world, app).await;
    let group = world.get(app, &ids[0]).await.member_of().unwrap().to_string();
    let group = world.get(app, &group).await;
    assert_eq!(group.status, Status::Running);
    (ids, group)
}

/// The same, until the second file stands alone and has failed, and the first is scored.
pub(super) async fn halved(world: &World, app: &App) -> (Vec<String>, Scoring) {
    world.fail_whatever_reads(&url("eu/b.csv"));
    let (ids, group) = running(world, app).await;
    for _ in 0..12 {
        world.end_jobs(&JobStatus::Completed);
        tick(world, app).await;
    }
    let ends = [world.get(app, &ids[0]).await.status, world.get(app, &ids[1]).await.status];
    assert_eq!(ends, [Status::Scored, Status::Failed]);
    (ids, world.get(app, group.id.as_str()).await)
}

pub(super) fn of(ids: &[&str], yes: bool) -> OrderArgs {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    OrderArgs { ids, yes, reason: Some("not wanted".to_owned()), ..OrderArgs::default() }
}

fn members_of(group: &Scoring) -> FurtherFilter {
    FurtherFilter { group: Some((&group.id).into()), ..FurtherFilter::default() }
}

async fn ordered(world: &World, app: &App, verb: Verb, args: &OrderArgs) -> (u8, String) {
    text(async |out| order::order(app.ledger(), verb, args, "ann", world.now(), out).await).await
}

async fn shown(world: &World, app: &App, id: &str) -> String {
    text(async |out| show::show(app.ledger(), &HERE, id, &JsonArgs::TEXT, world.now(), out).await).await.1
}

async fn explained(world: &World, app: &App, id: &str) -> String {
    text(async |out| explain::explain(app.ledger(), &HERE, id, &JsonArgs::TEXT, world.now(), out).await).await.1
}

#[tokio::test]
async fn an_order_of_a_group_is_asked_for_as_one_of_all_its_members() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (ids, group) = running(&world, &app).await;
    let id = group.id.as_str();
    let (code, told) = ordered(&world, &app, Verb::Cancel, &of(&[id], false)).await;
    let asked = "1 group with its 2 members are to be cancelled; nothing was changed; to do it, add --yes.\n";
    assert!(code == ATTENTION && told.ends_with(asked) && told.contains("a group of 2 members"), "{told}");
    let dry = OrderArgs { dry_run: true, ..of(&[id], false) };
    let (code, told) = ordered(&world, &app, Verb::Cancel, &dry).await;
    assert!(
        code == OK && told.ends_with("1 group with its 2 members would be cancelled; nothing was changed.\n"),
        "{told}"
    );
    assert_eq!(world.get(&app, id).await.version, group.version);
    let (code, told) = ordered(&world, &app, Verb::Hold, &of(&[id], false)).await;
    assert!(
        code == ATTENTION && told.contains("left alone: only what is queued"),
        "what is refused is not asked for: {told}"
    );

    let (code, told) = ordered(&world, &app, Verb::Cancel, &of(&[id], true)).await;
    assert!(
        code == OK && told.starts_with(&format!("{id}  cancelled with what is left of its 2 members; it is ")),
        "{told}"
    );
    world.end_jobs(&JobStatus::Canceled);
    for _ in 0..3 {
        tick(&world, &app).await;
    }
    assert_eq!(world.statuses(&app).await[&Status::Cancelled], 2);
    let (code, told) = ordered(&world, &app, Verb::Retry, &of(&[id], true)).await;
    let instead = format!(
        "it is a group, and cancelled already; `scorekeeper retry --group {id} --status cancelled` orders it of its members"
    );
    assert!(code == ATTENTION && told.contains(&instead), "{told}");
    let members = OrderArgs { status: vec![Status::Cancelled], further: members_of(&group), ..of(&[], true) };
    let (code, told) = ordered(&world, &app, Verb::Retry, &members).await;
    assert!(code == OK && told.contains("2 retried, 0 left alone"), "{told}");
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Queued);
}

#[tokio::test]
async fn a_group_is_given_up_only_by_who_means_all_its_members() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (_, mut group) = running(&world, &app).await;
    let other = std::mem::replace(&mut group.id, ScoringId::read(&"a".repeat(32)).unwrap());
    group.status = Status::Held;
    let entry = group.accepted_entry("a test".to_owned());
    app.ledger().accept(&group, &[entry], &app::ledger::Announced::default()).await.unwrap();
    let give_up = async |yes| {
        let said = ResolutionArgs { give_up: true, send_again: false, job: None };
        let args = ResolveArgs { which: HERE, id: group.id.to_string(), said, yes, reason: "no job there".to_owned() };
        text(async |out| resolve::resolve(app.ledger(), &args, "ann", world.now(), out).await).await
    };
    let running = ResolveArgs {
        which: HERE,
        id: other.to_string(),
        said: ResolutionArgs { give_up: true, send_again: false, job: None },
        yes: false,
        reason: "no job there".to_owned(),
    };
    let (_, told) = text(async |out| resolve::resolve(app.ledger(), &running, "ann", world.now(), out).await).await;
    assert!(told.contains("only a held scoring"), "with --yes it would be told so: {told}");
    let (code, told) = give_up(false).await;
    assert!(
        code == ATTENTION && told.contains("is a group of 2, all of which would fail; nothing was changed"),
        "{told}"
    );
    assert_eq!(give_up(true).await.0, OK);
    assert_eq!(world.get(&app, group.id.as_str()).await.status, Status::Failed);
}

#[tokio::test]
async fn http_asks_who_cancels_a_group_whether_all_members_are_meant() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (ids, group) = running(&world, &app).await;
    let access = HttpAccess { on: true, signed_in: false, callback_hosts: CallbackHosts::data_factory() };
    let function = operations(app.clone(), access);
    let cancelled = async |id: &str, query: &str| {
        let url = format!("/api/operations/{id}/cancel?reason=x{query}");
        let request = HttpRequest { url, method: "POST".to_owned(), ..HttpRequest::default() };
        let answer = function.clone().oneshot(LambdaEvent::new(request, Context::default())).await.unwrap();
        (answer.status_code, answer.body)
    };
    let id = group.id.as_str();
    for query in ["", "&yes=false"] {
        let (status, body) = cancelled(id, query).await;
        assert!(
            status == 409 && body.contains("ManyScorings") && body.contains("`yes=true` to cancel all of them"),
            "{body}"
        );
    }
    assert_eq!(cancelled(id, "&yes=perhaps").await.0, 400);
    assert_eq!(world.get(&app, id).await.version, group.version);
    assert_eq!(cancelled(&ids[0], "").await.0, 202, "one member is one scoring");
    assert_eq!(cancelled(id, "&yes=true").await.0, 202);
    assert!(world.get(&app, id).await.stop_ordered);
    assert_eq!(cancelled(id, "").await.0, 202, "what is so already is asked of nobody");
}

#[tokio::test]
async fn show_and_page_tell_what_became_of_each_member_of_a_halved_group() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (ids, whole) = halved(&world, &app).await;
    let halves = [whole.id.half(0), whole.id.half(1)];
    let ends = [
        format!("claims/eu/a.csv  scored in group {} (copied)", halves[0]),
        format!("claims/eu/b.csv  failed in group {} (copied)", halves[1]),
    ];
    let told = shown(&world, &app, whole.id.as_str()).await;
    assert!(told.contains("failed: a group whose job failed, perhaps by one of its files"), "{told}");
    assert!(told.contains("  members  2: 1 scored, 1 failed\n"), "{told}");
    for (id, end) in ids.iter().zip(&ends) {
        assert!(told.contains(&format!("    {id}  {end}\n")), "{end}: {told}");
    }
    assert!(!told.contains("  remedy") && !told.contains("  etag") && told.contains("  folder   https://"), "{told}");
    let (_, _, html) = page(&app, &world, &format!("/scorings/{}", whole.id)).await;
    for end in ends {
        let (path, became) = end.split_once("  ").unwrap();
        assert!(
            html.contains(&format!("<td class=\"name\">{path}</td><td class=\"name\">{became}</td>")),
            "{end}: {html}"
        );
    }
    let (_, _, json) = page(&app, &world, &format!("/api/scorings/{}", whole.id)).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    let expected = json!({"id": ids[1], "path": "claims/eu/b.csv", "state": "copied", "status": "failed", "otherGroup": halves[1]});
    assert_eq!(json["groupMembers"][1], expected);
}

#[tokio::test]
async fn a_failed_member_tells_the_job_and_attempt_of_its_group() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (ids, whole) = halved(&world, &app).await;
    let half = world.get(&app, whole.id.half(1).as_str()).await;
    let name = &half.job.as_ref().unwrap().name;
    let job =
        format!("{} (failed, attempt 1, job {name} (Failed), a half of group {}, which failed)", half.id, whole.id);
    let told = shown(&world, &app, &ids[1]).await;
    assert!(told.contains(&format!("  group    {job}\n")), "{job}: {told}");
    let told = explained(&world, &app, &ids[1]).await;
    assert!(told.contains(&format!("    group      {job}\n")), "{job}: {told}");
    assert!(told.contains("Then scorekeeper retry\n"), "{told}");
    let told = shown(&world, &app, half.id.as_str()).await;
    assert!(
        told.contains(&format!("Then scorekeeper retry --group {}\n", half.id)),
        "what a group refuses helps nobody: {told}"
    );
    let (_, _, html) = page(&app, &world, &format!("/scorings/{}", ids[1])).await;
    assert!(html.contains("(failed, attempt 1, job "), "{html}");
}

#[tokio::test]
async fn a_group_is_explained_by_when_it_was_made_of_whom_and_its_halves() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (_, whole) = halved(&world, &app).await;
    let (id, halves) = (&whole.id, [whole.id.half(0), whole.id.half(1)]);
    let told = explained(&world, &app, id.as_str()).await;
    for part in [
        format!("  group {id}: failed under rule claims since "),
        "    made       at 2026-07-21 10:06:02 UTC by a reconcile run: a group of 2 members: the first of them has waited as long as it may (group.maxWait)\n".to_owned(),
        "    members    2: 1 scored, 1 failed (not scored: claims/eu/b.csv)\n".to_owned(),
        format!("    halves     {}, {}\n", halves[0], halves[1]),
        format!("    next       scorekeeper list --group {id}\n"),
    ] {
        assert!(told.contains(&part), "{part}: {told}");
    }
    assert!(!told.contains("No event was ever received") && !told.contains("    event"), "{told}");
    let told = explained(&world, &app, halves[1].as_str()).await;
    assert!(told.contains(&format!("by a reconcile run: half of group {id}, which failed: 1 member\n")), "{told}");
    assert!(told.contains(&format!("scorekeeper retry --group {} --reason", halves[1])), "a half of one file: {told}");
}

#[tokio::test]
async fn one_that_waits_for_others_says_for_whom_and_until_when() {
    for (group, waits) in [
        (
            json!({"by": "marker", "maxFiles": 9}),
            "others of its folder https://uploads.blob.core.windows.net/claims/eu: a reconcile run, one comes each minute, makes a group of them once https://uploads.blob.core.windows.net/claims/eu/_SUCCESS lies there, once they are 9 files, or all that there is by 2026-07-22 10:00:00 UTC (`group.maxWait`)",
        ),
        (
            json!({"by": "time", "maxWait": "PT10M"}),
            "others of its rule: a reconcile run, one comes each minute, makes a group of them once they are 100 files, or all that there is by 2026-07-21 10:10:00 UTC (`group.maxWait`)",
        ),
    ] {
        let world = world(&group);
        let app = world.app();
        let id = world.deliver(&app, &event("eu/a.csv", "1")).await.remove(0);
        let before = explained(&world, &app, &id).await;
        assert!(before.contains("no reconcile run has told yet how its rule groups"), "{before}");
        tick(&world, &app).await;
        for told in [explained(&world, &app, &id).await, shown(&world, &app, &id).await] {
            assert!(told.contains(waits), "{waits}: {told}");
            let contradicts = told.contains("back-off") || told.contains("the next reconcile run submits it");
            assert!(!contradicts && told.contains("waits for others, with which one job scores it"), "{told}");
        }
    }
}

#[tokio::test]
async fn members_of_a_group_are_listed_exported_and_acknowledged_by_it() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (ids, whole) = halved(&world, &app).await;
    world.deliver(&app, &event("eu/other.csv", "1")).await;
    let listed = async |status: &[Status], limit| {
        let args = ListArgs { further: members_of(&whole), json: JsonArgs::ALL, limit, ..args(status) };
        let (_, told) = text(async |out| list::list(app.ledger(), &args, world.now(), out).await).await;
        let told: Value = serde_json::from_str(&told).unwrap();
        let ids: Vec<_> = told.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        ids
    };
    let mut all = listed(&[], 100).await;
    all.sort();
    let mut expected = ids.clone();
    expected.sort();
    assert_eq!(all, expected);
    assert_eq!(listed(&[], 1).await.len(), 1, "no more than are asked for");
    assert_eq!(listed(&[Status::Failed], 100).await, [ids[1].as_str()]);
    let args = ExportArgs {
        which: HERE,
        status: vec![Status::Failed],
        rule: None,
        prefix: None,
        since: None,
        further: members_of(&whole),
        output: ExportFormat::Csv,
    };
    let (_, csv) = text(async |out| export::export(app.ledger(), &args, world.now(), out).await).await;
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].ends_with(",group,alone") && lines[1].ends_with(&format!(",{},", whole.id.half(1))), "{csv}");
    let (code, told) =
        ordered(&world, &app, Verb::Acknowledge, &OrderArgs { further: members_of(&whole), ..of(&[], true) }).await;
    assert!(code == OK && told.starts_with(&ids[1]) && told.lines().count() == 1, "{told}");
    let (_, _, html) = page(&app, &world, &format!("/?q=group:{}", whole.id)).await;
    assert!(html.contains("eu/a.csv") && html.contains("eu/b.csv") && !html.contains("eu/other.csv"), "{html}");
}

#[tokio::test]
async fn the_page_offers_of_a_group_and_of_a_finding_what_these_take() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (ids, whole) = halved(&world, &app).await;
    let site = site(&app, world.now(), HERE, Some("ann"));
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let offers = async |path: &str| -> Vec<String> {
        let (_, _, html) = answer(&site, get(path)).await;
        let buttons = html.split("name=\"verb\" value=\"").skip(1);
        buttons.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    assert_eq!(offers(&format!("/scorings/{}", whole.id)).await, Vec::<String>::new());
    assert_eq!(offers(&format!("/scorings/{}", ids[1])).await, ["retry", "ack"], "rescore is of what is scored");
    assert_eq!(offers(&format!("/scorings/{}", ids[0])).await, ["rescore"]);
    let (_, _, html) = answer(&site, get(&format!("/scorings/{}", whole.id))).await;
    assert!(html.contains(&format!("./?q=group:{}", whole.id)), "{html}");
    app.accept(&json!([{"x": 1}])).await.unwrap().submit().await;
    let (_, _, html) = answer(&site, get("/")).await;
    let attention = html.split_once("id=\"attention\"").unwrap().1.split_once("</div>").unwrap().0;
    let (_, quarantined) = attention.split_once("quarantined in the last 24 h").unwrap();
    let quarantined = quarantined.split("</li>").next().unwrap();
    assert!(quarantined.contains("value=\"ack\"") && !quarantined.contains("value=\"retry\""), "{quarantined}");
}

/// While somebody looks, the page is drawn every few seconds: a thousand members would be a thousand reads each time.
#[tokio::test]
async fn the_page_of_a_large_group_shows_the_first_members_and_show_all() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (_, mut group) = running(&world, &app).await;
    group.id = ScoringId::read(&"a".repeat(32)).unwrap();
    let members = (0..101).map(|n| ScoringId::read(&format!("{n:032x}")).unwrap());
    group.grouping = Some(Box::new(Grouping::Group(Group::sealed(members, None))));
    let entry = group.accepted_entry("a test".to_owned());
    app.ledger().accept(&group, &[entry], &app::ledger::Announced::default()).await.unwrap();
    let (last, path) = (format!("{:032x}", 100), format!("/scorings/{}", group.id));
    let (_, _, html) = page(&app, &world, &path).await;
    assert!(html.contains("The first 100 members") && html.contains("1 that were not looked at"), "{html}");
    assert!(!html.contains(&format!("scorings/{last}")), "{html}");
    let (_, _, json) = page(&app, &world, &format!("/api{path}")).await;
    assert!(json.contains(&last), "{json}");
    assert!(shown(&world, &app, group.id.as_str()).await.contains("  members  101: 101 no longer in the ledger\n"));
}
