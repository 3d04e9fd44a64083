//! The bill of materials in the zip: CycloneDX 1.6 (<https://cyclonedx.org/docs/1.6/json/>), as JSON.
//!
//! It lists what is linked into the executable and nothing else: no macros, no build scripts, no test dependencies. Equal
//! inputs give equal bytes, so there is no time in it, and its serial number is made of its content. The zip's other
//! files are in it with their digests, so that it can't be taken for another package's.

mod check;

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) use self::check::check;
use crate::{
    app_folder::AppFolder,
    failure::{Failure, Result},
    graph::{Graph, Package},
    native::{self, Library},
};

/// Its name in the zip.
pub(crate) const NAME: &str = "sbom.cdx.json";

/// The product's name; the package that it is built from has another.
const PRODUCT: &str = "scorekeeper";

/// How the executable was built; who wants to build the same bytes needs the same.
pub(crate) struct Build {
    /// Target triple.
    pub(crate) target: String,
    /// Cargo profile.
    pub(crate) profile: String,
    /// Versions of the compilers, by name.
    pub(crate) compilers: BTreeMap<String, String>,
}

/// The document for `app`, which holds all other files of the zip.
pub(crate) fn document(app: &AppFolder, graph: &Graph, build: &Build, root: &Path) -> Result<Vec<u8>> {
    let product = &graph.packages[&graph.product];
    let mut components = Vec::new();
    let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in graph.packages.values() {
        let mut needs: Vec<String> =
            package.needs.iter().map(|id| reference(&graph.packages[id], graph, root)).collect();
        if let Some(library) = native::library(package)? {
            needs.push(library.purl.clone());
            edges.insert(library.purl.clone(), Vec::new());
            components.push(of_library(&library));
        }
        if package.id == graph.product {
            for library in native::toolchain(&build.target)? {
                needs.push(library.purl.clone());
                edges.insert(library.purl.clone(), Vec::new());
                components.push(of_library(&library));
            }
        } else {
            components.push(of_package(package, graph, root));
        }
        needs.sort();
        edges.insert(reference(package, graph, root), needs);
    }
    components.sort_by_cached_key(|component| component["bom-ref"].to_string());
    let dependencies: Vec<Value> = edges.into_iter().map(|(of, on)| json!({ "ref": of, "dependsOn": on })).collect();
    let mut properties = vec![
        json!({ "name": "build:target", "value": build.target }),
        json!({ "name": "build:profile", "value": build.profile }),
    ];
    let compilers = build.compilers.iter();
    properties.extend(compilers.map(|(name, version)| json!({ "name": format!("build:{name}"), "value": version })));
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": reference(product, graph, root),
                "name": PRODUCT,
                "version": product.version,
                "licenses": [{ "expression": product.licence }],
                "purl": reference(product, graph, root),
                "components": app.0.iter().map(|(name, file)| json!({
                    "type": "file",
                    "name": name,
                    "hashes": [sha256(&digest(&file.bytes))],
                })).collect::<Vec<_>>(),
            },
            "properties": properties,
        },
        "components": components,
        "dependencies": dependencies,
    });
    let failed = |cause: serde_json::Error| Failure::new(format!("cannot write the bill of materials: {cause}"));
    let serial = serial(&serde_json::to_vec(&document).map_err(failed)?);
    document["serialNumber"] = format!("urn:uuid:{serial}").into();
    let mut bytes = serde_json::to_vec_pretty(&document).map_err(failed)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// How a package is named in the document, which is its package URL.
fn reference(package: &Package, graph: &Graph, root: &Path) -> String {
    let (name, version) = (&package.name, &package.version);
    if package.checksum.is_some() {
        return format!("pkg:cargo/{name}@{version}");
    }
    // Never published: as `pkg:cargo/lifecycle` it would be somebody else's.
    let repository = package.repository.as_deref().unwrap_or_default().trim_end_matches('/');
    let place = match repository.strip_prefix("https://github.com/") {
        Some(path) => format!("pkg:github/{path}@v{version}"),
        None => format!("pkg:generic/{PRODUCT}@{version}"),
    };
    if package.id == graph.product {
        return place;
    }
    format!("{place}#{}", package.folder.strip_prefix(root).unwrap_or(&package.folder).display())
}

fn of_package(package: &Package, graph: &Graph, root: &Path) -> Value {
    let reference = reference(package, graph, root);
    let mut component = json!({
        "type": "library",
        "bom-ref": reference,
        "name": package.name,
        "version": package.version,
        "licenses": [{ "expression": package.licence }],
        "purl": reference,
    });
    if let Some(checksum) = &package.checksum {
        component["hashes"] = json!([sha256(checksum)]);
    }
    if let Some(repository) = &package.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

fn of_library(library: &Library) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": library.purl,
        "name": library.name,
        "version": library.version,
        "licenses": [{ "expression": library.licence }],
        "purl": library.purl,
    });
    if let Some(cpe) = &library.cpe {
        component["cpe"] = cpe.as_str().into();
    }
    component
}

fn sha256(digest: &str) -> Value {
    json!({ "alg": "SHA-256", "content": digest })
}

/// Lower-case hexadecimal SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A UUID of the content (RFC 9562, version 8: bits of one's own).
fn serial(content: &[u8]) -> String {
    let digest = digest(content);
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
    format!("{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app_folder::File, graph};

    fn build() -> Build {
        let compilers = BTreeMap::from([("rustc".to_owned(), "rustc 1".to_owned())]);
        Build { target: "x86_64-unknown-linux-gnu".to_owned(), profile: "release".to_owned(), compilers }
    }

    pub(super) fn made_up(app: &AppFolder) -> Vec<u8> {
        document(app, &graph::tests::made_up(), &build(), Path::new("/w")).unwrap()
    }

    pub(super) fn app(files: &[(&str, &str)]) -> AppFolder {
        let file = |text: &str| File { bytes: text.as_bytes().to_vec(), executable: false };
        AppFolder(files.iter().map(|(name, text)| ((*name).to_owned(), file(text))).collect())
    }

    #[test]
    fn every_package_is_listed_with_what_scanners_ask_for() {
        let document: Value = serde_json::from_slice(&made_up(&app(&[("host.json", "{}")]))).unwrap();
        let one = document["components"].as_array().unwrap().iter().find(|it| it["name"] == "one").unwrap();
        assert_eq!(
            *one,
            json!({
                "type": "library", "bom-ref": "pkg:cargo/one@1.0.0", "name": "one", "version": "1.0.0",
                "licenses": [{ "expression": "MIT OR Apache-2.0" }], "purl": "pkg:cargo/one@1.0.0",
                "hashes": [{ "alg": "SHA-256", "content": "11" }],
            })
        );
        let product = &document["metadata"]["component"];
        assert_eq!(
            (&product["name"], &product["purl"]),
            (&"scorekeeper".into(), &"pkg:generic/scorekeeper@0.1.0".into())
        );
        assert_eq!(product["components"][0]["hashes"][0]["content"], digest(b"{}"));
        let edges = document["dependencies"].as_array().unwrap();
        let of_one = edges.iter().find(|edge| edge["ref"] == "pkg:cargo/one@1.0.0").unwrap();
        assert_eq!(of_one["dependsOn"], json!(["pkg:cargo/two@2.0.0"]));
    }

    #[test]
    fn equal_content_gives_equal_bytes_and_other_content_another_serial_number() {
        let (one, other) = (app(&[("host.json", "{}")]), app(&[("host.json", "{ }")]));
        assert_eq!(made_up(&one), made_up(&one));
        let serial = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["serialNumber"].clone();
        assert_ne!(serial(&made_up(&one)), serial(&made_up(&other)));
        let serial = serial(&made_up(&one)).as_str().unwrap().to_owned();
        assert_eq!(serial.len(), "urn:uuid:".len() + 36, "{serial}");
        assert_eq!((serial.chars().nth(23), serial.chars().nth(28)), (Some('8'), Some('8')), "{serial}");
    }
}
