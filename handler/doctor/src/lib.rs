//! The doctor: proves each hop between an upload and its predictions before the first blob takes the way.
//!
//! What is checked, and what is concluded from what was seen, stands in this module: [`examine`](Doctor::examine) asks
//! through the port [`Cloud`], and the submodules decide, as functions of what was read. Nothing is changed but one
//! probe row in the ledger's own table and, where a rule groups, one copy in its staging container, which are removed again (a ledger
//! without an id is given one for it); no job is made and none is stopped.
//!
//! Three rules hold throughout:
//! * what was not seen is [`Verdict::Unknown`] and never [`Verdict::Ok`];
//! * one cause is one fault: what depends on it is *unknown, not looked at*;
//! * a fault comes with its cause and the command that fixes it.
//!
//! It looks as the app itself, where the app's identity is at hand, or as whoever is signed in. A person's rights say
//! nothing about the app's: those are then read from the role assignments of the app's identity.

mod access;
mod activity;
mod app_identity;
mod cloud;
mod compute;
mod coverage;
mod datastore;
mod delivery;
mod endpoint;
mod examination;
mod examine;
mod finding;
mod installation;
mod ledger;
mod permissions;
mod publishing;
mod remedy;
mod rules;
mod rules_blob;
mod rules_seen;
mod sign_in;
mod staging;
mod storage;
mod subscription;
mod unseen;
mod workspace;

pub use app::ports::management::{Audience, Cloud, QueryError, ResourceList};
pub use app_identity::{AppIdentity, UserAssigned};
pub use examine::{Doctor, FurtherIdentity};
pub use finding::{CHECKS, Check, Finding, Report, Verdict};
pub use installation::{AppFacts, Caller, Installation};
pub use ledger::LedgerNotOpened;
pub use rules_seen::{RulesSeen, RulesState};
