//! When it is whose turn: back-off, jitter, when a running job is due for a look, and the place in an endpoint's queue.
//! Nothing here reads a clock.
//!
//! The queue goes by priority of the rule, then by arrival. Priority is strict. While scorings of a higher one keep an
//! endpoint full, those of a lower one wait, by design: give such a rule a `maxInFlight` of its own to leave room for the
//! others. Within a priority nobody is overtaken, so nobody starves.

use std::cmp::Reverse;

use time::{Duration, OffsetDateTime};

use crate::id::ScoringId;
use crate::origin::Origin;
use crate::status::Status;

/// The clocks of two processes may differ by this and more; a time that lies further ahead than this was told by a clock that
/// was wrong, on a machine whose clock was corrected since, or by a process that dies of other things first.
pub const CLOCK_SKEW: Duration = Duration::minutes(15);

/// Whether a time that should be past was told by a clock that was wrong. Nothing may wait for such a time: it may lie years
/// ahead.
pub fn is_ahead(at: OffsetDateTime, now: OffsetDateTime) -> bool {
    at - now > CLOCK_SKEW
}

/// The longest that a queued scoring is put off: what a service may ask for with `Retry-After`.
pub const MAX_PUT_OFF: Duration = Duration::DAY;
/// Time between two requests to stop a job: Azure ML takes minutes to stop one, and may have lost the request.
pub(crate) const CANCEL_INTERVAL: Duration = Duration::minutes(5);

/// The longest that anything in this status is put off; `None`: a rule may say weeks.
pub(crate) fn longest_wait(status: Status) -> Option<Duration> {
    match status {
        Status::Queued => Some(MAX_PUT_OFF),
        Status::Cancelling => Some(CANCEL_INTERVAL),
        _ => None,
    }
}

/// When something is due that was put off to `due` at `since`. What was put off by a clock that was wrong is due now: too
/// early is cheap, since whoever acts looks first, and never is not.
pub fn believable_due(since: OffsetDateTime, due: OffsetDateTime, now: OffsetDateTime) -> OffsetDateTime {
    if is_ahead(since, now) { due.min(now) } else { due }
}

/// The same of a scoring in this status, whose clock may have gone wrong after it came to stand there.
pub fn believable_due_in(
    status: Status,
    since: OffsetDateTime,
    due: OffsetDateTime,
    now: OffsetDateTime,
) -> OffsetDateTime {
    let too_far = longest_wait(status).is_some_and(|longest| is_ahead(due, now + longest));
    if too_far { now } else { believable_due(since, due, now) }
}

/// `base` doubled `times` times, at most `cap`, then spread by up to a quarter so that a burst that failed together
/// does not come back together. The spread comes from the id and the count: the same inputs give the same answer.
pub fn back_off(base: Duration, cap: Duration, times: u32, id: &ScoringId) -> Duration {
    // At most 2^16, far beyond any cap, so that nothing overflows after a month of refusals.
    let doubled = base * f64::from(1u32 << times.min(16));
    let plain = doubled.min(cap);
    plain + plain * (spread(id, times) / 4.0)
}

/// Whether a poll of `id` falls between two ticks. Each scoring polls at fixed points `since + k·interval + phase`,
/// where the phase comes from its id: due times need no write, and a thousand jobs submitted together are looked at
/// evenly over the interval. A tick that does not know the one before it finds everything due.
pub fn poll_is_due(
    id: &ScoringId,
    since: OffsetDateTime,
    interval: Duration,
    last_tick: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> bool {
    // The first tick of a process, or one after a crash: to look once too often is cheap, to miss a look is not.
    // So does one that lies ahead, of a clock that was set back: else nothing would be due until then.
    let Some(last_tick) = last_tick.filter(|last| !is_ahead(*last, now)) else { return true };
    if interval <= Duration::ZERO {
        return true;
    }
    let start = since + interval * spread(id, 0);
    // Between two ticks lies a look exactly if the number of looks that were due by then differs. No look is lost
    // however late a tick comes, and none is made up for twice.
    let count = |at: OffsetDateTime| ((at - start) / interval).floor();
    count(now) > count(last_tick)
}

/// The longest time between two looks for a lost submission.
const MAX_LOOKUP_INTERVAL: Duration = Duration::HOUR;

/// Time between two looks for a submission that was lost `waited` ago: `base` at first, then doubled again and again to stay
/// below an eighth of that, at most an hour. Doubled and not just grown: [`poll_is_due`] counts whole intervals.
pub fn lookup_interval(base: Duration, waited: Duration) -> Duration {
    let mut interval = base;
    while interval > Duration::ZERO && interval * 2 <= MAX_LOOKUP_INTERVAL.min(waited / 8) {
        interval *= 2;
    }
    interval
}

/// A number in 0..1 that depends on the id and a salt only.
fn spread(id: &ScoringId, salt: u32) -> f64 {
    // FNV-1a over the id's hex digits: even enough to spread load, and no dependency.
    let hash = id
        .as_str()
        .bytes()
        .chain(salt.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let high = u32::try_from(hash >> 32).unwrap_or(0); // the upper half always fits
    f64::from(high) / 2_f64.powi(32)
}

/// A place in the queue of an endpoint; the least goes first. Compared by an operator's order to go first, priority (higher first), what brought
/// it here (events first), arrival, id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueuePosition(Reverse<bool>, Reverse<i32>, u8, OffsetDateTime, ScoringId);

impl QueuePosition {
    /// The place of a scoring that was accepted at `created` under a rule of this priority. Of two that came at the same
    /// instant the id decides, so that all processes agree.
    pub fn new(expedited: bool, priority: i32, origin: Origin, created: OffsetDateTime, id: ScoringId) -> Self {
        Self(Reverse(expedited), Reverse(priority), origin.rank(), created, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn id(n: u32) -> ScoringId {
        ScoringId::read(&format!("{n:032x}")).expect("32 hex digits")
    }

    #[test]
    fn back_off_doubles_to_the_cap_and_spreads_by_a_quarter() {
        let (base, cap) = (Duration::seconds(30), Duration::hours(1));
        for times in 0..40 {
            let plain = (base * f64::from(1u32 << times.min(16))).min(cap);
            let got = back_off(base, cap, times, &id(7));
            assert!(got >= plain && got <= plain * 1.25, "{times}: {got}");
        }
        assert_ne!(back_off(base, cap, 3, &id(1)), back_off(base, cap, 3, &id(2)));
    }

    #[test]
    fn a_lost_submission_is_looked_for_ever_more_rarely_and_once_an_hour_at_least() {
        let base = Duration::seconds(30);
        for (minutes, expected) in [(0, 30), (7, 30), (8, 60), (15, 60), (60, 240), (600, 1_920), (100_000, 1_920)] {
            assert_eq!(lookup_interval(base, Duration::minutes(minutes)), Duration::seconds(expected), "{minutes}");
        }
        assert_eq!(lookup_interval(Duration::hours(2), Duration::days(30)), Duration::hours(2), "a rule may want less");
        assert_eq!(lookup_interval(Duration::ZERO, Duration::days(30)), Duration::ZERO);
        let since = datetime!(2026-07-21 10:00 UTC);
        for n in 0..50 {
            let due = |minute: i64| {
                let now = since + Duration::minutes(minute);
                poll_is_due(&id(n), since, lookup_interval(base, now - since), Some(now - Duration::MINUTE), now)
            };
            let mut longest = 0;
            let mut run = 0;
            for minute in 1..2_880 {
                run = if due(minute) { 0 } else { run + 1 };
                longest = longest.max(run);
            }
            assert!(longest <= 65, "{n}: {longest} minutes without a look");
        }
    }

    #[test]
    fn each_job_is_polled_once_an_interval_whatever_the_tick_period() {
        let since = datetime!(2026-07-21 10:00 UTC);
        for n in 0..50 {
            for period in [1_i64, 7, 60] {
                let mut polls = 0;
                let ticks = 1_200 / period;
                for k in 1..=ticks {
                    let now = since + Duration::seconds(k * period);
                    let last = now - Duration::seconds(period);
                    polls += i32::from(poll_is_due(&id(n), since, Duration::minutes(2), Some(last), now));
                }
                assert!((9..=10).contains(&polls), "id {n}, every {period} s: {polls} polls in 20 minutes");
            }
        }
    }

    #[test]
    fn the_first_look_comes_after_a_part_of_the_interval() {
        let (since, interval) = (datetime!(2026-07-21 10:00 UTC), Duration::hours(1));
        for n in 0..20 {
            let first = since + interval * spread(&id(n), 0);
            let due = |from, to| poll_is_due(&id(n), since, interval, Some(from), to);
            assert!(first >= since && first < since + interval);
            assert!(!due(since, first - Duration::MILLISECOND), "{n}: {first}");
            assert!(due(first - Duration::MILLISECOND, first + Duration::MILLISECOND), "{n}: {first}");
        }
    }

    #[test]
    fn a_time_that_a_wrong_clock_told_is_not_waited_for() {
        let now = OffsetDateTime::UNIX_EPOCH;
        for ahead in [Duration::days(400), CLOCK_SKEW + Duration::SECOND] {
            let since = now + ahead;
            assert_eq!(believable_due(since, since + Duration::minutes(5), now), now);
            assert_eq!(believable_due(since, now - Duration::HOUR, now), now - Duration::HOUR);
            let id = ScoringId::read(&"0".repeat(32)).expect("an id");
            assert!(poll_is_due(&id, now, Duration::MINUTE, Some(since), now), "the last tick was by that clock");
        }
        for since in [now - Duration::days(400), now, now + CLOCK_SKEW] {
            let due = now + Duration::days(400);
            assert_eq!(believable_due(since, due, now), due, "by a rule");
            assert_eq!(believable_due_in(Status::Running, since, due, now), due, "by a rule");
            for (status, longest) in [(Status::Queued, MAX_PUT_OFF), (Status::Cancelling, CANCEL_INTERVAL)] {
                assert_eq!(believable_due_in(status, since, due, now), now, "nobody puts off {status} for so long");
                let due = now + longest + CLOCK_SKEW;
                assert_eq!(believable_due_in(status, since, due, now), due, "{status}");
            }
        }
    }

    #[test]
    fn a_first_tick_finds_everything_due() {
        let now = datetime!(2026-07-21 10:00 UTC);
        assert!(poll_is_due(&id(1), now, Duration::hours(1), None, now));
    }

    #[test]
    fn priority_goes_before_arrival_and_arrival_before_the_id() {
        let at = |expedited, priority, second, n: u32| {
            let id = ScoringId::read(&format!("{n:032x}")).expect("32 hex digits");
            QueuePosition::new(
                expedited,
                priority,
                Origin::Told,
                OffsetDateTime::UNIX_EPOCH + Duration::seconds(second),
                id,
            )
        };
        let place = |priority, second, n| at(false, priority, second, n);
        let order =
            [at(true, -9, 9, 9), place(9, 5, 5), place(0, 1, 4), place(0, 2, 2), place(0, 2, 3), place(-1, 0, 1)];
        assert!(order.is_sorted(), "{order:?}");
    }
}
