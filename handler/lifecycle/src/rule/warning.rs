//! What is told of something that looks wrong in good rules.

use std::fmt;

use crate::redact::redacted;

/// Something that looks wrong, and does not prevent a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The member or setting that looks wrong, and what stands there.
    pub seen: String,
    /// What will happen if it stays as it is.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It quotes the rules.
        f.write_str(&redacted(&format!("{}: {}; {}", self.seen, self.cause, self.remedy)))
    }
}

impl serde::Serialize for Warning {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
