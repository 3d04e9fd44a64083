//! Which build this is: `scorekeeper --version`.

use std::sync::LazyLock;

use time::OffsetDateTime;

/// `0.1.0 (commit 1a2b3c4d5e6f of 2026-07-21, features cli, dev)`
pub(crate) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let features = [("cli", cfg!(feature = "cli")), ("dev", cfg!(feature = "dev"))];
        let features: Vec<&str> = features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        // Both are given by `cargo xtask package` and `release`, so that equal sources give equal bytes in any folder.
        told(option_env!("SCOREKEEPER_COMMIT"), option_env!("SCOREKEEPER_COMMIT_TIME"), &features)
    });
    &TEXT
}

fn told(commit: Option<&str>, seconds: Option<&str>, features: &[&str]) -> String {
    let commit = commit.filter(|commit| !commit.is_empty()).unwrap_or("unknown");
    let date = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds.parse().ok()?).ok());
    let date = date.map(|at| format!(" of {}", at.date())).unwrap_or_default();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    format!("{} (commit {commit}{date}, features {features})", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_says_its_commit_the_day_of_that_and_its_features() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            told(Some("1a2b3c4d5e6f"), Some("1784628000"), &["cli", "dev"]),
            format!("{version} (commit 1a2b3c4d5e6f of 2026-07-21, features cli, dev)")
        );
        assert_eq!(told(None, None, &[]), format!("{version} (commit unknown, features none)"));
        assert_eq!(told(Some(""), Some("soon"), &[]), format!("{version} (commit unknown, features none)"));
    }
}
