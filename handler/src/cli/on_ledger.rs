//! What the commands on a ledger share: which one, how it is opened, and how its errors are told.

use std::io::{self, Write};
use std::process::ExitCode;

use app::ledger::{self, Ledger};
use app::ports::Clock;
use time::OffsetDateTime;

use super::{one_thread, working_directory};
use crate::compose;
pub(super) use crate::compose::Access;
use crate::config::{LedgerSettings, ProcessVars, WhichLedger};
use crate::redacting::Redacting;

/// Fine.
pub const OK: u8 = 0;
/// Something needs attention, or was not found.
pub const ATTENTION: u8 = 1;
/// The ledger cannot be read or changed.
pub const LEDGER_UNAVAILABLE: u8 = 2;

/// Why a command on a ledger did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger cannot be opened.
    #[error(transparent)]
    Open(#[from] compose::Error),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ledger::Error),
    /// The ledger cannot be changed.
    #[error(transparent)]
    Change(#[from] app::Error),
    /// The output cannot be written.
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

impl Error {
    /// What the operator can do about it, where that is known.
    pub(super) fn remedy(&self) -> Option<String> {
        let (source, role) = match self {
            Self::Read(source) => (source, "Reader"),
            Self::Change(app::Error::Ledger { source, .. }) => (source, "Contributor"),
            Self::Open(_)
            | Self::Change(app::Error::TooManyEvents(_) | app::Error::NotKeptWhole { .. })
            | Self::Output(_) => return None,
        };
        match source {
            ledger::Error::Refused(_) => {
                Some(format!("the identity needs the role Storage Table Data {role} on the storage account"))
            }
            // What these say names it.
            ledger::Error::Unreadable(_) | ledger::Error::Unusable(_) => None,
            ledger::Error::Unavailable(_) => Some("check the address and the network, then try again".to_owned()),
        }
    }
}

/// Opens the ledger that the command line or the settings name and runs `command` on it: its answer is the exit code.
pub(super) fn run_on_ledger(
    which: &WhichLedger,
    access: Access,
    clock: &Clock,
    command: impl AsyncFnOnce(&Ledger, OffsetDateTime, &mut dyn Write) -> Result<u8, Error>,
) -> Result<ExitCode, super::Error> {
    let settings = LedgerSettings::read(&ProcessVars, &working_directory()?, which)?;
    let ledger = compose::ledger_alone(&settings, clock, access).map_err(Error::from)?;
    let runtime = one_thread()?;
    let mut out = Redacting::new(io::stdout().lock());
    let code = runtime.block_on(command(&ledger, clock(), &mut out))?;
    out.flush()?;
    Ok(ExitCode::from(code))
}
