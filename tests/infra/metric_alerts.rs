//! Alerts on what Event Grid counts, run over minutes of counts: when each fires and when it is over, by what would be deployed.
//!
//! As Azure Monitor documents metric alerts (<https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-types#metric-alerts>): each
//! `evaluationFrequency` the criterion is looked at over the last `windowSize`, for each value of a dimension alone. With `autoMitigate`
//! an alert fires once and is over when the criterion has not been met for three looks; without, it fires at each look that meets it and
//! is never over.

use std::collections::BTreeMap;

use serde_json::json;

use super::SUBSCRIPTION;
use super::alerts::{holds, minutes};
use super::project::Project;
use super::queries::runbook;
use super::snapshot::{Resource, Snapshot};

/// Looks without the criterion after which an alert is over.
const LOOKS_UNTIL_OVER: usize = 3;
const HOURS: i64 = 2 * 60;

const METRIC_ALERT: &str = "Microsoft.Insights/metricAlerts";

/// What Event Grid counted: metric, in which minute, how many.
type Counted = (&'static str, i64, u32);

/// What people are told, and in which minute.
#[derive(Debug, PartialEq)]
enum Told {
    Fired(i64),
    Over(i64),
}
use Told::{Fired, Over};

/// What the alert of one subscription says to these counts in two hours.
fn told(alert: &Resource, subscription: &str, counted: &[Counted]) -> Vec<Told> {
    let criterion = &alert.get("properties/criteria/allOf")[0];
    let period = |member: &str| minutes(alert.get(member).as_str().unwrap());
    let (every, window) = (period("properties/evaluationFrequency"), period("properties/windowSize"));
    let resolves = alert.get("properties/autoMitigate").as_bool().unwrap();
    let of = &criterion["dimensions"][0];
    assert_eq!((&of["name"], &of["operator"]), (&json!("EventSubscriptionName"), &json!("Include")));
    assert_eq!(criterion["timeAggregation"], "Total", "counts are added up");
    let (mut all, mut open, mut quiet) = (Vec::new(), false, 0);
    for now in (every..=HOURS).step_by(usize::try_from(every).unwrap()) {
        let seen = counted.iter().filter(|(metric, minute, _)| {
            criterion["metricName"] == *metric && (now - window + 1..=now).contains(minute)
        });
        let sum: u32 = seen.map(|(.., count)| count).sum();
        // A subscription that is not asked for has no alert.
        if holds(criterion, sum.into()) && of["values"].as_array().unwrap().contains(&json!(subscription)) {
            if !open {
                all.push(Fired(now));
            }
            (open, quiet) = (resolves, 0);
        } else if open {
            quiet += 1;
            if quiet == LOOKS_UNTIL_OVER {
                open = false;
                all.push(Over(now));
            }
        }
    }
    all
}

/// By alert: what was counted of a subscription, and what is told.
fn cases() -> Vec<(&'static str, Vec<Counted>, Vec<Told>)> {
    let (dead, dropped, failing) = ("DeadLetteredCount", "DroppedEventCount", "DeliveryAttemptFailCount");
    let steady = (1..=60).map(|minute| (failing, minute, 1)).collect();
    let each_look = || vec![Fired(5), Fired(10), Fired(15)];
    vec![
        ("dead-lettered", vec![(dead, 2, 1)], each_look()),
        ("dead-lettered", vec![(dead, 2, 0), (dropped, 2, 99), (failing, 2, 99)], vec![]),
        ("dropped", vec![(dropped, 2, 1)], each_look()),
        ("dropped", vec![(dropped, 2, 0), (dead, 2, 99), (failing, 2, 99)], vec![]),
        ("delivery-failing", vec![(failing, 2, 21)], vec![Fired(5), Over(45)]),
        // Once, and not over as long as it goes on.
        ("delivery-failing", steady, vec![Fired(25), Over(80)]),
        ("delivery-failing", vec![(failing, 2, 20), (failing, 32, 20), (dead, 2, 99), (dropped, 2, 99)], vec![]),
    ]
}

/// By alert: where the README says that this is shown.
pub fn shown() -> Vec<(&'static str, String)> {
    let mut by_alert = BTreeMap::<_, (usize, usize)>::new();
    for (alert, _, told) in cases() {
        let (fires, silent) = by_alert.entry(alert).or_default();
        *if told.is_empty() { silent } else { fires } += 1;
    }
    let told = |(alert, (fires, silent))| {
        (
            alert,
            format!(
                "[metric_alerts.rs](../tests/infra/metric_alerts.rs), `{alert}` (fires: {fires}, silent: {silent})"
            ),
        )
    };
    by_alert.into_iter().map(told).collect()
}

/// What an alert says otherwise than it should, of the subscriptions that the deployment makes on its topic and of another's.
fn wrong(snapshot: &Snapshot, alert: &Resource) -> Vec<String> {
    let name = runbook(alert);
    let topic = format!("{}/eventSubscriptions/", alert.get("properties/scopes")[0].as_str().unwrap());
    let ours: Vec<&str> = snapshot.of(SUBSCRIPTION).filter_map(|it| it.id.strip_prefix(&topic)).collect();
    let mut wrong = Vec::new();
    let mut check = |subscription: &str, counted: &[Counted], expected: &[Told]| {
        let told = told(alert, subscription, counted);
        if told != expected {
            wrong.push(format!("{}, {subscription}: {told:?} and not {expected:?} of {counted:?}", alert.id));
        }
    };
    let cases: Vec<_> = cases().into_iter().filter(|(of, ..)| *of == name).collect();
    assert!(!cases.is_empty() && !ours.is_empty(), "{}", alert.id);
    for (_, counted, expected) in cases {
        for subscription in &ours {
            check(subscription, &counted, &expected);
        }
        check("of-another", &counted, &[]);
    }
    wrong
}

#[test]
fn each_alert_on_a_metric_fires_on_its_count_and_is_over_when_it_may_be() {
    for (name, snapshot) in &Project::load().snapshots {
        for alert in snapshot.of(METRIC_ALERT) {
            assert_eq!(wrong(snapshot, alert), [""; 0], "{name}");
        }
    }
}

/// Else the runs above would hold of anything.
#[test]
fn an_alert_on_a_metric_that_is_deployed_otherwise_is_noticed() {
    let project = Project::load();
    let snapshot = &project.snapshots["dev.events"];
    let alerts: Vec<&Resource> = snapshot.of(METRIC_ALERT).collect();
    assert_eq!(alerts.len(), 3);
    for alert in alerts {
        let criterion = "/properties/criteria/allOf/0";
        let more = alert.get("properties/criteria/allOf")[0]["threshold"].as_u64().unwrap() + 1;
        let resolves = alert.get("properties/autoMitigate").as_bool().unwrap();
        for (member, value) in [
            (format!("{criterion}/threshold"), json!(more)),
            (format!("{criterion}/operator"), json!("GreaterThanOrEqual")),
            (format!("{criterion}/operator"), json!("LessThan")),
            (format!("{criterion}/metricName"), json!("DeliverySuccessCount")),
            (format!("{criterion}/dimensions/0/values"), json!([])),
            (format!("{criterion}/dimensions/0/values/0"), json!("of-another")),
            ("/properties/autoMitigate".to_owned(), json!(!resolves)),
            ("/properties/windowSize".to_owned(), json!("PT1H")),
            ("/properties/evaluationFrequency".to_owned(), json!("PT30M")),
        ] {
            let mut other = alert.clone();
            *other.body.pointer_mut(&member).unwrap() = value.clone();
            assert_ne!(wrong(snapshot, &other), [""; 0], "{}: {member} {value}", alert.id);
        }
    }
}
