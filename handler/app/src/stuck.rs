//! When a scoring is stuck: in a status for longer than what that status takes. One rule for the tick's record, for `status` and
//! for `explain`.

use lifecycle::Status;
use time::{Duration, OffsetDateTime};

/// A scoring that is for longer than this in a status that lasts minutes is stuck.
const STUCK_AFTER: Duration = Duration::hours(1);
/// A scoring that is queued for longer than this is stuck. Bursts and breakers make it wait for hours.
const STUCK_IN_QUEUE_AFTER: Duration = Duration::days(1);

/// A job that runs for less than this is not slow, whatever its rule's jobs usually take.
const SLOW_AFTER: Duration = Duration::minutes(10);

/// Whether a job runs for more than three times what its rule's usually take, as far as that is known.
pub(crate) fn is_slow(usual: Option<Duration>, since: OffsetDateTime, now: OffsetDateTime) -> bool {
    usual.is_some_and(|usual| now - since > SLOW_AFTER.max(usual * 3))
}

/// How long a scoring may stand there; `None`: for as long as its rule, or a person, lets it.
pub(crate) fn time_limit(status: Status) -> Option<Duration> {
    match status {
        Status::Queued => Some(STUCK_IN_QUEUE_AFTER),
        Status::Staging | Status::Submitting | Status::Unknown | Status::Cancelling | Status::Verifying => {
            Some(STUCK_AFTER)
        }
        // What is held waits for a person and is told of as that; a job runs as long as its rule lets it (`jobTimeout`); the
        // rest is final.
        // A member waits for its group, which is told of itself.
        Status::Grouped
        | Status::Held
        | Status::Running
        | Status::Scored
        | Status::Failed
        | Status::Cancelled
        | Status::Gone
        | Status::Superseded => None,
    }
}

/// Whether it stands there for too long.
pub(crate) fn is_stuck(status: Status, since: OffsetDateTime, now: OffsetDateTime) -> bool {
    time_limit(status).is_some_and(|limit| now - since > limit)
}
