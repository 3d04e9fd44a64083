//! What a rule may say beside `group`.

use super::definition::{InputTemplate, Literal, OutputTemplate};
use super::document::{Members, Refused};
use super::settings::Settings;
use super::template::Template;
use super::upload::Complete;

/// The input that a group's folder stands in for.
const BLOB_URL: &str = "{blob.url}";

/// The input as a group has it: the folder of the copies in place of the blob.
pub(super) fn stands_for_the_folder(input: &InputTemplate) -> bool {
    matches!(input, InputTemplate::UriFile(source) if source.uri.source() == BLOB_URL)
}

/// Notes what a rule says of single blobs that a group of several cannot keep, and demands that one bad file fails the job: of one
/// that Azure ML calls completed though files of it failed nobody could tell which.
pub(super) fn check_group<'r>(
    members: &Members<'_>,
    complete: &Complete,
    inputs: impl IntoIterator<Item = &'r InputTemplate>,
    outputs: impl IntoIterator<Item = &'r OutputTemplate>,
    settings: &mut Settings,
) {
    if matches!(complete, Complete::Marker(_)) {
        members.refuse(
            "complete",
            Refused::new(
                "no marker beside `group`: with it the folder itself is scored",
                "write \"group\": { \"by\": \"marker\" } and remove `complete`, or remove `group`",
            ),
        );
    }
    if !settings.demand_no_error() {
        members.refuse(
            "settings",
            Refused::new(
                "an `errorThreshold` of 0 beside `group`: a job that completes though files failed does not tell which",
                "remove `errorThreshold`; a group sends 0",
            ),
        );
    }
    let of_one = Template::is_of_one_blob;
    let (folders, others): (Vec<_>, Vec<_>) = inputs.into_iter().partition(|input| stands_for_the_folder(input));
    let tells_one = others.iter().any(|input| match input {
        InputTemplate::UriFile(source) | InputTemplate::UriFolder(source) => of_one(&source.uri),
        InputTemplate::Literal { value: Literal::Template(text), .. } => of_one(text),
        InputTemplate::Literal { value: Literal::AsWritten(_), .. } => false,
    });
    // Without an input for the folder the job reads none of the files that its end would be told of.
    if tells_one || folders.is_empty() {
        members.refuse(
            "inputs",
            Refused::new(
                "inputs that a group can have: the copies' folder takes the place of a `UriFile` of `{blob.url}`, and no other text tells one blob",
                "write {blob.url} alone, or remove `group`",
            ),
        );
    }
    let outputs: Vec<_> = outputs.into_iter().collect();
    if outputs.is_empty() {
        members.refuse(
            "outputs",
            Refused::new(
                "an output beside `group`: by it alone it is known which files were scored",
                "leave `outputs` out for the default",
            ),
        );
    }
    for output in outputs {
        if output.publish.is_some() || of_one(&output.uri) {
            members.refuse(
                "outputs",
                Refused::new(
                    "outputs that a group can have: one for all members, so that no text tells one blob and nothing is published",
                    "name it by {scoring.id} and {attempt}, which are the group's, and remove `publish`",
                ),
            );
        }
    }
}
