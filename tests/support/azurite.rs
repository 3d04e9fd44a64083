//! Azurite, Microsoft's storage emulator: for the test process, in memory, on ports that the system chose. One instance
//! speaks http and takes account keys; another speaks https and takes Entra tokens too, as the real service does.
//!
//! Each is started when the first test asks and ends with this process, however that ends: a shell in between waits on a
//! pipe that only this process holds, and kills it when the pipe closes. `tests/azurite/package.json` names the version;
//! `npm install --prefix target/azurite` beside a copy of that file installs it. Where it is not installed its tests say
//! so and pass, unless `SCOREKEEPER_REQUIRE_AZURITE` is set. A test that wants to kill it has its own, on disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use app::ports::table_store::{Entity, Key, Op, TableName, TableStore as _};
use azure::tables::AzureTables;
use azure_core::http::Transport;

/// The well-known account of every emulator; its key is public.
pub const ACCOUNT: &str = "devstoreaccount1";
/// Its key.
pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// An account that nobody knows by heart.
pub const OTHER_ACCOUNT: &str = "journeys";
/// Its key.
pub const OTHER_KEY: &str = "c2NvcmVrZWVwZXIncyBzZWNvbmQgZW11bGF0ZWQgYWNjb3VudA==";

/// Address of the table service with its account, the account's name and key; `None` where Azurite is not installed.
pub fn tables() -> Option<(String, &'static str, &'static str)> {
    plain().map(|azurite| (azurite.address("Table", ACCOUNT), ACCOUNT, KEY))
}

/// The same for the other account.
pub fn tables_of_other_account() -> Option<(String, &'static str, &'static str)> {
    plain().map(|azurite| (azurite.address("Table", OTHER_ACCOUNT), OTHER_ACCOUNT, OTHER_KEY))
}

/// Address of the blob service with its account; `None` where Azurite is not installed.
pub fn blobs() -> Option<String> {
    plain().map(|azurite| azurite.address("Blob", ACCOUNT))
}

/// Addresses of the instance that is reached over TLS.
pub struct OverTls {
    pub tables: String,
    pub blobs: String,
    authority: reqwest::Certificate,
}

impl OverTls {
    /// A client that trusts this instance, and whatever else the machine trusts.
    pub fn client(&self) -> reqwest::Client {
        builder().tls_certs_merge([self.authority.clone()]).build().unwrap()
    }
}

/// The instance with TLS and tokens; `None` where Azurite is not installed.
pub fn over_tls() -> Option<OverTls> {
    static AZURITE: OnceLock<Option<(Azurite, reqwest::Certificate)>> = OnceLock::new();
    let started = AZURITE.get_or_init(|| {
        let script = installed()?;
        let (authority, certificate, key) = certificates();
        // Read once, at the start; removed after it.
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.into_os_string()
        };
        let mut arguments = vec!["--oauth".into(), "basic".into()];
        arguments.extend(["--cert".into(), file("cert.pem", &certificate), "--key".into(), file("key.pem", &key)]);
        Some((Azurite::start(&script, &[&in_memory()[..], &arguments].concat(), &Ports::default()), authority))
    });
    started.as_ref().map(|(azurite, authority)| OverTls {
        tables: azurite.address("Table", ACCOUNT),
        blobs: azurite.address("Blob", ACCOUNT),
        authority: authority.clone(),
    })
}

/// A client for one test. The product's own is shared by the whole process, and a connection that another test opened
/// dies with that test's runtime.
pub fn client() -> reqwest::Client {
    builder().build().unwrap()
}

/// The same as `azure_core` wants it.
pub fn transport(client: reqwest::Client) -> Transport {
    Transport::new(Arc::new(client))
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).retry(reqwest::retry::never())
}

/// An authority of our own, and with it a certificate for this machine: the authority, the certificate, its key.
fn certificates() -> (reqwest::Certificate, String, String) {
    let own = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new([]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&own).unwrap();
    let issuer = rcgen::Issuer::new(parameters, own);
    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let authority = reqwest::Certificate::from_der(authority.der()).unwrap();
    (authority, certificate.pem(), key.serialize_pem())
}

/// An instance of one test's own, on disk: it may be killed and goes on with what it has saved.
pub struct OnDisk {
    script: PathBuf,
    folder: PathBuf,
    ports: Ports,
    running: Option<Azurite>,
    marks: u32,
}

impl OnDisk {
    /// Starts it over an empty folder; `None` where Azurite is not installed.
    pub fn start(folder: &Path) -> Option<Self> {
        let script = installed()?;
        let mut own = Self { script, folder: folder.to_owned(), ports: Ports::default(), running: None, marks: 0 };
        own.restart();
        let running = own.running.as_ref()?;
        let port = |service: &str| {
            let address = &running.listening[service];
            address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("an address ends with its port")
        };
        own.ports = Ports(["Blob", "Queue", "Table"].map(port));
        Some(own)
    }

    /// Address of the table service with its account, the account's name and key.
    pub fn tables(&self) -> (String, &'static str, &'static str) {
        (format!("http://127.0.0.1:{}/{ACCOUNT}", self.ports.0[2]), ACCOUNT, KEY)
    }

    /// Waits until everything that was written before is on disk. Azurite answers first and saves every five seconds;
    /// what is killed earlier forgets writes that it has acknowledged, as the real service never does.
    pub async fn saved(&mut self, store: &AzureTables) {
        self.marks += 1;
        let (table, mark) = (TableName::read("Marks").unwrap(), format!("mark-{}-end", self.marks));
        store.create_table(&table).await.unwrap();
        // Several round trips: whatever it was working on when the first one came is done with the last one.
        for _ in 0..10 {
            store.write(&table, &[Op::Upsert(Entity::new(Key::new("mark", &mark)))]).await.unwrap();
        }
        let file = self.folder.join("__azurite_db_table__.json");
        let mut every = tokio::time::interval(Duration::from_millis(100));
        let mut seen = None;
        let saved = async {
            loop {
                every.tick().await;
                // It is replaced whole, by a rename.
                let changed = std::fs::metadata(&file).and_then(|it| it.modified()).ok();
                if changed != seen && std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&mark)) {
                    return;
                }
                seen = changed;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), saved).await.expect("Azurite saves every five seconds");
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }

    /// Starts it again, over the same folder and on the same ports.
    pub fn restart(&mut self) {
        let location = ["--location".into(), self.folder.clone().into_os_string()];
        self.running = Some(Azurite::start(&self.script, &location, &self.ports));
    }
}

fn plain() -> Option<&'static Azurite> {
    static AZURITE: OnceLock<Option<Azurite>> = OnceLock::new();
    AZURITE.get_or_init(|| installed().map(|script| Azurite::start(&script, &in_memory(), &Ports::default()))).as_ref()
}

fn installed() -> Option<PathBuf> {
    static SCRIPT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let script = SCRIPT.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
        let script = workspace.join("target/azurite/node_modules/azurite/dist/src/azurite.js");
        if script.is_file() {
            return Some(script);
        }
        #[expect(clippy::disallowed_methods, reason = "CI says by this that a missing emulator is a failure")]
        let required = std::env::var("SCOREKEEPER_REQUIRE_AZURITE").is_ok();
        assert!(!required, "Azurite is required and not in target/azurite; see tests/support/azurite.rs");
        #[expect(clippy::print_stdout, reason = "whoever runs the tests must learn what did not run")]
        let () = println!("skipped: Azurite is not in target/azurite");
        None
    });
    script.clone()
}

fn in_memory() -> Vec<OsString> {
    ["--inMemoryPersistence", "--extentMemoryLimit", "512"].map(OsString::from).to_vec()
}

/// Of the blob, queue and table service; 0 is for any.
#[derive(Default)]
struct Ports([u16; 3]);

struct Azurite {
    /// `http://127.0.0.1:port` by service.
    listening: BTreeMap<String, String>,
    /// Held open as long as this process lives.
    leash: ChildStdin,
    shell: Child,
}

impl Azurite {
    fn start(script: &Path, more: &[OsString], Ports(ports): &Ports) -> Self {
        // `read` returns when the pipe closes; nothing is ever written to it.
        let watched = r#"node "$@" & child=$!; read -r _; kill -9 "$child"; wait "$child" 2>&-"#;
        let [blob, queue, table] = ports.map(|port| port.to_string());
        let mut shell = Command::new("sh")
            .args(["-c", watched, "azurite"])
            .arg(script)
            .args(["--disableTelemetry", "--silent", "--skipApiVersionCheck"])
            .args(["--blobHost", "127.0.0.1", "--blobPort", &blob, "--queueHost", "127.0.0.1", "--queuePort", &queue])
            .args(["--tableHost", "127.0.0.1", "--tablePort", &table])
            .args(more)
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY};{OTHER_ACCOUNT}:{OTHER_KEY}"))
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
            if let Some((service, address)) = line.split_once(" service is successfully listening at ") {
                listening.insert(service.replace("Azurite ", ""), address.to_owned());
            }
        }
        for address in listening.values() {
            let authority = address.split_once("://").expect("an address has a scheme").1;
            TcpStream::connect(authority).unwrap_or_else(|error| panic!("Azurite at {address}: {error}"));
        }
        // It must never meet a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { listening, leash, shell }
    }

    /// `kill -9`, and waits until it is gone.
    fn kill(mut self) {
        drop(self.leash);
        let _ = self.shell.wait();
    }

    fn address(&self, service: &str, account: &str) -> String {
        format!("{}/{account}", self.listening[service])
    }
}
