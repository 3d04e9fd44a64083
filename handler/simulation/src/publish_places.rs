//! Where rules publish results: to a path of each blob or to one of all, in the container that is watched; and rules that say so no
//! more in the middle of a run.

use lifecycle::Rules;
use lifecycle::rule::template::Template;
use lifecycle::rule::{IfExists, Publish};

use crate::executor::Rng;
use crate::rules_changes::RulesChange;

/// What the paths begin with; nothing is uploaded there.
pub(super) const PUBLISHED: &str = "published/";
/// Templates of what follows [`PUBLISHED`] in the paths.
const PLACES: [&str; 3] = ["{rule.id}/{blob.path}", "{rule.id}/{blob.path}", "{rule.id}/latest.csv"];

/// How often rules publish, in thousandths.
pub(super) const CHANCE: u64 = 500;

/// The rules with places to publish to, and the changes with the same or, now and then, without. Shadows have none.
pub(super) fn draw(rules: Rules, mut changes: Vec<RulesChange>, draw: &mut Rng) -> (Rules, Vec<RulesChange>) {
    let if_exists = draw.pick(&[IfExists::Replace, IfExists::Replace, IfExists::Refuse, IfExists::Version]);
    let place = draw.pick(&PLACES);
    let with = |rules: Rules| {
        rules.changed(|rule| {
            let text = format!("azureml://datastores/workspaceblobstore/paths/{PUBLISHED}{place}");
            let uri =
                Template::parse(&text).unwrap_or_else(|why| unreachable!("the simulation's templates are good: {why}"));
            let publish = rule.shadow_of.is_none().then_some(Publish { uri, if_exists });
            rule.outputs.values_mut().for_each(|output| output.publish.clone_from(&publish));
        })
    };
    for change in &mut changes {
        if !draw.chance(300) {
            change.rules = with(std::mem::take(&mut change.rules));
        }
    }
    (with(rules), changes)
}
