//! The kinds of faults that a run may have, how they are named on the command line, and the dice that deal them out.

use std::fmt;
use std::str::FromStr;

use crate::executor::Rng;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal),* $(,)?) => {
        /// A kind of fault: where it happens, and to what.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[doc = $doc])* $name,)*
        }

        impl Kind {
            /// Every kind, in the order in which they are declared.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its word on the command line, such as `index-tags`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// What goes wrong, one sentence.
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

kinds! {
    /// The table fails before it did it, or does it and the answer is lost; it is away for minutes.
    TableLost = "table-lost",
    /// The table asks to slow down (503).
    TableThrottled = "table-throttled",
    /// The network sends a write to the table twice, and the second one's answer comes back.
    TableDuplicated = "table-duplicated",
    /// A write arrives at the table long after its sender gave up on it.
    TableDelayed = "table-delayed",
    /// A call takes seconds, or longer than a lease.
    Slow = "slow",
    /// Short and empty pages with continuations.
    Pages = "pages",
    /// A request to the endpoint is lost, or its answer is, after it made one job or two.
    SubmitLost = "submit-lost",
    /// A request to the endpoint arrives, and makes a job, minutes after its sender gave up on it.
    SubmitDelayed = "submit-delayed",
    /// The endpoint refuses, for now or for good, with or without a time to come back.
    SubmitRefused = "submit-refused",
    /// Looks at jobs and outputs are forbidden or time out, once or for minutes; requests to stop a job fail.
    LookupFailed = "lookup-failed",
    /// Lists lag, jobs cannot be found for a while, an older status is shown again.
    LookupStale = "lookup-stale",
    /// Jobs fail, hang, are deaf to a request to stop, or say words that nobody knows.
    Jobs = "jobs",
    /// A person cancels a job.
    Cancellations = "cancellations",
    /// Outputs are late, empty, absent or old.
    Outputs = "outputs",
    /// Events come twice, again after they were acknowledged, together, or in another order; some cannot be read.
    Events = "events",
    /// Uploads come under temporary names and are renamed, alone or with their folder; listings of folders come in small pages. What was
    /// overwritten comes back by a rename.
    Renames = "renames",
    /// Clocks differ by minutes from process to process.
    Skew = "skew",
    /// Processes die between any two awaits.
    Kills = "kills",
    /// Processes are frozen for minutes between any two awaits.
    Pauses = "pauses",
    /// An input is deleted before its job is made, or while it runs.
    InputsDeleted = "inputs-deleted",
    /// An input is overwritten before its job is made, or while it runs; an event tells of it, or none does.
    InputsOverwritten = "inputs-overwritten",
    /// Somebody marks an input by metadata, once it is scored and at other times: another ETag, the same content.
    InputsMarked = "inputs-marked",
    /// The timer fires in two processes at once, or not for an hour and then twice.
    Timer = "timer",
    /// Somebody else's jobs read the same inputs on the same endpoint, and show neither outputs nor tags.
    Strangers = "strangers",
    /// The table refuses a move of a scoring, and would refuse it again, as one that is too large.
    TableRefused = "table-refused",
    /// The user's code fails by some uploads, each time that they are tried.
    BadInputs = "bad-inputs",
    /// One request to the endpoint makes two jobs, of which the second may run for long; requests to stop a job fail.
    SubmitDoubled = "submit-doubled",
    /// Blobs have names that a URL can be misread as another one, and events tell of them in several spellings.
    Names = "names",
    /// Jobs write into the container that is watched, at one of several places, and Event Grid tells of outputs as of uploads. Other
    /// rules, under which they write elsewhere, may be deployed.
    OwnOutputs = "own-outputs",
    /// Operators order retries, cancels, acknowledgements and further generations, that blobs are taken in as they are, and that circuit
    /// breakers are closed, some of it twice.
    Orders = "orders",
    /// A second installation with the same rules watches the same containers and asks the same endpoints.
    SecondInstallation = "second-installation",
    /// Another deployment of the endpoint becomes the default one.
    DefaultSwitched = "default-switched",
    /// A rule is removed, and put back some minutes later.
    RulesRemoved = "rules-removed",
    /// A copy to a published path is lost, or its answer is; it arrives minutes after its sender gave up on it, or is refused.
    PublishLost = "publish-lost",
    /// Somebody else writes to a published path between the look at it and the copy.
    PublishRaced = "publish-raced",
    /// A rule asks for index tags, which are changed between looks, and which may not be read, or cannot, once or for minutes.
    IndexTags = "index-tags",
    /// Rules split their blobs among deployments, or have a shadow that scores them too.
    Deployments = "deployments",
    /// An attempt's output is written again after it was verified, right before it is copied to where it is published.
    OutputsOverwritten = "outputs-overwritten",
    /// Orchestrators start scorings by keys, each of them five times, while processes die.
    Starts = "starts",
}

/// A set of kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults(u64);

impl Faults {
    /// No kind: nothing goes wrong.
    pub const NONE: Self = Self(0);

    /// Every kind that there is.
    pub fn all() -> Self {
        Kind::ALL.iter().fold(Self::NONE, |set, kind| set.with(*kind))
    }

    /// The set with one more kind.
    #[must_use]
    pub fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u32)
    }

    /// The set without this kind.
    #[must_use]
    pub fn without(self, kind: Kind) -> Self {
        Self(self.0 & !(1 << kind as u32))
    }

    /// Whether a kind is in it.
    pub fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    /// The kinds in it, in the order in which they are declared.
    pub fn kinds(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.iter().copied().filter(move |kind| self.has(*kind))
    }
}

/// Names of kinds as the command line takes them.
fn names(kinds: impl Iterator<Item = Kind>) -> String {
    kinds.map(Kind::name).collect::<Vec<_>>().join(",")
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::all() {
            return f.write_str("all");
        }
        f.write_str(&if *self == Self::NONE { "none".to_owned() } else { names(self.kinds()) })
    }
}

/// A word that names no kind of fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of fault; there are all, none and {all}", all = names(Kind::ALL.iter().copied()))]
pub struct UnknownKind(String);

impl FromStr for Faults {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        match text {
            "all" => return Ok(Self::all()),
            "none" => return Ok(Self::NONE),
            _ => {}
        }
        text.split(',').try_fold(Self::NONE, |set, word| {
            let kind = Kind::ALL.iter().find(|kind| kind.name() == word);
            kind.map(|kind| set.with(*kind)).ok_or_else(|| UnknownKind(word.to_owned()))
        })
    }
}

/// Deals out faults. Each kind has a stream of its own, so that a run without one kind stays like the run with it.
#[derive(Debug)]
pub(super) struct Dice {
    faults: Faults,
    levels: Vec<u64>,
    streams: Vec<Rng>,
    /// How many more faults there may be; for shrinking.
    left: u64,
    /// How many faults were dealt out so far.
    pub(super) dealt: u64,
}

impl Dice {
    /// Each seed has kinds of faults that it leaves out and some that it likes: an even mixture of everything finds less
    /// than many different ones.
    pub(super) fn draw(faults: Faults, max: Option<u64>, rng: &Rng) -> Self {
        let mut streams: Vec<Rng> = (1_000..).zip(Kind::ALL).map(|(purpose, _)| rng.fork(purpose)).collect();
        let levels = streams.iter_mut().map(|stream| stream.pick(&[0, 1, 1, 2, 4])).collect();
        Self { faults, levels, streams, left: max.unwrap_or(u64::MAX), dealt: 0 }
    }

    /// Whether faults of this kind are possible in this run.
    pub(super) fn likes(&self, kind: Kind) -> bool {
        self.faults.has(kind) && self.levels[kind as usize] > 0
    }

    /// The stream of a kind: for what the fault is like.
    pub(super) fn stream(&mut self, kind: Kind) -> &mut Rng {
        &mut self.streams[kind as usize]
    }

    /// Whether it strikes here: `permille` is how often at the usual level.
    pub(super) fn strikes(&mut self, kind: Kind, permille: u64) -> bool {
        let level = self.levels[kind as usize];
        let drawn = self.streams[kind as usize].chance((permille * level).min(900));
        let strikes = drawn && self.faults.has(kind) && self.left > 0;
        if strikes {
            self.left -= 1;
            self.dealt += 1;
        }
        strikes
    }

    /// From now on nothing goes wrong any more.
    pub(super) fn heal(&mut self) {
        self.faults = Faults::NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_read_back_as_they_are_printed() {
        for set in [Faults::NONE, Faults::all(), Faults::NONE.with(Kind::TableDelayed).with(Kind::Kills)] {
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        assert!("table-lost,x".parse::<Faults>().unwrap_err().to_string().contains("`x`"));
    }

    #[test]
    fn a_kind_that_is_left_out_does_not_shift_the_others() {
        let deal = |faults: Faults| {
            let mut dice = Dice::draw(faults, None, &Rng::new(3));
            let both = (0..2_000).map(|_| (dice.strikes(Kind::TableLost, 100), dice.strikes(Kind::LookupFailed, 100)));
            both.map(|(store, _)| store).collect::<Vec<_>>()
        };
        assert!(deal(Faults::all()).contains(&true));
        assert_eq!(deal(Faults::all()), deal(Faults::all().without(Kind::LookupFailed)));
    }

    #[test]
    fn no_more_faults_than_asked_for_are_dealt() {
        let mut dice = Dice::draw(Faults::all(), Some(3), &Rng::new(3));
        let struck = (0..10_000).filter(|_| dice.strikes(Kind::TableLost, 500)).count();
        assert_eq!((struck, dice.dealt), (3, 3));
    }
}
