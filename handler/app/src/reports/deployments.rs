//! The deployments of one endpoint side by side: how many of their scorings ended in failure.

use std::collections::BTreeMap;

use lifecycle::Status;
use serde::Serialize;

use crate::ledger::EndCounts;

/// How the scorings of one deployment ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentView {
    /// The batch endpoint's invoke URI.
    pub endpoint: String,
    /// The deployment; `None`: whichever was the endpoint's default.
    pub deployment: Option<String>,
    /// Scorings that ended with an output.
    pub scored: usize,
    /// Scorings that ended as `failed`, by whosever fault.
    pub failed: usize,
    /// Which part of all these failed, from 0 to 1 in thousandths.
    pub failure_ratio: f64,
}

impl DeploymentView {
    /// One line for people: `2 of 90 failed (2.2 %)`.
    pub fn summary(&self) -> String {
        let ended = self.scored + self.failed;
        format!("{} of {ended} failed ({:.1} %)", self.failed, self.failure_ratio * 100.0)
    }
}

fn ratio(scored: usize, failed: usize) -> f64 {
    let ended = scored + failed;
    let thousandths = (failed * 1_000 + ended / 2).checked_div(ended).unwrap_or(0);
    f64::from(u16::try_from(thousandths).unwrap_or(u16::MAX)) / 1_000.0 // at most 1,000
}

/// Deployments of endpoints that have more than one, by what has ended.
pub(super) fn deployments(ended: &EndCounts) -> Vec<DeploymentView> {
    let mut by_endpoint: BTreeMap<&str, BTreeMap<Option<&str>, (usize, usize)>> = BTreeMap::new();
    for end in ended.ends() {
        let Some(endpoint) = end.endpoint.as_deref() else { continue };
        let (scored, failed) = match end.status {
            Status::Scored => (end.count, 0),
            Status::Failed => (0, end.count),
            _ => continue,
        };
        let counts = by_endpoint.entry(endpoint).or_default().entry(end.deployment.as_deref()).or_default();
        *counts = (counts.0 + scored, counts.1 + failed);
    }
    let several = by_endpoint.into_iter().filter(|(_, deployments)| deployments.len() > 1);
    let views = several.flat_map(|(endpoint, deployments)| {
        deployments.into_iter().map(move |(deployment, (scored, failed))| DeploymentView {
            endpoint: endpoint.to_owned(),
            deployment: deployment.map(str::to_owned),
            scored,
            failed,
            failure_ratio: ratio(scored, failed),
        })
    });
    views.collect()
}
