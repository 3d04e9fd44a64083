//! Which of several deployments a blob goes to: shares of all blobs, for a new version of a model that is to take a few at first.

use std::collections::BTreeMap;
use std::fmt;

use super::document::{Node, Read, Refused};
use crate::digest::digest;
use crate::id::{DeploymentName, RuleId};

/// What the shares of a rule's deployments add up to, in hundredths.
const ALL: u32 = 100;

/// Shares of deployments in hundredths, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split(BTreeMap<DeploymentName, u32>);

impl Split {
    /// The deployment for a blob, by nothing but its URL, the rule and the generation: a redelivered event, another process and
    /// another version of the blob come to the same one. A share that grows keeps what it had, as far as the names before it do.
    pub fn pick(&self, rule: &RuleId, url: &str, generation: u32) -> Option<&DeploymentName> {
        let digest = digest(&["deployment", rule, url, &generation.to_string()]);
        // Eight of its digits always are a number of 32 bits.
        let point = u32::from_str_radix(&digest[..8], 16).unwrap_or_default() % ALL;
        let mut left = point;
        for (name, share) in &self.0 {
            match left.checked_sub(*share) {
                Some(rest) => left = rest,
                None => return Some(name),
            }
        }
        // Never: the shares add up.
        None
    }

    /// Whether a deployment has a share, be it none of a hundred.
    pub(super) fn has(&self, name: &DeploymentName) -> bool {
        self.deployments().any(|one| one == name)
    }

    /// The deployments in order of their names, those with a share of 0 included.
    pub fn deployments(&self) -> impl Iterator<Item = &DeploymentName> {
        self.0.keys()
    }
}

/// `v7 90 %, v8 10 %`
impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, share)) in self.0.iter().enumerate() {
            write!(f, "{}{name} {share} %", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl Read for Split {
    fn read(node: &Node<'_>) -> Option<Self> {
        let members = node.object("shares of deployments by name, such as { \"v7\": 90, \"v8\": 10 }")?;
        let read = members.all(|name, node| {
            let share = node.whole_number(0, i64::from(ALL), "write its share in hundredths")?;
            let name = name.parse::<DeploymentName>().ok().or_else(|| {
                node.refused(Refused::new(
                    "a deployment's name: a letter or digit, then letters, digits, `-` or `_`, 255 at most",
                    "correct it",
                ))
            })?;
            Some((name, u32::try_from(share).ok()?))
        });
        let written = members.len();
        if written < 2 {
            return node.refused(Refused::new(
                "two deployments at least",
                "write `deployment` for a single one, or leave it out for the endpoint's default",
            ));
        }
        let shares: BTreeMap<DeploymentName, u32> = read.into_values().collect();
        let sum: u32 = shares.values().sum();
        if shares.len() == written && sum != ALL {
            return node.refused(Refused::new(format!("shares that add up to {ALL}, not to {sum}"), "correct them"));
        }
        (shares.len() == written).then_some(Self(shares))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(shares: &[(&str, u32)]) -> Split {
        Split(shares.iter().map(|(name, share)| (name.parse().expect("a name"), *share)).collect())
    }

    fn picked(split: &Split, n: u32, generation: u32) -> &str {
        let rule: RuleId = "claims".parse().expect("an id");
        let url = format!("https://uploads.blob.core.windows.net/claims/eu/{n:04}.csv");
        split.pick(&rule, &url, generation).expect("one of them")
    }

    #[test]
    fn a_thousand_uploads_are_split_within_bounds_and_each_keeps_its_deployment() {
        let canary = split(&[("v7", 90), ("v8", 10)]);
        let taken: Vec<&str> = (0..1_000).map(|n| picked(&canary, n, 0)).collect();
        let few = taken.iter().filter(|name| **name == "v8").count();
        // Three standard deviations of 1,000 draws are 28.
        assert!((72..=128).contains(&few), "{few}");
        assert!((0..).zip(&taken).all(|(n, name)| picked(&canary, n, 0) == *name));
        let moved = (0..).zip(&taken).filter(|(n, name)| picked(&canary, *n, 1) != **name).count();
        assert!(moved > 100, "each generation draws anew: {moved}");
        // The share grows, and what it had stays.
        let grown = split(&[("v7", 80), ("v8", 20)]);
        assert!((0..).zip(&taken).all(|(n, name)| *name == "v7" || picked(&grown, n, 0) == "v8"));
        let none = split(&[("v7", 100), ("v8", 0)]);
        assert!((0..1_000).all(|n| picked(&none, n, 0) == "v7"));
    }
}
