//! `cargo xtask circles`: files that import each other, by crate.

use crate::{
    architecture::{circles, members::Members},
    failure::{Failure, Result},
};

/// Files that import each other in a circle, by crate, with the imports that close it.
#[derive(Debug, clap::Args)]
pub(crate) struct Circles {
    /// Default: all.
    #[arg(value_name = "CRATE")]
    crates: Vec<String>,
}

pub(super) fn run(Circles { crates }: Circles) -> Result<()> {
    let members = Members::read()?;
    let mut found = 0;
    for name in if crates.is_empty() { members.names() } else { crates } {
        let circles = circles::of_crate(members.root_of(&name)?)?;
        println!("{name}: {}", if circles.is_empty() { "no circle" } else { "circles" });
        print!("{}", circles::report(&circles));
        found += circles.len();
    }
    match found {
        0 => Ok(()),
        _ => Err(Failure::new(format!("{found} circles; a file that two others need goes below both"))),
    }
}
