//! Whether, and how often, a rule's place is swept for versions that no event told of.

use time::Duration;

use super::document::{Members, Node, Refused};
use super::names::duration;
use crate::duration::IsoDuration;

/// Sweeps of a rule's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "camelCase", default))]
pub struct SweepSchedule {
    /// From the beginning of one sweep of the rule's place to that of the next, or `off`: what is listed there and has no scoring
    /// is taken in, though no event told of it. Default one hour.
    #[cfg_attr(feature = "schema", schemars(rename = "sweep", with = "Option<SweepEvery>"))]
    pub every: SweepEvery,
    /// A sweep leaves alone what was written a shorter time ago: its event may still come. Default 10 min.
    #[cfg_attr(feature = "schema", schemars(rename = "sweepAfter", transform = super::forms::some_time))]
    pub after: IsoDuration,
}

/// How often a place is swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepEvery {
    /// A sweep begins this long after the last one began.
    Every(IsoDuration),
    /// The place is never swept (`off`): what no event told of then takes a backfill.
    Off,
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SweepEvery {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SweepEvery".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let pattern = "^(off|P(?=[0-9.T])([0-9.]+D)?(T(?=[0-9.])([0-9.]+H)?([0-9.]+M)?([0-9.]+S)?)?)$";
        schemars::json_schema!({ "type": "string", "pattern": pattern })
    }
}

impl Default for SweepSchedule {
    fn default() -> Self {
        Self { every: SweepEvery::Every(IsoDuration(Duration::HOUR)), after: IsoDuration(Duration::minutes(10)) }
    }
}

impl SweepSchedule {
    /// From one sweep to the next; `None`: there are none.
    pub fn every(&self) -> Option<Duration> {
        match self.every {
            SweepEvery::Every(every) => Some(every.0),
            SweepEvery::Off => None,
        }
    }

    pub(super) fn read(members: &mut Members<'_>) -> Self {
        let default = Self::default();
        let every = members.node("sweep").and_then(|node| read_every(&node)).unwrap_or(default.every);
        let after = members.node("sweepAfter");
        let after = after.and_then(|node| duration(&node, Duration::minutes(1)..=Duration::DAY));
        Self { every, after: after.unwrap_or(default.after) }
    }
}

fn read_every(node: &Node<'_>) -> Option<SweepEvery> {
    match node.text() {
        Some("off") => Some(SweepEvery::Off),
        // Each sweep lists the place from its beginning: more often than this it would only cost.
        Some(text) if text.starts_with('P') => {
            duration(node, Duration::minutes(5)..=Duration::days(7)).map(SweepEvery::Every)
        }
        _ => node.refused(Refused::new("an ISO 8601 duration or \"off\"", "write \"PT1H\" or \"off\"")),
    }
}
