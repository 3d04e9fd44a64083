//! The libraries in the executable that are no Rust packages: C sources that a package brings, and what the Rust
//! toolchain links into every static executable. Whoever watches for security notices looks for these by name.
//!
//! Versions are read from the very sources that are compiled, never written down here.

use std::{fs, path::Path};

use object::read::archive::ArchiveFile;
use regex::Regex;

use crate::{
    builds::Built,
    failure::{Failure, Result, cannot},
    materials::{Material, Materials},
    workspace::asked,
};

/// A library of another language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Library {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    /// Its licence as an SPDX expression.
    pub(crate) licence: String,
    /// Package URL without the version.
    pub(crate) purl: &'static str,
    /// Name for databases of vulnerabilities (CPE 2.3), where one is in use: vendor and product.
    pub(crate) cpe: Option<&'static str>,
}

/// C sources that come with a package.
struct Bundled {
    package: &'static str,
    name: &'static str,
    /// None: the package's own expression covers it.
    licence: Option<&'static str>,
    purl: &'static str,
    cpe: Option<&'static str>,
    /// Below the package's folder, by the package's features.
    header: fn(&Material) -> &'static str,
    /// Its groups are the numbers of the version.
    version: &'static str,
}

const BUNDLED: [Bundled; 3] = [
    Bundled {
        package: "libsqlite3-sys",
        name: "SQLite",
        licence: Some("blessing"),
        purl: "pkg:generic/sqlite@",
        cpe: Some("sqlite:sqlite"),
        header: |_| "sqlite3/sqlite3.h",
        version: r#"#define SQLITE_VERSION\s+"(\d+)\.(\d+)\.(\d+)""#,
    },
    Bundled {
        package: "libmimalloc-sys",
        name: "mimalloc",
        licence: Some("MIT"),
        purl: "pkg:github/microsoft/mimalloc@v",
        cpe: None,
        // The package brings two; its build script chooses by this feature.
        header: |material| {
            if material.features.iter().any(|feature| feature == "v2") {
                "c_src/mimalloc/v2/include/mimalloc.h"
            } else {
                "c_src/mimalloc/v3/include/mimalloc.h"
            }
        },
        version: r"#define MI_MALLOC_VERSION (\d+)(\d\d)(\d\d)\b",
    },
    Bundled {
        package: "ring",
        name: "ring's part of BoringSSL",
        licence: None,
        purl: "pkg:github/briansmith/ring@",
        cpe: None,
        // It has no version of its own: notices name the package's.
        header: |_| "Cargo.toml",
        version: r#"(?m)^version = "(\d+)\.(\d+)\.(\d+)"$"#,
    },
];

/// Refuses a build that linked a C library which nobody named above: it would be missing from the bill of materials.
pub(crate) fn require_named(materials: &Materials, built: &Built) -> Result<()> {
    let is_named = |name: &str| BUNDLED.iter().any(|bundled| bundled.package == name);
    let linked = built.libraries.iter().filter_map(|(id, libraries)| Some((materials.packages.get(id)?, libraries)));
    let unnamed: Vec<String> = linked
        .filter(|(material, _)| !is_named(&material.package.name))
        .map(|(material, libraries)| format!("`{}` links C code ({})", material.package.name, libraries.join(", ")))
        .collect();
    match &unnamed[..] {
        [] => Ok(()),
        unnamed => Err(Failure::new(format!("{} that no one has named; add it to c_libraries.rs", unnamed.join(", ")))),
    }
}

/// The C library that a package brings, if it brings one.
pub(crate) fn library(material: &Material) -> Result<Option<Library>> {
    let bundled = BUNDLED.iter().find(|bundled| bundled.package == material.package.name.as_str());
    let (Some(bundled), Some(folder)) = (bundled, material.package.manifest_path.parent()) else { return Ok(None) };
    let header = folder.join((bundled.header)(material));
    let text = fs::read_to_string(&header).map_err(cannot("read", header.as_std_path()))?;
    let version = version(&text, bundled.version)?
        .ok_or_else(|| Failure::new(format!("{header} holds no `{}`: where is the version now?", bundled.version)))?;
    Ok(Some(Library {
        name: bundled.name,
        licence: bundled.licence.map_or_else(|| material.licence.clone(), str::to_owned),
        purl: bundled.purl,
        cpe: bundled.cpe,
        version,
    }))
}

fn version(text: &str, pattern: &str) -> Result<Option<String>> {
    let pattern = Regex::new(pattern).map_err(|cause| Failure::because(format!("`{pattern}`"), cause))?;
    let Some(found) = pattern.captures(text) else { return Ok(None) };
    // `03` of 30302 is 3.
    let numbers = found.iter().skip(1).flatten().map(|group| group.as_str().trim_start_matches('0'));
    Ok(Some(numbers.map(|number| if number.is_empty() { "0" } else { number }).collect::<Vec<_>>().join(".")))
}

/// What the Rust toolchain links: its standard library, and for musl the C library and the unwinder beside it.
pub(crate) fn toolchain(target: &str) -> Result<Vec<Library>> {
    let failed = || Failure::new("`rustc -vV` does not tell its version; is the toolchain whole?");
    let said = asked("rustc", &["-vV"]).ok_or_else(failed)?;
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    let mut libraries = vec![Library {
        name: "Rust standard library",
        purl: "pkg:github/rust-lang/rust@",
        licence: "MIT OR Apache-2.0".to_owned(),
        cpe: Some("rust-lang:rust"),
        version: field("release:").ok_or_else(failed)?,
    }];
    let folder = asked("rustc", &["--print", "target-libdir", "--target", target]).unwrap_or_default();
    let folder = Path::new(&folder).join("self-contained");
    if target.contains("musl") && folder.is_dir() {
        libraries.push(Library {
            name: "musl",
            licence: "MIT".to_owned(),
            purl: "pkg:generic/musl@",
            cpe: Some("musl-libc:musl"),
            version: musl_version(&folder.join("libc.a"))?,
        });
        if folder.join("libunwind.a").is_file() {
            libraries.push(Library {
                name: "LLVM libunwind",
                licence: "Apache-2.0 WITH LLVM-exception".to_owned(),
                purl: "pkg:github/llvm/llvm-project@llvmorg-",
                cpe: None,
                version: field("LLVM version:").ok_or_else(failed)?,
            });
        }
    }
    Ok(libraries)
}

/// musl keeps its version as a text of its own in the member `version.lo` of its archive.
fn musl_version(archive: &Path) -> Result<String> {
    let bytes = fs::read(archive).map_err(cannot("read", archive))?;
    let members = ArchiveFile::parse(&*bytes).map_err(cannot("read", archive))?;
    for member in members.members() {
        let member = member.map_err(cannot("read", archive))?;
        if member.name() == b"version.lo" {
            let content = member.data(&*bytes).map_err(cannot("read", archive))?;
            if let Some(version) = version(&String::from_utf8_lossy(content), r"\x00(\d+)\.(\d+)\.(\d+)\x00")? {
                return Ok(version);
            }
        }
    }
    Err(Failure::new(format!("{} does not tell musl's version", archive.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::materials::tests::{built, id, made_up};

    #[test]
    fn c_code_that_nobody_named_is_refused() {
        let mut native = built();
        require_named(&made_up(), &native).unwrap();
        native.libraries.insert(id("one"), vec!["static=one".to_owned()]);
        let told = require_named(&made_up(), &native).unwrap_err().to_string();
        assert!(told.contains("`one` links C code (static=one)"), "{told}");
    }

    #[test]
    fn versions_are_read_from_headers() {
        let read = |index: usize, text: &str| version(text, BUNDLED[index].version).unwrap();
        assert_eq!(read(0, "#define SQLITE_VERSION        \"3.54.1\"\n").as_deref(), Some("3.54.1"));
        let header = "#if MI_MALLOC_VERSION >= 182\n#define MI_MALLOC_VERSION 30300  // major\n";
        assert_eq!(read(1, header).as_deref(), Some("3.3.0"));
        assert_eq!(read(2, "#define OTHER \"1.2.3\""), None);
    }
}
