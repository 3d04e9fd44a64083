//! Members that people write in another place than theirs, or under the name that another tool has for them.
//!
//! "Remove it" would be bad advice: a rule without its `prefix` wants every blob.

/// Where a rule has what. The last segment is the member's name.
const PLACES: &[&str] = &[
    "match.account",
    "match.container",
    "match.prefix",
    "match.suffix",
    "match.globs",
    "match.minBytes",
    "match.maxBytes",
    "match.contentTypes",
    "match.apis",
    "match.metadata",
    "match.indexTags",
    "match.exclude",
    "endpoint.deployment",
    "endpoint.deployments",
    "endpoint.shadow",
    "endpoint.workspace",
    "endpoint.identity",
    "outputs.NAME.publish",
    "outputs.NAME.publish.ifExists",
    "complete.unchangedFor",
    "complete.marker",
    "settings.compute",
    "settings.compute.instanceCount",
    "settings.compute.instanceType",
    "settings.computeInstanceCount",
    "settings.miniBatchSize",
    "settings.errorThreshold",
    "settings.retrySettings",
    "settings.retrySettings.maxRetries",
    "settings.retrySettings.timeout",
    "settings.loggingLevel",
    "settings.maxConcurrencyPerInstance",
    "settings.outputFileName",
    "settings.partitionKeys",
    "settings.properties",
    "settings.experimentName",
    "settings.continueOnStepFailure",
    "settings.forceRun",
    "settings.defaultDatastore",
    "settings.passThrough",
    "id",
    "match",
    "complete",
    "inputs",
    "outputs",
    "settings",
    "generation",
    "maxInFlight",
    "priority",
    "emptyBlobs",
    "renames",
    "overwrites",
    "sweep",
    "sweepAfter",
    "pollInterval",
    "maxAttempts",
    "retryUserErrors",
    "retryBackOff",
    "submitDeadline",
    "jobTimeout",
    "submitTimeout",
    "lookupInterval",
    "resubmitAfter",
    "onUnknown",
    "outputTimeout",
    "verifyInput",
];

/// Names of other tools, each with the place of what is meant.
const ALIASES: &[(&str, &str)] = &[
    ("glob", "match.globs"),
    ("contentType", "match.contentTypes"),
    ("api", "match.apis"),
    ("endpointUri", "endpoint.uri"),
    ("scoringUri", "endpoint.uri"),
    ("deploymentName", "endpoint.deployment"),
    ("traffic", "endpoint.deployments"),
    ("displayName", "settings.name"),
];

/// What each of `endpoints` has, beside the rules.
const OF_ENDPOINTS: &[&str] = &["submitsPerMinute", "breaker"];

/// Where a member belongs that nothing reads where it stands, if there is one of this name anywhere: for a remedy.
pub(super) fn elsewhere(name: &str) -> Option<String> {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let is_it = |known: &str| letters.eq_ignore_ascii_case(known);
    if let Some(known) = OF_ENDPOINTS.iter().find(|known| is_it(known)) {
        return Some(format!("`{known}` of an entry of `endpoints`, beside the rules"));
    }
    let own = PLACES.iter().map(|place| (place.rsplit('.').next().unwrap_or(place), place));
    let others = ALIASES.iter().map(|(alias, place)| (*alias, place));
    own.chain(others).find(|(known, _)| is_it(known)).map(|(_, place)| format!("`{place}` of a rule"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rules;

    /// What is written there is no unknown member.
    #[test]
    fn each_place_that_a_remedy_names_is_one_that_is_read() {
        for place in PLACES.iter().chain(ALIASES.iter().map(|(_, place)| place)) {
            let members: Vec<&str> = place.split('.').collect();
            let value = members.iter().rev().fold("0".to_owned(), |inner, member| format!("{{\"{member}\":{inner}}}"));
            let told = Rules::read(&format!("{{\"rules\":[{value}]}}")).map(|_| ()).expect_err("bad rules").to_string();
            assert!(!told.contains("not a known member"), "{place}: {told}");
        }
    }

    #[test]
    fn a_member_is_known_by_its_name_in_any_spelling_and_by_that_of_other_tools() {
        for (name, place) in [
            ("prefix", Some("`match.prefix` of a rule")),
            ("mini_batch_size", Some("`settings.miniBatchSize` of a rule")),
            ("DisplayName", Some("`settings.name` of a rule")),
            ("submitsPerMinute", Some("`submitsPerMinute` of an entry of `endpoints`, beside the rules")),
            ("colour", None),
        ] {
            assert_eq!(elsewhere(name).as_deref(), place, "{name}");
        }
    }
}
