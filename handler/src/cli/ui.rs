//! `scorekeeper ui`: the page of any ledger, on this machine, with the sign-in of whoever starts it.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use app::ports::Clock;
use lifecycle::redact::redacted;
use tokio::net::TcpListener;

use super::expected::address;
use super::ledger_command::user;
use super::on_ledger::{self, Access};
use super::{all_processors, working_directory};
use crate::cli::preview::results;
use crate::compose;
use crate::config::{LedgerLocation, LedgerSettings, ProcessVars, WhichLedger};
use crate::guard::{self, Names};
use crate::local::stopped;
use crate::page::{self, Live, Measured, PageOptions};
use crate::telemetry;

/// Which ledger, and where it is shown.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct UiArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// Address of the page; of this machine alone [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDRESS", value_parser = address, default_value = "127.0.0.1:0", hide_default_value = true)]
    pub listen: SocketAddr,
    /// Only show: nothing can be ordered on the page
    #[arg(long)]
    pub read_only: bool,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Whoever reaches it acts as whoever started it.
    #[error(
        "--listen {0} would open the page to other machines, and whoever reaches it would act in your name; give an address of this one, \
         such as 127.0.0.1:7073"
    )]
    Remote(SocketAddr),
    /// The address is taken, or is none of this machine's.
    #[error("cannot listen on {address}; give another --listen ADDRESS (127.0.0.1:0 takes any free port)")]
    Listen {
        /// The address that `--listen` names.
        address: SocketAddr,
        /// What the system answered when it was bound.
        #[source]
        source: io::Error,
    },
}

pub(super) fn run(args: &UiArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    if !args.listen.ip().is_loopback() {
        return Err(Error::Remote(args.listen).into());
    }
    telemetry::start_for_people();
    let settings = LedgerSettings::read(&ProcessVars, &working_directory()?, &args.which)?;
    let access = if args.read_only { Access::Read } else { Access::Write };
    let opened = compose::ledger_alone(&settings, clock, access).map_err(on_ledger::Error::from)?;
    let runtime = all_processors()?;
    runtime.block_on(async {
        let refused = |source| Error::Listen { address: args.listen, source };
        let listener = TcpListener::bind(args.listen).await.map_err(refused)?;
        let at = listener.local_addr().map_err(refused)?;
        let operator =
            if args.read_only { None } else { Some(opened.holder().await.unwrap_or_else(|| user(&ProcessVars))) };
        let title = format!("Scorekeeper, {}", name_of(&settings));
        let mut out = io::stdout().lock();
        let who = operator.as_ref().map_or_else(|| "only shown".to_owned(), |it| format!("orders are given by {it}"));
        writeln!(out, "{}: http://{at}/ ({who}). Ctrl-C stops it.", redacted(&title))?;
        out.flush()?;
        drop(out);
        let options = PageOptions {
            ledger: opened.ledger.clone(),
            place: settings.ledger.clone(),
            clock: Clock::clone(clock),
            title,
            which: args.which.clone(),
            operator,
            token: page::new_token(),
            live: Live::Pushed,
            measured: Measured::default(),
            results: Some(results(&opened.ledger, &settings.ledger, clock)),
        };
        let router = page::router(options).layer(axum::middleware::from_fn_with_state(Names::Local, guard::guard));
        tokio::select! {
            ended = axum::serve(listener, router) => ended.map_err(refused)?,
            () = stopped() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What people call the ledger.
fn name_of(settings: &LedgerSettings) -> String {
    let place = match &settings.ledger {
        LedgerLocation::Embedded(folder) => folder.display().to_string(),
        LedgerLocation::Tables { url, .. } => url.host_str().unwrap_or_default().to_owned(),
    };
    format!("{} in {place}", settings.task_hub)
}
