//! What people order stands in a history with who ordered it and why, and each thing that was said does at most one thing.

use lifecycle::{Entry, Event, Scoring, ScoringId};

use super::{Invariants, Peek};
use app::ports::table_store::Op;

/// Who orders in the simulation.
pub(crate) const BY: &str = "an operator";

/// Why: the number of what was said, so that two things that were said differ.
pub(crate) fn reason(number: u64) -> String {
    format!("the seed says so, {number}")
}

/// What the history has of an order, from its author to the end of its reason.
fn said(text: &str) -> Option<&str> {
    let from = text.find(&format!("by {BY} (the seed says so, "))?;
    let to = text[from..].find(')')?;
    Some(&text[from..=from + to])
}

/// Whether nothing but an order brings it about.
fn is_ordered(event: Event) -> bool {
    matches!(
        event,
        Event::Retried
            | Event::Withdrawn
            | Event::PutOnHold
            | Event::Released
            | Event::Expedited
            | Event::StopOrdered
            | Event::Acknowledged
            | Event::JobNamed
            | Event::GivenUp
    )
}

impl Invariants {
    /// Lines of a scoring's history were written.
    pub(super) fn orders(&mut self, next: &Scoring, entries: &[Entry]) {
        for entry in entries {
            let said = said(&entry.reason);
            // The first line of what is scored once more says who wanted it.
            let is_further_generation = entry.from.is_none() && next.generation > 0 && !next.is_group();
            let needs_author = is_further_generation || entry.event.is_some_and(is_ordered);
            self.hold(!needs_author || said.is_some(), "orders", &next.id, || {
                format!("a history does not say who ordered it and why: {}", entry.reason)
            });
            let order = said.filter(|_| entry.event.is_some_and(is_ordered)).map(str::to_owned);
            if let Some(said) = said.filter(|_| is_further_generation) {
                let version = format!("{said} of {} {} {}", next.rule, next.blob.url, next.blob.etag);
                let is_first = self.said.insert((None, version));
                self.hold(is_first, "orders", &next.id, || format!("scored twice more: {}", entry.reason));
            }
            if let Some(said) = &order {
                let is_first = self.said.insert((Some(next.id.clone()), said.clone()));
                // Who gives it twice may have it done twice, where something else happened in between: it failed again, say.
                let is_again = self.given_again.contains(said) && self.last_said.get(&next.id) != Some(said);
                self.hold(is_first || is_again, "orders", &next.id, || format!("done twice: {}", entry.reason));
            }
            match order {
                Some(said) => drop(self.last_said.insert(next.id.clone(), said)),
                None => drop(self.last_said.remove(&next.id)),
            }
        }
    }

    /// An order with this reason is given more than once.
    pub(crate) fn given_again(&mut self, reason: &str) {
        self.given_again.insert(format!("by {BY} ({reason})"));
    }

    /// Lines of who closed a circuit breaker, in the transaction that closed it.
    pub(crate) fn breaker_told(&mut self, ops: &[Op]) {
        for line in ops.iter().filter_map(Op::entity) {
            let breaker = line.key.row.strip_prefix('~').and_then(|row| row.rsplitn(3, '~').nth(2));
            let Some(breaker) = breaker else { continue };
            if !breaker.starts_with("breaker~") && !breaker.starts_with("pause~") {
                continue;
            }
            let is_closed = |op: &Op| {
                op.key().row == breaker
                    && op.entity().is_some_and(|row| row.string("Outcomes").unwrap_or("").is_empty())
            };
            let reason = line.string("Reason").unwrap_or_default();
            if line.string("ClosedBy") != Some(BY) || reason.is_empty() || !ops.iter().any(is_closed) {
                let what = format!("{breaker} was closed, and its history does not say by whom and why, or it was not");
                self.broken("orders", None, what);
            }
        }
    }

    /// An event that cannot be read was acknowledged, or written again: who saw it and why stands there, and stays.
    pub(crate) fn quarantined(&mut self, ops: &[Op], peek: Peek<'_>) {
        for key in ops.iter().map(Op::key).filter(|key| key.row.starts_with("Q~")) {
            let Some(row) = peek(key).map(|row| row.entity) else { continue };
            if row.time("AcknowledgedTime").is_some() {
                self.seen_events.insert(key.row.clone());
                let (by, why) = (row.string("AcknowledgedBy"), row.string("AcknowledgedReason"));
                if by != Some(BY) || why.is_none_or(str::is_empty) {
                    self.broken("orders", None, format!("{} was acknowledged by {by:?}, because {why:?}", key.row));
                }
            } else if self.seen_events.contains(&key.row) {
                self.broken("orders", None, format!("{} was acknowledged, and that is forgotten", key.row));
            }
        }
    }

    /// A limit was set in this transaction.
    pub(crate) fn limit_told(&mut self, rule: &str, ops: &[Op]) {
        let line = ops.iter().filter(|op| op.key().row.starts_with(&format!("~limit~rule~{rule}~")));
        let told = line.filter_map(Op::entity).any(|row| {
            row.string("SetBy") == Some(BY) && row.string("Reason").is_some_and(|reason| !reason.is_empty())
        });
        if !told {
            self.broken(
                "orders",
                None::<&ScoringId>,
                format!("the limit of {rule} was set without a line of its history"),
            );
        }
    }
}
