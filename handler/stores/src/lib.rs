//! Table stores that need no cloud.

pub mod embedded;
pub mod fault;
pub mod faulty;
pub mod memory;
