//! What the doctor says: findings, each with a verdict, and a report of them.

use std::fmt;

use serde::{Serialize, Serializer};

/// How a check ended. In order of gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was looked at, and it is as it must be.
    Ok,
    /// It works, and somebody should know.
    Warning,
    /// It could not be seen. Nothing is claimed.
    Unknown,
    /// It was looked at, and scoring will not work as promised.
    Fault,
}

impl Verdict {
    /// The word for people and scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Fault => "fault",
        }
    }
}

macro_rules! checks {
    ($($variant:ident = $id:literal: $what:literal;)*) => {
        /// What is checked; each has a stable id for scripts, and its order is that of a report.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Check {
            $(#[doc = $what] $variant,)*
        }

        /// Every check, in the order of a report.
        pub const CHECKS: &[Check] = &[$(Check::$variant,)*];

        impl Check {
            /// Its stable name, for scripts.
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

            /// What it proves, in one line.
            pub fn what(self) -> &'static str {
                match self { $(Self::$variant => $what,)* }
            }
        }
    };
}

checks! {
    Settings = "settings": "all settings and rules are understood";
    TokenStorage = "token.storage": "the identity gets tokens for storage";
    TokenMl = "token.ml": "the identity gets tokens for Azure Machine Learning";
    TokenManagement = "token.management": "the identity gets tokens for Resource Manager";
    App = "app": "whose rights are examined";
    Ledger = "ledger": "the ledger's table takes a row, shows it and gives it up again";
    Management = "management": "Resource Manager answers";
    Clock = "clock": "the clocks of this machine and of the services agree";
    Workspace = "workspace": "the workspace of the rules is there";
    Invoke = "permission.invoke": "the app may invoke the batch endpoint";
    Jobs = "permission.jobs": "the app may read and list jobs";
    Cancel = "permission.cancel": "the app may cancel jobs";
    Datastores = "permission.datastores": "the app may read datastores";
    Endpoint = "endpoint": "the batch endpoint is there, and the rule has its URI";
    Deployment = "deployment": "the deployment is there and ready";
    Answer = "endpoint.answer": "the endpoint answers about jobs";
    JobList = "jobs.list": "the workspace lists its jobs";
    Input = "input": "the watched container is there, and the app may read it";
    Output = "output": "the outputs go to a Blob datastore of the workspace";
    OutputRead = "output.read": "the container of the outputs is there, and the app may look into it";
    OutputPublish = "output.publish": "the app may write where results are published";
    Staging = "staging": "the storage copies files that share a job to their folder, and the app removes the copies";
    Compute = "compute": "the compute of the deployment is there and ready";
    ComputeInput = "compute.input": "the compute's identity may read the inputs";
    ComputeOutput = "compute.output": "the compute's identity may write the outputs";
    Subscription = "delivery.subscription": "an event subscription delivers the account's events to this app";
    SignIn = "delivery.signIn": "sign-in to the app leaves out what Event Grid and the host call";
    Filter = "delivery.filter": "its filters let through what the rule wants";
    DeadLetter = "delivery.deadLetter": "what cannot be delivered is kept";
    LastEvent = "lastEvent": "events arrive";
    LastRun = "lastRun": "the timer fires, and reconcile runs complete";
    Quota = "quota": "the region's quotas leave room for jobs";
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

/// What one check found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The check that found it, by its id in JSON.
    pub check: Check,
    /// What it looked at: a rule, an endpoint, an account; `None` for the installation as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Whether that is good, bad or could not be seen.
    pub verdict: Verdict,
    /// What was seen, in one sentence for people.
    pub seen: String,
    /// Why that is so, or what comes of it. Every fault has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The command or setting that fixes it. Every fault has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn new(check: Check, verdict: Verdict, seen: impl Into<String>) -> Self {
        Self { check, about: None, verdict, seen: seen.into(), cause: None, remedy: None }
    }

    /// It is as it must be.
    pub fn ok(check: Check, seen: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, seen)
    }

    /// It could not be seen: why, and what would be needed.
    pub fn unknown(check: Check, seen: impl Into<String>, needed: impl Into<String>) -> Self {
        Self { remedy: Some(needed.into()), ..Self::new(check, Verdict::Unknown, seen) }
    }

    /// It was not looked at, because of something else that has its own finding.
    pub fn skipped(check: Check, reason: impl fmt::Display) -> Self {
        Self::new(check, Verdict::Unknown, format!("not looked at, because {reason}"))
    }

    /// Something is wrong with it that has its cause and its remedy in the finding of another check.
    pub fn see(check: Check, seen: impl fmt::Display, other: Check) -> Self {
        Self::new(check, Verdict::Unknown, format!("not looked at, because {other} has the same cause ({seen})"))
    }

    /// It will not work: what was seen, why, and what fixes it.
    pub fn fault(check: Check, seen: impl Into<String>, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), remedy: Some(remedy.into()), ..Self::new(check, Verdict::Fault, seen) }
    }

    /// It works, and somebody should know why that may end.
    pub fn warning(check: Check, seen: impl Into<String>, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, ..Self::fault(check, seen, cause, remedy) }
    }

    /// Says of which rule, endpoint or account it is, for one of several findings of a check.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = Some(about.into());
        self
    }
}

/// All findings, in the order of [`CHECKS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who looked, and whose rights were examined.
    pub identity: String,
    /// In the order of [`CHECKS`], each thing told once.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Puts findings in order. Rules that share something find the same about it, which is told once.
    pub fn new(identity: impl Into<String>, found: Vec<Finding>) -> Self {
        let mut findings: Vec<Finding> = Vec::with_capacity(found.len());
        for finding in found {
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        // Stable: within a check they stay in the order of the rules.
        findings.sort_by_key(|finding| finding.check);
        Self { identity: identity.into(), findings }
    }

    /// How many findings have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// 0 if nothing is wrong and everything was seen, 1 if there is a fault, 2 if there is none that was seen, but not
    /// everything could be seen. Warnings change nothing.
    pub fn exit_code(&self) -> u8 {
        match self.findings.iter().map(|finding| finding.verdict).max() {
            Some(Verdict::Fault) => 1,
            Some(Verdict::Unknown) | None => 2,
            Some(Verdict::Ok | Verdict::Warning) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_finding_is_the_exit_code_and_the_unknown_is_never_fine() {
        let ok = || Finding::ok(Check::Ledger, "fine");
        let warning = || Finding::warning(Check::Quota, "tight", "many", "ask for more");
        let unknown = || Finding::skipped(Check::Filter, "nobody could look");
        let fault = || Finding::fault(Check::Settings, "wrong", "a typing error", "correct it");
        for (findings, code) in [
            (vec![], 2),
            (vec![ok()], 0),
            (vec![ok(), warning()], 0),
            (vec![unknown(), ok(), warning()], 2),
            (vec![ok(), fault(), unknown()], 1),
        ] {
            assert_eq!(Report::new("nobody", findings.clone()).exit_code(), code, "{findings:?}");
        }
    }

    #[test]
    fn findings_are_in_the_order_of_the_checks_and_ids_differ() {
        let report = Report::new("nobody", vec![Finding::ok(Check::Quota, ""), Finding::ok(Check::Settings, "")]);
        assert_eq!(report.findings[0].check, Check::Settings);
        let twice = vec![Finding::ok(Check::Quota, "roomy"), Finding::ok(Check::Quota, "roomy").about("w")];
        assert_eq!(Report::new("nobody", [twice.clone(), twice].concat()).findings.len(), 2);
        let ids: std::collections::BTreeSet<_> = CHECKS.iter().map(|check| check.id()).collect();
        assert_eq!(ids.len(), CHECKS.len());
    }
}
