//! What tests need from PyPI: `tests/NAME/requirements.txt` pins it, `cargo xtask test` installs it into `target/NAME`.

use std::path::{Path, PathBuf};

/// The environment with what is pinned; `None` where it is not installed, which is told, or fails if the variable
/// `required` is set.
pub fn environment(name: &str, required: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let folder = workspace.join("target").join(name);
    let wanted = std::fs::read(workspace.join("tests").join(name).join("requirements.txt")).unwrap();
    // Written when all was installed.
    if std::fs::read(folder.join("installed.txt")).is_ok_and(|installed| installed == wanted) {
        return Some(folder);
    }
    #[expect(clippy::disallowed_methods, reason = "CI says by this that what is missing is a failure")]
    let required = std::env::var(required).is_ok();
    assert!(
        !required,
        "what tests/{name}/requirements.txt pins is required and not in target/{name}; `cargo xtask test` installs it"
    );
    #[expect(clippy::print_stdout, reason = "whoever runs the tests must learn what did not run")]
    let () = println!("skipped: what tests/{name}/requirements.txt pins is not in target/{name}");
    None
}
