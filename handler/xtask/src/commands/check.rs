//! `cargo xtask check`: would the Functions host run this zip?

use std::{fs, path::PathBuf};

use super::Command;
use crate::{
    arguments::Arguments,
    discovery::{self, Discovered},
    elf,
    failure::{Failure, Result, cannot},
    sbom, startup, traces, workspace,
};

pub(super) const COMMAND: Command = Command {
    name: "check",
    usage: "[ZIP]",
    about: &[
        "Applies the Functions host's discovery rules to a zip (default target/scorekeeper.zip): host.json, function",
        "names, bindings, modes. The executable must be static for x86-64, start, and tell nothing of the machine that",
        "built it; the bill of materials must list what is in it.",
    ],
    run,
};

fn run(mut arguments: Arguments) -> Result<()> {
    let zip = arguments.word().map_or_else(|| workspace::target().join("scorekeeper.zip"), PathBuf::from);
    arguments.finish()?;
    let bytes = fs::read(&zip).map_err(cannot("read", &zip))?;
    check(&bytes, true).map_err(|failure| Failure::because(zip.display().to_string(), failure))
}

/// All rules; `shipped` adds those for the executable of the platform. Prints what was found.
pub(super) fn check(zip: &[u8], shipped: bool) -> Result<()> {
    let Discovered { functions, executable, program } = discovery::discover(zip).map_err(|findings| {
        let lines: Vec<String> = findings.iter().map(|finding| format!("  {finding}")).collect();
        Failure::new(format!("the Functions host would not run this zip:\n{}", lines.join("\n")))
    })?;
    println!("functions   {}", functions.join(", "));
    if shipped {
        elf::require_static_x86_64(&program).map_err(|unfit| Failure::new(format!("`{executable}`: {unfit}")))?;
        println!("executable  {executable}, static x86-64");
        let traces = traces::of_a_machine(&program);
        if !traces.is_empty() {
            let traces = traces.join("\n  ");
            return Err(Failure::new(format!(
                "`{executable}` names folders of the machine that built it:\n  {traces}"
            )));
        }
    }
    println!("materials   {} in {}", sbom::check(zip, &executable)?, sbom::NAME);
    if shipped && !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("start       not tried: this machine is not x86-64 Linux");
    } else {
        println!("start       {}", startup::version(&program, &workspace::target(), startup::LIMIT)?);
    }
    Ok(())
}
