//! Packages of Debian, which only root may install.

use std::{path::Path, process::Command};

use crate::{
    failure::Result,
    workspace::{asked, run},
};

/// Whether a package can be installed here.
pub(crate) fn is_root() -> bool {
    Path::new("/etc/debian_version").exists() && asked("id", &["-u"]).as_deref() == Some("0")
}

/// Installs a package with `apt-get`, without what it only recommends.
pub(crate) fn install(package: &str) -> Result<()> {
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    run(install.args(["install", "-y", "-qq", "--no-install-recommends", package]))
}
