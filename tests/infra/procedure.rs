//! `infra/deploy.sh` against a fake `az` that plays what Azure is known to do. A call that a play does not know fails the test.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::project::root;

const APP: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/func";

/// A play, its transcript, and how the procedure ended.
struct Played {
    folder: tempfile::TempDir,
    output: Output,
}

/// Lines of a deployment at which nothing goes wrong. A play's own lines come before them, so they answer first.
fn smooth() -> String {
    format!(
        "\
*|deployment group show*identityPrincipalId*|1|not there yet
*|deployment group show*functionAppName.value*|0|func
*|deployment group show*functionAppResourceId.value*|0|{APP}
*|deployment group show*deliveryMode*|0|eventGrid
*|deployment group show*outputs.events.value --output json|0|{{}}
*|deployment group create*--name scorekeeper --parameters*|0|
*|deployment group create*--name scorekeeper-events*|0|
*|functionapp show*|0|Running
*|rest --method get*authsettingsV2*|0|false
*|rest --method post*/host/default/sync*|0|
*|functionapp deployment source config-zip*|0|
*|functionapp function list*|0|func/BlobCreated\\nfunc/Reconcile
"
    )
}

fn play(own: &str, command: &str) -> Played {
    let folder = tempfile::tempdir().unwrap();
    let play = folder.path().join("play");
    fs::write(&play, format!("{own}{}", smooth())).unwrap();
    let az: PathBuf = root().join("tests/cases/az");
    let output = Command::new("sh")
        .arg(root().join("infra/deploy.sh"))
        .arg(command)
        .env("PATH", format!("{}:/usr/bin:/bin", az.canonicalize().unwrap().display()))
        .env("PLAY", &play)
        .envs([("GROUP", "g"), ("PAUSE", "0"), ("TRIES", "3"), ("LIMIT", "1")])
        .output()
        .unwrap();
    let unplayed = fs::read_to_string(folder.path().join("play.unplayed")).unwrap_or_default();
    assert_eq!(unplayed, "", "calls that the play does not know");
    Played { folder, output }
}

impl Played {
    fn ends(&self, code: i32) -> &Self {
        assert_eq!(self.output.status.code(), Some(code), "{}", self.said());
        self
    }

    fn said(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.output.stdout), String::from_utf8_lossy(&self.output.stderr))
    }

    fn says(&self, text: &str) -> &Self {
        assert!(self.said().contains(text), "`{text}` is missing: {}", self.said());
        self
    }

    fn calls(&self, part: &str) -> usize {
        let calls = fs::read_to_string(self.folder.path().join("play.calls")).unwrap_or_default();
        calls.lines().filter(|call| call.contains(part)).count()
    }
}

#[test]
fn a_deployment_goes_stage_code_sync_stage() {
    let played = play("", "all");
    played.ends(0).says("functions: Reconcile, BlobCreated").says("stage 2");
    let calls = fs::read_to_string(played.folder.path().join("play.calls")).unwrap();
    let places: Vec<usize> =
        ["--name scorekeeper --parameters", "config-zip", "default/sync", "--name scorekeeper-events"]
            .iter()
            .map(|part| calls.find(part).unwrap())
            .collect();
    assert!(places.is_sorted(), "{calls}");
}

/// azure-functions-host 10169, functions-action 373: WarmUp alone is listed until somebody synchronises the triggers.
#[test]
fn triggers_are_synchronised_until_both_functions_are_listed() {
    let played = play("2|functionapp function list*|0|func/WarmUp\n", "all");
    played.ends(0).says("not listed yet: Reconcile BlobCreated (try 1 of 3)");
    assert_eq!(played.calls("/host/default/sync"), 3);
    let never = play("*|functionapp function list*|0|func/WarmUp\n", "all");
    never.ends(1).says("does not list Reconcile BlobCreated");
    assert_eq!(never.calls("scorekeeper-events"), 0, "Event Grid would refuse it");
}

#[test]
fn with_queue_delivery_the_queues_function_is_waited_for_and_there_is_no_second_stage() {
    let queue = "*|deployment group show*deliveryMode*|0|storageQueue\n*|functionapp function list*|0|func/BlobCreatedFromQueue\\nfunc/Reconcile\n";
    let played = play(queue, "all");
    played.ends(0).says("none with queue delivery");
    assert_eq!(played.calls("/host/default/sync"), 1, "it is synchronised in every mode");
    assert_eq!(played.calls("scorekeeper-events"), 0);
}

/// azure-functions-core-tools 4346 shows the 403 of an upload: the identity's roles on the storage account are minutes old.
#[test]
fn code_that_storage_refuses_is_sent_again_with_the_reason_shown() {
    let refused = "|functionapp deployment source config-zip*|1|InaccessibleStorageException: Failed to access storage account for deployment (403)\n";
    let played = play(&format!("2{refused}"), "all");
    played.ends(0).says("InaccessibleStorageException").says("try 2 of 3");
    assert_eq!(played.calls("config-zip"), 3);
    play(&format!("*{refused}"), "all").ends(1).says("does the app's identity have its roles");
    let other = play("*|functionapp deployment source config-zip*|1|The zip is damaged\n", "all");
    other.ends(1).says("The zip is damaged");
    assert_eq!(other.calls("config-zip"), 1, "what will not pass by itself is not repeated");
}

/// azure-cli's tracking of a deployment never ends if the host does not answer 2xx: its counter is not raised.
#[test]
fn a_config_zip_that_never_answers_is_ended_and_the_functions_are_looked_at() {
    let played = play("*|functionapp deployment source config-zip*|never|\n", "all");
    played.ends(0).says("config-zip did not end within 1 s").says("functions: Reconcile, BlobCreated");
}

#[test]
fn a_role_given_by_hand_is_named_before_and_its_error_has_a_remedy() {
    let by_hand = "*|deployment group show*identityPrincipalId*|0|p-1\n*|role assignment list --all --assignee p-1*|0|/subscriptions/s/providers/Microsoft.Authorization/roleAssignments/by-hand\n";
    let refused = "*|deployment group create*--name scorekeeper --parameters*|1|RoleAssignmentExists: The role assignment already exists.\n";
    let played = play(&format!("{by_hand}{refused}"), "all");
    played
        .ends(1)
        .says("roleAssignments/by-hand")
        .says("az role assignment delete --ids")
        .says("dataAccess.assign: false");
    assert_eq!(played.calls("config-zip"), 0);
}

/// eventgrid-extension 113, azure-docs 104894: a stopped app answers 403, and events were dead-lettered at once.
#[test]
fn a_stopped_app_gets_no_events_and_the_remedy_says_how_to_pause_instead() {
    let played = play("*|functionapp show*|0|Stopped\n", "all");
    played.ends(1).says("may be dead-lettered at once").says("scorekeeper limit 0");
    assert_eq!(played.calls("scorekeeper-events"), 0);
}

/// eventgrid-extension 103: authentication over /runtime/webhooks answers Event Grid 401.
#[test]
fn sign_in_over_the_platforms_own_paths_is_refused() {
    let played = play("*|rest --method get*authsettingsV2*|0|true\n", "all");
    played.ends(1).says("exclude /runtime/*");
    assert_eq!(played.calls("scorekeeper-events"), 0);
}

#[test]
fn a_subscription_that_does_not_see_its_function_yet_is_made_again() {
    let refused = "2|deployment group create*--name scorekeeper-events*|1|Destination endpoint not found\n";
    let played = play(refused, "all");
    played.ends(0).says("try 2 of 3");
    assert_eq!(played.calls("--name scorekeeper-events"), 3);
    let other = play("*|deployment group create*--name scorekeeper-events*|1|InvalidTemplate\n", "all");
    other.ends(1).says("InvalidTemplate");
    assert_eq!(other.calls("--name scorekeeper-events"), 1);
}

#[test]
fn the_doctor_looks_after_a_failure_too() {
    let folder = tempfile::tempdir().unwrap();
    let doctor = folder.path().join("doctor");
    fs::write(&doctor, "#!/bin/sh\necho \"doctor was asked: $*\"\nexit 1\n").unwrap();
    let play = folder.path().join("play");
    let stopped = "*|functionapp show*|0|Stopped\n*|functionapp config appsettings list*|0|[]\n";
    fs::write(&play, format!("{stopped}{}", smooth())).unwrap();
    let run = |script: &str| {
        Command::new("sh")
            .args(["-c", script])
            .current_dir(root())
            .env("PLAY", &play)
            .env("DOCTOR", &doctor)
            .envs([("GROUP", "g"), ("PAUSE", "0"), ("TRIES", "1"), ("LIMIT", "5")])
            .output()
            .unwrap()
    };
    let output = run(r#"chmod +x "$DOCTOR"; PATH="$PWD/tests/cases/az:/usr/bin:/bin" exec sh infra/deploy.sh all"#);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("doctor was asked: doctor --settings") && said.contains(APP), "{said}");
    assert_eq!(output.status.code(), Some(1));
}
