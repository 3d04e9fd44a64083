//! The world as the app reaches it: the batch endpoint and the storage.

use super::*;

impl World {
    async fn write_blob(
        &self,
        write: impl FnOnce(&mut Cloud, OffsetDateTime) -> Published,
    ) -> Result<Answered<Published>, Inconclusive> {
        let act = self.state.lock().unwrap().during_publish.take();
        if let Some(act) = act {
            act().await;
        }
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        state.publish_calls += 1;
        let nth = state.publish_calls;
        let refused = |kind, text: &str| Published::Refused(Refusal { kind, text: text.to_owned() });
        if let Some(why) = &state.storage_inconclusive {
            return Ok(answered("publish", nth, refused(RefusalKind::MayNotWrite, why)));
        }
        let fault = state.publish_faults.pop_front().unwrap_or(Fault::Pass);
        match fault {
            Fault::LostRequest => return Err(Inconclusive::not_reachable("the connection was reset")),
            Fault::Refused { .. } => {
                return Ok(answered("publish", nth, refused(RefusalKind::MayNotWrite, "403")));
            }
            _ => {}
        }
        let done = write(&mut state.cloud, now);
        match fault {
            Fault::LostAnswer { .. } => Err(Inconclusive::not_reachable("the connection was reset")),
            _ => Ok(answered("publish", nth, done)),
        }
    }

    /// What a look at the storage shows, once what others do meanwhile is done.
    async fn look<T>(&self, look: impl FnOnce(&State) -> T) -> Result<T, Inconclusive> {
        let (seen, act) = {
            let mut state = self.state.lock().unwrap();
            let seen = match &state.storage_inconclusive {
                Some(why) => Err(Inconclusive::not_reachable(why.clone())),
                None => Ok(look(&state)),
            };
            (seen, state.during_look.take())
        };
        if let Some(act) = act {
            act().await;
        }
        seen
    }

    fn post(&self, scoring: &Scoring) -> (Answer, Option<Arc<Gate>>) {
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        let fault = state.submissions.pop_front().unwrap_or(Fault::Pass);
        let times = match fault {
            Fault::Pass | Fault::Delayed(_) => 1,
            Fault::Duplicated { times } | Fault::LostAnswer { times } => times,
            _ => 0,
        };
        let (tagged, omits_outputs) = (state.keeps_tags, state.omits_outputs);
        let lag = if let Fault::Delayed(after) = fault { after } else { Duration::ZERO };
        let made: Vec<Job> = (0..times)
            .map(|_| {
                state.cloud.make(scoring, JobBehaviour { lag, omits_outputs, ..JobBehaviour::running() }, tagged, now)
            })
            .collect();
        let running = state.cloud.jobs().iter().filter(|job| job.status(now) == JobStatus::Running).count();
        state.max_running = state.max_running.max(running);
        let held = state.held_post.take();
        let answer = match fault {
            Fault::Pass | Fault::Duplicated { .. } => {
                let mut job = made.last().expect("just made").clone();
                let workspace = state.workspace.as_ref();
                let id = || workspace.map(|workspace| format!("{workspace}/batchEndpoints/heart/jobs/{}", job.name));
                job.id = job.id.take().or_else(id);
                Answer::Accepted { job, status: JobStatus::Preparing }
            }
            Fault::Refused { permanent } => {
                Answer::Refused { code: "403".into(), text: "no".into(), permanent, retry_after: None }
            }
            Fault::Throttled(retry_after) => {
                Answer::Refused { code: "429".into(), text: "slow down".into(), permanent: false, retry_after }
            }
            _ => Answer::Unknown { text: "connection reset".into() },
        };
        (answer, held)
    }
}

/// An answer under an id that tells what it is the answer to.
fn answered<T>(to: &str, nth: usize, value: T) -> Answered<T> {
    Answered { value, request_id: request_id(to, nth) }
}

fn request_id(of: &str, nth: usize) -> Option<lifecycle::ServiceRequestId> {
    format!("{of}-{nth}").parse().ok()
}

#[async_trait]
impl Endpoint for World {
    async fn submit(&self, scoring: &Scoring, _timeout: std::time::Duration) -> Answered<Answer> {
        self.note_asked("submit", scoring.identity.as_ref());
        let (answer, held) = self.post(scoring);
        if let Some(held) = held {
            held.waits.notify_one();
            held.go.notified().await;
        }
        let takes = self.state.lock().unwrap().post_takes;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        answered("post", usize::try_from(scoring.submits).unwrap_or_default(), answer)
    }

    async fn job(&self, at: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive> {
        self.note_asked("job", at.identity.as_ref());
        let now = self.now();
        let (seen, polls, held) = {
            let mut state = self.state.lock().unwrap();
            state.polls += 1;
            state.now = Some(now + state.poll_takes);
            if let Some(why) = &state.inconclusive {
                return Err(Inconclusive::not_reachable(why.clone()));
            }
            let seen = if state.hidden { None } else { state.cloud.look(&at.job.name, now, Duration::ZERO) };
            (seen, state.polls, state.held_poll.take())
        };
        if let Some(held) = held {
            held.waits.notify_one();
            held.go.notified().await;
        }
        Ok(answered("poll", polls, seen))
    }

    async fn find(&self, scoring: &Scoring) -> Result<JobSearch, Inconclusive> {
        self.note_asked("find", scoring.identity.as_ref());
        let mut state = self.state.lock().unwrap();
        if let Some(why) = &state.inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        let now = state.now.unwrap_or(START);
        state.searched.push(scoring.workspace.clone());
        let (jobs, possible) = state.cloud.find(scoring, state.listed_until(now));
        let as_of = state.search_shows.map(|age| now - age);
        state.now = Some(now + state.search_takes);
        Ok(JobSearch { jobs, possible, as_of, request_id: request_id("search", state.searched.len()) })
    }

    async fn jobs_created_since(
        &self,
        at: &ScanTarget,
        since: OffsetDateTime,
        known: &HashSet<lifecycle::JobName>,
    ) -> Result<JobListing, Inconclusive> {
        self.note_asked("jobs_created_since", at.identity.as_ref());
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        state.orphan_scans.push(OrphanScanCall { scan_target: at.clone(), since, known: known.len() });
        if let Some(why) = &state.inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        let max = state.scan_limit.unwrap_or(usize::MAX);
        let jobs = state.cloud.jobs_created_since(&at.endpoint, since, known, state.listed_until(now));
        let complete = jobs.len() <= max;
        Ok(JobListing { jobs: jobs.into_iter().take(max).collect(), complete, elsewhere: Vec::new() })
    }

    async fn cancel(&self, at: &JobAddress) -> Result<Answered<()>, Inconclusive> {
        self.note_asked("cancel", at.identity.as_ref());
        let mut state = self.state.lock().unwrap();
        if state.cancels_fail > 0 {
            state.cancels_fail -= 1;
            let id = request_id("cancel-refused", state.cancels_fail);
            return Err(Inconclusive::not_reachable("Resource Manager answers 503").answered_as(id));
        }
        let now = state.now.unwrap_or(START);
        state.cloud.cancel(&at.job.name, now);
        state.cancels += 1;
        Ok(answered("cancel", state.cancels, ()))
    }
}

#[async_trait]
impl Blobs for World {
    async fn input(&self, blob: &BlobVersion) -> Result<InputSnapshot, Inconclusive> {
        let now = self.now();
        let (seen, act) = {
            let mut state = self.state.lock().unwrap();
            state.input_looks += 1;
            let seen = match &state.input_inconclusive {
                Some(inconclusive) => Err(inconclusive.clone()),
                None => state.cloud.input(blob, now),
            };
            (seen, state.during_input.take())
        };
        if let Some(act) = act {
            act().await;
        }
        seen
    }

    async fn output_print(&self, scoring: &Scoring) -> Result<Option<OutputPrint>, Inconclusive> {
        self.note_asked("output_print", scoring.identity.as_ref());
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        state.path_looks += 1;
        if let Some(why) = &state.storage_inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        Ok(state.cloud.output_print(scoring, now))
    }

    async fn blob(&self, blob: &UnversionedBlob) -> Result<Option<BlobSnapshot>, Inconclusive> {
        let now = self.now();
        self.look(|state| state.cloud.blob(blob, now)).await
    }

    async fn index_tags(&self, blob: &UnversionedBlob, etag: &str) -> Result<BTreeMap<String, String>, Inconclusive> {
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        state.tag_looks += 1;
        if let Some(why) = &state.storage_inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        if let Some(why) = &state.tags_inconclusive {
            return Err(Inconclusive::not_allowed(why.clone()));
        }
        state.cloud.index_tags(blob, etag, now)
    }

    async fn list(&self, place: &BlobPrefix, from: Option<&str>, max: usize) -> Result<BlobPage, Inconclusive> {
        let max = {
            let mut state = self.state.lock().unwrap();
            state.lists += 1;
            state.list_limit.unwrap_or(max).min(max)
        };
        self.look(|state| state.cloud.uploaded.page(place, from, max)).await
    }

    async fn outputs(&self, scoring: &Scoring) -> Result<OutputSnapshot, Inconclusive> {
        self.note_asked("outputs", scoring.identity.as_ref());
        let now = self.now();
        let state = self.state.lock().unwrap();
        if let Some(why) = &state.storage_inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        state.cloud.outputs(scoring, now).ok_or_else(|| Inconclusive::not_asked("the attempt has no output"))
    }

    async fn locate(&self, at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive> {
        self.note_asked("locate", at.identity.as_ref());
        Cloud::locate(at)
    }

    async fn published(&self, at: &BlobPlace) -> Result<Option<PublishedBlob>, Inconclusive> {
        self.note_asked("published", at.identity.as_ref());
        let now = self.now();
        self.look(|state| state.cloud.published(at, now)).await
    }

    async fn parts(&self, folder: &BlobPlace, from: Option<&str>) -> Result<PartPage, Inconclusive> {
        self.note_asked("parts", folder.identity.as_ref());
        let now = self.now();
        self.look(|state| state.cloud.parts(folder, from, MAX_PAGE, now)).await
    }

    async fn publish(
        &self,
        source: &CopySource,
        to: &BlobPlace,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.note_asked("publish", to.identity.as_ref());
        self.write_blob(|cloud, now| cloud.publish(source, to, condition, mark, now)).await
    }

    async fn write_manifest(
        &self,
        to: &BlobPlace,
        body: Vec<u8>,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.note_asked("write_manifest", to.identity.as_ref());
        self.write_blob(|cloud, now| cloud.write_manifest(to, body, condition, mark, now)).await
    }

    async fn remove(&self, at: &BlobPlace, etag: &str) -> Result<(), Inconclusive> {
        let mut state = self.state.lock().unwrap();
        if let Some(why) = &state.storage_inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        state.cloud.remove(at, etag);
        Ok(())
    }

    async fn named_in_outputs(
        &self,
        scoring: &Scoring,
        ids: &BTreeSet<ScoringId>,
        _by: NamedBy,
    ) -> Result<BTreeSet<ScoringId>, Inconclusive> {
        self.note_asked("named_in_outputs", scoring.identity.as_ref());
        self.look(|state| state.cloud.named_in_outputs(scoring, ids)).await
    }
}
