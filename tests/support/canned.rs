//! A real server on a port of its own that answers, or fails, as the test says, and records its requests.
//!
//! It speaks just enough HTTP/1.1 by hand: a server library would not let us cut a connection in mid-answer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How one request is dealt with.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A whole answer; the connection is closed after it.
    Whole(Answer),
    /// A whole answer; the connection stays open for further requests.
    KeptAlive(Answer),
    /// The connection is cut as soon as it is accepted: nothing of the request is read.
    CutUnread,
    /// The request is read, then the connection is cut.
    CutRead,
    /// Status, headers and half of the body, then the connection is cut.
    CutInside(Answer),
    /// The request is read and never answered.
    Hang,
    /// A whole answer, after a while.
    Late(Duration, Answer),
    /// The answer comes one byte at a time, too slowly for anybody.
    Trickle(Answer),
}

/// Status, headers, body.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Canned\r\n", self.status);
        for (name, value) in &self.headers {
            head.extend([name.as_str(), ": ", value, "\r\n"]);
        }
        // The answer to a HEAD says how long the body would be.
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            head.extend(["Content-Length: ", &self.body.len().to_string(), "\r\n"]);
        }
        head
    }
}

/// A JSON answer.
pub fn json(status: u16, body: &Value) -> Answer {
    text(status, &body.to_string()).header("Content-Type", "application/json")
}

/// A plain answer.
pub fn text(status: u16, body: &str) -> Answer {
    Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Whole(answer)
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    /// `METHOD path`, without query.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path())
    }
}

#[derive(Default)]
struct Script {
    next: VecDeque<Reply>,
    /// By `METHOD path`; the last one stays.
    at: BTreeMap<String, VecDeque<Reply>>,
    requests: Vec<Recorded>,
}

/// The server. It goes away with this value.
pub struct Canned {
    pub authority: String,
    script: Arc<Mutex<Script>>,
    accepted: watch::Receiver<usize>,
    server: JoinHandle<()>,
}

impl Canned {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let script = Arc::new(Mutex::new(Script::default()));
        let (count, accepted) = watch::channel(0);
        let server = tokio::spawn(serve(listener, script.clone(), count));
        Self { authority, script, accepted, server }
    }

    /// A URL on this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    /// What the next request without a place of its own gets; in order.
    pub fn next(&self, reply: impl Into<Reply>) -> &Self {
        self.script.lock().unwrap().next.push_back(reply.into());
        self
    }

    /// What requests to `METHOD path` get; in order, the last one for ever.
    pub fn at(&self, line: &str, reply: impl Into<Reply>) -> &Self {
        self.script.lock().unwrap().at.entry(line.to_owned()).or_default().push_back(reply.into());
        self
    }

    /// Everything that was asked, in order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.script.lock().unwrap().requests.clone()
    }

    /// Lines of everything that was asked.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Recorded::line).collect()
    }

    /// Connections so far, also those that were cut before a request was read.
    pub fn connections(&self) -> usize {
        *self.accepted.borrow()
    }

    /// A port that nobody listens on.
    pub async fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, script: Arc<Mutex<Script>>, count: watch::Sender<usize>) {
    let mut connections = tokio::task::JoinSet::new(); // goes away with the server
    while let Ok((socket, _)) = listener.accept().await {
        count.send_modify(|n| *n += 1);
        let unread = {
            let mut script = script.lock().unwrap();
            let unread = matches!(script.next.front(), Some(Reply::CutUnread));
            if unread {
                script.next.pop_front();
            }
            unread
        };
        if !unread {
            connections.spawn(converse(socket, script.clone()));
        }
    }
}

async fn converse(mut socket: TcpStream, script: Arc<Mutex<Script>>) {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut socket, &mut buffer).await {
        let reply = {
            let mut script = script.lock().unwrap();
            let line = request.line();
            script.requests.push(request);
            let placed = script.at.get_mut(&line).and_then(|replies| match replies.len() {
                0 | 1 => replies.front().cloned(),
                _ => replies.pop_front(),
            });
            placed.or_else(|| script.next.pop_front()).unwrap_or_else(|| text(404, "not in the script").into())
        };
        let written = match reply {
            Reply::KeptAlive(answer) => {
                let head = answer.head() + "\r\n";
                let whole = [head.as_bytes(), &answer.body].concat();
                match socket.write_all(&whole).await {
                    Ok(()) => continue,
                    error => error,
                }
            }
            Reply::Late(pause, answer) => {
                tokio::time::sleep(pause).await;
                let head = answer.head() + "Connection: close\r\n\r\n";
                socket.write_all(&[head.as_bytes(), &answer.body].concat()).await
            }
            Reply::Whole(answer) => {
                let head = answer.head() + "Connection: close\r\n\r\n";
                socket.write_all(&[head.as_bytes(), &answer.body].concat()).await
            }
            Reply::CutUnread | Reply::CutRead => return,
            Reply::CutInside(answer) => {
                let head = answer.head() + "\r\n";
                let half = &answer.body[..answer.body.len() / 2];
                socket.write_all(&[head.as_bytes(), half].concat()).await
            }
            Reply::Hang => std::future::pending().await,
            Reply::Trickle(answer) => {
                let head = answer.head() + "\r\n";
                let mut written = socket.write_all(head.as_bytes()).await;
                for byte in answer.body {
                    written = written.and(socket.write_all(&[byte]).await);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                written
            }
        };
        // Whether the client waited for all of it is the client's business.
        let _ = written;
        let _ = socket.shutdown().await;
        return;
    }
}

/// One request, or `None` when the client is gone.
async fn read(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Recorded> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    while buffer.len() < head_end + length {
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[head_end..head_end + length].to_vec();
    buffer.drain(..head_end + length);
    Some(Recorded { method, target, headers, body })
}
