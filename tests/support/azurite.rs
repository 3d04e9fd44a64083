//! Azurite, Microsoft's storage emulator: one for the test process, in memory, on ports that the system chose.
//!
//! It is started when the first test asks and ends with this process, however that ends: a shell in between waits on a
//! pipe that only this process holds, and kills it when the pipe closes. `tests/azurite/package.json` names the version;
//! `npm install --prefix target/azurite` beside a copy of that file installs it. Where it is not installed its tests say
//! so and pass, unless `SCOREKEEPER_REQUIRE_AZURITE` is set.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// The well-known account of every emulator; its key is public.
pub const ACCOUNT: &str = "devstoreaccount1";
/// Its key.
pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Address of the table service with its account, the account's name and key; `None` where Azurite is not installed.
pub fn tables() -> Option<(String, &'static str, &'static str)> {
    address("Table").map(|url| (url, ACCOUNT, KEY))
}

/// Address of the blob service with its account; `None` where Azurite is not installed.
pub fn blobs() -> Option<String> {
    address("Blob")
}

fn address(service: &str) -> Option<String> {
    static AZURITE: OnceLock<Option<Azurite>> = OnceLock::new();
    let azurite = AZURITE.get_or_init(|| {
        let found = installed();
        if found.is_none() {
            #[expect(clippy::disallowed_methods, reason = "CI says by this that a missing emulator is a failure")]
            let required = std::env::var("SCOREKEEPER_REQUIRE_AZURITE").is_ok();
            assert!(!required, "Azurite is required and not in target/azurite; see tests/support/azurite.rs");
            #[expect(clippy::print_stdout, reason = "whoever runs the tests must learn what did not run")]
            let () = println!("skipped: Azurite is not in target/azurite");
        }
        found.map(|script| Azurite::start(&script))
    });
    azurite.as_ref().map(|azurite| format!("http://{}/{ACCOUNT}", azurite.listening[service]))
}

fn installed() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let script = workspace.join("target/azurite/node_modules/azurite/dist/src/azurite.js");
    script.is_file().then_some(script)
}

struct Azurite {
    /// `127.0.0.1:port` by service.
    listening: BTreeMap<String, String>,
    /// Held open as long as this process lives.
    _leash: ChildStdin,
    _shell: Child,
}

impl Azurite {
    fn start(script: &Path) -> Self {
        // `read` returns when the pipe closes; nothing is ever written to it.
        let watched = r#"node "$@" & child=$!; read -r _; kill -9 "$child""#;
        let mut shell = Command::new("sh")
            .args(["-c", watched, "azurite"])
            .arg(script)
            .args(["--inMemoryPersistence", "--extentMemoryLimit", "512", "--disableTelemetry", "--silent"])
            .args(["--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", "0", "--queueHost", "127.0.0.1"])
            .args(["--queuePort", "0", "--tableHost", "127.0.0.1", "--tablePort", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`sh` starts");
        let leash = shell.stdin.take().expect("stdin was piped");
        let mut lines = BufReader::new(shell.stdout.take().expect("stdout was piped")).lines();
        let mut listening = BTreeMap::new();
        while listening.len() < 3 {
            // `Azurite Table service is successfully listening at http://127.0.0.1:41873`
            let line = lines.next().expect("Azurite ended before it listened").expect("Azurite prints text");
            if let Some((service, address)) = line.split_once(" service is successfully listening at http://") {
                listening.insert(service.replace("Azurite ", ""), address.to_owned());
            }
        }
        for address in listening.values() {
            TcpStream::connect(address).unwrap_or_else(|error| panic!("Azurite at {address}: {error}"));
        }
        // It must never meet a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { listening, _leash: leash, _shell: shell }
    }
}
