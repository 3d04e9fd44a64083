//! Whether a path could have come out of a template.

use super::placeholder::Placeholder;
use super::{Part, Template};
use crate::id::ScoringId;

impl Template {
    /// Whether a scoring id can be found again in whatever comes out of this template: beside some `{scoring.id}` stands, on one
    /// side at least and for every blob, what is no hex digit. Between digits on both sides nobody could tell where it begins.
    pub fn sets_off_scoring_id(&self) -> bool {
        let is_id = |part: &Part| *part == Part::Hole(Placeholder::Scoring);
        self.parts.iter().enumerate().filter(|(_, part)| is_id(part)).any(|(at, _)| {
            let before = self.parts[..at].iter().rev().find_map(|part| match part {
                Part::Text(text) => Some(text.chars().next_back().is_some_and(is_no_digit)),
                // It ends with its slash, or is nothing.
                Part::Hole(Placeholder::Folder { slash: true, .. }) => None,
                Part::Hole(_) => Some(false),
            });
            let behind = self.parts[at + 1..].iter().find_map(|part| match part {
                Part::Text(text) => Some(text.chars().next().is_some_and(is_no_digit)),
                // It begins with a dot, or is nothing.
                Part::Hole(Placeholder::Extension(_)) => None,
                Part::Hole(_) => Some(false),
            });
            // Beyond the ends of a path there is nothing.
            before.unwrap_or(true) || behind.unwrap_or(true)
        })
    }

    /// Whether `path` could have come out of the path part of this template. Fixed text must match, `{scoring.id}` stands for 32
    /// hex digits, `{attempt}` for digits, any other placeholder for any text. An upload may have that form as well, and which
    /// container the datastore stands for is not in the rules: what was really handed out the ledger knows
    /// ([`own_output`](crate::own_output)), and this decides only where that may have been forgotten.
    pub fn could_have_made(&self, path: &str) -> bool {
        self.lengths_made(path).last() == Some(&true)
    }

    /// Whether `path` lies below a folder that could have come out of this template, or is that folder.
    pub fn could_have_made_folder_of(&self, path: &str) -> bool {
        // The template may end with a slash, or not.
        let made = self.lengths_made(path);
        made.last() == Some(&true)
            || path
                .bytes()
                .enumerate()
                .any(|(at, byte)| byte == b'/' && (made.get(at) == Some(&true) || made.get(at + 1) == Some(&true)))
    }

    /// For each beginning of `path`, by its length, whether the path part of this template can make it.
    fn lengths_made(&self, path: &str) -> Vec<bool> {
        // The datastore's container is not in the URI: compare from behind `/paths/` on.
        let start = self.parts.iter().enumerate().find_map(|(at, part)| match part {
            Part::Text(text) => text.split_once("/paths/").map(|(_, behind)| (at, behind)),
            Part::Hole(_) => None,
        });
        match start {
            Some((at, begin)) => path.strip_prefix(begin).map_or_else(Vec::new, |rest| {
                let mut made = vec![false; begin.len()];
                made.extend(matches(&self.parts[at + 1..], rest).0);
                made
            }),
            None => matches(&self.parts, path).0,
        }
    }
}

/// Neither a hex digit nor, as a part of a percent-encoding, what may become one.
fn is_no_digit(c: char) -> bool {
    !c.is_ascii_hexdigit() && c != '%'
}

/// For each beginning of the text, by its length, whether the parts can make it, and the steps that it took to tell: at most 33 for each part and byte. Trying one
/// place after the other for each hole would take the length to the power of the holes, and whoever uploads chooses
/// the text.
fn matches(parts: &[Part], text: &str) -> (Vec<bool>, usize) {
    let bytes = text.as_bytes();
    let mut steps = 0;
    // Lengths of the text's beginnings that the parts so far can make.
    let mut made = vec![false; bytes.len() + 1];
    made[0] = true;
    for part in parts {
        let mut next = vec![false; made.len()];
        let mut open = false;
        for (at, begins) in made.into_iter().enumerate() {
            steps += 1;
            let rest = &bytes[at..];
            match part {
                Part::Text(plain) if begins && rest.starts_with(plain.as_bytes()) => next[at + plain.len()] = true,
                Part::Hole(Placeholder::Scoring) if begins => {
                    let id = text.get(at..at + 32).and_then(ScoringId::read);
                    steps += 32;
                    if id.is_some() {
                        next[at + 32] = true;
                    }
                }
                Part::Text(_) | Part::Hole(Placeholder::Scoring) => {}
                // At least one digit, and as many more as follow.
                Part::Hole(Placeholder::Attempt) => {
                    next[at] = open;
                    open = (open || begins) && rest.first().is_some_and(u8::is_ascii_digit);
                }
                Part::Hole(_) => {
                    open |= begins;
                    next[at] = open;
                }
            }
        }
        made = next;
    }
    (made, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_output_is_known_whatever_stands_beside_its_holes() {
        let id = "0123456789abcdef0123456789abcdef";
        let made = |source: &str, path: &str| {
            Template::parse(&format!("azureml://datastores/d/paths/{source}"))
                .expect("a template")
                .could_have_made(path)
        };
        assert!(made("{scoring.id}-{attempt}0.csv", &format!("{id}-120.csv")));
        assert!(!made("{scoring.id}-{attempt}0.csv", &format!("{id}-0.csv")));
        assert!(made("{blob.name}{attempt}/{scoring.id}", &format!("7712/{id}")));
        assert!(made("{blob.name}{scoring.id}{attempt}", &format!("ff{id}1")));
        assert!(made("{attempt}{scoring.id}", &format!("1{id}")));
        assert!(!made("{attempt}", "") && !made("{attempt}", "1a") && !made("{attempt}x", "x"));
        assert!(made("{blob.name}", "") && made("x{blob.name}", "x") && !made("x{blob.name}y", "x"));
    }

    #[test]
    fn the_time_for_a_path_grows_with_its_length_alone() {
        // Each hole could begin anywhere, and the end never fits: what backtracks takes 500^9 steps.
        let template = Template::parse(&format!("{}{{scoring.id}}{{attempt}}!", "{blob.path}a".repeat(9))).expect("ok");
        for length in [500, 1_000] {
            let path = "a".repeat(length);
            let (made, steps) = matches(&template.parts, &path);
            assert!(!made[length]);
            assert!(steps <= 33 * template.parts.len() * (length + 1), "{steps} steps for {length} bytes");
            assert!(!template.could_have_made(&path));
        }
        // An id is read only where one could begin.
        let template = Template::parse("x{scoring.id}").expect("ok");
        assert_eq!(matches(&template.parts, "aaaa"), (vec![false; 5], 2 * 5));
        assert_eq!(matches(&template.parts, "xaaa"), (vec![false; 5], 2 * 5 + 32));
    }

    #[test]
    fn an_own_output_is_known_by_its_path() {
        let t =
            Template::parse("azureml://datastores/d/paths/scores/{scoring.id}/{attempt}/predictions.csv").expect("ok");
        assert!(t.could_have_made("scores/0123456789abcdef0123456789abcdef/12/predictions.csv"));
        assert!(!t.could_have_made("scores/0123456789abcdef0123456789abcdef/x/predictions.csv"));
        assert!(!t.could_have_made("scores/not-an-id/1/predictions.csv"));
        let t = Template::parse("azureml://datastores/d/paths/{blob.path}/{scoring.id}/{attempt}/p.csv").expect("ok");
        assert!(t.could_have_made("eu/é.csv/0123456789abcdef0123456789abcdef/1/p.csv"));
        assert!(!t.could_have_made("eu/é.csv"));
    }
}
