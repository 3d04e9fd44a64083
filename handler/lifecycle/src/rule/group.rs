//! How uploads of a rule are put into groups that share one job.

use time::Duration;

use super::document::{Node, Read, Refused};
use super::names::duration;
use super::upload::MarkerName;
use crate::duration::IsoDuration;
use crate::group::MAX_MEMBERS;
use crate::id::ContainerName;

/// Where members are staged if a rule does not say otherwise: this container of the account that they lie in.
const DEFAULT_STAGING: &str = "scorekeeper-staging";
/// What says that a folder is whole, as Spark and Hadoop write it.
const DEFAULT_MARKER: &str = "_SUCCESS";
/// The longest that copies may be kept.
pub(super) const MAX_LIFE: Duration = Duration::days(30);

/// Groups of a rule: several uploads, one job over a folder of copies. See `docs/groups.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "Group", rename_all = "camelCase", deny_unknown_fields)
)]
pub struct GroupSettings {
    /// Which uploads belong together in one job.
    pub by: GroupBy,
    /// With `marker`: the name of the blob that says that its folder is whole. Default `_SUCCESS`.
    pub marker: Option<MarkerName>,
    /// Files of a group at most. Default 100.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u32>", range(min = 1, max = MAX_MEMBERS)))]
    pub max_files: usize,
    /// Bytes of a group's files at most, together; one that is larger goes alone. Absent: no limit.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub max_bytes: Option<u64>,
    /// The longest that an upload waits for others. Default five minutes; with `marker` a day, after which a folder goes without it.
    #[cfg_attr(feature = "schema", schemars(with = "Option<IsoDuration>", transform = super::forms::some_time))]
    pub max_wait: IsoDuration,
    /// The container for copies, in the account of the uploads. Default `scorekeeper-staging`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<ContainerName>"))]
    pub staging: ContainerName,
    /// Copies are removed after this long, whatever became of their group; as a rule they go when each member has ended. Default
    /// 21 days: three attempts of seven days each.
    #[cfg_attr(feature = "schema", schemars(with = "Option<IsoDuration>", transform = super::forms::some_time))]
    pub staging_life: IsoDuration,
    /// How a good output is held against each member.
    #[cfg_attr(feature = "schema", schemars(with = "Option<VerifyMembers>"))]
    pub verify_members: VerifyMembers,
}

/// What belongs into one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "lowercase"))]
pub enum GroupBy {
    /// Uploads of one folder, as they come.
    Folder,
    /// Uploads of one folder, once a blob of a certain name lies there.
    Marker,
    /// All uploads of the rule.
    Time,
}

/// How a group's output is held against each member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "lowercase"))]
pub enum VerifyMembers {
    /// Each staged name stands in the text of the output, in a column for example (default).
    #[default]
    Column,
    /// Each staged name stands in the name of a file in the output's folder.
    File,
    /// Not at all: the group's output is verified, and no member is.
    Off,
}

impl Read for GroupSettings {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut members = node.object("{ \"by\": \"folder\" }")?;
        let words = [("folder", GroupBy::Folder), ("marker", GroupBy::Marker), ("time", GroupBy::Time)];
        let by = members.required_node("by", Refused::new("what belongs together", "write \"by\": \"folder\""));
        let by = by.and_then(|by| by.word(&words));
        let marker = members.node("marker");
        if let Some(marker) = marker.as_ref().filter(|_| by.is_some_and(|by| by != GroupBy::Marker)) {
            marker.refuse(Refused::new("no marker, as `by` is not `marker`", "remove it, or write \"by\": \"marker\""));
        }
        let marker = marker.and_then(|marker| MarkerName::read(&marker));
        let max_files = members.node("maxFiles").and_then(|node| {
            node.whole_number(1, i64::try_from(MAX_MEMBERS).unwrap_or(i64::MAX), "leave it out for 100")
        });
        let max_bytes =
            members.node("maxBytes").and_then(|node| node.whole_number(1, i64::MAX, "leave it out for no limit"));
        let default_wait = if by == Some(GroupBy::Marker) { Duration::DAY } else { Duration::minutes(5) };
        let mut time = |name, range, default| {
            members.node(name).and_then(|node| duration(&node, range)).unwrap_or(IsoDuration(default))
        };
        let max_wait = time("maxWait", Duration::minutes(1)..=Duration::days(7), default_wait);
        let staging_life = time("stagingLife", Duration::HOUR..=MAX_LIFE, Duration::days(21));
        let staging: Option<ContainerName> = members.optional("staging");
        if staging.as_ref().is_some_and(|name| name.starts_with('$')) {
            let expected = "a container for copies in folders: those whose names begin with `$` the storage has for purposes of its own";
            members
                .refuse("staging", Refused::new(expected, "name another one, or leave it out for scorekeeper-staging"));
        }
        let words = [("column", VerifyMembers::Column), ("file", VerifyMembers::File), ("off", VerifyMembers::Off)];
        let verify_members = members.node("verifyMembers").and_then(|node| node.word(&words)).unwrap_or_default();
        members.end();
        Some(Self {
            by: by?,
            marker: marker.or_else(|| DEFAULT_MARKER.parse().ok()).filter(|_| by == Some(GroupBy::Marker)),
            max_files: max_files.and_then(|files| usize::try_from(files).ok()).unwrap_or(100),
            max_bytes: max_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
            max_wait,
            staging: staging.or_else(|| DEFAULT_STAGING.parse().ok())?,
            staging_life,
            verify_members,
        })
    }
}
