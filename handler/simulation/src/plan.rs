//! What a run is going to meet, as far as it is decided before it begins: rules, uploads, deliveries, processes.

mod drawn;
mod happenings;

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::publication::RefusalKind;
use lifecycle::{BlobVersion, Rules};
use serde_json::{Value, json};
use time::Duration;

use self::drawn::{
    asking_for_tags, disturb_deliveries, drawn_input_changes, drawn_limit_changes, drawn_rules, drawn_upload,
    is_tagged, keep_renamed_ones_apart, with_deployments,
};
pub(super) use self::happenings::{ChangeAt, Delivery, LimitChange, Upload};
use crate::account::{self, CONTAINERS};
use crate::arrivals::Arrival;
use crate::behaviour::Poison;
use crate::cloud::{BAD_FILE, BadFiles, TOO_LARGE};
use crate::executor::Rng;
use crate::faults::{Dice, Kind};
use crate::inputs::InputChange;
use crate::invariants::ScoredVersion;
use crate::output_places;
use crate::publish_places;
use crate::rules_changes::{self, RulesChange};
use crate::tagged::{self, Tagged};

/// The clock of a process is off by at most this.
const SKEW_SECONDS: i64 = 120;

/// What is decided before a run begins.
#[derive(Debug)]
pub(super) struct Plan {
    /// The rules as they are meant.
    pub(super) rules: Rules,
    /// Rules that take their place, in the order of time.
    pub(super) rules_changes: Vec<RulesChange>,
    /// Events tell of outputs as of uploads.
    pub(super) tells_of_outputs: bool,
    pub(super) uploads: Vec<Upload>,
    /// Uploads whose index tags decide, to a rule of their own.
    pub(super) tagged: Vec<Tagged>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) limit_changes: Vec<LimitChange>,
    /// What happens to inputs. Paths that are not among these hold whatever version they are asked about.
    pub(super) input_changes: Vec<ChangeAt>,
    /// When another deployment becomes the default one of each endpoint; `None`: jobs do not say which they are of.
    pub(super) default_switched: Option<Duration>,
    /// How many installations with these rules there are, each with a ledger of its own, over the same containers and endpoints.
    /// The processes are theirs in turn.
    pub(super) installations: usize,
    /// How far the clock of each process is off at its beginning, in milliseconds.
    pub(super) skews: Vec<i64>,
    /// Clocks of two processes differ by at most this.
    pub(super) spread: Duration,
    /// Between two orphan scans of the jobs behind an endpoint.
    pub(super) orphan_scan_interval: Duration,
    /// Between two ticks of the timer.
    pub(super) period: Duration,
    /// Faults end when this is over and every event is delivered.
    pub(super) fault_period: Duration,
    /// Places are swept, with each tick.
    pub(super) sweeps: bool,
    /// URLs of files that fail whatever job reads them.
    pub(super) bad: BadFiles,
    /// Versions of which nothing may come: their events were lost, and they were overwritten or deleted before a sweep.
    pub(super) unseen: BTreeSet<(String, String)>,
}

impl Plan {
    /// Draws a plan for so many uploads and at most so many processes.
    pub(super) fn draw(rng: &Rng, dice: &mut Dice, events: usize, processes: usize) -> Self {
        let mut draw = rng.fork(10);
        let skewed = dice.likes(Kind::Skew);
        let publishes = rng.fork(14).chance(publish_places::CHANCE);
        let (mut written, endpoints) = drawn_rules(&mut draw, skewed, publishes);
        let mut uploads: Vec<Upload> = (0..events).map(|n| drawn_upload(&mut draw, dice, n)).collect();
        keep_renamed_ones_apart(&mut uploads);
        let mut times: Vec<Duration> = uploads.iter().map(|_| draw.seconds(0, 30)).collect();
        if draw.chance(500) {
            for at in &mut times {
                *at *= 20;
            }
        }
        let each = |(upload, at): (&Upload, Duration)| {
            upload.events().into_iter().map(move |payload| Delivery { at, payload }).collect::<Vec<_>>()
        };
        let mut deliveries: Vec<Delivery> = uploads.iter().zip(times).flat_map(each).collect();
        disturb_deliveries(&mut deliveries, &uploads, dice);
        let input_changes = drawn_input_changes(&mut deliveries, &uploads, dice, &mut rng.fork(11));
        let most = processes.max(1);
        let processes = 1 + draw.index(most);
        let second = most > 1 && dice.strikes(Kind::SecondInstallation, 150);
        let installations = if second { 2 } else { 1 };
        let processes = processes.max(installations);
        let switched = dice.strikes(Kind::DefaultSwitched, 300);
        let default_switched = switched.then(|| dice.stream(Kind::DefaultSwitched).seconds(0, 900));
        let skew = |stream: &mut Rng| {
            let drawn = i64::try_from(stream.below(2_001)).unwrap_or(0) - 1_000; // below 2001 it fits
            if skewed { drawn * SKEW_SECONDS } else { 0 }
        };
        let skews: Vec<i64> = (0..processes).map(|_| skew(dice.stream(Kind::Skew))).collect();
        let spread = Duration::seconds(if skewed { 2 * SKEW_SECONDS } else { 0 });
        let period = Duration::seconds(draw.pick(&[30, 60, 60, 120]));
        let orphan_scan_interval = Duration::seconds(draw.pick(&[20, 60, 600, 1_800]));
        let fault_period = draw.seconds(300, 1_800);
        let tagged = tagged::draw(dice, fault_period);
        for upload in &tagged {
            let told = upload.deliveries(dice).into_iter();
            deliveries.extend(told.map(|(at, payload)| Delivery { at, payload }));
        }
        if !tagged.is_empty() {
            written.push(asking_for_tags(&written[0]));
        }
        with_deployments(&mut written, dice);
        let mut rules = rules_of(&written, &endpoints);
        let limit_changes = drawn_limit_changes(&mut draw, &rules, fault_period);
        let (tells_of_outputs, mut rules_changes) = (dice.likes(Kind::OwnOutputs), Vec::new());
        if tells_of_outputs {
            (rules, rules_changes) = output_places::draw(&rules, &mut rng.fork(12), fault_period);
        }
        if dice.strikes(Kind::RulesRemoved, 150) {
            rules_changes = rules_changes::with_a_removal(&rules, &rules_changes, &mut rng.fork(13), fault_period);
        }
        if publishes {
            (rules, rules_changes) = publish_places::draw(rules, rules_changes, &mut rng.fork(15));
        }
        Self {
            rules,
            rules_changes,
            tells_of_outputs,
            uploads,
            tagged,
            deliveries,
            limit_changes,
            input_changes,
            default_switched,
            installations,
            skews,
            spread,
            orphan_scan_interval,
            period,
            fault_period,
            sweeps: false,
            bad: BadFiles::default(),
            unseen: BTreeSet::new(),
        }
    }

    /// A plan for a script: one rule, one process, a clock that is right, some uploads, each delivered some times.
    pub(super) fn scripted(uploads: usize, times: usize, max_attempts: u32, max_in_flight: Option<u32>) -> Self {
        let mut rule = json!({
            "id": "one",
            "match": { "container": CONTAINERS[0] },
            "endpoint": { "uri": "https://heart.example/jobs" },
            "maxAttempts": max_attempts,
        });
        if let Some(max) = max_in_flight {
            rule["maxInFlight"] = json!(max);
        }
        let upload = |n| Upload {
            container: CONTAINERS[0],
            path: format!("{n}.csv"),
            etag: "1".to_owned(),
            arrival: Arrival::Written,
        };
        let uploads: Vec<Upload> = (0..uploads).map(upload).collect();
        let each = |again: usize| {
            let at = Duration::seconds(i64::try_from(again).unwrap_or(0) * 20); // a few
            uploads.iter().flat_map(Upload::events).map(move |payload| Delivery { at, payload })
        };
        let deliveries = (0..times).flat_map(each).collect();
        Self {
            rules: rules_of(&[rule], &[]),
            rules_changes: Vec::new(),
            tells_of_outputs: false,
            deliveries,
            limit_changes: Vec::new(),
            input_changes: Vec::new(),
            uploads,
            tagged: Vec::new(),
            default_switched: None,
            installations: 1,
            skews: vec![0],
            spread: Duration::ZERO,
            orphan_scan_interval: Duration::minutes(10),
            period: Duration::minutes(2),
            fault_period: Duration::ZERO,
            sweeps: false,
            bad: BadFiles::default(),
            unseen: BTreeSet::new(),
        }
    }

    /// The same for files of one group each, of which these are bad.
    pub(super) fn scripted_group(files: usize, bad: impl Fn(&str) -> BadFiles) -> Self {
        let rule = json!({
            "id": "one", "match": { "container": CONTAINERS[0] }, "endpoint": { "uri": "https://heart.example/jobs" },
            "maxAttempts": 2, "group": { "by": "time", "maxFiles": 1_000 },
        });
        let plan = Self::scripted(files, 1, 2, None);
        let folder = account::url(CONTAINERS[0], "");
        Self { rules: rules_of(&[rule], &[]), bad: bad(&folder), ..plan }
    }

    /// A plan for bad inputs: two rules on one deployment, four jobs at a time each, a hundred uploads of five senders. The
    /// second: the paths of the ten that are bad, of one sender and at the beginning, or anywhere.
    pub(super) fn poisoned(rng: &Rng, poison: Poison) -> (Self, BTreeSet<String>) {
        let mut draw = rng.fork(11);
        let rule = |id: &str, container: &str| {
            json!({
                "id": id, "match": { "container": container }, "maxInFlight": 4, "pollInterval": "PT30S",
                "endpoint": { "uri": "https://heart.example/jobs", "deployment": "v7" },
            })
        };
        let mut first = rule("one", CONTAINERS[0]);
        if poison == Poison::BrokenShadow {
            first["endpoint"]["shadow"] = json!("v8");
        }
        let together = draw.chance(500) || poison == Poison::OneSender;
        let uploads: Vec<Upload> = (0..100)
            .map(|n| Upload {
                container: CONTAINERS[if together && n < 10 { 0 } else { draw.index(2) }],
                path: format!("{}/{n}.csv", if together && n < 10 { 0 } else { draw.below(5) }),
                etag: "1".to_owned(),
                arrival: Arrival::Written,
            })
            .collect();
        let bad = (0..10).map(|n| if together { n } else { 10 * n + draw.index(10) });
        let bad = bad.map(|n| uploads[n].path.clone()).collect();
        let deliveries = (0_i64..)
            .zip(&uploads)
            .flat_map(|(n, upload)| upload.events().into_iter().map(move |event| (n, event)))
            .map(|(n, payload)| {
                let alone = if poison == Poison::OneSender && n >= 10 { Duration::minutes(2) } else { Duration::ZERO };
                Delivery { at: Duration::seconds(6 * n) + alone, payload }
            })
            .collect();
        let endpoints = match poison {
            Poison::OneSender => {
                vec![json!({ "uri": "https://heart.example/jobs", "breaker": { "failures": 6, "pause": "PT30M" } })]
            }
            _ => Vec::new(),
        };
        let plan = Self {
            rules: rules_of(&[first, rule("two", CONTAINERS[1])], &endpoints),
            rules_changes: Vec::new(),
            tells_of_outputs: false,
            deliveries,
            uploads,
            tagged: Vec::new(),
            limit_changes: Vec::new(),
            input_changes: Vec::new(),
            default_switched: None,
            installations: 1,
            skews: vec![0, 0],
            spread: Duration::ZERO,
            orphan_scan_interval: Duration::minutes(10),
            period: Duration::minutes(1),
            fault_period: Duration::ZERO,
            sweeps: false,
            bad: BadFiles::default(),
            unseen: BTreeSet::new(),
        };
        (plan, bad)
    }

    /// A plan for exact paths: so many blobs of one rule, each in so many versions that come in any order, two processes, and half an
    /// hour in which things go wrong.
    pub(super) fn published(rng: &Rng, blobs: usize, versions: usize, shadow: Option<&str>) -> Self {
        let mut draw = rng.fork(16);
        let mut rule = json!({
            "id": "one", "match": { "container": CONTAINERS[0] }, "pollInterval": "PT30S", "outputTimeout": "PT2M",
            "endpoint": { "uri": "https://heart.example/jobs" },
            "outputs": { "score": { "type": "UriFile",
                "uri": "azureml://datastores/workspaceblobstore/paths/scores/{scoring.id}/{attempt}/p.csv",
                "publish": { "uri": "azureml://datastores/workspaceblobstore/paths/published/{blob.path}" } } },
        });
        if let Some(shadow) = shadow {
            rule["endpoint"]["shadow"] = json!(shadow);
        }
        let upload = |n: usize| Upload {
            container: CONTAINERS[0],
            path: format!("{}.csv", n % blobs),
            etag: format!("{:02}", n / blobs + 1),
            arrival: Arrival::Written,
        };
        let uploads: Vec<Upload> = (0..blobs * versions).map(upload).collect();
        let each = |upload: &Upload| {
            let at = draw.seconds(0, 1_500);
            upload.events().into_iter().map(move |payload| Delivery { at, payload }).collect::<Vec<_>>()
        };
        Self {
            rules: rules_of(&[rule], &[]),
            rules_changes: Vec::new(),
            tells_of_outputs: true,
            deliveries: uploads.iter().flat_map(each).collect(),
            uploads,
            tagged: Vec::new(),
            limit_changes: Vec::new(),
            input_changes: Vec::new(),
            default_switched: None,
            installations: 1,
            skews: vec![0, 0],
            spread: Duration::ZERO,
            orphan_scan_interval: Duration::minutes(10),
            period: Duration::minutes(1),
            fault_period: Duration::minutes(30),
            sweeps: false,
            bad: BadFiles::default(),
            unseen: BTreeSet::new(),
        }
    }

    /// A plan for sweeps: so many blobs of one rule, some overwritten and some deleted, two processes, and half an hour in which things
    /// One rule, two processes whose clocks are right, and half an hour in which things go wrong.
    fn of_two_processes(
        rule: Value,
        uploads: Vec<Upload>,
        deliveries: Vec<Delivery>,
        input_changes: Vec<ChangeAt>,
    ) -> Self {
        Self {
            rules: rules_of(&[rule], &[]),
            rules_changes: Vec::new(),
            tells_of_outputs: false,
            deliveries,
            uploads,
            tagged: Vec::new(),
            limit_changes: Vec::new(),
            input_changes,
            default_switched: None,
            installations: 1,
            skews: vec![0, 0],
            spread: Duration::ZERO,
            orphan_scan_interval: Duration::minutes(10),
            period: Duration::minutes(1),
            fault_period: Duration::minutes(30),
            sweeps: false,
            bad: BadFiles::default(),
            unseen: BTreeSet::new(),
        }
    }

    /// A plan for groups: so many files of one rule that groups them by folder or time, some of which fail, are overwritten or deleted
    /// before, while or after they are copied; two processes, and half an hour in which things go wrong.
    pub(super) fn grouped(rng: &Rng, files: usize) -> Self {
        let mut draw = rng.fork(18);
        let by: &str = draw.pick(&["folder", "marker", "time"]);
        let group = json!({
            "by": by, "maxFiles": draw.pick(&[3, 5, 100]), "maxWait": draw.pick(&["PT1M", "PT5M", "PT10M"]),
        });
        let rule = json!({
            "id": "one", "match": { "container": CONTAINERS[0] }, "pollInterval": "PT30S", "outputTimeout": "PT2M",
            "endpoint": { "uri": "https://heart.example/jobs" }, "maxInFlight": draw.pick(&[2, 1_000]), "group": group,
            // What is stuck ends while somebody looks.
            "jobTimeout": "PT15M", "submitDeadline": "PT1H", "lookupInterval": "PT30S", "resubmitAfter": "PT5M",
        });
        let (mut uploads, mut deliveries, mut input_changes) = (Vec::new(), Vec::new(), Vec::new());
        let mut bad = BadFiles::default();
        for folder in 0..3 {
            let url = account::url(CONTAINERS[0], &format!("{folder}/_SUCCESS"));
            let change = InputChange::Put { etag: format!("whole{folder}"), content: 0, has_md5: true };
            input_changes.push(ChangeAt { at: draw.seconds(0, 900), url, change });
        }
        for n in 0..files {
            let upload = |version: usize| Upload {
                container: CONTAINERS[0],
                path: format!("{}/{n}.csv", n % 3),
                etag: format!("{n}v{version}"),
                arrival: Arrival::Written,
            };
            if draw.chance(80) {
                bad.failing.insert(upload(1).url(), if draw.chance(400) { TOO_LARGE } else { BAD_FILE });
            }
            if draw.chance(30) {
                let right = draw.chance(300);
                let kind = if right { RefusalKind::MayNotReadSource } else { RefusalKind::SourceNotCopied };
                bad.not_copied.insert(upload(1).url(), kind);
            }
            if draw.chance(30) {
                bad.not_named.insert(upload(1).url());
            }
            let versions = if draw.chance(100) { 2 } else { 1 };
            let is_deleted = draw.chance(60);
            let mut at = draw.seconds(0, 900);
            for version in 1..=versions {
                let upload = upload(version);
                let content = u64::try_from(n * 10 + version).unwrap_or(0);
                let change = InputChange::Put { etag: upload.etag.clone(), content, has_md5: true };
                input_changes.push(ChangeAt { at, url: upload.url(), change });
                let told = at + draw.seconds(0, 90);
                deliveries.extend(upload.events().into_iter().map(|payload| Delivery { at: told, payload }));
                at += draw.seconds(10, 600);
                uploads.push(upload);
            }
            if is_deleted {
                input_changes.push(ChangeAt { at, url: upload(versions).url(), change: InputChange::Delete });
            }
        }
        let plan = Self::of_two_processes(rule, uploads, deliveries, input_changes);
        let mut rules_changes = Vec::new();
        if draw.chance(200) {
            // Deployed without `group` for some time, while groups are open.
            let from = draw.seconds(0, 1_500);
            let alone = plan.rules.clone().changed(|rule| rule.group = None);
            rules_changes.push(RulesChange { at: from, rules: alone, without: None });
            let until = from + draw.seconds(60, 1_200);
            rules_changes.push(RulesChange { at: until, rules: plan.rules.clone(), without: None });
        }
        Self { rules_changes, bad, ..plan }
    }

    /// So many blobs of which sweeps learn what no event told, whatever else goes wrong; of a thousand events so many are lost, and as many come twice.
    pub(super) fn swept(rng: &Rng, blobs: usize, lost: u64) -> Self {
        let mut draw = rng.fork(17);
        let rule = json!({
            "id": "one", "match": { "container": CONTAINERS[0] }, "pollInterval": "PT30S", "outputTimeout": "PT2M",
            "endpoint": { "uri": "https://heart.example/jobs" }, "maxInFlight": draw.pick(&[3, 1_000]),
            "overwrites": draw.pick(&["newVersion", "latestOnly"]), "sweep": "PT5M", "sweepAfter": "PT1M",
            // What is stuck ends while somebody looks.
            "jobTimeout": "PT15M", "submitDeadline": "PT1H", "lookupInterval": "PT30S", "resubmitAfter": "PT5M",
        });
        let (mut uploads, mut deliveries) = (Vec::new(), Vec::new());
        let (mut input_changes, mut unseen) = (Vec::new(), BTreeSet::new());
        for n in 0..blobs {
            let upload = |version: usize| Upload {
                container: CONTAINERS[0],
                path: format!("{}/{n}.csv", n % 3),
                etag: format!("{n}v{version}"),
                arrival: Arrival::Written,
            };
            let versions = if draw.chance(200) { 2 } else { 1 };
            let is_deleted = draw.chance(100);
            let mut at = draw.seconds(300, 1_200);
            for version in 1..=versions {
                let upload = upload(version);
                let content = u64::try_from(n * 10 + version).unwrap_or(0);
                let change = InputChange::Put { etag: upload.etag.clone(), content, has_md5: true };
                input_changes.push(ChangeAt { at, url: upload.url(), change });
                let told = if draw.chance(lost) { 0 } else { 1 + usize::from(draw.chance(lost)) };
                for _ in 0..told {
                    let at = at + draw.seconds(0, 90);
                    deliveries.extend(upload.events().into_iter().map(|payload| Delivery { at, payload }));
                }
                if told == 0 && (is_deleted || version < versions) {
                    unseen.insert((upload.url(), upload.etag.clone()));
                }
                at += draw.seconds(10, 300);
                uploads.push(upload);
            }
            if is_deleted {
                input_changes.push(ChangeAt { at, url: upload(versions).url(), change: InputChange::Delete });
            }
        }
        Self { sweeps: true, unseen, ..Self::of_two_processes(rule, uploads, deliveries, input_changes) }
    }

    /// When a version was written.
    pub(super) fn written(&self, url: &str, etag: &str) -> Option<Duration> {
        let is_it = |change: &&ChangeAt| {
            change.url == url && matches!(&change.change, InputChange::Put { etag: put, .. } if put == etag)
        };
        self.input_changes.iter().find(is_it).map(|change| change.at)
    }

    /// Container and path of the uploads whose names a URL can be misread as another one.
    pub(super) fn oddly_named(&self) -> impl Iterator<Item = (&'static str, String)> {
        let odd = self.uploads.iter().filter(|upload| upload.arrival == Arrival::OddlyNamed);
        odd.map(|upload| (upload.container, upload.path.clone()))
    }

    /// Every scoring that these uploads must become, with a name for people. Its id is the ledger's to say.
    pub(super) fn expected(&self) -> BTreeMap<ScoredVersion, String> {
        let mut all = BTreeMap::new();
        for upload in &self.uploads {
            let Ok(blob) = BlobVersion::read(&upload.url(), &upload.etag) else { continue };
            for rule in self.rules.iter().filter(|rule| rule.refuses(&blob).is_none()) {
                if self.unseen.contains(&(blob.url.clone(), blob.etag.clone())) {
                    continue;
                }
                let name = format!("{}@{}/{}", upload.path, upload.etag, rule.id);
                all.insert((rule.id.clone(), blob.url.clone(), blob.etag.clone()), name);
            }
        }
        for upload in self.tagged.iter().filter(|upload| upload.is_wanted()) {
            let (url, etag) = upload.version();
            for rule in self.rules.iter().filter(|rule| is_tagged(rule)) {
                all.insert((rule.id.clone(), url.clone(), etag.to_owned()), format!("{url}@{etag}/{}", rule.id));
            }
        }
        all
    }

    /// URLs of uploads that no rule wants, whoever asks and whenever.
    pub(super) fn never_wanted(&self) -> BTreeSet<String> {
        self.tagged.iter().filter(|upload| upload.is_never_wanted()).map(Tagged::url).collect()
    }

    /// Every blob that there ever was, by its URL.
    pub(super) fn urls(&self) -> BTreeSet<String> {
        let blobs = self.uploads.iter().map(|upload| BlobVersion::read(&upload.url(), &upload.etag));
        blobs.filter_map(|blob| Some(blob.ok()?.url)).chain(self.tagged.iter().map(Tagged::url)).collect()
    }

    /// The uploads whose names a delivery has in it, wherever.
    pub(super) fn told_by(&self, delivery: usize) -> impl Iterator<Item = &Upload> {
        let told = self.deliveries[delivery].payload.to_string();
        self.uploads.iter().filter(move |upload| told.contains(&upload.path))
    }

    /// The longest that anything about a request may take: how late one may be.
    pub(super) fn latest(&self) -> Duration {
        let longest = self.rules.iter().map(|rule| rule.policy.resubmit_after.0).max().unwrap_or_default();
        longest + longest / 2
    }

    /// The clock's error of a process that begins anew.
    pub(super) fn skew_again(&self, dice: &mut Dice) -> i64 {
        if self.spread.is_zero() {
            return 0;
        }
        (i64::try_from(dice.stream(Kind::Skew).below(2_001)).unwrap_or(0) - 1_000) * SKEW_SECONDS
    }
}

fn rules_of(rules: &[Value], endpoints: &[Value]) -> Rules {
    let text = json!({ "rules": rules, "endpoints": endpoints }).to_string();
    Rules::read(&text).unwrap_or_else(|problems| unreachable!("the simulation's rules are good: {problems:?}"))
}
