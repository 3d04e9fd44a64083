//! `infra/deploy.sh` against a fake `az` that plays what Azure is known to do. A call that a play does not know fails the test.

use std::collections::BTreeSet;
use std::fs;

use super::compiler;
use super::play::{
    APP, APPS, Answer, CLUSTER, COMPILED, COMPILER, IDENTITY, SETTINGS, TOPIC, answer, nothing_deployed, play, shown,
    told,
};
use super::project::{Files, Project, root};

const SYNC: &str = "https://github.com/Azure/azure-functions-host/issues/10169";
const REFUSED_UPLOAD: &str = "https://github.com/Azure/azure-functions-core-tools/issues/4346";
const ENDLESS: &str = "https://github.com/Azure/azure-cli/pull/33388";
const PARTIAL: &str = "https://github.com/Azure/azure-cli/issues/33184";
const NO_PACKAGE: &str = "https://github.com/polymind-inc/acmebot/issues/908";
/// "If a deployment fails, my outputs are not found."
const NO_OUTPUTS: &str = "https://github.com/keesschollaart81/vsts-arm-outputs/issues/3";
const EXISTS: &str = "https://github.com/Azure/azure-dev/issues/9253";
const STOPPED: &str = "https://github.com/Azure/azure-functions-eventgrid-extension/issues/113";
const AUTHENTICATION: &str = "https://github.com/Azure/azure-functions-eventgrid-extension/issues/103";
const NO_ENDPOINT: &str = "https://github.com/Azure/bicep/issues/11656";
const UPLOADS: &str = "/subscriptions/s/resourceGroups/data/providers/Microsoft.Storage/storageAccounts/stUploads";

fn lists(times: &'static str, names: &str) -> Answer {
    answer(SYNC, times, "functionapp function list*", "0", names)
}

fn by_hand(scope: &'static str, principal: &str, role: &str) -> Answer {
    let id = "/subscriptions/s/providers/Microsoft.Authorization/roleAssignments/by-hand";
    answer(EXISTS, "*", scope, "0", &format!("{principal}\t{id}\t{role}"))
}

fn exists(pattern: &'static str) -> Answer {
    answer(EXISTS, "*", pattern, "1", "ERROR: RoleAssignmentExists: The role assignment already exists.")
}

#[test]
fn a_deployment_goes_stage_code_sync_stage() {
    let played = play("first-deployment", "all").with(nothing_deployed()).run();
    played.ends(0).says("functions: Reconcile, BlobCreated").says("stage 2");
    let calls: Vec<&str> = played.calls().collect();
    let place = |part: &str| calls.iter().position(|call| call.contains(part)).unwrap();
    let order = ["--name scorekeeper --parameters", "config-zip", "default/sync", "--name scorekeeper-events"];
    assert!(order.map(place).is_sorted(), "{calls:#?}");
}

/// azure-functions-host 10169, functions-action 373: WarmUp alone is listed until somebody synchronises the triggers.
#[test]
fn triggers_are_synchronised_until_both_functions_are_listed() {
    let played = play("warm-up-alone", "all").with(lists("2", "func/WarmUp")).run();
    played.ends(0).says("not listed yet: Reconcile BlobCreated: try 1 of 3");
    assert_eq!(played.count("/host/default/sync"), 3);
    let never = play("warm-up-for-ever", "all").with(lists("*", "func/WarmUp")).run();
    never.ends(1).says("does not list Reconcile BlobCreated");
    assert_eq!(never.count("scorekeeper-events"), 0, "Event Grid would refuse it");
}

#[test]
fn with_queue_delivery_the_queues_function_is_awaited_without_a_second_stage() {
    let queue = lists("*", "func/BlobCreatedFromQueue\nfunc/Reconcile");
    let played = play("queue-delivery", "all").with(told("storageQueue")).with(queue).run();
    played.ends(0).says("none with queue delivery");
    assert_eq!(played.count("/host/default/sync"), 1, "it is synchronised in every mode");
    assert_eq!(played.count("scorekeeper-events"), 0);
}

/// The identity's roles on the storage account are minutes old.
#[test]
fn code_that_storage_refuses_is_sent_again_with_the_reason_shown() {
    let zip = "functionapp deployment source config-zip*";
    let why = "ERROR: InaccessibleStorageException: Failed to access storage account for deployment: BlobUploadFailedException: Failed to upload blob to storage account: Response status code does not indicate success: 403 (This request is not authorized to perform this operation.)";
    let refused = |times| answer(REFUSED_UPLOAD, times, zip, "1", why);
    let played = play("roles-not-in-force", "all").with(refused("2")).run();
    played.ends(0).says("InaccessibleStorageException").says("try 2 of 3");
    assert_eq!(played.count("config-zip"), 3);
    let never = play("roles-never-in-force", "code").with(refused("*")).run();
    never.ends(1).says("does the app's identity have its roles");
    let why = "ERROR: InvalidPackageContentException: Package content validation failed: Cannot find required .azurefunctions directory at root level in the .zip package.";
    let other = play("code-refused", "code").with(answer(NO_PACKAGE, "*", zip, "1", why)).run();
    other.ends(1).says("InvalidPackageContentException");
    assert_eq!(other.count("config-zip"), 1, "what will not pass by itself is not repeated");
    // Nor for a number within an id.
    let why = format!("{why} Resource: /subscriptions/14030000-0000-4403-8403-000000004030/Forbidden-403");
    let other = play("code-refused", "code").with(answer(NO_PACKAGE, "*", zip, "1", &why)).not_written_down().run();
    assert_eq!(other.ends(1).count("config-zip"), 1, "a number in an id is not a status");
}

/// `check_flex_app_after_deployment` asks again for ever what is not answered 2xx: its counter is not raised.
#[test]
fn a_config_zip_that_never_answers_is_ended_and_the_functions_are_looked_at() {
    let zip = || answer(ENDLESS, "*", "functionapp deployment source config-zip*", "never", "");
    let played = play("config-zip-without-end", "all").var("LIMIT", "3").with(zip()).run();
    played.ends(0).says("config-zip did not end").says("functions: Reconcile, BlobCreated");
    let elsewhere =
        play("config-zip-without-end", "all").var("LIMIT", "3").with(zip()).without_timeout().not_written_down().run();
    elsewhere.ends(0).says("config-zip did not end").says("functions: Reconcile, BlobCreated");
}

/// `check_flex_app_after_deployment` looks at the host after the upload: 15 times, with a key that it may not be able to get.
#[test]
fn code_that_arrived_at_a_host_that_seems_ill_is_looked_at_and_not_sent_again() {
    for (name, why) in [
        (
            "app-seems-unhealthy",
            "ERROR: Deployment was successful but the app appears to be unhealthy. Please check the app logs.",
        ),
        ("no-host-key", "ERROR: Failed to fetch host key to check for function app status"),
    ] {
        let zip = answer(ENDLESS, "*", "functionapp deployment source config-zip*", "1", why);
        let played = play(name, "all").with(zip.clone()).run();
        played.ends(0).says(why).says("the package is there").says("functions: Reconcile, BlobCreated");
        assert_eq!((played.count("config-zip"), played.count("/host/default/sync")), (1, 1));
        // What the CLI guesses of the host is not believed in the other direction either.
        let ill = play(name, "all").with(zip).with(lists("*", "func/WarmUp")).not_written_down().run();
        ill.ends(1).says("does not list Reconcile BlobCreated");
    }
}

/// `enable_zip_deploy_flex`: 409 while another deployment runs, and what the deployment service says when it is not well.
#[test]
fn code_that_meets_a_busy_platform_is_sent_again_with_the_reason_shown() {
    for (name, why) in [
        (
            "ongoing-deployment",
            "ERROR: There may be an ongoing deployment. Please track your deployment in https://func.scm.azurewebsites.net/api/deployments/latest",
        ),
        ("no-deployment-status", "ERROR: Failed to retrieve deployment status. Please try again in a few minutes."),
        (
            "deployment-service-ill",
            "ERROR: An error occured during deployment. Status Code: 503, Details: The service is unavailable.",
        ),
        (
            "partially-successful",
            "ERROR: Deployment was partially successful. These are the deployment logs: [{\"message\": \"Starting deployment pipeline.\"}]",
        ),
    ] {
        let source = if name == "partially-successful" { PARTIAL } else { ENDLESS };
        let busy = |times| answer(source, times, "functionapp deployment source config-zip*", "1", why);
        let played = play(name, "code").with(busy("2")).run();
        played.ends(0).says(why).says("try 2 of 3");
        assert_eq!(played.count("config-zip"), 3);
        let never = play(name, "code").with(busy("*")).not_written_down().run();
        never.ends(1).says("was not taken in 3 tries");
        assert_eq!(never.count("config-zip"), 3);
    }
}

#[test]
fn a_value_that_cannot_be_used_is_refused_before_anything_is_asked() {
    let refused = |verb, name, value: &str, remedy| {
        let played = play("refused", verb).var(name, value).not_written_down().run();
        played.ends(1).says(&format!("{name} is `{value}`")).says(remedy);
        assert_eq!(played.calls().count(), 0, "{verb}: {name}");
    };
    for name in ["PAUSE", "TRIES", "LIMIT", "DEADLINE"] {
        for value in ["ten", "-1", "1.5", "09", "1 0", "99999999999999999999"] {
            refused("all", name, value, "give it a whole number");
        }
    }
    for verb in ["what-if", "all", "roles"] {
        refused(verb, "PARAMETERS", "infra/params/none.bicepparam", "name the parameter file");
    }
    for verb in ["all", "code"] {
        refused(verb, "ZIP", "target/no/such.zip", "cargo xtask package");
    }
    for verb in ["all", "code", "events", "doctor"] {
        refused(verb, "DOCTOR", "target/no/such/scorekeeper", "take the executable out of the package");
    }
    // What a verb does not use may be missing, and a look may come before the package.
    let looked = play("unused", "what-if").var("ZIP", "target/no/such.zip").var("DOCTOR", "target/no/such");
    looked.not_written_down().run().ends(0).says("the rules are not checked: there is no target/no/such yet");
}

#[test]
fn rules_with_a_fault_cost_no_call_of_az() {
    for verb in ["what-if", "all", "rules", "roles"] {
        let it = play("rules-with-a-fault", verb).doctor(0).rules(1);
        let played = if verb == "all" { it.run() } else { it.not_written_down().run() };
        played
            .ends(1)
            .says("rules were checked: rules check infra/params/dev.rules.json")
            .says("the rules of infra/params/dev.rules.json, with the reasons above");
        assert_eq!(played.calls().count(), 0, "{verb}: the doctor has nothing to look at either");
        let played = play("rules-without-a-fault", verb).doctor(0).not_written_down().run();
        played.ends(0).says("rules were checked");
        assert_eq!(played.calls().count() == 0, verb == "rules", "{verb}");
    }
    // Beside the file that is named, wherever it is called from.
    let file = "infra/azd/main.bicepparam";
    let azd = play("rules-of-azd", "rules").var("PARAMETERS", file).doctor(0).not_written_down().run();
    azd.ends(0).says("rules check infra/azd/../params/dev.rules.json");
    // Rules of the package are in no file that is named here.
    let file = "tests/infra/templates/packaged.bicepparam";
    let packaged = play("rules-of-the-package", "rules").var("PARAMETERS", file).doctor(0).rules(1).not_written_down();
    packaged.run().ends(0).says(&format!("the rules are not checked: {file} does not read them from a file"));
    let nobody = play("rules-without-a-scorekeeper", "rules").not_written_down().run();
    nobody.ends(1).says("DOCTOR must name the scorekeeper");
}

/// Where the package is made there is neither a group nor, maybe, the Azure CLI.
#[test]
fn rules_are_checked_without_a_group_and_without_the_azure_cli() {
    let played = play("rules", "rules").doctor(0).var("GROUP", "").var("PATH", "/usr/bin:/bin").not_written_down();
    played.run().ends(0).says("rules were checked");
}

#[test]
fn without_the_azure_cli_every_verb_fails_and_says_what_to_install() {
    for verb in ["what-if", "all", "roles", "code", "events"] {
        let played = play("no-cli", verb).var("PATH", "/var/empty").not_written_down().run();
        played.ends(1).says("no `az` on the PATH, which is `/var/empty`").says("install the Azure CLI");
    }
}

/// People prepare accounts and workspaces before anything is deployed: then nobody has told of an identity yet.
#[test]
fn a_role_given_by_hand_is_named_before_the_first_deployment() {
    let reader = by_hand("role assignment list --scope *stUploads *", CLUSTER, "Storage Blob Data Reader");
    let scientist = "33333333-3333-3333-3333-333333333333";
    let scientist = by_hand("role assignment list --scope *workspaces/mlw *", scientist, "AzureML Data Scientist");
    let refused = exists("deployment group create*--name scorekeeper --parameters*");
    let first = play("role-given-by-hand", "all").with(nothing_deployed()).with(reader.clone()).with(scientist);
    let played = first.with(refused).run();
    played
        .ends(1)
        .says(&format!("Storage Blob Data Reader on {UPLOADS} to {CLUSTER}"))
        .says("AzureML Data Scientist on ")
        .says("az role assignment delete --ids /subscriptions/s/providers/Microsoft.Authorization/roleAssignments/by-hand")
        .says("existing.roleAssignmentScopes")
        .says("dataAccess.assign: false");
    assert_eq!(played.count("config-zip"), 0);
    // What the approval approves, and azd before it provisions.
    for (name, verb) in [("look", "what-if"), ("roles", "roles")] {
        let looked = play(name, verb).with(nothing_deployed()).with(reader.clone()).run();
        looked.ends(0).says("given by hand").says("existing.roleAssignmentScopes in infra/params/dev.bicepparam");
        assert_eq!(looked.count("deployment group create"), 0);
    }
}

#[test]
fn a_role_of_the_topic_given_by_hand_is_named_before_the_second_stage() {
    let topic = "44444444-4444-4444-4444-444444444444";
    let given = by_hand("role assignment list --scope *dead-letters *", topic, "Storage Blob Data Contributor");
    let refused = exists("deployment group create*--name scorekeeper-events*");
    let played = play("topic-role-given-by-hand", "events").with(given).with(refused).run();
    played.ends(1).says("dead-letters to 44444444").says("its id is above");
    assert_eq!(played.count("--name scorekeeper-events"), 1);
}

/// Whoever follows the remedy is not told again, and neither is who has left all of them to others from the start.
#[test]
fn roles_that_the_parameter_file_leaves_to_others_are_in_nobodys_way() {
    let compiled = |from: &str, to: &str| {
        assert!(COMPILED.contains(from), "{from}");
        answer(COMPILER, "*", "bicep build-params*", "0", &COMPILED.replace(from, to))
    };
    let one = format!(
        "{}\", \"roleAssignmentScopes\": [\"{}\"]",
        "id-given",
        UPLOADS.to_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions")
    );
    let looked = |name: &str, answer: Answer| play(name, "roles").with(nothing_deployed()).with(answer).run();
    let played = looked("role-left-on-one-account", compiled("id-given\"", &one));
    assert_eq!((played.count("stUploads"), played.count("STUPLOADS"), played.count("workspaces/mlw")), (0, 0, 1));
    let all = "{ \"computePrincipalIds\"";
    let played = looked("roles-left-on-accounts", compiled(all, "{ \"assign\": false, \"computePrincipalIds\""));
    assert_eq!((played.count("stUploads"), played.count("workspaces/mlw")), (0, 1));
    let none = "\"mlAccess\": { \"value\": \"none\" }, \"dataAccess\"";
    let played = looked("roles-left-on-workspaces", compiled("\"dataAccess\"", none));
    assert_eq!((played.count("stUploads"), played.count("workspaces/mlw")), (1, 0));
}

/// Who may not read role assignments deploys all the same.
#[test]
fn roles_that_cannot_be_looked_at_are_said_and_stop_nobody() {
    let source = "https://github.com/microsoft/planetary-computer-tasks/pull/294";
    let why = "ERROR: (AuthorizationFailed) The client does not have authorization to perform action 'Microsoft.Authorization/roleAssignments/read'";
    let closed = answer(source, "*", "role assignment list*", "1", why);
    let uncompiled = answer(
        "https://github.com/Azure/bicep/issues/12986",
        "*",
        "bicep build-params*",
        "1",
        "Error BCP338: Failed to evaluate parameter \"location\": Environment variable does not exist, and no default value set.",
    );
    let played = play("roles-not-to-be-read", "roles").with(closed).run();
    played.ends(0).says(&format!("not looked at for roles given by hand: {UPLOADS}"));
    let played = play("parameters-not-compiled", "roles").with(uncompiled).run();
    played.ends(0).says("not looked at for roles given by hand: infra/params/dev.bicepparam");
}

/// What the real compiler makes of the parameter files is what the script looks at.
#[test]
fn the_script_finds_accounts_workspaces_and_clusters_in_each_parameter_file() {
    let Some(compiler) = compiler::find() else { return println!("left out: there is no Bicep compiler") };
    let [watched, outputs, workspaces] = ["stuploads", "stmlw", "workspaces/mlw-"];
    for (file, seen) in [
        ("infra/params/dev.bicepparam", &[watched, outputs, workspaces][..]),
        ("infra/params/prod.bicepparam", &[watched, "stimagesprod", outputs, workspaces]),
        // All is left to another team.
        ("infra/params/private.bicepparam", &[]),
        ("infra/azd/main.bicepparam", &[watched, outputs, "stmodelsdev", workspaces]),
    ] {
        let asked = play("compiled", "roles").with(answer(COMPILER, "*", "bicep build-params*", "compile", ""));
        let asked = compiler::AZD.iter().fold(asked, |asked, (name, value)| asked.var(name, *value));
        let asked = asked.var("PARAMETERS", file).var("BICEP", compiler.display().to_string());
        let identity = answer(IDENTITY, "*", "rest --method get*userAssignedIdentities/id-scorekeeper*", "0", CLUSTER);
        let topics = answer(TOPIC, "*", "rest --method get*systemTopics/*", "0", "");
        let played = asked.with(identity).with(topics).not_written_down().run();
        for part in seen {
            played.ends(0);
            assert!(played.calls().any(|call| call.starts_with("az role") && call.contains(part)), "{file}: {part}");
        }
        assert_eq!(played.count("role assignment list"), seen.len() + 2, "{file}, and what stage 1 has made");
    }
}

/// `roles.bicep` and the look for roles given by hand name the same ones.
#[test]
fn each_role_that_the_templates_give_is_looked_for() {
    let script = fs::read_to_string(root().join("infra/deploy.sh")).unwrap();
    for role in super::roles::built_in() {
        assert!(script.contains(&format!("'{}'", super::docs::spoken(role))), "{role}");
    }
    for assignment in super::roles::assignments(&Project::load()) {
        let begin = assignment.description.split(" on ").next().unwrap();
        assert!(script.contains(&format!("starts_with(description || '', '{begin} on')")), "{begin}");
    }
}

/// eventgrid-extension 113, azure-docs 104894: a stopped app answers 403, and events were dead-lettered at once.
#[test]
fn a_stopped_app_gets_no_events_and_the_remedy_says_how_to_pause_instead() {
    let played = play("stopped-app", "all").with_all(shown(STOPPED, "Stopped")).run();
    played.ends(1).says("may be dead-lettered at once").says("scorekeeper pause --all");
    assert_eq!((played.count("config-zip"), played.count("scorekeeper-events")), (0, 0));
    // Whatever the CLI's shape is by then: not to know is not to be running.
    let played = play("app-without-state", "all").with_all(shown(STOPPED, "")).run();
    played.ends(1).says("Azure tells no state of the app func").says("az functionapp show");
    assert_eq!((played.count("config-zip"), played.count("scorekeeper-events")), (0, 0));
}

/// eventgrid-extension 103: authentication over /runtime/webhooks answers Event Grid 401.
#[test]
fn sign_in_over_the_platforms_own_paths_is_refused() {
    let covered = answer(AUTHENTICATION, "*", "rest --method get*authsettingsV2*", "0", "true");
    let played = play("authentication-over-runtime", "all").with(covered).run();
    played.ends(1).says("exclude /runtime/*");
    assert_eq!(played.count("scorekeeper-events"), 0);
}

#[test]
fn a_subscription_that_does_not_see_its_function_yet_is_made_again() {
    let events = "deployment group create*--name scorekeeper-events*";
    let why = "ERROR: {\"code\":\"Endpoint validation\",\"message\":\"Destination endpoint not found.\"}";
    let played = play("function-not-seen-yet", "events").with(answer(NO_ENDPOINT, "2", events, "1", why)).run();
    played.ends(0).says("try 2 of 3");
    assert_eq!(played.count("--name scorekeeper-events"), 3);
    let source = "https://github.com/Azure-Samples/azure-functions-flex-consumption-samples/issues/7";
    let why = "ERROR: InvalidTemplate - Deployment template validation failed: 'The template resource 'default/app-package' for type 'containers' has incorrect segment lengths.'";
    let other = play("second-stage-refused", "events").with(answer(source, "*", events, "1", why)).run();
    other.ends(1).says("InvalidTemplate");
    assert_eq!(other.count("--name scorekeeper-events"), 1);
    let why = format!("{why} Resource: /subscriptions/14030000-0000-4403-8403-000000004030/privateEndpoints/NotFound");
    let other = play("second-stage-refused", "events").with(answer(source, "*", events, "1", &why));
    let other = other.not_written_down().run();
    assert_eq!(other.ends(1).count("--name scorekeeper-events"), 1, "an id is no reason to wait");
}

/// Nothing seen is nothing proved.
#[test]
fn a_doctor_that_saw_nothing_is_no_success() {
    let source = "https://github.com/microsoft/planetary-computer-tasks/pull/294";
    let why = "ERROR: (AuthorizationFailed) The client does not have authorization to perform action 'Microsoft.Web/sites/config/list/action'";
    let closed = || answer(source, "*", "functionapp config appsettings list*", "1", why);
    for (name, verb) in [("settings-not-to-be-read", "doctor"), ("settings-not-read-after-all", "all")] {
        let played = play(name, verb).with(closed()).doctor(0);
        let played = if verb == "doctor" { played.run() } else { played.not_written_down().run() };
        played.ends(1).says("AuthorizationFailed").says("the doctor has nothing to look at");
        assert!(!played.said().any(|line| line.starts_with("doctor was asked")));
        // Where nobody asked for a doctor, none is missed.
        if verb == "all" {
            play(name, verb).with(closed()).not_written_down().run().ends(0);
        }
    }
    let empty = answer(APPS, "*", "functionapp list*", "0", "");
    let none = play("no-app", "doctor").with(nothing_deployed()).with(empty).doctor(0).not_written_down().run();
    none.ends(1).says("no app of this group could be found");
}

#[test]
fn the_doctor_looks_after_a_failure_too() {
    let stopped = shown(STOPPED, "Stopped");
    let played = play("doctor-after-a-failure", "all").with_all(stopped).doctor(1).run();
    played.ends(1).says(&format!("doctor was asked: doctor --settings SCRATCH/settings.json --app {APP}"));
    let healthy = play("doctor", "doctor").doctor(0).run();
    healthy.ends(0).says("doctor was asked");
    let ill = play("doctor", "doctor").doctor(1).not_written_down().run();
    ill.ends(1);
    let unsure = play("doctor", "doctor").doctor(2).not_written_down().run();
    unsure.ends(0);
}

/// A stage 1 that failed gives out nothing, and yet an earlier one may have made the app that people ask about.
#[test]
fn after_a_failed_stage_1_the_doctor_looks_at_the_app_that_is_there() {
    let failed = exists("deployment group create*--name scorekeeper --parameters*");
    let none = answer(NO_OUTPUTS, "*", "deployment group show*functionAppName.value*", "0", "");
    let apps = format!("{APP}\n{APP}-of-others");
    let apps = answer(APPS, "*", "functionapp list*", "0", &apps);
    let others = answer(SETTINGS, "*", "functionapp config appsettings list*func-of-others*", "0", "[]");
    let played = play("stage-1-failed", "all").with(failed).with(none).with(apps).with(others).doctor(1).run();
    played.ends(1).says(&format!("--app {APP}"));
    assert_eq!(
        played.said().filter(|line| line.starts_with("doctor was asked")).count(),
        1,
        "not at the app of others"
    );
    let empty = answer(APPS, "*", "functionapp list*", "0", "");
    let failed = exists("deployment group create*--name scorekeeper --parameters*");
    let first = play("first-stage-1-failed", "all").with(nothing_deployed()).with(failed).with(empty).doctor(0);
    let first = first.with(answer(NO_OUTPUTS, "*", "deployment group show*functionAppName.value*", "0", "")).run();
    first.ends(1).says("the doctor has nothing to look at");
}

#[test]
fn no_code_is_sent_before_a_stage_1_has_succeeded() {
    let none = answer(NO_OUTPUTS, "*", "deployment group show*functionAppName.value*", "0", "");
    let played = play("code-without-stage-1", "code").with(none).run();
    played.ends(1).says("run stage 1 first");
    assert_eq!(played.count("config-zip"), 0);
}

/// Each one of a whole deployment, one after the other: without a limit of its own it would be waited for here too.
#[test]
fn a_call_of_az_that_never_answers_is_ended_whichever_it_is() {
    let smooth = |(verb, queue): (&'static str, bool)| {
        let it = play("smooth", verb).not_written_down().doctor(0);
        let queued = || lists("*", "func/BlobCreatedFromQueue\nfunc/Reconcile");
        if queue { it.with(told("storageQueue")).with(queued()) } else { it }
    };
    let mut silent = Vec::new();
    for of in [("all", false), ("all", true), ("what-if", false)] {
        silent.extend((1..=smooth(of).run().calls().count()).map(|call| (of, call)));
    }
    assert!(silent.len() > 30, "{silent:?}");
    let one = |&(of, call): &((&'static str, bool), usize)| {
        let it = smooth(of).var("SILENT_AT", call.to_string()).var("TRIES", "1").var("LIMIT", "2");
        assert!(it.run().waited(), "{of:?} has no call {call}");
    };
    std::thread::scope(|scope| {
        for chunk in silent.chunks(silent.len().div_ceil(12)) {
            scope.spawn(move || chunk.iter().for_each(one));
        }
    });
}

/// The job's limit would end it without the doctor, and tell nothing.
#[test]
fn the_script_gives_up_before_the_job_that_runs_it_does() {
    let files = Files::load();
    let workflow = files.get(".github/workflows/deploy.yml");
    let jobs: Vec<(&str, &str)> = jobs(workflow).collect();
    let verbs: Vec<&str> = jobs.iter().map(|(verb, _)| *verb).collect();
    assert_eq!(verbs, ["rules", "what-if", "doctor"], "the last one of each job");
    for (verb, job) in jobs.into_iter().skip(1) {
        let number =
            |name: &str| job.lines().find_map(|line| line.trim().strip_prefix(name)?.trim().parse::<u64>().ok());
        let doctor = if verb == "what-if" { 0 } else { 600 };
        let (deadline, minutes) = (number("DEADLINE:").unwrap(), number("timeout-minutes:").unwrap());
        assert!(
            deadline + doctor + 300 <= minutes * 60,
            "{verb}: {deadline} s, and five minutes around, in {minutes} min"
        );
    }
    let over = play("deadline", "all").var("DEADLINE", "0").doctor(0).run();
    over.ends(1).says("no answer in time: az deployment group create").says("doctor was asked");
    let waiting = play("deadline-while-waiting", "code").with(lists("*", "func/WarmUp"));
    let waiting = waiting.var("PAUSE", "3000").var("DEADLINE", "2000").run();
    waiting.ends(1).says("does not list Reconcile BlobCreated");
}

/// What a job's token vouches for is exchanged within minutes. The tokens for Resource Manager hold for an hour; the doctor asks for others.
#[test]
fn the_workflow_signs_in_again_before_its_doctor() {
    let files = Files::load();
    let workflow = files.get(".github/workflows/deploy.yml");
    let (_, job) = jobs(workflow).last().unwrap();
    let steps: Vec<&str> = job.split("\n      - ").collect();
    let place = |part: &str| steps.iter().position(|step| step.contains(part)).unwrap_or_else(|| panic!("no {part}"));
    let (stages, doctor) = (place("infra/deploy.sh all"), place("infra/deploy.sh doctor"));
    assert_eq!(doctor, stages + 2, "one step between");
    assert!(steps[stages + 1].contains("uses: azure/login@"), "{}", steps[stages + 1]);
    // After a failure too, but not where nothing was begun.
    for step in &steps[stages + 1..=doctor] {
        assert!(step.contains("if: ${{ !cancelled() && steps.stages.outcome != 'skipped' }}"), "{step}");
    }
    assert!(steps[stages].contains("id: stages\n") && !steps[stages].contains("DOCTOR"), "{}", steps[stages]);
    let env = job.split("    steps:").next().unwrap();
    assert!(!env.contains("DOCTOR:"), "the stages' own doctor would have the first sign-in: {env}");
    let seconds = env.lines().find_map(|line| line.trim().strip_prefix("DEADLINE: ")?.parse::<u64>().ok());
    assert!(seconds.unwrap() < 3600, "{seconds:?}");
}

/// Jobs of a workflow that run the script, by its verb.
fn jobs(workflow: &str) -> impl Iterator<Item = (&str, &str)> {
    let (_, jobs) = workflow.split_once("\njobs:\n").unwrap();
    jobs.split("\n\n  ").filter_map(|job| {
        let (_, verb) = job.lines().filter_map(|line| line.split_once("infra/deploy.sh ")).next_back()?;
        Some((verb.split_whitespace().next()?, job))
    })
}

#[test]
fn the_subscription_that_is_named_is_the_one_of_every_call() {
    let played = play("subscription", "all").var("SUBSCRIPTION", "sub-1").not_written_down().run();
    // Files, and URLs that name their subscription.
    let exempt = |call: &&str| !call.starts_with("az rest") && !call.starts_with("az bicep");
    let without = played.calls().filter(exempt).filter(|call| !call.ends_with("--subscription sub-1"));
    assert_eq!(without.collect::<Vec<_>>(), [""; 0]);
    played.ends(0);
}

/// What the script reads is in its header, in the workflow and in the README's block, and the defaults are the same.
#[test]
fn every_variable_of_the_script_is_told_of_wherever_it_is_called() {
    let files = Files::load();
    let script = files.get("infra/deploy.sh");
    let is_name = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let names = |text: &str, before: &str| -> BTreeSet<String> {
        let words = text.split(before).skip(1).map(|rest| {
            rest.trim_start_matches('{').split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap()
        });
        words.filter(is_name).map(str::to_owned).collect()
    };
    let mut read = names(script, "$");
    // The shell's own.
    read.remove("PATH");
    let head = script.split("\nset -eu").next().unwrap();
    assert_eq!(names(head, "\n#   "), read, "header");
    let workflow = files.get(".github/workflows/deploy.yml");
    let env = |line: &str| Some(line.trim().split_once(": ")?.0.to_owned()).filter(|name| is_name(&name.as_str()));
    let in_workflow: BTreeSet<String> = workflow.lines().filter_map(env).collect();
    assert_eq!(in_workflow, read, "deploy.yml");
    let page = files.get("infra/README.md");
    let block =
        page.split("```sh\n").skip(1).find(|block| block.contains("GROUP=")).unwrap().split("```").next().unwrap();
    let exported: BTreeSet<String> = block
        .lines()
        .filter_map(|line| line.strip_prefix("export "))
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect();
    assert!(read.is_subset(&exported), "README: {read:?}, {exported:?}");
    for name in ["PARAMETERS", "ZIP", "PAUSE", "TRIES", "LIMIT", "DEADLINE"] {
        let (_, default) = script.split_once(&format!("{name}=${{{name}:-")).unwrap();
        let default = default.split('}').next().unwrap().replace("$here/../", "").replace("$here", "infra");
        let of_block = block.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}=")));
        assert_eq!(of_block, Some(&*default), "{name}");
        assert!(head.contains(&format!("(default: {default})")), "header: {name} is {default}");
    }
}

/// A transcript that no play writes any more would tell of something that is not so.
#[test]
fn each_transcript_is_that_of_a_play() {
    let plays = include_str!("procedure.rs");
    for entry in fs::read_dir(root().join("tests/infra/transcripts")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.strip_suffix(".txt").unwrap();
        assert!(plays.contains(&format!("\"{name}\",")), "{name}");
    }
}
