//! Just enough HTTP/1.1 for both ends of this bench: one message at a time on a kept connection.
//!
//! By hand, because what the client and the fakes take of the machine is taken from the handler under test. Only what
//! those send is understood: bodies with a `Content-Length`; anything else is an error and never guessed at.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Neither the handler nor a fake has reason to send more.
const MAX_BYTES: usize = 16 << 20;

/// A connection and what was read ahead.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request or an answer.
#[derive(Debug)]
pub(crate) struct Message {
    /// Start line and header lines, without the empty line behind them.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The first line.
    pub(crate) fn start(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Header names and values.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head.lines().skip(1).filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim()))
    }

    /// An answer's status, 0 if this is none.
    pub(crate) fn status(&self) -> u16 {
        let code = self.start().strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        code.and_then(|code| code.parse().ok()).unwrap_or(0)
    }
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8 * 1024) })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next message; `None` if the other side has closed between two.
    pub(crate) async fn read(&mut self) -> Result<Option<Message>> {
        let wrong = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
        let mut searched = 0;
        let head = loop {
            let from = searched;
            if let Some(at) = self.buffer[from..].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break from + at;
            }
            searched = self.buffer.len().saturating_sub(3);
            if self.more().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        };
        let text = std::str::from_utf8(&self.buffer[..head]).map_err(|_| wrong("a head that is not text"))?.to_owned();
        let mut message = Message { head: text, body: Vec::new() };
        let mut length = 0;
        for (name, value) in message.headers() {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(|_| wrong("a length that is not a number"))?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(wrong("a message of unknown length, which nobody here sends"));
            }
        }
        let end = head + 4 + length;
        if end > MAX_BYTES {
            return Err(wrong("a message that is too long"));
        }
        while self.buffer.len() < end {
            if self.more().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        message.body.extend_from_slice(&self.buffer[head + 4..end]);
        self.buffer.drain(..end);
        Ok(Some(message))
    }

    async fn more(&mut self) -> Result<usize> {
        if self.buffer.len() > MAX_BYTES {
            return Err(Error::new(ErrorKind::InvalidData, "a message that is too long"));
        }
        self.stream.read_buf(&mut self.buffer).await
    }
}
