//! Every command of README and `handler/docs` is run, as a shell runs it, or it would rot.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::functions_host::SCOREKEEPER;

const PAGES: [(&str, &str); 7] = [
    ("README.md", include_str!("../README.md")),
    ("data-teams.md", include_str!("../handler/docs/data-teams.md")),
    ("operations.md", include_str!("../handler/docs/operations.md")),
    ("infrastructure.md", include_str!("../handler/docs/infrastructure.md")),
    ("security.md", include_str!("../handler/docs/security.md")),
    ("developers.md", include_str!("../handler/docs/developers.md")),
    ("capabilities.md", include_str!("../handler/docs/capabilities.md")),
];

/// What a name stands for in a command.
const NAMES: [(&str, &str); 2] =
    [(" URI", " https://heart.westeurope.inference.ml.azure.com/jobs"), (" ID ", " 0123abcd ")];

/// The commands of a page's shell blocks, without comments and what programs answer.
fn commands(page: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for block in page.split("```").skip(1).step_by(2) {
        let Some((kind, text)) = block.split_once('\n') else { continue };
        let text = text.replace("\\\n", " ");
        for line in text.lines() {
            let command = match kind {
                "sh" => Some(line),
                "console" => line.strip_prefix("$ "),
                _ => None,
            };
            let command = command.map(|command| command.split(" # ").next().unwrap_or_default().trim());
            commands.extend(command.filter(|command| !command.is_empty()).map(str::to_owned));
        }
    }
    commands
}

/// Who runs it.
#[derive(Debug, PartialEq, Eq)]
enum Runner {
    /// This test, with the executable of this project in its folder.
    Here(String),
    /// This test, and it goes on until it is killed.
    UntilKilled(String),
    /// `cargo xtask test`, or whoever works on the project; tests of xtask hold that each is understood.
    Xtask,
    /// `emulator.rs`, with the emulator of cargo-lambda.
    Emulator,
    /// Nobody here: it needs Azure or what is published.
    Elsewhere,
}

/// Of the long proofs the shortest form, as this is no release build.
const SHORT: [(&str, &str); 2] =
    [("--seeds 10000", "--seeds 3"), ("--kill-everywhere --events 100", "--kill-everywhere --events 4")];

fn runner(command: &str) -> Runner {
    let mut command = command.replace("cargo run --release --", "scorekeeper");
    for (long, short) in SHORT {
        command = command.replace(long, short);
    }
    for (name, value) in NAMES {
        command = command.replace(name, value);
    }
    let words: Vec<&str> = command.split_whitespace().collect();
    match words[..] {
        ["cargo", "xtask", ..] => Runner::Xtask,
        ["cargo", "lambda", ..] => Runner::Emulator,
        [first, ..] if first.starts_with("AWS_LAMBDA") => Runner::Emulator,
        ["cargo", "install", ..] | ["az", ..] => Runner::Elsewhere,
        ["scorekeeper", "doctor", ..] => {
            // Nobody is signed in here, and nothing is asked for longer than that.
            let arguments = command.split(" --app ").next().unwrap_or_default();
            Runner::Here(format!("{arguments} --within PT1S"))
        }
        ["scorekeeper", "local" | "simulator", ..] => {
            let port = if command.contains("--listen") { "" } else { " --listen 127.0.0.1:0" };
            Runner::UntilKilled(format!("exec {command}{port}"))
        }
        // Until Ctrl-C, which comes when it has looked once or was begun.
        ["scorekeeper", ..] if command.contains("--watch") || words[1] == "ui" => {
            Runner::Here(format!("timeout --preserve-status --signal INT 1 {command}"))
        }
        ["scorekeeper" | "printf" | "cat", ..] => Runner::Here(command),
        _ => panic!("nobody runs `{command}`"),
    }
}

#[test]
fn long_commands_are_shortened_under_the_words_that_the_pages_have() {
    for (long, _) in SHORT {
        assert!(PAGES.iter().any(|(_, page)| commands(page).iter().any(|command| command.contains(long))), "{long}");
    }
}

/// A shell in a folder, in which `scorekeeper` is that of this project.
fn shell(folder: &Path, command: &str) -> Command {
    let programs = Path::new(SCOREKEEPER).parent().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder).env_clear();
    shell
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .env("USER", "ann")
        .env("XDG_CONFIG_HOME", folder);
    shell
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it and waits until it has said that it is there.
fn started(folder: &Path, command: &str) -> Killed {
    use std::io::{BufRead as _, BufReader};
    let mut child = Killed(shell(folder, command).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let said: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.contains("http")).collect();
    assert!(child.0.try_wait().unwrap().is_none(), "`{command}` ended: {said:?}");
    child
}

#[test]
fn every_command_that_needs_no_cloud_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let (_, rules) = PAGES[1];
    let rules = rules.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    std::fs::create_dir(folder.path().join("target")).unwrap();
    for (name, text) in [
        ("rules.json", rules),
        ("event.json", include_str!("fixtures/event_grid.json")),
        ("target/settings.json", "[]"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    // The commands of the five minutes work on what it keeps.
    let _local = started(folder.path(), "exec scorekeeper local --listen 127.0.0.1:0");
    let (mut run, mut others) = (0, 0);
    for (page, text) in PAGES {
        for command in commands(text) {
            match runner(&command) {
                Runner::Here(command) => {
                    run_here(folder.path(), page, &command);
                    run += 1;
                }
                Runner::UntilKilled(command) => {
                    let own = tempfile::tempdir().unwrap();
                    std::fs::copy(folder.path().join("rules.json"), own.path().join("rules.json")).unwrap();
                    drop(started(own.path(), &command));
                    run += 1;
                }
                Runner::Xtask | Runner::Emulator | Runner::Elsewhere => others += 1,
            }
        }
    }
    assert!(run > 25 && others > 5, "{run} and {others}");
}

fn run_here(folder: &Path, page: &str, command: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let output = shell(folder, command).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // Predictions come a second later.
        if command.starts_with("cat ") && !output.status.success() && Instant::now() < end {
            std::thread::yield_now();
            continue;
        }
        let code = output.status.code();
        assert!(matches!(code, Some(0..=2)), "{page}: `{command}` ended with {code:?}: {said}");
        assert!(!said.contains("Usage:") && !said.contains("panicked"), "{page}: `{command}`: {said}");
        return;
    }
}

#[test]
fn a_command_that_nobody_runs_is_noticed() {
    assert_eq!(commands("```sh\na \\\n  b   # c\n```\n```console\n$ d\ne\n```\n```json\nf\n```\n"), ["a    b", "d"]);
    assert!(std::panic::catch_unwind(|| runner("curl https://example.org")).is_err());
}
