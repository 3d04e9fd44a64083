//! `list` and `export`: what is listed, in each form, and nothing that a terminal would obey.

use app::ledger::{Place, listed_key, rows};
use app::ports::table_store::{Entity, IfMatch, Op, TableStore as _};
use app::reports::MAX_LOOKED;
use axum::http::StatusCode;
use handler::cli::export::{ExportArgs, ExportFormat};
use handler::cli::filter::FurtherFilter;
use handler::cli::format::Format;
use handler::cli::json::{JsonArgs, Query};
use handler::cli::list::{Instead, ListArgs};
use handler::cli::on_ledger::{ATTENTION, OK};
use handler::cli::{explain, export, list, show, status};
use handler::redacting::Redacting;
use lifecycle::{ScoringId, Status};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Row, RowAccessor as _};
use serde_json::{Value, json};
use time::Duration;

use super::{HERE, args, page, populate, text, without_ids};
use crate::support::world::{Fault, RULE, START, World, event};

#[tokio::test]
async fn list_shows_the_newest_first_and_filters() {
    let world = World::new();
    let app = populate(&world).await;
    let (code, list) = text(async |out| list::list(app.ledger(), &args(&[]), START, out).await).await;
    assert_eq!(code, OK);
    let golden = "\
ID                                STATUS   BLOB                 ATTEMPT  CREATED (UTC)        JOB
ID3                               running  claims/eu/ü <c>.csv        1  2026-07-21 10:02:30  job-2
ID2                               unknown  claims/eu/b.csv            1  2026-07-21 10:02:00  -
ID1                               scored   claims/eu/a.csv            1  2026-07-21 10:00:00  job-1
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

#[tokio::test]
async fn a_list_that_finds_little_says_how_far_back_it_looked_and_goes_on_there() {
    const PAGES: usize = 20;
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("oldest.csv", "1")).await;
    let begun = world.now();
    // Of what a filter refuses nothing is read but its row in the list index.
    let rows: Vec<Op> = (1..=PAGES * MAX_LOOKED)
        .map(|n| {
            let (id, created) =
                (format!("{n:032x}").parse().unwrap(), begun + Duration::seconds(i64::try_from(n).unwrap()));
            let row = Entity::new(listed_key(&id, created)).with("SchemaVersion", 1).with("RuleId", "claims");
            let url = format!("https://uploads.blob.core.windows.net/claims/{n}.csv");
            Op::Insert(row.with("BlobUrl", url).with("CreatedTime", created))
        })
        .collect();
    for ops in rows.chunks(100) {
        world.store.write(&world.table("State"), ops).await.unwrap();
    }
    let args = |after: Option<&str>, output| ListArgs {
        prefix: Some("claims/oldest".to_owned()),
        after: after.map(|place| Place::read(place).unwrap()),
        limit: 5,
        output,
        ..ListArgs::default()
    };
    let listed = async |args: ListArgs| {
        let (code, told) = text(async |out| list::list(app.ledger(), &args, world.now(), out).await).await;
        assert_eq!(code, OK, "{told}");
        told
    };
    let told = listed(args(None, Format::Table)).await;
    let (shown, next) = told.trim_end().trim_end_matches(')').split_once(" UTC, and further: --after ").unwrap();
    assert_eq!(shown, "(0 shown; looked back to 2026-07-21 10:00:01");
    assert!(listed(args(Some(next), Format::Table)).await.contains("claims/oldest.csv"), "it goes on there");
    let all = listed(args(None, Format::Jsonl)).await;
    assert!(all.contains("claims/oldest.csv"), "for tools it looks to the end: {all}");
}

#[tokio::test]
async fn what_turns_the_direction_of_writing_is_shown_and_stays_itself_in_json() {
    let world = World::new();
    let app = world.app();
    let id = world.deliver(&app, &event("eu/a\u{202e}gpj.csv", "1")).await.remove(0);
    let (_, list) = text(async |out| list::list(app.ledger(), &args(&[]), START, out).await).await;
    let (_, shown) = text(async |out| show::show(app.ledger(), &HERE, &id, &JsonArgs::TEXT, START, out).await).await;
    assert!(!list.contains('\u{202e}') && !shown.contains('\u{202e}'), "{list:?} {shown:?}");
    assert!(list.contains(r"a\u202egpj.csv"), "{list}");
    let mut json = Vec::new();
    let all = ListArgs { json: JsonArgs::ALL, ..args(&[]) };
    list::list(app.ledger(), &all, START, &mut Redacting::new(&mut json)).await.unwrap();
    assert!(!String::from_utf8_lossy(&json).contains('\u{202e}'));
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json[0]["path"], "claims/eu/a\u{202e}gpj.csv");
}

#[tokio::test]
async fn list_json_is_an_array_of_objects_with_stable_members() {
    let world = World::new();
    let app = populate(&world).await;
    let json = ListArgs { json: JsonArgs::ALL, ..args(&[Status::Scored]) };
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
    let json = ListArgs { json: JsonArgs::ALL, ..args(&[]) };
    let (_, list) = text(async |out| list::list(app.ledger(), &json, START, out).await).await;
    assert_eq!(list.trim(), "[]", "also before there is a table");
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
    let export = |output| ExportArgs {
        which: HERE,
        status: Vec::new(),
        rule: None,
        prefix: None,
        since: None,
        further: FurtherFilter::default(),
        output,
    };
    let (code, all) =
        text(async |out| export::export(app.ledger(), &export(ExportFormat::Csv), START, out).await).await;
    assert_eq!((code, all.split("\r\n").count()), (OK, 1 + 603 + 1), "a header, each once, and the last line's end");
    let (_, all) = text(async |out| export::export(app.ledger(), &export(ExportFormat::Jsonl), START, out).await).await;
    let ids: std::collections::BTreeSet<String> =
        all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].to_string()).collect();
    assert_eq!(ids.len(), 603);
    let mut file = Vec::new();
    export::export(app.ledger(), &export(ExportFormat::Parquet), START, &mut file).await.unwrap();
    let reader = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
    let rows: Vec<Row> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    let of_file: std::collections::BTreeSet<String> =
        rows.iter().map(|row| format!("\"{}\"", row.get_string(0).unwrap())).collect();
    assert_eq!(of_file, ids, "the same of all of them");
    let columns: Vec<String> = rows[0].get_column_iter().map(|(name, _)| name.clone()).collect();
    let at = |name: &str| columns.iter().position(|column| column == name).unwrap();
    assert!(rows.iter().all(|row| row.get_long(at("attempt")).is_ok()), "{}", rows[0]);
    assert!(rows.iter().all(|row| row.get_timestamp_micros(at("createdTime")).is_ok()), "{}", rows[0]);
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
    let json = ListArgs { json: JsonArgs::ALL, ..args(&[]) };
    let (code, _) = text(async |out| list::list(app.ledger(), &json, START, out).await).await;
    assert_eq!(code, ATTENTION, "for scripts as for people");
    for wanted in [id.as_str(), &id.as_str()[..9]] {
        let (code, shown) =
            text(async |out| show::show(app.ledger(), &HERE, wanted, &JsonArgs::TEXT, START, out).await).await;
        assert!(code == ATTENTION && shown.contains("`State`"), "{shown}");
    }
    let (status, _, html) = page(&app, &world, "/").await;
    assert!(status == StatusCode::OK && html.contains("`State`") && html.contains("eu/a.csv"), "{html}");
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
    let (_, shown) =
        text(async |out| show::show(app.ledger(), &HERE, "q?x=1&y=2.csv", &JsonArgs::TEXT, START, out).await).await;
    assert!(shown.contains("x=1") && shown.contains("y=2.csv") && !shown.contains("***"), "{shown}");
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
    for json in [JsonArgs::TEXT, JsonArgs::ALL] {
        let args = ListArgs { json: json.clone(), ..args(&[]) };
        let (now, path) = (world.now(), format!("claims/{name}"));
        let mut out = Vec::new();
        // As the binary prints it; its text must be good without that.
        let mut writer: Box<dyn std::io::Write> =
            if json.is_asked_for() { Box::new(Redacting::new(&mut out)) } else { Box::new(&mut out) };
        list::list(ledger, &args, now, &mut writer).await.unwrap();
        status::status(ledger, &HERE, &json, None, now, &mut writer).await.unwrap();
        show::show(ledger, &HERE, &path, &json, now, &mut writer).await.unwrap();
        explain::explain(ledger, &HERE, &path, &json, now, &mut writer).await.unwrap();
        drop(writer);
        printed += &String::from_utf8(out).unwrap();
    }
    let unseen = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{200b}');
    assert!(!printed.contains(unseen), "{printed:?}");
    assert!(printed.contains(r"gnp.\u202evsc\u200b.csv"), "shown in place of being done: {printed}");
}

/// On a terminal a list fits it: ids become beginnings of themselves, which every command takes, and paths lose their middle.
#[tokio::test]
async fn a_list_fits_the_terminal_and_a_pipe_gets_everything() {
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1"));
    let app = world.app();
    let id = world.deliver(&app, &event("a/rather/long/path/of/folders/with-a-file.csv", "1")).await.remove(0);
    world.fail_jobs("ValueError: column age is missing in the file that was given");
    world.later(Duration::minutes(2));
    app.tick(world.now() + Duration::minutes(1)).await.unwrap();
    let of = async |width, output| {
        let args = ListArgs { width, output, ..args(&[]) };
        let (_, told) = text(async |out| list::list(app.ledger(), &args, START, out).await).await;
        told.replace(&id, &format!("{:32}", "ID")).replace(&id[..10], "ID-BEGIN10")
    };
    let narrow = "\
ID          STATUS  BLOB              ATTEMPT  CREATED (UTC)        WHY
ID-BEGIN10  failed  claim…a-file.csv        1  2026-07-21 10:00:00  Val…as given
";
    let told = of(Some(80), Format::Table).await;
    assert!(told == narrow && told.lines().all(|line| line.chars().count() <= 80), "{told}");
    for wide in [Some(400), None] {
        let told = of(wide, Format::Table).await;
        assert!(told.contains("claims/a/rather/long/path/of/folders/with-a-file.csv"), "{told}");
        assert!(told.contains("job-1") && told.contains("column age is missing in the file that was given"), "{told}");
    }
    let told = of(Some(200), Format::Table).await;
    assert!(told.lines().all(|line| line.chars().count() <= 200) && told.contains("job-1"), "{told}");
    // Everything, each value under the name of its column.
    let told = of(Some(80), Format::Wide).await;
    let mut lines = told.lines();
    let (header, row) = (lines.next().unwrap(), lines.next().unwrap());
    let at = header.find("failureCause").unwrap();
    assert_eq!(
        row.char_indices().nth(at).map(|(at, _)| row[at..].split(' ').next().unwrap()),
        Some("userCode"),
        "{told}"
    );
}

#[tokio::test]
async fn skipped_and_quarantined_events_are_listed_page_after_page() {
    let world = World::new();
    let app = world.app();
    for n in 0..5 {
        let mut other = event(&format!("{n}.csv"), "1");
        other["data"]["url"] = json!(format!("https://uploads.blob.core.windows.net/photos/{n}.jpg"));
        other["subject"] = json!(null);
        app.accept(&json!([other, {"x": n}])).await.unwrap().submit().await;
        world.later(Duration::days(1));
    }
    for instead in
        [Instead { skipped: true, ..Instead::default() }, Instead { quarantined: true, ..Instead::default() }]
    {
        let (mut after, mut rows) = (None, Vec::new());
        for _ in 0..4 {
            let page = ListArgs { instead: instead.clone(), limit: 2, after: after.take(), ..args(&[]) };
            let (_, told) = text(async |out| list::list(app.ledger(), &page, world.now(), out).await).await;
            rows.extend(told.lines().filter(|line| line.contains("2026-07-2")).map(str::to_owned));
            let Some(next) = told.split("--after ").nth(1) else { break };
            after = Place::read(next.trim_end().trim_end_matches(')'));
            assert!(after.is_some(), "{told}");
        }
        let days: Vec<_> = rows.iter().filter_map(|row| row.split("2026-07-").nth(1)).map(|row| &row[..2]).collect();
        assert_eq!(days, ["25", "24", "23", "22", "21"], "each once, the newest day first: {rows:?}");
    }
}

#[tokio::test]
async fn an_expression_picks_from_a_list_and_is_refused_of_what_is_no_json() {
    let world = World::new();
    let app = populate(&world).await;
    let query = |text: &str| JsonArgs { query: Some(Query::read(text).unwrap()), ..JsonArgs::TEXT };
    let asked = ListArgs { json: query("[?status == 'scored'].path"), ..args(&[]) };
    let (code, told) = text(async |out| list::list(app.ledger(), &asked, START, out).await).await;
    assert_eq!((code, serde_json::from_str::<Value>(&told).unwrap()), (OK, json!(["claims/eu/a.csv"])));
    let csv = ListArgs { output: Format::Csv, ..asked };
    let (code, told) = text(async |out| list::list(app.ledger(), &csv, START, out).await).await;
    assert!(code == 64 && told.contains("--query is of JSON"), "{told}");
}
