//! Columns of a scoring's part in groups, and back.
//!
//! The ids of a group's members stand in one column without anything between them, a thousand of which a property holds, and a letter
//! for each in another.

use std::collections::BTreeMap;

use lifecycle::group::{Group, Grouping, Member, MemberState};
use lifecycle::{Scoring, ScoringId, Status};

use crate::ports::table_store::Entity;

/// Hex digits of a scoring's id: members' ids stand in their column without anything between them.
const DIGITS: usize = 32;

/// Columns that say nothing of a part in groups.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidGrouping {
    /// A word that a newer version may have.
    #[error("`Grouping` is `{0}`, which this version does not know")]
    Word(String),
    /// A column that belongs to the word.
    #[error("`{0}` is missing or does not name a scoring")]
    Column(&'static str),
    /// Ids and letters that do not belong together.
    #[error("`Members` and `MemberStates` do not belong together")]
    Members,
    /// Reasons of members that it does not have.
    #[error("`NotCopied` is not a list of reasons with places in `Members`")]
    Reasons,
}

/// What the in-flight index tells of a scoring's part in groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InGroup {
    /// It waits until a group is made of it and others.
    Waits {
        /// URL of the folder that its blob lies in, without a slash at its end.
        folder: String,
        /// Bytes of its blob, if that is known.
        bytes: Option<u64>,
    },
    /// It is a member of this group.
    Member(ScoringId),
    /// It is a group: it stands for its members where limits, holds and circuit breakers count.
    Group {
        /// The group of which this is a half.
        half_of: Option<ScoringId>,
        /// Members whose copies its job reads, once that is settled.
        staged: Option<usize>,
    },
}

pub(super) fn word(grouping: &Grouping) -> &'static str {
    match grouping {
        Grouping::Waits => "waits",
        Grouping::Member(_) => "member",
        Grouping::Alone(_) => "alone",
        Grouping::Group(_) => "group",
    }
}

/// The group that it is a member, or a half, of.
pub(super) fn named(s: &Scoring) -> Option<&str> {
    s.member_of().or_else(|| s.group()?.half_of.as_ref()).map(ScoringId::as_str)
}

/// Why it is scored alone and in no group (`AloneReason`); `None` if it is not.
pub(super) fn alone(s: &Scoring) -> Option<&str> {
    s.alone()
}

pub(super) fn members(s: &Scoring) -> Option<String> {
    Some(s.group()?.members.iter().map(|member| member.id.as_str()).collect())
}

pub(super) fn states(s: &Scoring) -> Option<String> {
    Some(s.group()?.members.iter().map(|member| member.state.letter()).collect())
}

/// Why the storage does not copy some members: each reason with the places of those that it is told of, as JSON.
pub(super) fn reasons(s: &Scoring) -> Option<String> {
    let group = s.group().filter(|group| !group.reasons.is_empty())?;
    let mut by_reason = BTreeMap::<&str, Vec<usize>>::new();
    for (place, member) in group.members.iter().enumerate() {
        if let Some(reason) = group.reasons.get(&member.id) {
            by_reason.entry(reason).or_default().push(place);
        }
    }
    serde_json::to_string(&by_reason).ok()
}

/// Of what waits alone: no other one is grouped by it.
pub(super) fn folder(s: &Scoring) -> Option<&str> {
    s.waits_for_group().then(|| s.blob.url.rsplit_once('/').map_or(s.blob.url.as_str(), |(folder, _)| folder))
}

pub(super) fn bytes(s: &Scoring) -> Option<i64> {
    folder(s)?;
    s.blob.size.and_then(|bytes| i64::try_from(bytes).ok())
}

/// How many members are copied, once none of them is to be.
pub(super) fn staged(s: &Scoring) -> Option<i32> {
    let group = s.group().filter(|_| s.status != Status::Staging)?;
    i32::try_from(group.staged().count()).ok()
}

/// The part that a scoring's row tells.
pub(super) fn from_row(row: &Entity) -> Result<Option<Box<Grouping>>, InvalidGrouping> {
    let Some(word) = row.string("Grouping") else { return Ok(None) };
    Ok(Some(Box::new(match word {
        "waits" => Grouping::Waits,
        "member" => Grouping::Member(group_of(row)?.ok_or(InvalidGrouping::Column("Group"))?),
        "alone" => Grouping::Alone(row.string("AloneReason").ok_or(InvalidGrouping::Column("AloneReason"))?.to_owned()),
        "group" => {
            let members = members_of(row)?;
            let reasons = reasons_of(row, &members)?;
            Grouping::Group(Group { half_of: group_of(row)?, members, reasons })
        }
        other => return Err(InvalidGrouping::Word(other.to_owned())),
    })))
}

fn group_of(row: &Entity) -> Result<Option<ScoringId>, InvalidGrouping> {
    let id = |text| ScoringId::read(text).ok_or(InvalidGrouping::Column("Group"));
    row.string("Group").map(id).transpose()
}

fn members_of(row: &Entity) -> Result<Vec<Member>, InvalidGrouping> {
    let column = |name| row.string(name).ok_or(InvalidGrouping::Column(name));
    let (ids, states) = (column("Members")?, column("MemberStates")?);
    if ids.len() != states.chars().count() * DIGITS {
        return Err(InvalidGrouping::Members);
    }
    let member = |(index, letter): (usize, char)| {
        let id = ScoringId::read(ids.get(index * DIGITS..(index + 1) * DIGITS)?)?;
        Some(Member { id, state: MemberState::of_letter(letter)? })
    };
    states.chars().enumerate().map(member).collect::<Option<_>>().ok_or(InvalidGrouping::Members)
}

fn reasons_of(row: &Entity, members: &[Member]) -> Result<BTreeMap<ScoringId, String>, InvalidGrouping> {
    let Some(text) = row.string("NotCopied") else { return Ok(BTreeMap::new()) };
    let by_reason: BTreeMap<String, Vec<usize>> = serde_json::from_str(text).map_err(|_| InvalidGrouping::Reasons)?;
    let each = by_reason.iter().flat_map(|(reason, places)| places.iter().map(move |place| (reason, *place)));
    let named = each.map(|(reason, place)| Some((members.get(place)?.id.clone(), reason.clone())));
    named.collect::<Option<_>>().ok_or(InvalidGrouping::Reasons)
}

/// The part that a row of the in-flight index tells.
pub(super) fn from_in_flight(row: &Entity) -> Result<Option<InGroup>, InvalidGrouping> {
    Ok(match row.string("Grouping") {
        None | Some("alone") => None,
        Some("waits") => Some(InGroup::Waits {
            folder: row.string("Folder").unwrap_or_default().to_owned(),
            bytes: row.int64("Bytes").and_then(|bytes| u64::try_from(bytes).ok()),
        }),
        Some("member") => Some(InGroup::Member(group_of(row)?.ok_or(InvalidGrouping::Column("Group"))?)),
        Some("group") => Some(InGroup::Group {
            half_of: group_of(row)?,
            staged: row.int32("Staged").and_then(|staged| usize::try_from(staged).ok()),
        }),
        Some(other) => return Err(InvalidGrouping::Word(other.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use lifecycle::{BlobVersion, LedgerId, Rules};
    use time::macros::datetime;

    use super::*;
    use crate::ledger::rows;

    /// A group of two, of which one is copied.
    fn group(status: Status) -> Scoring {
        let rules =
            r#"{"rules":[{"id":"claims","match":{"container":"con"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#;
        let rules = Rules::read(rules).unwrap();
        let blob = BlobVersion::read("https://a.blob.core.windows.net/con/x.csv", "1").unwrap();
        let (ledger, now) = (LedgerId::of_random([1; 16]), datetime!(2026-07-21 10:00 UTC));
        let mut scoring = Scoring::accept(&ledger, rules.get("claims").unwrap(), blob, now);
        let members = ["1", "2"].map(|digit| ScoringId::read(&digit.repeat(DIGITS)).unwrap());
        let mut group = Group::sealed(members, None);
        group.members[0].state = MemberState::Staged;
        scoring.status = status;
        scoring.grouping = Some(Box::new(Grouping::Group(group)));
        scoring
    }

    #[test]
    fn how_many_are_copied_is_told_once_no_member_is_to_be_copied_any_more() {
        assert_eq!((staged(&group(Status::Staging)), staged(&group(Status::Running))), (None, Some(1)));
    }

    #[test]
    fn a_row_that_lost_members_or_their_letters_is_refused_and_forgets_none_of_them() {
        let row = || rows::to_scoring_row(&group(Status::Running), "op");
        assert_eq!(rows::from_scoring_row(&row()).unwrap(), group(Status::Running));
        let ids = row().string("Members").unwrap().to_owned();
        for (column, text) in [
            ("MemberStates", "t".to_owned()),
            ("MemberStates", "tst".to_owned()),
            ("MemberStates", "t?".to_owned()),
            ("Members", ids[..ids.len() - 1].to_owned()),
            ("Members", ids.replacen("11", "ä", 1)),
            ("Members", ids.replacen("1111", "ää", 1)),
        ] {
            let damaged = row().with(column, text.as_str());
            assert!(rows::from_scoring_row(&damaged).is_err(), "{column}: {text}");
        }
    }
}
