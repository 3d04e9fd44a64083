//! An examination under way: what all checks share.

use std::collections::BTreeSet;

use app::ports::management::{Audience, QueryError};
use lifecycle::{IdentityName, Rule};

use crate::access::Subject;
use crate::cloud::CloudQueries;
use crate::finding::{Check, Finding};
use crate::installation::Installation;
use crate::unseen::NotLookedAt;

/// What all checks of one examination share: the installation, the questions to Azure and who asks them.
pub(super) struct Examination {
    pub(super) at: Installation,
    /// As whom it looks, if not as the app itself.
    pub(super) identity: Option<IdentityName>,
    pub(super) queries: CloudQueries,
    pub(super) subject: Subject,
    pub(super) nonce: String,
    /// For what there is no token.
    pub(super) no_token: BTreeSet<Audience>,
    /// Why nothing of Resource Manager can be seen.
    pub(super) no_management: Option<NotLookedAt>,
}

impl Examination {
    /// Why nothing can be asked for with this audience; also if the service as such does not answer.
    pub(super) fn no_token_reason(&self, audience: Audience) -> Option<NotLookedAt> {
        match audience {
            Audience::ResourceManager => self.no_management.clone(),
            Audience::Storage | Audience::MachineLearning => {
                self.no_token.contains(&audience).then_some(NotLookedAt::WithoutToken(audience))
            }
        }
    }

    /// Something at Resource Manager could not be seen: what, and which right it takes.
    pub(super) fn not_visible(check: Check, error: &QueryError, right: &str) -> Finding {
        match error {
            QueryError::Forbidden { text, .. } => Finding::unknown(check, text, format!("whoever looks needs {right}")),
            QueryError::Missing(text) => Finding::unknown(check, text, "a Resource Manager that knows it"),
            other => Finding::unknown(check, other.to_string(), "run it again"),
        }
    }

    /// Rules whose endpoint, and what is behind it, is asked as whoever looks here.
    pub(super) fn asking(&self) -> impl Iterator<Item = &Rule> {
        self.at.rules.iter().filter(|rule| rule.endpoint.identity == self.identity)
    }

    /// Rules by something that several of them may share, in the order of the rules.
    pub(super) fn grouped<'r, K: PartialEq>(
        rules: impl Iterator<Item = &'r Rule>,
        key: impl Fn(&Rule) -> Option<K>,
    ) -> Vec<(K, Vec<&'r Rule>)> {
        let mut groups: Vec<(K, Vec<&Rule>)> = Vec::new();
        for rule in rules {
            let Some(key) = key(rule) else { continue };
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, rules)) => rules.push(rule),
                None => groups.push((key, vec![rule])),
            }
        }
        groups
    }
}
