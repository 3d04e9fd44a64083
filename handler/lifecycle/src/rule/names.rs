//! Texts of a rule that are parsed into types of their own, each with what to do about one that does not parse.

use time::Duration;

use super::document::{Node, Read, Refused};
use super::exclude::{Glob, InvalidGlob};
use super::template::{self, Template};
use super::upload::{Api, InvalidMarker, InvalidMediaType, MarkerName, MediaType};
use crate::duration::{InvalidDuration, IsoDuration};
use crate::id::{
    AccountName, ContainerName, DatastoreName, DeploymentName, EndpointUri, IdentityName, InvalidEndpointUri, RuleId,
    WorkspaceId,
};

impl Read for RuleId {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.parsed(|_, _| {
            Refused::new("1 to 64 letters, digits, `-` or `_`", "give it such a name; it is part of paths")
        })
    }
}

impl Read for AccountName {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.parsed(|text, _| {
            let remedy = first_label(text).map_or_else(
                || "write the storage account's name alone".to_owned(),
                |account| format!("write the name alone: {account:?}"),
            );
            Refused::new("a storage account's name: 3 to 24 lower-case letters and digits", remedy)
        })
    }
}

/// The account that a pasted URL, a host, an ARM id or a name in capitals most likely names.
fn first_label(text: &str) -> Option<String> {
    let text = text.split_once("/storageAccounts/").map_or(text, |(_, name)| name);
    let host = text.split_once("://").map_or(text, |(_, rest)| rest);
    let label = host.split(['.', '/', ':']).next()?.to_ascii_lowercase();
    label.parse::<AccountName>().is_ok().then_some(label)
}

impl Read for ContainerName {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.parsed(|text, _| {
            let lower = text.trim_matches('/').to_ascii_lowercase();
            let remedy = match (text, lower.split_once('/')) {
                (text, _) if text.contains("://") => {
                    "write the container's name alone; the account is `match.account`".to_owned()
                }
                (_, Some((container, rest))) => {
                    format!("write {container:?}; the folder within it is `match.prefix`: {:?}", format!("{rest}/"))
                }
                ("$logs" | "$blobchangefeed", _) => "storage tells of no uploads there; name another".to_owned(),
                _ if lower.parse::<Self>().is_ok() => format!("write {lower:?}"),
                _ => "write the container's name as the portal shows it".to_owned(),
            };
            Refused::new(
                "a container's name: 3 to 63 lower-case letters, digits and single hyphens, a letter or digit at both ends",
                remedy,
            )
        })
    }
}

impl Read for DeploymentName {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.parsed(|_, _| {
            Refused::new(
                "a deployment's name: a letter or digit, then letters, digits, `-` or `_`, 255 at most",
                "leave it out for the endpoint's default",
            )
        })
    }
}

impl Read for DatastoreName {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.parsed(|_, _| {
            Refused::new(
                "a datastore's name: a letter or digit, then letters, digits, `-` or `_`, 255 at most",
                "write its name alone",
            )
        })
    }
}

impl Read for IdentityName {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.parsed(|_, _| {
            Refused::new(
                "the name of an identity: a lower-case letter, then lower-case letters and digits, 24 at most",
                "write one of those that SCOREKEEPER_IDENTITIES names, or leave it out for the app's own; what the identity is, the settings say",
            )
        })
    }
}

impl Read for WorkspaceId {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.parsed(|_, _| {
            Refused::new(
                "/subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.MachineLearningServices/workspaces/NAME",
                "copy the workspace's resource id, or leave it out",
            )
        })
    }
}

impl Read for EndpointUri {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.parsed(|_, why| {
            let remedy = match why {
                InvalidEndpointUri::NoUrl { source, .. } => {
                    format!("copy the endpoint's REST endpoint (scoringUri); this is not a URL: {source}")
                }
                InvalidEndpointUri::Clear(_) => {
                    "plain http would send a token in the clear; use https (http is for loopback hosts only)".to_owned()
                }
                InvalidEndpointUri::Long(length) => format!("it has {length} characters; 1,024 are the most"),
                InvalidEndpointUri::NoJobs(_) => {
                    "copy the endpoint's REST endpoint (scoringUri), which ends in /jobs".to_owned()
                }
                InvalidEndpointUri::Extra(bare) => format!("leave out query and user name: write {bare:?}"),
                InvalidEndpointUri::Scheme { .. } => "use https".to_owned(),
            };
            Refused::new("https://ENDPOINT.REGION.inference.ml.azure.com/jobs", remedy)
        })
    }
}

impl Read for IsoDuration {
    fn read(node: &Node<'_>) -> Option<Self> {
        let Some(text) = node.text() else {
            let remedy = node.digits().map_or_else(
                || "write for example \"PT2M\"".to_owned(),
                |digits| format!("if seconds are meant, write \"PT{digits}S\""),
            );
            return node.refused(Refused::new("an ISO 8601 duration", remedy));
        };
        match text.parse() {
            Ok(duration) => Some(duration),
            Err(why) => node.refused(match why {
                InvalidDuration::Form(_) => {
                    Refused::new("an ISO 8601 duration", "write for example PT30S, PT2M, PT1H or P1D")
                }
                InvalidDuration::TooLong(_) => Refused::new("a duration below 100 years", "shorten it"),
            }),
        }
    }
}

/// A duration within a range; noted if it is none.
pub(super) fn duration(node: &Node<'_>, range: std::ops::RangeInclusive<Duration>) -> Option<IsoDuration> {
    let duration = IsoDuration::read(node)?;
    if range.contains(&duration.0) {
        return Some(duration);
    }
    let (min, max) = (IsoDuration(*range.start()), IsoDuration(*range.end()));
    let beyond = if duration.0 > *range.end() { max } else { min };
    node.refused(Refused::new(
        format!("{min} to {max}"),
        format!("write \"{beyond}\", or leave it out for the default"),
    ))
}

impl Read for Template {
    fn read(node: &Node<'_>) -> Option<Self> {
        let text = node.text_or_refuse()?;
        match Self::parse(text) {
            Ok(template) => Some(template),
            Err(why) => node.refused(refused_template(&why)),
        }
    }
}

fn refused_template(why: &template::Error) -> Refused {
    let known = template::PLACEHOLDERS.iter().map(|(name, _)| format!("{{{name}}}")).collect::<Vec<_>>().join(", ");
    let remedy = match why {
        template::Error::Unknown(name) => {
            let meant = super::problem::near_miss(name, template::PLACEHOLDERS.iter().map(|(name, _)| *name));
            let remedy = meant.map_or_else(
                || "remove it, or write `{{` and `}}` for the braces themselves".to_owned(),
                |meant| format!("write `{{{meant}}}`"),
            );
            return Refused::new(
                format!("a text with placeholders, and `{{{name}}}` is none"),
                format!("{remedy}; there are {known}"),
            );
        }
        template::Error::TimeFormat(_) => {
            "write for example `{event.time:yyyy/MM/dd}`; yyyy, MM, dd, HH, mm and ss stand for parts of the time, other letters for nothing"
                .to_owned()
        }
        template::Error::Unclosed(_) => "close the brace, or write `{{` for a brace itself".to_owned(),
        template::Error::Unopened(_) => "write `}}` for a brace itself".to_owned(),
    };
    Refused::new("a text with placeholders", remedy)
}

impl Read for MediaType {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.parsed(|_, _: InvalidMediaType| {
            Refused::new(
                "a content type such as `text/csv` or `text/*`",
                "write it so; parameters such as a charset are not compared",
            )
        })
    }
}

impl Read for Api {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.word(&Self::WORDS)
    }
}

impl Read for MarkerName {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.parsed(|_, _: InvalidMarker| {
            Refused::new("the name of a marker, without folders and wildcards", "write for example \"_SUCCESS\"")
        })
    }
}

impl Read for Glob {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.parsed(|_, why: InvalidGlob| {
            Refused::new(
                "a pattern: `*` and `?` stay within a segment, `**` stands for whole segments as in `**/old/*.csv`",
                format!("correct it at character {}: {}", why.source.pos, why.source.msg),
            )
        })
    }
}
