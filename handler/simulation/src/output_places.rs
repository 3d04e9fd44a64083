//! Where rules let jobs write: as they do by themselves, into folders, or under file names of their users' choice; and how a deployment
//! in the middle of a run changes that, so that what was handed out before is in no rule any more.

use lifecycle::Rules;
use lifecycle::job::OutputKind;
use lifecycle::rule::DEFAULT_OUTPUT;
use lifecycle::rule::template::Template;
use time::Duration;

use crate::executor::Rng;
use crate::rules_changes::RulesChange;

/// Kinds of outputs and their templates. In the last one the scoring's id is in the file's own name, beside which users may upload.
const PLACES: [(OutputKind, &str); 3] = [
    (OutputKind::UriFile, DEFAULT_OUTPUT),
    (OutputKind::UriFolder, "azureml://datastores/workspaceblobstore/paths/charts/{scoring.id}/{attempt}"),
    (
        OutputKind::UriFile,
        "azureml://datastores/workspaceblobstore/paths/scores/{blob.stem}-{scoring.id}-{attempt}.csv",
    ),
];

/// The rules with one of the places, and now and then others with another one, from some time within a period on.
pub(super) fn draw(rules: &Rules, draw: &mut Rng, period: Duration) -> (Rules, Vec<RulesChange>) {
    let first = draw.index(PLACES.len());
    let then = (first + 1 + draw.index(PLACES.len() - 1)) % PLACES.len();
    let period = u64::try_from(period.whole_seconds()).unwrap_or(0);
    let (changes, at) = (draw.chance(500), draw.seconds(0, period));
    let change = changes.then(|| RulesChange { at, rules: with_place(rules, then), without: None });
    (with_place(rules, first), change.into_iter().collect())
}

fn with_place(rules: &Rules, place: usize) -> Rules {
    let (kind, template) = PLACES[place];
    rules.clone().changed(|rule| {
        for output in rule.outputs.values_mut() {
            output.kind = kind;
            output.uri = Template::parse(template)
                .unwrap_or_else(|why| unreachable!("the simulation's templates are good: {why}"));
        }
    })
}
