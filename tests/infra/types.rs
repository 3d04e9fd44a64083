//! Types: every property of every resource against the ARM types of its API version, every symbol, every module call,
//! every parameter file.
//!
//! `arm_types.json` holds the types of the versions that the templates use, made from the public Azure/bicep-types-az (MIT).
//! A member's name ends with `!` if it is required; what Azure alone writes is left out. `s`, `i`, `b` and `*` are text, number, truth
//! and anything; `{"|": […]}` is one of these texts; `[T]` a list; `...` the type of members of any name; `{"?": NAME, "of": …}` an
//! object whose member NAME says which other members it has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::bicep::{Expr, Kind, Node, Part, Property, Source, decorator};
use super::evaluate::place;
use super::project::{Project, beside};

const TYPES: &str = include_str!("arm_types.json");

/// Members of a resource's declaration that are Bicep's and not the resource's.
const BICEPS_OWN: [&str; 4] = ["name", "parent", "scope", "dependsOn"];

pub fn types() -> BTreeMap<String, Value> {
    serde_json::from_str(TYPES).expect("arm_types.json is JSON")
}

pub fn check(project: &Project) -> Vec<String> {
    let types = types();
    let mut findings = Vec::new();
    for (path, source) in project.templates() {
        resources(path, source, &types, &mut findings);
        modules(project, path, source, &mut findings);
        symbols(project, path, source, &mut findings);
    }
    for (path, source, template) in project.parameter_files() {
        let Some(template) = project.sources.get(&template) else {
            findings.push(format!("{path}: there is no {template}"));
            continue;
        };
        let given: Vec<&str> = source.params().map(|param| &*param.name).collect();
        parameters(path, "the file", &given, template, &mut findings);
    }
    findings
}

fn resources(path: &str, source: &Source, types: &BTreeMap<String, Value>, findings: &mut Vec<String>) {
    let symbols = source.symbols();
    for (statement, of, existing, body) in source.resources() {
        let at = place(path, statement);
        if body.get("name").is_none() {
            findings.push(format!("{at}: a resource needs a name"));
        }
        let Some(fits) = types.get(of) else {
            findings.push(format!("{at}: `{of}` is not among the types of arm_types.json: is its version right?"));
            continue;
        };
        let kind = of.split('@').next().unwrap_or_default();
        match body.get("parent").map(|parent| &parent.node) {
            Some(Node::Name(parent)) => {
                let wanted = kind.rsplit_once('/').map_or("", |(parent, _)| parent);
                let is = match symbols.get(&**parent).map(|statement| &statement.kind) {
                    Some(Kind::Resource { of, .. }) => of.split('@').next().unwrap_or_default(),
                    _ => "no resource",
                };
                if is != wanted {
                    findings.push(format!("{at}: its parent must be a {wanted}, `{parent}` is {is}"));
                }
            }
            Some(_) => findings.push(format!("{at}: its parent must be a symbol")),
            None if kind.split('/').count() > 2 => findings.push(format!("{at}: a {kind} needs a parent")),
            None => {}
        }
        if !existing && let Some(properties) = body.object() {
            object(&at, properties, fits, &BICEPS_OWN, findings);
        }
    }
}

fn object(at: &str, properties: &[Property], fits: &Value, ours: &[&str], findings: &mut Vec<String>) {
    let Some(mut members) = fits.as_object().cloned() else { return };
    if let Some(Value::String(discriminator)) = members.get("?").cloned() {
        let chosen = properties.iter().find(|property| property.name() == Some(&*discriminator));
        let Some(chosen) = chosen else {
            findings.push(format!("{at}: `{discriminator}` is missing, which says what it is"));
            return;
        };
        let mut all = members["base"].as_object().cloned().unwrap_or_default();
        let Some(name) = chosen.value.text() else { return };
        match members["of"].get(name) {
            Some(further) => all.extend(further.as_object().cloned().unwrap_or_default()),
            None => findings.push(format!("{at}.{discriminator}: there is no `{name}`")),
        }
        members = all;
    }
    let mut seen = BTreeSet::new();
    for property in properties {
        let Some(name) = property.name() else { continue };
        if !seen.insert(name) {
            findings.push(format!("{at}: `{name}` stands there twice"));
        }
        let known = members.get(name).or_else(|| members.get(&format!("{name}!")));
        match known.or_else(|| members.get("...")) {
            _ if ours.contains(&name) => {}
            Some(of) => value(&format!("{at}.{name}"), &property.value, of, findings),
            None => findings.push(format!("{at}: there is no property `{name}` that could be set")),
        }
    }
    for required in members.keys().filter_map(|name| name.strip_suffix('!')) {
        if !seen.contains(required) && !ours.contains(&required) {
            findings.push(format!("{at}: the property `{required}` is required"));
        }
    }
}

fn value(at: &str, expr: &Expr, of: &Value, findings: &mut Vec<String>) {
    let mut wrong = |expected: &str| findings.push(format!("{at}: expected {expected} (line {})", expr.line));
    match (&expr.node, of) {
        (Node::Choice { then, other, .. }, _) => {
            value(at, then, of, findings);
            value(at, other, of, findings);
        }
        (Node::Object(_), Value::Object(members)) if !members.contains_key("|") => {
            object(at, expr.object().unwrap_or_default(), of, &[], findings);
        }
        (Node::Array(items), Value::Array(item)) => {
            for (number, inner) in items.iter().enumerate() {
                value(&format!("{at}[{number}]"), inner, &item[0], findings);
            }
        }
        (Node::For { body, .. }, Value::Array(item)) => value(&format!("{at}[]"), body, &item[0], findings),
        (Node::Text(_), Value::Object(members)) => match (members.get("|").and_then(Value::as_array), expr.text()) {
            (Some(ones), Some(text)) if !ones.iter().any(|one| one == text) => {
                wrong(&format!("one of {}", Value::Array(ones.clone())));
            }
            (None, _) => wrong("an object"),
            _ => {}
        },
        (Node::Object(_), Value::String(name)) if name != "*" => wrong("no object"),
        (Node::Array(_) | Node::For { .. }, other) if other != "*" => wrong("no list"),
        (Node::Object(_) | Node::Text(_) | Node::Number(_) | Node::Bool(_), Value::Array(_)) => wrong("a list"),
        (Node::Number(_) | Node::Bool(_), Value::Object(_)) => wrong("neither number nor truth"),
        (Node::Number(_), Value::String(name)) if name != "i" && name != "*" => wrong("no number"),
        (Node::Bool(_), Value::String(name)) if name != "b" && name != "*" => wrong("no truth value"),
        (Node::Text(_), Value::String(name)) if name != "s" && name != "*" => wrong("no text"),
        _ => {}
    }
}

fn modules(project: &Project, path: &str, source: &Source, findings: &mut Vec<String>) {
    for statement in &source.statements {
        let Kind::Module { path: module, body } = &statement.kind else { continue };
        let at = place(path, statement);
        let Some(template) = project.sources.get(&beside(path, module)) else {
            findings.push(format!("{at}: there is no {module}"));
            continue;
        };
        let properties = body.get("params").and_then(Expr::object).unwrap_or_default();
        let given: Vec<&str> = properties.iter().filter_map(Property::name).collect();
        parameters(&at, "the call", &given, template, findings);
        for property in body.object().unwrap_or_default() {
            if !["name", "scope", "params", "dependsOn"].contains(&property.name().unwrap_or_default()) {
                findings.push(format!("{at}: a module has no `{}`", property.name().unwrap_or_default()));
            }
        }
    }
}

fn parameters(at: &str, who: &str, given: &[&str], template: &Source, findings: &mut Vec<String>) {
    for name in given {
        if !template.params().any(|param| param.name == *name) {
            findings.push(format!("{at}: {who} gives `{name}`, which is no parameter"));
        }
    }
    for param in template.params() {
        let required = param.value().is_none() && !param_is_optional(&param.kind);
        if required && !given.contains(&&*param.name) {
            findings.push(format!("{at}: {who} does not give the required parameter `{}`", param.name));
        }
    }
}

fn param_is_optional(kind: &Kind) -> bool {
    matches!(kind, Kind::Param { of, .. } if of.ends_with('?'))
}

/// Undefined and unused names, outputs that a module does not have.
fn symbols(project: &Project, path: &str, source: &Source, findings: &mut Vec<String>) {
    let declared = source.symbols();
    let mut imported = BTreeSet::new();
    for statement in &source.statements {
        if let Kind::Import { names, from } = &statement.kind {
            let exported = project.sources.get(&beside(path, from));
            for name in names {
                let is = exported.and_then(|source| source.symbols().get(&**name).copied());
                if !is.is_some_and(|statement| statement.decorators.iter().any(|(name, _)| name == "export")) {
                    findings.push(format!("{path}:{}: {from} exports no `{name}`", statement.line));
                }
                imported.insert(&**name);
            }
        }
    }
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for statement in &source.statements {
        if let Kind::Param { of, .. } | Kind::Output { of, .. } = &statement.kind {
            used.extend(of.split(|c: char| !c.is_ascii_alphanumeric()));
        }
        let Some(expr) = statement.value() else { continue };
        names(expr, &mut Vec::new(), &mut |name, line, local| {
            used.insert(name);
            if !local && !declared.contains_key(name) && !imported.contains(name) {
                findings.push(format!("{path}:{line}: there is no `{name}`"));
            }
        });
        expr.walk(&mut |inner| {
            let Node::Member { of, name, .. } = &inner.node else { return };
            let Node::Member { of: module, name: outputs, .. } = &of.node else { return };
            let module = match &module.node {
                Node::Index { of, .. } => of,
                _ => module,
            };
            if let Node::Name(module) = &module.node
                && outputs == "outputs"
                && let Some(Kind::Module { path: file, .. }) = declared.get(&**module).map(|statement| &statement.kind)
                && let Some(template) = project.sources.get(&beside(path, file))
                && !template.outputs().any(|output| output.name == *name)
            {
                findings.push(format!("{path}:{}: the module `{module}` has no output `{name}`", inner.line));
            }
        });
    }
    for (name, statement) in &declared {
        let exported = statement.decorators.iter().any(|(name, _)| name == "export");
        let counts = matches!(statement.kind, Kind::Param { .. } | Kind::Var(_)) && !exported;
        if counts && !used.contains(name) {
            findings.push(format!("{}: is not used", place(path, statement)));
        }
    }
    for name in imported {
        if !used.contains(name) {
            findings.push(format!("{path}: `{name}` is imported and not used"));
        }
    }
}

/// Every name that is used, with its line and whether it is a loop's or a lambda's.
fn names<'a>(expr: &'a Expr, locals: &mut Vec<&'a str>, each: &mut dyn FnMut(&'a str, usize, bool)) {
    let parts = |parts: &'a [Part], locals: &mut Vec<&'a str>, each: &mut dyn FnMut(&'a str, usize, bool)| {
        for part in parts {
            if let Part::Of(inner) = part {
                names(inner, locals, each);
            }
        }
    };
    match &expr.node {
        Node::Name(name) => each(name, expr.line, locals.contains(&&**name)),
        Node::Null | Node::Bool(_) | Node::Number(_) => {}
        Node::Text(of) => parts(of, locals, each),
        Node::Array(of) | Node::Call { arguments: of, .. } => of.iter().for_each(|inner| names(inner, locals, each)),
        Node::Object(of) => {
            for property in of {
                parts(&property.key, locals, each);
                names(&property.value, locals, each);
            }
        }
        Node::For { item, index, over, body } => {
            names(over, locals, each);
            let before = locals.len();
            locals.push(item);
            locals.extend(index.as_deref());
            names(body, locals, each);
            locals.truncate(before);
        }
        Node::Lambda { parameters, body } => {
            let before = locals.len();
            locals.extend(parameters.iter().map(|name| &**name));
            names(body, locals, each);
            locals.truncate(before);
        }
        Node::If { condition: a, body: b }
        | Node::Index { of: a, at: b, .. }
        | Node::Binary { left: a, right: b, .. } => {
            names(a, locals, each);
            names(b, locals, each);
        }
        Node::Member { of, .. } | Node::Not(of) | Node::Minus(of) => names(of, locals, each),
        Node::Choice { condition, then, other } => {
            names(condition, locals, each);
            names(then, locals, each);
            names(other, locals, each);
        }
    }
}

/// Everything that people set or read is described.
pub fn descriptions(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let mut missing = |at: String, decorators: &[(String, Vec<Expr>)]| {
        if decorator(decorators, "description").is_none_or(str::is_empty) {
            findings.push(format!("{at}: has no @description"));
        }
    };
    for (path, source) in project.templates() {
        for statement in &source.statements {
            if let Kind::Param { .. } | Kind::Output { .. } = &statement.kind {
                missing(place(path, statement), &statement.decorators);
            }
            if let Kind::Type(members) = &statement.kind {
                missing(place(path, statement), &statement.decorators);
                for member in members {
                    missing(format!("{path}:{}: {}", member.line, member.name), &member.decorators);
                }
            }
        }
    }
    findings
}
