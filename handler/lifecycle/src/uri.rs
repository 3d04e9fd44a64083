//! What is asked of URLs in more than one place.

use url::Url;

/// A URL cut before its query, where SAS signatures and keys live.
pub fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// Whether a parser of URLs would leave this host as it is: lower-case letters, digits, `-` and `.`, and no label in Punycode, which it
/// would check. An IPv4 address in one of its other spellings is like this too.
pub(crate) fn is_plain_host(host: &str) -> bool {
    host.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')) && !host.contains("xn--")
}

/// Whether what is sent to a URL travels encrypted or stays on this machine: only there a token or a secret may go.
pub fn may_carry_secrets(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

/// Whether a URL names this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
