//! The account that is watched: its containers, and how a URL names a blob in them.

/// Containers that rules watch; most uploads go to the first.
pub(super) const CONTAINERS: [&str; 2] = ["claims", "photos"];
const HOST: &str = "https://uploads.blob.core.windows.net";

/// URL of the blob at this path, which is encoded.
pub(super) fn url(container: &str, path: &str) -> String {
    format!("{HOST}/{container}/{}", encoded(path))
}

/// A path of a URL, with every byte encoded that could be taken for something else.
pub(super) fn encoded(path: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
