//! The events about the files of the inbox, as Event Grid sends them about the blobs that they stand for.

use std::fs::Metadata;
use std::path::Path;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::place::{Place, blob_name};

/// The event about a file that has another name now, as an account with a hierarchical namespace raises it.
pub(super) fn renamed(place: &Place, from: &Path, to: &Path, metadata: &Metadata) -> Value {
    let (from, to) = (blob_name(from), blob_name(to));
    json!({
        "id": format!("{from}#{to}"),
        "topic": topic(&place.account),
        "subject": format!("/blobServices/default/containers/{}/blobs/{to}", place.container),
        "eventType": "Microsoft.Storage.BlobRenamed",
        "eventTime": changed(metadata),
        "data": { "api": "RenameFile", "sourceUrl": place.url(&from), "destinationUrl": place.url(&to) },
        "dataVersion": "",
        "metadataVersion": "1",
    })
}

fn topic(account: &str) -> String {
    format!(
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.Storage/storageAccounts/{account}"
    )
}

/// When a file last changed, its name and place included. Not when its bytes did: a copy program sets that back to what it was
/// at the source, and an older file that takes a newer one's name is the newer version. The same at each look, so that what is
/// told of again after a restart is the same event.
fn changed(metadata: &Metadata) -> Option<String> {
    #[cfg(unix)]
    let at = {
        use std::os::unix::fs::MetadataExt as _;
        let since = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
        OffsetDateTime::from_unix_timestamp_nanos(since).ok()
    };
    #[cfg(not(unix))]
    let at = metadata.modified().ok().map(OffsetDateTime::from);
    at?.format(&Rfc3339).ok()
}

/// The event about a file that is there.
pub(super) fn event(place: &Place, path: &Path, etag: &str, metadata: &Metadata) -> Value {
    let Place { account, container, .. } = place;
    let path = blob_name(path);
    let id = format!("{path}#{etag}");
    json!({
        "id": id,
        "topic": topic(account),
        "subject": format!("/blobServices/default/containers/{container}/blobs/{path}"),
        "eventType": "Microsoft.Storage.BlobCreated",
        "eventTime": changed(metadata),
        "data": {
            "api": "PutBlob",
            "eTag": etag,
            "contentLength": metadata.len(),
            "contentType": simulator::content_type_of_name(&path),
            "blobType": "BlockBlob",
            "url": place.url(&path),
        },
        "dataVersion": "",
        "metadataVersion": "1",
    })
}

#[cfg(test)]
mod tests {
    use lifecycle::BlobVersion;

    use super::*;

    #[test]
    fn any_name_survives_the_url() {
        for name in ["a b.csv", "100%.csv", "ü#?.csv", "a+b&c.csv", "a\\b.csv", "%5C.csv"] {
            if cfg!(not(unix)) && name.contains('\\') {
                continue;
            }
            let metadata = Path::new(env!("CARGO_MANIFEST_DIR")).metadata().unwrap();
            let event = event(&Place::inbox_at(Path::new("inbox")), Path::new(name), "1", &metadata);
            let blob = BlobVersion::read(event["data"]["url"].as_str().unwrap(), "1").unwrap();
            assert_eq!((blob.account.as_str(), blob.container.as_str(), blob.path.as_str()), ("local", "inbox", name));
        }
    }
}
