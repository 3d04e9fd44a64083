//! The libraries in the executable that are no Rust packages: C sources that a package brings, and what the Rust
//! toolchain links into every static executable. Whoever watches for security notices looks for these by name.
//!
//! Versions are read from the very sources that are compiled, never written down here.

use std::{fs, path::Path};

use crate::{
    failure::{Failure, Result, cannot},
    graph::Package,
    workspace::asked,
};

/// A library of another language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Library {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    /// SPDX expression.
    pub(crate) licence: String,
    /// Package URL.
    pub(crate) purl: String,
    /// Name for databases of vulnerabilities (CPE 2.3), where one is in use.
    pub(crate) cpe: Option<String>,
}

/// C sources that come with a package.
struct Bundled {
    package: &'static str,
    name: &'static str,
    /// None: the package's own expression covers it.
    licence: Option<&'static str>,
    purl: &'static str,
    cpe: Option<&'static str>,
    header: fn(&Package) -> &'static str,
    define: &'static str,
    /// Text that the library leaves in every executable.
    sign: &'static str,
}

const BUNDLED: [Bundled; 3] = [
    Bundled {
        package: "libsqlite3-sys",
        name: "SQLite",
        licence: Some("blessing"),
        purl: "pkg:generic/sqlite@",
        cpe: Some("sqlite:sqlite"),
        header: |_| "sqlite3/sqlite3.h",
        define: "SQLITE_VERSION",
        sign: "SQLite format 3",
    },
    Bundled {
        package: "libmimalloc-sys",
        name: "mimalloc",
        licence: Some("MIT"),
        purl: "pkg:github/microsoft/mimalloc@v",
        cpe: None,
        // The package brings several; its build script chooses by this feature.
        header: |package| {
            if package.features.iter().any(|feature| feature == "v2") {
                "c_src/mimalloc/v2/include/mimalloc.h"
            } else {
                "c_src/mimalloc/v3/include/mimalloc.h"
            }
        },
        define: "MI_MALLOC_VERSION",
        sign: "mimalloc: ",
    },
    Bundled {
        package: "aws-lc-sys",
        name: "AWS-LC",
        licence: None,
        purl: "pkg:github/aws/aws-lc@v",
        cpe: Some("amazon:aws-lc"),
        header: |_| "aws-lc/include/openssl/base.h",
        define: "AWSLC_VERSION_NUMBER_STRING",
        sign: "AWS-LC",
    },
];

/// Names of the bundled libraries whose traces are in an executable.
pub(crate) fn seen_in(program: &[u8]) -> impl Iterator<Item = &'static str> {
    let holds = |sign: &str| program.windows(sign.len()).any(|window| window == sign.as_bytes());
    BUNDLED.iter().filter(move |bundled| holds(bundled.sign)).map(|bundled| bundled.name)
}

/// Whether the C sources in this package are named above.
pub(crate) fn is_named(package: &Package) -> bool {
    BUNDLED.iter().any(|bundled| bundled.package == package.name)
}

/// The C library that `package` brings, if it brings one.
pub(crate) fn library(package: &Package) -> Result<Option<Library>> {
    let Some(bundled) = BUNDLED.iter().find(|bundled| bundled.package == package.name) else { return Ok(None) };
    let header = package.folder.join((bundled.header)(package));
    let text = fs::read_to_string(&header).map_err(cannot("read", &header))?;
    let version = defined(&text, bundled.define).ok_or_else(|| {
        Failure::new(format!("{} does not define {}: where is the version now?", header.display(), bundled.define))
    })?;
    Ok(Some(Library {
        name: bundled.name,
        licence: bundled.licence.map_or_else(|| package.licence.clone(), str::to_owned),
        purl: format!("{}{version}", bundled.purl),
        cpe: bundled.cpe.map(|product| cpe(product, &version)),
        version,
    }))
}

/// The value of a `#define`: `"3.54.1"`, or 30302 for 3.3.2 (two digits each for minor and patch).
fn defined(header: &str, name: &str) -> Option<String> {
    let mut lines = header.lines().map(str::split_whitespace);
    let value = lines.find_map(|mut words| {
        (words.next() == Some("#define") && words.next() == Some(name)).then(|| words.next()).flatten()
    })?;
    if let Some(text) = value.strip_prefix('"') {
        return Some(text.trim_end_matches('"').to_owned());
    }
    let number: u32 = value.parse().ok()?;
    Some(format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100))
}

fn cpe(product: &str, version: &str) -> String {
    format!("cpe:2.3:a:{product}:{version}:*:*:*:*:*:*:*")
}

/// What the Rust toolchain links: its standard library, and for musl the C library and the unwinder beside it.
pub(crate) fn toolchain(target: &str) -> Result<Vec<Library>> {
    let failed = || Failure::new("`rustc -vV` does not tell its version; is the toolchain whole?");
    let said = asked("rustc", &["-vV"]).ok_or_else(failed)?;
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    let version = field("release:").ok_or_else(failed)?;
    let mut libraries = vec![Library {
        name: "Rust standard library",
        purl: format!("pkg:github/rust-lang/rust@{version}"),
        licence: "MIT OR Apache-2.0".to_owned(),
        cpe: Some(cpe("rust-lang:rust", &version)),
        version,
    }];
    let folder = asked("rustc", &["--print", "target-libdir", "--target", target]).unwrap_or_default();
    let folder = Path::new(&folder).join("self-contained");
    if target.contains("musl") && folder.is_dir() {
        let archive = folder.join("libc.a");
        let bytes = fs::read(&archive).map_err(cannot("read", &archive))?;
        let version = musl_version(&bytes)
            .ok_or_else(|| Failure::new(format!("{} does not tell its version", archive.display())))?;
        libraries.push(Library {
            name: "musl",
            licence: "MIT".to_owned(),
            purl: format!("pkg:generic/musl@{version}"),
            cpe: Some(cpe("musl-libc:musl", &version)),
            version,
        });
        if folder.join("libunwind.a").is_file() {
            let version = field("LLVM version:").ok_or_else(failed)?;
            libraries.push(Library {
                name: "LLVM libunwind",
                licence: "Apache-2.0 WITH LLVM-exception".to_owned(),
                purl: format!("pkg:github/llvm/llvm-project@llvmorg-{version}"),
                cpe: None,
                version,
            });
        }
    }
    Ok(libraries)
}

/// musl keeps its version as a text of its own in the member `version.lo` of its archive (`ar`, System V format: a line
/// of 8 bytes, then members behind headers of 60 with the name in 0..16 and the size in 48..58, on even places).
fn musl_version(archive: &[u8]) -> Option<String> {
    let mut rest = archive.strip_prefix(b"!<arch>\n")?;
    while let Some((header, behind)) = rest.split_at_checked(60) {
        let size: usize = std::str::from_utf8(&header[48..58]).ok()?.trim().parse().ok()?;
        let (content, _) = behind.split_at_checked(size)?;
        if header.starts_with(b"version.lo/") {
            let texts = content.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok());
            let is_version = |text: &&str| text.split('.').count() == 3 && text.split('.').all(is_number);
            return texts.filter(|text| !text.is_empty()).find(is_version).map(str::to_owned);
        }
        rest = behind.get(size + size % 2..)?;
    }
    None
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_headers() {
        assert_eq!(defined("#define SQLITE_VERSION        \"3.54.1\"\n", "SQLITE_VERSION").as_deref(), Some("3.54.1"));
        let header = "#if MI_MALLOC_VERSION >= 182\n#define MI_MALLOC_VERSION 30302  // major\n";
        assert_eq!(defined(header, "MI_MALLOC_VERSION").as_deref(), Some("3.3.2"));
        assert_eq!(defined(header, "OTHER"), None);
    }

    #[test]
    fn musls_version_is_found_in_its_archive() {
        let member = |name: &str, content: &[u8]| {
            let mut bytes = format!("{name:<48}{:<10}`\n", content.len()).into_bytes();
            bytes.extend(content);
            bytes.resize(bytes.len() + content.len() % 2, b'\n');
            bytes
        };
        let other = member("printf.lo/", b"1.0.0\0");
        let version = member("version.lo/", b"\x7fELF\0\x01..\x001.2.5\0gcc 9.4.0\0");
        let archive = [b"!<arch>\n".to_vec(), other.clone(), version].concat();
        assert_eq!(musl_version(&archive).as_deref(), Some("1.2.5"));
        assert_eq!(musl_version(&[b"!<arch>\n".to_vec(), other].concat()), None);
        assert_eq!(musl_version(b"no archive"), None);
    }

    #[test]
    fn what_a_library_leaves_in_an_executable_names_it() {
        assert_eq!(seen_in(b"..SQLite format 3\0..").collect::<Vec<_>>(), ["SQLite"]);
        assert_eq!(seen_in(b"nothing").count(), 0);
    }
}
