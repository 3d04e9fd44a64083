//! What operators order of scorings, blobs and quarantined events.

use app::App;
use handler::cli::json::JsonArgs;
use handler::cli::list::{Instead, ListArgs};
use handler::cli::on_ledger::{ATTENTION, OK};
use handler::cli::order::{Doing, OrderArgs};
use handler::cli::replay::ReplayArgs;
use handler::cli::resolve::{ResolutionArgs, ResolveArgs};
use handler::cli::{explain, list, order, replay, resolve, show, status};
use handler::config::{Log, LogFormat};
use handler::telemetry;
use lifecycle::{Resolution, Status, Verb};
use serde_json::{Value, json};
use time::Duration;

use super::{HERE, args, populate, text, without_ids};
use crate::support::world::{Fault, RULE, START, World, event};

async fn ordered(app: &App, world: &World, verb: Verb, args: &OrderArgs) -> (u8, String) {
    text(async |out| order::order(app.ledger(), verb, args, "ann", world.now(), out).await).await
}

#[tokio::test]
async fn a_skipped_blob_is_replayed_from_the_ledger_and_a_scored_one_is_rescored() {
    let world = World::new();
    let app = populate(&world).await;
    let replay = async |args: ReplayArgs| {
        text(async |out| replay::replay(app.ledger(), &args, "ann", world.now(), out).await).await
    };
    let reason = Some("the rule is fixed".to_owned());
    let named =
        |name: &str| ReplayArgs { blobs: vec![name.to_owned()], reason: reason.clone(), ..ReplayArgs::default() };
    let dry = ReplayArgs { skipped: true, dry_run: true, ..ReplayArgs::default() };
    let url = "https://uploads.blob.core.windows.net/photos/a.jpg";
    assert_eq!(replay(dry).await, (OK, format!("{url}\n1 would be replayed; nothing was changed.\n")));
    let (code, told) = replay(named("photos/a.jpg")).await;
    assert!(code == OK && told.starts_with(&format!("{url}  is looked at by the next reconcile run\n")), "{told}");
    let pending = ListArgs { instead: Instead { pending: true, ..Instead::default() }, ..args(&[]) };
    let (_, told) = text(async |out| list::list(app.ledger(), &pending, START, out).await).await;
    assert!(told.contains("replayed by ann (the rule is fixed): the next reconcile run does it"), "{told}");
    for (args, why) in [
        (named("photos/unknown.jpg"), "name it by its URL"),
        (ReplayArgs { reason: Some(" ".to_owned()), ..named(url) }, "--reason is empty"),
        (
            ReplayArgs {
                skipped: true,
                rule: Some("other".to_owned()),
                reason: reason.clone(),
                ..ReplayArgs::default()
            },
            "No skipped event matches",
        ),
    ] {
        let (code, told) = replay(args).await;
        assert!(code == ATTENTION && told.contains(why), "{told}");
    }
    let scored = OrderArgs { status: vec![Status::Scored], reason, ..OrderArgs::default() };
    let (code, told) =
        text(async |out| order::order(app.ledger(), Doing::Rescore, &scored, "ann", world.now(), out).await).await;
    assert!(
        code == OK && told.ends_with("  is scored once more with the next reconcile run, as another generation\n"),
        "{told}"
    );
    let queued = OrderArgs { status: vec![Status::Running], dry_run: true, ..OrderArgs::default() };
    let (code, told) =
        text(async |out| order::order(app.ledger(), Doing::Rescore, &queued, "ann", world.now(), out).await).await;
    assert!(code == ATTENTION && told.contains("only what is scored can be scored again"), "{told}");
}

#[tokio::test]
async fn what_is_held_needs_attention_and_a_person_resolves_it() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.blind(Some("403; the app's identity needs workspaces/jobs/read"));
    for _ in 0..4 {
        world.later(Duration::minutes(10));
        app.tick(world.now() + Duration::minutes(1)).await.unwrap();
    }
    let (code, status) =
        text(async |out| status::status(app.ledger(), &HERE, &JsonArgs::TEXT, None, world.now(), out).await).await;
    assert_eq!(code, ATTENTION);
    assert!(
        status.contains("1 held, the answer lost and the job not found (")
            && status.contains(": scorekeeper list --status held"),
        "{status}"
    );
    let said = async |id: &str, resolution| {
        let said = match resolution {
            Resolution::GiveUp => ResolutionArgs { give_up: true, send_again: false, job: None },
            _ => ResolutionArgs { give_up: false, send_again: true, job: None },
        };
        let args =
            ResolveArgs { which: HERE, id: id.to_owned(), said, yes: false, reason: "no job in the studio".to_owned() };
        text(async |out| resolve::resolve(app.ledger(), &args, "ann@contoso.com", world.now(), out).await).await
    };
    let (code, answer) = said("not-an-id", Resolution::GiveUp).await;
    assert!(code == ATTENTION && answer.contains("There is no scoring `not-an-id`, nor one of a blob"), "{answer}");
    let (code, answer) = said(&"0".repeat(32), Resolution::GiveUp).await;
    assert!(code == ATTENTION && answer.contains("There is no scoring `0000"), "{answer}");
    let (code, answer) = said(&ids[0][..12], Resolution::SendAgain).await;
    assert_eq!((code, answer), (OK, format!("{} is queued now; the next reconcile run continues with it.\n", ids[0])));
    let (code, answer) = said(&ids[0], Resolution::SendAgain).await;
    assert!(code == ATTENTION && answer.starts_with("Nothing was changed: only a held scoring"), "{answer}");
    world.blind(None);
    world.tick_until_final(&app, 5).await;
    let (_, trace) =
        text(async |out| show::show(app.ledger(), &HERE, &ids[0], &JsonArgs::TEXT, START, out).await).await;
    assert!(
        trace.contains("held → queued      resolved by ann@contoso.com (no job in the studio): no job exists"),
        "{trace}"
    );
}

#[tokio::test]
async fn what_failed_is_retried_or_acknowledged_by_id_or_filter_with_a_count_to_confirm() {
    let world = World::new();
    let app = world.app();
    let mut ids = Vec::new();
    for n in 0..3 {
        world.next_faults([Fault::Refused { permanent: true }]);
        ids.extend(world.deliver(&app, &event(&format!("{n}.csv"), "1")).await);
        world.later(Duration::SECOND);
    }
    let reason = || "the model is fixed".to_owned();
    let all = OrderArgs { status: vec![Status::Failed], reason: Some(reason()), ..OrderArgs::default() };
    let (code, asked) = ordered(&app, &world, Verb::Retry, &all).await;
    assert_eq!(code, ATTENTION);
    assert!(asked.ends_with("3 are to be retried; nothing was changed; to do it, add --yes.\n"), "{asked}");
    let dry = OrderArgs { dry_run: true, ..all.clone() };
    let (code, told) = ordered(&app, &world, Verb::Retry, &dry).await;
    assert!(code == OK && told.ends_with("3 would be retried; nothing was changed.\n"), "{told}");
    assert_eq!(world.statuses(&app).await[&Status::Failed], 3);

    let one = OrderArgs { ids: vec![ids[0][..12].to_owned()], reason: Some(reason()), ..OrderArgs::default() };
    let (code, told) = ordered(&app, &world, Verb::Acknowledge, &one).await;
    assert_eq!((code, told), (OK, format!("{}  acknowledged; it is failed now\n", ids[0])));
    let (code, told) = ordered(&app, &world, Verb::Acknowledge, &one).await;
    assert!(code == ATTENTION && told.contains("left alone"), "{told}");
    let (_, told) = ordered(&app, &world, Verb::Acknowledge, &OrderArgs { yes: true, ..all.clone() }).await;
    assert!(told.ends_with("2 acknowledged, 0 left alone; the next reconcile run goes on.\n"), "{told}");
    let (code, told) =
        ordered(&app, &world, Verb::Retry, &OrderArgs { yes: true, json: JsonArgs::ALL, ..all.clone() }).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, told.as_array().map(Vec::len), &told[0]["status"]), (OK, Some(3), &json!("queued")));
    let (_, shown) =
        text(async |out| show::show(app.ledger(), &HERE, &ids[0], &JsonArgs::TEXT, START, out).await).await;
    assert!(shown.contains("acknowledged by ann (the model is fixed)"), "{shown}");
    assert!(shown.contains("retried by ann (the model is fixed)"), "{shown}");

    for (args, why) in [
        (OrderArgs { reason: Some(" ".to_owned()), ..all.clone() }, "--reason is empty"),
        (OrderArgs { reason: Some(reason()), ..OrderArgs::default() }, "Name what is to be retried"),
        (
            OrderArgs { ids: vec!["x".to_owned()], reason: Some(reason()), ..OrderArgs::default() },
            "There is no scoring `x`, nor one of a blob",
        ),
        (
            OrderArgs { ids: vec!["0".repeat(32)], reason: Some(reason()), ..OrderArgs::default() },
            "There is no scoring",
        ),
        (OrderArgs { prefix: Some("nothing".to_owned()), ..all }, "No scoring matches"),
    ] {
        let (code, told) = ordered(&app, &world, Verb::Retry, &args).await;
        assert!(code == ATTENTION && told.contains(why), "{told}");
    }
}

#[tokio::test]
async fn an_order_by_a_finding_is_of_exactly_those_that_it_names() {
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1"));
    let app = world.app();
    for n in 0..3 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
    }
    let path = world.jobs()[0].path.clone();
    world.fail_job_of(&path, "ValueError: column age is missing");
    world.fail_jobs("OutOfMemory: the container was killed");
    world.later(Duration::minutes(2));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let report = app::reports::status(app.ledger(), world.now(), None).await.unwrap();
    let failed: Vec<_> = report.findings.iter().filter(|of| of.kind == app::reports::FindingKind::Failed).collect();
    assert_eq!(failed.iter().map(|finding| finding.count).collect::<Vec<_>>(), [2, 1], "{failed:?}");
    let id = failed[0].id.clone().unwrap();
    let retry = format!("scorekeeper retry --finding {id} --reason … --yes");
    assert_eq!(failed[0].next, format!("{retry}, or {}", retry.replace("retry", "ack")));
    assert!(!failed[1].next.contains("--yes"), "one is not asked for twice: {}", failed[1].next);
    let args =
        OrderArgs { finding: Some(id), reason: Some("more memory".to_owned()), yes: true, ..OrderArgs::default() };
    let (code, told) = ordered(&app, &world, Verb::Retry, &args).await;
    assert!(code == OK && told.ends_with("2 retried, 0 left alone; the next reconcile run goes on.\n"), "{told}");
    assert_eq!(world.statuses(&app).await[&Status::Failed], 1);
}

#[tokio::test]
async fn a_dry_run_says_of_each_what_would_be_done_and_needs_no_reason() {
    let world = World::new();
    let app = populate(&world).await;
    let dry = OrderArgs { prefix: Some("claims/".to_owned()), dry_run: true, ..OrderArgs::default() };
    let all = OrderArgs { status: Status::ALL.to_vec(), ..dry.clone() };
    let (code, told) = ordered(&app, &world, Verb::Cancel, &all).await;
    let golden = "\
ID3  running     claims/eu/ü <c>.csv
ID2  left alone: whether its request made a job is being found out; cancel it once it runs or is held
ID1  left alone: scored is final
1 would be cancelled, 2 left alone; nothing was changed.
";
    let short: String = without_ids(&told).replace("                             ", "");
    assert_eq!((code, short.as_str()), (ATTENTION, golden));
    let (code, none) = ordered(&app, &world, Verb::Release, &all).await;
    assert_eq!((code, none.as_str()), (ATTENTION, "No scoring matches the filter; nothing was changed.\n"));
}

#[tokio::test]
async fn a_quarantined_event_is_acknowledged_by_its_id() {
    let world = World::new();
    let app = populate(&world).await;
    let quarantined = ListArgs { instead: Instead { quarantined: true, ..Instead::default() }, ..args(&[]) };
    let (_, list) = text(async |out| list::list(app.ledger(), &quarantined, world.now(), out).await).await;
    let id = list.lines().nth(1).unwrap()[..32].to_owned();
    let one = OrderArgs { ids: vec![id], reason: Some("a test event".to_owned()), ..OrderArgs::default() };
    let (code, told) = ordered(&app, &world, Verb::Acknowledge, &one).await;
    assert!(code == OK && told.contains("quarantined"), "{told}");
    let (code, status) =
        text(async |out| status::status(app.ledger(), &HERE, &JsonArgs::TEXT, None, world.now(), out).await).await;
    assert!(code == OK && status.ends_with("Nothing needs attention.\n"), "{status}");
}

/// The id in the log is what `list --quarantined` and `ack` know it by.
#[tokio::test]
async fn the_log_names_a_quarantined_event_by_its_id() {
    use tracing::instrument::WithSubscriber as _;
    let log = tempfile::NamedTempFile::new().unwrap();
    let settings = Log { filter: "info".parse().unwrap(), format: LogFormat::Text };
    let world = World::new();
    let app = populate(&world).with_subscriber(telemetry::subscriber(&settings, log.reopen().unwrap())).await;
    let quarantined = app.ledger().quarantined(START, 10).await.unwrap();
    let said = std::fs::read_to_string(log.path()).unwrap();
    let line = said.lines().find(|line| line.contains("event quarantined")).unwrap();
    assert!(line.contains(&quarantined[0].key), "{line}");
}

#[tokio::test]
async fn an_acknowledged_quarantined_event_stays_so_when_redelivered_and_is_shown_by_id() {
    let world = World::new();
    let app = populate(&world).await;
    let report = async || app::reports::status(app.ledger(), world.now(), None).await.unwrap().findings;
    let finding = report().await.into_iter().find(|finding| finding.kind == app::reports::FindingKind::Quarantined);
    let finding = finding.expect("it needs attention");
    let (key, id) = (finding.of[0].clone(), finding.id.clone().unwrap());
    assert_eq!(finding.next, format!("scorekeeper list --quarantined, then scorekeeper ack --finding {id} --reason …"));
    for shown in [false, true] {
        let wanted = &key;
        let (code, told) = if shown {
            text(async |out| show::show(app.ledger(), &HERE, wanted, &JsonArgs::TEXT, START, out).await).await
        } else {
            text(async |out| explain::explain(app.ledger(), &HERE, wanted, &JsonArgs::TEXT, START, out).await).await
        };
        assert!(code == OK && told.contains("quarantined at") && told.contains("\"x\":1"), "{told}");
    }
    let of_it = |verb| {
        let args = OrderArgs { ids: vec![key.clone()], reason: Some("a test".to_owned()), ..OrderArgs::default() };
        let (app, world) = (&app, &world);
        async move { ordered(app, world, verb, &args).await }
    };
    let (code, told) = of_it(Verb::Retry).await;
    assert!(code == ATTENTION && told.contains("left alone: it is a quarantined event"), "{told}");
    let dry = OrderArgs { ids: vec![key.clone()], dry_run: true, ..OrderArgs::default() };
    let (code, told) = ordered(&app, &world, Verb::Acknowledge, &dry).await;
    assert_eq!((code, told), (OK, format!("{key}  quarantined  \n1 would be acknowledged; nothing was changed.\n")));
    let by_finding = OrderArgs { finding: Some(id.clone()), reason: Some("a test".to_owned()), ..OrderArgs::default() };
    let (code, told) = ordered(&app, &world, Verb::Acknowledge, &by_finding).await;
    assert_eq!((code, told), (OK, format!("{key}  acknowledged; it is quarantined now\n")));
    for _ in 0..3 {
        app.accept(&json!([{"x": 1}])).await.unwrap().submit().await;
        assert!(report().await.iter().all(|finding| finding.kind != app::reports::FindingKind::Quarantined));
        world.later(Duration::days(6));
    }
    let (code, told) = ordered(&app, &world, Verb::Acknowledge, &by_finding).await;
    assert!(code == ATTENTION && told.contains(&format!("There is no finding `{id}` any more")), "{told}");
}

/// An operator knows the file, not the id.
#[tokio::test]
async fn an_order_may_name_a_blob_of_one_scoring_and_is_told_of_all_where_it_has_several() {
    let two = RULE.replace("]}", ",{\"id\":\"other\",\"match\":{\"container\":\"claims\",\"suffix\":\".both\"},\"endpoint\":{\"uri\":\"https://heart.example/jobs\"}}]}");
    let world = World::with_rules(&two);
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: true }]);
    let one = world.deliver(&app, &event("eu/one.csv", "1")).await.remove(0);
    let both = world.deliver(&app, &event("eu/a.both", "1")).await;
    let named =
        |name: &str| OrderArgs { ids: vec![name.to_owned()], reason: Some("x".to_owned()), ..OrderArgs::default() };
    let url = "https://uploads.blob.core.windows.net/claims/eu/one.csv";
    for name in ["eu/one.csv", "claims/eu/one.csv", url] {
        let (_, told) =
            ordered(&app, &world, Verb::Retry, &OrderArgs { dry_run: true, reason: None, ..named(name) }).await;
        assert!(told.starts_with(&one) && told.contains("1 would be retried"), "{told}");
    }
    let (code, told) = ordered(&app, &world, Verb::Retry, &named(url)).await;
    assert_eq!((code, told), (OK, format!("{one}  retried; it is queued now\n")));
    assert_eq!(both.len(), 2, "each rule wants it");
    let (code, told) = ordered(&app, &world, Verb::Cancel, &named("claims/eu/a.both")).await;
    assert!(code == ATTENTION && told.starts_with("`claims/eu/a.both` has 2 scorings; nothing was changed."), "{told}");
    assert!(both.iter().all(|id| told.contains(id)) && told.contains("under rule other"), "{told}");
    let (code, told) = ordered(&app, &world, Verb::Cancel, &named("eu/never.csv")).await;
    assert!(code == ATTENTION && told.contains("nor one of a blob of that name"), "{told}");
}

/// By what `status` suggests, by a filter, and by the next command of `explain`; nothing else is ordered with them.
#[tokio::test]
async fn what_could_not_be_published_is_ordered_to_be_by_id_finding_or_filter() {
    let publish = r#"{"uri":"azureml://datastores/claims/paths/latest/{blob.path}","ifExists":"refuse"}"#;
    let output = r#""uri":"azureml://datastores/out/paths/{scoring.id}/{attempt}/p""#;
    let outputs = format!(r#""maxAttempts":2,"outputs":{{"score":{{"type":"UriFile",{output},"publish":{publish}}}}}"#);
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", &outputs));
    let app = world.app();
    let mut ids = Vec::new();
    for n in 0..3 {
        if n < 2 {
            let taken = format!("azureml://datastores/claims/paths/latest/{n}.csv");
            world.publications(|all| all.put_foreign(&taken, 3));
        }
        ids.extend(world.deliver(&app, &event(&format!("{n}.csv"), "1")).await);
    }
    world.tick_until_final(&app, 9).await;
    let reason = || Some("moved away".to_owned());
    let all = OrderArgs { rule: Some("claims".to_owned()), reason: reason(), ..OrderArgs::default() };
    let (code, asked) = ordered(&app, &world, Verb::Publish, &all).await;
    assert!(code == ATTENTION && asked.contains("2 are to be ordered to be published; nothing was changed"), "{asked}");
    let done = OrderArgs { ids: vec![ids[2].clone()], reason: reason(), ..OrderArgs::default() };
    let (code, told) = ordered(&app, &world, Verb::Publish, &done).await;
    assert!(code == ATTENTION && told.contains("left alone: there is nothing left to be published of it"), "{told}");
    let (_, explained) =
        text(async |out| explain::explain(app.ledger(), &HERE, &ids[0], &JsonArgs::TEXT, START, out).await).await;
    assert!(explained.contains(&format!("scorekeeper publish {} --reason …", ids[0])), "{explained}");
    let one = OrderArgs { ids: vec![ids[0].clone()], reason: reason(), ..OrderArgs::default() };
    let (code, told) = ordered(&app, &world, Verb::Publish, &one).await;
    assert_eq!((code, told), (OK, format!("{}  ordered to be published; it is verifying now\n", ids[0])));
    world.tick_until_final(&app, 9).await;
    let (code, told) = ordered(&app, &world, Verb::Publish, &OrderArgs { yes: true, ..all }).await;
    assert!(code == OK && told.contains("2 ordered to be published, 0 left alone"), "it lies there still: {told}");
}
