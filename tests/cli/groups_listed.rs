//! What lists, counts, findings and orders by a filter make of groups: a file is named once, and what counts as one is told as what it is.

use app::App;
use handler::cli::export::{ExportArgs, ExportFormat};
use handler::cli::filter::FurtherFilter;
use handler::cli::json::JsonArgs;
use handler::cli::limit::PauseArgs;
use handler::cli::list::ListArgs;
use handler::cli::on_ledger::{ATTENTION, OK};
use handler::cli::order::OrderArgs;
use handler::cli::{explain, export, limit, list, order, show, status};
use lifecycle::{Scoring, ScoringId, Status, Verb};
use serde_json::{Value, json};
use time::Duration;

use super::groups::{halved, of, running, tick, world};
use super::{HERE, args, text};
use crate::support::world::{World, event};

async fn listed(world: &World, app: &App, args: &ListArgs) -> (u8, String) {
    text(async |out| list::list(app.ledger(), args, world.now(), out).await).await
}

async fn stands(world: &World, app: &App, json: &JsonArgs) -> String {
    text(async |out| status::status(app.ledger(), &HERE, json, None, world.now(), out).await).await.1
}

async fn ordered(world: &World, app: &App, verb: Verb, args: &OrderArgs) -> (u8, String) {
    text(async |out| order::order(app.ledger(), verb, args, "ann", world.now(), out).await).await
}

fn of_rule(dry_run: bool) -> OrderArgs {
    OrderArgs { rule: Some("claims".to_owned()), dry_run, ..of(&[], !dry_run) }
}

/// Two files in a group whose job is put off, as its rule is paused.
async fn paused(world: &World, app: &App) -> (Vec<String>, Scoring) {
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let pause = PauseArgs { which: HERE, scope: Some("claims".to_owned()), all: false, reason: "a test".to_owned() };
    text(async |out| limit::pause(app.ledger(), true, &pause, "ann", world.now(), out).await).await;
    let mut ids = Vec::new();
    for path in ["eu/a.csv", "eu/b.csv"] {
        ids.extend(world.deliver(app, &event(path, "1")).await);
        world.later(Duration::SECOND);
    }
    world.later(Duration::minutes(4));
    tick(world, app).await;
    tick(world, app).await;
    let group = world.get(app, &ids[0]).await.member_of().unwrap().to_string();
    let group = world.get(app, &group).await;
    assert_eq!(group.status, Status::Queued);
    (ids, group)
}

#[tokio::test]
async fn findings_and_limits_tell_groups_as_groups() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (_, group) = paused(&world, &app).await;
    let told = stands(&world, &app, &JsonArgs::TEXT).await;
    assert!(told.contains("rule claims is paused, 1 group waits, since"), "{told}");
    assert!(told.contains("Limit       rule claims: paused (") && told.contains("), 1 group waits\n"), "{told}");
    // What waits for others is in nobody's way, and what comes behind a group comes behind one.
    let later = world.deliver(&app, &event("eu/later.csv", "1")).await.remove(0);
    world.later(Duration::minutes(6));
    world.deliver(&app, &event("eu/last.csv", "1")).await;
    tick(&world, &app).await;
    let later = world.get(&app, &later).await.member_of().unwrap().to_string();
    let (_, told) =
        text(async |out| explain::explain(app.ledger(), &HERE, &later, &JsonArgs::TEXT, world.now(), out).await).await;
    let before = format!("; 1 group is before it in the queue of its endpoint, {}", group.id);
    assert!(told.contains(&before), "{told}");
    let (code, told) = ordered(&world, &app, Verb::Hold, &of(&[group.id.as_str()], true)).await;
    assert_eq!(code, OK, "{told}");
    let other = world.deliver(&app, &event("eu/c.csv", "1")).await.remove(0);
    ordered(&world, &app, Verb::Hold, &of(&[&other], true)).await;
    let told = stands(&world, &app, &JsonArgs::TEXT).await;
    assert!(told.contains("  1 scoring and 1 group put on hold by ann"), "{told}");
}

#[tokio::test]
async fn lists_by_status_have_each_file_once_and_a_switch_lists_groups() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (_, group) = paused(&world, &app).await;
    let (_, told) = listed(&world, &app, &args(&[Status::Queued])).await;
    assert_eq!(told, "No scoring matches the filter.\n");
    let (_, told) = listed(&world, &app, &args(&[Status::Staging])).await;
    assert_eq!(told, "No scoring matches the filter; only groups are staging, which `list --groups` lists.\n");
    let groups = |status: &[Status]| ListArgs { groups: true, ..args(status) };
    for status in [&[][..], &[Status::Queued]] {
        let (code, told) = listed(&world, &app, &groups(status)).await;
        let row = told.lines().find(|line| line.starts_with(group.id.as_str())).unwrap_or_default();
        assert!(
            code == OK && told.lines().count() == 2 && row.contains("queued") && row.contains("a group of 2 members"),
            "{told}"
        );
    }
    let (_, told) = listed(&world, &app, &groups(&[Status::Running])).await;
    assert_eq!(told, "No group that has not ended matches the filter.\n");
    let json = ListArgs { json: JsonArgs::ALL, ..groups(&[]) };
    let told: Value = serde_json::from_str(&listed(&world, &app, &json).await.1).unwrap();
    assert_eq!((&told[0]["id"], &told[0]["members"], told.as_array().unwrap().len()), (&json!(group.id), &json!(2), 1));
}

#[tokio::test]
async fn an_order_by_a_filter_names_each_file_once() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (ids, _) = paused(&world, &app).await;
    let (code, told) = ordered(&world, &app, Verb::Cancel, &of_rule(true)).await;
    assert!(code == OK && told.ends_with("2 would be cancelled; nothing was changed.\n"), "{told}");
    assert!(ids.iter().all(|id| told.contains(id.as_str())) && told.lines().count() == 3, "{told}");
    for verb in [Verb::Hold, Verb::Skip] {
        let both = OrderArgs { status: vec![Status::Queued, Status::Grouped], ..of_rule(true) };
        let (_, told) = ordered(&world, &app, verb, &both).await;
        assert!(told.contains("\n1 group with its 2 members would be ") && told.lines().count() == 2, "{told}");
    }
    let (code, told) = ordered(&world, &app, Verb::Cancel, &of_rule(false)).await;
    assert!(code == OK && told.contains("2 cancelled, 0 left alone"), "{told}");
}

#[tokio::test]
async fn a_group_is_named_by_an_unambiguous_beginning_of_its_id() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (ids, mut group) = running(&world, &app).await;
    let beginning = |text: &str| FurtherFilter { group: Some(text.parse().unwrap()), ..FurtherFilter::default() };
    // As long as it takes to tell it from its members.
    let short =
        (1..32).map(|digits| &group.id.as_str()[..digits]).find(|short| !ids.iter().any(|id| id.starts_with(short)));
    let by_beginning = ListArgs { further: beginning(short.unwrap()), ..args(&[]) };
    let (_, told) = listed(&world, &app, &by_beginning).await;
    assert!(ids.iter().all(|id| told.contains(id.as_str())), "{told}");
    for digit in ["e", "f"] {
        group.id = ScoringId::read(&format!("abcd{}", digit.repeat(28))).unwrap();
        let entry = group.accepted_entry("a test".to_owned());
        app.ledger().accept(&group, &[entry], &app::ledger::Announced::default()).await.unwrap();
    }
    let several = "2 groups match `abcd`; name one of them:\n  abcdeeeeeeeeeeeeeeeeeeeeeeeeeeee  running     a group of 2 members\n  abcdffffffffffffffffffffffffffff  running     a group of 2 members\n";
    let ambiguous = ListArgs { further: beginning("abcd"), ..args(&[]) };
    assert_eq!(listed(&world, &app, &ambiguous).await, (ATTENTION, several.to_owned()));
    let cancelled = OrderArgs { further: beginning("abcd"), ..of(&[], true) };
    assert_eq!(ordered(&world, &app, Verb::Cancel, &cancelled).await, (ATTENTION, several.to_owned()));
    assert!("ABC".parse::<app::reports::IdBeginning>().is_err() && "".parse::<app::reports::IdBeginning>().is_err());
}

#[tokio::test]
async fn why_a_file_is_in_no_group_or_in_another_one_is_explained_and_exported() {
    let world = world(&json!({"by": "time"}));
    let app = world.app();
    let (ids, whole) = halved(&world, &app).await;
    let alone = world.deliver(&app, &event("eu/alone.csv", "1")).await.remove(0);
    ordered(&world, &app, Verb::Expedite, &of(&[&alone], false)).await;
    let json = JsonArgs::TEXT;
    let explained = async |id: &str| {
        text(async |out| explain::explain(app.ledger(), &HERE, id, &json, world.now(), out).await).await.1
    };
    let told = explained(&alone).await;
    assert!(told.contains("    alone      an operator wants it first\n"), "{told}");
    let (_, told) = text(async |out| show::show(app.ledger(), &HERE, &alone, &json, world.now(), out).await).await;
    assert!(told.contains("  alone    an operator wants it first\n"), "{told}");
    let told = explained(&ids[1]).await;
    assert!(told.contains(&format!(", a half of group {}, which failed)\n", whole.id)), "{told}");
    let export = ExportArgs {
        which: HERE,
        status: Vec::new(),
        rule: None,
        prefix: None,
        since: None,
        further: FurtherFilter::default(),
        output: ExportFormat::Csv,
    };
    let (_, csv) = text(async |out| export::export(app.ledger(), &export, world.now(), out).await).await;
    let row = csv.lines().find(|line| line.starts_with(&alone)).unwrap();
    assert!(
        csv.lines().next().unwrap().ends_with(",group,alone") && row.ends_with(",,an operator wants it first"),
        "{csv}"
    );
}

#[tokio::test]
async fn status_tells_those_that_wait_for_others_from_those_that_wait_for_their_turn() {
    let world = world(&json!({"by": "marker", "maxWait": "P7D"}));
    let app = world.app();
    tick(&world, &app).await;
    world.deliver(&app, &event("eu/a.csv", "1")).await;
    let told = stands(&world, &app, &JsonArgs::TEXT).await;
    assert!(
        told.contains("Queued      1 waits for others, with which one job scores them, and 0 for their turn\n"),
        "{told}"
    );
    let told: Value = serde_json::from_str(&stands(&world, &app, &JsonArgs::ALL).await).unwrap();
    assert_eq!((&told["waitForOthers"], &told["counts"]["queued"]), (&json!(1), &json!(1)));
    // Its rule lets it wait for so long.
    world.later(Duration::days(6));
    tick(&world, &app).await;
    let told = stands(&world, &app, &JsonArgs::TEXT).await;
    assert!(told.contains("Nothing needs attention."), "{told}");
}
