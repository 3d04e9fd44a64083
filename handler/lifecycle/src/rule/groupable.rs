//! What a rule may say beside `group`.

use std::collections::BTreeMap;

use super::definition::{InputTemplate, Literal, OutputTemplate};
use super::document::{Members, Refused};
use super::group::VerifyMembers;
use super::settings::Settings;
use super::template::Template;
use super::upload::Complete;
use crate::job::OutputKind;

/// The input that a group's folder stands in for.
const BLOB_URL: &str = "{blob.url}";

/// The input as a group has it: the folder of the copies in place of the blob.
pub(super) fn stands_for_the_folder(input: &InputTemplate) -> bool {
    matches!(input, InputTemplate::UriFile(source) if source.uri.source() == BLOB_URL)
}

/// Notes what a rule says of single blobs that a group of several cannot keep, and demands that one bad file fails the job: of one
/// that Azure ML calls completed though files of it failed nobody could tell which.
pub(super) fn check_group(
    members: &Members<'_>,
    complete: &Complete,
    inputs: &BTreeMap<String, InputTemplate>,
    outputs: &BTreeMap<String, OutputTemplate>,
    verify: VerifyMembers,
    settings: &mut Settings,
) {
    let is_marker = matches!(complete, Complete::Marker(_));
    if is_marker {
        members.refuse(
            "complete",
            Refused::new(
                "no marker beside `group`: with it the folder itself is scored",
                "write \"group\": { \"by\": \"marker\" } and remove `complete`, or remove `group`",
            ),
        );
    }
    if let Some(text) = settings.texts().find(|text| text.is_of_one_blob()) {
        members.refuse_text(
            "settings",
            text.source(),
            Refused::new(
                format!("texts that a group can have: a job is of several blobs, and `{}` tells one", text.source()),
                "write {rule.id}, {scoring.id} or {attempt} there, which are the group's, or remove `group`",
            ),
        );
    }
    if !settings.demand_no_error() {
        members.refuse_at(
            &["settings", "errorThreshold"],
            Refused::new(
                "an `errorThreshold` of 0 beside `group`: a job that completes though files failed does not tell which",
                "remove `errorThreshold`; a group sends 0",
            ),
        );
    }
    check_inputs(members, is_marker, inputs);
    check_group_outputs(members, outputs, verify);
}

/// Notes inputs by which a job would not read the copies, or that tell one of them.
fn check_inputs(members: &Members<'_>, is_marker: bool, inputs: &BTreeMap<String, InputTemplate>) {
    // What one stands in that tells one blob.
    let tells_one = |(name, input): (&'_ String, &InputTemplate)| {
        let part = if is_described_by_one(input) {
            "description"
        } else if !stands_for_the_folder(input) && is_of_one(input) {
            if matches!(input, InputTemplate::Literal { .. }) { "template" } else { "uri" }
        } else {
            return None;
        };
        Some((name.clone(), part))
    };
    let one = inputs.iter().find_map(tells_one);
    // Without an input for the folder the job reads none of the files that its end would be told of. Inputs that are made for a marker
    // are told of with that.
    if !is_marker && (one.is_some() || !inputs.values().any(stands_for_the_folder)) {
        let path = one.as_ref().map_or_else(|| vec!["inputs"], |(name, part)| vec!["inputs", name, part]);
        members.refuse_at(
            &path,
            Refused::new(
                "inputs that a group can have: the copies' folder takes the place of a `UriFile` of `{blob.url}`, and no other text tells one blob",
                "write {blob.url} alone, or remove `group`",
            ),
        );
    }
}

/// Notes outputs that are not one for all files of a group, or that name none of them.
fn check_group_outputs(members: &Members<'_>, outputs: &BTreeMap<String, OutputTemplate>, verify: VerifyMembers) {
    let of_one = Template::is_of_one_blob;
    if outputs.is_empty() {
        members.refuse(
            "outputs",
            Refused::new(
                "an output beside `group`: by it alone it is known which files were scored",
                "leave `outputs` out for the default",
            ),
        );
    }
    if verify == VerifyMembers::File
        && !outputs.is_empty()
        && outputs.values().all(|output| output.kind != OutputKind::UriFolder)
    {
        members.refuse(
            "outputs",
            Refused::new(
                "an output folder beside `\"verifyMembers\": \"file\"`: the names of its files are to name the files of a group",
                "write \"type\": \"UriFolder\" for an output, or \"verifyMembers\": \"column\"",
            ),
        );
    }
    for (name, output) in outputs {
        let part = if output.publish.is_some() {
            Some("publish")
        } else if of_one(&output.uri) {
            Some("uri")
        } else {
            output.description.as_ref().filter(|text| of_one(text)).map(|_| "description")
        };
        if let Some(part) = part {
            members.refuse_at(
                &["outputs", name, part],
                Refused::new(
                    "outputs that a group can have: one for all members, so that no text tells one blob and nothing is published",
                    "name it by {scoring.id} and {attempt}, which are the group's, and remove `publish`",
                ),
            );
        }
    }
}

fn is_described_by_one(input: &InputTemplate) -> bool {
    match input {
        InputTemplate::UriFile(source) | InputTemplate::UriFolder(source) => {
            source.description.as_ref().is_some_and(Template::is_of_one_blob)
        }
        InputTemplate::Literal { .. } => false,
    }
}

fn is_of_one(input: &InputTemplate) -> bool {
    match input {
        InputTemplate::UriFile(source) | InputTemplate::UriFolder(source) => source.uri.is_of_one_blob(),
        InputTemplate::Literal { value: Literal::Template(text), .. } => text.is_of_one_blob(),
        InputTemplate::Literal { value: Literal::AsWritten(_), .. } => false,
    }
}
