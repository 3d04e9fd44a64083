//! cargo-lambda's emulator of AWS Lambda, as `cargo lambda watch --only-lambda-apis` starts it in this workspace, and
//! `bootstrap` under it. Everything stays on loopback.
//!
//! `tests/cargo-lambda/requirements.txt` pins its version; `cargo xtask test` installs it into `target/cargo-lambda`.
//! What is known of it, seen in version 1.9.2:
//!
//! * it asks `cargo metadata --no-deps` which binaries there are, so it must be started where a `Cargo.toml` is. They
//!   are its functions, and `_`, the one that a process at `http://…/.rt` is. What nobody polls for waits for a poll;
//! * an invocation is `POST /2015-03-31/functions/_/invocations`. It is answered with what the function posts: 200 for
//!   a response, 500 for an error (Lambda itself: 200 and `X-Amz-Function-Error`);
//! * an invocation is handed out with these headers, the first of them a UUID, the last one by the time:
//!
//!   ```text
//!   lambda-runtime-aws-request-id: d959a706-657d-443c-96f1-cbdb50679e30
//!   lambda-runtime-deadline-ms: 600000
//!   lambda-runtime-invoked-function-arn: function-arn
//!   lambda-runtime-trace-id: Root=1-6b0a9a04-c700125ac296325bd0a5c5a8;Parent=16ea1feabeaf0800;Sampled=1
//!   ```
//!
//!   The deadline is always this number: ten minutes, where Lambda has the time in milliseconds since 1970;
//! * port 0 means its default, 9000. Where its port is taken it ends, with exit code 0.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use serde_json::Value;

use super::functions_host::{client, free_port};
use super::lambda::{Host, Outcome, bootstrap};
use super::process::Process;
use super::pypi;

/// The emulator. It ends with this value, or with this process, however that ends.
pub struct Emulator {
    port: u16,
    process: Process,
    client: reqwest::Client,
}

/// A function under an emulator of its own.
pub struct Emulated {
    function: Process,
    emulator: Emulator,
}

/// Is it there? Where it is not, whoever runs the tests is told, or it is a failure.
pub fn is_installed() -> bool {
    program().is_some()
}

fn program() -> Option<PathBuf> {
    let environment = pypi::environment("cargo-lambda", "SCOREKEEPER_REQUIRE_CARGO_LAMBDA")?;
    Some(environment.join("bin/cargo-lambda"))
}

impl Emulator {
    /// Starts it and waits until it answers.
    pub async fn start() -> Self {
        let program = program().expect("`is_installed` was asked");
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
        // It runs the `cargo` that this was built with, and needs nothing else.
        let vars = [("CARGO".to_owned(), env!("CARGO").to_owned())].into();
        for _ in 0..5 {
            let port = free_port();
            let at = ["--invoke-address", "127.0.0.1", "--invoke-port", &port.to_string()];
            let arguments = [&["lambda", "watch", "--only-lambda-apis"], &at[..]].concat();
            let process = Process::on_leash(&program, &arguments, workspace, &vars);
            let mut emulator = Self { port, process, client: client() };
            match emulator.ready().await {
                Ok(()) => return emulator,
                Err(status) if status.success() => println!("port {port} was taken meanwhile"),
                Err(status) => panic!("the emulator ended with {status}: {}", emulator.process.stderr()),
            }
        }
        panic!("five ports in a row were taken");
    }

    async fn ready(&mut self) -> Result<(), ExitStatus> {
        // A function that there is not: nothing is handed to anybody. It says so in its log, too.
        let probe = self.client.post(self.invocations("nobody")).body("{}");
        self.process.ready(probe, "that function doesn't exist").await
    }

    /// Address of its Runtime API, for the process that is `_`.
    pub fn runtime_api(&self) -> String {
        format!("http://127.0.0.1:{}/.rt", self.port)
    }

    fn invocations(&self, function: &str) -> String {
        format!("http://127.0.0.1:{}/2015-03-31/functions/{function}/invocations", self.port)
    }

    /// Invokes the function `_`; `Err` if there is no answer, after a minute at most.
    pub async fn invoke(&self, payload: &Value) -> reqwest::Result<Outcome> {
        let response = self.client.post(self.invocations("_")).body(payload.to_string()).send().await?;
        let (status, body) = (response.status().as_u16(), response.text().await?);
        let value = serde_json::from_str(&body).unwrap_or_else(|why| panic!("{status}, no JSON ({why}): {body}"));
        match status {
            200 => Ok(Ok(value)),
            500 => Ok(Err(value)),
            other => panic!("the emulator answers {other}: {value}"),
        }
    }
}

impl Host for Emulated {
    async fn start(function: &str, folder: &Path, vars: &BTreeMap<String, String>) -> Self {
        let emulator = Emulator::start().await;
        let function = bootstrap(&emulator.runtime_api(), function, folder, vars);
        Self { function, emulator }
    }

    async fn invoke(&self, payload: &Value) -> Outcome {
        // What is invoked before the function polls waits for it; if the function has ended, for ever.
        let outcome = self.emulator.invoke(payload).await;
        outcome.unwrap_or_else(|why| panic!("{why}: {}", self.function.stderr()))
    }
}
