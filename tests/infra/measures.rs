//! One table of names, `app::measures`: the Grafana dashboard, the workbook and the page about telemetry are held against it.

use std::collections::BTreeSet;

use app::measures::{ALL, Kind, Measure};
use serde_json::Value;

use super::project::root;

fn file(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// What Prometheus calls a metric that came by OTLP: `_` for `.`, the unit behind it, and what its kind adds.
fn in_prometheus(measure: &Measure) -> String {
    let unit = if measure.unit == "s" { "_seconds" } else { "" };
    let kind = match measure.kind {
        Kind::Counter => "_total",
        Kind::Gauge => "",
        Kind::Histogram => "_bucket",
    };
    format!("{}{unit}{kind}", measure.name.replace('.', "_"))
}

/// What is asked for in an expression: names of metrics, each with the labels by which it is chosen.
fn asked(expression: &str) -> Vec<(String, Vec<String>)> {
    let starts = expression.match_indices("scorekeeper_").map(|(at, _)| &expression[at..]);
    let word =
        |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
    let metric = |rest: &str| {
        let name = word(rest);
        let chosen = rest[name.len()..].strip_prefix('{').and_then(|labels| labels.split('}').next());
        let labels = chosen.into_iter().flat_map(|labels| labels.split(',')).map(word).collect();
        (name, labels)
    };
    starts.map(metric).collect()
}

/// Labels by which an expression sums up.
fn grouped(expression: &str) -> Vec<String> {
    let lists = expression.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(',')).map(|label| label.trim().to_owned()).filter(|label| label != "le").collect()
}

fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_dashboard_shows_each_measure_by_the_names_and_labels_that_it_has() {
    let dashboard: Value = serde_json::from_str(&file("infra/grafana/scorekeeper.json")).unwrap();
    let mut shown = BTreeSet::new();
    for expression in expressions(&dashboard) {
        let asked = asked(&expression);
        assert_eq!(asked.len(), 1, "{expression}");
        for (name, labels) in asked {
            let measure = ALL.iter().find(|measure| in_prometheus(measure) == name);
            let measure = measure.unwrap_or_else(|| panic!("nothing measures {name}: {expression}"));
            for label in labels.into_iter().chain(grouped(&expression)) {
                assert!(measure.attributes.contains(&label.as_str()), "{name} has no {label}: {expression}");
            }
            shown.insert(measure.name);
        }
    }
    assert_eq!(shown, ALL.iter().map(|measure| measure.name).collect());
    let rules = dashboard["templating"]["list"][1]["query"]["query"].as_str().unwrap();
    assert_eq!(rules, "label_values(scorekeeper_accepted_total, rule)");
}

#[test]
fn what_an_expression_asks_for_is_found_in_any_shape() {
    let of = |name: &str, labels: &[&str]| vec![(name.to_owned(), labels.iter().map(|it| (*it).to_owned()).collect())];
    assert_eq!(asked("max(scorekeeper_held)"), of("scorekeeper_held", &[]));
    let rate = "histogram_quantile(0.5, sum by (le, phase) (rate(scorekeeper_x_bucket{rule=~\"$rule\",a=\"b\"}[5m])))";
    assert_eq!(asked(rate), of("scorekeeper_x_bucket", &["rule", "a"]));
    assert_eq!(grouped(rate), ["phase"]);
}

#[test]
fn the_workbook_reads_what_reconcile_runs_measure() {
    let runs = file("infra/queries/workbook-runs.kql");
    for measure in ALL {
        if let Some(member) = measure.in_log {
            assert!(
                runs.contains(&format!("record.{member})")),
                "{}: workbook-runs.kql does not read {member}",
                measure.name
            );
        }
    }
    let in_ops_words = [
        ("infra/queries/workbook-by-rule.kql", &["accepted", "scored", "failed"][..]),
        ("infra/queries/workbook-duration.kql", &["p50_minutes", "p95_minutes"]),
        (
            "infra/queries/workbook-runs.kql",
            &["in_flight", "queued", "held", "stuck", "queue_age_minutes", "run_p50_ms", "run_p95_ms"],
        ),
    ];
    for (path, columns) in in_ops_words {
        let query = file(path);
        for column in columns {
            assert!(query.contains(&format!("{column} = ")), "{path} has no column {column}");
        }
    }
}

#[test]
fn the_page_tells_each_measure_as_the_table_has_it() {
    let page = file("handler/docs/operations.md");
    let told: Vec<&str> = page.lines().filter(|line| line.starts_with("| `scorekeeper.")).collect();
    let rows = ALL.iter().map(|Measure { name, kind, unit, about, attributes, .. }| {
        let attributes = attributes.iter().map(|attribute| format!("`{attribute}`")).collect::<Vec<_>>().join(", ");
        format!("| `{name}` | {} | `{unit}` | {attributes} | {about} |", format!("{kind:?}").to_lowercase())
    });
    assert_eq!(told, rows.collect::<Vec<_>>());
}
