//! ARM ids of Azure Machine Learning workspaces.

/// Whether a text is the ARM id of a workspace.
pub fn is_workspace_id(id: &str) -> bool {
    let parts: Vec<_> = id.trim_start_matches('/').split('/').collect();
    parts.len() == 8
        && parts.iter().all(|part| !part.is_empty())
        && parts[0].eq_ignore_ascii_case("subscriptions")
        && parts[2].eq_ignore_ascii_case("resourceGroups")
        && parts[4].eq_ignore_ascii_case("providers")
        && parts[5].eq_ignore_ascii_case("Microsoft.MachineLearningServices")
        && parts[6].eq_ignore_ascii_case("workspaces")
}

/// The workspace's ARM id inside a job's ARM id.
pub fn workspace_of(job_id: &str) -> Option<&str> {
    let at = job_id.to_ascii_lowercase().find("/workspaces/")? + "/workspaces/".len();
    let name = job_id[at..].split('/').next().filter(|name| !name.is_empty())?;
    Some(&job_id[..at + name.len()])
}
