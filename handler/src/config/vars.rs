//! Where settings are read from: the process's environment, or a map in tests.

use std::collections::BTreeMap;

/// Settings as texts by name, as the environment of a process holds them.
pub trait Vars {
    /// The value of this name; names are case-sensitive, as on Linux.
    fn get(&self, name: &str) -> Option<String>;

    /// All names, for finding misspelt ones.
    fn names(&self) -> Vec<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessVars;

impl Vars for ProcessVars {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn get(&self, name: &str) -> Option<String> {
        // A value that is not Unicode is no value of any setting of ours.
        std::env::var(name).ok()
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
    }
}

impl Vars for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        Self::get(self, name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}
