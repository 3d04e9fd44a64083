//! What a request to Resource Manager is about: its path, taken apart.

use axum::http::Method;
use serde_json::Value;

pub(super) const AUTHORIZATION: &str = "microsoft.authorization";
pub(super) const EVENT_GRID: &str = "microsoft.eventgrid";
pub(super) const MACHINE_LEARNING: &str = "microsoft.machinelearningservices";
pub(super) const STORAGE: &str = "microsoft.storage";
pub(super) const WEB: &str = "microsoft.web";

/// Stable versions by provider. A wrong one is the commonest mistake of a client that talks to several providers. That of
/// Machine Learning is not listed: its clients use many.
const VERSIONS: [(&str, &[&str]); 4] = [
    (AUTHORIZATION, &["2015-07-01", "2022-04-01"]),
    (EVENT_GRID, &["2022-06-15", "2025-02-15"]),
    (STORAGE, &["2023-05-01", "2024-01-01", "2025-01-01", "2025-06-01", "2025-08-01", "2026-04-01"]),
    (WEB, &["2023-12-01", "2024-11-01", "2025-03-01", "2025-05-01"]),
];

/// `/subscriptions/{s}[/resourceGroups/{g}][/providers/…]/providers/{provider}/{kind}/{name}/{kind}…`, split at its last
/// `providers`. All but names is in any case.
pub(super) struct ResourcePath<'a> {
    pub(super) subscription: &'a str,
    pub(super) group: Option<&'a str>,
    scope: &'a [&'a str],
    pub(super) provider: &'a str,
    /// Kinds and names by turns.
    pub(super) path: &'a [&'a str],
}

impl<'a> ResourcePath<'a> {
    /// Reads what follows `/subscriptions/`; `None` if it names no resource of a provider.
    pub(super) fn read(segments: &'a [&'a str]) -> Option<Self> {
        let is = |at: usize, word: &str| segments.get(at).is_some_and(|it| it.eq_ignore_ascii_case(word));
        let split = (1..segments.len()).rev().find(|at| is(*at, "providers"))?;
        let group = if is(1, "resourceGroups") { segments.get(2).copied() } else { None };
        let [provider, path @ ..] = &segments[split + 1..] else { return None };
        if path.is_empty() {
            return None;
        }
        Some(Self { subscription: segments[0], group, scope: &segments[..split], provider, path })
    }

    /// ARM id of what is asked for, or of where its list is.
    pub(super) fn id(&self) -> String {
        format!("{}/providers/{}/{}", self.scope(), self.provider, self.path.join("/"))
    }

    /// ARM id of what the last provider's resources belong to.
    pub(super) fn scope(&self) -> String {
        format!("/subscriptions/{}", self.scope.join("/"))
    }

    /// The resource that the last provider's resources extend; `None` where that is a subscription or a group.
    pub(super) fn extended(&self) -> Option<ResourcePath<'a>> {
        Self::read(self.scope)
    }

    /// It is the list of all resources of a kind in a subscription or group: what the caller may not read is left out of
    /// it, and the list as such is refused to nobody.
    pub(super) fn is_inventory(&self) -> bool {
        let is_resource = !self.provider.eq_ignore_ascii_case(AUTHORIZATION);
        self.path.len() == 1 && is_resource && self.extended().is_none()
    }

    /// Names of kinds, the last provider's.
    pub(super) fn kinds(&self) -> String {
        self.path.iter().step_by(2).copied().collect::<Vec<_>>().join("/")
    }

    /// What a caller must be allowed to do.
    pub(super) fn action(&self, method: &Method) -> String {
        let verb = match method.as_str() {
            "GET" | "HEAD" => "read",
            "POST" => "action",
            "DELETE" => "delete",
            _ => "write",
        };
        format!("{}/{}/{verb}", self.provider, self.kinds())
    }

    /// The provider is known in this version.
    pub(super) fn has_version(&self, version: &str) -> bool {
        let known = VERSIONS.iter().find(|(provider, _)| self.provider.eq_ignore_ascii_case(provider));
        known.is_none_or(|(_, versions)| versions.contains(&version))
    }
}

/// What is found at a path.
pub(super) enum ResourceMatch {
    /// The document of one resource.
    One(Value),
    /// The documents of a list, all of one kind.
    Many(Vec<Value>),
}
