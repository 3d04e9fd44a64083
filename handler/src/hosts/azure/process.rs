//! How this process ends: on a signal, or with its parent. Never with exit code 0, which the Functions host takes for
//! a state that needs no restart: every later invocation would then fail.

use std::fmt;
use std::io;

#[cfg(unix)]
pub(super) use self::parent::Parent;

/// What makes this process end; its exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The signal of this number has come: SIGTERM or SIGINT.
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
#[cfg(unix)]
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(super) async fn next(&mut self) -> Ending {
        use tokio::signal::unix::SignalKind;
        let kind = tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        };
        Ending::Signal(kind.as_raw_value())
    }
}

/// Ctrl-C, told as the signal that it is elsewhere.
#[cfg(not(unix))]
pub(super) struct Signals(tokio::signal::windows::CtrlC);

#[cfg(not(unix))]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    pub(super) async fn next(&mut self) -> Ending {
        self.0.recv().await;
        Ending::Signal(2)
    }
}

#[cfg(unix)]
mod parent {
    use std::time::Duration;

    use rustix::process::{Pid, getppid};

    /// Where there is no pidfd (Linux before 5.3, some sandboxes, macOS), the parent is asked for this often.
    const ASK_AGAIN: Duration = Duration::from_secs(1);

    /// The process that started us.
    ///
    /// Watched by a pidfd, not by `PR_SET_PDEATHSIG`: that signal comes when the parent's *thread* that forked us ends,
    /// and .NET's host starts processes from pool threads, which end when idle. A healthy handler would be killed.
    pub(in super::super) struct Parent {
        pub(super) pid: Pid,
        pub(super) watch: Option<Watch>,
    }

    impl Parent {
        /// The parent as it is now; `None` if it lies outside of this process's namespace and so cannot be watched.
        pub(in super::super) fn of_this_process() -> Option<Self> {
            let pid = getppid()?;
            Some(Self { pid, watch: Watch::of(pid) })
        }

        /// Returns when the parent is gone.
        pub(super) async fn gone(self) {
            // Gone between the two calls above: the handle may be another's.
            if getppid() != Some(self.pid) {
                return;
            }
            if let Some(watch) = &self.watch
                && watch.gone().await
            {
                return;
            }
            while getppid() == Some(self.pid) {
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }

    /// A handle of a process.
    #[cfg(target_os = "linux")]
    pub(super) struct Watch(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

    #[cfg(target_os = "linux")]
    impl Watch {
        fn of(pid: Pid) -> Option<Self> {
            use rustix::process::{PidfdFlags, pidfd_open};
            #[expect(
                deprecated,
                reason = "its successor is an unsafe fn; an OwnedFd keeps the promise that it asks for"
            )]
            let watch = tokio::io::unix::AsyncFd::new;
            pidfd_open(pid, PidfdFlags::empty()).ok().and_then(|handle| watch(handle).ok()).map(Self)
        }

        /// A pidfd becomes readable when its process has ended.
        async fn gone(&self) -> bool {
            self.0.readable().await.is_ok()
        }
    }

    /// There is no such handle.
    #[cfg(not(target_os = "linux"))]
    pub(super) enum Watch {}

    #[cfg(not(target_os = "linux"))]
    impl Watch {
        fn of(_: Pid) -> Option<Self> {
            None
        }

        async fn gone(&self) -> bool {
            match *self {}
        }
    }
}

/// Nobody is watched: a host there ends its handlers itself.
#[cfg(not(unix))]
pub(super) enum Parent {}

#[cfg(not(unix))]
impl Parent {
    pub(super) fn of_this_process() -> Option<Self> {
        None
    }

    async fn gone(self) {
        match self {}
    }
}

/// Returns when the parent is gone; never without one.
pub(super) async fn gone(parent: Option<Parent>) {
    match parent {
        Some(parent) => parent.gone().await,
        None => std::future::pending().await,
    }
}

#[cfg(all(test, unix))]
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
            parent.watch = parent.watch.filter(|_| watched);
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
