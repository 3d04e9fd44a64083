//! `scorekeeper local`: the whole product on one machine, without a cloud.
//!
//! Real: the handler (a process of its own, called through the custom-handler protocol), its ledger on disk, its
//! client of Azure ML, tokens from an identity endpoint, output verification. Stood in for: the Functions host and
//! Event Grid (this module), the container (the inbox folder), Azure ML and storage (the simulator, in this process).
//!
//! Everything may be killed at any moment; started again, it goes on where it was.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lifecycle::redact::redacted;
use lifecycle::text::visible;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use self::delivery::{Unscored, deliver, scored_files, tell_beside};
use self::functions_host::{FunctionsHost, running, timer};
use self::inbox::Inbox;
use self::installation::{Installation, OUTBOX};
use self::lasting::Lasting;
use self::notices::Beside;
use self::place::Place;
use self::terminal::View;
use crate::cli::ledger_command::user;
use crate::cli::local::LocalArgs;
use crate::cli::preview::results;
use crate::config::{self, LedgerLocation, ProcessVars, RulesText, Vars as _};
use crate::functions;
use crate::guard::{self, Names};
use crate::page::{self, Live, Measured, PageOptions};
use app::error_chain;
use app::ledger::{self, Ledger};
use app::ports::Clock;
use simulator::{self, Container, SimulatorOptions};
use stores::embedded::{EmbeddedStore, OpenError};

mod delivery;
mod events;
mod functions_host;
mod inbox;
mod installation;
mod lasting;
mod notices;
mod place;
mod staging;
mod terminal;

/// Between two ticks. Azure's timer runs each minute; nobody wants to wait for that here.
const TICK: Duration = Duration::from_secs(1);
/// Reconcile runs from one run of sweeps to the next.
const SWEEP_EVERY: u64 = 60;
/// Between two scans of the inbox, and two looks at the ledger for the terminal.
const SCAN: Duration = Duration::from_millis(500);
/// Holds the time of the last change that the terminal was told of.
const TOLD: &str = "terminal.told";
/// The page's address unless another is given.
const PAGE: &str = "127.0.0.1:7072";

/// Why it could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file or folder could not be made, read or written.
    #[error("{what} `{path}`")]
    Folder {
        /// What was tried, which begins the message: `cannot make the inbox`.
        what: &'static str,
        /// The path that it was tried with.
        path: String,
        /// What the system answered to it.
        #[source]
        source: io::Error,
    },
    /// Another one runs on the same folder.
    #[error("another `scorekeeper local` runs on `{0}`; stop it or give another --data")]
    Busy(String),
    /// Others would see the page.
    #[error(
        "--listen {0} shows the page to everybody who reaches that address; add --allow-remote if that is wanted, see its help"
    )]
    Remote(SocketAddr),
    /// The address of the page or of the simulated endpoint cannot be listened on.
    #[error("cannot listen on {address}; {remedy}")]
    Listen {
        /// The address with its port, as a text.
        address: String,
        /// What to do about it: another `--listen` for the page, or freeing the port that running scorings know.
        remedy: String,
        /// What the system answered when it was bound.
        #[source]
        source: io::Error,
    },
    /// The rules to rehearse are broken.
    #[error("{shown}: the rules are broken\n{problems}")]
    Rules {
        /// The rules file, as it is called in messages.
        shown: String,
        /// All that is wrong with the rules, one line each.
        problems: lifecycle::rule::Problems,
    },
    /// The simulated endpoint could not start, or stopped serving.
    #[error(transparent)]
    Simulator(#[from] simulator::Error),
    /// The folder of the ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// Rows of the ledger could not be read.
    #[error("the ledger cannot be read")]
    LedgerRead(#[source] ledger::Error),
    /// The ledger refuses its task hub, which is a constant here.
    #[error("the ledger cannot be read")]
    LedgerOptions(#[from] ledger::InvalidTaskHub),
    /// The handler's process could not be started, or refuses every invocation.
    #[error(transparent)]
    Handler(#[from] functions_host::Error),
}

/// Folder of the ledger below the data folder; the CLI reads the same.
pub(crate) fn ledger_folder(data: &Path) -> PathBuf {
    data.join("ledger")
}

/// Runs until Ctrl-C or SIGTERM. `rules` are rehearsed in place of one for the whole inbox; `binary` is this program, started again
/// as the handler.
pub(crate) async fn run(
    args: &LocalArgs,
    rules: Option<&RulesText>,
    binary: PathBuf,
    clock: Clock,
) -> Result<(), Error> {
    if let Some(address) = args.listen.filter(|address| !address.ip().is_loopback() && !args.allow_remote) {
        return Err(Error::Remote(address));
    }
    let data = folder("cannot make the data folder", &args.data)?;
    let _lock = lock(&data)?;
    let inbox = folder("cannot make the inbox", &data.join("inbox"))?;
    let outbox = folder("cannot make the outbox", &data.join(OUTBOX))?;

    let listener = simulator_listener(&data).await?;
    let service = service(&listener)?;
    let installation = installation(rules, &data, (&inbox, &outbox), &service)?;
    for place in &installation.places {
        folder("cannot make the inbox", &place.folder)?;
    }
    let options = simulator_options(args, &data, &installation);
    let identity_header = options.identity_header.clone();
    let (handle, simulator) = simulator::start(listener, options)?;
    let settings = settings(&service, &identity_header, &handle.storage_hosts(), &data, &installation)?;
    config::local::write(&data, &settings)
        .and_then(|()| {
            let folders = installation.datastores.iter().map(|it| (it.name.as_str(), it.folder.as_path()));
            config::local::write_datastores(&data, folders)
        })
        .map_err(|source| folder_error("cannot write the settings to", &data, source))?;
    let simulator = tokio::spawn(simulator);

    let store = EmbeddedStore::open(&ledger_folder(&data))?;
    let ledger = Ledger::new(Arc::new(store), &crate::compose::ledger_options(TASK_HUB, false))?;

    let page = page_listener(args.listen).await?;
    let address = page
        .local_addr()
        .map_err(|source| folder_error("cannot read the address of", Path::new("the page"), source))?;
    let names = if address.ip().is_loopback() { Names::Local } else { Names::Any };
    let which = args.which();
    // To other machines it is only shown: nobody there has said who they are.
    let operator = (names == Names::Local).then(|| user(&ProcessVars));
    let router = page::router(PageOptions {
        ledger: ledger.clone(),
        place: LedgerLocation::Embedded(ledger_folder(&data)),
        clock: Arc::clone(&clock),
        title: "Scorekeeper, local".to_owned(),
        which: which.clone(),
        operator,
        token: page::new_token(),
        live: Live::Pushed,
        measured: Measured::default(),
        results: Some(results(&ledger, &LedgerLocation::Embedded(ledger_folder(&data)), &clock)),
    });
    let router = router.layer(axum::middleware::from_fn_with_state(names, guard::guard));
    let page = tokio::spawn(async move { axum::serve(page, router).await });

    let host = Arc::new(Mutex::new(FunctionsHost::new(binary, &data, settings)));
    host.lock().await.usable().await?;
    greet(&installation.places, &outbox, address, &handle, args);

    let mut view = View::new(io::stdout(), io::stdout().is_terminal(), which, clock(), read_told(&data));
    view.skip_what_was_told(&ledger).await.map_err(Error::LedgerRead)?;
    let unscored = Unscored { ledger: ledger.clone(), clock: Clock::clone(&clock), news: Arc::default() };
    let mut tasks = vec![
        tokio::spawn(tick(Arc::clone(&host))),
        tokio::spawn(show(view, ledger.clone(), Arc::clone(&unscored.news), clock, data.join(TOLD))),
        tokio::spawn(tell_beside(Beside::new(inbox, &installation.places), unscored.clone())),
    ];
    for place in installation.places {
        let scored = scored_files(&ledger, &place).await?;
        tasks.push(tokio::spawn(deliver(
            place.clone(),
            Inbox::new(place, scored),
            Arc::clone(&host),
            unscored.clone(),
        )));
    }
    stopped().await;
    for task in tasks {
        task.abort();
    }
    page.abort();
    simulator.abort();
    host.lock().await.stop().await;
    Ok(())
}

/// The task hub of the local ledger: the same as the default, so that every command finds it without being told.
const TASK_HUB: &str = "Scorekeeper";

fn folder_error(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Folder { what, path: path.display().to_string(), source }
}

fn folder(what: &'static str, path: &Path) -> Result<PathBuf, Error> {
    std::fs::create_dir_all(path).and_then(|()| path.canonicalize()).map_err(|source| folder_error(what, path, source))
}

/// Two of us on one folder would run two simulators over one journal. The lock goes with the process, however it ends.
fn lock(data: &Path) -> Result<File, Error> {
    let path = data.join("local.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| folder_error("cannot open", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Busy(data.display().to_string())),
        Err(std::fs::TryLockError::Error(source)) => Err(folder_error("cannot lock", &path, source)),
    }
}

/// The simulator's port stays the same over restarts: running scorings know their endpoint by its address.
async fn simulator_listener(data: &Path) -> Result<TcpListener, Error> {
    let path = data.join("simulator.port");
    let known = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u16>().unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => return Err(folder_error("cannot read", &path, source)),
    };
    let listener = TcpListener::bind(("127.0.0.1", known)).await.map_err(|source| Error::Listen {
        address: format!("127.0.0.1:{known}"),
        remedy: format!(
            "running scorings know the simulator by it. Stop what holds it, or remove `{}` and let them fail",
            path.display()
        ),
        source,
    })?;
    let port = listener
        .local_addr()
        .map_err(|source| folder_error("cannot read the address of", Path::new("the simulator"), source))?
        .port();
    if port != known {
        std::fs::write(&path, port.to_string()).map_err(|source| folder_error("cannot write", &path, source))?;
    }
    Ok(listener)
}

/// Where the simulator is reached.
fn service(listener: &TcpListener) -> Result<String, Error> {
    let address = listener
        .local_addr()
        .map_err(|source| folder_error("cannot read the address of", Path::new("the simulator"), source))?;
    Ok(format!("http://{address}"))
}

fn installation(
    rules: Option<&RulesText>,
    data: &Path,
    (inbox, outbox): (&Path, &Path),
    service: &str,
) -> Result<Installation, Error> {
    let mut installation = match rules {
        None => Installation::demonstration(inbox, outbox, service),
        Some(RulesText { shown, text }) => {
            let broken = |problems| Error::Rules { shown: shown.clone(), problems };
            Installation::rehearsal(text, inbox, outbox, service).map_err(broken)?
        }
    };
    staging::keep(&mut installation.staging, data, outbox)
        .map_err(|source| folder_error("cannot keep the staging containers in", data, source))?;
    Ok(installation)
}

fn simulator_options(args: &LocalArgs, data: &Path, installation: &Installation) -> SimulatorOptions {
    let container = |Place { account, container, folder }: &Place| Container {
        account: account.clone(),
        container: container.clone(),
        folder: folder.clone(),
    };
    let mut options = SimulatorOptions {
        containers: installation.places.iter().chain(&installation.staging).map(container).collect(),
        datastores: installation.datastores.clone(),
        published: installation.published.clone(),
        staging: installation.staging.iter().map(|one| (one.account.clone(), one.container.clone())).collect(),
        endpoints: installation.endpoints.clone(),
        workspace: installation.workspace.clone(),
        score_command: args.score_command.clone(),
        journal: Some(data.join("simulator.journal")),
        ..SimulatorOptions::default()
    };
    args.fault_args.apply(&mut options);
    options
}

/// Application settings for the handler's process, as names and values. Writes the rules to a file that they name.
fn settings(
    service: &str,
    identity_header: &str,
    storage_hosts: &str,
    data: &Path,
    installation: &Installation,
) -> Result<Vec<(String, String)>, Error> {
    // As a file: an environment variable of Linux ends at 128 KiB.
    let rules = data.join("rules.json");
    std::fs::write(&rules, &installation.rules).map_err(|source| folder_error("cannot write", &rules, source))?;
    let hosts = installation
        .places
        .iter()
        .chain(&installation.staging)
        .map(|place| format!("{}={service}/{}", place.host(), place.account));
    let watched = installation.places.iter().map(Place::host);
    // Beside the inbox, what the simulator's answers name: log files of jobs.
    let hosts = hosts.chain(storage_hosts.split(',').filter(|host| !host.is_empty()).map(str::to_owned));
    let setting = |name: &str, value: String| (name.to_owned(), value);
    let simulated = [
        setting("SCOREKEEPER_LEDGER", format!("embedded:{}", ledger_folder(data).display())),
        setting("SCOREKEEPER_TASK_HUB", TASK_HUB.to_owned()),
        setting("SCOREKEEPER_RULES", rules.display().to_string()),
        setting("SCOREKEEPER_RESOURCE_MANAGER", service.to_owned()),
        setting(
            "SCOREKEEPER_STORAGE_HOSTS",
            hosts.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(","),
        ),
        setting("SCOREKEEPER_WATCHED_ACCOUNTS", watched.collect::<Vec<_>>().join(",")),
        setting("SCOREKEEPER_LOG_FORMAT", "text".to_owned()),
        // A run each second, and a record for each, would hide what happens.
        setting(
            "SCOREKEEPER_LOG",
            ProcessVars.get("SCOREKEEPER_LOG").unwrap_or_else(|| "info,app::tick::report=warn".to_owned()),
        ),
        setting("IDENTITY_ENDPOINT", format!("{service}/identity/oauth2/token")),
        setting("IDENTITY_HEADER", identity_header.to_owned()),
    ];
    // Those of the surrounding session would ask for an identity that the simulator does not have.
    Ok(crate::config::identity::ALL.iter().map(|name| setting(name, String::new())).chain(simulated).collect())
}

async fn page_listener(wanted: Option<SocketAddr>) -> Result<TcpListener, Error> {
    let refused = |address: String, source| Error::Listen {
        address,
        remedy: "give another --listen ADDRESS (127.0.0.1:0 takes any free port)".to_owned(),
        source,
    };
    if let Some(address) = wanted {
        return TcpListener::bind(address).await.map_err(|source| refused(address.to_string(), source));
    }
    match TcpListener::bind(PAGE).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind("127.0.0.1:0").await.map_err(|source| refused("127.0.0.1:0".to_owned(), source)),
    }
}

fn greet(places: &[Place], outbox: &Path, page: SocketAddr, simulator: &simulator::Handle, args: &LocalArgs) {
    use std::fmt::Write as _;
    let scorer = match &args.score_command {
        Some(command) => format!("`{}`", visible(&redacted(command))),
        None => "demonstration (numbers made from a hash, not a model)".to_owned(),
    };
    let mut text = "Scorekeeper, local: a simulated batch endpoint, a real handler. Ctrl-C stops it.\n".to_owned();
    // Writing to a String cannot fail.
    for Place { container, folder, .. } in places {
        let of = if args.rules.is_some() { format!(" (container {container})") } else { String::new() };
        let _ = writeln!(text, "  inbox   {}   copy a file here{of}", visible(&folder.display().to_string()));
    }
    let _ = writeln!(text, "  outbox  {}   find its predictions here", visible(&outbox.display().to_string()));
    let _ = write!(text, "  page    http://{page}/\n  scorer  {scorer}\n");
    if args.fault_args.faults.is_some() {
        // Nobody should wonder why things go wrong that were ordered to.
        let _ = writeln!(text, "  faults  active; progress at {}/admin/faults", simulator.origin());
    }
    // A reader that went away is no failure of ours; a pipe is not flushed by a newline.
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Stands for the timers of the Functions host: has the handler reconcile, and sweep less often, and logs what begins to fail.
async fn tick(host: Arc<Mutex<FunctionsHost>>) {
    let mut every = tokio::time::interval(TICK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let [mut down, mut failed, mut unswept] = <[Lasting; 3]>::default();
    for second in 0_u64.. {
        every.tick().await;
        let Some(invoker) = running(&host, &mut down).await else { continue };
        if second % SWEEP_EVERY == 0
            && let Err(error) = invoker.invoke(functions::SWEEP, "timer", timer()).await
            && unswept.begins(&error_chain(&error))
        {
            tracing::warn!(error = %error_chain(&error), "a sweep failed");
        }
        match invoker.invoke(functions::RECONCILE, "timer", timer()).await {
            Ok(_) if failed.is_over() => tracing::info!("reconcile runs succeed again"),
            Err(error) if failed.begins(&error_chain(&error)) => {
                tracing::warn!(error = %error_chain(&error), "a reconcile run failed");
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// When that happened which was told of last in the terminal.
fn read_told(data: &Path) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(std::fs::read_to_string(data.join(TOLD)).ok()?.trim(), &Rfc3339).ok()
}

async fn show(mut view: View<io::Stdout>, ledger: Ledger, news: Arc<AtomicBool>, clock: Clock, told: PathBuf) {
    let mut unread = Lasting::default();
    let mut every = tokio::time::interval(SCAN);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let has_news = news.swap(false, Ordering::Relaxed);
        let refreshed = match view.refresh(&ledger, clock()).await {
            Ok(last) => {
                if let Some(last) = last.and_then(|last| last.format(&Rfc3339).ok()) {
                    // Without it, the next start tells of nothing that came before.
                    let _ = std::fs::write(&told, last);
                }
                if has_news { view.refresh_events(&ledger).await } else { Ok(()) }
            }
            Err(error) => Err(error),
        };
        if refreshed.is_err() && has_news {
            news.store(true, Ordering::Relaxed);
        }
        match refreshed {
            Ok(()) if unread.is_over() => tracing::info!("the ledger can be read again"),
            Err(terminal::Error::Output(_)) => return,
            Err(error) if unread.begins(&error.to_string()) => {
                tracing::warn!(error = %error_chain(&error), "the ledger cannot be read: {error}");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn stopped() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    let _ = interrupted.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_groups_no_more_takes_no_container_with_copies_from_the_next_start() {
        let data = tempfile::tempdir().expect("a folder");
        let rules = |group: &str| RulesText {
            shown: "rules.json".to_owned(),
            text: format!(
                r#"{{"rules":[{{"id":"a","match":{{"account":"uploads","container":"claims"}},{group}"endpoint":{{"uri":"https://e.example/jobs"}}}}]}}"#
            ),
        };
        let outbox = data.path().join(OUTBOX);
        let start = |rules: Option<RulesText>| {
            let there = installation(rules.as_ref(), data.path(), (data.path(), &outbox), "http://127.0.0.1:1");
            there.expect("good rules").staging.into_iter().map(|place| place.folder).collect::<Vec<_>>()
        };
        let copies = [outbox.join("uploads.scorekeeper-staging")];
        assert_eq!(start(Some(rules(""))), [""; 0].map(PathBuf::from), "where nothing groups there is none");
        for rules in [Some(rules(r#""group":{"by":"folder"},"#)), Some(rules("")), None] {
            assert_eq!(start(rules), copies);
        }
    }
}
