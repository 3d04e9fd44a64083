//! The simulated service's own clock: the wall's, or one that a test moves by hand.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

/// Tells the simulator the time. Cheap to clone; clones show the same time.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Wall,
    Manual(watch::Receiver<OffsetDateTime>),
}

/// Moves a manual [`Clock`]. The clock stands still for ever once this is dropped.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<OffsetDateTime>);

impl Clock {
    /// The clock of this machine, which moves by itself.
    pub fn wall() -> Self {
        Self(Source::Wall)
    }

    /// A clock that shows `start` until its hand is moved.
    pub fn manual(start: OffsetDateTime) -> (Self, ManualClock) {
        let (hand, shown) = watch::channel(start);
        (Self(Source::Manual(shown)), ManualClock(hand))
    }

    /// The time in UTC that the clock shows.
    #[expect(clippy::disallowed_methods, reason = "the simulator stands for another machine, which has its own clock")]
    pub fn now(&self) -> OffsetDateTime {
        match &self.0 {
            Source::Wall => OffsetDateTime::now_utc(),
            Source::Manual(shown) => *shown.borrow(),
        }
    }

    /// Returns once the clock shows `at` or later.
    pub(super) async fn until(&self, at: OffsetDateTime) {
        match &self.0 {
            Source::Wall => {
                let left = Duration::try_from(at - self.now()).unwrap_or_default();
                tokio::time::sleep(left).await;
            }
            Source::Manual(shown) => {
                if shown.clone().wait_for(|now| *now >= at).await.is_err() {
                    std::future::pending::<()>().await; // the hand is gone, so this hour never comes
                }
            }
        }
    }
}

impl ManualClock {
    /// Moves the clock on; whatever waits for a time that has come by then goes on.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Wall => f.write_str("Clock::wall"),
            Source::Manual(shown) => write!(f, "Clock at {}", *shown.borrow()),
        }
    }
}
