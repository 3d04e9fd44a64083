//! From sources to the zip that is deployed, in any checkout: what `package` writes, `reproduce` makes again.

use std::{collections::BTreeMap, path::Path};

use cargo_lock::Lockfile;

use crate::{
    app_folder::{AppFolder, BILL_OF_MATERIALS},
    audit,
    builds::Build,
    c_libraries,
    failure::{Failure, Result, cannot},
    materials::{self, Materials},
    musl,
    prefixes::Prefixes,
    sbom,
    workspace::{Checkout, asked},
    zip_file,
};

/// Name of the zip in the folder that it is written to.
pub(crate) const ZIP: &str = "scorekeeper.zip";

/// What is built and put into the package.
pub(crate) struct Order<'a> {
    /// The target triple to build for.
    pub(crate) target: &'a str,
    /// The cargo profile to build with.
    pub(crate) profile: &'a str,
    /// A file that is shipped as `rules.json`; `None`: the package holds no rules.
    pub(crate) rules: Option<&'a Path>,
}

/// The app with its bill of materials, and the zip of it.
pub(crate) struct Packaged {
    pub(crate) app: AppFolder,
    pub(crate) zip: Vec<u8>,
}

impl Order<'_> {
    /// Builds the executable and puts the package together. Writes nothing but cargo's outputs.
    pub(crate) fn make(&self, checkout: &Checkout) -> Result<Packaged> {
        let metadata = materials::metadata(checkout, self.target)?;
        let prefixes = Prefixes::of(&checkout.root, &metadata);
        let built = Build {
            checkout,
            target: Some(self.target),
            profile: self.profile,
            whole: false,
            shipped: Some(&prefixes),
        }
        .run()?;
        let lock = checkout.root.join("Cargo.lock");
        let lock = Lockfile::load(&lock).map_err(cannot("read", &lock))?;
        let materials = Materials::of(&metadata, &lock, &built)?;
        c_libraries::require_named(&materials, &built)?;
        let folder = tempfile::tempdir().map_err(|cause| Failure::because("cannot create a folder", cause))?;
        let executable = audit::embed(&built.executable, &materials, folder.path())?;
        let mut app = AppFolder::gather(&checkout.root, &executable, self.rules)?;
        let how = sbom::Build {
            target: self.target.to_owned(),
            profile: self.profile.to_owned(),
            compilers: self.compilers(),
        };
        let document = sbom::document(&app, &materials, &how, &checkout.root)?;
        app.add_made(BILL_OF_MATERIALS, document)?;
        let zip = zip_file::packed(&app)?;
        Ok(Packaged { app, zip })
    }

    fn compilers(&self) -> BTreeMap<String, String> {
        let rustc = asked("rustc", &["--version"]);
        let c = musl::compiler(self.target).and_then(|compiler| asked(&compiler, &["--version"]));
        let first_line = |said: String| said.lines().next().unwrap_or_default().to_owned();
        let compilers = [("rustc", rustc), ("cc", c.map(first_line))];
        compilers.into_iter().filter_map(|(name, version)| Some((name.to_owned(), version?))).collect()
    }
}
