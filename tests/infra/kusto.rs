//! Queries by Kusto's own language service: parsed, and bound to the tables of Application Insights.
//!
//! `tests/kusto/package.json` names the version; `cargo xtask test` installs it under `target/kusto`. Where it is not installed the tests
//! say so and pass, unless `SCOREKEEPER_REQUIRE_KUSTO` is set.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::project::{Project, root};
use super::queries;

/// What the language service says to each query; `None` where it is not installed.
fn bound(queries: &BTreeMap<String, String>) -> Option<Value> {
    let folder = root().join("target/kusto");
    if !folder.join("node_modules/.package-lock.json").is_file() {
        assert!(std::env::var_os("SCOREKEEPER_REQUIRE_KUSTO").is_none(), "target/kusto has no language service");
        println!("left out: Kusto's language service is not installed");
        return None;
    }
    let mut node = Command::new("node")
        .arg(root().join("tests/kusto/bind.cjs"))
        .arg(folder.canonicalize().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    node.stdin.take().unwrap().write_all(json!(queries).to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
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
        spoilt("failed", "dcount(scoring)", "dcount(scorings)"),
        spoilt("workbook warnings", "newest", "last"),
        spoilt("workbook now", "summarize", "sumarize"),
    ]);
    let Some(bound) = bound(&spoilt) else { return };
    for name in spoilt.keys() {
        assert!(bound[name]["problems"].as_array().is_some_and(|problems| !problems.is_empty()), "{name}: {bound}");
    }
}
