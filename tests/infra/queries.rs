//! Alerts and the workbook ask for what the log really has.
//!
//! The fields of the log are read from the handler's own `tracing` calls, statuses from its code, names of functions and
//! queues from `contract.bicep`, the alerts and the workbook from what would be deployed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::project::{Files, Project};

/// Columns of the tables, as Application Insights has them.
const COLUMNS: [&str; 7] = ["customDimensions", "duration", "itemCount", "message", "name", "success", "timestamp"];
/// Members of every record of the handler's log, whatever is said: the JSON formatter of tracing-subscriber.
const OF_EVERY_RECORD: [&str; 5] = ["level", "message", "spans", "target", "timestamp"];
/// What the queries use of the language.
const WORDS: [&str; 46] = [
    "ago",
    "and",
    "arg_max",
    "asc",
    "bin",
    "by",
    "coalesce",
    "contains",
    "count",
    "countif",
    "datetime_diff",
    "dcount",
    "dcountif",
    "desc",
    "extend",
    "in",
    "isnotempty",
    "isnotnull",
    "let",
    "max",
    "maxif",
    "minif",
    "not",
    "or",
    "order",
    "parse_json",
    "percentile",
    "project",
    "requests",
    "startswith",
    "sum",
    "summarize",
    "take",
    "take_any",
    "tobool",
    "toint",
    "tolong",
    "top",
    "tostring",
    "traces",
    "where",
    "true",
    "false",
    "min",
    "records",
    "moves",
];

const PRELUDE: &str = "infra/queries/records.kql";

pub fn check(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let (fields, of_spans) = logged(&project.files);
    let prelude = aliases(&words(project.files.get(PRELUDE)));
    let names = |group: &str| -> BTreeSet<String> {
        project
            .contract(group)
            .as_object()
            .into_iter()
            .flat_map(Map::values)
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect()
    };
    let (functions, queues) = (names("functions"), names("queues"));
    for (path, query) in project.files.all("infra/queries/", ".kql") {
        let words = words(query);
        let mut known: BTreeSet<String> = aliases(&words);
        known.extend(prelude.iter().cloned());
        for (at, word) in words.iter().enumerate() {
            let mut say = |what: String| findings.push(format!("{path}: {what}"));
            let before = at.checked_sub(1).and_then(|at| words.get(at));
            let owner = at.checked_sub(2).and_then(|at| words.get(at));
            match word {
                Word::Name(name) if before == Some(&Word::Sign('.')) => match owner {
                    Some(Word::Name(owner)) if owner == "record" && !fields.contains(name) => {
                        say(format!("no record of the log has `{name}`"));
                    }
                    Some(Word::Name(owner)) if owner == "invocation" && !of_spans.contains(name) => {
                        say(format!("no span of the log has `{name}`"));
                    }
                    Some(Word::Name(owner)) if owner == "customDimensions" && name != "Category" => {
                        say(format!("the host writes no dimension `{name}`"));
                    }
                    _ => {}
                },
                Word::Name(name) => {
                    if !known.contains(name)
                        && !COLUMNS.contains(&&**name)
                        && !WORDS.contains(&&**name)
                        && !is_span(name)
                    {
                        say(format!("nothing is called `{name}`"));
                    }
                }
                Word::Text(text)
                    if before == Some(&Word::Sign('[')) && owner == Some(&Word::Name("record".to_owned())) =>
                {
                    if !fields.contains(text) {
                        say(format!("no record of the log has `{text}`"));
                    }
                }
                Word::Text(text) => match compared(&words[..at]) {
                    Some("became" | "was") if !lifecycle::Status::ALL.iter().any(|status| status.name() == text) => {
                        say(format!("`{text}` is not a status"));
                    }
                    Some("name") if !functions.contains(text) => say(format!("there is no function `{text}`")),
                    Some("level") if !["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&&**text) => {
                        say(format!("`{text}` is no level"));
                    }
                    Some("text") if !said(&project.files, text) => say(format!("the handler never says `{text}`")),
                    Some("message") if text.contains("poison") && !queues.contains(text) => {
                        say(format!("there is no queue `{text}`"));
                    }
                    _ => {}
                },
                Word::Sign(_) => {}
            }
        }
    }
    findings.extend(uses(project));
    findings
}

/// Names and queries of the alerts on the log, and of the workbook's tables, in all environments.
pub fn deployed(project: &Project) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (_, snapshot) in project.environments() {
        for alert in snapshot.of("Microsoft.Insights/scheduledQueryRules") {
            let query = alert.get("properties/criteria/allOf")[0]["query"].as_str().unwrap_or_default();
            all.insert(runbook(alert.get("properties/description")), query.to_owned());
        }
        for workbook in snapshot.of("Microsoft.Insights/workbooks") {
            let data = workbook.get("properties/serializedData").as_str().unwrap_or_default();
            let data: Value = serde_json::from_str(data).unwrap_or_default();
            for item in data["items"].as_array().into_iter().flatten() {
                if let Some(query) = item["content"]["query"].as_str() {
                    all.insert(format!("workbook {}", item["name"].as_str().unwrap_or_default()), query.to_owned());
                }
            }
        }
    }
    all
}

/// The anchor of the runbook at the end of an alert's description, which is the alert's name.
pub fn runbook(description: &Value) -> String {
    description.as_str().and_then(|text| text.rsplit_once('#')).map_or(String::new(), |(_, name)| name.to_owned())
}

/// Queries are all used, begin with the prelude where they need it, and alerts have runbooks and give `value`.
fn uses(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let deployed = deployed(project);
    for (owner, text) in &deployed {
        let needs =
            words(text).iter().any(|word| matches!(word, Word::Name(name) if name == "records" || name == "moves"));
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
    let metrics: BTreeSet<String> = metrics.map(|alert| runbook(alert.get("properties/description"))).collect();
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

#[derive(Debug, Clone, PartialEq)]
enum Word {
    Name(String),
    Text(String),
    Sign(char),
}

/// Words of a query, without comments and numbers.
fn words(query: &str) -> Vec<Word> {
    let mut words = Vec::new();
    for line in query.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let length = if first == '\'' {
                let end = rest[1..].find('\'').map_or(rest.len(), |end| end + 2);
                words.push(Word::Text(rest[1..end - 1].to_owned()));
                end
            } else if first.is_ascii_alphanumeric() || first == '_' {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                if !first.is_ascii_digit() {
                    words.push(Word::Name(rest[..end].to_owned()));
                }
                end
            } else {
                if !first.is_whitespace() {
                    words.push(Word::Sign(first));
                }
                first.len_utf8()
            };
            rest = &rest[length..];
        }
    }
    words
}

/// Names that a query gives: `NAME = …`.
fn aliases(words: &[Word]) -> BTreeSet<String> {
    let triples = words.windows(3).filter_map(|three| match three {
        [Word::Name(name), Word::Sign('='), next] if *next != Word::Sign('=') => Some(name.clone()),
        _ => None,
    });
    // `arg_max` and `project` keep the names of what they are given.
    triples.collect()
}

fn is_span(name: &str) -> bool {
    ["1h", "1d", "15m"].contains(&name)
}

/// What a text is compared with: the name before `==`, `in (…)` and the like.
fn compared(before: &[Word]) -> Option<&str> {
    let mut at = before.len();
    let mut compares = false;
    while let Some(word) = at.checked_sub(1).map(|at| &before[at]) {
        at -= 1;
        match word {
            Word::Name(name) if ["in", "startswith", "contains"].contains(&&**name) => compares = true,
            Word::Sign('=' | '!') => compares = true,
            Word::Sign('(' | ',') | Word::Text(_) => {}
            Word::Name(name) => return compares.then_some(&**name),
            Word::Sign(_) => return None,
        }
    }
    None
}

/// Whether a message of the handler begins so.
fn said(files: &Files, text: &str) -> bool {
    files.all("handler/", ".rs").any(|(_, source)| source.contains(&format!("\"{text}")))
}

/// Members that records can have, and those of their spans.
fn logged(files: &Files) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut fields: BTreeSet<String> = OF_EVERY_RECORD.map(str::to_owned).into();
    let mut of_spans: BTreeSet<String> = ["name".to_owned()].into();
    for (_, source) in files.all("handler/", ".rs") {
        for level in ["error", "warn", "info", "debug"] {
            for call in source.split(&format!("tracing::{level}!(")).skip(1) {
                let named = arguments(call).into_iter().take_while(|argument| !argument.starts_with('"'));
                fields.extend(named.filter_map(|argument| field(&argument)));
            }
        }
        for call in source.split("tracing::info_span!(").skip(1) {
            of_spans.extend(arguments(call).into_iter().skip(1).filter_map(|argument| field(&argument)));
        }
    }
    (fields, of_spans)
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
