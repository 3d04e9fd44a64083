//! No files of a crate import each other in a circle: what is in one can be read, tested and moved only with the others.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use petgraph::{algo::tarjan_scc, graph::DiGraph};

use super::{
    imports::{self, Import},
    sources::{self, SourceFile},
};
use crate::failure::Result;

/// Files that each lead to all others of them.
#[derive(Debug)]
pub(crate) struct Circle {
    /// Below the folder of the crate's root, sorted.
    pub(crate) files: Vec<String>,
    /// The imports among them, as `from:line -> to (path)`.
    pub(crate) imports: Vec<String>,
}

/// The circles in the crate whose root is `root` (`src/lib.rs`); the largest first.
pub(crate) fn of_crate(root: &Path) -> Result<Vec<Circle>> {
    Ok(of_files(&sources::read_crate(root)?, root.parent().unwrap_or(root)))
}

fn of_files(files: &[SourceFile], folder: &Path) -> Vec<Circle> {
    let imports = imports::between(files);
    let mut graph = DiGraph::<(), &Import>::new();
    let nodes: Vec<_> = files.iter().map(|_| graph.add_node(())).collect();
    for import in &imports {
        graph.add_edge(nodes[import.from], nodes[import.to], import);
    }
    let name = |index: usize| {
        let path = &files[index].path;
        path.strip_prefix(folder).unwrap_or(path).display().to_string()
    };
    let mut circles: Vec<Circle> = tarjan_scc(&graph)
        .into_iter()
        .filter(|component| component.len() > 1)
        .map(|component| {
            let members: BTreeMap<usize, String> =
                component.iter().map(|node| (node.index(), name(node.index()))).collect();
            let inner = imports.iter().filter_map(|import| {
                let (from, to) = (members.get(&import.from)?, members.get(&import.to)?);
                Some(format!("{from}:{} -> {to} ({})", import.line, import.path))
            });
            let mut circle = Circle { imports: inner.collect(), files: members.values().cloned().collect() };
            circle.files.sort();
            circle.imports.sort();
            circle
        })
        .collect();
    circles.sort_by_key(|circle| (std::cmp::Reverse(circle.files.len()), circle.files.clone()));
    circles
}

/// The circles for people, the imports behind them below.
pub(crate) fn report(circles: &[Circle]) -> String {
    let mut text = String::new();
    for circle in circles {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {} files import each other: {}", circle.files.len(), circle.files.join(", "));
        for import in &circle.imports {
            let _ = writeln!(text, "    {import}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_circle_is_told_with_its_files_and_the_imports_that_close_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        for (file, text) in [
            ("lib.rs", "mod a;\nmod b;\nmod c;"),
            ("a/mod.rs", "mod inner;\npub use inner::X;"),
            ("a/inner.rs", "use crate::b::Y;\npub struct X(Y);"),
            ("b.rs", "pub struct Y;\nfn f() -> super::a::X {}"),
            ("c.rs", "use crate::{a::X, b::Y};"),
        ] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let circles = of_crate(&folder.path().join("lib.rs")).unwrap();
        let expected = "  2 files import each other: a/inner.rs, b.rs\n\
                        \x20   a/inner.rs:1 -> b.rs (crate::b::Y)\n\
                        \x20   b.rs:2 -> a/inner.rs (super::a::X)\n";
        assert_eq!(report(&circles), expected);
    }
}
