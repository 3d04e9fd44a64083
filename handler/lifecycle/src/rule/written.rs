//! A rule as the file has it, and what makes a good rule of it.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use super::data::{check_outputs, read_inputs, read_outputs};
use super::definition::{EmptyBlobs, Match, Rule, Target, default_inputs, default_outputs};
use super::document::{Members, Node, Read, Refused};
use super::examples::Examples;
use super::exclude::{Exclude, Glob};
use super::group::GroupSettings;
use super::groupable::check_group;
use super::names::duration;
use super::policy::{OnUnknown, Policy};
use super::published::Checked;
use super::split::Split;
use super::sweep_schedule::SweepSchedule;
use super::upload::{Complete, MarkerName, Overwrites, Renames};
use crate::blob::BlobVersion;
use crate::id::{ContainerName, DeploymentName, LedgerId, RuleId};
use crate::job::MAX_SUBMISSION_UNITS;
use crate::scoring::Scoring;

/// Azure ML ends a job after this, whatever a rule says.
const MAX_JOB_TIMEOUT: Duration = Duration::days(21);

impl Read for Rule {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut members = node.object("a rule with `id`, `match` and `endpoint`")?;
        let id: Option<RuleId> = members.required(
            "id",
            Refused::new("a name that stays, 1 to 64 letters, digits, `-` or `_`", "give the rule one"),
        );
        let matches: Option<Match> = members.required(
            "match",
            Refused::new("which blobs the rule wants", "write \"match\": { \"container\": \"CONTAINER\" }"),
        );
        let endpoint = members.required(
            "endpoint",
            Refused::new(
                "where its scorings go",
                "write \"endpoint\": { \"uri\": \"https://ENDPOINT.REGION.inference.ml.azure.com/jobs\" }",
            ),
        );
        let complete: Complete = members.or_default("complete");
        let inputs = members.node("inputs").map_or_else(|| default_inputs(&complete), |inputs| read_inputs(&inputs));
        let outputs = match members.node("outputs") {
            Some(written) => {
                let outputs = read_outputs(&written);
                check_outputs(&written, &outputs);
                if let Some((rule, matches)) = id.as_ref().zip(matches.as_ref()) {
                    let examples = Examples::of(matches, &complete);
                    Checked { rule, examples: &examples, inputs: &inputs, outputs: &outputs }.check(&written);
                }
                outputs
            }
            None => default_outputs(),
        };
        let mut settings = members.or_default("settings");
        let tags = members.optional("tags").unwrap_or(true);
        let generation = members.or_default("generation");
        let max_in_flight = read_max_in_flight(&mut members);
        let priority = members.or_default("priority");
        let empty_blobs = members.or_default("emptyBlobs");
        let renames = members.or_default("renames");
        let overwrites = members.or_default("overwrites");
        let group: Option<GroupSettings> = members.optional("group");
        if let Some(group) = &group {
            let verify = group.verify_members;
            check_group(&members, &complete, &inputs, &outputs, verify, &mut settings);
        }
        let sweep = SweepSchedule::read(&mut members);
        let policy = read_policy(&mut members);
        // Beside a group there is no marker at all.
        if group.is_none() {
            check_marker(&members, &complete, empty_blobs, matches.as_ref());
        }
        check_latest_only(&members, overwrites, &policy);
        check_size(&members, empty_blobs, matches.as_ref());
        members.end();
        let mut rule = Self {
            id: id?,
            matches: matches?,
            endpoint: endpoint?,
            inputs,
            outputs,
            settings,
            tags,
            generation,
            max_in_flight,
            priority,
            empty_blobs,
            complete,
            renames,
            overwrites,
            group,
            sweep,
            shadow_of: None,
            metadata_in_texts: BTreeMap::new(),
            policy,
        };
        rule.metadata_in_texts = rule.find_metadata_in_texts();
        check_fits(node, &rule);
        Some(rule)
    }
}

/// Notes a marker that no event could be wanted for.
fn check_marker(members: &Members<'_>, complete: &Complete, empty_blobs: EmptyBlobs, matches: Option<&Match>) {
    let Complete::Marker(marker) = complete else { return };
    // Said and not assumed: event subscriptions are made by it, which leave out what has no bytes.
    if empty_blobs == EmptyBlobs::Skip {
        members.refuse(
            "complete",
            Refused::new(
                "`emptyBlobs` to be `score`, as markers have no bytes",
                "write \"emptyBlobs\": \"score\" into the rule",
            ),
        );
    }
    if let Some(Match { suffix, .. }) =
        matches.filter(|matches| !marker.as_str().ends_with(matches.suffix.rsplit('/').next().unwrap_or_default()))
    {
        let (expected, marker) =
            (format!("a marker that ends with `match.suffix`, which is `{suffix}`"), marker.as_str());
        let refused = Refused::new(expected, format!("leave out `match.suffix`, or write {marker:?} there"));
        members.refuse_at(&["complete", "marker"], refused);
    }
}

/// Notes a rule that wants blobs of no bytes alone, and skips them.
fn check_size(members: &Members<'_>, empty_blobs: EmptyBlobs, matches: Option<&Match>) {
    if empty_blobs == EmptyBlobs::Skip && matches.is_some_and(|matches| matches.max_bytes == Some(0)) {
        members.refuse_at(
            &["match", "maxBytes"],
            Refused::new(
                "`maxBytes` to be more than 0, or no blob is wanted: `emptyBlobs` is `skip`",
                "leave out `maxBytes`, or write \"emptyBlobs\": \"score\" into the rule",
            ),
        );
    }
}

/// Notes a rule that wants the latest version and does not look which that is: events come in any order.
fn check_latest_only(members: &Members<'_>, overwrites: Overwrites, policy: &Policy) {
    if overwrites == Overwrites::LatestOnly && !policy.verify_input {
        members.refuse(
            "overwrites",
            Refused::new(
                "`verifyInput` to be true, as events come in any order and a look tells which version is the latest",
                "remove \"verifyInput\": false, or write \"overwrites\": \"newVersion\"",
            ),
        );
    }
}

/// Notes a rule of which the ledger cannot hold a request for any blob. Whether it can for a blob with a long name is seen
/// when that blob comes.
fn check_fits(node: &Node<'_>, rule: &Rule) {
    let shortest = BlobVersion::read("https://acc.blob.core.windows.net/con/b", "0");
    let units = shortest.map_or(0, |blob| {
        // Of any ledger and time: all ids and times are equally long.
        let scoring = Scoring::accept(&LedgerId::of_random([0; 16]), rule, blob, OffsetDateTime::UNIX_EPOCH);
        rule.submission(&scoring, 1).units()
    });
    if units > MAX_SUBMISSION_UNITS {
        node.refuse(Refused::new(
            format!(
                "requests of {MAX_SUBMISSION_UNITS} UTF-16 units at most, which is what the ledger holds; with the shortest blob name they take {units}"
            ),
            "shorten `settings`, `inputs` or `outputs`",
        ));
    }
}

/// `maxInFlight: 0` reads like a pause; pausing is an operator's command, so that it is seen and undone.
pub(super) fn read_max_in_flight(members: &mut Members<'_>) -> Option<u32> {
    let node = members.node("maxInFlight")?;
    let remedy = "leave it out for no limit; `scorekeeper limit` pauses";
    node.whole_number(1, i64::from(u32::MAX), remedy)?.try_into().ok()
}

impl Read for Match {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut members = node.object("`container`, and what narrows it down")?;
        let account = members.optional("account");
        let container: Option<ContainerName> =
            members.required("container", Refused::new("the container that is watched", "name it"));
        let (prefix, suffix) = (path_part(&mut members, "prefix"), path_part(&mut members, "suffix"));
        let globs: Vec<Glob> = members.or_default("globs");
        let exclude: Exclude = members.or_default("exclude");
        let mut bytes = |name| {
            let node = members.node(name)?;
            node.whole_number(0, i64::MAX, "leave it out for no limit")?.try_into().ok()
        };
        let (min_bytes, max_bytes): (Option<u64>, Option<u64>) = (bytes("minBytes"), bytes("maxBytes"));
        if min_bytes.zip(max_bytes).is_some_and(|(min, max)| min > max) {
            members.refuse(
                "minBytes",
                Refused::new("not more than `maxBytes`, or no blob is wanted", "correct one of them"),
            );
        }
        let (content_types, apis) = (members.or_default("contentTypes"), members.or_default("apis"));
        let (metadata, index_tags) = (members.or_default("metadata"), members.or_default("indexTags"));
        check_path_part(&members, "prefix", &prefix);
        check_path_part(&members, "suffix", &suffix);
        if let Some(container) = &container {
            check_repeated(&members, container, &prefix, &globs);
        }
        if let Some(glob) = globs.first().filter(|_| !globs.iter().any(|glob| glob.may_match(&prefix, &suffix))) {
            members.refuse(
                "globs",
                Refused::new(
                    format!("a form that some path has which the rule asks for (prefix `{prefix}`, suffix `{suffix}`); none has `{glob}`"),
                    "correct one of them",
                ),
            );
        }
        if let Some(excluded) = exclude.excludes_all_of(&prefix, &suffix) {
            members.refuse(
                "exclude",
                Refused::new(
                    format!("some blob to be left that the rule asks for (prefix `{prefix}`, suffix `{suffix}`), but {excluded}"),
                    "correct one of them",
                ),
            );
        }
        members.end();
        Some(Self {
            account,
            container: container?,
            prefix,
            suffix,
            globs,
            min_bytes,
            max_bytes,
            content_types,
            apis,
            metadata,
            index_tags,
            exclude,
        })
    }
}

/// A beginning or an ending; one alone, as it is what keeps events from being delivered.
fn path_part(members: &mut Members<'_>, name: &'static str) -> String {
    let Some(node) = members.node(name) else { return String::new() };
    if node.is_list() {
        node.refuse(Refused::new("one text", "write one; several are for `globs`, such as \"eu/**\" or \"**/*.csv\""));
        return String::new();
    }
    String::read(&node).unwrap_or_default()
}

/// A prefix that begins with the container, as nearly nobody means a folder of the same name: such a rule would want nothing. Who does
/// says the folder in `globs` as well.
fn check_repeated(members: &Members<'_>, container: &ContainerName, prefix: &str, globs: &[Glob]) {
    let folder = format!("{container}/");
    let Some(rest) = prefix.strip_prefix(&folder) else { return };
    if !globs.iter().any(|glob| glob.to_string().starts_with(&folder)) {
        let remedy = format!(
            "the container is no part of it: write {rest:?}; if a folder has the container's name, write \"globs\": [\"{folder}**\"] beside it"
        );
        members.refuse("prefix", Refused::new("the beginning of a path within the container", remedy));
    }
}

/// A beginning or an ending that no name of a blob has is noted.
fn check_path_part(members: &Members<'_>, name: &'static str, part: &str) {
    const DECODED: &str = "part of a blob's path, as it is, without its encoding in URLs";
    if let ("prefix", Some(rest)) = (name, part.strip_prefix('/')) {
        let expected = "the beginning of a path within the container";
        members.refuse(name, Refused::new(expected, format!("paths begin without a slash: write {rest:?}")));
    } else if part.contains('*') {
        let remedy = match (name, part) {
            ("suffix", pattern) => {
                format!("write {:?}; it is compared as it is", pattern.trim_start_matches(['*', '/']))
            }
            (_, pattern) => {
                format!("write {:?}; it is compared as it is", pattern.split('*').next().unwrap_or_default())
            }
        };
        members.refuse(name, Refused::new("a text without wildcards, which are for `globs`", remedy));
    } else if part.chars().any(|c| c.is_control() || c == '\\') {
        members.refuse(name, Refused::new(DECODED, "remove control characters; folders are parted by `/`"));
    } else if part.split('/').any(|segment| matches!(segment, "." | "..")) && part.contains('/') {
        members.refuse(name, Refused::new(DECODED, "no URL holds the segments `.` and `..`; remove them"));
    } else if part.len() > 1_024 {
        members.refuse(name, Refused::new("1,024 bytes at most, as names of blobs have", "shorten it"));
    } else if part.contains("://") {
        members.refuse(name, Refused::new(DECODED, "leave out scheme, host and container"));
    }
}

impl Read for Exclude {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut members = node.object("`defaults`, `prefixes`, `suffixes`, `globs`")?;
        let default = Self::default();
        let mut texts = |name| {
            let texts: Vec<NotEmpty> = members.or_default(name);
            texts.into_iter().map(|text| text.0).collect()
        };
        let (prefixes, suffixes) = (texts("prefixes"), texts("suffixes"));
        let globs: Vec<Glob> = members.or_default("globs");
        let defaults = members.optional("defaults").unwrap_or(default.defaults);
        members.end();
        Some(Self { defaults, prefixes, suffixes, globs })
    }
}

/// A text that not every path begins or ends with.
struct NotEmpty(String);

impl Read for NotEmpty {
    fn read(node: &Node<'_>) -> Option<Self> {
        match node.text_or_refuse()? {
            "" => node.refused(Refused::new("a text; an empty one would leave out every blob", "remove it")),
            text => Some(Self(text.to_owned())),
        }
    }
}

impl Read for Target {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut members =
            node.object("`uri`, perhaps `deployment` or `deployments`, `shadow`, `workspace` and `identity`")?;
        let uri = members.required(
            "uri",
            Refused::new("the batch endpoint's invoke URI", "copy its REST endpoint, which ends in /jobs"),
        );
        let deployment = members.optional("deployment");
        let deployments = members.optional("deployments");
        if deployment.is_some() && deployments.is_some() {
            members.refuse("deployments", Refused::new("one of `deployment` and `deployments`", "remove one of them"));
        }
        let shadow: Option<DeploymentName> = members.optional("shadow");
        if let Some(shadow) = &shadow
            && (deployment.as_ref() == Some(shadow)
                || deployments.as_ref().is_some_and(|split: &Split| split.has(shadow)))
        {
            let expected = "another deployment than those that score the blobs already";
            members.refuse("shadow", Refused::new(expected, "name the one to compare with, or leave it out"));
        }
        let workspace = members.optional("workspace");
        let identity = members.optional("identity");
        members.end();
        Some(Self { uri: uri?, deployment, deployments, shadow, workspace, identity })
    }
}

impl Read for EmptyBlobs {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.word(&[("skip", Self::Skip), ("score", Self::Score)])
    }
}

impl Read for Renames {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.word(&[("ignoreScored", Self::IgnoreScored), ("score", Self::Score)])
    }
}

impl Read for Overwrites {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.word(&[("newVersion", Self::NewVersion), ("ignore", Self::Ignore), ("latestOnly", Self::LatestOnly)])
    }
}

impl Read for OnUnknown {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.word(&[("resolve", Self::Resolve), ("hold", Self::Hold)])
    }
}

impl Read for Complete {
    fn read(node: &Node<'_>) -> Option<Self> {
        if node.text().is_some() {
            return node.word(&[("closed", ())]).map(|()| Self::Closed);
        }
        let mut members = node.object("\"closed\", { \"unchangedFor\": \"PT2M\" } or { \"marker\": \"_SUCCESS\" }")?;
        if let Some(marker) = members.node("marker") {
            members.end();
            return MarkerName::read(&marker).map(Self::Marker);
        }
        let quiet =
            members.required_node("unchangedFor", Refused::new("how long it must be unchanged", "write \"PT2M\""));
        let quiet = quiet.and_then(|quiet| duration(&quiet, Duration::seconds(10)..=Duration::days(1)));
        members.end();
        quiet.map(Self::UnchangedFor)
    }
}

/// Nothing is looked for at once: a search that begins with the answer to a lost request finds nothing.
const MIN_LOOKUP: Duration = Duration::milliseconds(100);

fn read_policy(members: &mut Members<'_>) -> Policy {
    let default = Policy::default();
    let (zero, second) = (Duration::ZERO, Duration::milliseconds(1));
    let mut time =
        |name, default, min, max| members.node(name).and_then(|node| duration(&node, min..=max)).unwrap_or(default);
    let policy = Policy {
        poll_interval: time("pollInterval", default.poll_interval, second, Duration::DAY),
        retry_back_off: time("retryBackOff", default.retry_back_off, zero, Duration::HOUR),
        submit_deadline: time("submitDeadline", default.submit_deadline, zero, Duration::days(30)),
        job_timeout: time("jobTimeout", default.job_timeout, second, MAX_JOB_TIMEOUT),
        submit_timeout: time("submitTimeout", default.submit_timeout, second, Duration::minutes(10)),
        lookup_interval: time("lookupInterval", default.lookup_interval, MIN_LOOKUP, Duration::DAY),
        resubmit_after: time("resubmitAfter", default.resubmit_after, MIN_LOOKUP, Duration::days(30)),
        output_timeout: time("outputTimeout", default.output_timeout, zero, Duration::DAY),
        max_attempts: members
            .node("maxAttempts")
            .and_then(|node| node.whole_number(1, 20, "1 switches retries off")?.try_into().ok())
            .unwrap_or(default.max_attempts),
        retry_user_errors: members.optional("retryUserErrors").unwrap_or(default.retry_user_errors),
        on_unknown: members.or_default("onUnknown"),
        verify_input: members.optional("verifyInput").unwrap_or(default.verify_input),
    };
    let Policy { lookup_interval, resubmit_after, .. } = policy;
    if resubmit_after < lookup_interval {
        let name = if resubmit_after == default.resubmit_after { "lookupInterval" } else { "resubmitAfter" };
        members.refuse(
            name,
            Refused::new(
                format!("`resubmitAfter` ({resubmit_after}) not to be shorter than `lookupInterval` ({lookup_interval}), or a lost job would never be looked for"),
                "correct one of them",
            ),
        );
    }
    policy
}
