//! `scorekeeper config`: every setting as it is understood, with where it came from; secrets are masked.

use std::io::Write as _;
use std::process::ExitCode;

use super::working_directory;
use crate::config::{Config, ProcessVars};
use crate::redacting::Redacting;

/// How the settings are printed.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ConfigArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ConfigArgs) -> Result<ExitCode, super::Error> {
    let config = Config::read(&ProcessVars, &working_directory()?)?;
    let text = if args.json { format!("{:#}\n", config.json()) } else { config.table() };
    Redacting::new(std::io::stdout()).write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
