//! The crates of this workspace, as cargo knows them.

use std::{collections::BTreeMap, path::Path};

use cargo_metadata::{Metadata, MetadataCommand, Package, TargetKind};

use crate::{
    failure::{Failure, Result},
    workspace::root,
};

/// The packages of the workspace by their names.
pub(crate) struct Members(pub(super) BTreeMap<String, Package>);

impl Members {
    /// Asks cargo, without the dependencies' dependencies.
    pub(crate) fn read() -> Result<Self> {
        let asked = MetadataCommand::new().current_dir(root()).no_deps().exec();
        let Metadata { packages, .. } =
            asked.map_err(|cause| Failure::because("cargo does not tell the workspace's crates", cause))?;
        Ok(Self(packages.into_iter().map(|package| (package.name.to_string(), package)).collect()))
    }

    /// Their names, in alphabetical order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// The file that a crate's modules begin at: its library, or its program if it has none.
    pub(crate) fn root_of(&self, name: &str) -> Result<&Path> {
        let missing = || Failure::new(format!("no crate is called `{name}`; there are {}", self.names().join(", ")));
        let targets = &self.0.get(name).ok_or_else(missing)?.targets;
        let of_kind = |kind| targets.iter().find(|target| target.kind.contains(&kind));
        let target = of_kind(TargetKind::Lib).or_else(|| of_kind(TargetKind::Bin));
        let target = target.ok_or_else(|| Failure::new(format!("`{name}` has neither a library nor a program")))?;
        Ok(target.src_path.as_std_path())
    }
}
