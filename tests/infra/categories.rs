//! Does Application Insights get what is asked of it? A query over `traces` or `requests` finds only what the Functions host lets
//! through, by `host.json` or by a filter of its own: the alerts' queries, the workbook's, and those that pages have people run.

use serde_json::{Map, Value};

use super::project::Project;

const PRELUDE: &str = "infra/queries/records.kql";

/// What a query looks for, the category and the level in which the host says it, and where that is known from.
#[rustfmt::skip] // a table
const SAID: [(&str, &str, &str, &str); 5] = [
    ("== 'Host.Function.Console'", "Host.Function.Console", "Information", "lines of the handler's stdout, seen in the host 4.1037"),
    ("'scorekeeper:'", "Host.Function.Console", "Error", "lines of the handler's stderr, seen in the host 4.1037"),
    ("Message has reached MaxDequeueCount", "Host.Triggers.Queue", "Warning", "azure-sdk-for-net, QueueProcessorOptions"),
    ("Message decoding has failed", "Azure.Storage.Queues.QueueServiceClient", "Warning", "azure-sdk-for-net, QueueServiceClientProvider"),
    ("requests", "Host.Results", "Information", "azure-webjobs-sdk, LogCategories.Results: the host makes requests of these"),
];

/// Categories that the host lets through from `Information` on unless `host.json` says otherwise: azure-functions-host,
/// `ScriptLoggingBuilderExtensions.AddDefaultWebJobsFilters`.
const OF_ITSELF: [&str; 4] = ["Microsoft.Azure.WebJobs.", "Function.", "Worker.", "Host."];

const LEVELS: [&str; 7] = ["Trace", "Debug", "Information", "Warning", "Error", "Critical", "None"];

pub fn check(project: &Project) -> Vec<String> {
    let host: Value = serde_json::from_str(project.files.get("host.json")).unwrap_or_default();
    let levels = host["logging"]["logLevel"].as_object().cloned().unwrap_or_default();
    let mut findings = Vec::new();
    for (place, query) in queries(project) {
        let mut known = SAID.iter().filter(|(text, ..)| query.contains(text)).peekable();
        if known.peek().is_none() {
            findings.push(format!("{place}: nobody knows in which category the host says what `{query}` looks for"));
        }
        for (_, category, level, _) in known {
            if !lets_through(&levels, category, level) {
                findings.push(format!("host.json: no {level} of `{category}` is let through, which {place} looks for"));
            }
        }
    }
    findings
}

/// All of them by where they stand: the files, each with the prelude where it reads what that defines, and the code of pages that
/// begins with a table.
fn queries(project: &Project) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let prelude = project.files.get(PRELUDE);
    for (path, query) in project.files.all("infra/queries/", ".kql") {
        let reads_records = query.lines().any(|line| ["records", "moves"].contains(&line));
        all.push((path.to_owned(), if reads_records { format!("{prelude}{query}") } else { query.to_owned() }));
    }
    for (path, page) in project.files.all("", ".md") {
        let code = page.split('`').filter(|code| ["traces ", "requests "].iter().any(|table| code.starts_with(table)));
        all.extend(code.filter(|code| code.contains('|')).map(|query| (path.to_owned(), query.to_owned())));
    }
    all
}

/// The rule of the longest name that a category begins with decides; without one, the host's own filter.
fn lets_through(levels: &Map<String, Value>, category: &str, level: &str) -> bool {
    let rank = |level: &str| LEVELS.iter().position(|it| *it == level);
    let named = levels.iter().filter(|(name, _)| category.starts_with(name.as_str()) || *name == "default");
    let longest = named.max_by_key(|(name, _)| if *name == "default" { 0 } else { name.len() });
    let least = match longest {
        Some((_, least)) => least.as_str().and_then(rank),
        None if OF_ITSELF.iter().any(|begin| category.starts_with(begin)) => rank("Information"),
        None => None,
    };
    least.is_some_and(|least| least < LEVELS.len() - 1 && rank(level) >= Some(least))
}

#[test]
fn whatever_a_query_looks_for_is_let_through_by_the_host() {
    let project = Project::load();
    super::none(&check(&project));
    let places: Vec<String> = queries(&project).into_iter().map(|(place, _)| place).collect();
    assert!(places.iter().filter(|place| *place == "infra/README.md").count() >= 3, "{places:?}");
}

#[test]
fn the_longest_name_decides_and_else_the_hosts_own_filter() {
    let levels: Map<String, Value> =
        serde_json::from_str(r#"{ "Host": "Error", "Host.Function": "Warning", "Azure.Storage": "None" }"#).unwrap();
    for (category, level, expected) in [
        ("Host.Results", "Warning", false),
        ("Host.Function.Console", "Warning", true),
        ("Host.Function.Console", "Information", false),
        ("Function.Reconcile", "Information", true),
        ("Function.Reconcile", "Debug", false),
        ("Azure.Core", "Error", false),
        ("Azure.Storage.Queues", "Critical", false),
    ] {
        assert_eq!(lets_through(&levels, category, level), expected, "{category} {level}");
    }
}
