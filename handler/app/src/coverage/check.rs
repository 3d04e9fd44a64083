//! Proves a file of manifests: its chain, each of its lines against the ledger and the storage, and what lies in the swept places
//! against its lines.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::{fmt, io};

use lifecycle::ScoringId;
use lifecycle::coverage::{ManifestFoot, ManifestHead, ManifestLine, Outcome, begun, bounds, chained};
use lifecycle::digest::digest;
use lifecycle::pending::Judgement;
use serde::Serialize;
use time::format_description::well_known::Iso8601;
use time::{Date, OffsetDateTime};

use crate::error::during;
use crate::ledger::{self, ManifestPart};
use crate::ports::{Inconclusive, MAX_LISTED};
use crate::sweep::found::{FoundIntake, Look, Standing, may_want, named};

/// Discrepancies that are told; of more it is known how many there are.
const MAX_TOLD: usize = 100;

/// Why a file could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] crate::Error),
    /// A place cannot be listed.
    #[error("a place that is swept cannot be listed")]
    Storage(#[from] Inconclusive),
    /// The file cannot be read.
    #[error("the manifests cannot be read")]
    File(#[source] io::Error),
    /// A line of the file is none of a manifest.
    #[error("line {line} is none of a manifest")]
    Malformed {
        /// The line's number in the file, from 1.
        line: usize,
        /// What the JSON reader says of it: no JSON, or not the members that a line of a manifest has.
        #[source]
        source: serde_json::Error,
    },
    /// The file ends, or goes on, where it must not.
    #[error("line {line}: {what}")]
    Shape {
        /// Number of the line at which that shows, from 1; where the file ends too early its last one.
        line: usize,
        /// What the file lacks or says wrongly there, as a half sentence for people.
        what: &'static str,
    },
}

/// Where file, ledger and storage differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discrepancy {
    /// The lines of a day are not those that its digest is of.
    Digest(String),
    /// A day is not as it was written into the ledger.
    NotAsWritten(String),
    /// A day that the ledger has a manifest of is not in the file, or not in its place.
    DayMissing(String),
    /// A day is of another ledger.
    OtherLedger(String),
    /// A line tells of a scoring that the ledger does not have.
    NotInLedger(String),
    /// A line tells of a scoring otherwise than the ledger.
    OtherInLedger(String),
    /// A version is not where it was.
    NotThere(String),
    /// A version was accepted on one of the days, and no line tells of it.
    NoLine(String),
    /// A version lies in a swept place, and the ledger does not know it.
    Unaccounted(String),
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(day) => write!(f, "{day}: its lines are not those that its digest is of"),
            Self::NotAsWritten(day) => write!(f, "{day}: it is not what was written into the ledger"),
            Self::DayMissing(day) => {
                write!(f, "{day}: the ledger has a manifest of it, and the file has none in its place")
            }
            Self::OtherLedger(day) => write!(f, "{day}: it is of another ledger"),
            Self::NotInLedger(blob) => write!(f, "{blob}: its scoring is not in the ledger"),
            Self::OtherInLedger(blob) => write!(f, "{blob}: the ledger tells otherwise of its scoring"),
            Self::NotThere(blob) => write!(f, "{blob}: this version is not there any more"),
            Self::NoLine(blob) => write!(f, "{blob}: it was accepted on one of these days, and no line tells of it"),
            Self::Unaccounted(blob) => write!(f, "{blob}: it is there, and the ledger does not know it"),
        }
    }
}

impl Serialize for Discrepancy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a check has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Days whose manifests the file holds to their end.
    pub days: usize,
    /// The first and the last of them.
    pub from: Option<String>,
    /// The last of them, as `2026-07-21`; `None` where the file holds no whole day.
    pub until: Option<String>,
    /// Lines of the file that tell of a version; the head and the foot of a day are not among them.
    pub lines: u64,
    /// Lines whose scorings the ledger may have forgotten by now: only the chain speaks for them.
    pub forgotten: u64,
    /// Blobs that were listed in the swept places, to be compared with the lines.
    pub listed: u64,
    /// How many discrepancies there are.
    pub wrong: usize,
    /// Those that were found first, at most 100 of them; `wrong` counts the others too.
    pub discrepancies: Vec<Discrepancy>,
}

impl Checked {
    fn found(&mut self, discrepancy: Discrepancy) {
        self.wrong += 1;
        if self.discrepancies.len() < MAX_TOLD {
            self.discrepancies.push(discrepancy);
        }
    }
}

/// A day at work, or the last one that ended.
struct Day {
    date: Date,
    head: ManifestHead,
    digest: String,
    lines: u64,
}

/// What the lines tell, for the comparison with what is listed.
#[derive(Default)]
struct ManifestVersions {
    /// Rule, URL and ETag of each version with a scoring.
    versions: HashSet<String>,
    /// By URL, ETags that must be there.
    must_lie: HashMap<String, Vec<String>>,
}

fn version_key(rule: &str, url: &str, etag: &str) -> String {
    digest(&[rule, url, etag])
}

/// Checks a file. All of it is read; what is wrong is told, not what follows of it.
pub(crate) async fn check(
    found: &FoundIntake,
    lines: impl Iterator<Item = io::Result<String>>,
    since: Option<Date>,
) -> Result<Checked, Error> {
    let reading = || during("reading the ledger for a check");
    let (mut checked, mut told) = (Checked::default(), ManifestVersions::default());
    let ledger_id = found.ledger.id().await.map_err(reading())?.as_str().to_owned();
    let purged = found.ledger.purged_through().await.map_err(reading())?;
    let (mut open, mut ended, mut number): (Option<Day>, Vec<(Date, String, String)>, usize) = (None, Vec::new(), 0);
    for text in lines {
        number += 1;
        let text = text.map_err(Error::File)?;
        let malformed = |source| Error::Malformed { line: number, source };
        let Some(day) = &mut open else {
            let head: ManifestHead = serde_json::from_str(&text).map_err(malformed)?;
            let date = Date::parse(&head.day, &Iso8601::DATE)
                .map_err(|_| Error::Shape { line: number, what: "its day is no date" })?;
            if head.ledger != ledger_id {
                checked.found(Discrepancy::OtherLedger(head.day.clone()));
            }
            if let Some((_, _, before)) = ended.last()
                && *before != head.before
            {
                checked.found(Discrepancy::DayMissing(format!("before {}", head.day)));
            }
            let digest = begun(&head.ledger, &head.before, &head.day);
            open = Some(Day { date, head, digest, lines: 0 });
            continue;
        };
        if let Ok(foot) = serde_json::from_str::<ManifestFoot>(&text) {
            if foot.digest != day.digest || foot.lines != day.lines {
                checked.found(Discrepancy::Digest(day.head.day.clone()));
            }
            ended.push((day.date, day.head.before.clone(), foot.digest));
            open = None;
            continue;
        }
        let line: ManifestLine = serde_json::from_str(&text).map_err(malformed)?;
        day.digest = chained(&day.digest, &text);
        day.lines += 1;
        checked.lines += 1;
        let may_be_forgotten = purged.is_some_and(|purged| bounds(day.date).0 < purged);
        of_line(found, line, may_be_forgotten, &mut told, &mut checked).await?;
    }
    if open.is_some() {
        return Err(Error::Shape { line: number, what: "the file ends in the middle of a day" });
    }
    if let Some(since) = since.filter(|since| ended.first().is_none_or(|(first, ..)| first != since)) {
        checked.found(Discrepancy::DayMissing(since.to_string()));
    }
    of_days(found, &ended, &mut checked).await?;
    of_places(found, &ended, &told, &mut checked).await?;
    Ok(checked)
}

/// Holds one line against the ledger.
async fn of_line(
    found: &FoundIntake,
    line: ManifestLine,
    may_be_forgotten: bool,
    told: &mut ManifestVersions,
    checked: &mut Checked,
) -> Result<(), Error> {
    let (Some(rule), Some(etag), Some(id)) = (line.rule, line.etag, line.scoring) else { return Ok(()) };
    told.versions.insert(version_key(&rule, &line.blob, &etag));
    let id = ScoringId::read(&id);
    let read = match &id {
        Some(id) => found.ledger.get(id).await,
        None => Ok(None),
    };
    let scoring = match read {
        Ok(Some((scoring, _))) => scoring,
        Ok(None) if may_be_forgotten && id.is_some() => {
            checked.forgotten += 1;
            return Ok(());
        }
        Ok(None) | Err(ledger::Error::Unreadable(_)) => {
            checked.found(Discrepancy::NotInLedger(line.blob));
            return Ok(());
        }
        Err(error) => return Err(during("reading a scoring for a check")(error).into()),
    };
    let now = Outcome::of(scoring.status);
    // What was scored stays so; what was not may have come further since, also by an operator's order.
    let is_other =
        *scoring.rule != *rule || scoring.blob.etag != etag || line.outcome == Outcome::Scored && now != line.outcome;
    if is_other || scoring.blob.url != line.blob {
        checked.found(Discrepancy::OtherInLedger(line.blob));
        return Ok(());
    }
    if !matches!(now, Outcome::Gone | Outcome::Superseded) {
        let etags = std::iter::once(etag).chain(scoring.aliases);
        told.must_lie.entry(line.blob).or_default().extend(etags);
    }
    Ok(())
}

/// Holds the days against those that the ledger has a manifest of.
async fn of_days(found: &FoundIntake, ended: &[(Date, String, String)], checked: &mut Checked) -> Result<(), Error> {
    let (Some((first, ..)), Some((last, ..))) = (ended.first(), ended.last()) else { return Ok(()) };
    checked.days = ended.len();
    (checked.from, checked.until) = (Some(first.to_string()), Some(last.to_string()));
    let kept = found.ledger.manifests(*first).await.map_err(during("reading the manifests of days"))?;
    let mut written: BTreeMap<Date, (String, String)> = BTreeMap::new();
    for (manifest, _) in kept.read {
        if manifest.next == ManifestPart::Done {
            written.insert(manifest.day, (manifest.before, manifest.digest));
        }
    }
    for (day, before, digest) in ended {
        if written.remove(day).is_none_or(|written| written != (before.clone(), digest.clone())) {
            checked.found(Discrepancy::NotAsWritten(day.to_string()));
        }
    }
    for day in written.into_keys() {
        checked.found(Discrepancy::DayMissing(day.to_string()));
    }
    Ok(())
}

/// Holds what lies in the swept places against the lines, and these against what lies there.
async fn of_places(
    found: &FoundIntake,
    ended: &[(Date, String, String)],
    told: &ManifestVersions,
    checked: &mut Checked,
) -> Result<(), Error> {
    let reading = || during("reading the ledger for a check");
    let (Some((first, ..)), Some((last, ..))) = (ended.first(), ended.last()) else { return Ok(()) };
    let days = bounds(*first).0..bounds(*last).1;
    let (mut there, mut places): (HashMap<String, String>, Vec<_>) = (HashMap::new(), Vec::new());
    for (swept, _) in found.ledger.swept_places().await.map_err(reading())?.read {
        let Some(rule) = found.rules.get(&swept.rule) else { continue };
        let mut from = None;
        loop {
            let page = found.blobs.list(&swept.place, from.as_deref(), MAX_LISTED).await?;
            for (path, shown) in page.blobs {
                checked.listed += 1;
                let Ok((version, blob)) = named(&swept.place, &path, &shown) else { continue };
                there.insert(version.url.clone(), version.etag.clone());
                let is_of_days = shown.modified.is_some_and(|at| days.contains(&at) && at >= swept.since);
                if shown.is_folder || !is_of_days || !may_want(rule, &swept.place, &path) {
                    continue;
                }
                if told.versions.contains(&version_key(&rule.id, &version.url, &version.etag)) {
                    continue;
                }
                let ledger_id = found.ledger.id().await.map_err(reading())?;
                let known = found.ledger.get(&rule.scoring_id(ledger_id, &version)).await;
                let known = match known {
                    Ok(known) => known.map(|(scoring, _)| scoring),
                    Err(ledger::Error::Unreadable(_)) => None,
                    Err(error) => return Err(reading()(error).into()),
                };
                if let Some(scoring) = known {
                    // What came on another day, or was first told of under another ETag, has its line there.
                    if days.contains(&scoring.created) && scoring.blob.etag == version.etag {
                        checked.found(Discrepancy::NoLine(version.url));
                    }
                    continue;
                }
                let now = OffsetDateTime::max(days.end, swept.updated);
                let seen = found.seen(rule, &blob, &version, &shown, Look::Preview, now).await?.0;
                if let Standing::New { judgement, skipped: false } = seen
                    && matches!(judgement, Judgement::TakeIn { .. } | Judgement::Wait(_))
                {
                    checked.found(Discrepancy::Unaccounted(version.url));
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        places.push(swept.place);
    }
    for (url, etags) in &told.must_lie {
        let is_in_place = places.iter().any(|place| url.starts_with(&place.to_string()));
        if is_in_place && there.get(url).is_none_or(|etag| !etags.contains(etag)) {
            checked.found(Discrepancy::NotThere(url.clone()));
        }
    }
    Ok(())
}
