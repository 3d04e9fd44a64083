//! The failures that are recognised, by their texts, and what to do about each.
//!
//! A job whose message says no more than that a step failed or a process ended has its real error further down:
//! [`first_error`] finds it in a longer text, such as a log file.
//!
//! Sources: those beside each line; MS is Microsoft's list of common batch errors,
//! <https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-batch-endpoints>. Exceptions without a source are
//! those of Python's standard library, and of pandas and scikit-learn, that name a defect of code or data; codes of storage are
//! those of <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes>.

use super::FailureCause::{self, Access, Input, Platform, Unknown, UserCode};

/// A failure that is recognised by its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recognised {
    /// Whose fault it is: decides about a further attempt, and which breaker counts it.
    pub cause: FailureCause,
    /// The texts that it is recognised by, as whole words in any case.
    pub texts: &'static [&'static str],
    /// What a person does about it.
    pub remedy: &'static str,
}

/// Everything that is recognised. The first line that one of its texts names is the error's: what passes by itself comes before
/// what does not, as an attempt too many costs less than one too few, and the special before the general. The README holds this
/// table, and a test compares them.
pub const RECOGNISED: &[Recognised] = &[
    Recognised {
        cause: Platform,
        texts: &[
            "PreemptionError", // https://github.com/microsoft/MLOpsPython/issues/346
            "pre-empted",      // the same
            "preempted",
            "evicted",
            "node was lost",
            "lost node",
            "node is unusable",
        ],
        remedy: "none is needed if it is rare; else give the compute cluster dedicated nodes instead of low-priority ones",
    },
    Recognised {
        cause: Platform,
        texts: &[
            "JobNodeCountExceedsCoreQuota", // https://github.com/MicrosoftLearning/mslearn-dp100/issues/35
            "ClusterMinNodesExceedCoreQuota", // https://github.com/ansible-collections/azure/pull/2209
            "vCPU quota",                   // both
            "OutOfQuota",                   // https://github.com/MicrosoftDocs/azure-docs/issues/121466
        ],
        remedy: "ask for more vCPU quota of the cluster's VM family, or lower settings.compute.instanceCount",
    },
    Recognised {
        cause: Platform,
        texts: &[
            "Image build failed",     // https://github.com/Azure-Samples/mlops-enterprise-template/issues/4
            "ResolvePackageNotFound", // https://github.com/Azure/MachineLearningNotebooks/issues/194
            "No matching distribution found", // https://github.com/Azure/azure-sdk-for-python/issues/10921
        ],
        remedy: "repair the deployment's environment: azureml-logs/20_image_build_log.txt of the job says which package",
    },
    Recognised {
        cause: Platform,
        texts: &[
            "MemoryError", // https://github.com/MicrosoftLearning/DP-100-Designing-and-Implementing-a-Data-Science-Solutio/issues/7
            "Cannot allocate memory", // https://github.com/Azure/doAzureParallel/issues/322
            "OOMKilled",   // https://github.com/Azure/azure-service-operator/issues/298
            "CUDA out of memory",
            "No space left on device", // https://github.com/Azure/Batch/issues/47
        ],
        remedy: "give the deployment larger nodes, or lower settings.miniBatchSize and its concurrency per node",
    },
    Recognised {
        cause: Platform,
        texts: &["No progress update in"], // MS
        remedy: "raise settings.retrySettings.timeout (30 s unless the deployment says more), or lower settings.miniBatchSize",
    },
    Recognised {
        cause: Platform,
        texts: &["stopped after jobTimeout"], // our own
        remedy: "raise the rule's jobTimeout if such jobs take longer; else the studio shows what the job waits for",
    },
    Recognised {
        cause: Platform,
        texts: &[
            "timed out",
            "timeout",
            "TimeoutError",
            "throttled",
            "TooManyRequests",
            "ServerBusy",
            "ServiceUnavailable",
            "InternalServerError",
            "ServiceError", // https://github.com/Azure/azure-sdk-for-python/issues/31166
            "SystemError",
        ],
        remedy: "none is needed if it passes; else see Azure's service health",
    },
    Recognised {
        cause: Access,
        texts: &[
            "Datastore has no credentials", // https://github.com/Azure/azureml-examples/issues/2501
            "failed to authenticate storage account", // the same
        ],
        remedy: "grant the workspace's identity Storage Account Contributor on the datastore's account, as the error says, or give the datastore credentials",
    },
    Recognised {
        cause: Access,
        texts: &[
            "AuthenticationException", // MS
            "Can't mount Dataset",     // MS
            "Cannot mount Dataset",    // MS, earlier
            "AuthenticationFailed",
            "AuthorizationFailed",
            "AuthorizationFailure",
            "AuthorizationPermissionMismatch",
            "NoAuthenticationInformation", // https://github.com/Azure/azure-sdk-for-python/issues/31839
            "PermissionDeniedException",
            "not authorized to perform this operation",
        ],
        remedy: "grant Storage Blob Data Reader on the input's account to the compute cluster's identity and to this app's; scorekeeper doctor checks both",
    },
    Recognised {
        cause: Input,
        texts: &["NotFoundException", "BlobNotFound", "ContainerNotFound"],
        remedy: "leave uploads in their place until they are scored, then upload this one again; scorekeeper explain says what became of it",
    },
    Recognised {
        cause: UserCode,
        texts: &[
            "No module named", // MS
            "ModuleNotFoundError",
            "ImportError",
        ],
        remedy: "add the package to the deployment's environment, deploy it, then scorekeeper retry",
    },
    Recognised {
        cause: UserCode,
        texts: &[
            "No objects to concatenate",    // MS
            "no succeeded mini batch item", // MS, https://github.com/microsoft/MLOpsPython/issues/328
        ],
        remedy: "the model could not read the file: check its type against what the deployment takes, and that run() returns a row for each file",
    },
    Recognised {
        cause: UserCode,
        texts: &[
            "ArithmeticError",
            "AssertionError",
            "AttributeError",
            "EmptyDataError",
            "IndentationError",
            "IndexError",
            "JSONDecodeError",
            "KeyError",
            "NameError",
            "NotFittedError",
            "NotImplementedError",
            "ParserError",
            "SyntaxError",
            "TypeError",
            "UnboundLocalError",
            "UnicodeDecodeError",
            "ValueError",
            "ZeroDivisionError",
        ],
        remedy: "run the scoring script on this file; logs/user/error of the job has the stack trace. Then scorekeeper retry",
    },
    Recognised {
        cause: Platform, // a path of an attempt is asked for once: a job that was made twice met what the other one wrote
        texts: &["path already exists"], // https://learn.microsoft.com/fabric/data-factory/azure-machine-learning-activity
        remedy: "none is needed: the next attempt writes to a path of its own",
    },
    Recognised {
        cause: Unknown,
        texts: &["there is no output at", "its output is empty"], // our own
        remedy: "see that the scoring script returns a row for each file, and that the datastore of the output is the one that Scorekeeper reads",
    },
];

/// What is recognised in an error's text.
pub fn recognised(text: &str) -> Option<&'static Recognised> {
    let text = text.to_ascii_lowercase();
    let names = |word: &&str| has_word(&text, &word.to_ascii_lowercase());
    RECOGNISED.iter().find(|one| one.texts.iter().any(&names))
}

/// What a person does about an error of this cause. An error of ours names paths, in which anything may stand: what is
/// recognised must be of the same cause.
pub fn remedy(cause: FailureCause, error: &str) -> Option<&'static str> {
    recognised(error).filter(|one| one.cause == cause).map(|one| one.remedy)
}

/// Whether a word, or several, stand in a text without a letter or digit at either side.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        let ends = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        ends(before) && ends(after)
    })
}

/// Parts of messages that say no more than that something failed, and where to look.
const GENERAL: &[&str] = &[
    "child run",
    "child job",
    "failed steps",
    "execution logs",
    // https://github.com/Azure/azureml-examples/issues/2614
    "exited with status code",
    "systemexit",
    // MS
    "run failed",
    "check logs",
    "check log file",
    "traceback (most recent call last)",
];

/// Whether a message tells nothing by itself.
pub fn is_general(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    GENERAL.iter().any(|general| message.contains(general))
}

/// The first real error in a longer text, of one line: where an exception is named with what it says, else the first line in
/// which something is recognised. Of chained exceptions the first is the root.
pub fn first_error(text: &str) -> Option<&str> {
    let lines = || text.lines().map(str::trim);
    lines().find_map(raised).or_else(|| lines().find(|line| !is_general(line) && recognised(line).is_some()))
}

/// `package.SomeError: what it says`, wherever it stands in a line: Azure ML joins the lines of a stack trace.
fn raised(line: &str) -> Option<&str> {
    let mut from = 0;
    for word in line.split_inclusive(char::is_whitespace) {
        let rest = &line[from..];
        from += word.len();
        let word = word.trim_end();
        let name = word.strip_suffix(':').or_else(|| (word.len() == line.len()).then_some(word));
        if name.is_some_and(is_exception) && !is_general(rest) {
            return Some(rest);
        }
    }
    None
}

/// The name of a class of exceptions: `ValueError`, `pandas.errors.ParserError`, `UserErrorException`.
fn is_exception(name: &str) -> bool {
    let class = name.rsplit('.').next().unwrap_or_default();
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
        && (class.ends_with("Exception") || class.strip_suffix("Error").is_some_and(|front| !front.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_listed_once_and_found_as_its_line_says() {
        let texts: Vec<_> = RECOGNISED.iter().flat_map(|one| one.texts).collect();
        assert_eq!(texts.iter().collect::<std::collections::BTreeSet<_>>().len(), texts.len());
        for one in RECOGNISED {
            for text in one.texts {
                assert_eq!(recognised(&format!("({text})")), Some(one), "{text}");
            }
        }
    }

    #[test]
    fn a_remedy_is_that_of_the_cause_whatever_stands_in_a_path() {
        let error = "the job completed and there is no output at azureml://datastores/timeout/paths/x";
        assert_eq!(remedy(Unknown, error), None, "the path is recognised, and not of this cause");
        let error = "the job completed and there is no output at azureml://datastores/scores/paths/x";
        assert!(remedy(Unknown, error).is_some_and(|remedy| remedy.contains("datastore")));
        assert_eq!(remedy(Unknown, "exit code 42"), None);
    }

    #[test]
    fn the_first_real_error_is_found_in_what_azure_ml_reports() {
        for (text, error) in [
            // As reported in https://github.com/MicrosoftDocs/azure-docs/issues/105903, with the lines of a log file.
            (
                "2023-02-28T11:11:55.5 This file shows errors in loading, calling init() and calling run() of the entry script. An error here may not impact the job result.\n\
                 2023-02-28T11:12:07.0 The process000 on node 0 failed with error: Traceback (most recent call last):\n  File \"score.py\", line 3, in init\n\
                 ModuleNotFoundError: No module named 'lightgbm'\n\nThe above exception was the direct cause of the following exception:\n\
                 EntryScriptException: Entry script error.\n",
                Some("ModuleNotFoundError: No module named 'lightgbm'"),
            ),
            (
                "Execution failed. User process '/azureml-envs/azureml_7/bin/python' exited with status code 42. Please check log file 'user_logs/std_log_0.txt' for error details. Error: Traceback (most recent call last): File \"driver/amlbi_main.py\", line 275, in <module> main() SystemExit: 42",
                None,
            ),
            (
                "exited with status code 1. Error: Traceback (most recent call last): File \"x.py\", line 1 pandas.errors.ParserError: Error tokenizing data",
                Some("pandas.errors.ParserError: Error tokenizing data"),
            ),
            (
                "Dataset initialization failed: UserErrorException: Message: Can't mount Dataset(ID='x')",
                Some("UserErrorException: Message: Can't mount Dataset(ID='x')"),
            ),
            ("Traceback:\nKeyError", Some("KeyError")),
            ("User program failed with Exception: Run failed. Please check logs for details.", None),
            (
                "step 1\nwrite failed: [Errno 28] No space left on device",
                Some("write failed: [Errno 28] No space left on device"),
            ),
            ("Error: 42\nError details", None),
            ("", None),
        ] {
            assert_eq!(first_error(text), error, "{text}");
        }
    }
}
