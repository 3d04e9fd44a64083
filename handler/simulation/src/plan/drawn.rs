//! The parts of a plan that are drawn: uploads, what becomes of their events and inputs, limits and rules.

use lifecycle::Rules;
use serde_json::{Value, json};
use time::Duration;

use super::happenings::{ChangeAt, Delivery, LimitChange, Upload};
use crate::account::CONTAINERS;
use crate::arrivals::{self, Arrival};
use crate::executor::Rng;
use crate::faults::{Dice, Kind};
use crate::inputs::InputChange;
use crate::names;
use crate::tagged;

pub(super) fn drawn_upload(draw: &mut Rng, dice: &mut Dice, n: usize) -> Upload {
    let container = if draw.chance(800) { CONTAINERS[0] } else { CONTAINERS[1] };
    // Now and then a new version of the blob before.
    if let Some(before) = n.checked_sub(1).filter(|_| draw.chance(150)) {
        let path = format!("{before}.csv");
        return Upload { container, path, etag: "2".to_owned(), arrival: Arrival::Written };
    }
    if dice.strikes(Kind::Names, 200) {
        let path = names::draw(dice.stream(Kind::Names), n);
        return Upload { container, path, etag: "1".to_owned(), arrival: Arrival::OddlyNamed };
    }
    let arrival = Arrival::draw(dice);
    Upload { container, path: arrival.path(&format!("{n}.csv")), etag: "1".to_owned(), arrival }
}

/// A look at a path that a rename has filled shows the renamed version for ever, so that no other one is written there.
pub(super) fn keep_renamed_ones_apart(uploads: &mut [Upload]) {
    for n in 0..uploads.len() {
        let is_of_rename = |other: &Upload| matches!(other.arrival, Arrival::Renamed | Arrival::WithFolder);
        let taken = uploads.iter().any(|other| is_of_rename(other) && other.url() == uploads[n].url());
        if taken && !is_of_rename(&uploads[n]) {
            uploads[n] = Upload { path: format!("{n}.csv"), etag: "1".to_owned(), ..uploads[n].clone() };
        }
    }
}

/// Repeats, batches and unreadable events.
pub(super) fn disturb_deliveries(deliveries: &mut Vec<Delivery>, uploads: &[Upload], dice: &mut Dice) {
    for upload in uploads {
        while dice.strikes(Kind::Events, 150) {
            let at = dice.stream(Kind::Events).seconds(0, 1_200);
            deliveries.extend(upload.events().into_iter().map(|payload| Delivery { at, payload }));
        }
    }
    if dice.strikes(Kind::Events, 150) {
        let at = dice.stream(Kind::Events).seconds(0, 30);
        let mut all: Vec<Value> = uploads.iter().flat_map(Upload::events).collect();
        all.reverse();
        deliveries.push(Delivery { at, payload: Value::Array(all) });
    }
    if dice.strikes(Kind::Events, 150) {
        let stream = dice.stream(Kind::Events);
        let bad = [json!({"x": 1}), json!("no JSON"), json!({"eventType": "Microsoft.Storage.BlobCreated"}), json!([])];
        deliveries.push(Delivery { at: stream.seconds(0, 60), payload: stream.pick(&bad) });
    }
}

/// Inputs are deleted, overwritten, with an event or without, and marked. Each path has one of these fates at most, since what
/// was overwritten and then deleted while its job ran cannot be told afterwards (RELIABILITY says so).
pub(super) fn drawn_input_changes(
    deliveries: &mut Vec<Delivery>,
    uploads: &[Upload],
    dice: &mut Dice,
    draw: &mut Rng,
) -> Vec<ChangeAt> {
    let mut changes = Vec::new();
    for (n, upload) in uploads.iter().enumerate() {
        let url = upload.url();
        // A path of two uploads, or one that comes by a rename, is left to them: it holds whatever version is asked about.
        let alone = uploads.iter().filter(|other| other.url() == url).count() == 1;
        if !alone || !matches!(upload.arrival, Arrival::Written) {
            continue;
        }
        let content = u64::try_from(n).unwrap_or(0) * 2;
        let has_md5 = draw.chance(800);
        let first = InputChange::Put { etag: upload.etag.clone(), content, has_md5 };
        changes.push(ChangeAt { at: Duration::ZERO, url: url.clone(), change: first });
        if dice.strikes(Kind::InputsDeleted, 150) {
            let at = dice.stream(Kind::InputsDeleted).seconds(0, 900);
            changes.push(ChangeAt { at, url, change: InputChange::Delete });
        } else if dice.strikes(Kind::InputsOverwritten, 150) {
            let stream = dice.stream(Kind::InputsOverwritten);
            let (at, told) = (stream.seconds(1, 900), stream.chance(500));
            let again = Upload { etag: format!("{}o", upload.etag), ..upload.clone() };
            let change = InputChange::Put { etag: again.etag.clone(), content: content + 1, has_md5 };
            changes.push(ChangeAt { at, url, change });
            if told {
                let late = dice.stream(Kind::InputsOverwritten).seconds(0, 120);
                deliveries.extend(again.events().into_iter().map(|payload| Delivery { at: at + late, payload }));
            }
            if dice.strikes(Kind::Renames, 400) {
                let stream = dice.stream(Kind::Renames);
                let at = at + stream.seconds(1, 600);
                let payload = arrivals::moved_back(upload.container, &upload.path);
                deliveries.push(Delivery { at: at + stream.seconds(0, 60), payload });
                let change = InputChange::RollBack { etag: upload.etag.clone(), content, has_md5 };
                changes.push(ChangeAt { at, url: upload.url(), change });
            }
        } else if dice.strikes(Kind::InputsMarked, 150) {
            let at = dice.stream(Kind::InputsMarked).seconds(1, 900);
            changes.push(ChangeAt { at, url, change: InputChange::Mark });
        }
    }
    changes
}

/// Now and then an operator changes a limit some times, pauses the rule, and leaves it to the rules in the end.
pub(super) fn drawn_limit_changes(draw: &mut Rng, rules: &Rules, fault_period: Duration) -> Vec<LimitChange> {
    let Some(rule) = rules.iter().find(|rule| rule.max_in_flight.is_some()).filter(|_| draw.chance(300)) else {
        return Vec::new();
    };
    let fault_period = u64::try_from(fault_period.whole_seconds()).unwrap_or(0);
    let mut limit_changes: Vec<LimitChange> = (0..3)
        .map(|_| LimitChange {
            at: draw.seconds(0, fault_period),
            rule: rule.id.to_string(),
            limit: Some(draw.pick(&[0, 1, 2, 4])),
        })
        .collect();
    limit_changes.push(LimitChange {
        at: Duration::seconds(1) + draw.seconds(fault_period, fault_period + 600),
        rule: rule.id.to_string(),
        limit: None,
    });
    limit_changes
}

/// One to three rules: with and without limits, two of them on one endpoint or for the same blobs.
pub(super) fn drawn_rules(draw: &mut Rng, skewed: bool, publishes: bool) -> (Vec<Value>, Vec<Value>) {
    let seconds = |n: u64| format!("PT{n}S");
    let count = draw.pick(&[1, 1, 1, 2, 2, 3]);
    let mut rules = Vec::new();
    for n in 0..count {
        let container = if n == 0 || draw.chance(500) { CONTAINERS[0] } else { CONTAINERS[1] };
        let endpoint = if draw.chance(600) { "heart" } else { "lung" };
        let id = ["one", "two", "three"][n];
        let mut rule = json!({
            "id": id,
            "match": { "container": container },
            "endpoint": { "uri": format!("https://{endpoint}.example/jobs") },
            "maxAttempts": 1 + draw.below(3),
            "pollInterval": seconds(draw.pick(&[30, 60, 120])),
            "retryBackOff": seconds(draw.pick(&[10, 60])),
            "submitDeadline": seconds(draw.pick(&[600, 3_600, 86_400])),
            "jobTimeout": seconds(draw.pick(&[300, 900, 3_600])),
            "submitTimeout": seconds(draw.pick(&[20, 60])),
            "lookupInterval": seconds(draw.pick(&[10, 30])),
            // Clocks that differ by minutes take a `resubmitAfter` that is much longer than that.
            "resubmitAfter": seconds(if skewed { draw.pick(&[900, 1_200]) } else { draw.pick(&[120, 300, 900]) }),
            "outputTimeout": seconds(draw.pick(&[20, 120])),
            "onUnknown": draw.pick(&["resolve", "resolve", "hold"]),
            // Of dice of its own: what else is drawn for a seed stays as it is.
            "verifyInput": draw.fork(40 + n as u64).chance(850),
        });
        // The same.
        if publishes && draw.fork(60 + n as u64).chance(250) {
            rule["endpoint"]["shadow"] = json!("v9");
        }
        // The same.
        let mut of_its_own = draw.fork(50 + n as u64);
        if of_its_own.chance(300) {
            rule["overwrites"] = json!(of_its_own.pick(&["ignore", "latestOnly"]));
            if rule["overwrites"] == "latestOnly" {
                rule["verifyInput"] = json!(true);
            }
        }
        if draw.chance(500) {
            rule["maxInFlight"] = json!(draw.pick(&[1, 1, 2, 3]));
        }
        rules.push(rule);
    }
    let mut endpoints = Vec::new();
    if draw.chance(500) {
        let mut endpoint = json!({ "uri": draw.pick(&rules)["endpoint"]["uri"] });
        if draw.chance(700) {
            endpoint["maxInFlight"] = json!(draw.pick(&[1, 2, 3]));
        }
        if draw.chance(400) {
            endpoint["submitsPerMinute"] = json!(draw.pick(&[1, 2]));
        }
        if draw.chance(400) {
            endpoint["breaker"] = json!({ "failures": draw.pick(&[1, 2, 3]), "pause": seconds(draw.pick(&[60, 600])) });
        }
        endpoints.push(endpoint);
    }
    (rules, endpoints)
}

/// A rule like this one, for uploads whose index tags decide.
pub(super) fn asking_for_tags(like: &Value) -> Value {
    let mut rule = like.clone();
    rule["id"] = json!(tagged::RULE);
    rule["match"] = tagged::matches();
    rule["overwrites"] = Value::Null;
    rule
}

pub(super) fn is_tagged(rule: &lifecycle::Rule) -> bool {
    rule.id == tagged::RULE || rule.shadow_of.as_ref().is_some_and(|of| *of == tagged::RULE)
}

/// Some rules have several deployments.
pub(super) fn with_deployments(rules: &mut [Value], dice: &mut Dice) {
    for rule in rules {
        if dice.strikes(Kind::Deployments, 60) {
            rule["endpoint"]["shadow"] = json!("v9");
        }
        if dice.strikes(Kind::Deployments, 60) {
            let share = dice.stream(Kind::Deployments).below(101);
            rule["endpoint"]["deployments"] = json!({ "v7": share, "v8": 100 - share });
        }
    }
}
