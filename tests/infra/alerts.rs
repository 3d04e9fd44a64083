//! Alerts on the log, run over records: when each fires, and that it is over when it may say so.
//!
//! duckdb-kql, which is Kusto's language on DuckDB, runs the queries that would be deployed, word for word.

use std::process::Command;

use serde_json::{Value, json};

use super::engine::ask;
use super::project::{Project, root};
use super::queries::runbook;
use super::snapshot::Resource;

/// Records of the two tables, each with the minutes for which it is there.
#[derive(Clone, Default)]
struct Records {
    traces: Vec<Value>,
    requests: Vec<Value>,
}

impl Records {
    /// A line of the handler's log, as the Functions host forwards it.
    fn logged(mut self, minutes: i64, line: &Value) -> Self {
        let category = json!({ "Category": "Host.Function.Console" });
        self.traces.push(json!({ "minutes": minutes, "message": line.to_string(), "customDimensions": category }));
        self
    }

    /// A message of the host itself.
    fn hosts(mut self, minutes: i64, message: &str) -> Self {
        self.traces.push(
            json!({ "minutes": minutes, "message": message, "customDimensions": { "Category": "Host.General" } }),
        );
        self
    }

    fn invoked(mut self, minutes: i64, name: &str, success: bool) -> Self {
        let success = if success { "True" } else { "False" };
        self.requests.push(json!({ "minutes": minutes, "name": name, "success": success, "duration": 1.0 }));
        self
    }

    /// As often as it is said.
    fn times(self, count: usize, add: impl Fn(Self) -> Self) -> Self {
        (0..count).fold(self, |records, _| add(records))
    }

    /// What an evaluation sees: nothing that is older than its window.
    fn within(&self, minutes: i64) -> Self {
        let seen = |all: &[Value]| all.iter().filter(|it| it["minutes"].as_i64() < Some(minutes)).cloned().collect();
        Self { traces: seen(&self.traces), requests: seen(&self.requests) }
    }
}

/// A scoring's move, as the driver tells of it.
fn moved(scoring: &str, from: &str, to: &str) -> Value {
    json!({ "level": "INFO", "message": format!("{scoring} {from} -> {to}"), "scoring": scoring, "rule": "claims", "from": from, "to": to,
        "reason": "why", "attempt": 1, "blob": "https://st.blob.core.windows.net/c/a.csv", "invocation_id": "6a5b0c6e" })
}

fn run_ended(stuck: u64, whole: bool) -> Value {
    json!({ "level": "INFO", "message": "reconcile run ended", "whole": whole, "in_flight": 9, "queued": 1, "unconfirmed": 1, "held": 0,
        "stuck": stuck, "oldest_seconds": 99, "oldest_queued_seconds": 9, "failed": 0, "duration_ms": 12 })
}

/// A run that read all, and found so many in this state.
fn run_found(state: &str, count: u64) -> Value {
    let mut ended = run_ended(0, true);
    ended[state] = json!(count);
    ended
}

fn sweep_ended(unaccounted: u64, not_swept: u64) -> Value {
    json!({ "level": "INFO", "message": "sweep run ended", "places": 1, "ended": 1, "listed": 9, "found": 3, "skipped": 0,
        "unaccounted": unaccounted, "not_swept": not_swept, "errors": 0 })
}

fn dead_letters(left: u64, too_old: u64) -> Value {
    json!({ "level": "INFO", "message": "dead letter run ended", "moved": 2, "taken_in": 5, "quarantined": 0, "left": left,
        "too_old": too_old })
}

fn said(level: &str, message: &str) -> Value {
    json!({ "level": level, "message": message, "job": "job-1", "target": "app" })
}

/// An alert, records on which it fires, and records on which it is over or has never begun.
struct Case {
    alert: &'static str,
    /// Whether it may say itself that it is over: an event that is older than the window is not fixed by that.
    resolves: bool,
    fires: Vec<Records>,
    silent: Vec<Records>,
}

/// An alert on what lasts until somebody sees to it, which the runs of a quarter of an hour count once.
fn unacknowledged(alert: &'static str, member: &str) -> Case {
    let (none, day) = (Records::default, 24 * 60);
    Case {
        alert,
        resolves: true,
        fires: vec![
            none().logged(1, &run_found(member, 2)),
            none().logged(day, &run_found(member, 2)),
            // Runs that did not count take nothing back.
            none().logged(9, &run_found(member, 2)).logged(1, &run_ended(0, true)),
        ],
        silent: vec![
            none(),
            none().logged(1, &run_ended(0, true)),
            none().logged(16, &run_found(member, 2)).logged(1, &run_found(member, 0)),
            // It was tried again, or acknowledged, since it was told of.
            none()
                .logged(3, &moved("s1", "running", "failed"))
                .logged(3, &said("WARN", "event quarantined: no subject"))
                .logged(1, &run_found(member, 0)),
        ],
    }
}

fn cases() -> Vec<Case> {
    let none = Records::default;
    let day = 24 * 60;
    vec![
        Case {
            alert: "heartbeat",
            resolves: true,
            fires: vec![none(), none().invoked(16, "Reconcile", true), none().invoked(1, "Reconcile", false)],
            silent: vec![none().invoked(14, "Reconcile", true).invoked(1, "Reconcile", false)],
        },
        Case {
            alert: "not-taken",
            resolves: true,
            fires: vec![
                none().times(6, |it| it.invoked(2, "BlobCreated", false)),
                none().times(6, |it| it.invoked(2, "BlobCreatedFromQueue", false)),
            ],
            silent: vec![
                none().times(5, |it| it.invoked(2, "BlobCreated", false)),
                none().times(6, |it| it.invoked(16, "BlobCreated", false)),
                none().times(6, |it| it.invoked(2, "BlobCreated", true)),
                none().times(6, |it| it.invoked(2, "Reconcile", false)),
            ],
        },
        unacknowledged("failed", "unacknowledged_failed"),
        Case {
            alert: "held",
            resolves: true,
            fires: vec![
                none().logged(1, &run_found("held", 2)),
                // For as long as it lasts, however long ago it began.
                none().logged(day, &run_found("held", 2)),
                none().logged(2, &run_found("held", 2)).logged(1, &run_ended(0, false)),
            ],
            silent: vec![
                none(),
                none().logged(2, &run_found("held", 2)).logged(1, &run_found("held", 0)),
                none().logged(3, &moved("s1", "unknown", "held")).logged(1, &run_found("held", 0)),
            ],
        },
        Case {
            alert: "stuck",
            resolves: true,
            fires: vec![
                none().logged(1, &run_ended(2, true)),
                // A run that could not read all does not take it back, and neither does an app that is silent for a day.
                none().logged(2, &run_ended(2, true)).logged(1, &run_ended(0, false)),
                none().logged(day, &run_ended(2, true)),
                // For a month, as each run finds it again.
                none().times(1, |it| {
                    it.logged(30 * day, &run_ended(2, true))
                        .logged(day, &run_ended(2, true))
                        .logged(1, &run_ended(2, true))
                }),
            ],
            silent: vec![none(), none().logged(2, &run_ended(2, true)).logged(1, &run_ended(0, true))],
        },
        unacknowledged("orphaned-jobs", "unacknowledged_orphaned"),
        unacknowledged("quarantined", "unacknowledged_quarantined"),
        Case {
            alert: "unaccounted",
            resolves: true,
            fires: vec![
                none().logged(1, &sweep_ended(2, 0)),
                none().logged(1, &sweep_ended(0, 1)),
                none().logged(day, &sweep_ended(2, 0)),
                none().logged(9, &sweep_ended(0, 0)).logged(4, &sweep_ended(2, 0)),
            ],
            silent: vec![none(), none().logged(9, &sweep_ended(2, 1)).logged(4, &sweep_ended(0, 0))],
        },
        Case {
            alert: "dead-letters",
            resolves: true,
            fires: vec![none().logged(1, &dead_letters(2, 0)), none().logged(day, &dead_letters(0, 1))],
            silent: vec![none(), none().logged(9, &dead_letters(2, 1)).logged(4, &dead_letters(0, 0))],
        },
        Case {
            alert: "errors",
            resolves: true,
            fires: vec![none().times(6, |it| it.logged(20, &said("ERROR", "row cannot be read")))],
            silent: vec![
                none().times(5, |it| it.logged(20, &said("ERROR", "row cannot be read"))),
                none().times(6, |it| it.logged(31, &said("ERROR", "row cannot be read"))),
                none().times(6, |it| it.logged(1, &said("WARN", "it is slow"))),
            ],
        },
        Case {
            alert: "poison",
            resolves: false,
            fires: vec![none().hosts(
                3,
                "Message has reached MaxDequeueCount of 1440. Moving message to queue 'blob-events-poison'.",
            )],
            silent: vec![
                none().hosts(3, "Message has reached MaxDequeueCount of 5. Moving message to queue 'others-poison'."),
            ],
        },
    ]
}

/// By alert: where the README says that this is shown.
pub fn shown() -> Vec<(&'static str, String)> {
    let told = |case: Case| {
        let (fires, silent) = (case.fires.len(), case.silent.len());
        (
            case.alert,
            format!("[alerts.rs](../tests/infra/alerts.rs), `{}` (fires: {fires}, silent: {silent})", case.alert),
        )
    };
    cases().into_iter().map(told).collect()
}

/// ISO 8601 durations that alerts have.
pub fn minutes(duration: &str) -> i64 {
    match duration {
        "PT5M" => 5,
        "PT15M" => 15,
        "PT30M" => 30,
        "PT1H" => 60,
        "P2D" => 2 * 24 * 60,
        other => panic!("no alert had {other}"),
    }
}

/// The answers of the engine; `None` where it is not installed.
fn answers(questions: &Value) -> Option<Value> {
    let mut python = Command::new(root().join("target/kql/bin/python"));
    ask(python.arg(root().join("tests/kql/run.py")), "kql/installed.txt", "SCOREKEEPER_REQUIRE_KQL", questions)
}

/// The log alerts of the environment that has all of them, by name.
fn alerts(project: &Project) -> Vec<(String, &Resource)> {
    let all = project.snapshots["private"].of("Microsoft.Insights/scheduledQueryRules");
    all.map(|alert| (runbook(alert), alert)).collect()
}

/// Whether the condition of an alert holds of a value.
pub fn holds(condition: &Value, value: f64) -> bool {
    let threshold = condition["threshold"].as_f64().unwrap();
    match condition["operator"].as_str() {
        Some("GreaterThan") => value > threshold,
        Some("GreaterThanOrEqual") => value >= threshold,
        Some("LessThan") => value < threshold,
        other => panic!("no alert had {other:?}"),
    }
}

#[test]
fn each_alert_on_the_log_fires_on_its_records_and_on_nothing_else() {
    let project = Project::load();
    let alerts = alerts(&project);
    let cases = cases();
    let names = |of: &mut dyn Iterator<Item = &str>| of.map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        names(&mut alerts.iter().map(|(name, _)| &**name)),
        names(&mut cases.iter().map(|case| case.alert)),
        "each alert has its case"
    );
    let mut questions = Vec::new();
    let mut expected = Vec::new();
    for (case, (name, alert)) in cases.iter().zip(&alerts) {
        assert_eq!(alert.get("properties/autoMitigate"), case.resolves, "{name}");
        assert!(!case.fires.is_empty() && !case.silent.is_empty(), "{name}: neither half is shown by the other");
        let look_back = alert.get("properties/overrideQueryTimeRange").as_str();
        let window = look_back.or(alert.get("properties/windowSize").as_str()).unwrap();
        let query = &alert.get("properties/criteria/allOf")[0]["query"];
        for (records, fires) in case.fires.iter().map(|it| (it, true)).chain(case.silent.iter().map(|it| (it, false))) {
            let seen = records.within(minutes(window));
            questions.push(json!({ "query": query, "traces": seen.traces, "requests": seen.requests }));
            expected.push((name, *alert, fires));
        }
    }
    let Some(answers) = answers(&json!(questions)) else { return };
    for (at, (name, alert, fires)) in expected.into_iter().enumerate() {
        let rows = answers[at]["rows"].as_array().unwrap_or_else(|| panic!("{name}: {}", answers[at]));
        assert_eq!(rows.len(), 1, "{name}: one row, also when there is nothing: {rows:?}");
        let value = rows[0][0].as_f64().unwrap_or_else(|| panic!("{name}: {rows:?}"));
        assert_eq!(
            holds(&alert.get("properties/criteria/allOf")[0], value),
            fires,
            "{name}: {value} of {}",
            questions[at]
        );
    }
}

/// What the engine lacks is bound by Kusto's language service alone.
#[test]
fn every_query_of_the_workbook_runs_but_those_that_the_engine_lacks() {
    let queries = super::queries::deployed(&Project::load());
    let records = Records::default()
        .logged(5, &moved("s1", "running", "scored"))
        .logged(4, &said("WARN", "it is slow"))
        .logged(3, &run_ended(1, true))
        .invoked(2, "Reconcile", true);
    let of_workbook: Vec<(&String, &String)> =
        queries.iter().filter(|(name, _)| name.starts_with("workbook ")).collect();
    let ask = |query: &String| json!({ "query": query, "traces": records.traces, "requests": records.requests });
    let Some(answers) = answers(&of_workbook.iter().map(|(_, query)| ask(query)).collect()) else { return };
    let mut lacks = Vec::new();
    for (at, (name, _)) in of_workbook.iter().enumerate() {
        match answers[at]["rows"].as_array() {
            Some(rows) => assert_eq!(rows.is_empty(), *name == "workbook attention", "{name}: {rows:?}"),
            None => lacks.push((name.as_str(), answers[at]["unsupported"].as_str().unwrap().contains("minif"))),
        }
    }
    assert_eq!(lacks, [("workbook duration", true)]);
}
