//! `scorekeeper profile`: names for ledgers.

use std::io::{self, Write};
use std::process::ExitCode;

use lifecycle::text::visible;
use serde_json::json;

use super::json::JsonArgs;
use super::table::{self, Column};
use super::{terminal, working_directory};
use crate::config::ProcessVars;
use crate::config::profiles::{Error, Profiles};
use crate::redacting::Redacting;

/// What is done with profiles.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ProfileArgs {
    #[command(subcommand)]
    doing: Doing,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Doing {
    /// Name a ledger, so that `--profile NAME` or the variable SCOREKEEPER_PROFILE means it.
    Add {
        /// The name: letters, digits, `-` and `_`
        name: String,
        /// Table endpoint (`https://ACCOUNT.table.core.windows.net`) or `embedded:DIR`; how to be let in is no part of it
        #[arg(long, value_name = "LEDGER")]
        ledger: String,
        /// Prefix of the table names [default: Scorekeeper]
        #[arg(long, value_name = "NAME")]
        task_hub: Option<String>,
        /// Though there is one of this name for another ledger
        #[arg(long)]
        replace: bool,
    },
    /// List the profiles.
    List {
        /// Whether the profiles are printed as JSON, or as text for people.
        #[command(flatten)]
        json: JsonArgs,
    },
    /// Show one.
    Show {
        /// Its name
        name: String,
        /// Whether the profile is printed as JSON, or as text for people.
        #[command(flatten)]
        json: JsonArgs,
    },
    /// Forget one; the ledger stays as it is.
    Remove {
        /// Its name
        name: String,
    },
}

pub(super) fn run(args: &ProfileArgs) -> Result<ExitCode, super::Error> {
    let cwd = working_directory()?;
    let mut profiles = Profiles::read(&ProcessVars)?;
    let mut out = Redacting::new(io::stdout().lock());
    match &args.doing {
        Doing::Add { name, ledger, task_hub, replace } => {
            let named = (ledger.as_str(), task_hub.as_deref());
            let profile = profiles.add(name, named, *replace, &cwd, &ProcessVars)?;
            writeln!(out, "{name} is {}, task hub {}.", visible(&profile.ledger), profile.task_hub)?;
            writeln!(out, "`scorekeeper status --profile {name}` shows how it stands.")?;
        }
        Doing::List { json } if json.is_asked_for() => {
            let all: Vec<_> = profiles
                .iter()
                .map(|(name, profile)| json!({"name": name, "ledger": profile.ledger, "taskHub": profile.task_hub}))
                .collect();
            json.write(&all, &mut out)?;
        }
        Doing::List { .. } => list(&profiles, &mut out)?,
        Doing::Show { name, json } => {
            let profile = profiles.get(name)?;
            if json.is_asked_for() {
                json.write(profile, &mut out)?;
            } else {
                writeln!(out, "{name}")?;
                writeln!(out, "  ledger    {}", visible(&profile.ledger))?;
                writeln!(out, "  task hub  {}", profile.task_hub)?;
                writeln!(out, "  file      {}", visible(&profiles.path().display().to_string()))?;
            }
        }
        Doing::Remove { name } => {
            let profile = profiles.remove(name)?;
            writeln!(out, "{name} is forgotten; the ledger {} stays as it is.", visible(&profile.ledger))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn list(profiles: &Profiles, out: &mut dyn Write) -> io::Result<()> {
    let row = |(name, profile): (&str, &crate::config::profiles::Profile)| {
        vec![name.to_owned(), profile.ledger.clone(), profile.task_hub.clone()]
    };
    let rows: Vec<_> = profiles.iter().map(row).collect();
    if rows.is_empty() {
        return writeln!(out, "There are no profiles; `scorekeeper profile add NAME --ledger LEDGER` makes one.");
    }
    let columns = [Column::whole("NAME"), Column::long("LEDGER", 20), Column::whole("TASK HUB")];
    table::print(&columns, &rows, terminal::columns(), out)
}

/// There is no such profile, or it is no profile: nothing was begun.
pub(super) fn is_usage(error: &Error) -> bool {
    !matches!(error, Error::Unreadable { .. } | Error::Unwritable { .. })
}
