//! Is it Bicep at all? Asked of the public tree-sitter grammar, which others wrote: our own reader must not invent a
//! dialect.

use tree_sitter::{Node, Parser};

use super::project::Project;

pub fn check(project: &Project) -> Vec<String> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_bicep::LANGUAGE.into()).expect("the grammar fits the library");
    let mut findings = project.unread.clone();
    for (path, text) in project.files.all("infra/", ".bicep").chain(project.files.all("infra/", ".bicepparam")) {
        // The grammar is older than assignments in parameter files, `param NAME = VALUE`.
        let text = format!("\n{text}");
        let readable = if path.ends_with(".bicepparam") { text.replace("\nparam ", "\nvar ") } else { text };
        match parser.parse(&readable, None) {
            Some(tree) => errors(tree.root_node(), path, &mut findings),
            None => findings.push(format!("{path}: the grammar gave up")),
        }
    }
    findings
}

fn errors(node: Node<'_>, path: &str, findings: &mut Vec<String>) {
    if node.is_error() || node.is_missing() {
        findings.push(format!("{path}:{}: this is not Bicep", node.start_position().row));
    } else if node.has_error() {
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            errors(child, path, findings);
        }
    }
}
