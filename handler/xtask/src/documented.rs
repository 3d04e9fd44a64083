//! Every `cargo xtask …` that a page, a workflow or a script names is understood by the command line, flags and all.

use std::{fs, path::Path};

use clap::Parser as _;

use crate::{Arguments, workspace::root};

const NAME: &str = "cargo xtask ";

/// The commands of a text. Prose and comments name them between backquotes; elsewhere a command ends where a shell ends it.
fn commands(text: &str, is_page: bool) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        let (shell, prose) = match line.trim_start().strip_prefix('#').map(|rest| ("", rest)).or(line.split_once(" #"))
        {
            _ if is_page && !in_block => ("", line),
            Some(parts) => parts,
            None => (line, ""),
        };
        let mut parts: Vec<&str> = prose.split('`').skip(1).step_by(2).collect();
        parts.push(shell);
        for rest in parts.iter().flat_map(|part| part.split(NAME).skip(1)) {
            let ends = [" #", "&&", "||", ";", " |", ")", "`", "\n", "'", " > "];
            let end = ends.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
            found.push(rest[..end].trim().to_owned());
        }
    }
    found.retain(|command| !command.is_empty());
    found
}

/// As a shell splits it, but for escapes.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in command.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn is_understood(command: &str) -> Result<(), clap::Error> {
    Arguments::try_parse_from(["cargo xtask".to_owned()].into_iter().chain(words(command))).map(drop)
}

fn files(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", ".git", "node_modules", "snapshots"].contains(&name.as_str()) {
                files(&path, found);
            }
        } else if ["md", "yml", "yaml", "sh", "run", "Dockerfile"].iter().any(|end| name.ends_with(end)) {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn each_command_that_is_documented_is_understood_with_its_flags() {
    let mut texts = Vec::new();
    files(&root(), &mut texts);
    let mut understood = 0;
    for (path, text) in texts {
        for command in commands(&text, Path::new(&path).extension().is_some_and(|ending| ending == "md")) {
            let refused = is_understood(&command).err().filter(clap::Error::use_stderr);
            assert!(refused.is_none(), "{path}: `{NAME}{command}`: {}", refused.unwrap());
            understood += 1;
        }
    }
    assert!(understood > 40, "{understood}");
}

#[test]
fn a_command_that_is_not_there_or_has_another_flag_is_noticed() {
    let page = "Prose of cargo xtask, and `cargo xtask test --quick`.\n```sh\n(cd x && cargo xtask check \"a b.zip\")   # so, by cargo xtask, or `cargo xtask docs`\ncargo xtask infra \\\n  --no\n```\n";
    assert_eq!(commands(page, true), ["test --quick", "docs", "check \"a b.zip\"", "infra    --no"]);
    assert_eq!(commands("- run: cargo xtask release --tag \"$T\" && x\n", false), ["release --tag \"$T\""]);
    assert_eq!(words("check \"a b.zip\" --x"), ["check", "a b.zip", "--x"]);
    assert!(is_understood("test --quick").is_ok());
    assert!(is_understood("test --slow").is_err() && is_understood("tests").is_err());
}
