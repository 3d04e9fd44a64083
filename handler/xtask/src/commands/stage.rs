//! `cargo xtask stage`: the app's folder with this machine's build, for Core Tools.

use std::path::PathBuf;

use crate::{
    app_folder::AppFolder,
    builds::Build,
    failure::Result,
    workspace::{self, Checkout},
};

/// Builds for this machine and writes the app to a folder, for `func start` there.
#[derive(Debug, clap::Args)]
pub(crate) struct Stage {
    /// The app is written to DIR/app; default target.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Shipped as rules.json.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// A release build.
    #[arg(long)]
    release: bool,
}

pub(super) fn run(Stage { out, rules, release }: Stage) -> Result<()> {
    let out = out.unwrap_or_else(workspace::target);
    let profile = if release { "release" } else { "dev" };
    let built = Build { checkout: &Checkout::here(), target: None, profile, whole: true, shipped: None }.run()?;
    let folder = out.join("app");
    AppFolder::gather(&workspace::root(), &built.executable, rules.as_deref())?.write(&folder)?;
    println!("staged; run it with `cd {} && func start`", folder.display());
    Ok(())
}
