//! The read model: what the command line and the page show of a ledger, computed once for both.
//!
//! Members are named as scripts see them in JSON; texts say what is to be done next. Nothing here writes.

mod breakers;
mod coverage;
mod deployments;
mod events;
mod expected;
mod explain;
mod filter;
mod find;
mod findings;
mod groups;
mod limits;
mod list;
mod pending;
mod phase_times;
mod scorings;
mod status;
mod sweeps;
mod text;

pub use breakers::{BreakerView, breakers};
pub use coverage::{Coverage, CoverageView, coverage};
pub use deployments::DeploymentView;
pub use events::{EventPage, QuarantinedView, SkippedView, quarantined, skipped};
pub use explain::{Explanation, Verdict, explain};
pub use filter::{Filter, IdBeginning, InvalidIdBeginning, WithGroups};
pub use find::{SearchResult, find};
pub use findings::{Finding, FindingKind};
pub use groups::{GroupJobView, GroupView, MemberView};
pub use limits::{LimitView, limits, waits_for};
pub use list::{MAX_LOOKED, Newest, newest, newest_of_pages};
pub use pending::{PendingList, PendingView, pending};
pub use phase_times::{PhaseTime, phase_times};
pub use scorings::{
    PublicationView, ScoringDetail, ScoringLookup, ScoringView, UnreadableView, detail, detail_of, detail_of_few,
};
pub use status::{HourView, StatusReport, status};
pub use sweeps::SweepView;
pub use text::{counted, duration_text, group_of_text, name_of, path, shortened, utc_text};
