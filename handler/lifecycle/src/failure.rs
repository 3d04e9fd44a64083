//! Whose fault a failed attempt is: what may be tried again, and who is held back when many fail.
//!
//! A cause is known where we failed the attempt ourselves, and read from the error's text where Azure ML did. The texts are
//! those of [`RECOGNISED`] and nothing else; what none of them occurs in is [`Unknown`](FailureCause::Unknown). An exit code
//! alone says nothing: a process that was killed for its memory or with its node has one too.

mod recognised;

use serde::{Deserialize, Serialize};

pub use recognised::{RECOGNISED, Recognised, first_error, is_general, recognised, remedy};

/// Whose fault a failed attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureCause {
    /// The job did not find its input, or not as what it was told it is.
    Input,
    /// The job, or the request for it, was not allowed to read, write or submit.
    Access,
    /// Azure ML refused this request for good: the same would be refused again.
    Request,
    /// The user's code failed in a way that it will fail again with the same input.
    UserCode,
    /// The platform: a lost node, throttling, a time-out.
    Platform,
    /// Nobody can tell. A further attempt may help.
    Unknown,
}

impl FailureCause {
    /// Every cause, in the order in which an error message lists their names.
    pub const ALL: [Self; 6] =
        [Self::Input, Self::Access, Self::Request, Self::UserCode, Self::Platform, Self::Unknown];

    /// The cause as one word for rows and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Access => "access",
            Self::Request => "request",
            Self::UserCode => "userCode",
            Self::Platform => "platform",
            Self::Unknown => "unknown",
        }
    }

    /// What failed, for people: follows "failed, because".
    pub fn because(self) -> &'static str {
        match self {
            Self::Input => "the job did not find its input",
            Self::Access => "access was denied",
            Self::Request => "Azure ML refused the request",
            Self::UserCode => "the user's code failed",
            Self::Platform => "the platform failed",
            Self::Unknown => "of an error that is not recognised",
        }
    }

    /// The rule, or what it names, is at fault, and not the deployment: other rules of it go on.
    pub fn is_of_rule(self) -> bool {
        matches!(self, Self::Input | Self::Access | Self::Request)
    }

    /// Whose fault the error of a job is.
    pub fn of_job(text: &str) -> Self {
        recognised(text).map_or(Self::Unknown, |one| one.cause)
    }

    /// Whose fault it is that a request was refused, for good or for the whole of its time. `code` begins with the HTTP
    /// status, if there was an answer.
    pub fn of_refusal(code: &str, permanent: bool) -> Self {
        match code.split(' ').next() {
            _ if permanent => Self::Request,
            Some("401" | "403") => Self::Access,
            _ => Self::Platform,
        }
    }
}

/// A word that is not the name of a [`FailureCause`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is an invalid cause of a failure; the causes are {words}", words = FailureCause::ALL.map(FailureCause::name).join(", "))]
pub struct InvalidFailureCause(pub String);

impl std::str::FromStr for FailureCause {
    type Err = InvalidFailureCause;

    fn from_str(word: &str) -> Result<Self, InvalidFailureCause> {
        Self::ALL.into_iter().find(|cause| cause.name() == word).ok_or_else(|| InvalidFailureCause(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::FailureCause as C;
    use super::*;

    #[test]
    fn an_error_is_recognised_by_whole_words_in_any_case_and_by_nothing_else() {
        for (text, cause) in [
            ("UserError: the scoring command ended with exit status: 1: ValueError: columns are missing", C::UserCode),
            ("batchscoring: pandas.errors.ParserError: Error tokenizing data", C::UserCode),
            ("exit code 42", C::Unknown),
            ("UserError: exit code 137", C::Unknown),
            ("the path already exists", C::Platform),
            ("MyValueErrorHandler said no; ValueErrors; value_error", C::Unknown),
            (
                "UserError: ScriptExecutionException was caused by StreamAccessException. StreamAccessException was caused by NotFoundException.",
                C::Input,
            ),
            ("StreamAccessException was caused by AuthenticationException", C::Access),
            ("workspace msi failed to authenticate storage account", C::Access),
            ("Node was lost while the job ran", C::Platform),
            ("No progress update in 60 seconds", C::Platform),
            ("ValueError: the connection TIMED OUT", C::Platform),
            // As Azure ML's users report them; the sources stand beside the texts.
            ("UserError: AzureMLCompute job failed. PreemptionError: Nodes of this job got pre-empted.", C::Platform),
            ("The specified subscription has a Standard DSv2 family vCPU quota of 2", C::Platform),
            (
                "UserError: Image build failed. For more details, check log file azureml-logs/20_image_build_log.txt",
                C::Platform,
            ),
            ("batchscoring: MemoryError: Unable to allocate 3 GiB", C::Platform),
            ("Datastore has no credentials, and workspace msi failed to authenticate storage account.", C::Access),
            ("UserErrorException: Message: Can't mount Dataset(ID='x', name='None')", C::Access),
            ("ModuleNotFoundError: No module named 'azureml'", C::UserCode),
            ("There is no succeeded mini batch item returned from run().", C::UserCode),
            ("", C::Unknown),
        ] {
            assert_eq!(FailureCause::of_job(text), cause, "{text}");
        }
    }

    #[test]
    fn a_refusal_for_good_is_the_requests_and_one_for_too_long_is_not() {
        assert_eq!(FailureCause::of_refusal("400 UserError", true), C::Request);
        assert_eq!(FailureCause::of_refusal("403", false), C::Access);
        assert_eq!(FailureCause::of_refusal("429", false), C::Platform);
        assert_eq!(FailureCause::of_refusal("not sent", false), C::Platform);
    }

    #[test]
    fn names_read_back() {
        for cause in FailureCause::ALL {
            assert_eq!(cause.name().parse(), Ok(cause));
            assert_eq!(serde_json::to_value(cause).ok(), Some(cause.name().into()));
        }
        assert!("x".parse::<FailureCause>().is_err());
    }
}
