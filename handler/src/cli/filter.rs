//! What is asked of scorings beside status, rule, prefix and since: the same of a list, an export and an order.

use std::io::{self, Write};

use app::reports::{Filter, IdBeginning, Newest};
use lifecycle::FailureCause;
use lifecycle::id::EndpointUri;
use time::OffsetDateTime;

use super::since::Since;

/// What else is asked of scorings.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FurtherFilter {
    /// Only scorings that were accepted before then, so that are older: `2h` before now, or a time
    #[arg(long, value_name = "TIME", value_parser = Since::read)]
    pub before: Option<Since>,
    /// Only scorings that go to the endpoint of this invoke URI
    #[arg(long, value_name = "URI")]
    pub endpoint: Option<EndpointUri>,
    /// Only scorings for which this deployment was asked
    #[arg(long, value_name = "NAME")]
    pub deployment: Option<String>,
    /// Only scorings at this attempt, 0 before the first
    #[arg(long, value_name = "N")]
    pub attempt: Option<u32>,
    /// Only scorings that failed for this cause: `input`, `access`, `request`, `userCode`, `platform` or `unknown`; without --status
    /// those that are failed now
    #[arg(long, value_name = "CAUSE")]
    pub cause: Option<FailureCause>,
    /// Only scorings that the group of this id, or of an unambiguous beginning of one, was made of, whatever became of them
    #[arg(long, value_name = "ID")]
    pub group: Option<IdBeginning>,
}

impl FurtherFilter {
    /// A filter that asks this and nothing else.
    pub(super) fn filter(&self, now: OffsetDateTime, limit: usize) -> Filter {
        Filter {
            before: self.before.map(|before| before.before(now)),
            endpoint: self.endpoint.clone(),
            deployment: self.deployment.clone(),
            attempt: self.attempt,
            cause: self.cause,
            group: self.group.clone(),
            limit,
            ..Filter::default()
        }
    }

    /// Says so where several groups begin as is asked, of none of which the members are meant then.
    pub(super) fn is_ambiguous(&self, found: &Newest, out: &mut dyn Write) -> io::Result<bool> {
        let (Some(group), [_, ..]) = (&self.group, &found.several_groups[..]) else { return Ok(false) };
        writeln!(out, "{} groups match `{}`; name one of them:", found.several_groups.len(), group.as_str())?;
        for view in &found.several_groups {
            writeln!(out, "  {}  {:10}  {}", view.id, view.status, view.name())?;
        }
        Ok(true)
    }
}
