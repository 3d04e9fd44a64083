//! `cargo xtask check`: would the Functions host run this zip?

use std::{fs, path::PathBuf};

use crate::{
    app_folder::BILL_OF_MATERIALS,
    discovery::{self, Discovered},
    elf,
    failure::{Failure, Result, cannot},
    packaging, sbom, startup, workspace,
};

/// Would the Functions host run this zip?
///
/// Applies the host's discovery rules: host.json, function names, bindings, modes. The executable must be static for x86-64
/// and start; the bill of materials must list the packages that the executable lists itself, and the zip's files.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Default target/scorekeeper.zip.
    zip: Option<PathBuf>,
}

pub(super) fn run(Check { zip }: Check) -> Result<()> {
    let zip = zip.unwrap_or_else(|| workspace::target().join(packaging::ZIP));
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
    }
    println!("materials   {} in {}", sbom::check(zip, &executable)?, BILL_OF_MATERIALS);
    if shipped && !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("start       not tried: this machine is not x86-64 Linux");
    } else {
        println!("start       {}", startup::version(&program, &workspace::target(), startup::LIMIT)?);
    }
    Ok(())
}
