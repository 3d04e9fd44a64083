//! The ways in which a job fails by plan: the commonest of the real service, with the texts that its users see, each where the
//! service puts it: the job's own error, its step's, or a log file.
//!
//! Sources: <https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-batch-endpoints>, and the report beside each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::run_error::RunError;

/// What a job says of itself when a step of it failed.
const CHILD_FAILED: &str = "Pipeline has failed child jobs. Failed nodes: /batchscoring. For more details and logs, please go to \
                            the job detail page and check the child jobs.";
/// What a step says when its process ended badly: the error itself stands in a log file.
const EXITED: &str = "Execution failed. User process '/azureml-envs/azureml_7594b3b9/bin/python' exited with status code 42. \
                      Please check log file 'user_logs/std_log_0.txt' for error details. Error: Traceback (most recent call last):\n  \
                      File \"driver/amlbi_main.py\", line 275, in <module>\n    main()\nSystemExit: 42\n";

/// Why a job fails; what run history says of it follows from this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JobFailure {
    /// The input is not there when the job reads it.
    InputMissing,
    /// The compute cluster's identity may not read the input.
    InputDenied,
    /// The workspace's identity may not use a datastore (azureml-examples issue 2501).
    DatastoreDenied,
    /// Something lies at the output's path.
    OutputExists,
    /// The environment lacks a package (azure-docs issue 105903).
    PackageMissing,
    /// The scoring script raises an exception.
    ScriptError,
    /// The scoring script can read none of the files (MLOpsPython issue 328).
    NothingScored,
    /// A mini-batch takes longer than the deployment allows.
    TooSlow,
    /// The node has too little memory.
    OutOfMemory,
    /// The environment's image cannot be built (mlops-enterprise-template issue 4).
    ImageBuild,
    /// The subscription has too few vCPUs (mslearn-dp100 issue 35).
    Quota,
    /// A low-priority node was taken away (MLOpsPython issue 346).
    Preempted,
}

impl JobFailure {
    /// Every one that a fault plan can name.
    pub const ALL: [Self; 12] = [
        Self::InputMissing,
        Self::InputDenied,
        Self::DatastoreDenied,
        Self::OutputExists,
        Self::PackageMissing,
        Self::ScriptError,
        Self::NothingScored,
        Self::TooSlow,
        Self::OutOfMemory,
        Self::ImageBuild,
        Self::Quota,
        Self::Preempted,
    ];

    /// What run history and the log files say.
    pub(super) fn error(self) -> RunError {
        match self {
            Self::InputMissing => RunError::user(
                "ScriptExecutionException was caused by StreamAccessException. StreamAccessException was caused by \
                 NotFoundException. The requested stream was not found.",
            ),
            Self::InputDenied => of_step(
                "Dataset initialization failed: UserErrorException: Message: Can't mount Dataset(ID='5b1', name='None', \
                 version=None). Source of the dataset is either not accessible or doesn't contain any data.",
            ),
            Self::DatastoreDenied => of_step(
                "Datastore has no credentials, and workspace msi failed to authenticate storage account. Please grant \
                 Storage Account Contributor role to workspace msi.",
            ),
            Self::OutputExists => RunError::user("the path already exists"),
            Self::PackageMissing => {
                in_log("logs/user/error.txt", &raised("ModuleNotFoundError: No module named 'lightgbm'"))
            }
            Self::ScriptError => in_log("logs/user/error.txt", &raised("ValueError: columns are missing: ['age']")),
            Self::NothingScored => in_log(
                "logs/job_error.txt",
                "DriverException: There is no succeeded mini batch item returned from run(). Please check 'response: run()' in \
                 https://aka.ms/batch-inference-documentation\n",
            ),
            Self::TooSlow => in_log(
                "logs/job_result.txt",
                "The job failed.\nNo progress update in 1800 seconds. No progress update in this check. Wait 30 seconds since \
                 last update.\n",
            ),
            Self::OutOfMemory => in_log(
                "user_logs/std_log_0.txt",
                "scoring\nTraceback (most recent call last):\n  File \"score.py\"\nMemoryError\n",
            ),
            Self::ImageBuild => {
                of_step("Image build failed. For more details, check log file azureml-logs/20_image_build_log.txt.")
                    .with_log(
                        "azureml-logs/20_image_build_log.txt",
                        "Solving environment: failed\nResolvePackageNotFound:\n  - lightgbm=99\n",
                    )
            }
            Self::Quota => of_step(
                "Job submission to AzureML Compute encountered an Exception with status code JobNodeCountExceedsCoreQuota, The \
                 specified subscription has a Standard DSv2 family vCPU quota of 2 and is less than the requested job node \
                 count of 2 which maps to 4 vCPUs.",
            ),
            Self::Preempted => of_step(
                "AzureMLCompute job failed. PreemptionError: Nodes of this job got pre-empted. Check if the run has failed or \
                 restarted. Reason: Received pre-emption warning signal.",
            ),
        }
    }
}

/// The job tells only that its step failed; the step tells why.
fn of_step(message: &str) -> RunError {
    RunError { step: Some(message.to_owned()), ..RunError::user(CHILD_FAILED) }
}

/// Neither the job nor its step tells why; a log file does.
fn in_log(file: &str, text: &str) -> RunError {
    of_step(EXITED).with_log(file, text)
}

/// A stack trace as the log of the entry script's errors holds it.
fn raised(error: &str) -> String {
    format!(
        "2026-01-01T12:00:04 This file shows errors in loading, calling init() and calling run() of the entry script. An error \
         here may not impact the job result.\n2026-01-01T12:00:09 The process000 on node 0 failed with error: Traceback (most \
         recent call last):\n  File \"score.py\", line 12, in run\n{error}\n"
    )
}

impl RunError {
    fn with_log(mut self, file: &str, text: &str) -> Self {
        self.logs = BTreeMap::from([(file.to_owned(), text.to_owned())]);
        self
    }
}
