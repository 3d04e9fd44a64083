//! How ages are told; the other texts of the reports are shared with the page.

use time::OffsetDateTime;

pub use app::reports::{path, shortened, utc_text};

/// How long ago, in the largest unit that says enough.
pub fn ago(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let seconds = (now - at).whole_seconds().max(0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
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
