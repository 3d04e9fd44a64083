use super::*;
use crate::group::{Group, Grouping, MemberEnd, MemberState, SharedFailure, SharedResult, Verified};
use crate::id::ScoringId;
use crate::rule::GroupSettings;

fn id(n: u32) -> ScoringId {
    ScoringId::read(&format!("{n:032x}")).unwrap()
}

fn grouping_rule() -> Rule {
    let rules = Rules::read(
        r#"{"rules":[{"id":"claims","match":{"container":"con"},"endpoint":{"uri":"https://e.example/jobs"},"maxAttempts":2,
            "verifyInput":false,"group":{"by":"folder"}}]}"#,
    );
    rules.unwrap().get("claims").unwrap().clone()
}

/// One that waits for a group.
fn waiting() -> Life {
    let rule = grouping_rule();
    let blob = BlobVersion::read("https://a.blob.core.windows.net/con/x.csv", "1").unwrap();
    let scoring = Scoring::accept(&LedgerId::of_random([1; 16]), &rule, blob, NOW);
    Life { rule, scoring, now: NOW, taken: Vec::new() }
}

fn member() -> Life {
    let mut life = waiting();
    life.moves(&joined(9, None));
    life
}

fn joined(group: u32, half_of: Option<u32>) -> Observation {
    Observation::Joined { group: id(group), half_of: half_of.map(id) }
}

/// A group of so many, none of which is copied yet.
fn staging(members: u32) -> Life {
    let mut life = waiting();
    life.scoring.status = Status::Staging;
    life.scoring.grouping = Some(Box::new(Grouping::Group(Group::sealed((0..members).map(id), None))));
    life
}

fn copied(members: impl IntoIterator<Item = (u32, MemberState)>, problem: Option<&str>) -> Observation {
    let members = members.into_iter().map(|(n, state)| (id(n), state)).collect();
    Observation::Staged(Staging { members, reasons: Vec::new(), problem: problem.map(str::to_owned) })
}

fn all_copied(members: u32) -> Observation {
    copied((0..members).map(|n| (n, MemberState::Staged)), None)
}

fn submitted(members: u32) -> Life {
    let mut life = staging(members);
    life.moves(&all_copied(members));
    assert_eq!(life.moves(&Observation::SlotFree), Effect::Submit);
    life.moves(&accepted());
    life
}

/// The next attempt of a group whose job failed.
fn again(life: &mut Life) {
    life.now = life.scoring.due;
    assert_eq!(life.moves(&Observation::SlotFree), Effect::Submit);
    life.moves(&accepted());
}

fn group_output(bytes: u64, named: Option<&[u32]>) -> Observation {
    let Observation::Output { output, .. } = output(bytes, NOW) else { panic!("an output") };
    Observation::GroupOutput { output, named: named.map(|named| named.iter().map(|n| id(*n)).collect()) }
}

fn shared() -> MemberEnd {
    MemberEnd::Scored(Box::new(SharedResult {
        verified: Verified::Named,
        submission: Some(crate::job::Submission::default()),
        job: Some(super::named("job-1")),
        job_status: Some("Completed".to_owned()),
        submitted: Some(NOW),
        attempt: 1,
        output_bytes: Some(5),
        output_print: None,
    }))
}

fn ended(end: MemberEnd) -> Observation {
    Observation::GroupEnded { group: id(9), end }
}

fn failed() -> MemberEnd {
    let job = Some(super::named("job-1"));
    let error = "ValueError".to_owned();
    MemberEnd::Failed(Box::new(SharedFailure {
        error,
        cause: FailureCause::UserCode,
        job,
        job_status: None,
        attempt: 1,
    }))
}

/// Lives that only rules with groups begin.
pub(super) fn lives() -> Vec<Life> {
    vec![waiting(), staging(2)]
}

/// What is seen of groups.
pub(super) fn observations() -> Vec<Observation> {
    vec![
        joined(9, None),
        joined(10, Some(9)),
        ended(shared()),
        ended(failed()),
        ended(MemberEnd::Alone("it changed".to_owned())),
        ended(MemberEnd::NotSealed),
        ended(MemberEnd::Cancelled("cancelled in Azure ML".to_owned())),
        all_copied(2),
        copied([(0, MemberState::Staged)], Some("403")),
        copied([(0, MemberState::Left), (1, MemberState::Changed)], None),
        group_output(5, Some(&[0, 1])),
        Observation::NoMemberLeft,
    ]
}

#[test]
fn what_waits_for_a_group_is_not_sent_alone() {
    let life = waiting();
    assert!(life.waits(&Observation::SlotFree).contains("waits for others"));
    assert!(member().waits(&Observation::SlotFree).contains("ends with it"));
}

#[test]
fn what_is_on_hold_or_goes_alone_joins_no_group() {
    let mut held = waiting();
    held.moves(&operator::order(Verb::Hold));
    assert!(held.waits(&joined(9, None)).contains("put on hold"));
    let mut alone = member();
    alone.moves(&ended(MemberEnd::Alone("the storage does not copy it".to_owned())));
    assert!(alone.waits(&joined(8, None)).contains("does not copy it"));
    assert_eq!(alone.moves(&Observation::SlotFree), Effect::Submit);
}

#[test]
fn a_member_stays_in_its_group_whoever_else_wants_it_and_goes_into_its_halves_alone() {
    let life = member();
    assert!(life.waits(&joined(8, None)).contains("a member of group"), "it was found waiting a moment ago");
    assert!(life.waits(&joined(8, Some(7))).contains("a member of group"));
    assert!(waiting().waits(&joined(8, Some(9))).contains("another group"));
}

#[test]
fn the_input_is_looked_at_before_one_joins_a_group() {
    let mut life = waiting();
    life.rule.policy.verify_input = true;
    assert_eq!(life.decide(&joined(9, None)), Step::LookAtInput);
    let mut gone = waiting();
    gone.rule.policy.verify_input = true;
    gone.moves(&input::after(joined(9, None), InputFound::Gone));
    assert_eq!(gone.scoring.status, Status::Gone);
    life.moves(&input::after(joined(9, None), InputFound::Named(input::version("1", Some("m")))));
    assert_eq!(life.scoring.status, Status::Grouped);
    assert!(life.scoring.input.is_some(), "what it holds is known, so that a copy of it joins it");
}

#[test]
fn a_group_reads_copies_and_is_sent_without_a_look_at_any_input() {
    let mut life = staging(2);
    life.rule.policy.verify_input = true;
    life.moves(&all_copied(2));
    assert_eq!(life.moves(&Observation::SlotFree), Effect::Submit);
}

#[test]
fn an_operator_who_wants_one_first_lets_it_go_alone() {
    let mut life = waiting();
    life.moves(&operator::order(Verb::Expedite));
    assert!(!life.scoring.waits_for_group());
}

#[test]
fn a_member_hears_of_its_own_group_alone() {
    let life = member();
    let other = Observation::GroupEnded { group: id(8), end: failed() };
    assert!(life.waits(&other).contains("not a member"));
    let mut half = member();
    half.moves(&joined(8, Some(9)));
    assert!(half.waits(&ended(failed())).contains("not a member"), "the whole says nothing of it any more");
}

#[test]
fn a_member_takes_over_the_result_of_its_group() {
    let mut life = member();
    life.moves(&ended(shared()));
    assert_eq!(life.scoring.status, Status::Scored);
    assert_eq!((life.scoring.attempt, life.scoring.output_bytes), (1, Some(5)));
    assert!(life.scoring.job.is_some());
}

#[test]
fn a_failed_member_that_is_retried_waits_for_another_group() {
    let mut life = member();
    life.moves(&ended(failed()));
    assert_eq!((life.scoring.status, life.scoring.failure), (Status::Failed, Some(FailureCause::UserCode)));
    life.moves(&operator::order(Verb::Retry));
    assert!(life.scoring.waits_for_group());
}

#[test]
fn a_group_is_sent_once_each_member_is_copied_or_has_left() {
    let mut life = staging(3);
    life.moves(&copied([(0, MemberState::Staged)], Some("403")));
    assert_eq!((life.scoring.status, life.scoring.refusals), (Status::Staging, 1));
    assert!(life.scoring.due > life.now && life.scoring.last_error.as_deref() == Some("403"));
    life.later(Duration::minutes(1));
    assert!(life.waits(&copied([(1, MemberState::Changed)], None)).contains("1 of 3"));
    life.moves(&copied([(1, MemberState::Changed), (2, MemberState::Staged)], None));
    assert_eq!(life.scoring.status, Status::Queued);
    assert_eq!(life.scoring.group().unwrap().staged().count(), 2);
}

#[test]
fn what_is_not_copied_is_tried_again_ever_later_and_told_once() {
    let mut life = staging(2);
    life.moves(&copied([], Some("403")));
    let first = life.scoring.due - life.now;
    life.waits(&copied([], Some("403")));
    for _ in 0..3 {
        life.now = life.scoring.due;
        life.moves(&copied([], Some("403")));
    }
    assert!(life.scoring.due - life.now > first * 3, "{} after {first}", life.scoring.due - life.now);
    life.moves(&copied([], Some("the container is not there")));
    life.moves(&all_copied(2));
    assert_eq!((life.scoring.status, life.scoring.refusals), (Status::Queued, 0));
    assert_eq!(life.moves(&Observation::SlotFree), Effect::Submit, "it is due at once");
}

#[test]
fn who_leaves_a_group_is_due_at_once() {
    for end in [MemberEnd::Alone("it changed".to_owned()), MemberEnd::NotSealed] {
        let mut life = member();
        life.scoring.due = NOW + Duration::HOUR;
        life.moves(&ended(end));
        assert_eq!((life.scoring.status, life.scoring.due), (Status::Queued, life.now));
    }
}

#[test]
fn what_waited_for_a_rule_that_groups_no_more_goes_alone() {
    let mut life = waiting();
    life.rule.group = None;
    assert_eq!(life.moves(&Observation::SlotFree), Effect::Submit);
    assert!(matches!(life.scoring.grouping.as_deref(), Some(Grouping::Alone(why)) if why.contains("any more")));
}

#[test]
fn a_group_keeps_why_its_members_are_not_copied_but_no_endless_list() {
    let mut life = staging(1_000);
    let members = (0..1_000).map(|n| (id(n), MemberState::NotCopied)).collect();
    // Every second one for the same reason.
    let reason = |n: u32| if n.is_multiple_of(2) { "409".to_owned() } else { format!("409 about {n}") };
    let reasons = (0..999).map(|n| (id(n), reason(n))).collect();
    life.moves(&Observation::Staged(Staging { members, reasons, problem: None }));
    let group = life.scoring.group().unwrap();
    let kept: std::collections::BTreeSet<_> = group.reasons.values().collect();
    assert_eq!(kept.len(), crate::group::MAX_REASONS);
    assert_eq!(group.reasons[&id(998)], "409");
}

#[test]
fn a_group_without_members_makes_no_job_and_stops_the_one_it_has() {
    let mut none = staging(1);
    none.moves(&copied([(0, MemberState::Changed)], None));
    assert_eq!(none.scoring.status, Status::Cancelled);
    let mut queued = staging(1);
    queued.moves(&all_copied(1));
    queued.moves(&Observation::NoMemberLeft);
    assert_eq!(queued.scoring.status, Status::Cancelled);
    let mut running = submitted(2);
    assert!(matches!(running.moves(&Observation::NoMemberLeft), Effect::Cancel(jobs) if jobs.len() == 1));
    running.waits(&Observation::NoMemberLeft);
    let mut ordered = submitted(2);
    ordered.scoring.stop_ordered = true;
    ordered.waits(&Observation::NoMemberLeft);
}

#[test]
fn a_group_of_several_that_a_file_may_have_failed_is_split_and_not_repeated() {
    for (text, cause) in [("ValueError: x", FailureCause::UserCode), ("exit code 42", FailureCause::Unknown)] {
        let mut life = submitted(3);
        life.moves(&job_failed(text));
        assert_eq!((life.scoring.status, life.scoring.failure), (Status::Failed, Some(cause)));
        assert!(life.scoring.splits() && !life.scoring.needs_acknowledgement());
        let halves = life.scoring.group().unwrap().halves();
        assert_eq!(halves, [vec![id(0), id(1)], vec![id(2)]]);
    }
    let mut left = staging(3);
    left.moves(&copied([(0, MemberState::Staged), (1, MemberState::Changed), (2, MemberState::Left)], None));
    left.moves(&Observation::SlotFree);
    left.moves(&accepted());
    left.moves(&job_failed("ValueError: x"));
    assert!(left.scoring.splits(), "a copy of one that left may have come late, and have failed the job");
    assert_eq!(left.scoring.group().unwrap().halves(), [vec![id(0)], vec![]]);
    let mut alone = submitted(1);
    alone.moves(&job_failed("ValueError: x"));
    assert!(!alone.scoring.splits(), "it is the failing file");
}

#[test]
fn what_reads_like_the_platforms_failure_repeats_the_whole_and_splits_it_at_last() {
    for text in ["the node was lost", "MemoryError: Unable to allocate 3 GiB", "TimeoutError"] {
        let mut several = submitted(2);
        several.moves(&job_failed(text));
        assert_eq!(several.scoring.status, Status::Queued, "{text}: the first of two attempts");
        again(&mut several);
        several.moves(&job_failed(text));
        assert_eq!((several.scoring.status, several.scoring.failure), (Status::Failed, Some(FailureCause::Platform)));
        assert!(several.scoring.splits(), "no file fails by another one's error");
        let mut alone = submitted(1);
        alone.moves(&job_failed(text));
        again(&mut alone);
        alone.moves(&job_failed(text));
        assert!(alone.scoring.status == Status::Failed && !alone.scoring.splits());
    }
    let mut never_sent = submitted(2);
    never_sent.moves(&job_failed("the node was lost"));
    (never_sent.scoring.status, never_sent.scoring.job) = (Status::Failed, None);
    assert!(!never_sent.scoring.splits(), "no job of it has read a file");
}

#[test]
fn a_group_takes_orders_of_its_job_until_it_ends_and_then_names_that_of_its_members() {
    for verb in Verb::ALL {
        let mut ended = submitted(3);
        ended.moves(&job_failed("ValueError: x"));
        let told = ended.waits(&operator::order(verb));
        let of_members = told.contains(&format!("`scorekeeper {} --group {}`", verb.command(), ended.scoring.id));
        let halves = matches!(verb, Verb::Hold | Verb::Release | Verb::Expedite);
        assert_eq!(of_members, verb != Verb::Publish && !halves, "{verb:?}: {told}");
        // A member that no half has yet sends whoever orders something of it here: from here there is a way on.
        let way_on = told.contains("`scorekeeper breaker`")
            && told.contains(&format!("`scorekeeper show {}`", ended.scoring.id));
        assert_eq!(way_on, halves || verb == Verb::Retry, "{verb:?}: {told}");
        let several = ended.scoring.members_ordered(verb);
        assert_eq!(several, (verb != Verb::Acknowledge).then_some(3), "{verb:?} of a group is one of all of them");
        assert_eq!(member().scoring.members_ordered(verb), None);
    }
    let mut orphaned = submitted(3);
    orphaned.moves(&job_failed("ValueError: x"));
    orphaned.scoring.orphaned_job_count = 1;
    orphaned.moves(&operator::order(Verb::Acknowledge));
    assert!(!orphaned.scoring.needs_acknowledgement());
    let mut put_off = staging(3);
    put_off.moves(&all_copied(3));
    put_off.moves(&Observation::SlotFree);
    put_off.moves(&refused(false, None));
    assert!(put_off.scoring.status == Status::Queued && put_off.scoring.due > put_off.now);
    put_off.moves(&operator::order(Verb::Retry));
    assert_eq!(put_off.scoring.due, put_off.now, "its back-off ends, as that of any other");
    put_off.moves(&operator::order(Verb::Cancel));
}

#[test]
fn a_member_names_the_order_of_its_group_for_what_is_one_of_all() {
    for verb in [Verb::Retry, Verb::Hold, Verb::Release, Verb::Expedite] {
        let told = member().waits(&operator::order(verb));
        assert!(told.contains(&format!("`scorekeeper {} {}`", verb.command(), id(9))), "{verb:?}: {told}");
    }
    member().moves(&operator::order(Verb::Cancel));
}

#[test]
fn a_group_notes_which_members_its_output_names() {
    let mut life = submitted(3);
    life.moves(&job(JobStatus::Completed));
    life.moves(&group_output(5, Some(&[0, 2])));
    let states: Vec<_> = life.scoring.group().unwrap().members.iter().map(|member| member.state).collect();
    assert_eq!(states, [MemberState::Named, MemberState::NotNamed, MemberState::Named]);
    let mut none = submitted(3);
    none.moves(&job(JobStatus::Completed));
    none.moves(&group_output(5, Some(&[])));
    assert_eq!((none.scoring.status, none.scoring.failure), (Status::Failed, Some(FailureCause::Request)));
    assert!(!none.scoring.splits(), "halves would name nothing either");
    let mut off = submitted(3);
    off.moves(&job(JobStatus::Completed));
    off.moves(&group_output(5, None));
    assert_eq!(off.scoring.status, Status::Scored);
    assert_eq!(off.scoring.group().unwrap().state_of(&id(0)), Some(MemberState::Staged));
}

#[test]
fn an_output_that_is_empty_or_old_is_judged_as_without_names_whatever_it_names() {
    let mut life = submitted(3);
    life.moves(&job(JobStatus::Completed));
    let Observation::Output { output: old, .. } = output(5, NOW - Duration::DAY) else { panic!("an output") };
    let old = |named| Observation::GroupOutput { output: old.clone(), named };
    for named in [vec![], vec![id(0)]] {
        assert_eq!(life.decide(&old(Some(named))), life.decide(&old(None)));
    }
    assert_eq!(life.decide(&group_output(0, Some(&[]))), life.decide(&group_output(0, None)));
}

#[test]
fn a_failed_one_says_whether_its_request_was_refused_or_its_job_left_nothing() {
    let mut refused_for_good = staging(1);
    refused_for_good.moves(&all_copied(1));
    refused_for_good.moves(&Observation::SlotFree);
    refused_for_good.moves(&refused(true, None));
    let told = refused_for_good.scoring.sentence();
    assert!(told.contains("refused for good") && !told.contains("attempt"), "{told}");
    let mut group = submitted(1);
    group.moves(&job_failed("ValueError: x"));
    let told = group.scoring.sentence();
    assert!(told.contains("attempt left no result") && !told.contains("refused"), "{told}");
    let mut member = member();
    member.moves(&ended(failed()));
    let told = member.scoring.sentence();
    assert!(told.contains("the job of its group left no result") && !told.contains("refused"), "{told}");
}

fn job_failed(error: &str) -> Observation {
    Observation::Job(JobSnapshot { status: JobStatus::Failed, error: Some(error.to_owned()), studio: None })
}

#[test]
fn what_a_group_cannot_keep_of_a_rule_is_refused_with_the_remedy() {
    let problems = |more: serde_json::Value| {
        let mut rule = serde_json::json!({"id": "r", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs"},
            "group": {"by": "folder"}});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Rules::read(&serde_json::json!({"rules": [rule]}).to_string()).err().map(|all| all.to_string())
    };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(problems(json("{}")), None);
    for (more, place, said) in [
        (r#"{"settings": {"ErrorThreshold": -1}}"#, "rules[0].settings.ErrorThreshold (line 1", "a group sends 0"),
        (r#"{"settings": {"tags": {"of": "{blob.name}"}}}"#, "rules[0].settings.tags.of (", "`{blob.name}` tells one"),
        (
            r#"{"inputs": {"x": {"type": "UriFile", "uri": "azureml://datastores/d/paths/{blob.path}"}}}"#,
            "rules[0].inputs.x.uri (",
            "copies' folder",
        ),
        (
            r#"{"outputs": {"o": {"type": "UriFile", "uri": "azureml://datastores/d/paths/{blob.stem}/{scoring.id}/{attempt}"}}}"#,
            "rules[0].outputs.o.uri (",
            "one for all members",
        ),
        (
            r#"{"inputs": {"x": {"type": "UriFile", "uri": "{blob.url}"}, "name": {"type": "Literal", "template": "{blob.name}"}}}"#,
            "rules[0].inputs.name.template (",
            "copies' folder",
        ),
        (r#"{"inputs": {}}"#, "rules[0].inputs (", "copies' folder"),
        (
            r#"{"outputs": {"o": {"type": "UriFile", "uri": "azureml://datastores/d/paths/{scoring.id}/{attempt}",
                "publish": {"uri": "azureml://datastores/d/paths/latest.csv"}}}}"#,
            "rules[0].outputs.o.publish (",
            "nothing is published",
        ),
        (r#"{"outputs": {}}"#, "rules[0].outputs (", "which files were scored"),
        (
            r#"{"complete": {"marker": "_SUCCESS"}, "emptyBlobs": "score"}"#,
            "rules[0].complete (",
            "the folder itself is scored",
        ),
        (r#"{"group": {"by": "size"}}"#, "rules[0].group.by (", "folder"),
        (r#"{"group": {"by": "time", "marker": "_X"}}"#, "rules[0].group.marker (", "by"),
        (r#"{"group": {"by": "time", "maxFiles": 1001}}"#, "rules[0].group.maxFiles (", "1000"),
    ] {
        let told = problems(json(more)).unwrap_or_else(|| panic!("taken: {more}"));
        assert!(told.contains(said) && told.contains(place), "{more}: {told}");
    }
    let GroupSettings { max_files, marker, .. } = grouping_rule().group.unwrap();
    assert_eq!((max_files, marker), (100, None));
}
