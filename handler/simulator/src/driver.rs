//! The compute cluster: does the work that the bookkeeping starts, and tells it how the work ended.
//!
//! Outputs grow in a hidden folder of their datastore and are published with one link, which fails if the path is
//! taken: nobody sees half an output, and of two jobs with the same output one fails, as in the service.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use azure_core::Uuid;
use time::OffsetDateTime;
use tokio::task::JoinSet;

use crate::job::Job;
use crate::job_input;
use crate::run_error::RunError;
use crate::scorer;
use crate::shared::Shared;
use crate::storage_map::HIDDEN;

/// Does all work for ever. Dropping this future stops it and kills scoring commands.
pub(super) async fn drive(shared: Arc<Shared>) {
    let mut work = JoinSet::new();
    let mut tasks = HashMap::new();
    let mut running = HashMap::new();
    loop {
        let (starts, stops, due) = shared.act(|state, _| {
            let (starts, stops) = state.commands();
            (starts, stops, state.next_due())
        });
        for job in starts {
            let (seq, name) = (job.seq, job.name.clone());
            let handle = work.spawn(run(shared.clone(), job));
            tasks.insert(handle.id(), (seq, name));
            running.insert(seq, handle);
        }
        for seq in stops {
            if let Some(handle) = running.get(&seq) {
                handle.abort();
            }
        }
        let clock = shared.options.clock.clone();
        let tick = async {
            match due {
                Some(at) => clock.until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tick => {}
            Some(ended) = work.join_next_with_id() => {
                let (id, outcome) = match ended {
                    Ok((id, outcome)) => (id, outcome),
                    Err(error) if error.is_cancelled() => (error.id(), Err(RunError::user("the job was cancelled"))),
                    Err(error) => (error.id(), Err(RunError::user(format!("the simulator's scorer failed: {error}")))),
                };
                if let Some((seq, name)) = tasks.remove(&id) {
                    running.remove(&seq);
                    shared.act(|state, now| state.finish(seq, outcome, now));
                    // Only now: until the end is recorded the staged file proves whose the published one is.
                    clean(&shared, &name).await;
                }
            }
        }
    }
}

/// Where a job's output grows and where it goes.
struct Output {
    name: String,
    is_folder: bool,
    staged: PathBuf,
    target: PathBuf,
    uri: String,
}

/// Whether these are one file under two names.
#[cfg(unix)]
fn is_same(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Where files have no numbers, by what a link shares.
#[cfg(not(unix))]
fn is_same(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    one.len() == other.len() && one.modified().is_ok_and(|at| other.modified().is_ok_and(|other| at == other))
}

impl Output {
    /// The file to be written.
    fn file(&self) -> PathBuf {
        if self.is_folder { self.staged.join("predictions.csv") } else { self.staged.clone() }
    }

    /// Published by this very job, in an earlier life of the process: the file at its path is one that the job staged.
    fn is_published(&self) -> bool {
        let Ok(target) = self.target.metadata() else { return false };
        let stage = self.staged.parent().and_then(|stage| stage.read_dir().ok());
        let mut staged = stage.into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok());
        staged.any(|staged| is_same(&staged, &target))
    }

    /// Makes it visible at its path, whole. `at` becomes its time of modification.
    fn publish(&self, at: OffsetDateTime) -> io::Result<()> {
        if let Some(parent) = self.target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        if self.is_folder {
            // A folder that is there stays as it is, without a word: so does the service.
            return if self.target.exists() { Ok(()) } else { std::fs::rename(&self.staged, &self.target) };
        }
        std::fs::File::open(&self.staged)?.set_modified(SystemTime::from(at))?;
        match std::fs::hard_link(&self.staged, &self.target) {
            // Some file systems have no links. There two jobs with one output may race; everywhere else they cannot.
            Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
                if self.target.exists() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                std::fs::rename(&self.staged, &self.target)
            }
            linked => linked,
        }
    }

    fn taken(&self) -> RunError {
        RunError::user(format!("the path already exists: {}", self.uri))
    }
}

/// One job's step, from a node granted to its outputs published.
async fn run(shared: Arc<Shared>, job: Job) -> Result<(), RunError> {
    if job.is_stuck {
        return std::future::pending().await;
    }
    if let Some(failure) = job.fails {
        return Err(failure.error());
    }
    let mut outputs = Vec::new();
    for (name, uri) in &job.outputs {
        let (folder, target) = shared.storage_map.output(uri).map_err(|why| RunError::user(why.to_string()))?;
        let stage = stage(&folder, &job.name);
        std::fs::create_dir_all(&stage).map_err(|error| RunError::user(format!("{}: {error}", stage.display())))?;
        let is_folder = job.request.outputs.get(name).is_some_and(crate::request::Data::is_folder);
        // A new name each time: a command that outlived a killed process may still write to the old one.
        let staged = stage.join(Uuid::new_v4().to_string());
        outputs.push(Output { name: name.clone(), is_folder, staged, target, uri: uri.clone() });
    }
    if !outputs.is_empty() && outputs.iter().all(Output::is_published) {
        return Ok(());
    }
    if let Some(taken) = outputs.iter().find(|o| !o.is_folder && o.target.exists() && !o.is_published()) {
        return Err(taken.taken());
    }
    for output in outputs.iter().filter(|output| output.is_folder) {
        std::fs::create_dir(&output.staged).map_err(|error| RunError::user(format!("{}: {error}", output.uri)))?;
    }
    let mut inputs = Vec::new();
    for (name, data) in job.request.inputs.iter().filter(|(_, data)| !data.is_literal()) {
        let missing = |text: &str| {
            RunError::user(format!(
                "ScriptExecutionException was caused by StreamAccessException. \
                 StreamAccessException was caused by NotFoundException. {text}"
            ))
        };
        let path = shared.storage_map.input(&data.uri).map_err(|why| missing(&why.to_string()))?;
        if path.is_dir() != data.is_folder() {
            return Err(missing(&format!("input '{name}' is not a {}", data.kind)));
        }
        inputs.push((name.clone(), path));
    }
    score(&shared, &job, &inputs, &outputs).await?;
    // A job that is done early still takes its time.
    shared.options.clock.until(job.since + shared.options.timing.running).await;
    for output in outputs.iter().filter(|output| !output.is_published()) {
        output.publish(shared.options.clock.now()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => output.taken(),
            _ => RunError::user(format!("the output {} cannot be written: {error}", output.uri)),
        })?;
    }
    Ok(())
}

async fn score(shared: &Shared, job: &Job, inputs: &[(String, PathBuf)], outputs: &[Output]) -> Result<(), RunError> {
    if let Some(shell) = &shared.options.score_command {
        let stage = outputs.first().and_then(|output| output.staged.parent());
        let shown = |(name, path): &(String, PathBuf)| {
            let path = stage.map_or_else(|| Ok(path.clone()), |stage| job_input::for_command(path, stage))?;
            Ok((name.clone(), path))
        };
        let inputs: io::Result<Vec<_>> = inputs.iter().map(shown).collect();
        let inputs = inputs.map_err(|error| RunError::user(format!("the input cannot be read: {error}")))?;
        scorer::command(shell, environment(job, &inputs, outputs), shared.options.score_timeout).await?;
        return match outputs.iter().find(|output| !output.staged.exists()) {
            None => Ok(()),
            Some(missing) => Err(RunError::user(format!("the scoring command wrote no output '{}'", missing.name))),
        };
    }
    let read = inputs.first().map(|(_, path)| path.clone());
    let write: Vec<_> = outputs.iter().map(Output::file).collect();
    let stop = Arc::new(AtomicBool::new(false));
    // A blocking task cannot be aborted; this tells it.
    let _stop_when_dropped = StopWhenDropped(stop.clone());
    let scored = tokio::task::spawn_blocking(move || {
        let names = read.as_ref().is_some_and(|path| path.is_dir());
        let inputs = read.map_or(Ok(Vec::new()), |path| job_input::files(&path))?;
        write.iter().try_for_each(|output| scorer::demonstrate(&inputs, output, names, &stop).map(drop))
    });
    match scored.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(RunError::user(format!("the demonstration scorer failed: {error}"))),
        Err(error) => Err(RunError::user(format!("the demonstration scorer failed: {error}"))),
    }
}

struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `SCORE_INPUT` and `SCORE_OUTPUT` are the first by name; `SCORE_INPUT_<name>` and `SCORE_OUTPUT_<name>` are all.
fn environment(job: &Job, inputs: &[(String, PathBuf)], outputs: &[Output]) -> Vec<(String, OsString)> {
    let mut env = Vec::new();
    if let Some((_, path)) = inputs.first() {
        env.push(("SCORE_INPUT".to_owned(), path.into()));
    }
    if let Some(output) = outputs.first() {
        env.push(("SCORE_OUTPUT".to_owned(), output.staged.clone().into()));
    }
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let literals = job
        .request
        .inputs
        .iter()
        .filter(|(_, data)| data.is_literal())
        .map(|(name, data)| ("INPUT", name, OsString::from(data.value.clone().unwrap_or_default())));
    let inputs = inputs.iter().map(|(name, path)| ("INPUT", name, path.into()));
    let outputs = outputs.iter().map(|output| ("OUTPUT", &output.name, output.staged.clone().into()));
    let named = literals.chain(inputs).chain(outputs).filter(|(_, name, _)| is_name(name));
    env.extend(named.map(|(side, name, value)| (format!("SCORE_{side}_{name}"), value)));
    env
}

/// The hidden folder in which a job's outputs grow: on the datastore's own file system, so that they can be linked.
fn stage(folder: &Path, job: &str) -> PathBuf {
    folder.join(format!("{HIDDEN}simulator")).join(job)
}

/// Removes what a job staged.
async fn clean(shared: &Shared, job: &str) {
    for datastore in shared.storage_map.datastores() {
        let stage = stage(&datastore.folder, job);
        if let Err(error) = tokio::fs::remove_dir_all(&stage).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %stage.display(), "a job's unfinished output could not be removed");
        }
    }
}

/// Removes what jobs staged that are finished or forgotten: a killed process could not.
pub(super) fn clean_leftovers(shared: &Shared) {
    for datastore in shared.storage_map.datastores() {
        let root = datastore.folder.join(format!("{HIDDEN}simulator"));
        for entry in std::fs::read_dir(&root).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_needed = shared.act(|state, _| state.by_name(&name).is_some_and(|job| !job.phase.is_final()));
            if !is_needed {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}
