//! How long an invocation may take: what its host leaves, within what the function allows itself.

use std::time::Duration;

use lambda_runtime::Context;
use time::OffsetDateTime;

/// Until when the host waits for an invocation's answer, seen from the invocation's arrival; or that it did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline {
    left: Option<Duration>,
}

impl Deadline {
    /// Reads [`Context::deadline`] (milliseconds since 1970) at `arrival`, the moment when the function was called.
    ///
    /// What lies in the past, or is zero, is no deadline. A host that had given up already would not have sent the
    /// invocation, so such a number is something else: cargo-lambda's emulator sends `600000` with each invocation, a
    /// duration and no time, and `Context::default()` has zero. To believe it would fail every invocation at once
    /// ("the ledger did not answer within 0ns"); not to believe it costs nothing, as the function keeps its own limit.
    pub(super) fn at_arrival(context: &Context, arrival: OffsetDateTime) -> Self {
        // To a clock before 1970 each deadline is far away; `within` bounds it.
        let arrival = u64::try_from(arrival.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
        let left = context.deadline.checked_sub(arrival).filter(|&left| left > 0);
        Self { left: left.map(Duration::from_millis) }
    }

    /// What the invocation may take from its arrival on. The host can shorten the function's own `limit`, never
    /// lengthen it, so that no number from outside makes a time that cannot be represented.
    pub(super) fn within(self, limit: Duration) -> Duration {
        self.left.map_or(limit, |left| left.min(limit))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(600);

    /// A deadline `left` from now.
    pub(in crate::functions) fn in_time(left: Duration) -> Deadline {
        Deadline { left: Some(left) }
    }

    /// None, as under cargo-lambda's emulator.
    pub(in crate::functions) fn none() -> Deadline {
        told(600_000)
    }

    fn told(deadline: u64) -> Deadline {
        let mut context = Context::default();
        context.deadline = deadline;
        Deadline::at_arrival(&context, OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_000_000))
    }

    #[test]
    fn a_deadline_to_come_leaves_the_time_until_then() {
        assert_eq!(told(1_000_025_000), in_time(Duration::from_secs(25)));
        assert_eq!(told(1_000_025_000).within(LIMIT), Duration::from_secs(25));
        assert_eq!(told(1_000_000_001).within(LIMIT), Duration::from_millis(1), "late, and yet to come");
    }

    #[test]
    fn a_deadline_that_is_past_at_arrival_or_zero_is_none() {
        for past in [0, 1, 600_000, 999_999_999, 1_000_000_000] {
            assert_eq!(told(past), Deadline { left: None }, "{past}");
            assert_eq!(told(past).within(LIMIT), LIMIT, "{past}");
        }
    }

    #[test]
    fn the_functions_own_limit_is_never_exceeded() {
        for far in [1_000_600_000, 1_000_600_001, u64::MAX] {
            assert_eq!(told(far).within(LIMIT), LIMIT, "{far}");
        }
    }

    #[test]
    fn a_clock_before_1970_does_not_lift_the_limit() {
        let arrival = OffsetDateTime::UNIX_EPOCH - Duration::from_secs(1);
        let mut context = Context::default();
        context.deadline = u64::MAX;
        assert_eq!(Deadline::at_arrival(&context, arrival).within(LIMIT), LIMIT);
    }
}
