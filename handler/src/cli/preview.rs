//! What the outputs of a scoring hold, for the page of whoever started it.

use std::sync::Arc;

use app::ledger::Ledger;
use app::ports::Clock;
use lifecycle::Scoring;

use super::download::{Error, Source};
use super::ledger_command::Here;
use super::output;
use crate::config::LedgerLocation;
use crate::page::{MAX_PREVIEW, ResultFile, Results, text_of};

/// Files of an output that are told of.
const MAX_FILES: usize = 50;
/// Files whose text is read.
const MAX_READ: usize = 5;

/// Reads outputs beside this ledger, or from storage as whoever is signed in.
pub(crate) fn results(ledger: &Ledger, place: &LedgerLocation, clock: &Clock) -> Results {
    let (ledger, place, clock) = (ledger.clone(), place.clone(), Clock::clone(clock));
    Arc::new(move |scoring| {
        let (ledger, place, clock) = (ledger.clone(), place.clone(), Clock::clone(&clock));
        Box::pin(async move {
            let source = {
                let here = Here { ledger: &ledger, place: &place, by: "", columns: None, clock: &clock };
                output::source(&here)?
            };
            Ok(files(&source, &scoring).await?)
        })
    })
}

async fn files(source: &Source, scoring: &Scoring) -> Result<Vec<ResultFile>, Error> {
    let outputs = scoring.submission.iter().flat_map(|submission| &submission.outputs);
    let (mut files, mut read) = (Vec::new(), 0);
    for (name, output) in outputs {
        for part in source.parts(scoring, output).await?.into_iter().take(MAX_FILES) {
            let small = part.bytes <= MAX_PREVIEW && read < MAX_READ;
            read += usize::from(small);
            let text = if small { text_of(&source.whole(&part).await?) } else { None };
            files.push(ResultFile { output: name.clone(), name: part.name, bytes: part.bytes, text });
        }
    }
    Ok(files)
}
