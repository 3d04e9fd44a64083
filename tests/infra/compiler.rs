//! Microsoft's Bicep compiler, where there is one: `BICEP`, or `bicep` on the PATH.
//!
//! It is asked by `bicep jsonrpc --stdio`, which answers in a second what a process of its own takes four for. It keeps what it
//! read by `loadTextContent` and `loadJsonContent`, so other data files need another process.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::project::Files;

/// What `azd` would have in its environment.
pub const AZD: [(&str, &str); 5] = [
    ("AZURE_ENV_NAME", "dev"),
    ("AZURE_LOCATION", "westeurope"),
    (
        "WATCHED_ACCOUNTS",
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data-dev/providers/Microsoft.Storage/storageAccounts/stuploadsdev",
    ),
    (
        "WORKSPACES",
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-dev/providers/Microsoft.MachineLearningServices/workspaces/mlw-dev ,",
    ),
    // As people write a list.
    (
        "OUTPUT_ACCOUNTS",
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-dev/providers/Microsoft.Storage/storageAccounts/stmlwdev, /subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-dev/providers/Microsoft.Storage/storageAccounts/stmodelsdev ",
    ),
];

/// The compiler, if this machine has one.
pub fn find() -> Option<PathBuf> {
    if let Some(named) = env::var_os("BICEP").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join("bicep")).find(|file| file.is_file())
}

/// A copy of the templates on disk, and a compiler that looks at it.
pub struct Compiler {
    program: PathBuf,
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    calls: u64,
}

impl Compiler {
    pub fn start(program: &Path, files: &Files) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files.all("infra/", "").chain(files.all("tests/infra/templates/", "")) {
            let at = folder.path().join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, text).unwrap();
        }
        let (process, stdin, stdout) = spawn(program);
        Self { program: program.to_owned(), process, stdin: Some(stdin), stdout, folder, calls: 0 }
    }

    /// Writes a file of the copy.
    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.folder.path().join(path), text).unwrap();
    }

    /// Forgets what was read of data files.
    pub fn restart(&mut self) {
        self.stop();
        let (process, stdin, stdout) = spawn(&self.program);
        (self.process, self.stdin, self.stdout) = (process, Some(stdin), stdout);
    }

    pub fn version(&mut self) -> String {
        self.call("version", &json!({})).unwrap()["version"].as_str().unwrap().to_owned()
    }

    /// A template as ARM JSON. Anything that the compiler or its linter says is an error.
    pub fn compile(&mut self, path: &str) -> Result<Value, String> {
        let answer = self.call("compile", &json!({ "path": self.folder.path().join(path) }))?;
        said(&answer)?;
        serde_json::from_str(answer["contents"].as_str().unwrap_or_default()).map_err(|why| why.to_string())
    }

    /// What a parameter file would deploy. Anything that the compiler or its linter says is an error.
    pub fn snapshot(&mut self, path: &str) -> Result<Value, String> {
        let file = self.folder.path().join(path);
        let answer = self.call("compileParams", &json!({ "path": file, "parameterOverrides": {} }))?;
        said(&answer)?;
        let mut scope = json!({
            "tenantId": "11111111-1111-1111-1111-111111111111", "subscriptionId": "22222222-2222-2222-2222-222222222222",
            "location": "westeurope", "deploymentName": "scorekeeper",
        });
        if !path.contains("/azd/") {
            scope["resourceGroup"] = json!("rg-scorekeeper");
        }
        let answer = self.call("getSnapshot", &json!({ "path": file, "metadata": scope, "externalInputs": null }))?;
        let predicted: Value = serde_json::from_str(answer["snapshot"].as_str().unwrap_or_default()).unwrap();
        match predicted["diagnostics"].as_array() {
            Some(none) if none.is_empty() => Ok(predicted),
            _ => Err(predicted["diagnostics"].to_string()),
        }
    }

    /// A file as the formatter writes it.
    pub fn formatted(&mut self, path: &str) -> Result<String, String> {
        let answer = self.call("format", &json!({ "path": self.folder.path().join(path) }))?;
        Ok(answer["contents"].as_str().unwrap_or_default().to_owned())
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Result<Value, String> {
        self.calls += 1;
        let request =
            json!({ "jsonrpc": "2.0", "id": self.calls, "method": format!("bicep/{method}"), "params": [parameters] })
                .to_string();
        let stdin = self.stdin.as_mut().expect("the compiler runs");
        write!(stdin, "Content-Length: {}\r\n\r\n{request}", request.len()).unwrap();
        stdin.flush().unwrap();
        loop {
            let answer = self.message();
            if answer["id"] == self.calls {
                let why = &answer["error"];
                return match why["data"]["message"].as_str().or(why["message"].as_str()) {
                    Some(why) => Err(why.to_owned()),
                    None => Ok(answer["result"].clone()),
                };
            }
        }
    }

    /// The next message: headers, an empty line, the body.
    fn message(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut header = String::new();
            assert!(self.stdout.read_line(&mut header).unwrap() > 0, "the compiler ended");
            let header = header.trim().to_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(bytes) = header.strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stdout.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    fn stop(&mut self) {
        // It ends with its input; killed as well, in case it does not.
        drop(self.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(program: &Path) -> (Child, ChildStdin, BufReader<ChildStdout>) {
    let mut process = Command::new(program)
        .args(["jsonrpc", "--stdio"])
        .envs(AZD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|why| panic!("{}: {why}", program.display()));
    let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    (process, stdin, BufReader::new(stdout))
}

/// Diagnostics of an answer, each as `FILE:LINE: CODE: MESSAGE`.
fn said(answer: &Value) -> Result<(), String> {
    let diagnostics = answer["diagnostics"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lines: Vec<String> = diagnostics
        .iter()
        .map(|diagnostic| {
            let line = diagnostic["range"]["start"]["line"].as_u64().unwrap_or_default() + 1;
            let file = text(&diagnostic["source"]);
            let file = file.split_once("/infra/").map_or(&*file, |(_, below)| below).to_owned();
            format!("infra/{file}:{line}: {}: {}", text(&diagnostic["code"]), text(&diagnostic["message"]))
        })
        .collect();
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}
