//! The binary: its arguments, exit codes, and what it says when it cannot work.

use std::collections::BTreeMap;
use std::sync::Arc;

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use serde_json::Value;
use stores::embedded::EmbeddedStore;

use crate::support::functions_host::SCOREKEEPER;
use crate::support::process::Process;
use crate::support::world::{RULE, World, event};

fn run(arguments: &[&str], folder: &std::path::Path) -> Process {
    let home = ("XDG_CONFIG_HOME".to_owned(), folder.display().to_string());
    Process::spawn(SCOREKEEPER, arguments, folder, &BTreeMap::from([home]))
}

/// A name for a ledger, and the ledger by its name; the words of `config` for where a value is from.
#[tokio::test]
async fn a_profile_names_a_ledger_until_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::open(&folder.path().join("there/ledger")).unwrap());
    let here = folder.path().canonicalize().unwrap();
    let at = format!("embedded:{}", here.join("there/ledger").display());
    for (arguments, code, says) in [
        (&["profile", "list"][..], 0, "There are no profiles".to_owned()),
        (
            &["profile", "add", "prod", "--ledger", "embedded:there/ledger", "--task-hub", "Prod"],
            0,
            format!("prod is {at}, task hub Prod."),
        ),
        (&["profile", "list"], 0, format!("prod  {at}  Prod")),
        (&["profile", "list", "--query", "[0].taskHub"], 0, "\"Prod\"".to_owned()),
        (&["profile", "add", "prod", "--ledger", "embedded:other"], 64, "remove it first, or add --replace".to_owned()),
        (&["list", "--profile", "prod"], 0, "The ledger holds no scoring yet.".to_owned()),
        (&["explain", "a.csv", "--profile", "prod"], 1, "scorekeeper list --profile prod --prefix".to_owned()),
        (&["profile", "remove", "prod"], 0, "stays as it is".to_owned()),
        (&["list", "--profile", "prod"], 64, "`--profile` is `prod`".to_owned()),
    ] {
        let mut process = run(arguments, &here);
        let status = process.ended().await;
        let all = process.stdout().join("\n") + &process.stderr();
        assert!(status.code() == Some(code) && all.contains(&says), "{arguments:?} {status}: {all}");
    }
}

/// A pipe gets what there is at once, and the end of the watch is told by the code of what it saw.
#[tokio::test]
async fn a_watch_ends_by_ctrl_c_with_the_code_of_what_it_saw() {
    let folder = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::open(&folder.path().join(".scorekeeper/ledger")).unwrap());
    for (arguments, code, says) in [
        (&["status", "--watch"][..], 1, "Needs attention"),
        (&["list", "--watch", "1"], 0, "The ledger holds no scoring yet."),
    ] {
        let mut process = run(arguments, folder.path());
        process.until_logged(|line| line.contains(says)).await;
        process.handle().signal(rustix::process::Signal::INT);
        assert_eq!(process.ended().await.code(), Some(code), "{arguments:?}: {}", process.stderr());
    }
}

/// A file, and no text: nothing in it may be taken for a line or a control character.
#[tokio::test]
async fn a_parquet_file_comes_out_of_the_binary_as_it_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&folder.path().join(".scorekeeper/ledger")).unwrap();
    let world = World::on(Arc::new(store), RULE);
    let id = world.deliver(&world.app(), &event("a.csv", "1")).await.remove(0);
    let mut export = std::process::Command::new(SCOREKEEPER);
    let export = export.args(["export", "--task-hub", "Test", "-o", "parquet"]).current_dir(folder.path()).env_clear();
    let output = export.output().unwrap();
    let reader = SerializedFileReader::new(bytes::Bytes::from(output.stdout)).unwrap();
    let ids: Vec<String> =
        reader.get_row_iter(None).unwrap().map(|row| row.unwrap().get_string(0).unwrap().clone()).collect();
    assert_eq!(ids, [id]);
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
    assert!(told(&["export", "--help"]).contains("-o parquet > scorings.parquet"));
    told(&["man", "man1"]);
    let page = std::fs::read_to_string(folder.path().join("man1/scorekeeper-retry.1")).unwrap();
    assert!(page.contains("dry") && page.contains("reason"), "{page}");
}

#[tokio::test]
async fn the_binary_takes_exactly_one_resolution() {
    let folder = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::open(&folder.path().join(".scorekeeper/ledger")).unwrap());
    let id = "0".repeat(32);
    for (arguments, code, said) in [
        (vec!["resolve", &id], 64, "<--send-again|--job <NAME>|--give-up>"),
        (vec!["resolve", &id, "--send-again"], 64, "--reason <TEXT>"),
        (vec!["resolve", &id, "--send-again", "--give-up"], 64, "cannot be used with"),
        (vec!["resolve", &id, "--job", "batchjob-1", "--reason", "x"], 1, "There is no scoring"),
    ] {
        let mut process = run(&arguments, folder.path());
        let status = process.ended().await;
        let all = process.stdout().join("\n") + &process.stderr();
        assert!(status.code() == Some(code) && all.contains(said), "{status}: {all}");
    }
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
    let mut limit = run(&["limit", "--rule", "claims", "0", "--reason", "a test", "--task-hub", "Test"], folder.path());
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
        (&["status"], 64, "start one with `scorekeeper local`"),
        (&["list", "--limit", "0"], 64, "0 is not in 1.."),
        (&["list", "--query", "[?"], 64, "Parse error"),
        (&["list", "--profile", "prod"], 64, "`scorekeeper profile add NAME --ledger LEDGER` makes one"),
        (&["list", "--profile", "prod", "--data", "x"], 64, "cannot be used with"),
        (&["wait", "a.csv", "--timeout", "2"], 64, "`2` is no time with its unit, such as 30s, 90m, 24h or 7d"),
        (&["doctor", "--within", "P2M"], 64, "such as PT2M for two minutes"),
        (&["profile", "show", "prod"], 64, "there is no profile `prod`"),
        (&["list", "--data", "nowhere"], 2, "nowhere"),
        (&["list", "--status", "done"], 64, "queued, grouped"),
        (&["list", "--ledger", "http://table.example/x"], 64, "https"),
        (&["list", "--ledger", "embedded:x", "--data", "y"], 64, "cannot be used with"),
        (&["show"], 64, "<ID>"),
        (&["breaker", "close", "--reason", "y"], 64, "--endpoint"),
        (&["breaker", "close", "--rule", "x"], 64, "--reason"),
        (&["breaker", "open"], 64, "close"),
        (&["limit", "--rule", "x", "many"], 64, "neither a number from 0 nor `default`"),
        (&["limit", "--rule", "x", "3000000000"], 64, "neither a number"),
        (&["limit", "--rule", "x", "3"], 64, "--reason"),
        (&["limit", "--rule", "x", "3", "--reason", "y", "--data", "nowhere"], 2, "nowhere"),
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
    for (file, says) in [("none.json", "none.json"), ("utf16.json", "save it as UTF-8")] {
        let mut check = run(&["rules", "check", file, "--json"], folder.path());
        assert_eq!(check.ended().await.code(), Some(64));
        let told: Value = serde_json::from_str(&check.stdout().join("\n")).unwrap();
        assert_eq!((&told["file"], &told["rules"]), (&file.into(), &0.into()), "{told}");
        assert!(told["problems"][0]["remedy"].as_str().is_some_and(|remedy| remedy.contains(says)), "{told}");
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

/// On this machine alone, as whoever started it.
#[tokio::test]
async fn ui_shows_a_ledger_on_this_machine_and_listens_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::open(&folder.path().join("there/ledger")).unwrap());
    let ui = ["ui", "--ledger", "embedded:there/ledger"];
    let mut refused = run(&[&ui[..], &["--listen", "0.0.0.0:0"]].concat(), folder.path());
    let status = refused.ended().await;
    assert!(
        status.code() == Some(64) && refused.stderr().contains("act in your name"),
        "{status}: {}",
        refused.stderr()
    );
    for (more, says, form) in [(None, "orders are given by", true), (Some("--read-only"), "only shown", false)] {
        let mut process = run(&ui.into_iter().chain(more).collect::<Vec<_>>(), folder.path());
        let line = process.until_logged(|line| line.contains(says)).await;
        let url = line.split_once(": http").unwrap().1.split(' ').next().unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http{url}")).send().await.unwrap();
        let html = answer.error_for_status().unwrap().text().await.unwrap();
        assert_eq!(html.contains("name=\"token\""), form, "{html}");
        let foreign =
            client.post(format!("http{url}orders")).header("origin", "https://elsewhere.example").send().await;
        assert_eq!(foreign.unwrap().status(), 403);
        process.handle().signal(rustix::process::Signal::INT);
        assert_eq!(process.ended().await.code(), Some(0), "{}", process.stderr());
    }
}
