//! Handlers as processes of their own: started as a Functions host starts them, looked at through `/proc`.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bare;
use crate::fakes::Fakes;
use crate::{Outcome, upload};

/// The executable under test unless another one is named: of the profile that this bench was built in.
pub(crate) const SCOREKEEPER: &str = env!("CARGO_BIN_EXE_scorekeeper");

/// A handler that takes longer than this to answer is not slow but broken.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks at whether a handler answers; the resolution of the cold start.
const PROBE_EVERY: Duration = Duration::from_micros(100);
/// Ticks per second in `/proc/PID/stat`: fixed in Linux's interface to programs.
const USER_HZ: f64 = 100.0;

/// Processor time of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    /// In user mode and in the kernel.
    pub(crate) total: Duration,
}

impl Cpu {
    pub(crate) fn since(self, before: Self) -> Self {
        let Self { user, total } = before;
        Self { user: self.user.saturating_sub(user), total: self.total.saturating_sub(total) }
    }

    /// For each of so many events.
    pub(crate) fn of_each(self, events: u32) -> Self {
        Self { user: self.user / events, total: self.total / events }
    }
}

/// A handler process; it dies with this value.
pub(crate) struct Handler {
    child: Child,
    pub(crate) port: u16,
    /// From exec to the first answer.
    pub(crate) started_in: Duration,
}

impl Drop for Handler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What to start.
pub(crate) struct Start<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) fakes: &'a Fakes,
    pub(crate) max_in_flight: Option<u32>,
    /// Where our handler's log goes; none: nowhere.
    pub(crate) log: Option<&'a Path>,
    /// Where valgrind counts each handler's instructions; none: it runs as it is.
    pub(crate) counted: Option<&'a Path>,
}

impl Start<'_> {
    /// The program, or valgrind with it. A profile is written when the handler ends.
    fn command(&self, program: &Path) -> Command {
        let Some(profile) = self.counted else {
            let mut command = Command::new(program);
            command.env_clear();
            return command;
        };
        let mut command = Command::new("valgrind");
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.args(["-q", "--tool=callgrind"]).arg(format!("--callgrind-out-file={}", profile.display()));
        command.arg(program);
        command
    }

    /// `scorekeeper serve`, as the Functions host starts it, with its default settings but one: there is no Resource
    /// Manager here that could be asked for orphaned jobs.
    pub(crate) fn ours(&self) -> Outcome<Handler> {
        let port = free_port()?;
        let mut command = self.command(self.binary);
        command
            .arg("serve")
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
            .env("SCOREKEEPER_LEDGER", self.fakes.ledger())
            .env("SCOREKEEPER_ORPHAN_SCAN_INTERVAL", "off")
            .env("SCOREKEEPER_RULES", upload::rules(&self.fakes.endpoint(), self.max_in_flight))
            .env("IDENTITY_ENDPOINT", self.fakes.identity())
            .env("IDENTITY_HEADER", "bench");
        start(self.folder, command, port, self.log)
    }

    /// The bare handler: this program in its other role.
    pub(crate) fn bare(&self, recorded: &str) -> Outcome<Handler> {
        let port = free_port()?;
        let requests = self.folder.join("requests.json");
        std::fs::write(&requests, recorded)?;
        let mut command = self.command(&std::env::current_exe()?);
        command.arg(bare::ROLE).arg(port.to_string()).arg(requests);
        start(self.folder, command, port, None)
    }
}

/// A port that was free a moment ago, as the real host chooses it.
fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn start(folder: &Path, mut command: Command, port: u16, log: Option<&Path>) -> Outcome<Handler> {
    // The host reads the handler's log from a pipe; here it goes nowhere, so that nobody's reading is measured.
    let log = log.map(std::fs::File::create).transpose()?.map_or_else(Stdio::null, Stdio::from);
    command.current_dir(folder).stdin(Stdio::null()).stdout(log).stderr(Stdio::inherit());
    let began = Instant::now();
    let child = command.spawn()?;
    let mut handler = Handler { child, port, started_in: Duration::ZERO };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    loop {
        if let Ok(mut stream) = TcpStream::connect(address)
            && stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").is_ok()
        {
            let mut answer = [0; 12];
            stream.read_exact(&mut answer)?;
            handler.started_in = began.elapsed();
            return match &answer {
                b"HTTP/1.1 200" => Ok(handler),
                other => Err(format!("the probe was answered {}", String::from_utf8_lossy(other)).into()),
            };
        }
        if let Some(status) = handler.child.try_wait()? {
            return Err(format!("the handler ended with {status}").into());
        }
        if began.elapsed() > READY_WITHIN {
            return Err(format!("the handler does not answer within {READY_WITHIN:?}").into());
        }
        std::thread::sleep(PROBE_EVERY);
    }
}

impl Handler {
    /// Ends it as a host does that goes away in peace, and waits for that.
    pub(crate) fn end(mut self) -> Outcome<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    /// Resident memory in bytes: now, and the most there ever was.
    pub(crate) fn memory(&self) -> Outcome<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|text| text.parse::<u64>().ok());
            number.map(|kilobytes| kilobytes * 1024).ok_or_else(|| format!("/proc has no {name}"))
        };
        Ok((kilobytes("VmRSS:")?, kilobytes("VmHWM:")?))
    }

    /// Processor time so far, of all threads.
    pub(crate) fn cpu(&self) -> Outcome<Cpu> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name is in brackets and may hold anything; the numbers are behind it.
        let (_, numbers) = stat.rsplit_once(')').ok_or("no stat line")?;
        let mut ticks = numbers.split_whitespace().skip(11).map(str::parse::<u32>);
        let mut next = || ticks.next().ok_or("a stat line that is too short");
        let (user, system) = (next()??, next()??);
        let time = |ticks: u32| Duration::from_secs_f64(f64::from(ticks) / USER_HZ);
        Ok(Cpu { user: time(user), total: time(user + system) })
    }
}
