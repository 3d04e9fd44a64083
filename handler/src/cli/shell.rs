//! `scorekeeper completions` and `scorekeeper man`: what a shell and `man` want to know of the command line, made from its
//! definition.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory as _;

use super::{Arguments, Error};

/// For which shell.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// Where to.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ManArgs {
    /// A folder for one page of each command; without it the page of the whole is printed
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> ExitCode {
    clap_complete::generate(args.shell, &mut Arguments::command(), "scorekeeper", &mut io::stdout().lock());
    ExitCode::SUCCESS
}

pub(super) fn man(args: &ManArgs) -> Result<ExitCode, Error> {
    match &args.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            clap_mangen::generate_to(Arguments::command(), folder)?;
        }
        None => clap_mangen::Man::new(Arguments::command()).render(&mut io::stdout().lock())?,
    }
    Ok(ExitCode::SUCCESS)
}
