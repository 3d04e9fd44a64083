//! Which version of a blob is the newest, where several versions and generations are known.

use lifecycle::Scoring;

/// Of the newest version among these, the latest generation under each rule. Another generation of an older version is accepted
/// later, and makes it no newer.
pub(super) fn of_newest_version(scorings: Vec<Scoring>) -> Vec<Scoring> {
    let Some(etag) = newest_version(&scorings).map(|first| first.blob.etag.clone()) else { return Vec::new() };
    let mut newest: Vec<Scoring> = Vec::new();
    for scoring in scorings.into_iter().filter(|scoring| scoring.blob.etag == etag) {
        match newest.iter_mut().find(|other| other.rule == scoring.rule) {
            Some(other) if other.generation < scoring.generation => *other = scoring,
            Some(_) => {}
            None => newest.push(scoring),
        }
    }
    newest
}

/// The first scoring of the newest version.
pub(super) fn newest_version(scorings: &[Scoring]) -> Option<&Scoring> {
    let is_first = |one: &&Scoring| {
        let others = scorings.iter().filter(|other| other.blob.etag == one.blob.etag);
        others.map(|other| (other.created, &other.id)).min() == Some((one.created, &one.id))
    };
    let firsts = scorings.iter().filter(is_first);
    firsts.reduce(|newest, other| if other.is_later_than(newest) { other } else { newest })
}
