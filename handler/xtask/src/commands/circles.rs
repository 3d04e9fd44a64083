//! `cargo xtask circles`: files that import each other, by crate.

use super::Command;
use crate::{
    architecture::{circles, members::Members},
    arguments::Arguments,
    failure::{Failure, Result},
};

pub(super) const COMMAND: Command = Command {
    name: "circles",
    usage: "[CRATE]...",
    about: &["Files that import each other in a circle, by crate (default: all), with the imports that close it."],
    run,
};

fn run(mut arguments: Arguments) -> Result<()> {
    let mut wanted = Vec::new();
    while let Some(name) = arguments.word() {
        wanted.push(name);
    }
    arguments.finish()?;
    let members = Members::read()?;
    let mut found = 0;
    for name in if wanted.is_empty() { members.names() } else { wanted } {
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
