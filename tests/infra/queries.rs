//! Alerts and the workbook ask for what the log really has.
//!
//! The fields of the log are read from the handler's own `tracing` calls, statuses from its code, names of functions and
//! queues from `contract.bicep`, the alerts and the workbook from what would be deployed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::predictions::PARAMETER_FILES;
use super::project::{Files, Project};
use super::snapshot::{Resource, list};

/// Members of every record of the handler's log, whatever is said: the JSON formatter of tracing-subscriber.
const OF_EVERY_RECORD: [&str; 4] = ["level", "message", "target", "timestamp"];
const PRELUDE: &str = "infra/queries/records.kql";

pub fn check(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let fields = logged(&project.files);
    let names = |group: &str| -> BTreeSet<&str> {
        project.contract(group).as_object().into_iter().flat_map(Map::values).filter_map(Value::as_str).collect()
    };
    let (functions, queues) = (names("functions"), names("queues"));
    for (path, query) in project.files.all("infra/queries/", ".kql") {
        let mut expect = |found: Vec<&str>, is_known: &dyn Fn(&str) -> bool, wrong: &str| {
            let unknown = found.into_iter().filter(|text| !is_known(text));
            findings.extend(unknown.map(|text| format!("{path}: {}", wrong.replace("{}", &format!("`{text}`")))));
        };
        expect(members(query, "record"), &|name| fields.contains(name), "no record of the log has {}");
        expect(members(query, "customDimensions"), &|name| name == "Category", "the host writes no dimension {}");
        let is_status = |text: &str| lifecycle::Status::ALL.iter().any(|status| status.name() == text);
        for column in ["became", "was"] {
            expect(compared(query, column), &is_status, "{} is not a status");
        }
        let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];
        expect(compared(query, "name"), &|text| functions.contains(text), "there is no function {}");
        expect(compared(query, "level"), &|text| levels.contains(&text), "{} is no level");
        expect(compared(query, "text"), &|text| said(&project.files, text), "the handler never says {}");
        let is_queue = |text: &str| !text.contains("poison") || queues.contains(text);
        expect(compared(query, "message"), &is_queue, "there is no queue {}");
    }
    findings.extend(uses(project));
    findings.extend(links(project));
    findings
}

/// Runbooks are where the parameter file says, and nowhere else: a place of ours would be a dead link in somebody's mail at night.
fn links(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, snapshot) in &project.snapshots {
        let file = PARAMETER_FILES.iter().find(|(of, _)| Some(*of) == name.split('.').next()).map(|(_, file)| *file);
        let file = file.map_or("", |file| project.files.get(file));
        let named = file.split_once("runbookUrl: '").and_then(|(_, rest)| rest.split('\'').next());
        let on_log = snapshot.of("Microsoft.Insights/scheduledQueryRules");
        for alert in on_log.chain(snapshot.of("Microsoft.Insights/metricAlerts")) {
            let said = alert.get("properties/description").as_str().unwrap_or_default();
            match named {
                None if said.contains('/') || said.contains('#') => {
                    findings.push(format!("{name}: {} links a runbook that nobody has named: {said}", alert.id));
                }
                Some(url) if !said.ends_with(&format!(" {url}#{}", runbook(alert))) => {
                    findings.push(format!("{name}: {} does not link its runbook at {url}: {said}", alert.id));
                }
                _ => {}
            }
        }
    }
    findings
}

/// What a query reads of a dynamic value: `OWNER.NAME` and `OWNER['NAME']`.
fn members<'a>(query: &'a str, owner: &str) -> Vec<&'a str> {
    let of = |begin: String| query.split_inclusive(&*begin).skip(1).collect::<Vec<_>>();
    let [dotted, quoted] = [of(format!("{owner}.")), of(format!("{owner}['"))];
    let name = |rest: &'a str| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
    dotted.into_iter().chain(quoted).filter_map(name).collect()
}

/// The texts that a query compares a column with.
fn compared<'a>(query: &'a str, column: &str) -> Vec<&'a str> {
    let after = |operator: &str| query.split(&format!("{column} {operator}")).skip(1).collect::<Vec<_>>();
    let one = ["== '", "startswith '", "contains '"].into_iter().flat_map(after);
    let one = one.filter_map(|rest| rest.split('\'').next());
    let lists = after("in (").into_iter().filter_map(|rest| rest.split(')').next());
    one.chain(lists.flat_map(|list| list.split('\'').skip(1).step_by(2))).collect()
}

/// Names and queries of the alerts on the log, and of the workbook's tables, in all environments.
pub fn deployed(project: &Project) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (_, snapshot) in project.environments() {
        for alert in snapshot.of("Microsoft.Insights/scheduledQueryRules") {
            let query = alert.get("properties/criteria/allOf")[0]["query"].as_str().unwrap_or_default();
            all.insert(runbook(alert), query.to_owned());
        }
        for workbook in snapshot.of("Microsoft.Insights/workbooks") {
            let data = workbook.get("properties/serializedData").as_str().unwrap_or_default();
            let data: Value = serde_json::from_str(data).unwrap_or_default();
            for item in list(&data["items"]) {
                if let Some(query) = item["content"]["query"].as_str() {
                    all.insert(format!("workbook {}", item["name"].as_str().unwrap_or_default()), query.to_owned());
                }
            }
        }
    }
    all
}

/// An alert's name, at the end of its description: the anchor of its runbook, or by itself where nobody says where runbooks are.
pub fn runbook(alert: &Resource) -> String {
    let description = alert.get("properties/description").as_str().unwrap_or_default();
    description.rsplit(['#', ' ']).next().unwrap_or_default().to_owned()
}

/// Queries are all used, begin with the prelude where they need it, and alerts have runbooks and give `value`.
fn uses(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let deployed = deployed(project);
    for (owner, text) in &deployed {
        let needs = text.lines().any(|line| ["records", "moves"].contains(&line));
        if needs && !text.starts_with(project.files.get(PRELUDE)) {
            findings.push(format!("{owner}: uses what records.kql defines, and does not begin with it"));
        }
    }
    for (path, text) in project.files.all("infra/queries/", ".kql") {
        if !deployed.values().any(|query| query.contains(text)) {
            findings.push(format!("{path}: nobody asks this"));
        }
        if path.contains("/alert-")
            && !text.trim_end().lines().last().unwrap_or_default().starts_with("| summarize value = ")
        {
            findings.push(format!("{path}: an alert's query ends with one row that has `value`"));
        }
    }
    let metrics = project.snapshots.values().flat_map(|snapshot| snapshot.of("Microsoft.Insights/metricAlerts"));
    let metrics: BTreeSet<String> = metrics.map(runbook).collect();
    let alerts: Vec<&String> = deployed.keys().filter(|name| !name.starts_with("workbook ")).chain(&metrics).collect();
    for name in &alerts {
        if !project.files.get("infra/README.md").contains(&format!("\n### {name}\n")) {
            findings.push(format!("infra/README.md: the alert `{name}` has no runbook"));
        }
    }
    if alerts.len() < 12 {
        findings.push(format!("alerts.bicep, topic-alerts.bicep: only these alerts were found: {alerts:?}"));
    }
    findings
}

/// Whether a message of the handler begins so.
fn said(files: &Files, text: &str) -> bool {
    files.all("handler/", ".rs").any(|(_, source)| source.contains(&format!("\"{text}")))
}

/// Members that records can have: those of events, and beside them those of the spans around them.
fn logged(files: &Files) -> BTreeSet<String> {
    let mut fields: BTreeSet<String> = OF_EVERY_RECORD.map(str::to_owned).into();
    for (_, source) in files.all("handler/", ".rs") {
        for level in ["error", "warn", "info", "debug"] {
            for call in source.split(&format!("tracing::{level}!(")).skip(1) {
                let named = arguments(call).into_iter().take_while(|argument| !argument.starts_with('"'));
                fields.extend(named.filter_map(|argument| field(&argument)));
            }
        }
        for call in source.split("tracing::info_span!(").skip(1) {
            fields.extend(arguments(call).into_iter().skip(1).filter_map(|argument| field(&argument)));
        }
    }
    fields
}

/// `name = value`, `%name`, `?name` or `name`.
fn field(argument: &str) -> Option<String> {
    let name = argument.split_once('=').map_or(argument, |(name, _)| name).trim().trim_start_matches(['%', '?']);
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    plain.then(|| name.to_owned())
}

/// The arguments of a call, from behind its opening parenthesis.
fn arguments(call: &str) -> Vec<String> {
    let (mut all, mut one, mut depth, mut quoted, mut escaped) = (Vec::new(), String::new(), 0, false, false);
    for c in call.chars() {
        let plain = !quoted;
        if quoted {
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
        } else if c == '"' {
            quoted = true;
        }
        match c {
            '(' | '[' | '{' if plain => depth += 1,
            ')' | ']' | '}' if plain && depth == 0 => break,
            ')' | ']' | '}' if plain => depth -= 1,
            ',' if plain && depth == 0 => {
                all.push(std::mem::take(&mut one).trim().to_owned());
                continue;
            }
            _ => {}
        }
        one.push(c);
    }
    if !one.trim().is_empty() {
        all.push(one.trim().to_owned());
    }
    all
}

#[test]
fn fields_are_found_in_calls_of_any_shape() {
    let source = "tracing::warn!(key = bad.key, %shard, error = %chain(&a, \"x, y\"), \"said: {}\", other);";
    let call = source.split("tracing::warn!(").nth(1).unwrap();
    let fields: Vec<_> = arguments(call)
        .into_iter()
        .take_while(|argument| !argument.starts_with('"'))
        .filter_map(|argument| field(&argument))
        .collect();
    assert_eq!(fields, ["key", "shard", "error"]);
}
