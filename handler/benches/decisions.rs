//! What thinking costs: intake, the decision, templates and the host's envelope, without any I/O.
//!
//! Run it with `cargo bench -p handler --bench decisions`. These are microseconds beside milliseconds of I/O; the bench
//! is here to notice when that stops being true.

mod upload;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use handler::hosts::azure::envelope;
use lifecycle::rule::template::Template;
use lifecycle::{
    Answer, Job, JobSnapshot, JobStatus, LedgerId, Observation, Payload, Rule, Rules, Scoring, Step, decide, intake,
    rule,
};
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::datetime;

// As the shipped binary has it.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

fn some_rules() -> Rules {
    let text = upload::rules("https://claims.westeurope.inference.ml.azure.com/jobs", None);
    Rules::read(&text).expect("the rules are a constant of this bench")
}

fn rule(rules: &Rules) -> &Rule {
    rules.get("claims").expect("the rules have it")
}

fn payload(n: u64) -> Payload {
    Payload::new(upload::event(n))
}

fn classified(delivery: &Payload, rules: &Rules) -> Vec<intake::Classification> {
    let events = delivery.events().expect("one event");
    let ledger_id = LedgerId::of_random([1; 16]);
    events.iter().map(|event| intake::classify(event, &ledger_id, rules, NOW)).collect()
}

fn queued(rules: &Rules) -> Scoring {
    match classified(&payload(1), rules).pop() {
        Some(intake::Classification::Wanted(mut scorings)) => scorings.pop().expect("wanted by one rule"),
        other => panic!("the event is wanted, and not {other:?}"),
    }
}

fn moved(scoring: &Scoring, rule: &Rule, seen: &Observation) -> Scoring {
    match decide(scoring, Some(rule), seen, NOW) {
        Step::Move { next, .. } => *next,
        other => panic!("it moves, and does not wait or look: {other:?}"),
    }
}

fn running(rules: &Rules) -> Scoring {
    let submitting = moved(&queued(rules), rule(rules), &Observation::SlotFree);
    let job = Job { name: "batchjob-0c5a".parse().expect("a name"), id: None, studio: None };
    moved(&submitting, rule(rules), &Observation::Answer(Answer::Accepted { job, status: JobStatus::Running }))
}

fn look(status: JobStatus) -> Observation {
    Observation::Job(JobSnapshot { status, error: None, studio: None })
}

/// decide: a queued scoring gets a slot. The longest: every template of the rule is filled in.
#[divan::bench(name = "decide/queued, slot free", counters = [ItemsCount::new(1_u32)])]
fn decide_queued(bencher: Bencher) {
    let rules = some_rules();
    let scoring = queued(&rules);
    assert!(matches!(decide(&scoring, Some(rule(&rules)), &Observation::SlotFree, NOW), Step::Move { .. }));
    bencher.bench_local(|| decide(black_box(&scoring), Some(rule(&rules)), &Observation::SlotFree, NOW));
}

/// decide: nothing has changed. What a tick does most.
#[divan::bench(name = "decide/running, same status", counters = [ItemsCount::new(1_u32)])]
fn decide_running(bencher: Bencher) {
    let rules = some_rules();
    let (scoring, seen) = (running(&rules), look(JobStatus::Running));
    assert!(matches!(decide(&scoring, Some(rule(&rules)), &seen, NOW), Step::Wait { .. }));
    bencher.bench_local(|| decide(black_box(&scoring), Some(rule(&rules)), &seen, NOW));
}

/// decide: the job has ended.
#[divan::bench(name = "decide/running, completed", counters = [ItemsCount::new(1_u32)])]
fn decide_completed(bencher: Bencher) {
    let rules = some_rules();
    let (scoring, seen) = (running(&rules), look(JobStatus::Completed));
    assert!(matches!(decide(&scoring, Some(rule(&rules)), &seen, NOW), Step::Move { .. }));
    bencher.bench_local(|| decide(black_box(&scoring), Some(rule(&rules)), &seen, NOW));
}

/// envelope: what the host posts becomes the event's JSON.
#[divan::bench(name = "envelope/event as an object")]
fn envelope_of_an_object(bencher: Bencher) {
    let body = upload::envelope(1);
    bencher
        .counter(BytesCount::of_str(&body))
        .counter(ItemsCount::new(1_u32))
        .bench_local(|| envelope::open(black_box(&body).clone().into_bytes(), &["event"]));
}

/// envelope: the same with the event as a string that holds JSON, as the host passes lists.
#[divan::bench(name = "envelope/event as a string")]
fn envelope_of_a_string(bencher: Bencher) {
    let text = Value::String(format!("[{}]", upload::event(1)));
    let body = format!(r#"{{"Data":{{"event":{text}}},"Metadata":{{}}}}"#);
    assert!(envelope::open(body.clone().into_bytes(), &["event"]).is_ok_and(|event| event.text().starts_with('[')));
    bencher
        .counter(BytesCount::of_str(&body))
        .counter(ItemsCount::new(1_u32))
        .bench_local(|| envelope::open(black_box(&body).clone().into_bytes(), &["event"]));
}

/// intake: the event's JSON to a scoring.
#[divan::bench(name = "intake/event of 1 kB", counters = [ItemsCount::new(1_u32)])]
fn intake_read(bencher: Bencher) {
    let rules = some_rules();
    let event = payload(1);
    bencher.bench_local(|| classified(black_box(&event), &rules));
}

/// intake: the same under ten rules, nine of which do not want it.
#[divan::bench(name = "intake/event of 1 kB, ten rules", counters = [ItemsCount::new(1_u32)])]
fn intake_read_ten_rules(bencher: Bencher) {
    let one = |n: u32| {
        format!(
            r#"{{"id":"claims-{n}","match":{{"container":"claims","prefix":"eu/","suffix":"{n}.csv"}},"endpoint":{{"uri":"https://c.example/jobs"}}}}"#
        )
    };
    let all: Vec<_> = (0..10).map(one).collect();
    let rules = Rules::read(&format!(r#"{{"rules":[{}]}}"#, all.join(","))).expect("a constant of this bench");
    let event = payload(1);
    bencher.bench_local(|| classified(black_box(&event), &rules));
}

/// The JSON alone, for comparison: the floor under everything that reads an event.
#[divan::bench(name = "intake/JSON of 1 kB alone")]
fn json(bencher: Bencher) {
    let event = upload::event(1);
    bencher
        .counter(BytesCount::of_str(&event))
        .counter(ItemsCount::new(1_u32))
        .bench_local(|| serde_json::from_str::<Value>(black_box(&event)));
}

/// template: the default output path.
#[divan::bench(name = "template/default output", counters = [ItemsCount::new(1_u32)])]
fn template(bencher: Bencher) {
    let scoring = queued(&some_rules());
    let template = Template::parse(rule::DEFAULT_OUTPUT).expect("it is the built-in one");
    let values = scoring.values(1);
    bencher.bench_local(|| black_box(&template).fill(&values));
}
