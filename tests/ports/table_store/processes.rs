//! What only the embedded store promises: several processes on one ledger, and nothing lost when one is killed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use app::ports::table_store::{Entity, Error, IfMatch, Key, Op, Range, Row, TableName, TableStore};
use stores::embedded::{EmbeddedStore, FILE, OpenError};

const FOLDER: &str = "SCOREKEEPER_TEST_LEDGER";

fn table() -> TableName {
    TableName::read("Crash").unwrap()
}

fn counter() -> Key {
    Key::new("p", "counter")
}

/// Adds one to the counter and a row of that number, in one transaction; the number.
async fn advance(store: &EmbeddedStore, who: &str) -> i64 {
    loop {
        let row = store.get(&table(), &counter()).await.unwrap().expect("the counter is there");
        let next = row.entity.int64("N").expect("it counts") + 1;
        let ops = [
            Op::Merge(Entity::new(counter()).with("N", next), IfMatch::Tag(row.etag)),
            Op::Insert(Entity::new(Key::new("p", format!("n~{next:08}"))).with("Who", who)),
        ];
        match store.write(&table(), &ops).await {
            Ok(_) => return next,
            Err(Error::Conflict { op: 0 }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn started(folder: &Path) -> EmbeddedStore {
    let store = EmbeddedStore::open(folder).unwrap();
    store.create_table(&table()).await.unwrap();
    store.write(&table(), &[Op::Insert(Entity::new(counter()).with("N", 0_i64))]).await.unwrap();
    store
}

async fn numbered(store: &EmbeddedStore) -> Vec<Row> {
    let range = Range::of_prefix("p", "n~");
    let mut page = store.page(&table(), &range, None).await.unwrap();
    let mut rows = page.rows;
    while let Some(next) = page.next {
        page = store.page(&table(), &range, Some(&next)).await.unwrap();
        rows.append(&mut page.rows);
    }
    rows
}

/// Not a test by itself: the second process of the test below.
#[tokio::test]
#[ignore = "run as a child process"]
async fn child_writes_until_it_is_killed() {
    #[expect(clippy::disallowed_methods, reason = "the parent process names the folder")]
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let store = EmbeddedStore::open(Path::new(&folder)).unwrap();
    loop {
        let written = advance(&store, "child").await;
        println!("\nwritten {written}");
    }
}

struct Writer {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Writer {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "table_store::processes::child_writes_until_it_is_killed"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next number that the child says it has written; `None` when it has ended.
    fn said(&mut self) -> Option<i64> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix("written ")?.parse().ok())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn two_processes_write_one_reads_and_a_killed_one_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let own = started(folder.path()).await;
    let reader = EmbeddedStore::open_read_only(folder.path()).unwrap();
    for life in 1..=3 {
        let mut child = Writer::start(folder.path());
        let mut last = 0;
        for _ in 0..15 {
            last = child.said().expect("the child writes");
            advance(&own, "own").await;
            // A reader sees whole transactions only: the counter never lags behind the rows.
            let rows = numbered(&reader).await;
            let count = reader.get(&table(), &counter()).await.unwrap().unwrap().entity.int64("N").unwrap();
            assert!(i64::try_from(rows.len()).unwrap() <= count, "{} rows, the counter says {count}", rows.len());
        }
        child.child.kill().unwrap();
        while let Some(said) = child.said() {
            last = said;
        }
        drop(child);
        // Everything that was said is there, whole, and both sides took part.
        let rows = numbered(&own).await;
        let numbers: Vec<String> = (1..=rows.len()).map(|n| format!("n~{n:08}")).collect();
        assert_eq!(rows.iter().map(|row| row.entity.key.row.clone()).collect::<Vec<_>>(), numbers, "life {life}");
        assert!(i64::try_from(rows.len()).unwrap() >= last, "the child wrote {last}, there are {} rows", rows.len());
        let count = own.get(&table(), &counter()).await.unwrap().unwrap().entity.int64("N");
        assert_eq!(count, i64::try_from(rows.len()).ok(), "life {life}");
        for who in ["own", "child"] {
            assert!(rows.iter().any(|row| row.entity.string("Who") == Some(who)), "nothing of {who}");
        }
        let etags: std::collections::BTreeSet<_> = rows.iter().map(|row| &row.etag.0).collect();
        assert_eq!(etags.len(), rows.len(), "two processes gave the same ETag");
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = started(folder.path()).await;
    let before = store.get(&table(), &counter()).await.unwrap();
    drop(store);
    // The log is gone after a clean end; reading alone must still work.
    let reader = EmbeddedStore::open_read_only(folder.path()).unwrap();
    assert_eq!(reader.get(&table(), &counter()).await.unwrap(), before);
    drop(reader);
    let store = EmbeddedStore::open(folder.path()).unwrap();
    assert_eq!(store.get(&table(), &counter()).await.unwrap(), before);
    // ETags go on; they do not begin again.
    let etags = store.write(&table(), &[Op::Upsert(Entity::new(Key::new("p", "later")))]).await.unwrap();
    assert_ne!(etags[0], before.map(|row| row.etag));
}

#[tokio::test]
async fn a_ledger_opened_for_reading_refuses_writes() {
    let folder = tempfile::tempdir().unwrap();
    let _store = started(folder.path()).await;
    let reader = EmbeddedStore::open_read_only(folder.path()).unwrap();
    let write = reader.write(&table(), &[Op::Upsert(Entity::new(Key::new("p", "x")))]).await;
    assert!(matches!(write, Err(Error::Denied(_))), "{write:?}");
    let create = reader.create_table(&TableName::read("Another").unwrap()).await;
    assert!(matches!(create, Err(Error::Denied(_))), "{create:?}");
}

#[test]
fn reading_where_there_is_no_ledger_says_what_to_do_and_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let error = EmbeddedStore::open_read_only(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::NoLedger(_)), "{error}");
    assert!(error.to_string().contains("start the handler with this folder"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // A handler that was killed before its first write leaves an empty file.
    std::fs::write(folder.path().join(FILE), []).unwrap();
    assert!(matches!(EmbeddedStore::open_read_only(folder.path()), Err(OpenError::NoLedger(_))));
}

#[test]
fn a_ledger_of_a_later_release_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::open(folder.path()).unwrap());
    let file = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    file.pragma_update(None, "user_version", 2).unwrap();
    drop(file);
    for error in
        [EmbeddedStore::open(folder.path()), EmbeddedStore::open_read_only(folder.path())].map(Result::unwrap_err)
    {
        assert!(matches!(error, OpenError::TooNew { found: 2, .. }), "{error}");
    }
}

#[test]
fn a_file_that_is_no_ledger_is_an_error_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    std::fs::write(&file, "a text that somebody put here").unwrap();
    for error in
        [EmbeddedStore::open(folder.path()), EmbeddedStore::open_read_only(folder.path())].map(Result::unwrap_err)
    {
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "a text that somebody put here");
}

#[test]
fn ten_handlers_may_open_a_new_ledger_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let opening: Vec<_> = (0..10).map(|_| scope.spawn(|| EmbeddedStore::open(folder.path()))).collect();
        for opened in opening {
            opened.join().unwrap().unwrap();
        }
    });
}

#[tokio::test]
async fn an_operator_can_ask_the_ledger_in_sql() {
    let folder = tempfile::tempdir().unwrap();
    let store = started(folder.path()).await;
    let entity = Entity::new(Key::new("p", "J~1")).with("State", "queued").with("Version", 7_i64);
    store.write(&table(), &[Op::Insert(entity)]).await.unwrap();
    let file = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    let found: (String, String) = file
        .query_row("SELECT properties->>'State', properties->>'Version' FROM entities WHERE rk = 'J~1'", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(found, ("queued".to_owned(), "7".to_owned()));
}

#[tokio::test]
async fn a_merge_may_not_make_an_entity_larger_than_the_service_takes() {
    let folder = tempfile::tempdir().unwrap();
    let store = started(folder.path()).await;
    let half = |from: usize| {
        (from..from + 130).fold(Entity::new(Key::new("p", "wide")), |entity, n| entity.with(format!("P{n}"), 1))
    };
    store.write(&table(), &[Op::Insert(half(0))]).await.unwrap();
    let merged = store.write(&table(), &[Op::Merge(half(130), IfMatch::Any)]).await;
    assert!(matches!(merged, Err(Error::Refused(_))), "{merged:?}");
    assert_eq!(store.get(&table(), &Key::new("p", "wide")).await.unwrap().unwrap().entity, half(0));
}
