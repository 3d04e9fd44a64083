//! The shadow of a rule: the same blobs, scored once more by another deployment, for comparison.
//!
//! It is a rule like any other, made of the one that names it: its scorings have ids, and so output paths, slots and a history of their own, and
//! nothing of them counts for the other.

use super::definition::{OutputTemplate, Rule, Target};
use crate::id::RuleId;

/// What the id of a shadow ends with, behind that of its rule.
pub(super) const SUFFIX: &str = "-shadow";

impl Rule {
    /// The rule that scores its blobs by the shadow deployment, if it names one. What both want to send at one time goes to this one
    /// first.
    pub(super) fn shadow(&self) -> Option<Self> {
        let deployment = self.endpoint.shadow.clone()?;
        let id: RuleId = format!("{}{SUFFIX}", self.id).parse().ok()?;
        // Where results are published people find those of the rule.
        let unpublished = |(name, output): (&String, &OutputTemplate)| {
            (name.clone(), OutputTemplate { publish: None, ..output.clone() })
        };
        Some(Self {
            id,
            outputs: self.outputs.iter().map(unpublished).collect(),
            shadow_of: Some(self.id.clone()),
            priority: self.priority.saturating_sub(1),
            endpoint: Target { deployment: Some(deployment), deployments: None, shadow: None, ..self.endpoint.clone() },
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::rule::Rules;

    #[test]
    fn a_shadow_is_a_rule_of_its_own_with_another_deployment_and_a_lower_priority() {
        let rules = Rules::read(
            r#"{"rules": [{"id": "claims", "match": {"container": "claims"}, "priority": 3,
                "endpoint": {"uri": "https://e.example/jobs", "deployments": {"v7": 90, "v8": 10}, "shadow": "v9"}}]}"#,
        )
        .expect("good rules");
        let ids: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
        assert_eq!(ids, ["claims", "claims-shadow"]);
        let (rule, shadow) = (rules.get("claims").expect("it"), rules.get("claims-shadow").expect("its shadow"));
        assert_eq!((rule.shadow_of.as_deref(), shadow.shadow_of.as_deref()), (None, Some("claims")));
        assert_eq!((rule.priority, shadow.priority), (3, 2));
        assert_eq!((shadow.endpoint.deployment.as_deref(), &shadow.endpoint.deployments), (Some("v9"), &None));
        assert_eq!((&shadow.matches, &shadow.outputs), (&rule.matches, &rule.outputs));
        assert!(rules.warnings().is_empty(), "no blob is scored twice by mistake: {:?}", rules.warnings());
    }
}
