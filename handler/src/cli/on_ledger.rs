//! What the commands on a ledger share: exit codes, and how their errors are told.

use std::io;

use app::ledger;

#[cfg(feature = "cli")]
use super::download;
use super::json;
use crate::compose;
#[cfg(feature = "cli")]
pub(super) use crate::compose::Access;
use crate::config::Problems;

/// Exit code of a command that did what was asked, with nothing that needs attention.
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
    /// A row of it cannot be written.
    #[error(transparent)]
    Write(ledger::Error),
    /// The output cannot be written.
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
    /// What was scored cannot be downloaded.
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Download(#[from] download::Error),
    /// Settings or options that cannot be used, each with its remedy; the ledger was not asked.
    #[error(transparent)]
    Settings(#[from] Problems),
    /// What was asked of the answer cannot be told.
    #[error(transparent)]
    Json(json::Error),
}

impl From<json::Error> for Error {
    fn from(error: json::Error) -> Self {
        match error {
            json::Error::Output(source) => Self::Output(source),
            #[cfg(feature = "cli")]
            json::Error::Query { .. } => Self::Json(error),
        }
    }
}

impl Error {
    /// What the operator can do about it, where that is known.
    pub fn remedy(&self) -> Option<String> {
        let (source, role) = match self {
            Self::Read(source) => (source, "Reader"),
            Self::Change(app::Error::Ledger { source, .. }) | Self::Write(source) => (source, "Contributor"),
            Self::Open(_)
            | Self::Change(app::Error::TooManyEvents(_) | app::Error::NotKeptWhole { .. })
            | Self::Output(_)
            | Self::Settings(_)
            | Self::Json(_) => return None,
            #[cfg(feature = "cli")]
            Self::Download(_) => return None,
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
