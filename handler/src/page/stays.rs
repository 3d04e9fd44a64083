//! The way of a scoring, out of its history: how long it was where, and which moves it made.

use std::collections::BTreeSet;

use lifecycle::{Entry, Status};
use time::{Duration, OffsetDateTime};

/// How long a scoring was in a status, all stays added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stay {
    pub(super) status: Status,
    pub(super) took: Duration,
}

/// The statuses that a scoring was in and is not final in, in the order of a life; the present one until `now`.
pub(super) fn stays(history: &[Entry], now: OffsetDateTime) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    for (n, entry) in history.iter().enumerate() {
        if entry.to.is_terminal() {
            continue;
        }
        let until = history.get(n + 1).map_or(now, |next| next.at);
        // Clocks of two processes may differ by a little.
        let took = (until - entry.at).max(Duration::ZERO);
        match stays.iter_mut().find(|stay| stay.status == entry.to) {
            Some(stay) => stay.took += took,
            None => stays.push(Stay { status: entry.to, took }),
        }
    }
    stays
}

/// The moves between two statuses that a scoring made.
pub(super) fn moves(history: &[Entry]) -> BTreeSet<(Status, Status)> {
    history.iter().filter_map(|entry| Some((entry.from?, entry.to))).filter(|(from, to)| from != to).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn stays_are_added_up_and_an_end_takes_no_time() {
        let at = |second: i64| datetime!(2026-07-21 10:00 UTC) + Duration::seconds(second);
        let line = |seq, second, from, to| Entry {
            seq,
            at: at(second),
            from,
            to,
            event: None,
            reason: String::new(),
            attempt: 1,
            job: None,
            request_id: None,
        };
        let history = [
            line(1, 0, None, Status::Queued),
            line(2, 5, Some(Status::Queued), Status::Submitting),
            line(3, 6, Some(Status::Submitting), Status::Queued),
            line(4, 16, Some(Status::Queued), Status::Submitting),
            line(5, 15, Some(Status::Submitting), Status::Running),
            line(6, 75, Some(Status::Running), Status::Failed),
        ];
        let told: Vec<_> =
            stays(&history, at(999)).into_iter().map(|it| (it.status, it.took.whole_seconds())).collect();
        assert_eq!(told, [(Status::Queued, 15), (Status::Submitting, 1), (Status::Running, 60)]);
        assert_eq!(stays(&history[..1], at(9))[0].took, Duration::seconds(9));
        let taken: Vec<_> = moves(&history).into_iter().collect();
        assert_eq!(taken.len(), 4, "{taken:?}");
    }
}
