//! What is linked into the executable: the packages that cargo compiles for the target, and the C libraries in them.
//!
//! The packages and their edges are those of `cargo tree` for the product alone, with its features and without what only
//! runs while it is built. `cargo metadata` would do for neither: it mixes in the features of tests and of this program.
//! It must never hold more than what is shipped; [`Graph::require`] holds it against what a build really compiled.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use serde_json::Value;

use crate::{
    builds::{Built, LEAN},
    failure::{Failure, Result, cannot},
    native,
    workspace::{Checkout, output},
};

/// The package that the executable is built from.
pub(crate) const PRODUCT: &str = "handler";

/// One package that is linked.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    /// As cargo's messages name it.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression.
    pub(crate) licence: String,
    pub(crate) repository: Option<String>,
    /// Lower-case SHA-256 of the archive in the registry; none for the workspace's own packages.
    pub(crate) checksum: Option<String>,
    /// Where its sources are on this machine.
    pub(crate) folder: PathBuf,
    /// Switched on in this build.
    pub(crate) features: Vec<String>,
    /// Ids of the packages that it needs.
    pub(crate) needs: BTreeSet<String>,
}

/// All of them, and the folders that a build reads and writes.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    /// By id.
    pub(crate) packages: BTreeMap<String, Package>,
    /// The id of [`PRODUCT`].
    pub(crate) product: String,
    /// Folders that hold packages of others, such as the registry's.
    pub(crate) stores: BTreeSet<PathBuf>,
    /// Folders that cargo builds in.
    pub(crate) targets: BTreeSet<PathBuf>,
}

impl Graph {
    /// Asks cargo. Downloads sources that are missing.
    pub(crate) fn read(checkout: &Checkout, target: &str) -> Result<Self> {
        let metadata = output(&mut checkout.cargo(["metadata", "--format-version=1", "--locked"]))?;
        let metadata = serde_json::from_str(&metadata).map_err(|cause| not_understood("metadata", &cause))?;
        let mut tree = checkout.cargo(["tree", "--locked", LEAN, "--package", PRODUCT, "--target", target]);
        tree.args(["--edges=normal,no-proc-macro", "--prefix=depth", "--format=;{p};{f}"]);
        let lock = checkout.root.join("Cargo.lock");
        let lock = fs::read_to_string(&lock).map_err(cannot("read", &lock))?;
        Self::of(&metadata, &output(&mut tree)?, &lock)
    }

    fn of(metadata: &Value, tree: &str, lock: &str) -> Result<Self> {
        let checksums = checksums(lock);
        let described = |name: &str, version: &str| {
            let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut same = packages.iter().filter(|it| it["name"] == name && it["version"] == version);
            match (same.next(), same.next()) {
                (Some(package), None) => Ok(package),
                (None, _) => Err(not_understood("tree", &format!("`{name}` {version} is not in the metadata"))),
                _ => Err(Failure::new(format!("two packages are called `{name}` {version}; one must go"))),
            }
        };
        let mut packages: BTreeMap<String, Package> = BTreeMap::new();
        let mut above: Vec<String> = Vec::new();
        for line in tree.lines() {
            let node = Node::read(line).ok_or_else(|| not_understood("tree", &format!("the line `{line}`")))?;
            let package = described(node.name, node.version)?;
            let id = text(package, "id")?;
            if above.len() < node.depth {
                return Err(not_understood("tree", &format!("the depth of `{line}`")));
            }
            above.truncate(node.depth);
            if let Some(needing) = above.last().and_then(|id| packages.get_mut(id)) {
                needing.needs.insert(id.clone());
            }
            above.push(id.clone());
            if packages.contains_key(&id) {
                continue;
            }
            let checksum = checksums.get(&(node.name, node.version)).map(|&sum| sum.to_owned());
            if checksum.is_none() && !package["source"].is_null() {
                return Err(Failure::new(format!("`{}` {} has no checksum in Cargo.lock", node.name, node.version)));
            }
            let licence = text(package, "license").map_err(|_| {
                Failure::new(format!(
                    "`{}` {} names no licence; look at it before it is shipped",
                    node.name, node.version
                ))
            })?;
            let manifest = PathBuf::from(text(package, "manifest_path")?);
            packages.insert(
                id.clone(),
                Package {
                    id,
                    name: node.name.to_owned(),
                    version: node.version.to_owned(),
                    // Before SPDX expressions, `/` said "or".
                    licence: licence.replace('/', " OR "),
                    repository: package["repository"].as_str().map(str::to_owned),
                    checksum,
                    folder: manifest.parent().map(PathBuf::from).unwrap_or_default(),
                    features: node.features.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect(),
                    needs: BTreeSet::new(),
                },
            );
        }
        let product = packages.values().find(|package| package.name == PRODUCT).map(|package| package.id.clone());
        let product = product.ok_or_else(|| not_understood("tree", &format!("`{PRODUCT}` is missing")))?;
        Ok(Self { packages, product, stores: stores(metadata), targets: targets(metadata) })
    }

    /// Refuses a build that compiled for the target anything else than this graph, or that linked a C library which
    /// nobody named. What cargo compiled is the truth; everything else here is derived.
    pub(crate) fn require(&self, built: &Built) -> Result<()> {
        let listed: BTreeSet<String> = self.packages.keys().cloned().collect();
        let mut differences: Vec<String> = Vec::new();
        differences.extend(built.compiled.difference(&listed).map(|id| format!("`{id}` is linked and not listed")));
        differences.extend(listed.difference(&built.compiled).map(|id| format!("`{id}` is listed and not linked")));
        for (id, libraries) in &built.libraries {
            let Some(package) = self.packages.get(id) else { continue };
            if !native::is_named(package) {
                let libraries = libraries.join(", ");
                differences.push(format!(
                    "`{}` links C code ({libraries}) that no one has named; add it to handler/xtask/src/native.rs",
                    package.name
                ));
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(Failure::new(differences.join("\n"))) }
    }
}

fn not_understood(command: &str, what: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("`cargo {command}` was not understood: {what}"))
}

fn text(package: &Value, member: &str) -> Result<String> {
    let text = package[member].as_str().map(str::to_owned);
    text.ok_or_else(|| not_understood("metadata", &format!("`{}` has no {member}", package["name"])))
}

/// The folders around the packages that others wrote.
fn stores(metadata: &Value) -> BTreeSet<PathBuf> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let others = packages.iter().filter(|package| !package["source"].is_null());
    let manifests = others.filter_map(|package| package["manifest_path"].as_str().map(PathBuf::from));
    manifests.filter_map(|manifest| manifest.ancestors().nth(2).map(PathBuf::from)).collect()
}

/// Where outputs go; newer cargos may keep what is between elsewhere.
fn targets(metadata: &Value) -> BTreeSet<PathBuf> {
    let folders = ["build_directory", "target_directory"].map(|member| metadata[member].as_str().map(PathBuf::from));
    folders.into_iter().flatten().collect()
}

/// One line of `cargo tree --prefix=depth --format=';{p};{f}'`.
struct Node<'a> {
    depth: usize,
    name: &'a str,
    version: &'a str,
    features: &'a str,
}

impl<'a> Node<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut parts = line.splitn(3, ';');
        let depth = parts.next()?.parse().ok()?;
        let mut package = parts.next()?.split(' ');
        let (name, version) = (package.next()?, package.next()?.strip_prefix('v')?);
        let features = parts.next()?;
        Some(Self { depth, name, version, features: features.strip_suffix(" (*)").unwrap_or(features) })
    }
}

/// The checksums in a `Cargo.lock` by name and version.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    let value = |block: &'_ str, name: &str| -> Option<(usize, usize)> {
        let start = block.find(&format!("\n{name} = \""))? + name.len() + 5;
        Some((start, start + block.get(start..)?.find('"')?))
    };
    let blocks = lock.split("[[package]]");
    let read = blocks.filter_map(|block| {
        let field = |name| value(block, name).and_then(|(start, end)| block.get(start..end));
        Some(((field("name")?, field("version")?), field("checksum")?))
    });
    read.collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::musl;

    const LOCK: &str = r#"
[[package]]
name = "handler"
version = "0.1.0"

[[package]]
name = "one"
version = "1.0.0"
source = "registry"
checksum = "11"

[[package]]
name = "two"
version = "2.0.0"
source = "registry"
checksum = "22"
"#;
    const TREE: &str = "0;handler v0.1.0 (/w/handler);\n1;one v1.0.0;std\n2;two v2.0.0;\n1;two v2.0.0; (*)\n";

    fn metadata() -> Value {
        let package = |name: &str, version: &str, source: Value, folder: &str| {
            serde_json::json!({"name": name, "version": version, "id": format!("id of {name}"), "source": source,
                "license": "MIT/Apache-2.0", "manifest_path": format!("{folder}/Cargo.toml"), "repository": null})
        };
        serde_json::json!({"target_directory": "/w/target", "packages": [
            package("handler", "0.1.0", Value::Null, "/w/handler"),
            package("one", "1.0.0", "registry".into(), "/home/me/.cargo/registry/src/index/one-1.0.0"),
            package("two", "2.0.0", "registry".into(), "/home/me/.cargo/registry/src/index/two-2.0.0"),
        ]})
    }

    /// `handler` needs `one` and `two`, `one` needs `two`.
    pub(crate) fn made_up() -> Graph {
        Graph::of(&metadata(), TREE, LOCK).unwrap()
    }

    #[test]
    fn the_tree_gives_the_edges_and_the_lock_the_checksums() {
        let graph = made_up();
        let needs = |name: &str| graph.packages[&format!("id of {name}")].needs.iter().cloned().collect::<Vec<_>>();
        assert_eq!(graph.product, "id of handler");
        assert_eq!(needs("handler"), ["id of one", "id of two"]);
        assert_eq!(needs("one"), ["id of two"]);
        assert_eq!(needs("two"), [""; 0]);
        let two = &graph.packages["id of two"];
        assert_eq!((two.checksum.as_deref(), two.licence.as_str()), (Some("22"), "MIT OR Apache-2.0"));
        assert_eq!(graph.packages["id of one"].features, ["std"]);
        assert_eq!(graph.stores, BTreeSet::from([PathBuf::from("/home/me/.cargo/registry/src/index")]));
        assert_eq!(graph.targets, BTreeSet::from([PathBuf::from("/w/target")]));
    }

    #[test]
    fn a_package_without_checksum_or_licence_is_refused() {
        let lock = LOCK.replace("checksum = \"22\"\n", "");
        let refused = Graph::of(&metadata(), TREE, &lock).unwrap_err().to_string();
        assert!(refused.contains("`two` 2.0.0 has no checksum"), "{refused}");
        let mut metadata = metadata();
        metadata["packages"][1]["license"] = Value::Null;
        let refused = Graph::of(&metadata, TREE, LOCK).unwrap_err().to_string();
        assert!(refused.contains("`one` 1.0.0 names no licence"), "{refused}");
    }

    fn built(names: &[&str]) -> Built {
        let compiled = names.iter().map(|name| format!("id of {name}")).collect();
        Built { executable: PathBuf::new(), compiled, libraries: BTreeMap::new() }
    }

    #[test]
    fn a_build_must_have_compiled_what_is_listed_and_nothing_else() {
        let graph = made_up();
        graph.require(&built(&["handler", "one", "two"])).unwrap();
        let refused = |built: &Built| graph.require(built).unwrap_err().to_string();
        assert_eq!(refused(&built(&["handler", "one"])), "`id of two` is listed and not linked");
        let more = built(&["handler", "one", "two", "three"]);
        assert_eq!(refused(&more), "`id of three` is linked and not listed");
        let mut native = built(&["handler", "one", "two"]);
        native.libraries.insert("id of one".to_owned(), vec!["static=one".to_owned()]);
        assert!(refused(&native).contains("`one` links C code (static=one)"), "{}", refused(&native));
    }

    /// What the real graph must and must not hold. A build holds it to the letter, in `cargo xtask package`.
    #[test]
    fn the_products_graph_holds_what_it_depends_on_and_nothing_that_only_builds_or_tests_it() {
        let checkout = Checkout::here();
        let graph = Graph::read(&checkout, musl::SHIPPED).unwrap();
        let names: BTreeSet<&str> = graph.packages.values().map(|package| package.name.as_str()).collect();
        let mut tree = checkout.cargo(["tree", "--locked", LEAN, "--package", PRODUCT, "--target", musl::SHIPPED]);
        let listed = output(tree.args(["--edges=normal,no-proc-macro", "--prefix=none", "--format={p}"])).unwrap();
        let listed: BTreeSet<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names, listed);
        for shipped in ["lifecycle", "tokio", "rustls", "aws-lc-sys", "libsqlite3-sys", "libmimalloc-sys"] {
            assert!(names.contains(shipped), "{shipped}");
        }
        for other in [
            "simulator",
            "simulation",
            "serde_derive",
            "syn",
            "cc",
            "proptest",
            "stateright",
            "tree-sitter",
            "tempfile",
            "xtask",
            "zip",
        ] {
            assert!(!names.contains(other), "{other}");
        }
    }
}
