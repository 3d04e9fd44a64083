//! `scorekeeper run`: scores blobs because a person says so, under a rule of the app or at an endpoint that they name.
//!
//! Under a rule it is the app that scores: an order is left in its ledger, and its next reconcile run takes it up. At an endpoint it is
//! this command, as whoever is signed in: its ledger is in memory, so that a lost answer is looked for and an output looked at as ever,
//! and ends with it. What it leaves behind is a job, and what that writes.

mod alone;
mod follow;
mod request;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::doctor::Caller;
use app::ports::Clock;
use lifecycle::UnversionedBlob;
use lifecycle::text::error_chain;
use time::Duration;

use self::alone::Explicit;
use super::on_ledger::{self, ATTENTION, OK};
use super::since::Since;
use super::{one_thread, working_directory};
use crate::compose;
use crate::config::identity::is_app;
use crate::config::{ProcessVars, RulesAccess, WhichLedger};
use crate::redacting::Redacting;

/// Exit code: a scoring ended in the status `cancelled`.
pub(super) const CANCELLED: u8 = 3;
/// Exit code: a scoring ended in the status `gone`: its blob version was no longer there.
pub(super) const GONE: u8 = 4;
/// Another version is scored in its place.
pub(super) const SUPERSEDED: u8 = 5;
/// It did not end in time.
pub(super) const NOT_ENDED: u8 = 6;

/// Largest file that is uploaded.
const MAX_UPLOAD: u64 = 256 * 1024 * 1024;

/// Which blobs, by what, and what for.
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RunArgs {
    /// Which ledger the rule's app has.
    #[command(flatten)]
    pub(super) which: WhichLedger,
    /// The blobs' URLs
    #[arg(value_name = "BLOB", required = true)]
    pub(super) blobs: Vec<String>,
    /// Under this rule of the app
    #[arg(long, value_name = "ID", required_unless_present = "endpoint", conflicts_with = "endpoint")]
    pub(super) rule: Option<String>,
    /// A value for a parameter that the rule declares
    #[arg(long, value_name = "NAME=VALUE", requires = "rule", conflicts_with = "endpoint", value_parser = named)]
    pub(super) param: Vec<(String, String)>,
    /// Once more, as a generation of its own, also if it was scored
    #[arg(long, requires = "rule", conflicts_with = "endpoint")]
    pub(super) again: bool,
    /// At this batch endpoint (its invoke URI, `…/jobs`), as whoever is signed in
    #[arg(long, value_name = "URI")]
    pub(super) endpoint: Option<String>,
    /// Its deployment [default: the endpoint's default one]
    #[arg(long, value_name = "NAME", requires = "endpoint", conflicts_with = "rule")]
    pub(super) deployment: Option<String>,
    /// ARM id of its workspace, without which a lost answer cannot be looked for
    #[arg(long, value_name = "ID", requires = "endpoint", conflicts_with = "rule")]
    pub(super) workspace: Option<String>,
    /// An input: a URI, of a folder if it ends in a slash, else a value. Placeholders as in rules [default: the blob as `input_data`]
    #[arg(long, value_name = "NAME=VALUE", requires = "endpoint", conflicts_with = "rule", value_parser = named)]
    pub(super) input: Vec<(String, String)>,
    /// An output, on a datastore and with `{scoring.id}` and `{attempt}` in it [default: `score`, on the workspace's datastore]
    #[arg(long, value_name = "NAME=URI", requires = "endpoint", conflicts_with = "rule", value_parser = named)]
    pub(super) output: Vec<(String, String)>,
    /// Further settings of the job, a JSON object as `settings` of a rule
    #[arg(long, value_name = "JSON", requires = "endpoint", conflicts_with = "rule")]
    pub(super) settings: Option<String>,
    /// Upload this file to the blob first
    #[arg(long, value_name = "FILE")]
    pub(super) upload: Option<PathBuf>,
    /// Wait for the end, and tell each phase; exit code 0 scored, 1 failed or refused, 3 cancelled, 4 gone, 5 superseded, 6 not
    /// ended in time
    #[arg(long)]
    pub(super) wait: bool,
    /// Wait, and download what was scored into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "dry_run")]
    pub(super) download: Option<PathBuf>,
    /// Overwrite what is there: the blob that a file is uploaded to, and files in the folder
    #[arg(long)]
    pub(super) force: bool,
    /// Wait no longer than that: `90m`, `24h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = Since::time, default_value = "24h")]
    pub(super) timeout: Duration,
    /// Print the request, and send nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// A text that names nothing.
#[derive(Debug, thiserror::Error)]
#[error("expected NAME=VALUE")]
struct NotNamed;

fn named(text: &str) -> Result<(String, String), NotNamed> {
    let parted = text.split_once('=').filter(|(name, _)| !name.is_empty());
    parted.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or(NotNamed)
}

/// Why nothing was run, or not all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Something that was given is no blob.
    #[error("`{0}` is not the URL of a blob; expected https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH")]
    Blob(String, #[source] lifecycle::blob::InvalidBlob),
    /// One file for several blobs.
    #[error("--upload takes one blob, to which the file is uploaded")]
    SeveralUploads,
    /// A name has two values.
    #[error("--{option} names `{name}` twice; give it once")]
    Twice {
        /// The option without its dashes: `param`, `input` or `output`.
        option: &'static str,
        /// What stands before the `=`, given twice.
        name: String,
    },
    /// Nothing is uploaded or downloaded.
    #[error("--force overwrites what --upload or --download meets, and neither is given; leave it out")]
    NothingToOverwrite,
    /// The rule declares no such parameter.
    #[error("rule `{rule}` declares no parameter `{name}`; the app would refuse it")]
    NotDeclared {
        /// Id of the rule that `--rule` names.
        rule: String,
        /// Name of the parameter, as `--param` gives it.
        name: String,
    },
    /// What was given makes no request.
    #[error("what is asked for cannot be sent:\n{0}")]
    Request(lifecycle::rule::Problems),
    /// The settings are no JSON object.
    #[error("--settings is not a JSON object")]
    Settings(#[source] serde_json::Error),
    /// The app's rules have no such rule.
    #[error("there is no rule `{0}` in {1}")]
    NoSuchRule(String, String),
    /// The file to be uploaded.
    #[error("`{}` cannot be uploaded", .path.display())]
    File {
        /// The file that `--upload` names.
        path: PathBuf,
        /// What the system answered, or why the file is not taken.
        #[source]
        source: io::Error,
    },
    /// The folder for what is downloaded.
    #[error("the folder `{}` cannot be made; name another one with --download", .path.display())]
    Folder {
        /// The folder that `--download` names.
        path: PathBuf,
        /// What the system answered when it was made.
        #[source]
        source: io::Error,
    },
    /// It could not be uploaded.
    #[error(transparent)]
    Upload(#[from] azure::upload::Error),
    /// The app did not begin the scoring: it was refused, is not possible yet, or the blob or the ledger could not be reached.
    #[error(transparent)]
    Start(#[from] app::StartError),
    /// What commands on a ledger tell.
    #[error(transparent)]
    OnLedger(#[from] on_ledger::Error),
    /// The parts do not fit.
    #[error(transparent)]
    Compose(#[from] compose::Error),
}

impl Error {
    /// The command line was wrong, and nothing was begun.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Blob(..)
                | Self::SeveralUploads
                | Self::Twice { .. }
                | Self::NothingToOverwrite
                | Self::NotDeclared { .. }
                | Self::Request(_)
                | Self::Settings(_)
                | Self::NoSuchRule(..)
        )
    }
}

impl From<app::Error> for Error {
    fn from(error: app::Error) -> Self {
        Self::OnLedger(error.into())
    }
}

impl From<app::ledger::Error> for Error {
    fn from(error: app::ledger::Error) -> Self {
        Self::OnLedger(error.into())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::OnLedger(error.into())
    }
}

/// Who asks of the cloud: the app's identity where this process has it, else whoever is signed in.
fn caller() -> Caller {
    if is_app(&ProcessVars) { Caller::App } else { Caller::Operator }
}

/// Uploads what `--upload` names, has the blobs scored by the app or by the endpoint that is named, and follows them; the exit code is the
/// worst end.
pub(super) fn run(args: &RunArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let blobs = blobs(args)?;
    args.checked()?;
    // Before anything is begun: where nothing can be written nothing needs to be scored.
    args.download.as_deref().map(made).transpose()?;
    let mut out = Redacting::new(io::stdout());
    let code = if args.dry_run {
        request::print(args, &blobs, clock, &mut out)?
    } else {
        let runtime = one_thread()?;
        runtime.block_on(async {
            upload(args, &blobs, clock, &mut out).await?;
            match &args.endpoint {
                Some(endpoint) => {
                    let access = RulesAccess::read(&ProcessVars)?;
                    let explicit = Explicit::read(args, endpoint, &blobs)?;
                    Ok::<_, super::Error>(alone::run(args, explicit, &access, clock, &mut out).await?)
                }
                None => follow::ordered(args, &blobs, (&working_directory()?, clock), &mut out).await,
            }
        })?
    };
    out.flush()?;
    Ok(ExitCode::from(code))
}

impl RunArgs {
    /// What the options say that each of them alone does not show.
    fn checked(&self) -> Result<(), Error> {
        for (option, given) in [("param", &self.param), ("input", &self.input), ("output", &self.output)] {
            let mut names = BTreeSet::new();
            if let Some((name, _)) = given.iter().find(|(name, _)| !names.insert(name)) {
                return Err(Error::Twice { option, name: name.clone() });
            }
        }
        if self.force && self.upload.is_none() && self.download.is_none() {
            return Err(Error::NothingToOverwrite);
        }
        Ok(())
    }
}

fn made(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Folder { path: folder.to_owned(), source })
}

fn blobs(args: &RunArgs) -> Result<Vec<UnversionedBlob>, Error> {
    if args.upload.is_some() && args.blobs.len() > 1 {
        return Err(Error::SeveralUploads);
    }
    let read = |text: &String| {
        let shown = lifecycle::uri::without_query(text).to_owned();
        UnversionedBlob::read(text).map_err(|invalid| Error::Blob(shown, invalid))
    };
    args.blobs.iter().map(read).collect()
}

/// Uploads the file that is given, if one is.
async fn upload(
    args: &RunArgs,
    blobs: &[UnversionedBlob],
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<(), super::Error> {
    let (Some(path), [blob]) = (&args.upload, blobs) else { return Ok(()) };
    let unread = |source| Error::File { path: path.clone(), source };
    let size = std::fs::metadata(path).map_err(unread)?.len();
    if size > MAX_UPLOAD {
        let larger = "it has more than 256 MiB; upload it with azcopy, and run this without --upload";
        return Err(unread(io::Error::other(larger)).into());
    }
    let bytes = std::fs::read(path).map_err(unread)?;
    let access = RulesAccess::read(&ProcessVars)?;
    let client = compose::upload(&access, &blob.url, caller(), clock).map_err(Error::from)?;
    client.upload(&bytes, args.force).await.map_err(Error::from)?;
    writeln!(out, "{}  uploaded, {} bytes", super::view::shortened(&blob.url, 200), bytes.len())?;
    Ok(())
}

/// The exit code of several: the one that needs a person most.
fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    codes.into_iter().max_by_key(|code| if *code == ATTENTION { u8::MAX } else { *code }).unwrap_or(OK)
}

/// The text of an error for a person, in one line.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    lifecycle::text::visible(&error_chain(error)).into_owned()
}
