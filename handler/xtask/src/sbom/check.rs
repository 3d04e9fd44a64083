//! Does the bill of materials tell the truth about the zip it lies in? Asked of the zip alone, not of the build: the packages
//! that the executable lists itself must be in it and no others, and every file with its digest.

use std::collections::{BTreeMap, BTreeSet};

use cyclonedx_bom::{
    models::{
        bom::{Bom, SpecVersion},
        component::{Component, Components},
    },
    prelude::Validate as _,
};

use super::digest;
use crate::{
    app_folder::BILL_OF_MATERIALS as NAME,
    audit,
    failure::{Failure, Result},
    zip_file,
};

/// Checks the zip's bill of materials; how many components it lists.
pub(crate) fn check(zip: &[u8], executable: &str) -> Result<usize> {
    let mut files = zip_file::unpacked(zip)?;
    let Some(document) = files.remove(NAME) else {
        return Err(Failure::new(format!("there is no {NAME} in the zip; `cargo xtask package` writes it")));
    };
    let bom = Bom::parse_from_json_v1_5(&*document)
        .map_err(|cause| Failure::because(format!("{NAME} is not CycloneDX 1.5"), cause))?;
    let valid = bom.validate_version(SpecVersion::V1_5);
    if !valid.passed() {
        return Err(Failure::new(format!("{NAME} is not CycloneDX 1.5: {valid:?}")));
    }
    let program = files.get(executable).map(Vec::as_slice).unwrap_or_default();
    let linked = audit::read(program)?.packages.into_iter().filter(|package| !package.root);
    let linked = linked.map(|package| (package.name, package.version.to_string())).collect();
    let findings = findings(&bom, &linked, &files);
    if findings.is_empty() {
        Ok(components(bom.components.as_ref()).count())
    } else {
        Err(Failure::new(format!("{NAME} does not fit the zip:\n  {}", findings.join("\n  "))))
    }
}

/// What differs: `linked` are the names and versions of the packages in the executable.
fn findings(bom: &Bom, linked: &BTreeSet<(String, String)>, files: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let mut findings = Vec::new();
    let listed: BTreeMap<(String, String), bool> = components(bom.components.as_ref())
        .map(|it| {
            let version = it.version.as_ref().map(ToString::to_string).unwrap_or_default();
            let is_crate = it.purl.as_ref().is_some_and(|purl| purl.as_ref().starts_with("pkg:cargo/"));
            ((it.name.to_string(), version), is_crate)
        })
        .collect();
    let unlisted = linked.iter().filter(|package| !listed.contains_key(*package));
    findings.extend(unlisted.map(|(name, version)| format!("`{name}` {version} is in the executable and not listed")));
    let unlinked = listed.iter().filter(|(package, is_crate)| **is_crate && !linked.contains(*package));
    findings
        .extend(unlinked.map(|((name, version), _)| format!("`{name}` {version} is listed and not in the executable")));

    let app = bom.metadata.as_ref().and_then(|metadata| metadata.component.as_ref());
    let listed: BTreeMap<String, String> = components(app.and_then(|app| app.components.as_ref()))
        .filter_map(|file| Some((file.name.to_string(), file.hashes.as_ref()?.0.first()?.content.0.clone())))
        .collect();
    for (name, bytes) in files {
        match listed.get(name) {
            None => findings.push(format!("the file `{name}` is not listed")),
            Some(sum) if *sum != digest(bytes) => findings.push(format!("the file `{name}` has another digest")),
            Some(_) => {}
        }
    }
    let gone = listed.keys().filter(|name| !files.contains_key(*name));
    findings.extend(gone.map(|name| format!("the file `{name}` is listed and not in the zip")));
    findings
}

fn components(components: Option<&Components>) -> impl Iterator<Item = &Component> {
    components.into_iter().flat_map(|components| &components.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app_folder::AppFolder, sbom::tests as sbom};

    fn app() -> AppFolder {
        sbom::app(&[("host.json", "{}"), ("scorekeeper", "program")])
    }

    fn found(linked: &[(&str, &str)], app: &AppFolder) -> Vec<String> {
        let document = Bom::parse_from_json_v1_5(&*sbom::made_up(&self::app())).unwrap();
        assert!(document.validate_version(SpecVersion::V1_5).passed());
        let linked = linked.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
        let files = app.0.iter().map(|(name, file)| (name.clone(), file.bytes.clone())).collect();
        findings(&document, &linked, &files)
    }

    #[test]
    fn the_packages_are_those_that_the_executable_lists() {
        assert_eq!(found(&[("one", "1.0.0"), ("two", "2.0.0")], &app()), [""; 0]);
        let expected =
            ["`two` 2.1.0 is in the executable and not listed", "`two` 2.0.0 is listed and not in the executable"];
        assert_eq!(found(&[("one", "1.0.0"), ("two", "2.1.0")], &app()), expected);
    }

    #[test]
    fn the_files_are_those_that_are_listed() {
        let other = sbom::app(&[("rules.json", "{}"), ("scorekeeper", "another")]);
        let expected = [
            "the file `rules.json` is not listed",
            "the file `scorekeeper` has another digest",
            "the file `host.json` is listed and not in the zip",
        ];
        assert_eq!(found(&[("one", "1.0.0"), ("two", "2.0.0")], &other), expected);
    }

    #[test]
    fn a_zip_without_one_is_refused() {
        let zip = zip_file::packed(&app()).unwrap();
        assert!(check(&zip, "scorekeeper").unwrap_err().to_string().contains("there is no sbom.cdx.json"));
    }
}
