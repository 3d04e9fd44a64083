//! `scorekeeper completions` and `scorekeeper man`: what a shell and `man` want to know of the command line, made from its
//! definition.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory as _;

use super::{Arguments, Error};

/// For which shell `completions` writes.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// To where `man` writes, if not to standard output.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ManArgs {
    /// A folder for one page of each command; without it the page of the whole is printed
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<ExitCode, Error> {
    // Made first: `generate` panics where nobody reads any more.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "scorekeeper", &mut script);
    print(&script)
}

fn print(text: &[u8]) -> Result<ExitCode, Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        // It has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.map(|()| ExitCode::SUCCESS)?),
    }
}

pub(super) fn man(args: &ManArgs) -> Result<ExitCode, Error> {
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
        return print(&page);
    };
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Arguments::command(), folder)?;
    Ok(ExitCode::SUCCESS)
}
