//! `--watch` of `status` and `list`: the same is shown again and again until Ctrl-C. A terminal is redrawn; a pipe gets a block for
//! each change, so that what is kept of it is a log and not a film.
//!
//! The exit code is that of what was shown last, so that a script that ends the watch learns how it stood.

use std::io::{self, IsTerminal as _, Write};
use std::pin::pin;
use std::time::Duration;

use app::error_chain;
use app::ports::Clock;
use time::OffsetDateTime;

use super::on_ledger::{Error, LEDGER_UNAVAILABLE};
use super::terminal;
use super::view::utc_text;
use crate::redacting::Redacting;

/// Whether it is shown again.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WatchArgs {
    /// Show it again every so many seconds until Ctrl-C: redrawn on a terminal, else once for each change [default: 2]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch: Option<u64>,
}

/// How one look is shown beside those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// In the place of what was shown before, at most so many lines.
    Redrawn {
        /// Lines of the terminal, 24 if it does not tell; what is longer is cut.
        rows: usize,
    },
    /// Behind it, when it has changed, each under the time.
    Dated,
    /// Likewise, for scripts: nothing stands between two answers.
    Bare,
}

/// What a command shows at one look, when it is repeated.
#[derive(Debug, Clone)]
pub struct Block {
    /// The exit code, if it is the last.
    pub code: u8,
    /// What the command has printed, in UTF-8 with its line ends.
    pub text: Vec<u8>,
    /// What has changed when it differs from that of the look before: ages do so all the time.
    pub compared: String,
}

/// Looks every so many seconds until Ctrl-C.
pub(super) async fn watch(
    every: u64,
    for_people: bool,
    clock: &Clock,
    look: impl AsyncFnMut(OffsetDateTime) -> Result<Block, Error>,
) -> Result<u8, Error> {
    let screen = match (io::stdout().is_terminal(), for_people) {
        (true, _) => Screen::Redrawn { rows: terminal::rows().unwrap_or(24) },
        (false, true) => Screen::Dated,
        (false, false) => Screen::Bare,
    };
    let ticks = async || {
        tokio::time::sleep(Duration::from_secs(every)).await;
        clock()
    };
    // A machine without signals is ended otherwise.
    let stopped = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    show(screen, clock(), look, ticks, stopped, &mut io::stdout().lock()).await
}

/// The same by any clock and any sign to end, on any writer.
pub async fn show(
    screen: Screen,
    first: OffsetDateTime,
    mut look: impl AsyncFnMut(OffsetDateTime) -> Result<Block, Error>,
    mut ticks: impl AsyncFnMut() -> OffsetDateTime,
    stopped: impl Future<Output = ()>,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let mut stopped = pin!(stopped);
    let (mut now, mut last): (_, Option<Block>) = (first, None);
    loop {
        let looked = tokio::select! {
            biased;
            () = &mut stopped => return Ok(last.map_or(LEDGER_UNAVAILABLE, |block| block.code)),
            looked = look(now) => looked,
        };
        let block = match looked {
            Ok(block) => block,
            // What is wrong from the beginning is wrong with the command; what comes later may pass.
            Err(error) if last.is_none() => return Err(error),
            Err(error) => {
                let text = error_chain(&error);
                Block { code: LEDGER_UNAVAILABLE, text: format!("{text}\n").into_bytes(), compared: text }
            }
        };
        match put(screen, now, &block, last.as_ref(), out) {
            // Nobody reads any more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(block.code),
            shown => shown?,
        }
        last = Some(block);
        now = tokio::select! {
            biased;
            () = &mut stopped => return Ok(last.map_or(LEDGER_UNAVAILABLE, |block| block.code)),
            now = ticks() => now,
        };
    }
}

fn put(
    screen: Screen,
    now: OffsetDateTime,
    block: &Block,
    last: Option<&Block>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut text = Vec::new();
    let mut redacting = Redacting::new(&mut text);
    redacting.write_all(&block.text)?;
    redacting.flush()?;
    drop(redacting);
    let text = String::from_utf8_lossy(&text);
    if let Screen::Redrawn { rows } = screen {
        writeln!(out, "\x1b[H{} UTC, until Ctrl-C\x1b[K", utc_text(now))?;
        let fits = rows.saturating_sub(3);
        let lines = text.lines().count();
        for line in text.lines().take(fits) {
            writeln!(out, "{line}\x1b[K")?;
        }
        if lines > fits {
            writeln!(out, "({} more lines than fit)\x1b[K", lines - fits)?;
        }
        write!(out, "\x1b[J")?;
    } else if last.is_none_or(|last| last.compared != block.compared) {
        if screen == Screen::Dated {
            writeln!(out, "{}{} UTC", if last.is_some() { "\n" } else { "" }, utc_text(now))?;
        }
        write!(out, "{text}")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use time::macros::datetime;

    const START: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

    /// Shows these looks, one a tick, and is stopped behind the last.
    async fn shown(screen: Screen, looks: Vec<Result<Block, Error>>) -> (Result<u8, Error>, String) {
        let stop = tokio::sync::Notify::new();
        let looks = RefCell::new(looks.into_iter());
        let ticks = RefCell::new(START);
        let look = async |_| {
            let next = looks.borrow_mut().next();
            let Some(looked) = next else {
                stop.notify_one();
                return std::future::pending().await;
            };
            looked
        };
        let tick = async || {
            *ticks.borrow_mut() += Duration::from_secs(2);
            *ticks.borrow()
        };
        let mut out = Vec::new();
        let code = show(screen, START, look, tick, stop.notified(), &mut out).await;
        (code, String::from_utf8(out).unwrap())
    }

    #[expect(clippy::unnecessary_wraps, reason = "a look may fail")]
    fn block(code: u8, text: &str, compared: &str) -> Result<Block, Error> {
        Ok(Block { code, text: text.as_bytes().to_vec(), compared: compared.to_owned() })
    }

    fn broken() -> Result<Block, Error> {
        Err(Error::Output(io::Error::other("the network is away")))
    }

    #[tokio::test]
    async fn a_pipe_gets_a_block_for_each_change_and_the_code_is_that_of_the_last() {
        let looks = || {
            vec![
                block(0, "1 s ago\n", "a"),
                block(0, "3 s ago\n", "a"),
                block(1, "now ?sig=SECRET\n", "b"),
                broken(),
                block(1, "again\n", "b"),
            ]
        };
        let (code, told) = shown(Screen::Dated, looks()).await;
        let golden = "2026-07-21 10:00:00 UTC\n1 s ago\n\n2026-07-21 10:00:04 UTC\nnow ?sig=***\n\n\
                      2026-07-21 10:00:06 UTC\nthe output cannot be written: the network is away\n\n\
                      2026-07-21 10:00:08 UTC\nagain\n";
        assert_eq!((code.unwrap(), told.as_str()), (1, golden), "an error that comes later may pass");
        let (_, told) = shown(Screen::Bare, looks()).await;
        assert!(told.starts_with("1 s ago\nnow"), "{told}");
        let (code, _) = shown(Screen::Dated, looks().into_iter().take(4).collect()).await;
        assert_eq!(code.unwrap(), LEDGER_UNAVAILABLE, "what was seen last was that nothing can be seen");
    }

    #[tokio::test]
    async fn a_terminal_is_redrawn_with_what_fits_and_its_own_escapes_alone() {
        let looks = vec![block(0, "a\nb\nc \u{1b}[2J\n", "1"), block(0, "a\nb\n", "1")];
        let (_, told) = shown(Screen::Redrawn { rows: 5 }, looks).await;
        let golden = "\u{1b}[H2026-07-21 10:00:00 UTC, until Ctrl-C\u{1b}[K\na\u{1b}[K\nb\u{1b}[K\n(1 more lines than fit)\u{1b}[K\n\u{1b}[J\
                      \u{1b}[H2026-07-21 10:00:02 UTC, until Ctrl-C\u{1b}[K\na\u{1b}[K\nb\u{1b}[K\n\u{1b}[J";
        assert_eq!(told, golden);
    }

    /// Nobody reads any more.
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[tokio::test]
    async fn what_is_wrong_from_the_beginning_ends_it_and_so_does_a_reader_that_goes_away() {
        assert!(shown(Screen::Dated, vec![broken()]).await.0.is_err());
        let never = std::future::pending();
        let code = show(Screen::Bare, START, async |_| block(1, "a\n", ""), async || START, never, &mut Gone).await;
        assert_eq!(code.unwrap(), 1);
    }
}
