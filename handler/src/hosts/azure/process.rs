//! How this process ends: on a signal, or with its parent. Never with exit code 0, which the Functions host takes for
//! a state that needs no restart: every later invocation would then fail.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Where the kernel has no pidfd (before 5.3, some sandboxes), the parent is asked for this often.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Why the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// By this signal's number.
    Signal(i32),
    /// Its parent is gone; nobody would ever call again, and the port would stay taken.
    ParentGone,
}

impl Ending {
    /// As shells report signals; 1 without one.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(1),
            Self::ParentGone => 1,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(number) => write!(f, "signal {number}"),
            Self::ParentGone => f.write_str("the host is gone"),
        }
    }
}

/// SIGTERM (containers) and SIGINT (a terminal sends it to the whole group of Core Tools).
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(super) async fn next(&mut self) -> Ending {
        let kind = tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        };
        Ending::Signal(kind.as_raw_value())
    }
}

/// The process that started us.
///
/// Watched by a pidfd, not by `PR_SET_PDEATHSIG`: that signal comes when the parent's *thread* that forked us ends,
/// and .NET's host starts processes from pool threads, which end when idle. A healthy handler would be killed.
pub(super) struct Parent {
    pid: Pid,
    handle: Option<AsyncFd<OwnedFd>>,
}

impl Parent {
    /// The parent as it is now; `None` if it lies outside of this process's namespace and so cannot be watched.
    pub(super) fn of_this_process() -> Option<Self> {
        let pid = getppid()?;
        #[expect(deprecated, reason = "its successor is an unsafe fn; an OwnedFd keeps the promise that it asks for")]
        let watch = AsyncFd::new;
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok().and_then(|handle| watch(handle).ok());
        Some(Self { pid, handle })
    }

    /// Returns when the parent is gone.
    async fn gone(self) {
        // Gone between the two calls above: the handle may be another's.
        if getppid() != Some(self.pid) {
            return;
        }
        // A pidfd becomes readable when its process has ended.
        if let Some(handle) = &self.handle
            && handle.readable().await.is_ok()
        {
            return;
        }
        while getppid() == Some(self.pid) {
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

/// Returns when the parent is gone; never without one.
pub(super) async fn gone(parent: Option<Parent>) {
    match parent {
        Some(parent) => parent.gone().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use rustix::process::getpid;

    use super::*;

    /// The watched process lives, but it is not the parent: its id was given again, or we were handed on.
    #[tokio::test]
    async fn a_parent_that_is_another_by_now_is_gone() {
        let mut parent = Parent::of_this_process().expect("tests have a parent");
        assert!(gone(Some(parent)).now_or_never().is_none(), "ours lives");
        for watched in [true, false] {
            parent = Parent::of_this_process().expect("tests have a parent");
            parent.pid = getpid();
            parent.handle = parent.handle.filter(|_| watched);
            assert!(gone(Some(parent)).now_or_never().is_some());
        }
        assert!(gone(None).now_or_never().is_none());
    }

    #[test]
    fn no_end_has_exit_code_zero() {
        assert_eq!(Ending::Signal(15).exit_code(), 143);
        assert_eq!(Ending::Signal(2).exit_code(), 130);
        assert_eq!(Ending::Signal(128).exit_code(), 1, "never wraps to 0");
        assert_eq!(Ending::ParentGone.exit_code(), 1);
    }
}
