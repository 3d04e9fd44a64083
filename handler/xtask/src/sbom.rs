//! The bill of materials in the zip: CycloneDX 1.5 (<https://cyclonedx.org/docs/1.5/json/>), as JSON.
//!
//! It lists what is linked into the executable and nothing else: no macros, no build scripts, no test dependencies. Equal
//! inputs give equal bytes, so there is no time in it, and its serial number is made of its content. The zip's other
//! files are in it with their digests, so that it cannot be taken for another package's.

mod check;

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use cargo_metadata::camino::Utf8Path;
use cyclonedx_bom::{
    external_models::uri::Uri,
    models::{
        bom::{Bom, SpecVersion},
        component::{Classification, Component, Components, Cpe},
        dependency::{Dependencies, Dependency},
        external_reference::{ExternalReference, ExternalReferenceType, ExternalReferences},
        hash::{Hash, HashAlgorithm, HashValue, Hashes},
        license::{LicenseChoice, Licenses},
        metadata::Metadata,
        property::{Properties, Property},
    },
};
use sha2::{Digest as _, Sha256};

pub(crate) use self::check::check;
use crate::{
    app_folder::AppFolder,
    c_libraries::{self, Library},
    failure::{Failure, Result},
    materials::{Material, Materials},
};

/// The product's name; the package that it is built from has another.
const PRODUCT: &str = "scorekeeper";

/// How the executable was built; who wants to build the same bytes needs the same.
pub(crate) struct Build {
    /// The target triple that was built for.
    pub(crate) target: String,
    /// The cargo profile that was built with.
    pub(crate) profile: String,
    /// Versions of the compilers, by name.
    pub(crate) compilers: BTreeMap<String, String>,
}

/// The document for `app`, which holds all other files of the zip.
pub(crate) fn document(app: &AppFolder, materials: &Materials, build: &Build, root: &Path) -> Result<Vec<u8>> {
    let mut components = Vec::new();
    let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for material in materials.packages.values() {
        let mut libraries: Vec<Library> = c_libraries::library(material)?.into_iter().collect();
        if material.package.id == materials.product {
            libraries.extend(c_libraries::toolchain(&build.target)?);
        } else {
            components.push(of_package(material, materials, root)?);
        }
        let needs = material.needs.iter().map(|id| reference(&materials.packages[id], materials, root));
        let mut needs: Vec<String> = needs.collect();
        for library in &libraries {
            components.push(of_library(library)?);
            let purl = format!("{}{}", library.purl, library.version);
            edges.insert(purl.clone(), Vec::new());
            needs.push(purl);
        }
        needs.sort();
        edges.insert(reference(material, materials, root), needs);
    }
    components.sort_by(|one, other| one.bom_ref.cmp(&other.bom_ref));
    let mut bom = Bom {
        serial_number: None,
        metadata: Some(Metadata {
            component: Some(of_app(app, &materials.packages[&materials.product], materials, root)?),
            properties: Some(Properties(properties(build))),
            ..Metadata::default()
        }),
        components: Some(Components(components)),
        dependencies: Some(Dependencies(
            edges
                .into_iter()
                .map(|(dependency_ref, dependencies)| Dependency { dependency_ref, dependencies })
                .collect(),
        )),
        spec_version: SpecVersion::V1_5,
        ..Bom::default()
    };
    let digest = Sha256::digest(written(&bom)?);
    let digest = digest.first_chunk().copied().unwrap_or_default();
    bom.serial_number = Some(uuid::Builder::from_custom_bytes(digest).into_uuid().into());
    written(&bom)
}

fn written(bom: &Bom) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bom.clone()
        .output_as_json_v1_5(&mut bytes)
        .map_err(|cause| Failure::because("cannot write the bill of materials", cause))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn properties(build: &Build) -> Vec<Property> {
    let build_of = |(name, value): (&str, &str)| Property::new(format!("build:{name}"), value);
    let compilers = build.compilers.iter().map(|(name, version)| (name.as_str(), version.as_str()));
    [("target", build.target.as_str()), ("profile", &build.profile)]
        .into_iter()
        .chain(compilers)
        .map(build_of)
        .collect()
}

/// How a package is named in the document, which is its package URL.
fn reference(material: &Material, materials: &Materials, root: &Path) -> String {
    let (name, version) = (&material.package.name, &material.package.version);
    if material.checksum.is_some() {
        return format!("pkg:cargo/{name}@{version}");
    }
    // Never published: as `pkg:cargo/lifecycle` it would be somebody else's.
    let repository = material.package.repository.as_deref().unwrap_or_default().trim_end_matches('/');
    let place = match repository.strip_prefix("https://github.com/") {
        Some(path) => format!("pkg:github/{path}@v{version}"),
        None => format!("pkg:generic/{PRODUCT}@{version}"),
    };
    if material.package.id == materials.product {
        return place;
    }
    let folder = material.package.manifest_path.parent().map_or(root, Utf8Path::as_std_path);
    format!("{place}#{}", folder.strip_prefix(root).unwrap_or(folder).display())
}

fn of_app(app: &AppFolder, product: &Material, materials: &Materials, root: &Path) -> Result<Component> {
    let reference = reference(product, materials, root);
    let version = product.package.version.to_string();
    let files = app.0.iter().map(|(name, file)| Component {
        hashes: Some(sha256(digest(&file.bytes))),
        version: None,
        ..Component::new(Classification::File, name, "", None)
    });
    Ok(Component {
        components: Some(Components(files.collect())),
        ..described(Classification::Application, PRODUCT, &version, reference, &product.licence)?
    })
}

fn of_package(material: &Material, materials: &Materials, root: &Path) -> Result<Component> {
    let package = &material.package;
    let reference = reference(material, materials, root);
    let sources = package.repository.as_deref().map(|repository| {
        ExternalReferences(vec![ExternalReference::new(ExternalReferenceType::Vcs, Uri::new(repository))])
    });
    Ok(Component {
        hashes: material.checksum.clone().map(sha256),
        external_references: sources,
        ..described(Classification::Library, &package.name, &package.version.to_string(), reference, &material.licence)?
    })
}

fn of_library(library: &Library) -> Result<Component> {
    let Library { name, version, licence, purl, cpe } = library;
    let cpe = cpe.map(|product| Cpe::new(&format!("cpe:2.3:a:{product}:{version}:*:*:*:*:*:*:*")));
    Ok(Component { cpe, ..described(Classification::Library, name, version, format!("{purl}{version}"), licence)? })
}

/// With what every component has; its package URL is its name in the document.
fn described(kind: Classification, name: &str, version: &str, purl: String, licence: &str) -> Result<Component> {
    let read = purl.parse().map_err(|()| Failure::new(format!("`{purl}` is no package URL")))?;
    Ok(Component {
        purl: Some(read),
        licenses: Some(Licenses(vec![LicenseChoice::expression(licence)])),
        ..Component::new(kind, name, version, Some(purl))
    })
}

fn sha256(digest: String) -> Hashes {
    Hashes(vec![Hash { alg: HashAlgorithm::SHA_256, content: HashValue(digest) }])
}

/// SHA-256 in lower-case hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{app_folder::File, materials};

    pub(super) fn made_up(app: &AppFolder) -> Vec<u8> {
        let compilers = BTreeMap::from([("rustc".to_owned(), "rustc 1".to_owned())]);
        let (target, profile) = ("x86_64-unknown-linux-gnu".to_owned(), "release".to_owned());
        let build = Build { target, profile, compilers };
        document(app, &materials::tests::made_up(), &build, Path::new("/w")).unwrap()
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
                "hashes": [{ "alg": "SHA-256", "content": "1".repeat(64) }],
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
        let serial = |app| serde_json::from_slice::<Value>(&made_up(app)).unwrap()["serialNumber"].clone();
        assert!(serial(&one).as_str().unwrap().starts_with("urn:uuid:"));
        assert_ne!(serial(&one), serial(&other));
    }
}
