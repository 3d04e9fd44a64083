//! The rules of this workspace that neither the compiler nor clippy knows, and the crates for which they hold. The tests
//! below hold them:
//!
//! * `arrows`: which crate may need which;
//! * `circles`: no files of a crate import each other in a circle;
//! * `comments`: documentation says more than a name;
//! * `results`: no text stands for an error;
//! * `words`: what was given up for the field's words does not come back.

#[cfg(test)]
mod arrows;
pub(crate) mod circles;
#[cfg(test)]
mod comments;
mod imports;
pub(crate) mod members;
#[cfg(test)]
mod results;
mod sources;
#[cfg(test)]
mod words;

#[cfg(test)]
mod tests {
    use super::{arrows, circles, comments, members::Members, results, words};

    /// Crates whose files import each other in no circle; `cargo xtask circles` shows those of the others. Whoever breaks
    /// a crate's last circle enters it here.
    const WITHOUT_CIRCLES: &[&str] =
        &["app", "azure", "doctor", "lifecycle", "simulation", "simulator", "stores", "table_store", "xtask"];

    /// All of them. In none a text stands for an error, and all are documented.
    const CRATES: &[&str] = &[
        "app",
        "azure",
        "doctor",
        "handler",
        "lifecycle",
        "simulation",
        "simulator",
        "stores",
        "table_store",
        "xtask",
    ];

    #[test]
    fn crates_need_only_those_below_them() {
        let broken = arrows::of_workspace(&Members::read().unwrap());
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    #[test]
    fn no_files_import_each_other_in_a_circle() {
        let members = Members::read().unwrap();
        for name in WITHOUT_CIRCLES {
            let circles = circles::of_crate(members.root_of(name).unwrap()).unwrap();
            assert!(circles.is_empty(), "{name}:\n{}", circles::report(&circles));
        }
    }

    #[test]
    fn no_text_stands_for_an_error() {
        let members = Members::read().unwrap();
        for name in CRATES {
            let found = results::of_crate(members.root_of(name).unwrap()).unwrap();
            assert!(found.is_empty(), "`Result<_, String>` in {name}:\n{}", found.join("\n"));
        }
    }

    #[test]
    fn documentation_says_more_than_a_name() {
        let members = Members::read().unwrap();
        for name in CRATES {
            let found = comments::of_crate(members.root_of(name).unwrap()).unwrap();
            assert!(found.is_empty(), "four words or fewer document an item of {name}:\n{}", found.join("\n"));
        }
    }

    #[test]
    fn retired_words_stay_retired() {
        let found = words::of_repository().unwrap();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
