//! The life of a scoring, decided and never acted out.
//!
//! This crate knows no clock, no network, no environment and no randomness: time and ids are arguments, and what the
//! world looks like arrives as [`Seen`]. `Cargo.toml` is the guard: there is nothing here to do I/O with.
//!
//! Read in this order: [`status`] (the states and the one table of moves), [`decide`](mod@decide) (which move, when),
//! [`scoring`] (what is remembered), [`rules`], [`endpoints`], [`breaker`], [`intake`] and [`template`] (how an upload becomes a scoring),
//! [`order`] (whose turn it is), [`retry`] (arithmetic over time), [`job`] and [`datastore`] (Azure ML's words).
//!
//! Invariants, always true of every [`Step`]:
//! * a move is a row of [`TRANSITIONS`]; its target status is read from that table;
//! * a terminal status never changes;
//! * `version` rises by one with each move, so history has no gaps;
//! * an attempt that may have made a job is never given up for another before it was looked for;
//! * two attempts never share an output path; two POSTs of one attempt always do.

pub mod breaker;
pub mod datastore;
pub mod decide;
pub mod delivery;
pub mod duration;
pub mod endpoints;
pub mod intake;
pub mod job;
pub mod order;
pub mod retry;
pub mod rules;
pub mod scoring;
pub mod status;
pub mod template;

pub use breaker::{Breaker, BreakerSettings};
pub use decide::{Effect, Observation, Resolution, Step, decide, stop_at};
pub use delivery::Delivery;
pub use endpoints::{EndpointKey, EndpointSettings};
pub use job::{Answer, Candidate, Job, JobSnapshot, JobStatus, OutputSnapshot, Submission};
pub use order::QueuePosition;
pub use rules::{Policy, Rule, Rules};
pub use scoring::{BlobVersion, Entry, Scoring, ScoringId};
pub use status::{Event, Status, TRANSITIONS};
