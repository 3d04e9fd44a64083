//! `scorekeeper config`: every setting as it is understood, with where it came from; secrets are masked.

use std::io::Write as _;
use std::process::ExitCode;

use super::working_directory;
use crate::config::local::LocalSettings;
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
    let cwd = working_directory()?;
    let config = match LocalSettings::below(&cwd, &ProcessVars) {
        Some(local) => local.config(&cwd)?,
        None => Config::read(&ProcessVars, &cwd)?,
    };
    let text = if args.json { format!("{:#}\n", config.json()) } else { config.table() };
    let mut out = Redacting::new(std::io::stdout());
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
