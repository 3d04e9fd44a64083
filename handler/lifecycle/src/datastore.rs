//! Paths on a workspace's datastores, in the three spellings that Azure ML takes and gives.
//!
//! `azureml://datastores/D/paths/P`, the long `azureml://subscriptions/S/resourcegroups/G/workspaces/W/datastores/D/paths/P`
//! and the ARM id `/subscriptions/S/resourceGroups/G/providers/Microsoft.MachineLearningServices/workspaces/W/datastores/D/paths/P`.
//! All three name the same place, so they are compared by their parts and never as text.

use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::id::WorkspaceId;
use crate::uri::without_query;

/// A place on a datastore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatastorePath {
    /// ARM id of the workspace, if the URI names it.
    pub workspace: Option<WorkspaceId>,
    /// Name of the datastore in its workspace; compared without case.
    pub datastore: String,
    /// Path in the datastore's container, as it was given.
    pub path: String,
}

/// A URI that names no path on a datastore.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is an invalid datastore path; expected azureml://datastores/NAME/paths/PATH")]
pub struct InvalidDatastorePath(pub String);

/// Reads any of the three spellings.
impl FromStr for DatastorePath {
    type Err = InvalidDatastorePath;

    fn from_str(uri: &str) -> Result<Self, InvalidDatastorePath> {
        Self::read(uri).ok_or_else(|| InvalidDatastorePath(without_query(uri).to_owned()))
    }
}

impl DatastorePath {
    /// As [`FromStr`], without a reason.
    #[doc(hidden)]
    pub fn read(uri: &str) -> Option<Self> {
        let rest = match uri.get(.."azureml:".len()) {
            Some(scheme) if scheme.eq_ignore_ascii_case("azureml:") => &uri["azureml:".len()..],
            _ if uri.starts_with('/') => uri,
            _ => return None,
        };
        let mut segments = rest.trim_start_matches('/').split('/');
        let (mut subscription, mut group, mut workspace) = (None, None, None);
        let datastore = loop {
            let (name, value) = (segments.next()?, segments.next()?);
            match name.to_ascii_lowercase().as_str() {
                "subscriptions" => subscription = Some(value),
                "resourcegroups" => group = Some(value),
                "workspaces" => workspace = Some(value),
                "providers" => {}
                "datastores" => break value,
                _ => return None,
            }
        };
        if !segments.next()?.eq_ignore_ascii_case("paths") {
            return None;
        }
        let path = segments.collect::<Vec<_>>().join("/");
        if datastore.is_empty() || path.trim_matches('/').is_empty() {
            return None;
        }
        let workspace = match (subscription, group, workspace) {
            (Some(subscription), Some(group), Some(workspace)) => {
                Some(WorkspaceId::new(subscription, group, workspace)?)
            }
            _ => None,
        };
        Some(Self { workspace, datastore: datastore.to_owned(), path })
    }

    fn is(&self, other: &Self) -> bool {
        self.is_on_datastore_of(other) && same_path(&self.path, &other.path)
    }

    fn is_on_datastore_of(&self, other: &Self) -> bool {
        let elsewhere = match (&self.workspace, &other.workspace) {
            (Some(one), Some(other)) => one != other,
            _ => false,
        };
        !elsewhere && self.datastore.eq_ignore_ascii_case(&other.datastore)
    }
}

/// Whether a URI names the place of another one or one below it, both on a datastore.
pub fn lies_within(inner: &str, outer: &str) -> bool {
    let (Some(inner), Some(outer)) = (DatastorePath::read(inner), DatastorePath::read(outer)) else { return false };
    let depth = outer.path.trim_matches('/').split('/').count();
    let above: Vec<&str> = inner.path.trim_matches('/').split('/').take(depth).collect();
    inner.is_on_datastore_of(&outer) && same_path(&above.join("/"), &outer.path)
}

/// Whether two URIs name the same place.
pub fn same_place(one: &str, other: &str) -> bool {
    match (DatastorePath::read(one), DatastorePath::read(other)) {
        (Some(one), Some(other)) => one.is(&other),
        (None, None) => same_path(one, other),
        _ => false,
    }
}

/// Whether the service percent-encodes what it echoes is not documented, and a path may look encoded and not be: either
/// may be the other one's encoding.
fn same_path(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim_matches('/'), other.trim_matches('/'));
    let decoded = |path| percent_decode_str(path).decode_utf8_lossy();
    one == other || decoded(one) == other || one == decoded(other) || decoded(one) == decoded(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: &str = "azureml://datastores/workspaceblobstore/paths/s/a b/1/p.csv";
    const LONG: &str = "azureml://subscriptions/s1/resourcegroups/g1/workspaces/w1/datastores/WorkspaceBlobStore/paths/s/a%20b/1/p.csv";
    const ARM: &str = "/subscriptions/s1/resourceGroups/g1/providers/Microsoft.MachineLearningServices/workspaces/w1/datastores/workspaceblobstore/paths/s/a b/1/p.csv";

    #[test]
    fn three_spellings_name_one_place() {
        for one in [SHORT, LONG, ARM] {
            for other in [SHORT, LONG, ARM] {
                assert!(same_place(one, other), "{one} and {other}");
            }
        }
        let read = DatastorePath::read(LONG).expect("a path");
        assert_eq!(
            read.workspace.as_deref(),
            Some("/subscriptions/s1/resourceGroups/g1/providers/Microsoft.MachineLearningServices/workspaces/w1")
        );
    }

    #[test]
    fn a_path_that_looks_encoded_is_the_same_place_as_its_encoding() {
        let at = |path: &str| format!("azureml://datastores/d/paths/{path}");
        let raw = at("x/ä b#c+d%41.csv");
        assert!(same_place(&raw, &at("x/%C3%A4%20b%23c+d%2541.csv")) && same_place(&raw, &raw));
        assert!(!same_place(&raw, &at("x/ä b#c d%41.csv")));
    }

    #[test]
    fn other_places_are_other_places() {
        for other in [
            &SHORT.replace("/1/", "/2/"),
            &SHORT.replace("workspaceblobstore", "other"),
            &ARM.replace("w1", "w2"),
            "https://a.blob.core.windows.net/c/s/a b/1/p.csv",
            "",
        ] {
            assert!(!same_place(LONG, other), "{other}");
        }
    }

    #[test]
    fn a_place_lies_within_itself_and_what_is_above_it_and_in_nothing_beside_it() {
        let at = |path: &str| format!("azureml://datastores/d/paths/{path}");
        for (inner, outer, within) in [
            ("a/b", "a", true),
            ("a/b", "a/b/", true),
            ("a/b%20c/d", "a/b c", true),
            ("a", "a/b", false),
            ("a/bc", "a/b", false),
        ] {
            assert_eq!(lies_within(&at(inner), &at(outer)), within, "{inner} in {outer}");
        }
        assert!(!lies_within(&at("a/b"), "azureml://datastores/e/paths/a"));
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for bad in [
            "",
            "/",
            "azureml:",
            "azureml://datastores",
            "azureml://datastores/d",
            "azureml://datastores/d/paths",
            "azureml://datastores/d/paths/",
            "azureml://datastores//paths/p",
            "azureml://datastores/d/p/q",
            "datastores/d/paths/p",
            "https://a.blob.core.windows.net/c/datastores/d/paths/p",
            "ä",
        ] {
            assert_eq!(bad.parse::<DatastorePath>(), Err(InvalidDatastorePath(bad.to_owned())));
        }
    }
}
