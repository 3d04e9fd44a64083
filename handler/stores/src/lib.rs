//! Table stores that need no cloud.

#![warn(clippy::too_many_lines)]

pub mod embedded;
pub mod fault;
pub mod faulty;
pub mod memory;
