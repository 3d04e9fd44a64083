//! The binary `scorekeeper`: the command line of the library [`handler`].

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    handler::cli::main(&handler::compose::system_clock())
}
