//! Where a tick begins, so that one which has no time for all does not always leave the same for the next.

use time::OffsetDateTime;

use crate::ledger::IN_FLIGHT_PARTS;

/// All parts of the in-flight index, beginning anywhere: a tick that has no time for all must not always leave the same ones for the next.
pub(super) fn parts_from(now: OffsetDateTime) -> impl Iterator<Item = u8> {
    let first = u8::try_from(scattered_index(usize::from(IN_FLIGHT_PARTS), now)).unwrap_or(0); // below IN_FLIGHT_PARTS
    (0..IN_FLIGHT_PARTS).map(move |n| (first + n) % IN_FLIGHT_PARTS)
}

/// A place in 0..`of` that the time decides. Scattered, not counted up: a period of ticks that has a factor in common
/// with `of` would never come to some of the places. It needs no memory, as each tick may have a process of its own.
pub(super) fn scattered_index(of: usize, now: OffsetDateTime) -> usize {
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    // The finaliser of SplitMix64: neighbours in, no neighbours out.
    let mixed = (seconds ^ (seconds >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or(0) % of.max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

    #[test]
    fn whatever_the_period_of_ticks_each_part_comes_first_at_some_of_them() {
        for period in [1, 60, 160, 300, 960, 3_600] {
            let mut first = HashSet::new();
            for tick in 0..200 {
                let order: Vec<u8> = parts_from(NOW + Duration::seconds(period * tick)).collect();
                assert_eq!(order.iter().collect::<HashSet<_>>().len(), usize::from(IN_FLIGHT_PARTS));
                first.insert(order[0]);
            }
            assert_eq!(first.len(), usize::from(IN_FLIGHT_PARTS), "every {period} s");
        }
    }
}
