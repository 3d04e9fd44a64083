//! What the Functions host will find in a zip: its discovery rules, applied before anything is deployed.
//!
//! The host tells little when it finds nothing: an app without functions, a process that never starts. So every rule
//! is checked here, on the zip itself and not on the folder it came from, and all findings are told at once. The rules
//! are those of the host's `HostFunctionMetadataProvider`, `FunctionMetadataManager` and `HttpWorkerDescription`
//! (github.com/Azure/azure-functions-host). Where we are stricter, the finding says why.

use std::io::{self, Cursor, Read as _};

use serde_json::Value;
use zip::{ZipArchive, result::ZipError};

/// No JSON file of an app is larger (bytes); bounds what an odd zip makes us read.
const JSON_LIMIT: u64 = 1 << 20;
/// No executable of ours is larger (bytes).
const EXECUTABLE_LIMIT: u64 = 1 << 28;

/// What the host would run.
#[derive(Debug)]
pub(crate) struct Discovered {
    /// The functions' names, sorted. The handler is called at `POST /<name>`.
    pub(crate) functions: Vec<String>,
    /// The executable's path in the app, as `customHandler.description.defaultExecutablePath` names it.
    pub(crate) executable: String,
    /// What the executable's file holds.
    pub(crate) program: Vec<u8>,
}

/// Something that the host would refuse, or ignore without a word.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Finding {
    #[error("it cannot be read as a zip: {0}")]
    NotAZip(String),
    #[error("`{0}` is not marked as made by Unix: extractors ignore its mode, the executable would not start")]
    NotMadeByUnix(String),
    #[error("there is no host.json at the root of the zip; zip the app's content, not its folder")]
    NoHostJson,
    #[error("host.json: {0}")]
    HostJson(String),
    #[error("host.json names the executable `{0}`, which is not in the zip")]
    NoExecutable(String),
    #[error("`{name}` has mode {mode:04o}; only the consumption plans repair that, it must be 0755")]
    NotExecutable { name: String, mode: u32 },
    #[error("no function: the host starts the handler only if it finds <Name>/function.json")]
    NoFunction,
    #[error("`{0}` is never looked at: a definition is found only as <Name>/function.json, in lower case")]
    Misplaced(String),
    #[error("`{0}` cannot name a function: a letter, then up to 127 letters, digits, `_` or `-`; not `host`")]
    FunctionName(String),
    #[error("host.json has a list `functions` without `{0}`, so it would be ignored")]
    NotListed(String),
    #[error("{function}/function.json: {problem}")]
    Definition { function: String, problem: String },
    #[error("{function}/function.json: binding name `{name}` must be a letter, then up to 127 letters or digits")]
    BindingName { function: String, name: String },
    #[error("{function}/function.json: two bindings are named `{name}`")]
    BindingTwice { function: String, name: String },
    #[error("{function}/function.json: {count} triggers; exactly one is needed")]
    Triggers { function: String, count: usize },
    #[error("{0}/function.json: `scriptFile` must be left out: the host demands that file, the handler ignores it")]
    ScriptFile(String),
    #[error("{0}/function.json: `disabled` is not read by the host; set AzureWebJobs_{0}_Disabled=true instead")]
    Disabled(String),
    #[error("{function}/function.json: `{trigger}` needs an extensionBundle in host.json")]
    NoBundle { function: String, trigger: String },
}

/// Applies all rules to the bytes of a zip.
pub(crate) fn discover(zip: &[u8]) -> Result<Discovered, Vec<Finding>> {
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|cause| vec![Finding::NotAZip(cause.to_string())])?;
    let entries = Entry::all(&mut archive, zip).map_err(|finding| vec![finding])?;
    let mut findings: Vec<Finding> = entries
        .iter()
        .filter(|entry| !entry.from_unix)
        .map(|entry| Finding::NotMadeByUnix(entry.name.clone()))
        .collect();

    let host = host_json(&mut archive, &entries).unwrap_or_else(|finding| {
        findings.push(finding);
        Value::Null
    });
    let mut program = Vec::new();
    let executable = host["customHandler"]["description"]["defaultExecutablePath"].as_str().unwrap_or_default();
    if !executable.is_empty() {
        match executable_of(&mut archive, &entries, executable) {
            Ok(bytes) => program = bytes,
            Err(finding) => findings.push(finding),
        }
    }

    let mut functions = Vec::new();
    for entry in &entries {
        let file = entry.name.rsplit(['/', '\\']).next().unwrap_or_default();
        if !file.eq_ignore_ascii_case("function.json") {
            continue;
        }
        match entry.name.split_once('/') {
            Some((function, "function.json")) => {
                let definition = json(&mut archive, &entry.name);
                findings.extend(function_findings(function, definition, &host));
                functions.push(function.to_owned());
            }
            _ => findings.push(Finding::Misplaced(entry.name.clone())),
        }
    }
    if functions.is_empty() {
        findings.push(Finding::NoFunction);
    }
    functions.sort();
    if findings.is_empty() {
        Ok(Discovered { functions, executable: executable.to_owned(), program })
    } else {
        Err(findings)
    }
}

struct Entry {
    name: String,
    /// Type and permission bits, as far as known.
    mode: u32,
    from_unix: bool,
}

impl Entry {
    /// All files; folders have no meaning of their own for the host.
    fn all(archive: &mut Archive<'_>, zip: &[u8]) -> Result<Vec<Self>, Finding> {
        let mut entries = Vec::new();
        for index in 0..archive.len() {
            let file = archive.by_index_raw(index).map_err(|cause| Finding::NotAZip(cause.to_string()))?;
            if file.is_dir() {
                continue;
            }
            // Central directory header, "version made by": the upper byte is the system, 3 is Unix (APPNOTE 4.4.2).
            let system = usize::try_from(file.central_header_start()).ok().and_then(|start| zip.get(start + 5));
            entries.push(Self {
                name: file.name().map_err(|cause| Finding::NotAZip(cause.to_string()))?.into_owned(),
                mode: file.unix_mode().unwrap_or_default(),
                from_unix: system == Some(&3),
            });
        }
        Ok(entries)
    }
}

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

fn host_json(archive: &mut Archive<'_>, entries: &[Entry]) -> Result<Value, Finding> {
    if !entries.iter().any(|entry| entry.name == "host.json") {
        return Err(Finding::NoHostJson);
    }
    let host = json(archive, "host.json").map_err(|problem| Finding::HostJson(problem.to_string()))?;
    if host["version"] != "2.0" {
        return Err(Finding::HostJson(format!("version is {}, it must be \"2.0\"", host["version"])));
    }
    // Without it the host looks for a language worker and runs no custom handler at all.
    match host["customHandler"]["description"]["defaultExecutablePath"].as_str() {
        Some(path) if !path.is_empty() => Ok(host),
        _ => Err(Finding::HostJson("customHandler.description.defaultExecutablePath is missing".to_owned())),
    }
}

fn executable_of(archive: &mut Archive<'_>, entries: &[Entry], name: &str) -> Result<Vec<u8>, Finding> {
    let entry = entries.iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| Finding::NoExecutable(name.to_owned()))?;
    // 0o100000 is a regular file; a symbolic link is not.
    if !matches!(entry.mode, 0o100_755) {
        return Err(Finding::NotExecutable { name: name.to_owned(), mode: entry.mode & 0o7777 });
    }
    content(archive, name, EXECUTABLE_LIMIT).map_err(|cause| Finding::NotAZip(format!("{name}: {cause}")))
}

fn function_findings(function: &str, definition: Result<Value, Unreadable>, host: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let owner = || function.to_owned();
    if !is_name(function, "_-") || function.eq_ignore_ascii_case("host") {
        findings.push(Finding::FunctionName(owner()));
    }
    if let Some(listed) = host["functions"].as_array()
        && !listed.iter().any(|name| name.as_str().is_some_and(|name| name.eq_ignore_ascii_case(function)))
    {
        findings.push(Finding::NotListed(owner()));
    }
    let definition = match definition {
        Ok(definition) => definition,
        Err(problem) => {
            findings.push(Finding::Definition { function: owner(), problem: problem.to_string() });
            return findings;
        }
    };
    if definition.get("scriptFile").is_some() {
        findings.push(Finding::ScriptFile(owner()));
    }
    if definition.get("disabled").is_some() {
        findings.push(Finding::Disabled(owner()));
    }

    let mut names: Vec<&str> = Vec::new();
    let mut triggers = 0;
    for binding in definition["bindings"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let name = binding["name"].as_str().unwrap_or_default();
        if name != "$return" && !is_name(name, "") {
            findings.push(Finding::BindingName { function: owner(), name: name.to_owned() });
        } else if names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            findings.push(Finding::BindingTwice { function: owner(), name: name.to_owned() });
        }
        names.push(name);
        let kind = binding["type"].as_str().unwrap_or_default();
        if kind.to_ascii_lowercase().ends_with("trigger") {
            triggers += 1;
            // Only these two are built into the host.
            let built_in = ["httpTrigger", "timerTrigger"].iter().any(|known| known.eq_ignore_ascii_case(kind));
            if !built_in && !host["extensionBundle"]["id"].is_string() {
                findings.push(Finding::NoBundle { function: owner(), trigger: kind.to_owned() });
            }
        }
    }
    if triggers != 1 {
        findings.push(Finding::Triggers { function: owner(), count: triggers });
    }
    findings
}

/// A letter, then up to 127 letters, digits or characters of `also`; all ASCII.
fn is_name(text: &str, also: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|character| character.is_ascii_alphanumeric() || also.contains(character))
}

/// Why a file in the zip says nothing.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Zip(#[from] ZipError),
    #[error(transparent)]
    Content(#[from] io::Error),
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    #[error("it is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
}

fn json(archive: &mut Archive<'_>, name: &str) -> Result<Value, Unreadable> {
    Ok(serde_json::from_slice(&content(archive, name, JSON_LIMIT)?)?)
}

fn content(archive: &mut Archive<'_>, name: &str, limit: u64) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    archive.by_name(name)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(Unreadable::TooLarge(limit)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests;
