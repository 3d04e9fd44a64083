//! The same functions under AWS Lambda's runtime: `_HANDLER` names the one to run.

use std::process::ExitCode;
use std::sync::Arc;

use app::ports::Clock;
use handler::compose;
use handler::config::{Config, ProcessVars, Vars as _};
use handler::functions::{BLOB_CREATED, BLOB_CREATED_FROM_QUEUE, NAMES, RECONCILE, blob_created, reconcile};
use handler::telemetry::{self, fatal};
use time::OffsetDateTime;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, why)) => fatal(code, &why),
    }
}

fn run() -> Result<(), (u8, String)> {
    let cwd = std::env::current_dir().map_err(|why| (1, format!("the working directory can't be read: {why}")))?;
    let config = Config::read(&ProcessVars, &cwd).map_err(|problems| (64, problems.to_string()))?;
    let function = ProcessVars.get("_HANDLER").unwrap_or_default();
    telemetry::start(&config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|why| (1, format!("no runtime: {why}")))?;
    runtime.block_on(async {
        let app = compose::app(&config, clock()).map_err(|why| (1, app::error_chain(&why)))?;
        match function.as_str() {
            BLOB_CREATED | BLOB_CREATED_FROM_QUEUE => lambda_runtime::run(blob_created(app)).await,
            RECONCILE => lambda_runtime::run(reconcile(app)).await,
            other => {
                return Err((64, format!("`_HANDLER` is `{other}`; expected one of {}", NAMES.join(", "))));
            }
        }
        .map_err(|why| (1, why.to_string()))
    })
}

#[expect(clippy::disallowed_methods, reason = "time is read in the mains and handed down")]
fn clock() -> Clock {
    Arc::new(OffsetDateTime::now_utc)
}
