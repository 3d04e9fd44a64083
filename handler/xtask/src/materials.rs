//! What is linked into the executable: what a build compiled for the target, with what cargo knows of it.
//!
//! The build's own messages say what that is. `cargo metadata` alone would not do: it mixes in the features of tests and
//! of this program, and the macros and build scripts that only run while the product is built.

use std::collections::{BTreeMap, BTreeSet};

use cargo_lock::Lockfile;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use crate::{
    builds::Built,
    failure::{Failure, Result},
    workspace::Checkout,
};

/// The package that the executable is built from.
pub(crate) const PRODUCT: &str = "handler";

/// One package that is linked.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) package: Package,
    /// Its licence as an SPDX expression.
    pub(crate) licence: String,
    /// Lower-case SHA-256 of the archive in the registry; none for the workspace's own packages.
    pub(crate) checksum: Option<String>,
    /// Switched on in this build.
    pub(crate) features: Vec<String>,
    /// The linked packages that it needs.
    pub(crate) needs: BTreeSet<PackageId>,
}

/// All packages that are linked, the product's own among them.
#[derive(Debug)]
pub(crate) struct Materials {
    pub(crate) packages: BTreeMap<PackageId, Material>,
    pub(crate) product: PackageId,
}

/// Cargo's account of the packages in `checkout`. Downloads sources that are missing.
pub(crate) fn metadata(checkout: &Checkout, target: &str) -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    let platform = ["--locked", "--filter-platform", target].map(str::to_owned);
    command.current_dir(&checkout.root).other_options(platform);
    for (name, folder) in &checkout.folders {
        command.env(name, folder);
    }
    command.exec().map_err(|cause| Failure::because("cargo does not tell the packages", cause))
}

impl Materials {
    /// Everything that `built` compiled for its target.
    pub(crate) fn of(metadata: &Metadata, lock: &Lockfile, built: &Built) -> Result<Self> {
        let mut packages = BTreeMap::new();
        for (id, features) in &built.compiled {
            let package = metadata.packages.iter().find(|package| package.id == *id);
            let package = package.ok_or_else(|| Failure::new(format!("cargo built `{id}` and does not know it")))?;
            packages.insert(id.clone(), material(package, features, metadata, lock, built)?);
        }
        let product = packages.values().find(|material| material.package.name == PRODUCT);
        let product = product.ok_or_else(|| Failure::new(format!("cargo did not build `{PRODUCT}`")))?;
        Ok(Self { product: product.package.id.clone(), packages })
    }
}

fn material(
    package: &Package,
    features: &[String],
    metadata: &Metadata,
    lock: &Lockfile,
    built: &Built,
) -> Result<Material> {
    let (name, version) = (&package.name, &package.version);
    let locked = lock.packages.iter().find(|it| it.name.as_str() == name.as_str() && it.version == *version);
    let checksum = locked.and_then(|locked| locked.checksum.as_ref()).map(ToString::to_string);
    if checksum.is_none() && package.source.is_some() {
        return Err(Failure::new(format!("`{name}` {version} has no checksum in Cargo.lock")));
    }
    // Before SPDX expressions, `/` said "or".
    let licence = package.license.as_ref().map(|licence| licence.replace('/', " OR "));
    let licence = licence
        .ok_or_else(|| Failure::new(format!("`{name}` {version} names no licence; look at it before it is shipped")))?;
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let needs = nodes
        .filter(|node| node.id == package.id)
        .flat_map(|node| &node.deps)
        .filter(|needed| needed.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal))
        .map(|needed| needed.pkg.clone())
        .filter(|needed| built.compiled.contains_key(needed));
    Ok(Material { needs: needs.collect(), package: package.clone(), licence, checksum, features: features.to_vec() })
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    const LOCK: &str = r#"
version = 4

[[package]]
name = "handler"
version = "0.1.0"

[[package]]
name = "one"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "1111111111111111111111111111111111111111111111111111111111111111"

[[package]]
name = "two"
version = "2.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "2222222222222222222222222222222222222222222222222222222222222222"
"#;

    fn package(name: &str, version: &str, is_ours: bool) -> Value {
        let source = (!is_ours).then_some("registry+https://github.com/rust-lang/crates.io-index");
        json!({"name": name, "version": version, "id": name, "source": source, "license": "MIT/Apache-2.0",
            "manifest_path": format!("{}/{name}/Cargo.toml", if is_ours { "/w" } else { "/home/me/.cargo/registry/src/index" }), "dependencies": [], "targets": [], "features": {},
            "edition": "2024", "authors": [], "categories": [], "keywords": []})
    }

    fn node(name: &str, needs: &[(&str, Option<&str>)]) -> Value {
        let deps = needs
            .iter()
            .map(|(name, kind)| json!({"name": name, "pkg": name, "dep_kinds": [{"kind": kind, "target": null}]}));
        json!({"id": name, "dependencies": [], "features": [], "deps": deps.collect::<Vec<_>>()})
    }

    /// `handler` needs `one` and `two`, `one` needs `two`; `three` is needed by tests alone.
    pub(crate) fn metadata() -> Metadata {
        let packages = [("handler", "0.1.0", true), ("one", "1.0.0", false), ("two", "2.0.0", false)];
        let normal = None;
        serde_json::from_value(json!({
            "version": 1, "workspace_root": "/w", "target_directory": "/w/target", "workspace_members": ["handler"],
            "workspace_default_members": ["handler"], "metadata": null,
            "packages": packages.map(|(name, version, is_ours)| package(name, version, is_ours)),
            "resolve": {"root": null, "nodes": [
                node("handler", &[("one", normal), ("two", normal), ("three", Some("dev"))]),
                node("one", &[("two", normal)]),
                node("two", &[("handler", Some("dev")), ("three", normal)]),
            ]},
        }))
        .unwrap()
    }

    pub(crate) fn id(name: &str) -> PackageId {
        PackageId { repr: name.to_owned() }
    }

    pub(crate) fn built() -> Built {
        let compiled = ["handler", "one", "two"].map(|name| (id(name), vec!["std".to_owned()]));
        Built { executable: "scorekeeper".into(), compiled: compiled.into(), libraries: BTreeMap::new() }
    }

    pub(crate) fn made_up() -> Materials {
        Materials::of(&metadata(), &LOCK.parse().unwrap(), &built()).unwrap()
    }

    #[test]
    fn what_was_compiled_is_listed_with_what_of_it_was_needed() {
        let materials = made_up();
        let needs = |name| materials.packages[&id(name)].needs.iter().map(|it| it.repr.as_str()).collect::<Vec<_>>();
        assert_eq!(materials.product, id("handler"));
        assert_eq!(needs("handler"), ["one", "two"]);
        assert_eq!(needs("one"), ["two"]);
        assert_eq!(needs("two"), [""; 0]);
        let two = &materials.packages[&id("two")];
        assert_eq!((two.checksum.as_deref(), two.licence.as_str()), (Some(&*"2".repeat(64)), "MIT OR Apache-2.0"));
        assert_eq!(two.features, ["std"]);
    }

    #[test]
    fn what_nobody_described_is_refused() {
        let refused = |metadata: &Metadata, lock: &str, built: &Built| {
            Materials::of(metadata, &lock.parse().unwrap(), built).unwrap_err().to_string()
        };
        let lock = LOCK.replace(&format!("checksum = \"{}\"\n", "2".repeat(64)), "");
        let told = refused(&metadata(), &lock, &built());
        assert!(told.contains("`two` 2.0.0 has no checksum"), "{told}");

        let mut unlicensed = metadata();
        unlicensed.packages[1].license = None;
        let told = refused(&unlicensed, LOCK, &built());
        assert!(told.contains("`one` 1.0.0 names no licence"), "{told}");

        let mut unknown = built();
        unknown.compiled.insert(id("four"), Vec::new());
        assert!(refused(&metadata(), LOCK, &unknown).contains("`four`"));
    }
}
