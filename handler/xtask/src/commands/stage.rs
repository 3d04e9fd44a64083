//! `cargo xtask stage`: the app's folder with this machine's build, for Core Tools.

use super::Command;
use crate::{
    app_folder::AppFolder,
    arguments::Arguments,
    builds::Build,
    failure::Result,
    workspace::{self, Checkout},
};

pub(super) const COMMAND: Command = Command {
    name: "stage",
    usage: "[--out DIR] [--rules FILE] [--release]",
    about: &["Builds for this machine and writes the app to DIR/app (default target/app), for `func start` there."],
    run,
};

fn run(mut arguments: Arguments) -> Result<()> {
    let out = arguments.path("--out")?.unwrap_or_else(workspace::target);
    let rules = arguments.path("--rules")?;
    let profile = if arguments.flag("--release") { "release" } else { "dev" };
    arguments.finish()?;
    let built = Build { checkout: &Checkout::here(), target: None, profile, shipped: None }.run()?;
    let folder = out.join("app");
    AppFolder::gather(&workspace::root(), &built.executable, rules.as_deref())?.write(&folder)?;
    println!("staged; run it with `cd {} && func start`", folder.display());
    Ok(())
}
