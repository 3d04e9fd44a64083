//! `cargo xtask package`: the zip that is deployed.

use std::{fs, path::Path};

use super::{Command, check};
use crate::{
    app_folder,
    arguments::Arguments,
    failure::{Result, cannot},
    musl,
    packaging::{Order, Package},
    sbom,
    workspace::{self, Checkout},
};

pub(super) const COMMAND: Command = Command {
    name: "package",
    usage: "[--out DIR] [--rules FILE] [--target TRIPLE] [--profile NAME]",
    about: &[
        "Builds the static release executable, writes the app to DIR/app and DIR/scorekeeper.zip (default target/) with",
        "a bill of materials (sbom.cdx.json), and checks the zip. FILE is shipped as rules.json. Equal inputs give equal",
        "bytes, in whatever folder.",
    ],
    run,
};

/// The zip's name.
pub(super) const ZIP: &str = "scorekeeper.zip";

fn run(mut arguments: Arguments) -> Result<()> {
    let out = arguments.path("--out")?.unwrap_or_else(workspace::target);
    let rules = arguments.path("--rules")?;
    let target = arguments.value("--target")?.unwrap_or_else(|| musl::SHIPPED.to_owned());
    let profile = arguments.value("--profile")?.unwrap_or_else(|| "release".to_owned());
    arguments.finish()?;

    musl::require(&target)?;
    let order = Order { target: &target, profile: &profile, rules: rules.as_deref() };
    let Package { app, zip } = order.make(&Checkout::here())?;
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
