//! Texts of reports that are the same wherever people read them.

use lifecycle::text::visible;
use lifecycle::{BlobVersion, Scoring};
use time::{Duration, OffsetDateTime};

/// A time to the second, UTC, as people read it.
pub fn utc_text(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}:{:02}", at.date(), at.hour(), at.minute(), at.second())
}

/// How long, in the largest unit that says enough.
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.whole_seconds().max(0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A text cut in its middle, where paths differ least, on one line and fit for a terminal.
pub fn shortened(text: &str, new_limit: usize) -> String {
    let text = visible(text);
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= new_limit {
        return text.into_owned();
    }
    let tail = new_limit * 2 / 3;
    let head = new_limit - tail - 1;
    chars[..head].iter().chain(&['…']).chain(&chars[chars.len() - tail..]).collect()
}

/// So many, some of which are groups: what limits, holds and breakers count is a scoring of one file, or a group of several. Without
/// a group it is a number alone.
pub fn counted(all: usize, groups: usize) -> String {
    let several = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    match all.saturating_sub(groups) {
        _ if groups == 0 => all.to_string(),
        0 => several(groups, "group"),
        scorings => format!("{} and {}", several(scorings, "scoring"), several(groups, "group")),
    }
}

/// What a scoring is called: container and path of its blob, or that it is a group of so many, whose folder of copies tells nobody
/// anything.
pub fn name_of(scoring: &Scoring) -> String {
    scoring.group().map_or_else(|| path(&scoring.blob), |group| group_of_text(group.members.len()))
}

/// `a group of 3 members`.
pub fn group_of_text(members: usize) -> String {
    format!("a group of {members} member{}", if members == 1 { "" } else { "s" })
}

/// Container and path of a blob. They may hold any character: [`visible`] is for whoever prints them.
pub fn path(blob: &BlobVersion) -> String {
    format!("{}/{}", blob.container, blob.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_keep_their_end() {
        assert_eq!(shortened("short", 10), "short");
        assert_eq!(shortened("a\nb\u{1b}c", 30), "a\\u000ab\\u001bc");
        let cut = shortened("eu/2026/07/21/claims-of-the-day.csv", 20);
        assert_eq!(cut.chars().count(), 20);
        assert!(cut.ends_with("the-day.csv"), "{cut}");
        assert_eq!(
            [counted(3, 0), counted(1, 1), counted(3, 2)],
            ["3".to_owned(), "1 group".to_owned(), "1 scoring and 2 groups".to_owned()]
        );
        let blob = BlobVersion::read("https://a.blob.core.windows.net/c/p%20q.csv", "1").expect("a blob's URL");
        assert_eq!(path(&blob), "c/p q.csv");
    }
}
