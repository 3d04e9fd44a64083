//! The identities of the workflow `deploy`, as the page has people make them: what each may do, and which job signs in as which.

use super::project::{Files, Project};
use super::walk::{DEPLOYER, GROUP, LOOKER, walked};

/// A topic may lie in a group that has nothing else of the deployment's, where a subscription is made all the same.
#[test]
fn the_pipelines_identity_may_make_subscriptions_wherever_the_topic_is() {
    let walked = walked(&Project::load()).unwrap_or_else(|why| panic!("{why}"));
    for (role, group, times) in [
        ("EventGrid Contributor", "rg-topics", 1),
        ("Reader", "rg-topics", 1),
        ("Role Based Access Control Administrator", "rg-topics", 0),
        ("EventGrid Contributor", "rg-theirs", 3),
    ] {
        let given = given(&walked.calls, DEPLOYER);
        let given = given.iter().filter(|(of, on)| of == role && on.contains(&format!("/resourceGroups/{group}")));
        assert_eq!(given.count(), times, "{role} on {group}: {}", walked.calls);
    }
}

/// Roles that the page gives to a principal, each with its scope.
fn given(calls: &str, principal: &str) -> Vec<(String, String)> {
    let given = calls.lines().filter(|call| call.starts_with("$ az role assignment create"));
    let to = given.filter(|call| call.contains(&format!("--assignee-object-id {principal} ")));
    let role = |call: &str| {
        let (role, scope) = call.split_once("--role ").unwrap().1.split_once(" --scope ").unwrap();
        (role.to_owned(), scope.to_owned())
    };
    to.map(role).collect()
}

/// Whether whoever looks without an approval could deploy, and whether it can look at all.
fn wrong(project: &Project) -> Vec<String> {
    let calls = match walked(project) {
        Ok(walked) => walked.calls,
        Err(why) => return vec![why],
    };
    let mut wrong = Vec::new();
    let look = given(&calls, LOOKER);
    let own = "Scorekeeper deployment look rg-scorekeeper-dev";
    // A definition has lines of its own.
    let mut commands = calls.split("\n$ az ");
    let role = commands.find(|call| call.starts_with("role definition create") && call.contains(own));
    if !role.is_some_and(|role| role.contains("deployments/whatIf/action") && role.contains(GROUP)) {
        wrong.push(format!("the role of the look is not made for its group: {role:?}"));
    }
    for (role, scope) in &look {
        if role != "Reader" && role != own {
            wrong.push(format!("who only looks gets {role} on {scope}"));
        }
    }
    let has = |role: &str, scope: &str| look.iter().any(|(of, on)| of == role && on == scope);
    let theirs = |group: &str| format!("/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/{group}");
    for (role, scope) in [
        (own, GROUP.to_owned()),
        ("Reader", GROUP.to_owned()),
        ("Reader", theirs("rg-theirs")),
        ("Reader", theirs("rg-topics")),
    ] {
        if !has(role, &scope) {
            wrong.push(format!("who looks has no {role} on {scope}: {look:?}"));
        }
    }
    if !given(&calls, DEPLOYER).iter().any(|(role, _)| role == "Contributor") {
        wrong.push("who deploys cannot".to_owned());
    }
    let trusted = calls.lines().filter(|call| call.starts_with("$ az identity federated-credential create"));
    let word = |call: &str, after: &str| {
        let rest = call.split_once(after).map_or("", |(_, rest)| rest);
        rest.split_whitespace().next().unwrap_or_default().to_owned()
    };
    let trusted: Vec<_> = trusted.map(|call| (word(call, "--identity-name "), word(call, ":environment:"))).collect();
    let pair = |(identity, environment): (&str, &str)| (identity.to_owned(), environment.to_owned());
    if trusted != [("id-deploy-dev", "dev"), ("id-look-dev", "dev-look")].map(pair) {
        wrong.push(format!("identities and the environments that may sign in as them: {trusted:?}"));
    }
    for (environment, client) in [("dev", "client-that-deploys"), ("dev-look", "client-that-looks")] {
        let set = format!("[AZURE_CLIENT_ID] [--repo] [owner/scorekeeper] [--env] [{environment}] [--body] [{client}]");
        if !calls.contains(&set) {
            wrong.push(format!("{environment} does not sign in as {client}"));
        }
    }
    wrong
}

/// The job that looks waits for nobody.
#[test]
fn who_looks_without_an_approval_cannot_deploy() {
    super::none(&wrong(&Project::load()));
    let files = Files::load();
    for (from, to) in [
        ("sign_in id-look-dev dev-look", "sign_in id-deploy-dev dev-look"),
        ("give \"$LOOKER\" Reader", "give \"$LOOKER\" Contributor"),
        ("*-look) identity=id-look-dev", "*-look) identity=id-deploy-dev"),
        ("give \"$LOOKER\" \"$LOOK\" \"$group\"\n", ""),
    ] {
        let spoilt = Project::read(files.spoilt("infra/README.md", from, to));
        assert!(!wrong(&spoilt).is_empty(), "{from}: {to}");
    }
    let workflow = files.get(".github/workflows/deploy.yml");
    let (_, jobs) = workflow.split_once("\njobs:\n").unwrap();
    for job in jobs.split("\n\n  ").filter(|job| job.contains("azure/login@")) {
        let looks = job.contains("environment: ${{ inputs.environment }}-look\n");
        let runs = job.split("infra/deploy.sh ").skip(1).filter_map(|rest| rest.split_whitespace().next());
        assert!(runs.into_iter().all(|verb| (verb == "what-if") == looks), "{job}");
    }
}
