//! Queries by Kusto's own language service: parsed, and bound to the tables of Application Insights.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use super::engine::ask;
use super::project::{Project, root};
use super::queries;

/// What the language service says to each query; `None` where it is not installed.
fn bound(queries: &BTreeMap<String, String>) -> Option<Value> {
    let mut node = Command::new("node");
    node.arg(root().join("tests/kusto/bind.cjs")).arg(root().join("target/kusto"));
    ask(&mut node, "kusto/node_modules/.package-lock.json", "SCOREKEEPER_REQUIRE_KUSTO", &json!(queries))
}

#[test]
fn kusto_itself_binds_every_query_of_alerts_and_workbook() {
    let queries = queries::deployed(&Project::load());
    let Some(bound) = bound(&queries) else { return };
    for name in queries.keys() {
        assert_eq!(bound[name]["problems"], json!([]), "{name}");
        let columns = &bound[name]["columns"];
        if name.starts_with("workbook ") {
            assert!(columns.as_array().is_some_and(|columns| !columns.is_empty()), "{name}: {columns}");
        } else {
            assert_eq!(columns, &json!(["value"]), "{name}");
        }
    }
}

/// A check that lets these through would have let through `last`, which is a keyword.
#[test]
fn a_misspelt_column_and_a_keyword_for_a_name_are_found() {
    let queries = queries::deployed(&Project::load());
    let spoilt = |name: &str, from: &str, to: &str| {
        let query = &queries[name];
        assert!(query.contains(from), "{name}: {query}");
        (format!("{name}: {to}"), query.replace(from, to))
    };
    let spoilt = BTreeMap::from([
        spoilt("heartbeat", "tobool(success)", "tobool(succes)"),
        spoilt("failed", "tolong(record", "tolon(record"),
        spoilt("workbook warnings", "newest", "last"),
        spoilt("workbook now", "summarize", "sumarize"),
        spoilt("workbook by-rule", "by rule\n", "by rules\n"),
    ]);
    let Some(bound) = bound(&spoilt) else { return };
    for name in spoilt.keys() {
        assert!(bound[name]["problems"].as_array().is_some_and(|problems| !problems.is_empty()), "{name}: {bound}");
    }
}
