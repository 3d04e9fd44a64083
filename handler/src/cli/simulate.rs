//! `scorekeeper simulate`: the seeded simulation, which the crate `simulation` holds with its arguments.

use std::process::ExitCode;

use simulation::SimulateArgs;

pub(super) fn run(args: &SimulateArgs) -> Result<ExitCode, super::Error> {
    Ok(ExitCode::from(simulation::simulate(args, &mut std::io::stdout().lock())?))
}
