//! `scorekeeper simulator`: the simulated batch endpoint alone, for a handler or a client that runs elsewhere on this
//! machine. It prints the settings that lead there and serves until it is stopped.
//!
//! The identity header is a secret only as far as the machine has other users; it is printed when asked for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::adapters::simulator::{self, Container, Datastore, Handle, Options};

const ACCOUNT: &str = "local";

/// Options of `scorekeeper simulator`.
#[derive(Debug, Clone, clap::Args)]
pub struct SimulatorArgs {
    /// Address to serve on; 127.0.0.1:0 takes any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7073")]
    pub listen: SocketAddr,
    /// Folder for everything: inbox, outbox, journal
    #[arg(long, value_name = "DIR", default_value = ".scorekeeper-simulator")]
    pub data: PathBuf,
    /// Orders to misbehave: a JSON file, or the JSON itself
    #[arg(long, value_name = "FILE|JSON")]
    pub faults: Option<Orders>,
    /// Shell command that scores one file: reads $SCORE_INPUT, writes $SCORE_OUTPUT [default: a demonstration scorer]
    #[arg(long, value_name = "COMMAND")]
    pub score_command: Option<String>,
    /// What X-IDENTITY-HEADER must be [default: a new one at each start]
    #[arg(long, value_name = "TEXT", hide_default_value = true)]
    pub identity_header: Option<String>,
    /// Print the settings as JSON, the identity header unmasked
    #[arg(long)]
    pub json: bool,
}

/// Orders to misbehave as they come from the command line: JSON, or the path of a file with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Orders(pub simulator::Orders);

impl FromStr for Orders {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let text = if given.trim_start().starts_with('{') {
            given.to_owned()
        } else {
            std::fs::read_to_string(given).map_err(|why| format!("the file `{given}` cannot be read: {why}"))?
        };
        serde_json::from_str(&text).map(Self).map_err(|why| format!("these are no orders: {why}"))
    }
}

impl Orders {
    /// Makes a simulator misbehave from its start.
    pub fn apply(self, options: &mut Options) {
        if let Some(faults) = self.0.faults {
            options.faults = faults;
        }
        if let Some(behaviour) = self.0.behaviour {
            options.behaviour = behaviour;
        }
    }
}

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}; give another --listen ADDRESS (127.0.0.1:0 takes any free port)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The simulator's own reason.
    #[error(transparent)]
    Simulator(#[from] simulator::Error),
}

/// Serves until the process is stopped, after `print` was told where.
pub async fn run(args: SimulatorArgs, print: impl FnOnce(String)) -> Result<(), Error> {
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.map_err(|source| Error::Listen { address: args.listen, source })?;
    let as_json = args.json;
    let options = options(args);
    let header = options.identity_header.clone();
    let (handle, serving) = simulator::start(listener, options)?;
    print(if as_json { format!("{}\n", settings(&handle, &header)) } else { text(&handle) });
    serving.await?;
    Ok(())
}

fn options(args: SimulatorArgs) -> Options {
    let place = |name: &str| (ACCOUNT.to_owned(), name.to_owned(), args.data.join(name));
    let (account, container, folder) = place("inbox");
    let inbox = Container { account, container, folder };
    let (account, container, folder) = place("outbox");
    let outbox = Datastore { name: "workspaceblobstore".to_owned(), account, container, folder };
    let mut options = Options {
        containers: vec![inbox],
        datastores: vec![outbox],
        score_command: args.score_command,
        journal: Some(journal(&args.data)),
        ..Options::default()
    };
    if let Some(header) = args.identity_header {
        options.identity_header = header;
    }
    if let Some(orders) = args.faults {
        orders.apply(&mut options);
    }
    options
}

fn journal(data: &Path) -> PathBuf {
    data.join("simulator.journal")
}

/// What a handler must be told, by the names of its settings.
fn settings(handle: &Handle, header: &str) -> Value {
    json!({
        "scoringUri": handle.scoring_uri("demonstration"),
        "workspace": handle.workspace_id(),
        "SCOREKEEPER_RESOURCE_MANAGER": handle.origin(),
        "IDENTITY_ENDPOINT": handle.identity_endpoint(),
        "IDENTITY_HEADER": header,
        "admin": format!("{}/admin/jobs", handle.origin()),
    })
}

fn text(handle: &Handle) -> String {
    use std::fmt::Write as _;
    let mut text = "A simulated batch endpoint; its predictions are worthless. Ctrl-C stops it.\n".to_owned();
    for (name, value) in settings(handle, "*** (--json shows it)").as_object().into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<30}{}", value.as_str().unwrap_or_default());
    }
    text
}
