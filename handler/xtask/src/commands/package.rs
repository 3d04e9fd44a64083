//! `cargo xtask package`: the zip that is deployed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::check;
use crate::{
    app_folder,
    builds::SHIPPED_PROFILE,
    failure::{Result, cannot},
    musl,
    packaging::{Order, Packaged, ZIP},
    sbom,
    workspace::{self, Checkout},
};

/// The zip that is deployed.
///
/// Builds the static executable, writes the app to DIR/app and DIR/scorekeeper.zip with a bill of materials
/// (sbom.cdx.json), and checks the zip. Equal inputs give equal bytes, in whatever folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Package {
    /// Default target.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Shipped as rules.json.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// The target to build for.
    #[arg(long, value_name = "TRIPLE", default_value = musl::SHIPPED)]
    target: String,
    /// The cargo profile to build with.
    #[arg(long, value_name = "NAME", default_value = SHIPPED_PROFILE)]
    profile: String,
}

impl Package {
    /// What is deployed, without rules, written to `out`.
    pub(super) fn shipped(out: PathBuf) -> Self {
        Self { out: Some(out), rules: None, target: musl::SHIPPED.to_owned(), profile: SHIPPED_PROFILE.to_owned() }
    }
}

pub(super) fn run(Package { out, rules, target, profile }: Package) -> Result<()> {
    let out = out.unwrap_or_else(workspace::target);
    musl::require(&target)?;
    let order = Order { target: &target, profile: &profile, rules: rules.as_deref() };
    let Packaged { app, zip } = order.make(&Checkout::here())?;
    app.write(&out.join("app"))?;
    let path = out.join(ZIP);
    // Neither this zip nor an earlier one lies there to be deployed if the check refuses what was built now.
    app_folder::remove_file(&path)?;
    check::check(&zip, target == musl::SHIPPED)?;
    fs::write(&path, &zip).map_err(cannot("write", &path))?;
    for (name, file) in &app.0 {
        println!("{:>11}  {:04o}  {name}", file.bytes.len(), file.mode());
    }
    println!("{:>11}        {}", zip.len(), shown(&path));
    println!("sha256      {}", sbom::digest(&zip));
    Ok(())
}

/// Short where it can be.
fn shown(path: &Path) -> String {
    path.strip_prefix(workspace::root()).unwrap_or(path).display().to_string()
}
