//! What goes wrong in the world, what others do in it, and what was asked of it.

use super::*;

impl World {
    /// What becomes of the coming submissions, in their order; later ones pass.
    pub fn next_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().submissions.extend(faults);
    }

    pub fn blind(&self, why: Option<&str>) {
        self.state.lock().unwrap().inconclusive = why.map(str::to_owned);
    }

    /// Whether, and why, nobody may look at outputs.
    pub fn blind_storage(&self, why: Option<&str>) {
        self.state.lock().unwrap().storage_inconclusive = why.map(str::to_owned);
    }

    /// Whether, and why, nobody may look at inputs.
    pub fn blind_inputs(&self, inconclusive: Option<Inconclusive>) {
        self.state.lock().unwrap().input_inconclusive = inconclusive;
    }

    /// Changes what inputs lie there. A path that nobody writes to holds whatever version it is asked about.
    pub fn change_inputs<T>(&self, change: impl FnOnce(&mut Inputs, OffsetDateTime) -> T) -> T {
        let now = self.now();
        change(&mut self.state.lock().unwrap().cloud.inputs, now)
    }

    /// Blobs of one page of a list at most, from now on.
    pub fn lists_give(&self, max: usize) {
        self.state.lock().unwrap().list_limit = Some(max);
    }

    /// How many pages were listed.
    pub fn lists(&self) -> usize {
        self.state.lock().unwrap().lists
    }

    /// What others do between the next look at an upload, or for a folder's files, and its answer.
    pub fn during_next_look<F: Future<Output = ()> + Send + 'static>(&self, act: impl FnOnce() -> F + Send + 'static) {
        self.state.lock().unwrap().during_look = Some(Box::new(|| Box::pin(act())));
    }

    /// What others do between the next look at an input and its answer.
    pub fn during_next_input<F: Future<Output = ()> + Send + 'static>(&self, act: impl FnOnce() -> F + Send + 'static) {
        self.state.lock().unwrap().during_input = Some(Box::new(|| Box::pin(act())));
    }

    /// What becomes of the next writes to published paths: `LostRequest`, `LostAnswer` and `Refused` happen to them, in their turn.
    pub fn next_publish_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().publish_faults.extend(faults);
    }

    /// What others do after the app looked at a published path and before its write arrives there.
    pub fn before_next_publish<F: Future<Output = ()> + Send + 'static>(
        &self,
        act: impl FnOnce() -> F + Send + 'static,
    ) {
        self.state.lock().unwrap().during_publish = Some(Box::new(|| Box::pin(act())));
    }

    /// What was published, and what lies there of others.
    pub fn publications<T>(&self, change: impl FnOnce(&mut Publications) -> T) -> T {
        change(&mut self.state.lock().unwrap().cloud.publications)
    }

    /// How often something was to be written to a published path.
    pub fn publish_calls(&self) -> usize {
        self.state.lock().unwrap().publish_calls
    }

    /// Whether index tags cannot be read, and why.
    pub fn set_tags_inconclusive(&self, why: Option<&str>) {
        self.state.lock().unwrap().tags_inconclusive = why.map(str::to_owned);
    }

    /// How often index tags were asked for.
    pub fn tag_looks(&self) -> usize {
        self.state.lock().unwrap().tag_looks
    }

    /// How often an input was looked at.
    pub fn input_looks(&self) -> usize {
        self.state.lock().unwrap().input_looks
    }

    /// Each look at a job takes this long from now on.
    pub fn polls_take(&self, time: Duration) {
        self.state.lock().unwrap().poll_takes = time;
    }

    /// Each search for jobs takes this long from now on.
    pub fn searches_take(&self, time: Duration) {
        self.state.lock().unwrap().search_takes = time;
    }

    /// Each search for jobs shows from now on what there was so long ago, as a list does that others share.
    pub fn searches_show_what_was(&self, age: Duration) {
        self.state.lock().unwrap().search_shows = Some(age);
    }

    /// The next look at a job sees the job as it is then and tells of it only when it is let go.
    pub fn hold_next_poll(&self) -> Arc<Gate> {
        let held = Arc::<Gate>::default();
        self.state.lock().unwrap().held_poll = Some(held.clone());
        held
    }

    /// The next `times` requests to stop a job fail.
    pub fn fail_cancels(&self, times: usize) {
        self.state.lock().unwrap().cancels_fail = times;
    }

    /// The next POST does what it does and tells of it only when it is let go.
    pub fn hold_next_post(&self) -> Arc<Gate> {
        let held = Arc::<Gate>::default();
        self.state.lock().unwrap().held_post = Some(held.clone());
        held
    }

    /// Each POST is answered so long after it was carried out, by tokio's clock, which a test may pause.
    pub fn posts_take(&self, time: std::time::Duration) {
        self.state.lock().unwrap().post_takes = time;
    }

    /// Apps that are made from now on scan for orphaned jobs.
    pub fn scan_every(&self, interval: Duration) {
        self.state.lock().unwrap().orphan_scan_interval = Some(interval);
    }

    /// One look through all jobs shows so many at most.
    pub fn scans_show(&self, max: usize) {
        self.state.lock().unwrap().scan_limit = Some(max);
    }

    pub fn orphan_scans(&self) -> Vec<OrphanScanCall> {
        self.state.lock().unwrap().orphan_scans.clone()
    }

    /// Whether the service keeps the tags of jobs that are made from now on.
    pub fn keep_tags(&self, keep: bool) {
        self.state.lock().unwrap().keeps_tags = keep;
    }

    /// Whether jobs that are made from now on show their outputs never.
    pub fn omit_outputs(&self, omit: bool) {
        self.state.lock().unwrap().omits_outputs = omit;
    }

    /// Answers tell the ids of jobs, and with them this workspace.
    pub fn tell_workspace(&self, id: &str) {
        self.state.lock().unwrap().workspace = Some(id.to_owned());
    }

    /// The workspaces that were searched for lost jobs.
    pub fn searched(&self) -> Vec<Option<lifecycle::WorkspaceId>> {
        self.state.lock().unwrap().searched.clone()
    }

    /// How often somebody looked at the output path of an attempt whose job is not known.
    pub fn path_looks(&self) -> usize {
        self.state.lock().unwrap().path_looks
    }

    /// A stranger's job over the inputs of a scoring, which shows nothing of whose it is; its name.
    pub fn strangers_job(&self, like: &Scoring) -> String {
        let now = self.now();
        let job = self.state.lock().unwrap().cloud.make_strangers(like, JobBehaviour::running(), now);
        job.name.to_string()
    }

    /// Whether lists go on showing only what was made before.
    pub fn hide_new_jobs(&self, hide: bool) {
        let before = self.now();
        let mut state = self.state.lock().unwrap();
        state.list_stands_still = hide.then_some(before);
    }

    /// Ends one job; a completed one has written its outputs.
    pub fn end_job(&self, name: &str, status: &JobStatus) {
        self.end_job_as(name, end_of(status));
    }

    /// Ends one job in a way that its status alone does not say.
    pub fn end_job_as(&self, name: &str, end: End) {
        let now = self.now();
        self.state.lock().unwrap().cloud.end(name, end, now);
    }

    /// Fails every job that runs, with this error.
    pub fn fail_jobs(&self, error: &'static str) {
        let now = self.now();
        for job in self.jobs().iter().filter(|job| job.status == JobStatus::Running) {
            self.state.lock().unwrap().cloud.fail(&job.name, error, now);
        }
    }

    /// Fails the running job of this blob, with this error.
    pub fn fail_job_of(&self, path: &str, error: &'static str) {
        let now = self.now();
        for job in self.jobs().iter().filter(|job| job.status == JobStatus::Running && job.path == path) {
            self.state.lock().unwrap().cloud.fail(&job.name, error, now);
        }
    }

    /// Jobs that are made from now on run on this deployment where their request names none, and their ids say so.
    pub fn set_default_deployment(&self, name: &str) {
        self.state.lock().unwrap().cloud.set_default_deployment(name);
    }

    /// Every job fails from now on that reads this upload, or a copy of it.
    pub fn fail_whatever_reads(&self, url: &str) {
        self.fail_whatever_reads_by(url, BAD_FILE);
    }

    /// The same, with what such a job says.
    pub fn fail_whatever_reads_by(&self, url: &str, error: &'static str) {
        self.state.lock().unwrap().cloud.bad.failing.insert(url.to_owned(), error);
    }

    /// What read this upload failed; no more.
    pub fn repair_file(&self, url: &str) {
        self.state.lock().unwrap().cloud.bad.failing.remove(url);
    }

    /// No output of a group names this upload.
    pub fn name_no_file(&self, url: &str) {
        self.state.lock().unwrap().cloud.bad.not_named.insert(url.to_owned());
    }

    /// The storage does not copy this upload.
    pub fn refuse_copies_of(&self, url: &str) {
        self.refuse_copies_by(url, RefusalKind::SourceNotCopied);
    }

    /// The same, and why.
    pub fn refuse_copies_by(&self, url: &str, kind: RefusalKind) {
        self.state.lock().unwrap().cloud.bad.not_copied.insert(url.to_owned(), kind);
    }

    /// Puts a blob at a URI.
    pub fn place(&self, uri: &str, bytes: u64) {
        let now = self.now();
        self.state.lock().unwrap().cloud.place(uri, bytes, now);
    }

    /// Changes what was uploaded.
    pub fn uploaded<T>(&self, change: impl FnOnce(&mut Uploaded) -> T) -> T {
        change(&mut self.state.lock().unwrap().cloud.uploaded)
    }

    /// A job of somebody else.
    pub fn foreign_job(&self, output: &str) {
        let (now, id) = (self.now(), "f".repeat(32));
        let rule = self.rules.iter().next().unwrap();
        let blob = lifecycle::BlobVersion::read("https://else.blob.core.windows.net/c/x", "1").unwrap();
        let mut scoring = Scoring::accept(&self.ledger_id, rule, blob, now);
        let mut submission = rule.submission(&scoring, 1);
        submission.outputs.values_mut().for_each(|out| out.uri = output.replace("{id}", &id));
        scoring.submission = Some(submission);
        scoring.rule = "of-somebody-else".parse().unwrap();
        self.state.lock().unwrap().cloud.make(&scoring, JobBehaviour::running(), false, now);
    }

    /// Whether the endpoint denies to know any job.
    pub fn hide_jobs(&self, hidden: bool) {
        self.state.lock().unwrap().hidden = hidden;
    }
}
