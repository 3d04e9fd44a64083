//! Command lines as an operator types them, on a ledger of the tests' world; and the transcripts of all verbs, good and bad.

use std::fmt::Write as _;
use std::sync::Arc;

use app::App;
use app::error_chain;
use app::ledger::{Ledger, LedgerOptions, LimitScope};
use app::ports::table_store::{Continuation, ETag, Error, Key, Op, Page, Range, Row, TableName, TableStore};
use async_trait::async_trait;
use clap::Subcommand as _;
use handler::cli::ledger_command::{Here, LedgerCommand};
use handler::cli::read_ledger_command;
use handler::config::LedgerLocation;
use serde_json::json;
use stores::embedded::EmbeddedStore;
use stores::memory::MemoryStore;
use time::Duration;

use super::LIMITED;
use crate::support::world::{Fault, World, event};

/// What a command line prints and its exit code; of one that fails what is printed to stderr.
pub async fn typed(ledger: &Ledger, world: &World, columns: Option<usize>, line: &str) -> (u8, String) {
    let words = split(line);
    let command = match read_ledger_command(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(command) => command,
        Err(error) => return (64, error.render().to_string()),
    };
    let now = world.now();
    let clock: app::ports::Clock = Arc::new(move || now);
    let place = LedgerLocation::Embedded("/nowhere/ledger".into());
    let mut out = Vec::new();
    let here = Here { ledger, place: &place, by: "ann", columns, clock: &clock };
    match command.run(&here, &mut out).await {
        Ok(code) => (code, String::from_utf8(out).unwrap()),
        Err(error) => {
            let remedy = error.remedy().map(|remedy| format!("; {remedy}")).unwrap_or_default();
            (2, format!("{}{remedy}\n", error_chain(&error)))
        }
    }
}

/// As a shell does it with what is quoted by single quotes.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// One in each situation that an operator meets: scored, failed, held, running, queued, skipped, quarantined.
async fn installation(store: Arc<dyn TableStore>) -> (World, App) {
    let world = World::on(store, &LIMITED.replace("\"maxInFlight\":2", "\"maxInFlight\":2,\"maxAttempts\":1"));
    let app = world.app();
    world.deliver(&app, &event("eu/scored.csv", "1")).await;
    world.tick_until_final(&app, 3).await;
    world.next_faults([Fault::Refused { permanent: true }]);
    world.deliver(&app, &event("eu/failed.csv", "1")).await;
    world.next_faults([Fault::LostRequest]);
    world.deliver(&app, &event("eu/held.csv", "1")).await;
    world.blind(Some("403; the app's identity needs workspaces/jobs/read"));
    for _ in 0..4 {
        world.later(Duration::minutes(10));
        app.tick(world.now() + Duration::minutes(1)).await.unwrap();
    }
    for name in ["eu/running.csv", "eu/queued.csv", "eu/queued-too.csv"] {
        world.deliver(&app, &event(name, "1")).await;
    }
    let mut other = event("photo.jpg", "1");
    other["data"]["url"] = json!("https://uploads.blob.core.windows.net/photos/photo.jpg");
    other["subject"] = json!(null);
    app.accept(&json!([other, {"x": 1}])).await.unwrap().submit().await;
    app.tick(world.now() + Duration::minutes(1)).await.unwrap();
    (world, app)
}

/// What is printed differently by the width of the terminal.
const BY_WIDTH: &[&str] = &["list", "list --skipped", "list --quarantined", "list --status failed", "list --pending"];

/// In this order, as they change what the next ones find.
const LINES: &[&str] = &[
    "status",
    "status --query 'attention[].kind'",
    "list --status done",
    "list --status cancelled",
    "list --finding 00000000",
    "list --limit 1 -o csv",
    "list --limit 1 -o jsonl --query id",
    "list --query '[?status==`\"failed\"`].path'",
    "show eu/scored.csv",
    "show eu/none.csv",
    "explain eu/failed.csv",
    "explain photos/photo.jpg",
    "explain eu/queued-too.csv",
    "explain eu/none.csv",
    "wait eu/scored.csv",
    "wait eu/failed.csv",
    "wait eu/scored.csv --timeout 2",
    "output eu/scored.csv",
    "output eu/failed.csv",
    "export --status scored -o csv",
    "export --status nothing",
    "list --cause request",
    "list --cause access",
    "list --cause nothing",
    "list --status failed --endpoint https://lung.example/jobs",
    "list --before 1h",
    "resolve eu/running.csv --give-up --reason 'not ours'",
    "resolve eu/held.csv",
    "resolve eu/held.csv --send-again",
    "resolve eu/held.csv --send-again --reason ''",
    "resolve eu/held.csv --send-again --reason 'no job in the studio'",
    "retry eu/failed.csv",
    "retry eu/failed.csv --reason 'the role is there now'",
    "retry eu/scored.csv --reason again",
    "retry --status failed --reason again",
    "retry --reason again",
    "cancel --rule claims --reason test",
    "cancel eu/running.csv --reason 'wrong file'",
    "cancel eu/scored.csv --reason 'wrong file'",
    "skip eu/running.csv --reason 'test data'",
    "hold --rule claims --reason 'a new model comes' --dry-run",
    "hold eu/queued.csv --reason 'a new model comes'",
    "hold eu/scored.csv --reason 'a new model comes'",
    "release eu/queued.csv --reason 'it is there'",
    "release eu/scored.csv --reason 'it is there'",
    "expedite eu/queued-too.csv --reason 'month end'",
    "expedite eu/scored.csv --reason 'month end'",
    "skip eu/queued-too.csv --reason 'test data'",
    "rescore eu/scored.csv --reason 'model v8'",
    "rescore eu/running.csv --reason 'model v8'",
    "replay photos/photo.jpg --reason 'the rule is fixed'",
    "replay photos/none.jpg --reason 'the rule is fixed'",
    "replay --skipped --dry-run",
    "ack eu/scored.csv --reason seen",
    "ack --status failed --reason seen",
    "pause claims --reason maintenance",
    "pause claims --reason maintenance",
    "pause clams --reason maintenance",
    "limit",
    "resume claims --reason done",
    "resume claims --reason done",
    "pause --all --reason 'the subscription is moved'",
    "pause --all --reason 'the subscription is moved'",
    "pause --reason 'the subscription is moved'",
    "resume --all --reason 'it is moved'",
    "resume --all --reason 'it is moved'",
    "limit --rule claims 3 --reason 'the cluster grew'",
    "limit --rule claims 4",
    "limit --rule claims 4 --reason ''",
    "limit --rule clams 3 --reason 'the cluster grew'",
    "limit 3 --reason 'the cluster grew'",
    "limit --rule claims default --reason 'it shrank'",
    "limit --rule claims default --reason 'it shrank'",
    "limit --rule claims --history",
    "breaker",
    "breaker close --rule claims",
    "breaker close --rule claims --reason ''",
    "breaker close --rule claims --reason 'the role is there'",
    "breaker close --rule claims --reason 'the role is there'",
    "breaker close --rule clams --reason 'the role is there'",
    "breaker --history",
    "publish eu/scored.csv --reason 'the role is there'",
    "publish eu/running.csv --reason 'the role is there'",
    "publish --reason 'the role is there'",
    "sweep",
    "sweep --rule clams",
    "projection rebuild",
    "projection clean",
    "status",
];

/// One whose result could not be published, as another one's file lies there, and whose place is swept.
async fn unpublished() -> (World, App) {
    let rules = |if_exists: &str| {
        json!({"rules": [{"id": "claims", "match": {"account": "uploads", "container": "claims"},
            "endpoint": {"uri": "https://heart.example/jobs"},
            "outputs": {"score": {"type": "UriFile", "uri": "azureml://datastores/out/paths/{scoring.id}/{attempt}/p",
                "publish": {"uri": "azureml://datastores/out/paths/latest/{blob.stem}.csv", "ifExists": if_exists}}}}]})
        .to_string()
    };
    let mut world = World::with_rules(&rules("refuse"));
    let app = world.app();
    world.publications(|all| all.put_foreign("azureml://datastores/out/paths/latest/a.csv", 3));
    world.deliver(&app, &event("eu/a.csv", "1")).await;
    world.tick_until_final(&app, 3).await;
    for _ in 0..7 {
        world.later(Duration::minutes(2));
        app.tick(world.now() + Duration::minutes(1)).await.unwrap();
    }
    let no_pause: app::Pause = Arc::new(|_| Box::pin(async {}));
    app.sweep(world.now() + Duration::minutes(5), &no_pause).await.unwrap();
    world.rules = lifecycle::Rules::read(&rules("replace")).unwrap();
    let app = world.app();
    (world, app)
}

/// What is typed there.
const UNPUBLISHED: &[&str] = &[
    "publish eu/a.csv --reason 'ours goes there'",
    "publish eu/a.csv --reason 'ours goes there'",
    "publish eu/none.csv --reason 'ours goes there'",
    "sweep",
    "sweep --rule claims",
];

/// Every command on a ledger, as `--help` names it.
fn verbs() -> Vec<String> {
    let all = LedgerCommand::augment_subcommands(clap::Command::new("scorekeeper"));
    all.get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

/// The transcript of all verbs is a file; whoever changes a text reads there what people will read.
#[tokio::test(start_paused = true)]
async fn every_verb_good_and_bad_on_each_terminal_is_as_the_transcript_has_it() {
    for verb in verbs() {
        let of_it = LINES.iter().chain(BY_WIDTH).filter(|line| line.split(' ').next() == Some(&verb)).count();
        assert!(of_it >= 2, "`{verb}` is typed {of_it} times: once as it should be, and once badly");
    }
    let (world, app) = installation(Arc::new(MemoryStore::new())).await;
    let mut told = String::new();
    let mut print = |columns: Option<usize>, line: &str, (code, said): (u8, String)| {
        let width = columns.map(|columns| format!("[{columns} columns] ")).unwrap_or_default();
        write!(told, "{width}$ scorekeeper {line}\n{said}").unwrap();
        if !said.ends_with('\n') {
            told.push('\n');
        }
        writeln!(told, "(exit code {code})\n").unwrap();
        if let Some(columns) = columns {
            assert!(code != 0 || said.lines().all(|text| text.chars().count() <= columns), "{line}: {said}");
        }
    };
    for line in BY_WIDTH {
        for columns in [Some(80), Some(200), None] {
            print(columns, line, typed(app.ledger(), &world, columns, line).await);
        }
    }
    let mut piped = Vec::new();
    for line in LINES {
        let said = typed(app.ledger(), &world, None, line).await;
        piped.push(said.clone());
        print(None, line, said);
        world.later(Duration::SECOND);
    }
    let (unpublished_world, unpublished_app) = unpublished().await;
    for line in UNPUBLISHED {
        print(None, line, typed(unpublished_app.ledger(), &unpublished_world, None, line).await);
        unpublished_world.later(Duration::SECOND);
    }
    // A terminal changes nothing of what is no table, so that these stand there once. Orders change what the next ones find:
    // each terminal has its own installation.
    for columns in [80, 200] {
        let (world, app) = installation(Arc::new(MemoryStore::new())).await;
        for (line, piped) in LINES.iter().zip(&piped) {
            let said = typed(app.ledger(), &world, Some(columns), line).await;
            if !line.starts_with("list --cause") && !line.starts_with("list --before") {
                assert_eq!(said, *piped, "{line} on {columns} columns");
            }
            world.later(Duration::SECOND);
        }
    }
    // Rows of CSV end as RFC 4180 has it, which is held elsewhere.
    let told = told.replace("\r\n", "\n");
    let golden = include_str!("transcript.txt").replace("\r\n", "\n");
    if told != golden {
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("transcript.txt");
        std::fs::write(&path, &told).unwrap();
        let (line, (new, old)) =
            told.lines().zip(golden.lines()).enumerate().find(|(_, (a, b))| a != b).unwrap_or((0, ("", "")));
        panic!(
            "line {}:\n  now {new}\n  was {old}\nIf it is right as it is now: cp {} tests/cli/transcript.txt",
            line + 1,
            path.display()
        );
    }
}

/// The table service as it answers whoever may only read.
struct ForReaders(Arc<dyn TableStore>);

#[async_trait]
impl TableStore for ForReaders {
    async fn create_table(&self, _: &TableName) -> Result<(), Error> {
        Err(Error::Denied("403 AuthorizationPermissionMismatch".to_owned()))
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

    async fn write(&self, _: &TableName, _: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        Err(Error::Denied("403 AuthorizationPermissionMismatch".to_owned()))
    }
}

/// Each verb that changes something, as the role of a reader lets it: not at all, and it says which role it takes.
#[tokio::test(start_paused = true)]
async fn whoever_may_only_read_changes_nothing_by_any_verb_and_is_told_the_role() {
    let folder = tempfile::tempdir().unwrap();
    let (world, app) = installation(Arc::new(EmbeddedStore::open(folder.path()).unwrap())).await;
    let options = |writer: &str| LedgerOptions {
        task_hub: "Test".to_owned(),
        writer: writer.to_owned(),
        new_id: world.ledger_id.clone(),
        projection: false,
    };
    let reader = Arc::new(ForReaders(Arc::clone(&world.store) as Arc<dyn TableStore>));
    let reader = Ledger::new(reader, &options("reader")).unwrap();
    let file = Arc::new(EmbeddedStore::open_read_only(folder.path()).unwrap());
    let file = Ledger::new(file, &options("file")).unwrap();
    let before = world.statuses(&app).await;
    for line in [
        "resolve eu/held.csv --send-again --reason x",
        "retry eu/failed.csv --reason x",
        "cancel eu/running.csv --reason x",
        "skip eu/queued.csv --reason x",
        "hold eu/queued.csv --reason x",
        "release --finding ON-HOLD --reason x",
        "expedite eu/queued-too.csv --reason x",
        "ack eu/failed.csv --reason x",
        "rescore eu/scored.csv --reason x",
        "replay photos/photo.jpg --reason x",
        "pause claims --reason x",
        "pause --all --reason x",
        "limit --rule claims 3 --reason x",
        "breaker close --rule claims --reason x",
        "projection rebuild",
    ] {
        let mut line = line.to_owned();
        if line.contains("ON-HOLD") {
            let (code, told) = typed(app.ledger(), &world, None, "hold eu/queued.csv --reason x").await;
            assert_eq!(code, 0, "{told}");
            line = "release eu/queued.csv --reason x".to_owned();
        }
        let (code, told) = typed(&reader, &world, None, &line).await;
        assert!(code == 2 && told.contains("AuthorizationPermissionMismatch"), "{line}: {code} {told}");
        assert!(
            told.contains("needs the role Storage Table Data Contributor on the storage account"),
            "{line}: {told}"
        );
        let (code, told) = typed(&file, &world, None, &line).await;
        assert!(code == 2 && told.contains("opened for reading only"), "{line}: {code} {told}");
    }
    assert_eq!(world.statuses(&app).await, before);
    let (_, told) = typed(app.ledger(), &world, None, "limit --rule claims --history").await;
    assert_eq!(told, "No operator has set a limit.\n");
    let (code, _) = typed(app.ledger(), &world, None, "pause claims --reason x").await;
    assert_eq!(code, 0);
    for ledger in [&reader, &file] {
        let (code, told) = typed(ledger, &world, None, "resume claims --reason x").await;
        assert!(code == 2 && told.contains("Permission") || told.contains("reading only"), "{code} {told}");
    }
    assert!(app.ledger().controls().await.unwrap().limits.contains_key(&LimitScope::rule("claims")), "still paused");
    // What only reads works for them, and so does whatever would change nothing.
    for line in ["status", "list", "show eu/scored.csv", "explain eu/failed.csv", "retry eu/failed.csv --dry-run"] {
        let (code, told) = typed(&reader, &world, None, line).await;
        assert!(code < 2, "{line}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_of_the_projection_says_how_much_and_where() {
    let (world, app) = installation(Arc::new(MemoryStore::new())).await;
    let count = world.statuses(&app).await.values().sum::<usize>();
    let (code, told) = typed(app.ledger(), &world, None, "projection rebuild").await;
    let expected = format!(
        "Scorings marked: {count}. The next reconcile runs write their rows in TestInstances and TestHistory again.\n\
         An app whose SCOREKEEPER_PROJECTION is off does not.\n"
    );
    assert_eq!((code, told), (0, expected));
}
