//! The one vocabulary for what a network or a service does to a request, beside serving it.
//!
//! The faulty store, the simulation and the tests' batch endpoint all speak it; the simulator, which knows none of our
//! crates, has the same words in its fault plans, in camel case.

use time::Duration;

/// What becomes of one request that changes something: a write to a table, a submission to the batch endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing goes wrong: it is done once and answered. Counts off good requests before a bad one.
    Pass,
    /// It never leaves the sender, who knows that it was **not done**: no connection.
    NotSent,
    /// It is lost on its way: **not done**, and the sender knows nothing.
    LostRequest,
    /// It is **done**, and the sender never learns of it: the answer is lost on its way.
    LostAnswer {
        /// How often it is done; more than once if the request was duplicated on its way as well.
        times: u32,
    },
    /// It is **done several times** and answered as if it had been done once.
    Duplicated {
        /// How often it is done.
        times: u32,
    },
    /// It arrives, and is **done**, after its sender has given up on it: nothing that was concluded from a look meanwhile
    /// holds.
    Delayed(Duration),
    /// The service refuses it: **not done**, and the sender knows.
    Refused {
        /// It would be refused again.
        permanent: bool,
    },
    /// The service asks to slow down: **not done**, and the sender knows. With the time after which to come back, if the
    /// service says one.
    Throttled(Option<Duration>),
    /// Somebody else was faster: **not done**, and the sender knows.
    Conflict,
}
