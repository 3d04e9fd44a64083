//! The tables of `infra/README.md`, made of the templates. `cargo xtask docs` writes them.

use std::fmt::Write as _;
use std::path::Path;

use super::bicep::{Expr, Kind, Node, Statement, decorator};
use super::policy::{assignments, settings};
use super::project::Project;

const README: &str = "infra/README.md";
const MAIN: &str = "infra/main.bicep";

/// The README as it should be.
pub fn written(project: &Project) -> Result<String, String> {
    let mut text = project.files.get(README).to_owned();
    for (name, table) in [
        ("parameters", parameters(project)),
        ("names", names(project)),
        ("outputs", outputs(project)),
        ("settings", app_settings(project)),
        ("roles", roles(project)),
    ] {
        let begin = format!("<!-- generated: {name} -->\n");
        let (before, rest) =
            text.split_once(&begin).ok_or_else(|| format!("{README}: there is no place for the table `{name}`"))?;
        let (_, after) =
            rest.split_once("<!-- end -->").ok_or_else(|| format!("{README}: the table `{name}` has no end"))?;
        text = format!("{before}{begin}{table}<!-- end -->{after}");
    }
    Ok(text)
}

pub fn check(project: &Project) -> Vec<String> {
    match written(project) {
        Err(why) => vec![why],
        Ok(text) => {
            let is = project.files.get(README);
            let differs = text.lines().zip(is.lines()).find(|(should, is)| should != is);
            match differs {
                Some((should, _)) => vec![format!("{README}: run `cargo xtask docs`; it should say\n{should}")],
                None if text != is => vec![format!("{README}: run `cargo xtask docs`")],
                None => Vec::new(),
            }
        }
    }
}

/// Writes the README if its tables are not the ones that the templates give.
pub fn write() {
    let project = Project::load();
    let text = written(&project).unwrap();
    if text != project.files.get(README) {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(README), text).unwrap();
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn description(statement: &Statement) -> String {
    cell(statement.decorator("description").unwrap_or_default())
}

/// A value as it is written, when it stands on one line.
fn source_of(project: &Project, line: usize) -> String {
    let line = project.files.get(MAIN).lines().nth(line - 1).unwrap_or_default();
    line.split_once(" = ").map_or(String::new(), |(_, value)| value.to_owned())
}

fn parameters(project: &Project) -> String {
    let mut table = "| parameter | default | takes | meaning |\n|---|---|---|---|\n".to_owned();
    for param in project.sources[MAIN].params() {
        let Kind::Param { of, default } = &param.kind else { continue };
        let default = match default {
            None => "required".to_owned(),
            Some(_) => format!("`{}`", source_of(project, param.line)),
        };
        let number = |name: &str| {
            let (_, arguments) = param.decorators.iter().find(|(is, _)| is == name)?;
            match arguments.first()?.node {
                Node::Number(number) => Some(number),
                _ => None,
            }
        };
        let allowed =
            param.decorators.iter().find(|(is, _)| is == "allowed").and_then(|(_, arguments)| arguments.first());
        let takes = if let Some(Expr { node: Node::Array(items), .. }) = allowed {
            let shown = items.iter().map(|item| match &item.node {
                Node::Number(number) => format!("`{number}`"),
                _ => format!("`{}`", item.text().unwrap_or_default()),
            });
            shown.collect::<Vec<_>>().join(", ")
        } else if let (Some(low), Some(high)) = (number("minValue"), number("maxValue")) {
            format!("{low} to {high}")
        } else if let (Some(low), Some(high)) = (number("minLength"), number("maxLength")) {
            format!("`{of}`, {low} to {high} characters")
        } else {
            format!("`{of}`")
        };
        let _ = writeln!(table, "| `{}` | {default} | {} | {} |", param.name, cell(&takes), description(param));
    }
    table
}

fn names(project: &Project) -> String {
    let mut table = "| name | of |\n|---|---|\n".to_owned();
    let symbols = project.sources["infra/modules/types.bicep"].symbols();
    if let Some(Kind::Type(members)) = symbols.get("resourceNames").map(|statement| &statement.kind) {
        for member in members {
            let of = decorator(&member.decorators, "description").unwrap_or_default();
            let _ = writeln!(table, "| `{}` | {} |", member.name, cell(of));
        }
    }
    table
}

fn outputs(project: &Project) -> String {
    let mut table = "| output | meaning |\n|---|---|\n".to_owned();
    for output in project.sources[MAIN].outputs() {
        let _ = writeln!(table, "| `{}` | {} |", output.name, description(output));
    }
    table
}

fn app_settings(project: &Project) -> String {
    let mut table = "| setting | value |\n|---|---|\n".to_owned();
    for (name, value) in settings(project) {
        let _ = writeln!(table, "| `{name}` | `{}` |", cell(&value));
    }
    table += "| `AzureWebJobs_NAME_Disabled` | `'true'` for each of `disabledFunctions` and for the function of the other delivery mode |\n";
    table
}

fn roles(project: &Project) -> String {
    let mut table = "| who | role | on | why | file |\n|---|---|---|---|---|\n".to_owned();
    for assignment in assignments(project) {
        let (head, why) = assignment.description.split_once(": ").unwrap_or_default();
        let (who, on) = head.split_once(" on ").unwrap_or_default();
        let role = assignment.role.as_deref().map_or("custom role".to_owned(), |role| format!("*{}*", spoken(role)));
        let file = assignment.file.rsplit('/').next().unwrap_or_default();
        let _ = writeln!(table, "| {who} | {role} | {on} | {} | [{file}](modules/{file}) |", cell(why));
    }
    table
}

/// `storageBlobDataOwner` as Azure's portal has it.
fn spoken(role: &str) -> String {
    let role = role.replace("azureML", "AzureML");
    let mut words = String::new();
    for (at, c) in role.char_indices() {
        let begins = c.is_uppercase() && at > 0 && !role[..at].ends_with("Azure") && !role[..at].ends_with("AzureM");
        if begins {
            words.push(' ');
        }
        words.extend(if at == 0 { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] });
    }
    words
}
