//! The binary `bootstrap`: AWS Lambda's name for what it starts.

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    handler::hosts::lambda::main(&handler::compose::system_clock())
}
