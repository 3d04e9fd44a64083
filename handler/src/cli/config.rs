//! `scorekeeper config`: every setting as it is understood, with where it came from; secrets are masked.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use app::ports::Clock;
use doctor::Caller;

use super::json::JsonArgs;
use super::{one_thread, working_directory};
use crate::compose;
use crate::config::identity::is_app;
use crate::config::local::LocalSettings;
#[cfg(feature = "cli")]
use crate::config::profiles::ProfileSettings;
use crate::config::{Config, Problems, ProcessVars};
use crate::redacting::Redacting;

/// How the settings are printed.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ConfigArgs {
    /// With the ledger of this profile [default: `SCOREKEEPER_PROFILE`, unless the environment names a ledger]
    #[cfg(feature = "cli")]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Whether the settings are printed as JSON, or as text for people.
    #[command(flatten)]
    json: JsonArgs,
}

pub(super) fn run(args: &ConfigArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let cwd = working_directory()?;
    #[cfg(feature = "cli")]
    let profile = args.profile.as_deref();
    #[cfg(not(feature = "cli"))]
    let profile = None;
    let mut config = read(profile, &cwd)?;
    if config.rules_in_blob.is_some() {
        let caller = if is_app(&ProcessVars) { Caller::App } else { Caller::Operator };
        let seen =
            one_thread()?.block_on(compose::rules_seen(&config, caller, clock)).map_err(super::doctor::Error::from)?;
        config.rules_seen(seen);
    }
    let mut out = Redacting::new(std::io::stdout());
    if args.json.is_asked_for() {
        args.json.write(&config.json(), &mut out)?;
    } else {
        out.write_all(config.table().as_bytes())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The settings of the app that a command works as.
pub(super) fn read(profile: Option<&str>, cwd: &Path) -> Result<Config, Problems> {
    #[cfg(feature = "cli")]
    {
        let profile = ProfileSettings::read(&ProcessVars, profile)?;
        if profile.is_in_force() {
            return profile.config(cwd);
        }
    }
    #[cfg(not(feature = "cli"))]
    let _ = profile;
    match LocalSettings::below(cwd, &ProcessVars) {
        Some(local) => local.config(cwd),
        None => Config::read(&ProcessVars, cwd),
    }
}
