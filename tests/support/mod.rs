//! What several tests share: processes, emulators, canned servers.

pub mod azurite;
pub mod canned;
pub mod cloud;
pub mod collector;
pub mod emulator;
pub mod executable;
pub mod functions_host;
pub mod http_function;
pub mod identity;
pub mod lambda;
pub mod meanwhile;
pub mod process;
pub mod pypi;
pub mod storage;
pub mod supervised_host;
pub mod world;
pub mod yielding;
