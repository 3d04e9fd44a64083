//! Child processes of tests: started with nothing of this process's environment, read, waited for, and killed when dropped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

/// As the host's `initializationTimeout`.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// As the host's probe.
const PROBE_EVERY: Duration = Duration::from_millis(25);

/// A child process whose output is kept. Killed when dropped.
pub struct Process {
    pub child: Child,
    stdout: watch::Receiver<Vec<String>>,
    stderr: watch::Receiver<Vec<String>>,
    /// Held open as long as the process may live.
    leash: Option<ChildStdin>,
}

/// Runs its arguments as a program until that ends, or until its own stdin is closed; nothing is ever written there.
const LEASH: &str = r#"
exec 3<&0
"$@" 3<&- &
program=$!
{ read -r _ <&3; kill -9 "$program"; } >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait "$program" 2>/dev/null
code=$?
kill "$watch" 2>/dev/null
exit "$code"
"#;

impl Process {
    /// Starts a program with nothing in its environment but `vars`.
    pub fn spawn(
        program: impl Into<PathBuf>,
        arguments: &[&str],
        folder: &Path,
        vars: &BTreeMap<String, String>,
    ) -> Self {
        let mut command = Command::new(program.into());
        command.args(arguments).stdin(Stdio::null());
        Self::run(command, folder, vars)
    }

    /// The same, for a program that would go on if this process were killed: a shell in between waits on a pipe that
    /// only this process holds, and kills the program when the pipe closes.
    pub fn on_leash(program: &Path, arguments: &[&str], folder: &Path, vars: &BTreeMap<String, String>) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", LEASH, "leash"]).arg(program).args(arguments).stdin(Stdio::piped());
        Self::run(command, folder, vars)
    }

    fn run(mut command: Command, folder: &Path, vars: &BTreeMap<String, String>) -> Self {
        let mut child = command
            .current_dir(folder)
            .env_clear()
            .envs(vars)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        let leash = child.stdin.take();
        Self { child, stdout, stderr, leash }
    }

    /// Waits until this process answers the probe; `Err` if it ends before. That it is this one which answers is told by
    /// a line of its log with `sign`: another process may listen there, if it got the port meanwhile.
    pub async fn ready(&mut self, probe: reqwest::RequestBuilder, sign: &str) -> Result<(), ExitStatus> {
        let mut every = tokio::time::interval(PROBE_EVERY);
        let mut stdout = self.stdout.clone();
        let ready = async {
            loop {
                every.tick().await;
                // Any answer is good; only a connection that fails means "not yet".
                if probe.try_clone().expect("the body is no stream").send().await.is_ok() {
                    break;
                }
            }
            let own = stdout.wait_for(|lines| lines.iter().any(|line| line.contains(sign))).await.is_ok();
            if !own {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = ready => Ok(()),
            status = self.child.wait() => Err(status.unwrap()),
            () = tokio::time::sleep(READY_WITHIN) => panic!("the process is not ready within {READY_WITHIN:?}"),
        }
    }

    /// Waits for its end, a minute at most, and for the last of its output.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("still running: {:?}", self.stdout.borrow())).unwrap();
        for output in [&mut self.stdout, &mut self.stderr] {
            // Fails when the reader is done, which is what is waited for.
            while output.changed().await.is_ok() {}
        }
        status
    }

    /// Waits until a line on stderr is as `wanted`, a minute at most.
    pub async fn until_complained(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        Self::until(&mut self.stderr, wanted).await
    }

    /// Waits until a line on stdout is as `wanted`, a minute at most.
    pub async fn until_logged(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        Self::until(&mut self.stdout, wanted).await
    }

    async fn until(lines: &mut watch::Receiver<Vec<String>>, wanted: impl Fn(&str) -> bool) -> String {
        let found = |lines: &Vec<String>| lines.iter().any(|line| wanted(line));
        let waiting = lines.wait_for(found);
        let kept = tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("logged within a minute");
        let line = kept.expect("the process ended").iter().find(|line| wanted(line)).cloned();
        line.unwrap()
    }

    pub fn stdout(&self) -> Vec<String> {
        self.stdout.borrow().clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.borrow().join("\n")
    }

    /// For signals, while something else waits for the process.
    pub fn handle(&self) -> ProcessHandle {
        let pid = i32::try_from(self.child.id().expect("running")).unwrap();
        ProcessHandle(rustix::process::Pid::from_raw(pid).unwrap())
    }
}

impl Drop for Process {
    /// Ended when this returns: whoever starts another one in the same folder finds no lock and no port of this one.
    fn drop(&mut self) {
        let Some(pid) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?)) else {
            return;
        };
        // It may have ended by itself.
        let _ = self.child.start_kill();
        let ended = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        let _ = rustix::process::waitid(rustix::process::WaitId::Pid(pid), ended);
    }
}

/// Names a child process that was not waited for yet, so that its id is not another's.
pub struct ProcessHandle(rustix::process::Pid);

impl ProcessHandle {
    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.0, signal).unwrap();
    }
}

fn lines(output: impl AsyncRead + Unpin + Send + 'static) -> watch::Receiver<Vec<String>> {
    let (sender, receiver) = watch::channel(Vec::new());
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            sender.send_modify(|kept| kept.push(line));
        }
    });
    receiver
}
