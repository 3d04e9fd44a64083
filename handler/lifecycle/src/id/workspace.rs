//! The ARM id of a workspace, and ids of what lies within one.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use super::name::text;

/// The ARM id of an Azure Machine Learning workspace:
/// `/subscriptions/S/resourceGroups/G/providers/Microsoft.MachineLearningServices/workspaces/W`.
///
/// ARM ids are compared without regard to case, and so are these; the spelling that was given is kept, as people know the
/// workspace by it.
#[derive(Clone)]
pub struct WorkspaceId {
    text: Arc<str>,
    subscription: Range<usize>,
    group: Range<usize>,
    name: Range<usize>,
}

/// The longest id that is read, in bytes, with whatever lies within the workspace.
const MAX_LENGTH: usize = 2_048;

/// A text that is not the ARM id of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is an invalid workspace id; expected /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.MachineLearningServices/workspaces/NAME"
)]
pub struct InvalidWorkspaceId(pub String);

impl WorkspaceId {
    /// The id of the workspace of this name; `None` if a part is empty or holds a slash.
    pub fn new(subscription: &str, resource_group: &str, name: &str) -> Option<Self> {
        let id = format!(
            "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.MachineLearningServices/workspaces/{name}"
        );
        id.parse().ok()
    }

    /// The id as it was given, with its first slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The subscription's id, a GUID.
    pub fn subscription(&self) -> &str {
        &self.text[self.subscription.clone()]
    }

    /// The name of the resource group that it lies in.
    pub fn resource_group(&self) -> &str {
        &self.text[self.group.clone()]
    }

    /// The workspace's own name, the last segment.
    pub fn name(&self) -> &str {
        &self.text[self.name.clone()]
    }

    /// The workspace that a resource lies in, by the resource's ARM id (`…/workspaces/W/batchEndpoints/E/jobs/J`), or the
    /// workspace itself.
    pub fn of_resource(id: &str) -> Option<Self> {
        let (workspace, _) = Self::split(id)?;
        Some(workspace)
    }

    /// The id at the beginning of a text, and what follows it.
    fn split(text: &str) -> Option<(Self, &str)> {
        // The words between the values, and where the values lie.
        const WORDS: [(usize, &str); 5] = [
            (0, "subscriptions"),
            (2, "resourceGroups"),
            (4, "providers"),
            (5, "Microsoft.MachineLearningServices"),
            (6, "workspaces"),
        ];
        let text = text.strip_prefix('/').unwrap_or(text);
        // No id of Azure's is as long, and rows have their limits.
        if text.len() > MAX_LENGTH {
            return None;
        }
        let mut at = 0;
        let mut parts: [Range<usize>; 8] = std::array::from_fn(|_| 0..0);
        for (index, part) in parts.iter_mut().enumerate() {
            let rest = text.get(at..)?;
            let length = rest.find('/').unwrap_or(rest.len());
            if length == 0 {
                return None;
            }
            // One further on in the id, which begins with a slash.
            *part = at + 1..at + 1 + length;
            if WORDS.iter().any(|(of, word)| *of == index && !rest[..length].eq_ignore_ascii_case(word)) {
                return None;
            }
            at += length + 1;
        }
        let (id, rest) = text.split_at(at - 1);
        let [_, subscription, _, group, _, _, _, name] = parts;
        Some((Self { text: format!("/{id}").into(), subscription, group, name }, rest))
    }
}

text!(WorkspaceId);

impl FromStr for WorkspaceId {
    type Err = InvalidWorkspaceId;

    fn from_str(text: &str) -> Result<Self, InvalidWorkspaceId> {
        match Self::split(text) {
            Some((id, "")) => Ok(id),
            _ => Err(InvalidWorkspaceId(text.to_owned())),
        }
    }
}

impl PartialEq for WorkspaceId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text || self.text.eq_ignore_ascii_case(&other.text)
    }
}

impl Eq for WorkspaceId {}

impl Hash for WorkspaceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.bytes().for_each(|byte| state.write_u8(byte.to_ascii_lowercase()));
    }
}

/// The workspace's ARM id inside a job's ARM id.
#[doc(hidden)]
pub fn workspace_of(job_id: &str) -> Option<&str> {
    let at = job_id.to_ascii_lowercase().find("/workspaces/")? + "/workspaces/".len();
    let name = job_id[at..].split('/').next().filter(|name| !name.is_empty())?;
    Some(&job_id[..at + name.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w";

    #[test]
    fn an_id_is_taken_apart_and_compared_without_case() {
        let id: WorkspaceId = ID.parse().expect("an id");
        assert_eq!((id.subscription(), id.resource_group(), id.name(), id.as_str()), ("s", "g", "w", ID));
        let other: WorkspaceId = ID.to_uppercase().parse().expect("an id");
        assert_eq!(id, other);
        assert_eq!(std::collections::HashSet::from([id.clone(), other]).len(), 1);
        assert_eq!(ID[1..].parse::<WorkspaceId>().expect("an id").as_str(), ID, "its first slash may be missing");
        assert_ne!(id, format!("{ID}2").parse().expect("an id"));
    }

    #[test]
    fn a_resource_lies_in_its_workspace_and_other_ids_in_none() {
        for inside in [format!("{ID}/batchEndpoints/e/jobs/j"), format!("{ID}/"), ID.to_owned()] {
            assert_eq!(WorkspaceId::of_resource(&inside).as_deref(), Some(ID), "{inside}");
        }
        for other in ["", "/", "/subscriptions/s", "/x/workspaces/", &ID.replace("/w", ""), &ID.replace("/g/", "//")] {
            assert_eq!(WorkspaceId::of_resource(other), None, "{other}");
        }
        assert_eq!(format!("{ID}/jobs").parse::<WorkspaceId>(), Err(InvalidWorkspaceId(format!("{ID}/jobs"))));
    }
}
