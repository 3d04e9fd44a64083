//! What happened, told line by line, and a fingerprint by which two runs are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lifecycle::ScoringId;
use time::Duration;

/// One thing that happened: when, in which process, and to which scoring, if to one.
#[derive(Debug, Clone)]
struct Line {
    at: Duration,
    process: Option<usize>,
    scoring: Option<ScoringId>,
    text: String,
}

/// What happened in a run. Telling it does not change it.
#[derive(Debug, Default)]
pub(super) struct Trace {
    lines: Option<Vec<Line>>,
    /// Over all effects, in order.
    pub(super) fingerprint: u64,
}

impl Trace {
    pub(super) fn new(traced: bool) -> Self {
        Self { lines: traced.then(Vec::new), fingerprint: 0xcbf2_9ce4_8422_2325 }
    }

    pub(super) fn line(
        &mut self,
        at: Duration,
        process: Option<usize>,
        scoring: Option<&ScoringId>,
        text: impl FnOnce() -> String,
    ) {
        if let Some(lines) = &mut self.lines {
            lines.push(Line { at, process, scoring: scoring.cloned(), text: text() });
        }
    }

    /// Notes that an effect of this sort took place now.
    pub(super) fn fold(&mut self, at: Duration, process: usize, sort: u64) {
        let at = u64::try_from(at.whole_microseconds()).unwrap_or(u64::MAX);
        for part in [at, process as u64, sort] {
            self.fingerprint = (self.fingerprint ^ part).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
        }
    }

    /// The story, of some scorings and of what concerns all if `about` is given. Ids are replaced by `names`.
    pub(super) fn lines(
        &self,
        about: Option<&BTreeSet<ScoringId>>,
        names: &BTreeMap<ScoringId, String>,
    ) -> Vec<String> {
        let all = self.lines.as_deref().unwrap_or_default();
        let of = |line: &&Line| match (about, &line.scoring) {
            (Some(about), Some(scoring)) => about.contains(scoring),
            _ => true,
        };
        let told: Vec<&Line> = all.iter().filter(of).collect();
        let shown = |line: &&Line| {
            let seconds = line.at.whole_milliseconds() / 1_000;
            let mut text = format!("{:>3}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
            // Writing to a String cannot fail.
            let _ = match line.process {
                Some(process) => write!(text, "  p{}", process + 1),
                None => write!(text, "  --"),
            };
            let name = line.scoring.as_ref().map(|id| names.get(id).map_or(id.as_str(), String::as_str));
            let _ = write!(text, "  {:<10}  {}", name.unwrap_or(""), line.text);
            text
        };
        told.iter().map(shown).collect()
    }
}
