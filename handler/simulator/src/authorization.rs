//! Microsoft.Authorization: what the caller may do at a scope, to whom roles are assigned, what a role holds.
//!
//! Source: REST reference of Authorization, 2022-04-01: Permissions - List For Resource, Role Assignments - List For Scope,
//! Role Definitions - Get.

use serde_json::{Value, json};

use crate::access;
use crate::roles::{ROLES, is_within};
use crate::shared::Shared;

/// The caller's permissions at a scope.
pub(super) fn permissions(shared: &Shared, scope: &str) -> Vec<Value> {
    access::permissions(shared, scope)
}

/// Assignments at, above and below a scope, as far as the filter lets them through. `None` if the filter is not one of
/// those documented.
pub(super) fn assignments(shared: &Shared, scope: &str, filter: Option<&str>) -> Option<Vec<Value>> {
    let conditions = filter.map(|text| text.split(" and ").map(Condition::read).collect::<Option<Vec<_>>>());
    let conditions = match conditions {
        None => Vec::new(),
        Some(conditions) => conditions?,
    };
    let all = access::assignments(shared).into_iter().filter(|it| {
        let above = is_within(scope, &it.scope);
        let holds = |condition: &Condition| match condition {
            Condition::AtScope => above,
            Condition::Principal(id) => it.is_of(id),
            Condition::AssignedTo(id) => above && it.is_of(id),
        };
        (above || is_within(&it.scope, scope)) && conditions.iter().all(holds)
    });
    Some(all.map(|it| it.document(shared)).collect())
}

/// A role by its GUID.
pub(super) fn definition(shared: &Shared, id: &str) -> Option<Value> {
    ROLES
        .iter()
        .find(|role| role.id.eq_ignore_ascii_case(id))
        .map(|role| role.document(&shared.options.workspace.subscription))
}

/// The forms of `$filter` that a list of role assignments takes.
enum Condition<'a> {
    /// At the scope and above it, not below.
    AtScope,
    /// Assignments to this object id of a principal.
    Principal(&'a str),
    /// Of this principal and of its groups, of which there are none here; not below the scope.
    AssignedTo(&'a str),
}

impl<'a> Condition<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let quoted = |text: &'a str| text.strip_prefix('\'')?.strip_suffix('\'');
        if text.eq_ignore_ascii_case("atScope()") {
            return Some(Self::AtScope);
        }
        if let Some(id) = text.strip_prefix("assignedTo(").and_then(|rest| rest.strip_suffix(')')) {
            return quoted(id).map(Self::AssignedTo);
        }
        let id = text.strip_prefix("principalId eq ")?;
        // The reference writes it without quotes, Microsoft's clients with them.
        Some(Self::Principal(quoted(id).unwrap_or(id)))
    }
}

/// What is answered to a filter of another form.
pub(super) fn bad_filter(filter: &str) -> Value {
    let message =
        format!("The filter '{filter}' is not supported: atScope(), assignedTo('id') or principalId eq 'id'.");
    json!({ "error": { "code": "UnsupportedQuery", "message": message } })
}
