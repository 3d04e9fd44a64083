//! The state diagram as SVG: every move that the transition table knows, with those that a scoring made.

use std::collections::BTreeSet;

use lifecycle::{Status, TRANSITIONS};
use maud::{Markup, html};

const WIDTH: i32 = 96;
const HEIGHT: i32 = 26;

/// Where a status stands; the way of a scoring that meets nothing bad is a straight line.
fn place(status: Status) -> (i32, i32) {
    match status {
        Status::Queued => (10, 90),
        Status::Grouped => (440, 170),
        Status::Staging => (10, 170),
        Status::Submitting => (150, 90),
        Status::Running => (360, 90),
        Status::Verifying => (520, 90),
        Status::Scored => (680, 90),
        Status::Unknown => (255, 20),
        Status::Held => (110, 20),
        Status::Cancelling => (440, 20),
        Status::Cancelled => (680, 20),
        Status::Gone => (110, 170),
        Status::Superseded => (300, 170),
        Status::Failed => (680, 170),
    }
}

fn middle(status: Status) -> (i32, i32) {
    let (x, y) = place(status);
    (x + WIDTH / 2, y + HEIGHT / 2)
}

/// The diagram of a scoring that is `here` and made these moves.
pub(super) fn diagram(here: Status, moves: &BTreeSet<(Status, Status)>) -> Markup {
    let edges: BTreeSet<(Status, Status)> =
        TRANSITIONS.iter().map(|(from, _, to)| (*from, *to)).filter(|(from, to)| from != to).collect();
    let visited: BTreeSet<Status> = moves.iter().flat_map(|(from, to)| [*from, *to]).chain([here]).collect();
    let names: Vec<&str> = visited.iter().map(|status| status.name()).collect();
    // What was taken lies above what was not.
    let (taken, others): (Vec<_>, Vec<_>) = edges.into_iter().partition(|edge| moves.contains(edge));
    html! {
        svg viewBox="0 0 790 210" width="100%" role="img" aria-label={ "State diagram; visited: " (names.join(", ")) } {
            @for (class, edges) in [("edge", others), ("taken", taken)] {
                @for (from, to) in edges {
                    @let (x1, y1) = middle(from);
                    @let (x2, y2) = middle(to);
                    // Bent to the right of its direction, so that there and back are two lines.
                    @let (x, y) = (i32::midpoint(x1, x2) - (y2 - y1) / 8, i32::midpoint(y1, y2) + (x2 - x1) / 8);
                    path class=(class) d={ "M" (x1) " " (y1) " Q" (x) " " (y) " " (x2) " " (y2) } {}
                }
            }
            @for status in Status::ALL {
                @let (x, y) = place(status);
                @let class = match (status == here, visited.contains(&status)) { (true, _) => "visited here", (_, true) => "visited", _ => "node" };
                g { title { (status.sentence()) }
                    rect class=(class) x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx="5" {}
                    text x=(x + WIDTH / 2) y=(y + 17) text-anchor="middle" { (status.name()) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_place_of_its_own_and_every_taken_move_is_marked() {
        let places: BTreeSet<_> = Status::ALL.map(place).into();
        assert_eq!(places.len(), Status::ALL.len());
        let moves = BTreeSet::from([(Status::Queued, Status::Submitting), (Status::Submitting, Status::Running)]);
        let svg = diagram(Status::Running, &moves).into_string();
        assert_eq!(svg.matches("class=\"taken\"").count(), 2);
        assert!(svg.contains("visited: queued, submitting, running") && svg.matches("visited here").count() == 1);
    }
}
