//! Time and retries of a rule.

use time::Duration;

use crate::duration::IsoDuration;

/// What to do when no job of a lost submission appeared within `resubmitAfter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "lowercase"))]
pub enum OnUnknown {
    /// Send it again, to the same output path (default). Never while it cannot be looked.
    #[default]
    Resolve,
    /// Hold it for an operator.
    Hold,
}

/// Time and retries of a rule. All durations are ISO 8601 (`PT2M`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "camelCase", default))]
pub struct Policy {
    /// Between two looks at a running job. Default 120 s, as Azure Data Factory's template has it.
    #[cfg_attr(feature = "schema", schemars(transform = super::forms::some_time))]
    pub poll_interval: IsoDuration,
    /// Attempts in all, each with a new output path, where a further one may help. Default 3. 1 switches retries off.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 20)))]
    pub max_attempts: u32,
    /// Whether a recognised error of the user's code ([`FailureCause::UserCode`](crate::FailureCause)) is tried again too.
    /// Default: no, as the same code fails by the same input.
    pub retry_user_errors: bool,
    /// Back-off before the second attempt, doubled for each further one, at most an hour. Default 60 s.
    pub retry_back_off: IsoDuration,
    /// Refusals that may pass (roles that spread, throttling, a deployment in the making) are tried again for this
    /// long, from the first POST of the attempt. Default one day.
    pub submit_deadline: IsoDuration,
    /// A job is stopped and counted as failed after this long. Default 7 days; Azure ML's own limit is 21.
    #[cfg_attr(feature = "schema", schemars(transform = super::forms::some_time))]
    pub job_timeout: IsoDuration,
    /// How long the endpoint may take to answer the POST; the lease is twice that. Default 60 s.
    #[cfg_attr(feature = "schema", schemars(transform = super::forms::some_time))]
    pub submit_timeout: IsoDuration,
    /// After a lost answer: time before the first look, and between looks. Default 30 s.
    #[cfg_attr(feature = "schema", schemars(transform = super::forms::some_time))]
    pub lookup_interval: IsoDuration,
    /// After a lost answer: when no job appeared for this long, submit again to the same output path. Default 15 min.
    #[cfg_attr(feature = "schema", schemars(transform = super::forms::some_time))]
    pub resubmit_after: IsoDuration,
    /// After a lost answer that looking did not settle: go on (default) or wait for an operator.
    pub on_unknown: OnUnknown,
    /// A completed job's output must be there within this time; a job that cannot be found is given up after five
    /// times this. Default 2 min.
    pub output_timeout: IsoDuration,
    /// Whether the input is looked at before a job is made for it, when one failed, and before an output is shown as scored.
    /// Default true. A rule for an account that the app may not read must say false; then nothing is known of versions
    /// that are gone or were overwritten.
    pub verify_input: bool,
}

impl Default for Policy {
    fn default() -> Self {
        let seconds = |n| IsoDuration(Duration::seconds(n));
        Self {
            poll_interval: seconds(120),
            max_attempts: 3,
            retry_user_errors: false,
            retry_back_off: seconds(60),
            submit_deadline: seconds(86_400),
            job_timeout: seconds(7 * 86_400),
            submit_timeout: seconds(60),
            lookup_interval: seconds(30),
            resubmit_after: seconds(900),
            on_unknown: OnUnknown::Resolve,
            output_timeout: seconds(120),
            verify_input: true,
        }
    }
}

impl Policy {
    /// How long an intent stands before others may conclude that its owner is gone. Twice the POST's own limit: the
    /// owner has given up long before.
    pub fn lease(&self) -> Duration {
        self.submit_timeout.0 * 2
    }
}
