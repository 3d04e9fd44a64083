//! When something is expected, by what a rule's jobs took in the last day. A guess for people: nothing is decided by it.

use lifecycle::{Scoring, Status};

use super::limits::slots_of;
use super::text::duration_text;
use crate::ledger::{Controls, EndCounts};

/// Scored ones of a rule of which it is known how long they take.
pub(super) const ENOUGH: usize = 20;

/// When a queued scoring with so many before it is likely to be sent, and when a running one is likely to end.
pub(super) fn expected(s: &Scoring, before: usize, controls: &Controls, ended: &EndCounts) -> Option<String> {
    match s.status {
        Status::Queued => {
            // Without a limit the next reconcile run sends it, and a pause ends when somebody says so.
            let slots = slots_of(controls, s).filter(|slots| *slots > 0)?;
            let Some(time) = ended.typical_time(&s.rule, ENOUGH) else {
                return Some(format!(
                    "how long that takes is not known: fewer than {ENOUGH} of its rule were scored in the last day"
                ));
            };
            let rounds = i32::try_from(before / usize::try_from(slots).ok()? + 1).unwrap_or(i32::MAX);
            let (wait, time) = (duration_text(time * rounds), duration_text(time));
            let slots = if slots == 1 { "one slot".to_owned() } else { format!("{slots} slots") };
            Some(format!("expected to be sent within {wait}, by {slots} and {time} that its rule usually takes"))
        }
        Status::Running => {
            let time = duration_text(ended.usual_time(&s.rule, ENOUGH)?);
            Some(format!("nineteen of twenty jobs of its rule end within {time}"))
        }
        _ => None,
    }
}
