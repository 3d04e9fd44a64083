//! The packaged executable as the Functions host runs it, looked at through `/proc`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::failure::{Failure, Result, cannot, cannot_start};

/// A handler that takes longer than this, to start or to answer, is not slow but broken.
const LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at whether it answers: the resolution of the measured start.
const PROBE_INTERVAL: Duration = Duration::from_micros(50);
/// One rule, for a container that no measured event is about. Nobody listens where it points to.
const RULES: &str =
    r#"{"rules":[{"id":"budget","match":{"container":"wanted"},"endpoint":{"uri":"http://127.0.0.1:9/jobs"}}]}"#;

/// A running handler; it dies with this value.
pub(crate) struct Handler {
    child: Child,
    address: SocketAddr,
    /// From exec to the first 200.
    pub(crate) started_in: Duration,
}

/// Resident memory in bytes, as Linux tells it of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resident {
    pub(crate) now: u64,
    /// The most there ever was.
    pub(crate) peak: u64,
}

impl Drop for Handler {
    fn drop(&mut self) {
        // It has ended already, or it is killed now, as the host kills it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Handler {
    /// Starts `executable serve` in `folder` and waits for its first answer. `ledger` is its setting `SCOREKEEPER_LEDGER`.
    pub(crate) fn start(executable: &Path, folder: &Path, ledger: &str) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = port.map_err(|cause| Failure::because("cannot find a free port", cause))?;
        let mut command = Command::new(executable);
        command.arg("serve").env_clear().current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("FUNCTIONS_CUSTOMHANDLER_PORT", address.port().to_string());
        command.env("SCOREKEEPER_LEDGER", ledger).env("SCOREKEEPER_RULES", RULES);
        let began = Instant::now();
        let child = command.spawn().map_err(cannot_start(&executable.display().to_string()))?;
        let mut handler = Self { child, address, started_in: Duration::ZERO };
        loop {
            // What refuses the connection does not listen yet.
            if let Ok(stream) = TcpStream::connect(address) {
                let answer = exchange(stream, "GET", "/", "")?;
                handler.started_in = began.elapsed();
                return match answer.status {
                    200 => Ok(handler),
                    other => Err(Failure::new(format!("the probe `GET /` was answered {other}: {}", answer.body))),
                };
            }
            let ended =
                handler.child.try_wait().map_err(|cause| Failure::because("cannot wait for the handler", cause))?;
            if let Some(status) = ended {
                return Err(Failure::new(format!("the handler ended with {status} before it answered")));
            }
            if began.elapsed() > LIMIT {
                return Err(Failure::new(format!("the handler does not answer within {LIMIT:?}")));
            }
            thread::sleep(PROBE_INTERVAL);
        }
    }

    /// Invokes a function by a POST of `body`, and waits for the answer.
    pub(crate) fn post(&self, function: &str, body: &str) -> Result<Answer> {
        let stream = TcpStream::connect(self.address)
            .map_err(|cause| Failure::because("the handler does not listen any more", cause))?;
        exchange(stream, "POST", &format!("/{function}"), body)
    }

    /// What it has in memory.
    pub(crate) fn resident(&self) -> Result<Resident> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).map_err(cannot("read", path.as_ref()))?;
        resident(&status).ok_or_else(|| Failure::new(format!("{path} does not tell the resident memory")))
    }
}

fn resident(status: &str) -> Option<Resident> {
    let bytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    };
    Some(Resident { now: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

/// What the handler answered, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// One request on a connection of its own.
fn exchange(mut stream: TcpStream, method: &str, path: &str, body: &str) -> Result<Answer> {
    let failed = |cause| Failure::because(format!("{method} {path} failed"), cause);
    stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    let mut answer = String::new();
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .and_then(|()| stream.read_to_string(&mut answer))
        .map_err(failed)?;
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match status {
        Some(status) => Ok(Answer { status, body: body.to_owned() }),
        None => Err(Failure::new(format!("{method} {path} was answered with no status line"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let status = "Name:\tscorekeeper\nVmHWM:\t    9216 kB\nVmRSS:\t    8192 kB\n";
        let read = resident(status).unwrap();
        assert_eq!((read.now, read.peak), (8 << 20, 9 << 20));
        assert!(resident("VmRSS:\t 1 kB\n").is_none());
    }
}
