//! `scorekeeper output --download`: what a scoring's output holds, as files of this machine.
//!
//! Whoever gets a file gets what was verified, whole: nothing is written before all that is there was compared with what the ledger
//! says was verified (the print of its names and ETags; beside a `local` its size and time), each file is read at that version
//! (`If-Match`) to its end, and stands under its name only then.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Component, Path, PathBuf};

use app::ports::{Blobs as _, Inconclusive};
use azure::blobs::{AzureBlobs, OutputFile};
use azure::by_identity::ByIdentity;
use lifecycle::datastore::DatastorePath;
use lifecycle::job::{Output, OutputKind};
use lifecycle::text::visible;
use lifecycle::{IdentityName, OutputPrint, Scoring};
use time::{Duration, OffsetDateTime};

use super::on_ledger::{ATTENTION, OK};
use super::view::{path, utc_text};

/// Between the clock of a storage and that of the app. What was written again later than that was not verified.
const CLOCKS: Duration = Duration::minutes(5);
/// Files that are named before it is said how many more there are.
const SHOWN: usize = 10;

/// From where the outputs of scorings are read: Azure's storage, or a local installation's folders.
#[derive(Debug)]
pub enum Source {
    /// Storage accounts, with one client for each identity that rules name.
    Storage(Box<ByIdentity<AzureBlobs>>),
    /// In folders that stand for datastores, by their names in lower case.
    Folders(BTreeMap<String, PathBuf>),
}

/// To where outputs are downloaded on this machine.
#[derive(Debug, Clone)]
pub struct Target {
    /// A folder, or of one file that file.
    pub path: PathBuf,
    /// Whether what is there may go.
    pub overwrite: bool,
}

/// Why nothing, or not all, was downloaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The storage, or whoever says where it is.
    #[error(
        "the output of {blob} cannot be read; whoever downloads it needs the roles Reader on the workspace and Storage Blob Data Reader on the account"
    )]
    Storage {
        /// The blob that was scored.
        blob: String,
        /// What could not be learnt from Azure, and why.
        #[source]
        source: Box<Inconclusive>,
    },
    /// A file or folder of this machine.
    #[error("{what} `{}`", .path.display())]
    File {
        /// What was tried, which begins the message: `cannot write`.
        what: &'static str,
        /// The file or folder that it was tried with.
        path: PathBuf,
        /// What the system answered, or what has changed meanwhile.
        #[source]
        source: io::Error,
    },
    /// A name that would lead out of the target.
    #[error("the output has a file `{0}`, whose name cannot be one below a folder of this machine")]
    Name(String),
    /// The output cannot be written about.
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

/// A file of an output.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) bytes: u64,
    modified: OffsetDateTime,
    from: From,
}

enum From {
    /// Read as this identity, `None` for the app's own.
    Blob(OutputFile, Option<IdentityName>),
    File(PathBuf),
}

/// Downloads the outputs of what is scored.
pub async fn download(source: &Source, scored: &[Scoring], target: &Target, out: &mut dyn Write) -> Result<u8, Error> {
    let mut plan: Vec<(PathBuf, Part)> = Vec::new();
    for scoring in scored {
        let outputs = scoring.submission.iter().flat_map(|submission| &submission.outputs);
        let mut of_it = Vec::new();
        for (name, output) in outputs {
            let parts = source.parts(scoring, output).await?;
            of_it.extend(parts.into_iter().map(|part| (name, output.kind, part)));
        }
        // After the files: an ETag never comes again, so that what is the verified output now was so when they were listed.
        let print = source.print(scoring).await?;
        let parts = of_it.iter().map(|(.., part)| part);
        if let Some(why) = not_verified(scoring, parts).or_else(|| changed_since(scoring, print.as_ref())) {
            writeln!(out, "Nothing was written: {}: {why}.", visible(&path(&scoring.blob)))?;
            return Ok(ATTENTION);
        }
        let several = of_it.len() > 1 && of_it.iter().any(|(name, ..)| *name != of_it[0].0);
        let is_one_file = scored.len() == 1 && of_it.len() == 1 && of_it[0].1 == OutputKind::UriFile;
        for (name, _, part) in of_it {
            if is_one_file && !is_folder(&target.path) {
                plan.push((target.path.clone(), part));
                continue;
            }
            let mut place = target.path.clone();
            place.extend((scored.len() > 1).then(|| scoring.rule.to_string()));
            place.extend(several.then(|| name.clone()));
            place.push(below_a_folder(&part.name)?);
            plan.push((place, part));
        }
    }
    let taken: Vec<&PathBuf> = plan.iter().map(|(place, _)| place).filter(|place| place.exists()).collect();
    if !taken.is_empty() && !target.overwrite {
        writeln!(out, "Nothing was written: this is there already; add --force, or name another place.")?;
        for place in taken.iter().take(SHOWN) {
            writeln!(out, "  {}", visible(&place.display().to_string()))?;
        }
        if taken.len() > SHOWN {
            writeln!(out, "  and {} more", taken.len() - SHOWN)?;
        }
        return Ok(ATTENTION);
    }
    for (place, part) in &plan {
        source.fetch(part, place).await?;
        writeln!(out, "{}  {} bytes", visible(&place.display().to_string()), part.bytes)?;
    }
    Ok(OK)
}

/// Why what is there is not what was verified.
fn not_verified<'a>(scoring: &Scoring, parts: impl Iterator<Item = &'a Part> + Clone) -> Option<String> {
    if parts.clone().next().is_none() {
        return Some("its output is not there any more".to_owned());
    }
    let bytes: u64 = parts.clone().map(|part| part.bytes).sum();
    if let Some(verified) = scoring.output_bytes.filter(|verified| *verified != bytes) {
        return Some(format!("its output has {bytes} bytes now, and {verified} were verified"));
    }
    let ended = scoring.publishing.as_ref().and_then(|publishing| publishing.scored).or(scoring.completed)?;
    let later = parts.filter(|part| part.modified > ended + CLOCKS).max_by_key(|part| part.modified)?;
    let (name, at, ended) = (visible(&later.name), utc_text(later.modified), utc_text(ended));
    Some(format!("`{name}` of its output was written again at {at} UTC, after it was verified at {ended} UTC"))
}

/// What is there is of the size that was verified, and is not that: a rewrite within a minute, or one that kept the size.
fn changed_since(scoring: &Scoring, print: Option<&OutputPrint>) -> Option<String> {
    let (verified, now) = (scoring.output_print.as_ref()?, print?);
    let at = scoring.completed.map_or_else(|| "then".to_owned(), |ended| format!("at {} UTC", utc_text(ended)));
    (verified != now).then(|| {
        format!("its output is not what was verified {at}: a file of it was written again, added or removed since")
    })
}

fn is_folder(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().to_string_lossy().ends_with(std::path::is_separator)
}

/// A name of a blob as a path that stays below whatever it is joined to.
fn below_a_folder(name: &str) -> Result<PathBuf, Error> {
    let path: PathBuf = name.split('/').collect();
    let stays = !name.split('/').any(str::is_empty)
        && path.components().count() == name.split('/').count()
        && path.components().all(|part| matches!(part, Component::Normal(_)));
    if stays { Ok(path) } else { Err(Error::Name(name.to_owned())) }
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { what, path, source }
}

impl Source {
    /// All of a file, which is small.
    pub(super) async fn whole(&self, part: &Part) -> Result<Vec<u8>, Error> {
        match (self, &part.from) {
            (Self::Storage(blobs), From::Blob(file, identity)) => {
                let unread = |source| Error::Storage { blob: part.name.clone(), source: Box::new(source) };
                let blobs = blobs.of(identity.as_ref()).map_err(|none| unread(none.into()))?;
                Ok(blobs.read(file, 0).await.map_err(unread)?.map(Vec::from).unwrap_or_default())
            }
            (_, From::File(path)) => {
                let unread = || file_error("cannot read", path);
                let mut bytes = Vec::new();
                let file = File::open(path).map_err(unread())?;
                file.take(part.bytes).read_to_end(&mut bytes).map_err(unread())?;
                Ok(bytes)
            }
            (Self::Folders(_), From::Blob(file, _)) => Err(Error::Name(file.name.clone())),
        }
    }

    pub(super) async fn parts(&self, scoring: &Scoring, output: &Output) -> Result<Vec<Part>, Error> {
        match self {
            Self::Storage(blobs) => {
                let unread = |source| Error::Storage { blob: path(&scoring.blob), source: Box::new(source) };
                let blobs = blobs.of(scoring.identity.as_ref()).map_err(|none| unread(none.into()))?;
                let files = blobs.output_files(scoring, output).await.map_err(unread)?;
                let part = |file: OutputFile| Part {
                    name: file.name.clone(),
                    bytes: file.bytes,
                    modified: file.modified,
                    from: From::Blob(file, scoring.identity.clone()),
                };
                Ok(files.into_iter().map(part).collect())
            }
            Self::Folders(datastores) => {
                let place = DatastorePath::read(&output.uri).ok_or_else(|| Error::Name(output.uri.clone()))?;
                let folder = datastores.get(&place.datastore.to_ascii_lowercase());
                let folder = folder.ok_or_else(|| Error::Name(output.uri.clone()))?;
                let path = folder.join(below_a_folder(place.path.trim_end_matches('/'))?);
                let mut parts = Vec::new();
                match output.kind {
                    OutputKind::UriFile => {
                        let name = place.path.rsplit('/').next().unwrap_or_default().to_owned();
                        parts.extend(file(&path, name)?);
                    }
                    OutputKind::UriFolder => walk(&path, "", &mut parts)?,
                }
                Ok(parts)
            }
        }
    }

    /// Which versions lie at the outputs now; `None` where there are none to tell, or nothing is there.
    async fn print(&self, scoring: &Scoring) -> Result<Option<OutputPrint>, Error> {
        let Self::Storage(blobs) = self else { return Ok(None) };
        let unread = |source| Error::Storage { blob: path(&scoring.blob), source: Box::new(source) };
        blobs.output_print(scoring).await.map_err(unread)
    }

    /// Writes one file beside its place, and gives it its name when it is whole.
    async fn fetch(&self, part: &Part, place: &Path) -> Result<(), Error> {
        if let Some(folder) = place.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(file_error("cannot make the folder", folder))?;
        }
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = place.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let written = match File::create(&unfinished) {
            Ok(mut file) => self.copy(part, &mut file, &unfinished).await,
            Err(source) => Err(file_error("cannot write", &unfinished)(source)),
        };
        let named =
            written.and_then(|()| std::fs::rename(&unfinished, place).map_err(file_error("cannot write", place)));
        if named.is_err() {
            // It is of no use to anybody; that it stays if it cannot be removed is told by its name.
            let _ = std::fs::remove_file(&unfinished);
        }
        named
    }

    async fn copy(&self, part: &Part, to: &mut File, shown: &Path) -> Result<(), Error> {
        let unwritten = || file_error("cannot write", shown);
        match (self, &part.from) {
            (Self::Storage(blobs), From::Blob(file, identity)) => {
                let unread = |source| Error::Storage { blob: part.name.clone(), source: Box::new(source) };
                let blobs = blobs.of(identity.as_ref()).map_err(|none| unread(none.into()))?;
                let mut at = 0;
                while let Some(bytes) = blobs.read(file, at).await.map_err(unread)? {
                    to.write_all(&bytes).map_err(unwritten())?;
                    at += bytes.len() as u64;
                }
            }
            (_, From::File(path)) => {
                let from = File::open(path).map_err(file_error("cannot read", path))?;
                let copied = io::copy(&mut from.take(part.bytes), to).map_err(unwritten())?;
                if copied != part.bytes {
                    return Err(file_error("it was written again while it was read:", path)(
                        io::ErrorKind::UnexpectedEof.into(),
                    ));
                }
            }
            (Self::Folders(_), From::Blob(file, _)) => return Err(Error::Name(file.name.clone())),
        }
        to.sync_all().map_err(unwritten())
    }
}

fn file(path: &Path, name: String) -> Result<Option<Part>, Error> {
    match path.metadata() {
        Ok(metadata) => {
            let modified = metadata.modified().map_err(file_error("cannot read", path))?.into();
            Ok(Some(Part { name, bytes: metadata.len(), modified, from: From::File(path.to_owned()) }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(file_error("cannot read", path)(source)),
    }
}

fn walk(folder: &Path, below: &str, parts: &mut Vec<Part>) -> Result<(), Error> {
    let unread = || file_error("cannot read", folder);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(unread()(source)),
    };
    let mut entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(unread())?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type().map_err(unread())?.is_dir() {
            walk(&entry.path(), &format!("{name}/"), parts)?;
        } else {
            parts.extend(file(&entry.path(), name)?);
        }
    }
    Ok(())
}
