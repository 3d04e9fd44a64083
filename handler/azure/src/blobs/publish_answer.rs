//! What an answer to a write means that is not "written": the service's codes, in our words, each with what helps.
//!
//! Sources: Put Blob From URL, Put Block From URL, Put Block List; Status and error codes of the Blob service; Specifying
//! conditional headers. `CannotVerifyCopySource` comes with the status that the source's storage gave.

use std::time::Duration;

use app::ports::{Answered, Inconclusive};
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use lifecycle::ServiceRequestId;
use lifecycle::publication::{Published, Refusal, RefusalKind};

use crate::http::retry::may_pass;

const CANNOT_READ_SOURCE: &str = "the storage that is written to cannot read it; the app's identity needs the role Storage Blob Data Reader \
     on its account, whose firewall must let that storage in; append blobs and archived ones are not copied so";
const MAY_NOT_WRITE: &str = "the app's identity may not write there; it needs the role Storage Blob Data Contributor on the container, which \
     a deployment gives it for each rule that publishes or groups";
const FIREWALL: &str = "the account's firewall lets the app not in";
const NOT_COPIED: &str = "the storage does not copy it as it lies there (archived, or another kind of blob)";
const NO_CONTAINER: &str =
    "there is no such container; make it, or correct `publish.uri` or `group.staging` in the rule";
const LEASED: &str = "somebody holds a lease on the blob; it is written once that ends";
const IN_THE_WAY: &str = "what lies there cannot be written over (immutable, a folder, or another kind of blob); remove it, or publish to another path";

/// The service's own id of an answer.
pub(super) fn request_id_of(headers: &Headers) -> Option<ServiceRequestId> {
    headers.get_optional_str(&"x-ms-request-id".into())?.parse().ok()
}

/// The source itself was asked about, with the token that a copy reads it by, and says no: a copy would be refused for it.
pub(super) fn unreadable_source(why: &Inconclusive, from: &str) -> Published {
    let text = format!("{why} ({from}): {CANNOT_READ_SOURCE}");
    Published::Refused(Refusal { kind: RefusalKind::MayNotReadSource, text })
}

/// Nobody answered within a write's time: it may have happened, and a look must tell.
pub(super) fn unanswered(to: &str, within: Duration) -> Inconclusive {
    Inconclusive::not_reachable(format!("storage did not answer to a write of {to} within {} s", within.as_secs()))
}

/// What an error means: `Ok` that nothing was written, and why; `Err` that nobody knows.
pub(super) fn unwritten(error: azure_core::Error, from: &str, to: &str) -> Result<Answered<Published>, Inconclusive> {
    let (status, code, request_id) = match error.kind() {
        ErrorKind::HttpResponse { status, error_code, raw_response } => {
            let request_id = raw_response.as_ref().and_then(|raw| request_id_of(raw.headers()));
            (u16::from(*status), error_code.clone().unwrap_or_default(), request_id)
        }
        _ => return Err(Inconclusive::not_reachable(format!("a write of {to} was not answered")).caused_by(error)),
    };
    let said = if code.is_empty() {
        format!("storage answered {status}")
    } else {
        format!("storage answered {status} ({code})")
    };
    let value = match meaning(status, &code) {
        Meaning::DestinationChanged => Published::DestinationChanged,
        Meaning::SourceChanged => Published::SourceChanged,
        Meaning::Unknown => {
            let what = format!("{said} to a write of {to}");
            return Err(Inconclusive::not_reachable(what).answered_as(request_id));
        }
        Meaning::Refused(kind) => {
            let text = match kind {
                RefusalKind::MayNotReadSource => format!("{said} about {from}: {CANNOT_READ_SOURCE}"),
                RefusalKind::SourceNotCopied => format!("{said} about {from}: {NOT_COPIED}"),
                RefusalKind::MayNotWrite if code == "AuthorizationFailure" => {
                    format!("{said} about {to}: {FIREWALL}, or {MAY_NOT_WRITE}")
                }
                RefusalKind::MayNotWrite => format!("{said} about {to}: {MAY_NOT_WRITE}"),
                RefusalKind::NoContainer => format!("{said} about {to}: {NO_CONTAINER}"),
                RefusalKind::Leased => format!("{said} about {to}: {LEASED}"),
                RefusalKind::CannotReplace => format!("{said} about {to}: {IN_THE_WAY}"),
                RefusalKind::NotAsked | RefusalKind::Other => format!("{said} about {to}"),
            };
            Published::Refused(Refusal { kind, text })
        }
    };
    Ok(Answered { value, request_id })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    DestinationChanged,
    SourceChanged,
    Refused(RefusalKind),
    /// It may have been written.
    Unknown,
}

fn meaning(status: u16, code: &str) -> Meaning {
    let refused = Meaning::Refused;
    match (status, code) {
        (404 | 412, "CannotVerifyCopySource") | (_, "SourceConditionNotMet") => Meaning::SourceChanged,
        (status, "CannotVerifyCopySource") if may_pass(status) => Meaning::Unknown,
        // The status is that which the source's own storage gave.
        (401 | 403, "CannotVerifyCopySource") => refused(RefusalKind::MayNotReadSource),
        (_, "CannotVerifyCopySource") => refused(RefusalKind::SourceNotCopied),
        (_, code) if code.starts_with("Lease") => refused(RefusalKind::Leased),
        // A condition without a word for whose it is: to look again at both tells. Or blocks that were staged are gone: somebody
        // has written to the blob.
        (412, _) | (409, "BlobAlreadyExists") | (404, "BlobNotFound") | (400, "InvalidBlockList") => {
            Meaning::DestinationChanged
        }
        (404, "ContainerNotFound") => refused(RefusalKind::NoContainer),
        (401, _) => Meaning::Unknown,
        (403, "BlobImmutableDueToPolicy") | (409, _) => refused(RefusalKind::CannotReplace),
        (403, _) => refused(RefusalKind::MayNotWrite),
        (status, _) if may_pass(status) => Meaning::Unknown,
        (400..=499, _) => refused(RefusalKind::Other),
        _ => Meaning::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_destination_and_of_the_source_are_told_apart() {
        let refused = Meaning::Refused;
        for (status, code, expected) in [
            (412, "ConditionNotMet", Meaning::DestinationChanged),
            (412, "TargetConditionNotMet", Meaning::DestinationChanged),
            (412, "", Meaning::DestinationChanged),
            (409, "BlobAlreadyExists", Meaning::DestinationChanged),
            (400, "InvalidBlockList", Meaning::DestinationChanged),
            (412, "SourceConditionNotMet", Meaning::SourceChanged),
            (412, "CannotVerifyCopySource", Meaning::SourceChanged),
            (404, "CannotVerifyCopySource", Meaning::SourceChanged),
            (403, "CannotVerifyCopySource", refused(RefusalKind::MayNotReadSource)),
            (401, "CannotVerifyCopySource", refused(RefusalKind::MayNotReadSource)),
            (409, "CannotVerifyCopySource", refused(RefusalKind::SourceNotCopied)),
            (503, "CannotVerifyCopySource", Meaning::Unknown),
            (403, "AuthorizationPermissionMismatch", refused(RefusalKind::MayNotWrite)),
            (403, "AuthorizationFailure", refused(RefusalKind::MayNotWrite)),
            (404, "ContainerNotFound", refused(RefusalKind::NoContainer)),
            (412, "LeaseIdMissing", refused(RefusalKind::Leased)),
            (409, "LeaseAlreadyPresent", refused(RefusalKind::Leased)),
            (409, "BlobImmutableDueToPolicy", refused(RefusalKind::CannotReplace)),
            (409, "InvalidBlobType", refused(RefusalKind::CannotReplace)),
            (400, "InvalidHeaderValue", refused(RefusalKind::Other)),
            (401, "InvalidAuthenticationInfo", Meaning::Unknown),
            (429, "", Meaning::Unknown),
            (500, "InternalError", Meaning::Unknown),
            (503, "ServerBusy", Meaning::Unknown),
            (302, "", Meaning::Unknown),
        ] {
            assert_eq!(meaning(status, code), expected, "{status} {code}");
        }
    }
}
