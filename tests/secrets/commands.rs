//! Commands: each one on a ledger, in this process, and each one that there is, as the program, with each of its arguments.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use app::error_chain;
use app::ledger::Ledger;
use clap::Subcommand as _;
use handler::cli::ledger_command::{Here, LedgerCommand};
use handler::cli::read_ledger_command;
use handler::config::LedgerLocation;
use handler::redacting::Redacting;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use stores::embedded::EmbeddedStore;

use super::{NOW, assert_hidden, kinds};
use crate::support::functions_host::SCOREKEEPER;
use crate::support::process::Process;
use crate::support::world::{Fault, RULE, World, event};

/// What is typed to look at a scoring and at the whole ledger.
fn looks(id: &str) -> Vec<Vec<&str>> {
    let looks: [&[&str]; 22] = [
        &["status"],
        &["status", "--json"],
        &["list"],
        &["list", "--json"],
        &["list", "-o", "wide"],
        &["list", "--skipped"],
        &["list", "--skipped", "--json"],
        &["list", "--quarantined"],
        &["list", "--quarantined", "--json"],
        &["list", "--groups"],
        &["list", "--groups", "--json"],
        &["list", "--pending"],
        &["show", id],
        &["show", id, "--json"],
        &["explain", id],
        &["explain", id, "--json"],
        &["wait", id, "--timeout", "0s"],
        &["output", id],
        &["export", "-o", "csv"],
        &["export", "-o", "jsonl"],
        &["limit", "--json"],
        &["breaker", "--json"],
    ];
    looks.into_iter().map(<[&str]>::to_vec).collect()
}

/// What is typed with this text for the reason, or for a blob that nobody knows.
fn orders<'a>(id: &'a str, text: &'a str) -> Vec<Vec<&'a str>> {
    let orders: [&[&str]; 20] = [
        &["hold", id, "--reason", text],
        &["release", id, "--reason", text],
        &["expedite", id, "--reason", text],
        &["resolve", id, "--give-up", "--reason", text],
        &["skip", id, "--reason", text],
        &["cancel", id, "--reason", text],
        &["ack", id, "--reason", text],
        &["retry", id, "--reason", text],
        &["rescore", id, "--reason", text],
        &["publish", id, "--reason", text],
        &["replay", id, "--reason", text],
        &["replay", text, "--reason", text],
        &["pause", "claims", "--reason", text],
        &["resume", "claims", "--reason", text],
        &["limit", "5", "--rule", "claims", "--reason", text],
        &["limit", "--history"],
        &["breaker", "close", "--rule", "claims", "--reason", text],
        &["breaker", "--history"],
        &["sweep"],
        &["projection", "rebuild"],
    ];
    let about: [&[&str]; 5] = [
        &["show", text],
        &["explain", text],
        &["output", text],
        &["list", "--prefix", text],
        &["wait", text, "--timeout", "0s"],
    ];
    orders.into_iter().chain(about).map(<[&str]>::to_vec).collect()
}

#[test]
fn each_command_on_a_ledger_is_typed() {
    let typed = [looks("id"), orders("id", "text")].concat();
    let all = LedgerCommand::augment_subcommands(clap::Command::new("scorekeeper"));
    for name in all.get_subcommands().map(clap::Command::get_name) {
        assert!(typed.iter().any(|line| line[0] == name), "`{name}`");
    }
}

/// All that commands show of a scoring, or of a ledger without any; with a text also what they show when it is the reason of orders.
pub(super) async fn shown(ledger: &Ledger, id: &str, text: Option<&str>) -> Vec<u8> {
    let place = LedgerLocation::Embedded("/nowhere/ledger".into());
    let clock: app::ports::Clock = Arc::new(|| NOW);
    let here = Here { ledger, place: &place, by: "ann", columns: None, clock: &clock };
    let mut kept = Vec::new();
    let ordered = text.map(|text| [orders(id, text), looks(id)].concat());
    for line in looks(id).into_iter().chain(ordered.into_iter().flatten()) {
        let mut out = Redacting::new(&mut kept);
        match read_ledger_command(&line) {
            Ok(command) => {
                if let Err(error) = command.run(&here, &mut out).await {
                    writeln!(out, "{}", error_chain(&error)).unwrap();
                }
            }
            Err(error) => panic!("{line:?}: {error}"),
        }
    }
    for cell in cells(&here).await {
        writeln!(kept, "{cell}").unwrap();
    }
    kept
}

/// What a Parquet file of the ledger holds: a file that nothing can be masked in.
async fn cells(here: &Here<'_>) -> Vec<String> {
    let mut file = Vec::new();
    read_ledger_command(&["export", "-o", "parquet"]).unwrap().run(here, &mut file).await.unwrap();
    let reader = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
    reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect()
}

/// A command line that is good: the command, what it is about, its options.
type Line = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

const BLOB: &str = "https://uploads.blob.core.windows.net/claims/a.csv";
const ORDER: &[&str] = &["--reason=x"];
/// What would serve until it is stopped has an address that it cannot listen on; see below for what it says when it serves.
const NOWHERE: &[&str] = &["--listen=nowhere"];

const LINES: &[Line] = &[
    (&["serve"], &[], &[]),
    (&["local"], &[], NOWHERE),
    (&["simulator"], &[], NOWHERE),
    (&["status"], &[], &[]),
    (&["list"], &[], &[]),
    (&["show"], &[BLOB], &[]),
    (&["explain"], &[BLOB], &[]),
    (&["wait"], &[BLOB], &["--timeout=0s"]),
    (&["output"], &[BLOB], &[]),
    (&["export"], &[], &[]),
    (&["resolve"], &[BLOB], &["--give-up", "--reason=x"]),
    (&["retry"], &[BLOB], ORDER),
    (&["cancel"], &[BLOB], ORDER),
    (&["skip"], &[BLOB], ORDER),
    (&["hold"], &[BLOB], ORDER),
    (&["release"], &[BLOB], ORDER),
    (&["expedite"], &[BLOB], ORDER),
    (&["rescore"], &[BLOB], ORDER),
    (&["publish"], &[BLOB], ORDER),
    (&["replay"], &[BLOB], ORDER),
    (&["sweep"], &[], &[]),
    (&["ack"], &[BLOB], ORDER),
    (&["pause"], &["claims"], ORDER),
    (&["resume"], &["claims"], ORDER),
    (&["limit"], &["3"], &["--rule=claims", "--reason=x"]),
    (&["projection"], &["rebuild"], &[]),
    (&["breaker"], &["close"], &["--rule=claims", "--reason=x"]),
    (&["ui"], &[], NOWHERE),
    (&["doctor"], &[], &["--within=PT1S"]),
    (&["coverage"], &[], &[]),
    (&["backfill"], &[], &["--rule=claims", "--plan"]),
    (&["dead-letters"], &[], &[]),
    (&["simulate"], &[], &["--events=1"]),
    (&["run"], &[BLOB], &["--endpoint=https://e.example/jobs", "--dry-run"]),
    (&["rules", "check"], &["rules.json"], &[]),
    (&["rules", "test"], &[BLOB], &["--rules=rules.json"]),
    (&["rules", "push"], &["rules.json"], &["--to=https://a.blob.core.windows.net/con/rules.json", "--dry-run"]),
    (&["profile", "add"], &["prod"], &["--ledger=embedded:x"]),
    (&["profile", "list"], &[], &[]),
    (&["profile", "show"], &["prod"], &[]),
    (&["profile", "remove"], &["prod"], &[]),
    (&["completions"], &["bash"], &[]),
    (&["man"], &["pages"], &[]),
    (&["config"], &[], &[]),
];

/// Runs the program to its end: its exit code, and all that it says.
fn run(arguments: &[&str], folder: &Path, vars: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(SCOREKEEPER);
    command.args(arguments).current_dir(folder).env_clear().envs(vars.iter().copied());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// What follows a heading of a help text, line by line.
fn section<'a>(help: &'a str, heading: &str) -> Vec<&'a str> {
    let behind = help.lines().skip_while(|line| *line != heading).skip(1);
    behind.take_while(|line| line.starts_with(' ') || line.is_empty()).collect()
}

/// The commands below one, as its help has them.
fn commands(of: &[String]) -> Vec<Vec<String>> {
    let help = help(of);
    let names = section(&help, "Commands:").into_iter().filter_map(|line| line.strip_prefix("  "));
    let names = names.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    let below: Vec<_> = names.filter(|name| *name != "help").map(|name| [of, &[name.to_owned()]].concat()).collect();
    if below.is_empty() { vec![of.to_vec()] } else { below.iter().flat_map(|one| commands(one)).collect() }
}

fn help(of: &[String]) -> String {
    let words: Vec<&str> = of.iter().map(String::as_str).chain(["-h"]).collect();
    run(&words, Path::new("."), &[]).1
}

/// The options of a command that take a value, and how many things it is about, as its help has them.
fn arguments(of: &[&str]) -> (Vec<String>, usize) {
    let help = help(&of.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let option = |line: &str| {
        let (name, rest) = line.split_once("--")?.1.split_once([' ', '='])?;
        let is_first = line.trim_start().starts_with('-');
        (is_first && (rest.starts_with('<') || rest.starts_with("[<"))).then(|| format!("--{name}"))
    };
    let options = section(&help, "Options:").into_iter().filter_map(option).collect();
    let things =
        section(&help, "Arguments:").into_iter().filter(|line| line.starts_with("  <") || line.starts_with("  ["));
    (options, things.count())
}

/// The line with this text in place of one of its arguments, for each argument that it may have.
fn planted((command, things, options): &Line, known: &[String], text: &str) -> Vec<Vec<String>> {
    let of = |things: &[&str], options: &[String]| {
        let words = command.iter().chain(things).map(|word| (*word).to_owned());
        words.chain(options.iter().cloned()).collect::<Vec<_>>()
    };
    let given: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    let about = (0..things.len()).map(|at| {
        let mut things = things.to_vec();
        things[at] = text;
        of(&things, &given)
    });
    let with = known.iter().map(|name| {
        let others = given.iter().filter(|option| option.split('=').next() != Some(name)).cloned();
        of(things, &others.chain([format!("{name}={text}")]).collect::<Vec<_>>())
    });
    about.chain(with).chain([of(things, &given)]).collect()
}

/// A ledger as `local` has it, with one scoring that is scored and one that is held.
async fn ledger_below(folder: &Path) {
    let world = World::on(Arc::new(EmbeddedStore::open(&folder.join(".scorekeeper/ledger")).unwrap()), RULE);
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    world.tick_until_final(&app, 3).await;
    world.next_faults([Fault::LostRequest]);
    world.deliver(&app, &event("b.csv", "1")).await;
    std::fs::write(folder.join("rules.json"), RULE).unwrap();
}

/// One kind after the other is planted alone, and all of them in one text.
#[tokio::test]
async fn no_command_shows_a_secret_of_any_of_its_arguments() {
    let typed: Vec<Vec<String>> =
        LINES.iter().map(|line| line.0.iter().map(|word| (*word).to_owned()).collect()).collect();
    assert_eq!(typed, commands(&[]), "the commands of `--help`, each of which is to be typed");
    let folder = tempfile::tempdir().unwrap();
    ledger_below(folder.path()).await;
    let home = folder.path().display().to_string();
    // The world's tables have their own task hub.
    let vars = [("XDG_CONFIG_HOME", home.as_str()), ("SCOREKEEPER_TASK_HUB", "Test"), ("USER", "ann")];
    let all: Vec<String> = kinds().into_iter().map(|(_, text)| text).collect();
    let all = all.join(" ");
    let mut count = 0;
    for line in LINES {
        let (known, things) = arguments(line.0);
        assert_eq!(things, line.1.len(), "what `{:?}` is about, as its help has it", line.0);
        for (index, (kind, text)) in kinds().into_iter().enumerate() {
            let lines = planted(line, &known, &text).into_iter().zip(planted(line, &known, &all));
            for (alone, beside) in lines.skip(index).step_by(kinds().len()) {
                for arguments in [alone, beside] {
                    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                    let (code, told) = run(&arguments, folder.path(), &vars);
                    assert!(code.is_some(), "{arguments:?}: {told}");
                    assert_hidden(kind, &format!("{arguments:?}"), &told);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 500, "{count}");
}

#[tokio::test]
async fn what_serves_shows_no_secret_when_it_says_where() {
    for (kind, text) in kinds() {
        let folder = tempfile::tempdir().unwrap();
        for (arguments, last) in [
            (["local", "--listen=127.0.0.1:0", "--score-command"], "scorer"),
            (["simulator", "--listen=127.0.0.1:0", "--identity-header"], "SCOREKEEPER_STORAGE_HOSTS"),
        ] {
            let arguments = [&arguments[..], &[&text]].concat();
            let mut process = Process::spawn(SCOREKEEPER, &arguments, folder.path(), &BTreeMap::new());
            process.until_logged(|line| line.contains(last)).await;
            let told = process.stdout().join("\n") + &process.stderr();
            assert_hidden(kind, arguments[0], &told);
            process.handle().signal(rustix::process::Signal::TERM);
            process.ended().await;
        }
    }
}

#[test]
fn the_program_itself_shows_no_secret_of_its_settings() {
    for (kind, text) in kinds() {
        let vars = [("SCOREKEEPER_TASK_HUB", text.as_str()), ("SCOREKEEPER_LEDGER", "embedded:x")];
        let (code, told) = run(&["config"], Path::new("."), &vars);
        assert!(code == Some(64) && told.contains("SCOREKEEPER_TASK_HUB"), "{told}");
        assert_hidden(kind, "config", &told);
        let (code, told) = run(&[&text], Path::new("."), &[]);
        assert_eq!(code, Some(64), "{told}");
        assert_hidden(kind, "a command's name", &told);
    }
}
