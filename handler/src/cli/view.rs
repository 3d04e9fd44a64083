//! How ages are told; the other texts of the reports are shared with the page.

use time::OffsetDateTime;

pub use app::reports::{duration_text, name_of, path, shortened, utc_text};

/// How long ago, in the largest unit that says enough.
pub fn ago(at: OffsetDateTime, now: OffsetDateTime) -> String {
    duration_text(now - at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn ages_have_a_fitting_unit_and_are_never_negative() {
        let now = datetime!(2026-07-21 10:00 UTC);
        for (seconds, text) in [(-5, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 d")] {
            assert_eq!(ago(now - time::Duration::seconds(seconds), now), text);
        }
    }
}
