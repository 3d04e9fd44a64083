//! The limits that a scoring is under: those of the rules, unless an operator has set others.

use lifecycle::Rules;
use lifecycle::id::{EndpointUri, RuleId};

use crate::ledger::{Cap, Controls, LimitScope};

/// The limits of this rule and of this endpoint, `None` where there is none.
pub(crate) fn limits(
    rules: &Rules,
    controls: &Controls,
    rule: &RuleId,
    endpoint: &EndpointUri,
) -> [(LimitScope, Option<Cap>); 2] {
    let of_rule = rules.get(rule).and_then(|rule| rule.max_in_flight);
    let of_endpoint = rules.endpoint(endpoint).and_then(|settings| settings.max_in_flight);
    [(LimitScope::rule(rule), of_rule), (LimitScope::Endpoint(endpoint.key().clone()), of_endpoint)].map(
        |(scope, limit)| {
            let cap = match controls.limits.get(&scope) {
                // Nobody knows for how long each process still goes by the limit before: look before each claim.
                Some(live) => Some(Cap { limit: live.limit, surplus: true }),
                None => limit.map(|limit| {
                    let surplus = controls.scopes.get(&scope).is_some_and(|scope_status| scope_status.surplus);
                    Cap { limit, surplus }
                }),
            };
            (scope, cap)
        },
    )
}

/// Of these the ones that are limited: whoever is in flight holds a slot of each.
pub(crate) fn limited(
    rules: &Rules,
    controls: &Controls,
    rule: &RuleId,
    endpoint: &EndpointUri,
) -> impl Iterator<Item = (LimitScope, Cap)> + use<> {
    limits(rules, controls, rule, endpoint).into_iter().filter_map(|(scope, cap)| cap.map(|cap| (scope, cap)))
}
