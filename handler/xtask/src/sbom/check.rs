//! Does the bill of materials tell the truth about the zip it lies in? Asked of the zip alone, not of the build: the
//! executable's own traces of packages and C libraries must be listed, and every file with its digest.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{NAME, digest};
use crate::{
    failure::{Failure, Result, cannot},
    native, prefixes, zip_file,
};

/// Checks the zip's bill of materials; how many components it lists.
pub(crate) fn check(zip: &[u8], executable: &str) -> Result<usize> {
    let mut files = zip_file::unpacked(zip)?;
    let Some(document) = files.remove(NAME) else {
        return Err(Failure::new(format!("there is no {NAME} in the zip; `cargo xtask package` writes it")));
    };
    let document: Value = serde_json::from_slice(&document).map_err(cannot("read as JSON", NAME.as_ref()))?;
    let findings = findings(&document, &files, executable);
    if findings.is_empty() {
        Ok(list(&document["components"]).len())
    } else {
        Err(Failure::new(format!("{NAME} does not fit the zip:\n  {}", findings.join("\n  "))))
    }
}

fn findings(document: &Value, files: &BTreeMap<String, Vec<u8>>, executable: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let components = list(&document["components"]);
    for component in components {
        let name = &component["name"];
        for member in ["version", "purl", "licenses"] {
            if component[member].is_null() {
                findings.push(format!("{name} has no {member}"));
            }
        }
        let is_from_registry = component["purl"].as_str().is_some_and(|purl| purl.starts_with("pkg:cargo/"));
        if is_from_registry && component["hashes"][0]["content"].as_str().is_none_or(|sum| sum.len() != 64) {
            findings.push(format!("{name} has no SHA-256"));
        }
    }

    let references: BTreeSet<&str> = components.iter().filter_map(|it| it["bom-ref"].as_str()).collect();
    let product = document["metadata"]["component"]["bom-ref"].as_str().unwrap_or_default();
    let mut reached = BTreeSet::from([product]);
    let mut next = vec![product];
    while let Some(from) = next.pop() {
        let edges = list(&document["dependencies"]).iter().filter(|edge| edge["ref"] == from);
        for on in edges.flat_map(|edge| list(&edge["dependsOn"])).filter_map(Value::as_str) {
            if reached.insert(on) {
                next.push(on);
            }
        }
    }
    findings.extend(
        reached
            .iter()
            .filter(|it| **it != product && !references.contains(**it))
            .map(|reference| format!("`{reference}` is needed and not listed")),
    );
    findings.extend(references.difference(&reached).map(|reference| format!("`{reference}` is needed by nothing")));

    let program = files.get(executable).map(Vec::as_slice).unwrap_or_default();
    let packages: BTreeSet<String> = components
        .iter()
        .map(|it| format!("{}-{}", it["name"].as_str().unwrap_or_default(), it["version"].as_str().unwrap_or_default()))
        .collect();
    for seen in packages_in(program).difference(&packages) {
        findings.push(format!("the executable holds code of `{seen}`, which is not listed"));
    }
    for seen in native::seen_in(program) {
        if !components.iter().any(|component| component["name"] == seen) {
            findings.push(format!("the executable holds code of {seen}, which is not listed"));
        }
    }

    let listed: BTreeMap<&str, &str> = list(&document["metadata"]["component"]["components"])
        .iter()
        .filter_map(|file| Some((file["name"].as_str()?, file["hashes"][0]["content"].as_str()?)))
        .collect();
    for (name, bytes) in files {
        match listed.get(name.as_str()) {
            None => findings.push(format!("the file `{name}` is not listed")),
            Some(sum) if **sum != digest(bytes) => findings.push(format!("the file `{name}` has another digest")),
            Some(_) => {}
        }
    }
    let gone = listed.keys().filter(|name| !files.contains_key(**name));
    findings.extend(gone.map(|name| format!("the file `{name}` is listed and not in the zip")));
    findings
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Packages of others, as `NAME-VERSION`, whose sources the executable names: a panic's place is told by its file.
fn packages_in(program: &[u8]) -> BTreeSet<String> {
    let begin = format!("{}/", prefixes::CRATES);
    let places = program.windows(begin.len()).enumerate().filter(|(_, window)| *window == begin.as_bytes());
    let names = places.filter_map(|(at, _)| {
        let rest = program.get(at + begin.len()..)?;
        let end = rest.iter().take(128).position(|byte| !is_of_a_name(*byte))?;
        // A folder, not just a text that ends there.
        (rest.get(end) == Some(&b'/'))
            .then(|| String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned())
    });
    names.filter(|name| name.contains('-')).collect()
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{app_folder::AppFolder, sbom::tests as sbom};

    const PROGRAM: &str = "\u{7f}ELF../crates/one-1.0.0/src/lib.rs..called/crates/two-2.0.0/src/a.rsSQLite";

    fn app() -> AppFolder {
        sbom::app(&[("host.json", "{}"), ("scorekeeper", PROGRAM)])
    }

    /// The made-up graph's checksums are too short to be any.
    fn document() -> Value {
        let mut document: Value = serde_json::from_slice(&sbom::made_up(&app())).unwrap();
        for component in document["components"].as_array_mut().unwrap() {
            if component["hashes"].is_array() {
                component["hashes"][0]["content"] = "0".repeat(64).into();
            }
        }
        document
    }

    fn found(document: &Value, app: &AppFolder) -> Vec<String> {
        let files = app.0.iter().map(|(name, file)| (name.clone(), file.bytes.clone())).collect();
        findings(document, &files, "scorekeeper")
    }

    #[test]
    fn a_bill_that_fits_its_zip_passes() {
        assert_eq!(found(&document(), &app()), [""; 0]);
    }

    #[test]
    fn a_package_that_is_not_listed_is_found_by_its_users_and_in_the_executable() {
        let mut document = document();
        document["components"].as_array_mut().unwrap().retain(|component| component["name"] != "two");
        let expected = [
            "`pkg:cargo/two@2.0.0` is needed and not listed",
            "the executable holds code of `two-2.0.0`, which is not listed",
        ];
        assert_eq!(found(&document, &app()), expected);
    }

    #[test]
    fn a_library_that_is_not_listed_is_found_in_the_executable() {
        let app = sbom::app(&[("host.json", "{}"), ("scorekeeper", &PROGRAM.replace("SQLite", "SQLite format 3"))]);
        let mut document = document();
        document["metadata"]["component"]["components"][1]["hashes"][0]["content"] =
            digest(&app.0["scorekeeper"].bytes).into();
        assert_eq!(found(&document, &app), ["the executable holds code of SQLite, which is not listed"]);
    }

    #[test]
    fn what_nothing_needs_or_nobody_described_is_told() {
        let mut document = document();
        let components = document["components"].as_array_mut().unwrap();
        components.push(json!({"name": "three", "bom-ref": "pkg:cargo/three@3.0.0", "purl": "pkg:cargo/three@3.0.0"}));
        let expected = [
            "\"three\" has no version",
            "\"three\" has no licenses",
            "\"three\" has no SHA-256",
            "`pkg:cargo/three@3.0.0` is needed by nothing",
        ];
        assert_eq!(found(&document, &app()), expected);
    }

    #[test]
    fn the_files_are_those_that_are_listed() {
        let other = sbom::app(&[("rules.json", "{}"), ("scorekeeper", &format!("{PROGRAM}!"))]);
        let expected = [
            "the file `rules.json` is not listed",
            "the file `scorekeeper` has another digest",
            "the file `host.json` is listed and not in the zip",
        ];
        assert_eq!(found(&document(), &other), expected);
    }

    #[test]
    fn a_zip_without_one_is_refused() {
        let zip = zip_file::packed(&app()).unwrap();
        assert!(check(&zip, "scorekeeper").unwrap_err().to_string().contains("there is no sbom.cdx.json"));
    }
}
