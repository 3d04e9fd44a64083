//! `cargo xtask bench`: what the handler costs, on this machine, now.
//!
//! Figures without their machine are worth nothing, so the machine is printed with them. It is no gate: nothing fails
//! for being slow, only for not running or for another number of round trips than promised.

use std::{fs, process, thread};

use super::package::{self, Package};
use crate::{
    builds::{EXECUTABLE, SHIPPED_PROFILE},
    failure::{Failure, Result},
    musl,
    workspace::{self, asked, cargo, run as run_command, shown},
};

/// What the handler costs on this machine, beside a bare axum handler with the same I/O.
///
/// Release builds: the pure core, ledger and tick over both local stores; lists of a million scorings; a sweep of a million blobs; then `scorekeeper serve` under load, its cloud
/// faked. With the target that is shipped it is the package's executable that is put under load.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Bench {
    /// No times: each bench once, in the build of the tests. It fails if a round trip is one too many.
    #[arg(long, conflicts_with_all = ["instructions", "quick", "json", "target"])]
    counts: bool,
    /// No times: instructions per event of both handlers, as valgrind counts them, the same on a busy machine; with profiles.
    #[arg(long, conflicts_with_all = ["quick", "json"])]
    instructions: bool,
    /// Shorter runs.
    #[arg(long)]
    quick: bool,
    /// The load alone, as JSON.
    #[arg(long)]
    json: bool,
    /// The target to build for; default this machine's.
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
}

/// Seconds for each of the small benches.
const EACH: &str = "1";

pub(super) fn run(Bench { counts, instructions, quick, json, target }: Bench) -> Result<()> {
    if counts {
        return run_counts();
    }
    if let Some(target) = &target {
        musl::require(target)?;
    }
    if instructions && asked("valgrind", &["--version"]).is_none() {
        return Err(Failure::new("valgrind counts the instructions; on Debian `apt-get install valgrind` brings it"));
    }
    if !json {
        println!("{}", machine());
    }
    if !json && !instructions {
        for name in ["decisions", "ledger"] {
            let mut command = bench("bench", name, target.as_deref());
            command.args(["--max-time", EACH]);
            told(&mut command)?;
        }
        let mut lists = bench("bench", "lists", target.as_deref());
        lists.args(quick.then_some("20000"));
        told(&mut lists)?;
        let mut sweep = bench("bench", "sweep", target.as_deref());
        sweep.args(quick.then_some("20000"));
        told(&mut sweep)?;
    }
    let mut command = if target.as_deref() == Some(musl::SHIPPED) {
        let folder = workspace::target();
        package::run(Package::shipped(folder.clone()))?;
        // In the same profile, or the bare handler beside it would be slower than it need be.
        let mut command = bench(SHIPPED_PROFILE, "load", target.as_deref());
        command.arg("--binary").arg(folder.join("app").join(EXECUTABLE));
        command
    } else {
        bench("bench", "load", target.as_deref())
    };
    let switches = [(instructions, "--instructions"), (quick, "--quick"), (json, "--json")];
    command.args(switches.into_iter().filter_map(|(is_on, switch)| is_on.then_some(switch)));
    if json { run_command(&mut command) } else { told(&mut command) }
}

/// Each bench in its short form. What it counts is the same in any build, so that of the tests does, which is there already.
pub(super) fn run_counts() -> Result<()> {
    for (name, argument) in [
        ("decisions", "--test"),
        ("ledger", "--test"),
        ("load", "--counts"),
        ("lists", "20000"),
        ("sweep", "20000"),
        ("groups", "500"),
    ] {
        told(&mut counts_of(name, argument))?;
    }
    Ok(())
}

fn counts_of(name: &str, argument: &str) -> process::Command {
    cargo(["bench", "--quiet", "--profile", "dev", "--package", "handler", "--bench", name, "--", argument])
}

/// The command up to the bench's own arguments.
fn bench(profile: &str, name: &str, target: Option<&str>) -> process::Command {
    let mut command = cargo(["bench", "--quiet", "--profile", profile, "--package", "handler", "--bench", name]);
    command.args(target.iter().flat_map(|target| ["--target", target])).arg("--");
    command
}

fn told(command: &mut process::Command) -> Result<()> {
    println!("\n==> {}", shown(command));
    run_command(command)
}

/// What the figures were measured on, one fact a line. What a machine does not tell is left out.
fn machine() -> String {
    let file = |path: &str| fs::read_to_string(path).ok();
    let cpu = file("/proc/cpuinfo").as_deref().and_then(cpu_model).map(str::to_owned);
    let threads = thread::available_parallelism().ok().map(|count| format!("{count} hardware threads"));
    let load = file("/proc/loadavg").and_then(|text| Some(format!("load {} before", text.split(' ').next()?)));
    let processor: Vec<_> = cpu.into_iter().chain(threads).chain(load).collect();
    let dirty = asked("git", &["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    let commit = asked("git", &["rev-parse", "--short", "HEAD"]);
    let facts = [
        ("machine", Some(processor.join(", "))),
        ("system", asked("uname", &["-srm"])),
        ("compiler", asked("rustc", &["--version"])),
        ("commit", commit.map(|id| if dirty { format!("{id}, with changes") } else { id })),
    ];
    let lines = facts.into_iter().filter_map(|(name, fact)| Some(format!("{name:12} {}", fact?)));
    lines.collect::<Vec<_>>().join("\n")
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_is_run_by_cargo_in_its_profile_and_for_its_target() {
        let mut command = bench(SHIPPED_PROFILE, "load", Some(musl::SHIPPED));
        command.arg("--quick");
        let expected = format!(
            "cargo bench --quiet --profile dist --package handler --bench load --target {} -- --quick",
            musl::SHIPPED
        );
        assert_eq!(shown(&command), expected);
    }

    #[test]
    fn the_processor_is_named() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n"), Some("Some CPU @ 2 GHz"));
        assert_eq!(cpu_model("processor\t: 0\n"), None);
    }
}
