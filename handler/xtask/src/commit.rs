//! The commit that a shipped executable names, and the time of that. It is asked of this workspace also where a copy of the sources
//! is built, so that both give the same bytes.

use std::{env, path::Path};

use crate::workspace::asked;

/// What `scorekeeper --version` tells of the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Twelve hex digits, `+changes` where the files are others; empty without git.
    pub(crate) name: String,
    /// Seconds since 1970: `SOURCE_DATE_EPOCH` if it is set (a release from an archive), else the commit's own.
    /// See <https://reproducible-builds.org/specs/source-date-epoch/>.
    pub(crate) seconds: String,
}

impl Commit {
    pub(crate) fn of(root: &Path) -> Self {
        let root = root.to_string_lossy();
        let git = |arguments: &[&str]| asked("git", &[&["-C", &root], arguments].concat());
        let changes = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
        let name = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
        #[expect(clippy::disallowed_methods, reason = "a variable of builds, and no setting of the product's")]
        let given = env::var("SOURCE_DATE_EPOCH").ok();
        Self {
            name: if changes { format!("{name}+changes") } else { name },
            seconds: given.or_else(|| git(&["log", "-1", "--format=%ct"])).unwrap_or_default(),
        }
    }

    /// The environment variables by which the compiler is told of both.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 2] {
        [("SCOREKEEPER_COMMIT", &self.name), ("SCOREKEEPER_COMMIT_TIME", &self.seconds)]
    }
}
