//! The rules of this workspace that neither the compiler nor clippy knows, and the crates for which they hold. The tests
//! below hold them:
//!
//! * [`circles`]: no files of a crate import each other in a circle.

pub(crate) mod circles;
mod imports;
pub(crate) mod members;
mod sources;

#[cfg(test)]
mod tests {
    use super::{circles, members::Members};

    /// Crates whose files import each other in no circle; `cargo xtask circles` shows those of the others. Whoever breaks
    /// a crate's last circle enters it here.
    const WITHOUT_CIRCLES: &[&str] = &["simulation", "stores"];

    #[test]
    fn no_files_import_each_other_in_a_circle() {
        let members = Members::read().unwrap();
        for name in WITHOUT_CIRCLES {
            let circles = circles::of_crate(members.root_of(name).unwrap()).unwrap();
            assert!(circles.is_empty(), "{name}:\n{}", circles::report(&circles));
        }
    }
}
