//! The tables of `infra/README.md`, made of the templates. `cargo xtask docs` writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::alerts;
use super::contract::{SENT_WHERE, setting_names};
use super::figures;
use super::metric_alerts;
use super::project::{Project, root};
use super::queries::runbook;
use super::roles::assignments;
use super::snapshot::Resource;

const README: &str = "infra/README.md";
const MAIN: &str = "infra/main.bicep";

/// The README as it should be.
pub fn written(project: &Project) -> Result<String, String> {
    let mut text = project.files.get(README).to_owned();
    for (name, table) in [
        ("parameters", parameters(project)),
        ("outputs", outputs(project)),
        ("settings", app_settings(project)),
        ("roles", roles(project)),
        ("alerts", alert_rules(project)),
        ("figures", figures::table(project)),
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
        std::fs::write(root().join(README), text).unwrap();
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn text(value: &Value) -> String {
    cell(value.as_str().unwrap_or_default())
}

/// Members in the order of the source below `from`: JSON keeps none.
fn in_order<'a>(source: &str, from: &str, keyword: &str, members: &'a Value) -> Vec<(&'a String, &'a Value)> {
    let source = source.split_once(from).map_or("", |(_, below)| below);
    let place = |name: &str| {
        let declared = source.find(&format!("\n{keyword}{name} ")).or(source.find(&format!("\n{keyword}{name}: ")));
        declared.unwrap_or(usize::MAX)
    };
    let mut members: Vec<_> = members.as_object().into_iter().flat_map(Map::iter).collect();
    members.sort_by_key(|(name, _)| place(name));
    members
}

/// A value as Bicep writes it.
fn literal(value: &Value) -> String {
    match value {
        Value::String(text) if text.starts_with('[') => text.trim_matches(['[', ']']).to_owned(),
        Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    }
}

/// What a parameter or a member takes.
fn takes(main: &Value, of: &Value) -> String {
    // A named choice is shown by what can be chosen.
    let of = match definition(main, of) {
        (_, named) if of["items"].is_null() && named["allowedValues"].is_array() => named,
        _ => of,
    };
    let kind = match (of["type"].as_str(), of["$ref"].as_str()) {
        (Some("array"), _) if of["items"].is_null() => "list".to_owned(),
        (Some("array"), _) => format!("{}[]", takes(main, &of["items"]).trim_matches('`')),
        (Some(kind), _) => kind.to_owned(),
        (None, Some(named)) => named.rsplit(['/', '.']).next().unwrap_or_default().to_owned(),
        (None, None) => "any".to_owned(),
    };
    let range = |low: &str, high: &str| Some((of[low].as_i64()?, of[high].as_i64()?));
    if let Some(allowed) = of["allowedValues"].as_array() {
        let shown: Vec<String> = allowed.iter().map(|one| format!("`{}`", literal(one).trim_matches('\''))).collect();
        let list = if of["type"] == "array" { "list of " } else { "" };
        format!("{list}{}", shown.join(", "))
    } else if let Some((low, high)) = range("minValue", "maxValue") {
        format!("{low} to {high}")
    } else if let Some((low, high)) = range("minLength", "maxLength") {
        format!("`{kind}`, {low} to {high} characters")
    } else {
        format!("`{kind}`")
    }
}

fn parameters(project: &Project) -> String {
    let mut table = "| parameter | default | takes | meaning |\n|---|---|---|---|\n".to_owned();
    let main = &project.templates["main"];
    for (name, param) in in_order(project.files.get(MAIN), "", "param ", &main["parameters"]) {
        let default = match &param["defaultValue"] {
            Value::Null => "required".to_owned(),
            value => format!("`{}`", literal(value)),
        };
        let meaning = text(&param["metadata"]["description"]);
        let _ = writeln!(table, "| `{name}` | {default} | {} | {meaning} |", cell(&takes(main, param)));
        members(&mut table, project, name, param);
    }
    table
}

/// The members of what a parameter or a member takes, and theirs in turn.
fn members(table: &mut String, project: &Project, path: &str, of: &Value) {
    let main = &project.templates["main"];
    let types = project.files.get("infra/modules/types.bicep");
    let list = if of["items"].is_null() { "" } else { "[]" };
    let (named, object) = definition(main, of);
    if object["additionalProperties"].is_object() {
        let of = &object["additionalProperties"];
        let meaning = text(&of["metadata"]["description"]);
        let _ = writeln!(table, "| `{path}{list}.NAME` |  | {} | {meaning} |", cell(&takes(main, of)));
    }
    for (member, of) in in_order(types, &format!("type {named} = {{"), "  ", &object["properties"]) {
        let path = format!("{path}{list}.{member}");
        let default = if of["nullable"] == true { "" } else { "required" };
        let meaning = text(&of["metadata"]["description"]);
        let _ = writeln!(table, "| `{path}` | {default} | {} | {meaning} |", cell(&takes(main, of)));
        members(table, project, &path, of);
    }
}

/// The type that something refers to, itself or as what its list holds, with its name; else what it says itself.
fn definition<'a>(main: &'a Value, of: &'a Value) -> (&'a str, &'a Value) {
    match of["$ref"].as_str().or(of["items"]["$ref"].as_str()).and_then(|path| path.rsplit('/').next()) {
        // What a type of another file refers to has that file's number before its name.
        Some(named) => (named.rsplit('.').next().unwrap_or_default(), &main["definitions"][named]),
        None => ("", of),
    }
}

fn outputs(project: &Project) -> String {
    let mut table = "| output | meaning |\n|---|---|\n".to_owned();
    for (name, description) in in_order(project.files.get(MAIN), "", "output ", &project.templates["main"]["outputs"]) {
        let _ = writeln!(table, "| `{name}` | {} |", text(description));
    }
    table
}

fn app_settings(project: &Project) -> String {
    let mut table = "| setting | value |\n|---|---|\n".to_owned();
    for name in setting_names(project) {
        // As the template has it, which says where a value comes from.
        let begins = format!("{name}: ");
        let source = project.files.get(MAIN);
        let whole = source.lines().find_map(|line| line.trim_start().strip_prefix(&*begins));
        // Those that are sent only where they are set stand in an object of one line: `{ NAME: VALUE }`.
        let part = || source.split_once(&format!("{{ {begins}")).and_then(|(_, rest)| rest.split(" }").next());
        let value = whole.or_else(part).unwrap_or_default();
        let when = SENT_WHERE.iter().find(|(is, _)| *is == name).map_or("", |(_, when)| when);
        let _ = writeln!(table, "| `{name}` | `{}`{when} |", cell(value));
    }
    table += "| `AzureWebJobs_NAME_Disabled` | `'true'` for each of `app.disabledFunctions` and for the function of the other delivery mode; for `Scorings` and `Operations` unless `app.http` is true, for `Page` unless `app.page` is |\n";
    table
}

fn roles(project: &Project) -> String {
    let mut table = "| who | role | on | why | file |\n|---|---|---|---|---|\n".to_owned();
    let mut rows = BTreeMap::new();
    for assignment in assignments(project) {
        let (head, why) = assignment.description.split_once(": ").unwrap_or_default();
        let (who, on) = head.split_once(" on ").unwrap_or_default();
        let role = assignment.role.map_or("custom role".to_owned(), |role| format!("*{}*", spoken(role)));
        let mut files = project.files.all("infra/modules/", ".bicep");
        let file = files.find(|(_, text)| text.contains(&format!("description: '{}'", assignment.description)));
        let file = file.and_then(|(path, _)| path.rsplit('/').next()).unwrap_or_default();
        rows.insert(
            (file.to_owned(), assignment.description.clone()),
            format!("| {who} | {role} | {on} | {} | [{file}](modules/{file}) |", cell(why)),
        );
    }
    for row in rows.values() {
        let _ = writeln!(table, "{row}");
    }
    table
}

/// When each alert fires and whether it closes by itself, from what would be deployed; and the test that shows both.
fn alert_rules(project: &Project) -> String {
    let mut table =
        "| alert | severity | fires when | asked | closes | shown by |\n|---|---|---|---|---|---|\n".to_owned();
    let shown: BTreeMap<&str, String> = alerts::shown().into_iter().chain(metric_alerts::shown()).collect();
    let private = &project.snapshots["private"];
    let condition = |of: &Value| {
        let is = if of["operator"] == "LessThan" { "under" } else { "over" };
        format!("{is} {}", of["threshold"])
    };
    let plain = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    let closes = |alert: &Resource| match alert.get("properties/autoMitigate").as_bool() {
        Some(true) => "by itself, once it is not so any more",
        _ => "by whoever has seen to it",
    };
    let on_log = private.of("Microsoft.Insights/scheduledQueryRules").map(|alert| {
        let name = runbook(alert);
        let title = plain(alert.get("properties/displayName"));
        let title = title.split_once(": ").map_or(&*title, |(_, title)| title).to_owned();
        let of = condition(&alert.get("properties/criteria/allOf")[0]);
        let state = alert.get("properties/overrideQueryTimeRange").is_string();
        let span = if state { "newest run" } else { alert.get("properties/windowSize").as_str().unwrap_or_default() };
        (name, alert, format!("{title}: [its query](queries) gives {of} ({span})"))
    });
    let mut on_metrics = BTreeMap::new();
    for alert in private.of("Microsoft.Insights/metricAlerts") {
        on_metrics.entry(runbook(alert)).or_insert(alert);
    }
    let on_metrics = on_metrics.into_iter().map(|(name, alert)| {
        let of = &alert.get("properties/criteria/allOf")[0];
        let span = plain(alert.get("properties/windowSize"));
        let when = format!("the topic's `{}` is {} ({span})", plain(&of["metricName"]), condition(of));
        (name, alert, when)
    });
    for (name, alert, when) in on_log.chain(on_metrics) {
        let severity = alert.get("properties/severity");
        let every = plain(alert.get("properties/evaluationFrequency"));
        let shown = shown.get(&*name).map_or("nobody", |shown| shown);
        let closes = closes(alert);
        let _ = writeln!(table, "| [{name}](#{name}) | {severity} | {} | {every} | {closes} | {shown} |", cell(&when));
    }
    table
}

/// `storageBlobDataOwner` as Azure's portal has it.
pub fn spoken(role: &str) -> String {
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

#[test]
fn each_member_of_each_type_has_a_row() {
    let project = Project::load();
    let table = parameters(&project);
    let definitions = project.templates["main"]["definitions"].as_object().unwrap();
    // What stage 1 tells stage 2 is nobody's to set.
    let types: Vec<_> = definitions.iter().filter(|(name, _)| !name.ends_with("firstStage")).collect();
    assert!(types.len() >= 14, "{:?}", definitions.keys());
    for (named, of) in types {
        for member in of["properties"].as_object().into_iter().flat_map(Map::keys) {
            assert!(table.contains(&format!(".{member}` |")), "{named}: {member}");
        }
    }
    for path in
        ["app.alwaysReady[].instanceCount", "app.authentication.issuer", "network.privateDnsZoneResourceIds.sites"]
    {
        assert!(table.contains(&format!("| `{path}` |")), "{path}");
    }
}
