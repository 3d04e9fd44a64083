//! The parts of a scoring's life that are timed: with a collector as they end, on the page out of histories.

use lifecycle::Status;

/// A part of a scoring's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It waits for its turn.
    Queue,
    /// From the intent until its job is known.
    Submit,
    /// Its job waits for what it runs on, as far as a look saw it wait.
    AzureMlQueue,
    /// Its job is at work.
    Run,
    /// Its job collects its outputs. Histories tell this as [`Run`](Self::Run).
    Finalize,
    /// Its output is looked at, and published.
    Verify,
}

impl Phase {
    /// As an attribute of the measure.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Submit => "submit",
            Self::AzureMlQueue => "azure_ml_queue",
            Self::Run => "run",
            Self::Finalize => "finalize",
            Self::Verify => "verify",
        }
    }

    /// Its name for people, as the page shows it.
    pub fn label(self) -> &'static str {
        match self {
            Self::AzureMlQueue => "Azure ML queue",
            other => other.name(),
        }
    }

    /// By the status alone, in which a job that is not known to work waits. Lost submissions and those that are held count as sent:
    /// nobody knows of a job yet. `None`: it is final, or is being cancelled.
    pub(crate) fn of(status: Status) -> Option<Self> {
        match status {
            Status::Queued => Some(Self::Queue),
            Status::Submitting | Status::Unknown | Status::Held => Some(Self::Submit),
            Status::Running => Some(Self::AzureMlQueue),
            Status::Verifying => Some(Self::Verify),
            _ => None,
        }
    }
}
