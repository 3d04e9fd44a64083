//! The Azure Functions custom-handler protocol: a small HTTP server on loopback that the Functions host calls.
//!
//! The host starts us, asks `GET /` until anything answers, then sends each invocation as `POST /<FunctionName>` with
//! an envelope (`envelope`) and expects an envelope back (`mount`). What is not obvious, read in the host's source:
//!
//! * an **empty 2xx hangs** the invocation until the function timeout, which then kills this whole process with all
//!   other invocations; so every answer has a JSON body and every invocation a deadline of our own before the host's;
//! * the body of a non-2xx is thrown away; so failures are logged here, with the invocation's id;
//! * the host sends as many invocations at once as there are events; so their number is bounded here;
//! * **exit code 0 is never restarted**; so there is no way out with 0 (`process`);
//! * on stop we are killed, without a signal before; so nothing may depend on a clean end.
//!
//! Source: Azure/azure-functions-host, `DefaultHttpWorkerService`, `HttpFunctionInvocationDispatcher`, `WorkerProcess`.

mod body;
mod context;
pub mod envelope;
mod forwarded;
mod mount;
mod process;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::HostFacts;

pub use self::mount::Functions;
#[cfg(feature = "dev")] // only `local` asks
pub(crate) use self::mount::UNUSABLE;
use self::mount::{Mount, Unusable};
use self::process::{Ending, Parent};

/// After a signal, invocations get this long to end.
const DRAIN: Duration = Duration::from_secs(10);
/// How often a handler that refuses everything says why.
const REPEAT: Duration = Duration::from_secs(60);
/// Connections that wait to be accepted; the host opens one per concurrent invocation.
const BACKLOG: u32 = 1024;

/// A bound port that answers `GET /` already. Invocations wait, within their deadline, until [`run`](Self::run) says
/// what to run.
pub struct Listening {
    address: SocketAddr,
    mount: Arc<Mount>,
    parent: Option<Parent>,
    server: JoinHandle<io::Result<()>>,
    stop: oneshot::Sender<()>,
}

/// Binds `127.0.0.1:port` and answers the host's probe from now on. To be called before anything slow.
///
/// Must be called within a tokio runtime. With a worker id in `facts`, a host started us, and its end will be ours.
pub fn listen(port: u16, concurrency: usize, facts: &HostFacts) -> io::Result<Listening> {
    let parent = facts.worker_id.is_some().then(Parent::of_this_process).flatten();
    let listener = bind(port)?;
    let address = listener.local_addr()?;
    let mount = Arc::new(Mount::new(concurrency, facts));
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = listener.tap_io(|stream| {
        // Only latency is at stake.
        let _ = stream.set_nodelay(true);
    });
    let serve = axum::serve(listener, mount::router(mount.clone())).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let server = tokio::spawn(async move { serve.await });
    tracing::info!(%address, "listening");
    Ok(Listening { address, mount, parent, server, stop })
}

/// Tells why nothing is done, once a minute: the log of a minute that somebody looks at has it, and no flood of events fills it.
async fn repeat(why: Option<String>) -> Infallible {
    let Some(why) = why else { return std::future::pending().await };
    each_minute(|| {
        tracing::error!(
            reason = why,
            "every invocation is refused, and delivered again, until this is corrected and the app restarted: {why}"
        );
    })
    .await
}

/// Says something at once and again after each [`REPEAT`].
async fn each_minute(mut say: impl FnMut()) -> Infallible {
    let mut every = tokio::time::interval(REPEAT);
    loop {
        every.tick().await;
        say();
    }
}

fn bind(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // A restarted handler gets the same port, while connections of its predecessor are still in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(BACKLOG)
}

impl Listening {
    /// The loopback address that is bound, with its port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the functions until a signal comes or the host is gone. Returns the exit code, which is never 0.
    pub async fn run(self, functions: Functions) -> u8 {
        self.until_the_end(Ok(functions)).await
    }

    /// Refuses each invocation with this reason, and tells it once a minute, for as long as [`run`](Self::run) would serve.
    pub async fn refuse(self, why: String) -> u8 {
        self.until_the_end(Err(Unusable(why))).await
    }

    async fn until_the_end(self, functions: Result<Functions, Unusable>) -> u8 {
        let Self { mount, parent, mut server, stop, .. } = self;
        let mut signals = match process::Signals::listen() {
            Ok(signals) => signals,
            Err(why) => {
                tracing::error!("signals cannot be listened to: {why}");
                return 1;
            }
        };
        let why = functions.as_ref().err().map(|Unusable(why)| why.clone());
        mount.open(functions);
        let ending = tokio::select! {
            ending = signals.next() => ending,
            never = repeat(why) => match never {},
            () = process::gone(parent) => Ending::ParentGone,
            ended = &mut server => {
                tracing::error!("the server ended by itself: {ended:?}");
                return 1;
            }
        };
        tracing::info!("ending: {ending}");
        if let Ending::Signal(_) = ending {
            // The receiver is gone only together with the server.
            let _ = stop.send(());
            tokio::select! {
                _ = &mut server => {}
                () = tokio::time::sleep(DRAIN) => tracing::warn!("invocations are still running; they will be delivered again"),
                _ = signals.next() => {}
            }
        }
        ending.exit_code()
    }
}
