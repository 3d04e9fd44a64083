//! The log files of a failed job: where its first real error stands, if its message only says that a process ended.
//!
//! Run history gives the URL of each, with a signature that is good for reading it: no token is shown, and the URL is never
//! told to anybody. Names and contents: Microsoft's *Troubleshoot batch endpoints* and *Troubleshooting the ParallelRunStep*
//! (`learn.microsoft.com/azure/machine-learning`).

use std::time::Duration;

use lifecycle::StorageHosts;
use lifecycle::failure;
use lifecycle::text::error_chain;
use reqwest::Url;
use reqwest::header::RANGE;
use serde_json::Value;

use crate::http;
use crate::http::body::read_body;
use crate::text::member;

/// Files in which errors are looked for, the most telling first.
const KNOWN: [&str; 7] = [
    "logs/user/error.txt",
    "logs/job_error.txt",
    "logs/job_result.txt",
    "user_logs/std_log_0.txt",
    "user_logs/std_log.txt",
    "azureml-logs/20_image_build_log.txt",
    "azureml-logs/70_driver_log.txt",
];

/// Files of one run that are read.
const MAX_FILES: usize = 3;
/// Bytes of each, from its beginning: the first error is what is looked for.
const MAX_BYTES: usize = 128 * 1024;
/// For all files of one run: without them the text is general, and there all the same.
const LIMIT: Duration = Duration::from_secs(6);

/// The first real error in the log files of a run, with the file's name. `files`: their URLs by name, as run history gives them.
pub(super) async fn first_error(hosts: &StorageHosts, files: &Value) -> Option<String> {
    tokio::time::timeout(LIMIT, search(hosts, files)).await.ok().flatten()
}

async fn search(hosts: &StorageHosts, files: &Value) -> Option<String> {
    let there = KNOWN.iter().filter_map(|name| Some((*name, member(files, name)?.as_str()?)));
    for (name, url) in there.take(MAX_FILES) {
        let Some(text) = read(hosts, name, url).await else { continue };
        if let Some(found) = failure::first_error(&text) {
            return Some(format!("{found} ({name})"));
        }
    }
    None
}

async fn read(hosts: &StorageHosts, name: &str, signed: &str) -> Option<String> {
    let signed = Url::parse(signed).ok()?;
    // An answer names the host: only where blobs may lie is it asked.
    let mut url = match hosts.reach(&signed) {
        Ok(url) => url,
        Err(foreign) => {
            tracing::debug!("the log file {name} of a failed job is not read: {foreign}");
            return None;
        }
    };
    url.set_query(signed.query());
    let range = format!("bytes=0-{}", MAX_BYTES - 1);
    let sent = http::call::send(http::client().get(url).header(RANGE, range)).await;
    let answer = match sent {
        Ok(answer) if answer.status().is_success() => answer,
        Ok(answer) => {
            tracing::debug!(status = answer.status().as_u16(), "the log file {name} of a failed job cannot be read");
            return None;
        }
        Err(error) => {
            let why = error_chain(&error.without_url());
            tracing::debug!("the log file {name} of a failed job cannot be read: {why}");
            return None;
        }
    };
    let body = read_body(answer, MAX_BYTES).await.ok()?;
    Some(String::from_utf8_lossy(&body).into_owned())
}
