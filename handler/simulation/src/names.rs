//! Names of uploads that a URL can be misread as another one, and the spellings in which events tell of them and of their account.
//!
//! `subject` has the name as it is. The URL has it as the writer's client wrote it: encoded, encoded more than it need be, or raw, so
//! that its reader may take a part of the name for a query, a fragment or an escape.

use lifecycle::Scoring;
use std::collections::BTreeSet;

use crate::account;
use crate::executor::Rng;
use crate::invariants::Invariants;

/// A name that holds what URLs give a meaning to.
pub(super) fn draw(stream: &mut Rng, n: usize) -> String {
    let form = stream.pick(&[
        "report#N.csv",
        "what?N.csv",
        "N%20x.csv",
        "N%%3A.csv",
        "ä N+ü.csv",
        "back\\slash N.csv",
        "N%2Fx.csv",
        "N;v=1&w.csv",
    ]);
    form.replace('N', &n.to_string())
}

/// The hosts that the account which is watched has in events: as tools and networks of all kinds spell them.
const HOSTS: [&str; 6] = [
    "https://uploads.blob.core.windows.net",
    "https://uploads.dfs.core.windows.net",
    "https://uploads.privatelink.blob.core.windows.net",
    "https://UPLOADS.Blob.core.windows.net.",
    "https://uploads.privatelink.dfs.core.windows.net:443",
    "http://uploads.blob.core.windows.net",
];

/// The URLs in which events tell of such a name, raw and encoded, with two of the account's hosts: all of them are one blob version.
pub(super) fn urls(container: &str, path: &str) -> [String; 2] {
    let drawn: usize = path.bytes().map(usize::from).sum();
    let host = |n: usize| HOSTS[(drawn + n) % HOSTS.len()];
    [format!("{}/{container}/{path}", host(0)), format!("{}/{container}/{}", host(1), account::encoded(path))]
}

/// Each scoring is of a blob that there is: no name was read as another one.
pub(super) fn check(invariants: &mut Invariants, urls: &BTreeSet<String>) {
    let is_upload = |scoring: &&Scoring| !scoring.is_group();
    let found = invariants.scorings().filter(is_upload).find(|scoring| !urls.contains(&scoring.blob.url));
    if let Some((id, url)) = found.map(|scoring| (scoring.id.clone(), scoring.blob.url.clone())) {
        invariants.broken("names", Some(&id), format!("{url} was taken in, and nobody uploaded such a blob"));
    }
}
