//! A run at an endpoint that a person names: one rule for each container, made of what they say, over a ledger in memory.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use app::App;
use app::ports::Clock;
use lifecycle::start::StartRequest;
use lifecycle::{Rules, Status, UnversionedBlob};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::super::download::Source;
use super::super::on_ledger::{self, OK};
use super::follow::{Followed, PAUSE, end};
use super::{Error, RunArgs, caller, told, worst};
use crate::compose;
use crate::config::RulesAccess;

/// For how long a tick begins new work.
const TICK: time::Duration = time::Duration::minutes(1);

/// What is run: the rules that are made of the command line, and the blobs with the rule of each.
pub(super) struct Explicit {
    pub(super) rules: Rules,
    pub(super) blobs: Vec<(String, UnversionedBlob)>,
}

impl Explicit {
    /// Reads what is said. What a rule may not say is refused as in a file of rules.
    pub(super) fn read(args: &RunArgs, endpoint: &str, blobs: &[UnversionedBlob]) -> Result<Self, Error> {
        let mut places: Vec<(&str, &str)> =
            blobs.iter().map(|blob| (blob.account.as_str(), blob.container.as_str())).collect();
        places.sort_unstable();
        places.dedup();
        let rules: Vec<Value> = places
            .iter()
            .enumerate()
            .map(|(n, place)| rule(args, endpoint, &id(n), *place))
            .collect::<Result<_, _>>()?;
        let rules = Rules::read(&json!({ "rules": rules }).to_string()).map_err(Error::Request)?;
        let of = |blob: &UnversionedBlob| {
            let place = (blob.account.as_str(), blob.container.as_str());
            id(places.iter().position(|known| *known == place).unwrap_or_default())
        };
        let blobs = blobs.iter().map(|blob| (of(blob), blob.clone())).collect();
        Ok(Self { rules, blobs })
    }
}

fn id(n: usize) -> String {
    if n == 0 { "run".to_owned() } else { format!("run-{}", n + 1) }
}

fn rule(args: &RunArgs, endpoint: &str, id: &str, (account, container): (&str, &str)) -> Result<Value, Error> {
    let mut target = json!({ "uri": endpoint });
    for (name, value) in [("deployment", &args.deployment), ("workspace", &args.workspace)] {
        if let Some(value) = value {
            target[name] = json!(value);
        }
    }
    let mut rule = json!({
        "id": id,
        "match": { "account": account, "container": container, "exclude": {} },
        "endpoint": target,
        // Somebody waits.
        "pollInterval": "PT2S",
        "maxAttempts": 1,
    });
    if !args.input.is_empty() {
        rule["inputs"] =
            args.input.iter().map(|(name, value)| (name.clone(), input(value))).collect::<Map<_, _>>().into();
    }
    if !args.output.is_empty() {
        let output = |uri: &String| {
            let kind = if uri.ends_with('/') { "UriFolder" } else { "UriFile" };
            json!({ "type": kind, "uri": uri })
        };
        rule["outputs"] =
            args.output.iter().map(|(name, uri)| (name.clone(), output(uri))).collect::<Map<_, _>>().into();
    }
    if let Some(settings) = &args.settings {
        let settings: Map<String, Value> = serde_json::from_str(settings).map_err(Error::Settings)?;
        rule["settings"] = settings.into();
    }
    Ok(rule)
}

fn input(value: &str) -> Value {
    let is_uri = value.contains("://")
        || value.starts_with("/subscriptions/")
        || value.starts_with("{blob.url}")
        || value.starts_with("{blob.folderUrl}");
    match (is_uri, value.ends_with('/') || value.starts_with("{blob.folderUrl}")) {
        (true, true) => json!({ "type": "UriFolder", "uri": value }),
        (true, false) => json!({ "type": "UriFile", "uri": value }),
        (false, _) => json!({ "type": "Literal", "template": value }),
    }
}

/// Starts them, and follows them to their ends, or without `--wait` until their jobs run.
pub(super) async fn run(
    args: &RunArgs,
    explicit: Explicit,
    access: &RulesAccess,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let Explicit { rules, blobs } = explicit;
    let app = compose::app_of_person(access, rules, blobs.iter().map(|(_, blob)| blob), caller(), clock)?;
    let mut followed = Vec::new();
    for (rule, blob) in blobs {
        let mut one = Followed::new(blob);
        let request = StartRequest::of_blob(&rule, &one.blob, BTreeMap::new(), false);
        match app.start(&request, None, "scorekeeper run").await {
            Ok((started, submissions)) => {
                one.see(*started.scoring, out)?;
                submissions.send().await;
            }
            Err(error) => one.refuse(told(&error), out)?,
        }
        followed.push(one);
    }
    let waits = args.wait || args.download.is_some();
    let until = Instant::now() + args.timeout.try_into().unwrap_or(Duration::ZERO);
    loop {
        for one in followed.iter_mut().filter(|one| !one.has_ended()) {
            look(&app, one, out).await?;
        }
        let is_done = |one: &Followed| {
            let runs = one
                .scoring
                .as_ref()
                .is_some_and(|scoring| matches!(scoring.status, Status::Running | Status::Verifying));
            one.has_ended() || !waits && runs
        };
        if followed.iter().all(is_done) || Instant::now() >= until {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        app.tick(clock() + TICK).await?;
    }
    if !waits {
        if !followed.iter().all(Followed::has_ended) {
            writeln!(out, "Nobody looks after these jobs any more; --wait follows them to their ends.")?;
        }
        return Ok(worst(followed.iter().map(|one| if one.has_ended() { one.code() } else { OK })));
    }
    let source = || {
        let blobs = compose::outputs(access, caller(), clock)?;
        Ok::<_, on_ledger::Error>(Source::Storage(Box::new(blobs)))
    };
    end(args, &followed, source, out).await
}

async fn look(app: &App, one: &mut Followed, out: &mut dyn Write) -> Result<(), Error> {
    let Some(id) = one.scoring.as_ref().map(|scoring| scoring.id.clone()) else { return Ok(()) };
    if let Some((scoring, _)) = app.ledger().get(&id).await? {
        one.see(scoring, out)?;
    }
    Ok(())
}
