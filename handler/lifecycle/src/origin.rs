//! What brought a scoring into the ledger: events, sweeps, backfills.

/// What brought a scoring into the ledger, and so its place among others of its priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Origin {
    /// An event told of its version, or an operator named it.
    #[default]
    Told,
    /// A sweep has found its version, and no event told of it: fresh uploads go before it.
    FoundBySweep,
    /// A backfill has listed its version: all others go before it.
    Backfilled {
        /// So many of its rule are at Azure ML for backfills at most; `None`: as many as there are slots.
        slots: Option<u32>,
    },
}

impl Origin {
    /// Whether it waits for a reconcile run, behind what events tell of.
    pub fn gives_way(self) -> bool {
        self != Self::Told
    }

    /// Its place: the least goes first.
    pub fn rank(self) -> u8 {
        match self {
            Self::Told => 0,
            Self::FoundBySweep => 1,
            Self::Backfilled { .. } => 2,
        }
    }
}
