//! The life of a scoring, decided and never acted out.
//!
//! This crate knows no clock, no network, no environment and no randomness: time and ids are arguments, and what the
//! world looks like arrives as [`Observation`]. `Cargo.toml` is the guard: there is nothing here to do I/O with.
//!
//! Read in this order: [`status`] (the states and the one table of moves), [`decide`](mod@decide) (which move, when),
//! [`scoring`] (what is remembered), [`rule`], [`intake`], [`payload`], [`pending`], [`renamed`] and [`listing`] (how an upload becomes a scoring), [`sweep`] (what no event told of), [`dead_letter`], [`schedule`]
//! (whose turn it is, and when), [`breaker`], [`job`] and [`datastore`] (Azure ML's words).
//!
//! Invariants, always true of every [`Step`]:
//! * a move is a row of [`TRANSITIONS`]; its target status is read from that table;
//! * a terminal status changes only if an operator orders it, or what was gone is seen again;
//! * `version` rises by one with each move, so history has no gaps;
//! * an attempt that may have made a job is never given up for another before it was looked for;
//! * two attempts never share an output path; two POSTs of one attempt always do.

pub mod backfill;
pub mod blob;
pub mod breaker;
pub mod callback;
pub mod coverage;
pub mod datastore;
pub mod dead_letter;
pub mod decide;
pub mod destination;
pub mod digest;
pub mod duration;
pub mod endpoint_hosts;
mod event_grid;
pub mod failure;
pub mod group;
mod grouped;
pub mod id;
pub mod input;
pub mod intake;
pub mod job;
pub mod listing;
pub mod origin;
pub mod own_output;
pub mod payload;
pub mod pending;
pub mod pending_order;
pub mod publication;
pub mod publishing;
pub mod redact;
pub mod renamed;
pub mod rule;
pub mod schedule;
pub mod scoring;
pub mod skipped;
pub mod start;
pub mod status;
pub mod storage_hosts;
pub mod sweep;
pub mod text;
pub mod trace_context;
pub mod unversioned;
pub mod uri;
pub mod watched_output;

pub use blob::BlobVersion;
pub use breaker::{Breaker, BreakerSettings};
pub use decide::{
    CancelAnswer, Effect, Observation, Order, PublishAnswer, PublishOrder, Resolution, ResolveOrder, Step, Verb,
    decide, noted_job_status, stop_at,
};
pub use endpoint_hosts::{EndpointHosts, MlDomains};
pub use failure::FailureCause;
pub use group::{Group, Grouping, MemberEnd, MemberState};
pub use id::{
    DeploymentName, EndpointKey, EndpointUri, IdentityName, JobName, LedgerId, RuleId, ScoringId, ServiceRequestId,
    WorkspaceId,
};
pub use input::{InputContent, InputFound, InputSnapshot, Likeness, SeenVersion};
pub use job::{
    Answer, Candidate, Job, JobSnapshot, JobStatus, JobsFound, LostLook, OutputFound, OutputPrint, OutputSnapshot,
    Submission,
};
pub use listing::BlobPrefix;
pub use origin::Origin;
pub use payload::Payload;
pub use pending::{BlobSnapshot, IndexTags, PendingUpload};
pub use publication::{
    BlobPlace, CopySource, NotedResult, PublicationMark, PublicationOrder, Published, PublishedBlob, WriteCondition,
};
pub use renamed::{NameChange, PendingFolder};
pub use rule::{EndpointSettings, Policy, Rule, Rules};
pub use schedule::QueuePosition;
pub use scoring::{Entry, Scoring};
pub use status::{Event, Status, TRANSITIONS};
pub use storage_hosts::StorageHosts;
pub use sweep::SweptPlace;
pub use trace_context::TraceContext;
pub use unversioned::UnversionedBlob;
