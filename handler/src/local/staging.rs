//! Containers for copies of grouped files: a folder of the outbox each.
//!
//! A cloud keeps a container whatever rules say. So what a rule named once is there at the next start too, though no rule groups any
//! more: open groups go on to their end, and their copies are removed.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use lifecycle::Rules;

use super::place::Place;

/// The list of them in the data folder: `ACCOUNT/CONTAINER`, one a line.
const LIST: &str = "staging-containers";

/// One for each container that a rule's groups are staged in, in the accounts of its files.
pub(super) fn named_by(rules: &Rules, places: &[Place], outbox: &Path) -> Vec<Place> {
    let mut staging: Vec<Place> = Vec::new();
    for (rule, group) in rules.iter().filter_map(|rule| Some((rule, rule.group.as_ref()?))) {
        let is_of = |place: &&Place| {
            *place.container == *rule.matches.container
                && rule.matches.account.as_ref().is_none_or(|account| **account == *place.account)
        };
        for Place { account, .. } in places.iter().filter(is_of) {
            add(&mut staging, account, &group.staging, outbox);
        }
    }
    staging
}

/// Adds those of earlier starts, and keeps them all for later ones.
pub(super) fn keep(staging: &mut Vec<Place>, data: &Path, outbox: &Path) -> io::Result<()> {
    let list = data.join(LIST);
    let known = match fs::read_to_string(&list) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    for (account, container) in known.lines().filter_map(|line| line.split_once('/')) {
        add(staging, account, container, outbox);
    }
    let all: BTreeSet<String> =
        staging.iter().map(|place| format!("{}/{}\n", place.account, place.container)).collect();
    let all: String = all.into_iter().collect();
    if all == known {
        return Ok(());
    }
    // Whole or not at all: what stops in between leaves the list of before.
    let unfinished = data.join(format!("{LIST}.new"));
    fs::write(&unfinished, all)?;
    fs::rename(unfinished, list)
}

fn add(staging: &mut Vec<Place>, account: &str, container: &str, outbox: &Path) {
    if !staging.iter().any(|one| one.account == account && one.container == container) {
        let folder = outbox.join(format!("{account}.{container}"));
        staging.push(Place { account: account.to_owned(), container: container.to_owned(), folder });
    }
}
