//! What people see: the CLI's transcripts, its JSON and exit codes, and the pages. Golden where the text is ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use app::App;
use app::ledger::{Place, rows};
use app::ports::table_store::{Entity, IfMatch, Key, Op, TableStore as _};
use axum::body::to_bytes;
use axum::http::{Request, StatusCode};
use handler::cli::breaker::{self, Action, BreakerArgs};
use handler::cli::export::{self, ExportArgs, ExportFormat};
use handler::cli::format::Format;
use handler::cli::limit::{self, LimitArgs, NewLimit, PauseArgs};
use handler::cli::list::{self, Instead, ListArgs};
use handler::cli::on_ledger::{self, ATTENTION, OK};
use handler::cli::order::{self, Doing, OrderArgs};
use handler::cli::replay::{self, ReplayArgs};
use handler::cli::wait::{self, WaitArgs};
use handler::cli::{explain, resolve, show, status};
use handler::config::{Log, LogFormat, WhichLedger};
use handler::page;
use handler::redacting::Redacting;
use handler::telemetry;
use lifecycle::{JobStatus, Resolution, ScoringId, Status, Verb};
use serde_json::{Value, json};
use stores::embedded::EmbeddedStore;
use time::Duration;
use tower::ServiceExt as _;

use crate::support::functions_host::SCOREKEEPER;
use crate::support::process::Process;
use crate::support::world::{Fault, RULE, START, World, event};

/// No option names the ledger.
const HERE: WhichLedger = WhichLedger { ledger: None, data: None, task_hub: None };

/// One scored, one whose answer was lost, one that runs, one skipped event and one that cannot be read.
async fn populate(world: &World) -> App {
    let app = world.app();
    world.deliver(&app, &event("eu/a.csv", "1")).await;
    world.tick_until_final(&app, 3).await;
    world.next_faults([Fault::LostRequest]);
    world.deliver(&app, &event("eu/b.csv", "1")).await;
    world.later(Duration::seconds(30));
    world.deliver(&app, &event("eu/ü <c>.csv", "1")).await;
    let mut other = event("a.csv", "1");
    other["data"]["url"] = json!("https://uploads.blob.core.windows.net/photos/a.jpg");
    other["subject"] = json!(null);
    app.accept(&json!([other, {"x": 1}])).await.unwrap().submit().await;
    app
}

async fn text(command: impl AsyncFnOnce(&mut dyn std::io::Write) -> Result<u8, on_ledger::Error>) -> (u8, String) {
    let mut out: Vec<u8> = Vec::new();
    let code = command(&mut out).await.unwrap();
    (code, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn list_shows_the_newest_first_and_filters() {
    let world = World::new();
    let app = populate(&world).await;
    let (code, list) = text(async |out| list::list(app.ledger(), &args(&[]), START, out).await).await;
    assert_eq!(code, OK);
    let golden = "\
ID                                STATUS      BLOB                                      ATTEMPT  CREATED (UTC)        JOB
ID3                               running     claims/eu/ü <c>.csv                             1  2026-07-21 10:02:30  job-2
ID2                               unknown     claims/eu/b.csv                                 1  2026-07-21 10:02:00  -
ID1                               scored      claims/eu/a.csv                                 1  2026-07-21 10:00:00  job-1
";
    assert_eq!(without_ids(&list), golden);
    let (_, scored) = text(async |out| list::list(app.ledger(), &args(&[Status::Scored]), START, out).await).await;
    assert_eq!(scored.lines().count(), 2);
    let (_, none) = text(async |out| list::list(app.ledger(), &args(&[Status::Failed]), START, out).await).await;
    assert_eq!(none, "No scoring matches the filter.\n");
    let limited = ListArgs { limit: 1, ..args(&[]) };
    let (_, one) = text(async |out| list::list(app.ledger(), &limited, START, out).await).await;
    assert!(one.contains("ü <c>.csv"), "{one}");
    let cursor = one.split("--after ").nth(1).and_then(|rest| rest.split(')').next()).expect("a cursor");
    let rest = ListArgs { after: Some(Place::read(cursor).unwrap()), ..args(&[]) };
    let (_, rest) = text(async |out| list::list(app.ledger(), &rest, START, out).await).await;
    assert_eq!(rest.lines().count(), 3, "the two before it: {rest}");
}

fn args(status: &[Status]) -> ListArgs {
    ListArgs {
        which: WhichLedger::default(),
        status: status.to_vec(),
        rule: None,
        limit: 100,
        instead: Instead::default(),
        prefix: None,
        since: None,
        after: None,
        finding: None,
        output: Format::Table,
        json: false,
    }
}

/// Ids are hashes; in golden texts they are numbered from the last line up, and padded as they were.
fn without_ids(text: &str) -> String {
    let count = text.lines().filter(|line| is_id(line)).count();
    let mut next = count + 1;
    let lines = text.lines().map(|line| {
        if is_id(line) {
            next -= 1;
            format!("{:32}{}\n", format!("ID{next}"), &line[32..])
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

fn is_id(line: &str) -> bool {
    line.get(..32).is_some_and(|id| lifecycle::ScoringId::read(id).is_some())
}

#[tokio::test]
async fn what_turns_the_direction_of_writing_is_shown_and_stays_itself_in_json() {
    let world = World::new();
    let app = world.app();
    let id = world.deliver(&app, &event("eu/a\u{202e}gpj.csv", "1")).await.remove(0);
    let (_, list) = text(async |out| list::list(app.ledger(), &args(&[]), START, out).await).await;
    let (_, shown) = text(async |out| show::show(app.ledger(), &HERE, &id, false, START, out).await).await;
    assert!(!list.contains('\u{202e}') && !shown.contains('\u{202e}'), "{list:?} {shown:?}");
    assert!(list.contains(r"a\u202egpj.csv"), "{list}");
    let mut json = Vec::new();
    let all = ListArgs { json: true, ..args(&[]) };
    list::list(app.ledger(), &all, START, &mut Redacting::new(&mut json)).await.unwrap();
    assert!(!String::from_utf8_lossy(&json).contains('\u{202e}'));
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json[0]["path"], "claims/eu/a\u{202e}gpj.csv");
}

#[tokio::test]
async fn list_json_is_an_array_of_objects_with_stable_members() {
    let world = World::new();
    let app = populate(&world).await;
    let json = ListArgs { json: true, ..args(&[Status::Scored]) };
    let (_, list) = text(async |out| list::list(app.ledger(), &json, START, out).await).await;
    let rows: Value = serde_json::from_str(&list).unwrap();
    let row = &rows.as_array().unwrap()[0];
    assert_eq!(
        (&row["status"], &row["rule"], &row["etag"], &row["attempt"], &row["job"]),
        (&json!("scored"), &json!("claims"), &json!("1"), &json!(1), &json!("job-1"))
    );
    assert_eq!(row["blobUrl"], json!("https://uploads.blob.core.windows.net/claims/eu/a.csv"));
    assert_eq!(
        (&row["createdTime"], &row["lastUpdatedTime"]),
        (&json!("2026-07-21T10:00:00Z"), &json!("2026-07-21T10:02:00Z"))
    );
    assert!(row["outputUri"].as_str().unwrap().ends_with("/1/predictions.csv"));
    let empty = World::new();
    let app = empty.app();
    let json = ListArgs { json: true, ..args(&[]) };
    let (_, list) = text(async |out| list::list(app.ledger(), &json, START, out).await).await;
    assert_eq!(list.trim(), "[]", "also before there is a table");
}

#[tokio::test]
async fn show_tells_the_story_by_id_beginning_url_or_path() {
    let world = World::new();
    let app = populate(&world).await;
    let golden = "\
ID1  scored: the output is there, not empty, and newer than the submission
  blob     https://uploads.blob.core.windows.net/claims/eu/a.csv
  etag     1
  rule     claims
  created  2026-07-21 10:00:00 UTC
  attempt  1
  job      job-1 (Completed)
  output   azureml://datastores/workspaceblobstore/paths/scorekeeper/claims/ID/1/predictions.csv
  bytes    7
  history  (UTC)
    2026-07-21 10:00:00             → queued      rule `claims` wants this blob version
    2026-07-21 10:00:00      queued → submitting  a slot is free
    2026-07-21 10:00:00  submitting → running     the endpoint made job job-1 (Preparing) (request post-1)
    2026-07-21 10:02:00     running → verifying   the job completed; its output is to be looked at (request poll-1)
    2026-07-21 10:02:00   verifying → scored      the output is there (7 bytes) and newer than the submission
";
    let (code, by_path) = text(async |out| show::show(app.ledger(), &HERE, "eu/a.csv", false, START, out).await).await;
    let id = by_path[..32].to_owned();
    assert_eq!(by_path.replace(&format!("/{id}/"), "/ID/").replace(&id, "ID1"), golden);
    assert_eq!(code, OK);
    let url = "https://uploads.blob.core.windows.net/claims/eu/a.csv?sig=SECRET";
    // The last is how `list` prints it.
    for wanted in [id.as_str(), &id[..6], url, "claims/eu/a.csv"] {
        let (_, again) = text(async |out| show::show(app.ledger(), &HERE, wanted, false, START, out).await).await;
        assert_eq!(again, by_path, "{wanted}");
    }
    let (code, none) =
        text(async |out| show::show(app.ledger(), &HERE, "nothing?sig=SECRET", false, START, out).await).await;
    assert_eq!(code, ATTENTION);
    assert!(none.contains("`nothing`") && none.contains("scorekeeper list") && !none.contains("SECRET"), "{none}");
    let (code, none) = text(async |out| show::show(app.ledger(), &HERE, "", false, START, out).await).await;
    assert!(code == ATTENTION && none.contains("No event was ever received"), "{none}");
    let (_, trace) = text(async |out| show::show(app.ledger(), &HERE, &id, true, START, out).await).await;
    let trace: Value = serde_json::from_str(&trace).unwrap();
    assert_eq!(trace["history"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn show_of_a_path_tells_of_all_its_versions_the_newest_first_with_their_dates() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("eu/a.csv", "1")).await;
    world.later(Duration::hours(1));
    world.deliver(&app, &event("eu/a.csv", "2")).await;
    let (code, both) =
        text(async |out| show::show(app.ledger(), &HERE, "claims/eu/a.csv", false, START, out).await).await;
    let told: Vec<_> = both.lines().filter(|line| line.contains("etag ") || line.contains("created ")).collect();
    assert_eq!(
        (code, told),
        (
            OK,
            vec![
                "  etag     2",
                "  created  2026-07-21 11:00:00 UTC",
                "  etag     1",
                "  created  2026-07-21 10:00:00 UTC"
            ]
        )
    );
    let (_, json) = text(async |out| show::show(app.ledger(), &HERE, "claims/eu/a.csv", true, START, out).await).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["etag"], &json[1]["etag"]), (&json!("2"), &json!("1")));
}

/// One refused by its rule, one of a container that no rule looks at, one that cannot be read, and one that never came.
#[tokio::test]
async fn what_became_no_scoring_is_explained_shown_and_listed_with_its_event() {
    let world = World::new();
    let app = populate(&world).await;
    let golden = "\
photos/a.jpg
  version 1: skipped since 2026-07-21 10:02:30 UTC (30 min)
    why        rule `claims`: container `photos` is not `claims`
    received   2026-07-21 10:02:30 UTC
    event      EVENT
    next       scorekeeper replay https://uploads.blob.core.windows.net/photos/a.jpg --reason …, once a rule wants it
";
    let later = world.now() + Duration::minutes(30);
    let url = "https://uploads.blob.core.windows.net/photos/a.jpg?sig=SECRET";
    for wanted in [url, "photos/a.jpg", "a.jpg"] {
        let (code, told) =
            text(async |out| explain::explain(app.ledger(), &HERE, wanted, false, later, out).await).await;
        let event = told.lines().find_map(|line| line.trim().strip_prefix("event")).map(str::trim).unwrap_or_default();
        assert!(event.starts_with('{') && event.contains("BlobCreated") && event.contains("photos/a.jpg"), "{told}");
        assert_eq!((code, told.replace(event, "EVENT").as_str()), (OK, golden));
        let (_, shown) = text(async |out| show::show(app.ledger(), &HERE, wanted, false, later, out).await).await;
        assert_eq!(shown, told, "`show` of it says the same");
    }
    let skipped = ListArgs { instead: Instead { skipped: true, ..Instead::default() }, ..args(&[]) };
    let (_, list) = text(async |out| list::list(app.ledger(), &skipped, later, out).await).await;
    assert!(list.contains("photos/a.jpg") && list.contains("is not `claims`"), "{list}");
    let other = ListArgs { prefix: Some("claims/".to_owned()), ..skipped };
    let (_, none) = text(async |out| list::list(app.ledger(), &other, later, out).await).await;
    assert_eq!(none, "No skipped event matches.\n");
    let quarantined = ListArgs { instead: Instead { quarantined: true, ..Instead::default() }, ..args(&[]) };
    let (_, list) = text(async |out| list::list(app.ledger(), &quarantined, later, out).await).await;
    assert!(list.contains("eventType") && list.contains(r#"{"x":1}"#), "{list}");
    let (code, never) =
        text(async |out| explain::explain(app.ledger(), &HERE, "claims/eu/never.csv", false, later, out).await).await;
    assert_eq!(code, ATTENTION);
    assert!(never.starts_with("No event was ever received for `claims/eu/never.csv`"), "{never}");
}

#[tokio::test]
async fn status_counts_and_says_what_to_do_next() {
    let world = World::new();
    let app = populate(&world).await;
    let golden = "\
In flight   2   (queued 0   submitting 0   unknown 1   held 0   running 1   cancelling 0   verifying 0)
Last 24 h   scored 1   failed 0   cancelled 0   gone 0   superseded 0
Events      skipped 1   quarantined 1
Oldest      accepted 30 s ago
Last upload 0 s ago
Last run    30 s ago
Needs attention
  1 event quarantined in the last 24 h, because `eventType` is missing or not a string; expected Event Grid's schema (eventType) or CloudEvents 1.0 (specversion, type), since 2026-07-21 10:02:30 UTC: scorekeeper list --quarantined, then scorekeeper ack --finding 61202105 --reason …
";
    let (code, status) =
        text(async |out| status::status(app.ledger(), &HERE, false, None, world.now(), out).await).await;
    assert_eq!((code, status.as_str()), (ATTENTION, golden));
    let (_, status) = text(async |out| status::status(app.ledger(), &HERE, true, None, world.now(), out).await).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!((&status["counts"]["running"], &status["quarantined24h"]), (&json!(1), &json!(1)));
    assert!(status["lastRun"].as_str().is_some_and(|at| at.starts_with("2026-07-21T10:")), "{status}");
    assert_eq!(status["runningSince"], Value::Null);
    let found = &status["attention"];
    assert_eq!((found.as_array().map(Vec::len), &found[0]["kind"]), (Some(1), &json!("quarantined")), "{status}");
    assert_eq!((&found[0]["count"], &found[0]["since"]), (&json!(1), &json!("2026-07-21T10:02:30Z")), "{status}");
    assert_eq!(found[0]["id"], "61202105");
    assert_eq!(found[0]["next"], "scorekeeper list --quarantined, then scorekeeper ack --finding 61202105 --reason …");
    for part in [&found[0]["reason"], &found[0]["next"]] {
        assert!(golden.contains(part.as_str().unwrap()), "text and JSON say the same: {part}");
    }
    let (code, none) =
        text(async |out| status::status(World::new().app().ledger(), &HERE, false, None, START, out).await).await;
    assert!(code == ATTENTION && none.contains("no ledger under the task hub Test"), "{none}");
}

#[tokio::test]
async fn status_says_how_long_a_reconcile_run_has_been_running() {
    for (complete, golden) in [
        (true, "Last run    3 min ago; one has been running for 90 s\n"),
        (false, "Last run    none has ended yet; one has been running for 90 s\n"),
    ] {
        let world = World::new();
        let app = world.app();
        if complete {
            app.tick(world.now() + Duration::minutes(1)).await.unwrap();
        }
        world.later(Duration::seconds(90));
        let begun = app.ledger().runs().await.unwrap().next(world.now(), world.now() + Duration::minutes(5));
        app.ledger().record_begun_run(&begun).await.unwrap();
        world.later(Duration::seconds(90));
        let (code, told) =
            text(async |out| status::status(app.ledger(), &HERE, false, None, world.now(), out).await).await;
        assert!(told.contains(golden) && told.ends_with("Nothing needs attention.\n") && code == OK, "{told}");
        let (_, json) = text(async |out| status::status(app.ledger(), &HERE, true, None, world.now(), out).await).await;
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["runningSince"], "2026-07-21T10:01:30Z");
    }
}

#[tokio::test]
async fn failures_need_attention() {
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1"));
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(2));
    world.end_jobs(&JobStatus::Failed);
    app.tick(world.now() + Duration::minutes(1)).await.unwrap();
    let (code, status) =
        text(async |out| status::status(app.ledger(), &HERE, false, None, world.now(), out).await).await;
    assert_eq!(code, ATTENTION);
    assert!(
        status.contains("1 failed under rule claims (unknown: ") && status.contains("scorekeeper retry --finding"),
        "{status}"
    );
    let (_, list) = text(async |out| list::list(app.ledger(), &args(&[]), START, out).await).await;
    assert!(list.contains("exit code 42"), "{list}");
}

#[tokio::test]
async fn a_list_is_printed_as_rows_and_an_export_has_all_of_them() {
    let world = World::new();
    let app = populate(&world).await;
    let of = |output| ListArgs { output, ..args(&[]) };
    let (code, csv) = text(async |out| list::list(app.ledger(), &of(Format::Csv), START, out).await).await;
    let mut lines = csv.split("\r\n");
    assert!(code == OK && lines.next().unwrap().starts_with("id,status,rule,path,blobUrl,etag,attempt,createdTime"));
    assert!(lines.next().unwrap().contains(",running,claims,claims/eu/ü <c>.csv,"), "{csv}");
    let (_, jsonl) = text(async |out| list::list(app.ledger(), &of(Format::Jsonl), START, out).await).await;
    let rows: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().map(|row| &row["status"]).collect::<Vec<_>>(), ["running", "unknown", "scored"]);
    let skipped =
        ListArgs { instead: Instead { skipped: true, ..Instead::default() }, output: Format::Tsv, ..args(&[]) };
    let (_, tsv) = text(async |out| list::list(app.ledger(), &skipped, START, out).await).await;
    assert!(tsv.starts_with("id\tstatus\tseenTime\trule\tsubject") && tsv.lines().count() == 2, "{tsv}");

    // More than it reads at one time.
    let many: Vec<Value> = (0..600).map(|n| event(&format!("many/{n}.csv"), "1")).collect();
    app.accept(&json!(many)).await.unwrap().submit().await;
    let export = |output| ExportArgs { which: HERE, status: Vec::new(), rule: None, prefix: None, since: None, output };
    let (code, all) =
        text(async |out| export::export(app.ledger(), &export(ExportFormat::Csv), START, out).await).await;
    assert_eq!((code, all.split("\r\n").count()), (OK, 1 + 603 + 1), "a header, each once, and the last line's end");
    let (_, all) = text(async |out| export::export(app.ledger(), &export(ExportFormat::Jsonl), START, out).await).await;
    let ids: std::collections::BTreeSet<String> =
        all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].to_string()).collect();
    assert_eq!(ids.len(), 603);
}

#[tokio::test(start_paused = true)]
async fn one_waits_for_a_blob_until_it_is_scored_or_ended_otherwise_and_is_told_where_its_output_is() {
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1"));
    let app = world.app();
    let waits = async |blob: &str| {
        let args = WaitArgs { which: HERE, blob: blob.to_owned(), timeout: Duration::minutes(5) };
        text(async |out| wait::wait(app.ledger(), &args, out).await).await
    };
    let (code, told) = waits("claims/eu/a.csv").await;
    assert!(code == ATTENTION && told.contains("did not come to its end in time"), "{told}");
    let id = world.deliver(&app, &event("eu/a.csv", "1")).await.remove(0);
    let later = async {
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        world.tick_until_final(&app, 6).await;
    };
    let ((code, told), ()) = tokio::join!(waits("claims/eu/a.csv"), later);
    assert_eq!((code, told), (OK, format!("{id}  scored      claims/eu/a.csv\n")));
    let (code, uri) = text(async |out| wait::output(app.ledger(), "claims/eu/a.csv", out).await).await;
    assert!(code == OK && uri.trim_end().ends_with("/1/predictions.csv") && uri.lines().count() == 1, "{uri}");
    // A newer version that fails: what the earlier one came to is not taken for its end.
    world.later(Duration::SECOND);
    world.next_faults([Fault::Refused { permanent: true }]);
    world.deliver(&app, &event("eu/a.csv", "2")).await;
    let (code, told) = waits("claims/eu/a.csv").await;
    assert!(code == ATTENTION && told.contains("  failed      claims/eu/a.csv: "), "{told}");
    let (code, told) = text(async |out| wait::output(app.ledger(), "claims/eu/a.csv", out).await).await;
    assert!(code == ATTENTION && told.starts_with("`claims/eu/a.csv` is failed; there is no output"), "{told}");
}

#[test]
fn completions_and_manual_pages_know_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let told = |arguments: &[&str]| {
        let mut command = std::process::Command::new(SCOREKEEPER);
        let output = command.args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let printed = told(&["completions", shell]);
        assert!(printed.contains("expedite") && printed.contains("quarantined"), "{shell}");
    }
    assert!(told(&["man"]).contains("scorekeeper"));
    told(&["man", "man1"]);
    let page = std::fs::read_to_string(folder.path().join("man1/scorekeeper-retry.1")).unwrap();
    assert!(page.contains("dry") && page.contains("reason"), "{page}");
}

#[tokio::test]
async fn a_skipped_blob_is_replayed_by_what_the_ledger_knows_of_it_and_a_scored_one_is_rescored() {
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
    assert!(code == OK && told.ends_with("  rescored; it is scored now\n"), "{told}");
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
        text(async |out| status::status(app.ledger(), &HERE, false, None, world.now(), out).await).await;
    assert_eq!(code, ATTENTION);
    assert!(
        status.contains("1 held, the answer lost and the job not found (")
            && status.contains(": scorekeeper list --status held"),
        "{status}"
    );
    let said = async |id: &str, resolution| {
        text(async |out| resolve::resolve(app.ledger(), id, resolution, world.now(), out).await).await
    };
    let (code, answer) = said("not-an-id", Resolution::GiveUp).await;
    assert!(code == ATTENTION && answer.contains("`not-an-id` is not the id of a scoring"), "{answer}");
    let (code, answer) = said(&"0".repeat(32), Resolution::GiveUp).await;
    assert!(code == ATTENTION && answer.contains("There is no scoring `0000"), "{answer}");
    let (code, answer) = said(&ids[0][..12], Resolution::SendAgain).await;
    assert_eq!((code, answer), (OK, format!("{} is queued now; the next reconcile run continues with it.\n", ids[0])));
    let (code, answer) = said(&ids[0], Resolution::SendAgain).await;
    assert!(code == ATTENTION && answer.starts_with("Nothing was changed: only a held scoring"), "{answer}");
    world.blind(None);
    world.tick_until_final(&app, 5).await;
    let (_, trace) = text(async |out| show::show(app.ledger(), &HERE, &ids[0], false, START, out).await).await;
    assert!(trace.contains("held → queued      an operator says that no job exists"), "{trace}");
}

#[tokio::test]
async fn the_binary_takes_exactly_one_resolution() {
    let folder = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::open(&folder.path().join(".scorekeeper/ledger")).unwrap());
    let id = "0".repeat(32);
    for (arguments, code, said) in [
        (vec!["resolve", &id], 64, "<--send-again|--job <NAME>|--give-up>"),
        (vec!["resolve", &id, "--send-again", "--give-up"], 64, "cannot be used with"),
        (vec!["resolve", &id, "--job", "batchjob-1"], 1, "There is no scoring"),
    ] {
        let mut process = run(&arguments, folder.path());
        let status = process.ended().await;
        let all = process.stdout().join("\n") + &process.stderr();
        assert!(status.code() == Some(code) && all.contains(said), "{status}: {all}");
    }
}

const LIMITED: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
    "endpoint":{"uri":"https://heart.example/jobs"},"maxInFlight":2}]}"#;

async fn ordered(app: &App, world: &World, verb: Verb, args: &OrderArgs) -> (u8, String) {
    text(async |out| order::order(app.ledger(), verb, args, "ann", world.now(), out).await).await
}

#[tokio::test]
async fn what_failed_is_retried_or_acknowledged_by_id_or_by_filter_with_a_count_to_confirm() {
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
    let (code, told) = ordered(&app, &world, Verb::Retry, &OrderArgs { yes: true, json: true, ..all.clone() }).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, told.as_array().map(Vec::len), &told[0]["status"]), (OK, Some(3), &json!("queued")));
    let (_, shown) = text(async |out| show::show(app.ledger(), &HERE, &ids[0], false, START, out).await).await;
    assert!(shown.contains("acknowledged by ann (the model is fixed)"), "{shown}");
    assert!(shown.contains("retried by ann (the model is fixed)"), "{shown}");

    for (args, why) in [
        (OrderArgs { reason: Some(" ".to_owned()), ..all.clone() }, "--reason is empty"),
        (OrderArgs { reason: Some(reason()), ..OrderArgs::default() }, "Name what is to be retried"),
        (OrderArgs { ids: vec!["x".to_owned()], reason: Some(reason()), ..OrderArgs::default() }, "`x` is not the id"),
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
        text(async |out| status::status(app.ledger(), &HERE, false, None, world.now(), out).await).await;
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
async fn a_quarantined_event_that_was_acknowledged_stays_so_when_it_is_delivered_again_and_is_shown_by_its_id() {
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
            text(async |out| show::show(app.ledger(), &HERE, wanted, false, START, out).await).await
        } else {
            text(async |out| explain::explain(app.ledger(), &HERE, wanted, false, START, out).await).await
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
async fn a_pause_has_an_author_a_reason_and_a_history_and_ends_with_what_held_before() {
    let world = World::with_rules(LIMITED);
    let app = world.app();
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let pause = |pauses, scope: &str, reason: &str| {
        let args = PauseArgs { which: HERE, scope: scope.to_owned(), reason: reason.to_owned() };
        let (app, world) = (&app, &world);
        async move {
            world.later(Duration::SECOND);
            text(async |out| limit::pause(app.ledger(), pauses, &args, "ann", world.now(), out).await).await
        }
    };
    let rule = LimitArgs { rule: Some("claims".to_owned()), new_limit: Some(NewLimit::Of(7)), ..LimitArgs::default() };
    limited(&world, &app, rule).await;
    let (code, told) = pause(true, "claims", "maintenance").await;
    assert!(code == OK && told.starts_with("rule claims: paused.\n"), "{told}");
    let (_, status) = text(async |out| status::status(app.ledger(), &HERE, false, None, world.now(), out).await).await;
    assert!(status.contains("scorekeeper resume claims --reason …"), "{status}");
    for (pauses, scope, reason, why) in [
        (true, "claims", "again", "claims is paused"),
        (true, "clams", "typo", "no such rule"),
        (false, "https://heart.example/jobs", "x", "is not paused"),
        (false, "claims", " ", "--reason is empty"),
    ] {
        let (code, told) = pause(pauses, scope, reason).await;
        assert!(code == ATTENTION && told.contains(why), "{told}");
    }
    let (code, told) = pause(false, "claims", "done").await;
    assert!(code == OK && told.starts_with("rule claims: at most 7 in flight"), "{told}");
    let history = LimitArgs { rule: Some("claims".to_owned()), history: true, ..LimitArgs::default() };
    let golden = "\
2026-07-21 10:00:06  rule claims: 7  by ann (done)
2026-07-21 10:00:01  rule claims: 0  by ann (maintenance)
2026-07-21 10:00:00  rule claims: 7  by ann (no reason was given)
";
    assert_eq!(limited(&world, &app, history).await, (OK, golden.to_owned()));
}

async fn limited(world: &World, app: &App, arguments: LimitArgs) -> (u8, String) {
    text(async |out| limit::limit(app.ledger(), &arguments, "ann", world.now(), out).await).await
}

#[tokio::test]
async fn limit_shows_what_is_in_flight_and_what_waits_and_sets_it_for_all() {
    let world = World::with_rules(LIMITED);
    let app = world.app();
    let show = || limited(&world, &app, LimitArgs::default());
    assert_eq!(show().await, (OK, "No reconcile run has reported a rule yet.\n".to_owned()));
    for n in 0..5 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
    }
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let golden = "\
rule      claims                                              2 of 2 slots taken, 3 wait
          all 2 slots of rule `claims` are taken (maxInFlight)
endpoint  https://heart.example/jobs                          no limit
";
    assert_eq!(show().await, (OK, golden.to_owned()));
    let rule = |id: &str, new_limit| LimitArgs {
        rule: Some(id.to_owned()),
        new_limit: Some(new_limit),
        ..LimitArgs::default()
    };
    let (code, typo) = limited(&world, &app, rule("clams", NewLimit::Of(0))).await;
    assert!(code == ATTENTION && typo.contains("Known are claims, https://heart.example/jobs"), "{typo}");
    assert!(app.ledger().controls().await.unwrap().limits.is_empty());
    let (code, nobody) =
        limited(&world, &app, LimitArgs { new_limit: Some(NewLimit::Of(0)), ..LimitArgs::default() }).await;
    assert!(code == ATTENTION && nobody.contains("--rule"), "{nobody}");
    for (new_limit, says, summary) in [
        (
            NewLimit::Of(7),
            "at most 7 in flight, whatever the rules say",
            "2 of 7 slots taken (an operator's limit since 2026-07-21 10:00:00 by ann; in the rules: 2), 3 wait",
        ),
        (NewLimit::Of(0), "paused", "paused (an operator's limit since"),
        (NewLimit::Default, "at most 2 in flight, as the rules say", "2 of 2 slots taken, 3 wait"),
    ] {
        let (code, set) = limited(&world, &app, rule("claims", new_limit)).await;
        assert!(code == OK && set.contains(says) && set.contains("15 seconds"), "{set}");
        let (_, shown) = show().await;
        assert!(shown.contains(summary), "{shown}");
        let (_, status) =
            text(async |out| status::status(app.ledger(), &HERE, false, None, world.now(), out).await).await;
        assert!(status.contains(&format!("Limit       rule claims: {summary}")), "{status}");
        let (_, _, html) = page(&app, &world, "/").await;
        assert!(html.contains(&summary.replace('\'', "&#39;")) || html.contains(summary), "{html}");
    }
    let json = LimitArgs { json: true, ..LimitArgs::default() };
    let (_, told) = limited(&world, &app, json).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told[0]["name"], &told[0]["limit"], &told[0]["waiting"]), (&json!("claims"), &json!(2), &json!(3)));
    let (_, _, same) = page(&app, &world, "/api/limits").await;
    assert_eq!(serde_json::from_str::<Value>(&same).unwrap(), told);
}

#[tokio::test]
async fn an_open_circuit_breaker_is_shown_with_its_reason_and_closed_by_a_command() {
    let rules =
        RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1").replace("jobs\"}", "jobs\",\"deployment\":\"v7\"}");
    let world = World::with_rules(&rules);
    let app = world.app();
    let ask =
        async |args: BreakerArgs| text(async |out| breaker::breaker(app.ledger(), &args, world.now(), out).await).await;
    let (code, calm) = ask(BreakerArgs::default()).await;
    assert_eq!((code, calm.as_str()), (OK, "No scoring has failed.\n"));
    for n in 0..10 {
        world.deliver(&app, &event(&format!("{}/{n}.csv", n % 2), "1")).await;
    }
    world.end_jobs(&JobStatus::Failed);
    world.later(Duration::minutes(2));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let late = world.deliver(&app, &event("late.csv", "1")).await;
    let golden = "\
deployment v7 of https://heart.example/jobs: open, one scoring probes it at 2026-07-21 10:07:00 UTC; 10 scorings in a row failed (unknown), the last: exit code 42
  scorekeeper breaker close --endpoint https://heart.example/jobs --deployment v7
";
    assert_eq!(ask(BreakerArgs::default()).await, (ATTENTION, golden.to_owned()));
    let (_, status) = text(async |out| status::status(app.ledger(), &HERE, false, None, world.now(), out).await).await;
    assert!(status.contains("Breaker     deployment v7 of https://heart.example/jobs: open, one"), "{status}");
    assert!(status.contains("  1 wait for deployment v7") && status.contains("scorekeeper breaker close"), "{status}");
    let (_, trace) = text(async |out| show::show(app.ledger(), &HERE, &late[0], false, START, out).await).await;
    assert!(trace.contains("waits    the circuit breaker is open, as 10 scorings in a row failed"), "{trace}");
    let (_, _, html) = page(&app, &world, "/").await;
    assert!(html.contains("one scoring probes it at 2026-07-21 10:07:00 UTC"), "{html}");
    let (_, _, html) = page(&app, &world, &format!("/scorings/{}", late[0])).await;
    assert!(html.contains("the circuit breaker is open"), "{html}");
    let (_, _, told) = page(&app, &world, "/api/breakers").await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told[0]["state"], &told[0]["failures"]), (&json!("open"), &json!(10)));
    let (_, same) = ask(BreakerArgs { json: true, ..BreakerArgs::default() }).await;
    assert_eq!(serde_json::from_str::<Value>(&same).unwrap(), told);

    let close = BreakerArgs {
        action: Some(Action::Close),
        endpoint: Some("https://heart.example/jobs/".into()),
        ..BreakerArgs::default()
    };
    let (code, typo) = ask(close.clone()).await;
    assert!(code == ATTENTION && typo.contains("deployment v7 of https://heart.example/jobs"), "{typo}");
    let (code, closed) = ask(BreakerArgs { deployment: Some("v7".into()), ..close }).await;
    assert!(code == OK && closed.contains("15 seconds"), "{closed}");
    let (code, after) = ask(BreakerArgs::default()).await;
    assert_eq!((code, after.as_str()), (OK, "deployment v7 of https://heart.example/jobs: closed\n"));
}

#[tokio::test]
async fn show_tells_what_a_queued_scoring_waits_for() {
    let world = World::with_rules(LIMITED);
    let app = world.app();
    for n in 0..3 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
    }
    let waits = async || {
        let (_, trace) = text(async |out| show::show(app.ledger(), &HERE, "2.csv", false, START, out).await).await;
        trace.lines().find_map(|line| line.strip_prefix("  waits    ").map(str::to_owned)).unwrap_or_default()
    };
    assert_eq!(waits().await, "the next reconcile run submits it");
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(waits().await, "all 2 slots of rule `claims` are taken (maxInFlight)");
    world.later(Duration::minutes(2));
    world.end_jobs(&JobStatus::Completed);
    world.next_faults([Fault::Refused { permanent: false }]);
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert!(waits().await.starts_with("not before 2026-07-21 10:02:1"), "{}", waits().await);
}

fn run(arguments: &[&str], folder: &std::path::Path) -> Process {
    Process::spawn(SCOREKEEPER, arguments, folder, &BTreeMap::new())
}

#[tokio::test]
async fn the_binary_reads_a_ledger_by_every_way_of_naming_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join(".scorekeeper/ledger");
    let rules = RULE;
    let store = EmbeddedStore::open(&place).unwrap();
    let world = World::on(Arc::new(store), rules);
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    let embedded = format!("embedded:{}", place.display());
    // The world's tables have their own task hub.
    for which in [&["--ledger", &embedded][..], &["--data", ".scorekeeper"], &[]] {
        let mut list = run(&[&["list", "--json", "--task-hub", "Test"], which].concat(), folder.path());
        let status = list.ended().await;
        let rows: Value = serde_json::from_str(&list.stdout().join("\n")).unwrap();
        assert_eq!((status.code(), rows.as_array().map(Vec::len)), (Some(0), Some(1)), "{which:?}");
    }
    let mut limit = run(&["limit", "--rule", "claims", "0", "--task-hub", "Test"], folder.path());
    assert_eq!(limit.ended().await.code(), Some(0), "{}", limit.stderr());
    assert_eq!(app.ledger().controls().await.unwrap().limits.len(), 1, "another process has set it");
}

#[tokio::test]
async fn a_command_that_cannot_work_says_why_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("taken/ledger/ledger.db")).unwrap();
    std::fs::write(folder.path().join("utf16.json"), b"\xff\xfe{\0}\0").unwrap();
    for (arguments, code, says) in [
        (&["list"][..], 64, "SCOREKEEPER_LEDGER"),
        (&["list", "--data", "nowhere"], 2, "nowhere"),
        (&["list", "--status", "done"], 64, "queued, submitting"),
        (&["list", "--ledger", "http://table.example/x"], 64, "https"),
        (&["list", "--ledger", "embedded:x", "--data", "y"], 64, "cannot be used with"),
        (&["show"], 64, "<ID>"),
        (&["breaker", "close"], 64, "--endpoint"),
        (&["breaker", "open"], 64, "close"),
        (&["limit", "--rule", "x", "many"], 64, "neither a number from 0 nor `default`"),
        (&["limit", "--rule", "x", "3000000000"], 64, "neither a number"),
        (&["limit", "--rule", "x", "3", "--data", "nowhere"], 2, "nowhere"),
        (&["rules", "check", "none.json"], 64, "none.json`; expected a readable rules file"),
        (&["rules", "test", "--rules", "none.json", "https://a.blob.core.windows.net/c/b"], 64, "`the rules file`"),
        (&["local", "--rules", "none.json"], 64, "`the rules file`"),
        (&["list", "--data", "taken"], 2, "ledger.db is not a file"),
        (&["rules", "check", "utf16.json"], 64, "not UTF-8 from its byte 1 on); save it as UTF-8"),
        (&["local", "--listen", "foo"], 64, "expected an IP address and a port, such as 127.0.0.1:7072"),
        (&["local", "--listen", "0.0.0.0:0"], 64, "add --allow-remote"),
        (&["simulator", "--listen", "foo"], 64, "expected an IP address and a port"),
        (&["local", "--seed", "x"], 64, "expected a whole number from 0 to 18446744073709551615"),
        (&["simulate", "--seed", "x"], 64, "expected a whole number from 0"),
        (&["local", "--score-command", ""], 64, "expected a command for a shell"),
        (&["simulator", "--score-command", " "], 64, "expected a command for a shell"),
        (&["frobnicate"], 64, "unrecognized"),
        (&["serve"], 64, "SCOREKEEPER_RULES"),
    ] {
        let mut process = run(arguments, folder.path());
        let status = process.ended().await;
        let said = process.stderr();
        assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert!(!arguments.contains(&"none.json") || !said.contains("SCOREKEEPER_RULES"), "{arguments:?}: {said}");
        assert!(process.stdout().is_empty(), "{arguments:?}: {:?}", process.stdout());
    }
    let mut help = run(&["--help"], folder.path());
    assert_eq!(help.ended().await.code(), Some(0));
    for command in
        ["serve", "local", "simulator", "status", "list", "show", "resolve", "limit", "breaker", "rules", "config"]
    {
        assert!(help.stdout().iter().any(|line| line.trim_start().starts_with(command)), "{command}");
    }
}

/// `| head` in a script must not make a success of what was found.
#[test]
fn a_reader_that_goes_away_changes_no_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.json"), r#"{"rules": [{"id": "a"}]}"#).unwrap();
    std::fs::write(folder.path().join("good.json"), RULE).unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    EmbeddedStore::open(&folder.path().join("d/ledger")).unwrap();
    for (arguments, code) in [
        (&["rules", "check", "bad.json"][..], 1),
        (&["rules", "check", "good.json"], 0),
        (&["rules", "test", "--rules", "good.json", "https://uploads.blob.core.windows.net/other/a.csv"], 1),
        (&["explain", "never.csv", "--data", "d"], 1),
        (&["list", "--data", "d"], 0),
        (&["doctor"], 1),
        (&["local", "--rules", "bad.json"], 64),
        (&["frobnicate"], 64),
    ] {
        let closed = || std::io::pipe().unwrap().1;
        let mut command = std::process::Command::new(SCOREKEEPER);
        command.args(arguments).current_dir(folder.path()).env_clear().stdout(closed()).stderr(closed());
        assert_eq!(command.status().unwrap().code(), Some(code), "{arguments:?}");
    }
}

/// Neither a network nor an address is to blame for a file.
#[tokio::test]
async fn a_damaged_ledger_is_told_of_as_that_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join(".scorekeeper/ledger");
    let world = World::on(Arc::new(EmbeddedStore::open(&place).unwrap()), RULE);
    let app = world.app();
    for n in 0..20 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
    }
    drop((app, world));
    let file = place.join("ledger.db");
    let log = rusqlite::Connection::open(&file).unwrap();
    log.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(())).unwrap();
    drop(log);
    let mut pages = std::fs::read(&file).unwrap();
    pages[4096..].fill(0xff);
    std::fs::write(&file, pages).unwrap();
    for command in [&["list"][..], &["status"]] {
        let mut process = run(&[command, &["--task-hub", "Test"]].concat(), folder.path());
        assert_eq!(process.ended().await.code(), Some(2));
        let said = process.stderr();
        assert!(said.contains("ledger.db is damaged") && said.contains(".recover"), "{said}");
        for blamed in ["table service", "network", "reached"] {
            assert!(!said.contains(blamed), "{blamed}: {said}");
        }
    }
}

/// Whoever was told where the ledger lies is told of commands that find it there.
#[tokio::test]
async fn suggested_commands_name_the_ledger_that_was_named() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: true }]);
    world.deliver(&app, &event("a.csv", "1")).await;
    let which = WhichLedger { data: Some("d".into()), ..WhichLedger::default() };
    for json in [false, true] {
        let (_, told) =
            text(async |out| status::status(app.ledger(), &which, json, None, world.now(), out).await).await;
        assert!(told.contains("scorekeeper retry --data d "), "{told}");
    }
    for (blob, next) in [("a.csv", "scorekeeper retry --data d "), ("never.csv", "scorekeeper list --data d --prefix")]
    {
        let (_, told) =
            text(async |out| explain::explain(app.ledger(), &which, blob, false, world.now(), out).await).await;
        assert!(told.contains(next), "{told}");
    }
    let router = page::router(app.ledger().clone(), Arc::new(|| START), "Test", which);
    let answer = router.oneshot(Request::get("/").body(axum::body::Body::empty()).unwrap()).await.unwrap();
    let html = String::from_utf8(to_bytes(answer.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap();
    assert!(html.contains("scorekeeper retry --data d "), "{html}");
}

/// A question mark is a sign of a name like any other; what looks like a query there is none.
#[tokio::test]
async fn a_name_with_a_question_mark_is_shown_as_it_is() {
    let world = World::new();
    let app = world.app();
    let mut upload = event("q%3Fx=1&y=2.csv", "1");
    upload["subject"] = json!("/blobServices/default/containers/claims/blobs/q?x=1&y=2.csv");
    world.deliver(&app, &upload).await;
    let (_, list) = text(async |out| list::list(app.ledger(), &args(&[]), START, out).await).await;
    assert!(list.contains("claims/q?x=1&y=2.csv"), "{list}");
    let (_, shown) = text(async |out| show::show(app.ledger(), &HERE, "q?x=1&y=2.csv", false, START, out).await).await;
    assert!(shown.contains("x=1") && shown.contains("y=2.csv") && !shown.contains("***"), "{shown}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_hides_no_other_from_list_show_and_page() {
    let world = World::new();
    let app = populate(&world).await;
    let (_, before) = text(async |out| list::list(app.ledger(), &args(&[]), START, out).await).await;
    let id: ScoringId = before.lines().nth(1).unwrap()[..32].parse().unwrap();
    let damage = Entity::new(rows::scoring_key(&id)).with("State", "lost");
    world.store.write(&world.table("State"), &[Op::Merge(damage, IfMatch::Any)]).await.unwrap();
    let (code, list) = text(async |out| list::list(app.ledger(), &args(&[]), START, out).await).await;
    assert_eq!((code, list.lines().count()), (ATTENTION, before.lines().count()), "{list}");
    assert!(list.lines().last().unwrap().starts_with(&format!("{id}  unreadable")), "{list}");
    let json = ListArgs { json: true, ..args(&[]) };
    let (code, _) = text(async |out| list::list(app.ledger(), &json, START, out).await).await;
    assert_eq!(code, ATTENTION, "for scripts as for people");
    for wanted in [id.as_str(), &id.as_str()[..9]] {
        let (code, shown) = text(async |out| show::show(app.ledger(), &HERE, wanted, false, START, out).await).await;
        assert!(code == ATTENTION && shown.contains("`State`"), "{shown}");
    }
    let (status, _, html) = page(&app, &world, "/").await;
    assert!(status == StatusCode::OK && html.contains("`State`") && html.contains("eu/a.csv"), "{html}");
}

async fn page(app: &App, world: &World, path: &str) -> (StatusCode, axum::http::HeaderMap, String) {
    let now = world.now();
    let router = page::router(app.ledger().clone(), Arc::new(move || now), "Test", HERE);
    let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_page_shows_each_scoring_escapes_names_and_loads_nothing() {
    let world = World::new();
    let app = populate(&world).await;
    let (status, headers, html) = page(&app, &world, "/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("claims/eu/ü &lt;c&gt;.csv") && !html.contains("<c>"), "{html}");
    assert!(headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    assert!(!html.contains("<script"));
    let (_, _, scored) = page(&app, &world, "/?status=scored").await;
    assert!(scored.contains("eu/a.csv") && !scored.contains("eu/b.csv"));
    let (status, _, bad) = page(&app, &world, "/?status=done").await;
    assert!(status == StatusCode::BAD_REQUEST && bad.contains("queued, submitting"), "{bad}");
    assert_eq!(page(&app, &world, "/nothing").await.0, StatusCode::NOT_FOUND);
    assert_eq!(page(&app, &world, "/scorings/nothing").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_superseded_scoring_and_the_one_in_its_place_name_each_other() {
    let world = World::new();
    let app = world.app();
    let url = "https://uploads.blob.core.windows.net/claims/a.csv";
    world.change_inputs(|inputs, now| inputs.put(url, "2", 2, true, now));
    let old = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
    world.later(time::Duration::minutes(1));
    app.tick(world.now() + time::Duration::minutes(5)).await.unwrap();
    let new = world.get(&app, &old).await.replaced_by.unwrap();
    let (code, shown) = text(async |out| show::show(app.ledger(), &HERE, &old, false, START, out).await).await;
    assert!(code == OK && shown.contains(&format!("  replacedBy {new}\n")), "{shown}");
    assert!(shown.starts_with(&format!("{old}  superseded: ")), "{shown}");
    let (_, shown) = text(async |out| show::show(app.ledger(), &HERE, new.as_str(), false, START, out).await).await;
    assert!(shown.contains(&format!("  inPlaceOf {old}\n")), "{shown}");
    for (one, other) in [(old.as_str(), new.as_str()), (new.as_str(), old.as_str())] {
        let (_, _, html) = page(&app, &world, &format!("/scorings/{one}")).await;
        assert!(html.contains(&format!("href=\"/scorings/{other}\"")), "{html}");
    }
}

#[tokio::test]
async fn the_page_shows_uploads_that_wait_for_a_look() {
    let world = World::new();
    let app = world.app();
    world.blind_storage(Some("403"));
    let renamed: Value = serde_json::from_str(include_str!("cases/renames/rename-file.json")).unwrap();
    app.accept(&renamed).await.unwrap().submit().await;
    let (_, _, html) = page(&app, &world, "/").await;
    assert!(html.contains("waits for a look") && html.contains("claims/eu/part-00000-abc.csv"), "{html}");
    let (_, _, pending) = page(&app, &world, "/api/pending").await;
    let pending: Value = serde_json::from_str(&pending).unwrap();
    assert_eq!((pending.as_array().map(Vec::len), &pending[0]["lookFailed"]), (Some(1), &json!(true)), "{pending}");
    let damaged = Entity::new(Key::new("pending", "0".repeat(32))).with("SchemaVersion", 1).with("Kind", "lost");
    world.store.write(&world.table("State"), &[Op::Insert(damaged)]).await.unwrap();
    let (_, _, html) = page(&app, &world, "/").await;
    assert!(html.contains("unreadable") && html.contains("claims/eu/part-00000-abc.csv"), "{html}");
    let waiting = ListArgs { instead: Instead { pending: true, ..Instead::default() }, ..args(&[]) };
    let (code, shown) = text(async |out| list::list(app.ledger(), &waiting, START, out).await).await;
    assert!(code == ATTENTION && shown.contains("unreadable") && shown.contains("part-00000-abc.csv"), "{shown}");
}

#[tokio::test]
async fn the_page_of_a_scoring_and_its_json_tell_the_same_story() {
    let world = World::new();
    let app = populate(&world).await;
    let (_, _, rows) = page(&app, &world, "/api/scorings?status=scored").await;
    let rows: Value = serde_json::from_str(&rows).unwrap();
    let id = rows[0]["id"].as_str().unwrap();
    let (status, _, html) = page(&app, &world, &format!("/scorings/{id}")).await;
    assert_eq!(status, StatusCode::OK);
    let (_, _, trace) = page(&app, &world, &format!("/api/scorings/{id}")).await;
    let trace: Value = serde_json::from_str(&trace).unwrap();
    for entry in trace["history"].as_array().unwrap() {
        let reason = entry["reason"].as_str().unwrap();
        assert!(html.contains(reason), "{reason} is missing in {html}");
    }
}

/// What a terminal would obey, or show otherwise than it is, in everything that comes from outside: the name of the blob, and what a
/// service says of its job. JSON is read on terminals, too.
#[tokio::test]
async fn nothing_that_a_terminal_would_obey_is_printed() {
    let world = World::new();
    let app = world.app();
    let name = "eu/gnp.\u{202e}vsc\u{200b}.csv";
    world.next_faults([Fault::Refused { permanent: false }]);
    world.deliver(&app, &event(name, "1")).await;
    world.deliver(&app, &event(&name.replace("eu", "us"), "1")).await;
    world.fail_jobs("exit code 1: \u{1b}]0;mine\u{7}\u{202e}\u{9b}2J");
    world.later(Duration::minutes(30));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let ledger = app.ledger();
    let mut printed = String::new();
    for json in [false, true] {
        let args = ListArgs { json, ..args(&[]) };
        let (now, path) = (world.now(), format!("claims/{name}"));
        let mut out = Vec::new();
        // As the binary prints it; its text must be good without that.
        let mut writer: Box<dyn std::io::Write> =
            if json { Box::new(Redacting::new(&mut out)) } else { Box::new(&mut out) };
        list::list(ledger, &args, now, &mut writer).await.unwrap();
        status::status(ledger, &HERE, json, None, now, &mut writer).await.unwrap();
        show::show(ledger, &HERE, &path, json, now, &mut writer).await.unwrap();
        explain::explain(ledger, &HERE, &path, json, now, &mut writer).await.unwrap();
        drop(writer);
        printed += &String::from_utf8(out).unwrap();
    }
    let unseen = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{200b}');
    assert!(!printed.contains(unseen), "{printed:?}");
    assert!(printed.contains(r"gnp.\u202evsc\u200b.csv"), "shown in place of being done: {printed}");
}
