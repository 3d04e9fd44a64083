//! Whether files that share a job can be copied to their folder: proved by a copy, made and removed as the app makes and removes those
//! of groups.
//!
//! One for each pair of account and staging container, and none where no rule groups. Copied is the smallest upload of the place that a
//! rule watches, as it is the reading of uploads that is to be proved; a file of our own where nothing lies there. It lies below the
//! ledger's id, as all copies do, by which it never triggers.

use std::collections::BTreeMap;

use app::ledger::Ledger;
use app::ports::{Answered, Blobs, Inconclusive, MAX_PAGE};
use lifecycle::digest::digest;
use lifecycle::group::{staged_name, staging_folder};
use lifecycle::pending::{BlobKind, CopyState};
use lifecycle::publication::{PublicationOrder, Refusal, RefusalKind};
use lifecycle::text::error_chain;
use lifecycle::{
    BlobPlace, BlobPrefix, BlobVersion, CopySource, LedgerId, PublicationMark, Published, Rule, ScoringId,
    UnversionedBlob, WriteCondition,
};
use time::OffsetDateTime;

use crate::access::Permission;
use crate::examination::Examination;
use crate::finding::{Check, Finding};
use crate::permissions::WRITE_BLOBS;
use crate::remedy::{deploy_or_ask, shell};
use crate::storage::ContainerName;
use app::ports::management::{Audience, QueryError};

const CHECK: Check = Check::Staging;
/// What the mark of a probe names in place of an output.
const PROBE: &str = "doctor";
/// The largest upload that is copied for a probe, in bytes: within an account that is a moment.
const MAX_STAGED_BYTES: u64 = 64 << 20;

/// With what a copy is tried.
pub(super) struct Copying<'a> {
    /// The storage, as the app itself.
    pub(super) blobs: &'a dyn Blobs,
    /// The ledger whose copies lie there; `None`: it cannot be opened.
    pub(super) ledger: Option<Ledger>,
    /// When the probe is made: its group's id, and so its folder, comes from it.
    pub(super) now: OffsetDateTime,
}

/// What the probe has copied: says how much it proves.
enum Copied {
    Upload(String),
    /// A file of our own: no upload lies there that could be.
    Own,
}

/// How the probe ended that makes a copy and removes it.
enum Probe {
    Passed(Copied),
    Refused(Refusal),
    /// Something was written meanwhile where it was read or written.
    Disturbed,
    /// The copy is there, and stays.
    NotRemoved {
        url: String,
        why: QueryError,
    },
    /// Whether the copy can be made cannot be told; what a look found of it was removed.
    Unknown {
        url: String,
        why: QueryError,
    },
}

impl Examination {
    /// One finding for each pair of account and staging container. `copying` is absent where a copy would prove nothing of the app.
    pub(super) async fn staging(&self, copying: Option<Copying<'_>>) -> Vec<Finding> {
        let (mut pairs, mut findings) = (BTreeMap::new(), Vec::new());
        for (rule, group) in self.at.rules.iter().filter_map(|rule| Some((rule, rule.group.as_ref()?))) {
            let accounts = self.at.storage_hosts.watched(rule.matches.account.as_ref());
            if accounts.is_empty() {
                let seen = "the rule groups files of any account, so there is none to look at";
                let unknown = Finding::unknown(CHECK, seen, "name the account in match.account");
                findings.push(unknown.about(format!("rule {}", rule.id)));
            }
            for account in accounts {
                pairs.entry((account, group.staging.to_string())).or_insert(rule);
            }
        }
        if pairs.is_empty() && findings.is_empty() {
            return vec![Finding::ok(CHECK, "no rule groups files")];
        }
        for ((base, staging), rule) in pairs {
            let url = format!("{base}/{staging}");
            let account = UnversionedBlob::read(&format!("{url}/-")).map(|blob| blob.account).unwrap_or(base);
            let place = ContainerName { account: &account, container: &staging };
            let finding = match &copying {
                Some(copying) => self.copy_to(place, &url, rule, copying).await,
                None => self.may_stage(place).await,
            };
            findings.push(finding.about(format!("copies in {account}/{staging}")));
        }
        findings
    }

    /// Whether the app may write copies there, by its roles alone: nothing is tried.
    async fn may_stage(&self, ContainerName { account, container }: ContainerName<'_>) -> Finding {
        match self.app_may(account, |account| account.container(container), WRITE_BLOBS).await {
            Permission::Yes => Finding::ok(CHECK, format!("the app may write to {account}/{container}")),
            Permission::No => self.may_not_write(
                ContainerName { account, container },
                format!("the app's identity has no role that writes to {account}/{container}"),
            ),
            Permission::Unknown(why) => Finding::unknown(
                CHECK,
                format!("whether the app may write to {account}/{container} is not known: {why}"),
                "--app, and the role Reader on the function app and on the storage account for whoever looks",
            ),
        }
    }

    fn may_not_write(&self, ContainerName { account, container }: ContainerName<'_>, seen: String) -> Finding {
        Finding::fault(
            CHECK,
            seen,
            "no file of the rule is copied, so its groups wait and nothing is scored",
            deploy_or_ask(
                &format!("{} among watchedAccounts, and the rule that groups in its rules", shell(account)),
                "Storage Blob Data Contributor",
                format_args!("the app's identity {}", self.subject.assignee),
                format_args!("the container {account}/{container}"),
            ),
        )
    }

    async fn copy_to(&self, place: ContainerName<'_>, url: &str, rule: &Rule, copying: &Copying<'_>) -> Finding {
        if let Some(reason) = self.no_token_reason(Audience::Storage) {
            return Finding::skipped(CHECK, reason);
        }
        let no_ledger = || Finding::skipped(CHECK, "the ledger, below whose id copies lie, cannot be read");
        let Some(ledger) = &copying.ledger else { return no_ledger() };
        let id = self.queries.in_time(async {
            ledger.id().await.map_err(|why| Inconclusive::unfinished("the ledger's id").caused_by(why).into())
        });
        let Ok(ledger) = id.await else { return no_ledger() };
        match self.probe(url, rule, ledger, copying).await {
            Err(why) => Finding::unknown(CHECK, error_chain(&why), "run it again"),
            Ok(probe) => self.judge_copy(place, probe),
        }
    }

    /// Makes a copy and removes it. The error: no such place can be named.
    async fn probe(
        &self,
        staging: &str,
        rule: &Rule,
        ledger: &LedgerId,
        Copying { blobs, now, .. }: &Copying<'_>,
    ) -> Result<Probe, lifecycle::blob::InvalidBlob> {
        let (base, container) = staging.rsplit_once('/').unwrap_or((staging, ""));
        let id = ScoringId::of_group(ledger, &rule.id, [], *now);
        let folder = staging_folder(&BlobVersion::read(&format!("{staging}/{PROBE}"), PROBE)?, container, ledger, &id)?;
        let order =
            PublicationOrder { blob: digest(&[&folder.url]), generation: 0, sequencer: None, accepted_at: *now };
        let mark = PublicationMark {
            ledger: ledger.clone(),
            scoring: id.clone(),
            output: PROBE.to_owned(),
            attempt: 1,
            order,
        };
        let uploads = BlobPrefix::new(base, &rule.matches.container, &rule.matches.prefix)?;
        let upload = self.smallest(*blobs, &uploads).await;
        let (copied, source, own) = if let Some((path, source)) = upload {
            (Copied::Upload(path), source, None)
        } else {
            let at = BlobPlace::of_url(format!("{}/{PROBE}.json", folder.url));
            let body = format!("{{\"note\": \"written by scorekeeper {PROBE}; may be deleted\"}}").into_bytes();
            let len = body.len() as u64;
            match self.sent(blobs.write_manifest(&at, body, &WriteCondition::Absent, &mark)).await {
                Ok(Published::Written { etag }) => {
                    let source = CopySource { at, etag, len };
                    (Copied::Own, source.clone(), Some(source))
                }
                other => return Ok(self.unwritten(*blobs, &at, other).await),
            }
        };
        let to = BlobPlace::of_url(format!("{}/{}", folder.url, staged_name(&id, &source.at.uri)));
        let tried = match self.sent(blobs.publish(&source, &to, &WriteCondition::Absent, &mark)).await {
            Ok(Published::Written { etag }) => match self.sent_removal(*blobs, &to, &etag).await {
                Ok(()) => Probe::Passed(copied),
                Err(why) => Probe::NotRemoved { url: to.uri, why },
            },
            other => self.unwritten(*blobs, &to, other).await,
        };
        if let Some(own) = own
            && let Err(why) = self.sent_removal(*blobs, &own.at, &own.etag).await
            && matches!(tried, Probe::Passed(_))
        {
            return Ok(Probe::NotRemoved { url: own.at.uri, why });
        }
        Ok(tried)
    }

    /// What a write comes to that did not happen for certain; one that may have is taken away again.
    async fn unwritten(&self, blobs: &dyn Blobs, at: &BlobPlace, done: Result<Published, QueryError>) -> Probe {
        let why = match done {
            Ok(Published::Refused(refusal)) => return Probe::Refused(refusal),
            Ok(_) => return Probe::Disturbed,
            Err(why) => why,
        };
        let there = self.queries.in_time(async { Ok(blobs.published(at).await?) }).await;
        match there {
            Ok(Some(there)) => match self.sent_removal(blobs, at, &there.etag).await {
                Ok(()) => Probe::Unknown { url: at.uri.clone(), why },
                Err(why) => Probe::NotRemoved { url: at.uri.clone(), why },
            },
            Ok(None) | Err(_) => Probe::Unknown { url: at.uri.clone(), why },
        }
    }

    async fn sent(
        &self,
        write: impl Future<Output = Result<Answered<Published>, Inconclusive>>,
    ) -> Result<Published, QueryError> {
        self.queries.in_time(async { Ok(write.await?.value) }).await
    }

    async fn sent_removal(&self, blobs: &dyn Blobs, at: &BlobPlace, etag: &str) -> Result<(), QueryError> {
        self.queries.in_time(async { Ok(blobs.remove(at, etag).await?) }).await
    }

    /// The smallest upload of the first page that can be copied, with its path. `None` also where nobody may look: the check of the
    /// input says that.
    async fn smallest(&self, blobs: &dyn Blobs, uploads: &BlobPrefix) -> Option<(String, CopySource)> {
        let page = self.queries.in_time(async { Ok(blobs.list(uploads, None, MAX_PAGE).await?) }).await.ok()?;
        let can_be = |(_, shown): &&(String, lifecycle::BlobSnapshot)| {
            let is_whole = shown.kind == BlobKind::Block && shown.copy == CopyState::Whole;
            is_whole && !shown.is_folder && !shown.archived && (1..=MAX_STAGED_BYTES).contains(&shown.size)
        };
        let (path, shown) = page.blobs.iter().filter(can_be).min_by_key(|(_, shown)| shown.size)?;
        let at = BlobPlace::of_url(uploads.blob(path).ok()?.url);
        Some((path.clone(), CopySource { at, etag: shown.etag.trim_matches('"').to_owned(), len: shown.size }))
    }

    fn judge_copy(&self, place: ContainerName<'_>, probe: Probe) -> Finding {
        let ContainerName { account, container } = place;
        let waits = "no file of the rule is copied, so its groups wait and nothing is scored";
        match probe {
            Probe::Passed(Copied::Upload(path)) => Finding::ok(
                CHECK,
                format!("an upload, {path}, was copied to {account}/{container}, and the copy removed"),
            ),
            Probe::Passed(Copied::Own) => Finding::ok(
                CHECK,
                format!(
                    "a file of its own was copied in {account}/{container}, as no upload lies there yet, and removed"
                ),
            ),
            Probe::Refused(Refusal { kind: RefusalKind::MayNotWrite, text }) => self.may_not_write(place, text),
            Probe::Refused(Refusal { kind: RefusalKind::NoContainer, text }) => Finding::fault(
                CHECK,
                text,
                waits,
                format!(
                    "az storage container create --auth-mode login --account-name {} --name {}",
                    shell(account),
                    shell(container)
                ),
            ),
            Probe::Refused(Refusal { kind: RefusalKind::MayNotReadSource, text }) => Finding::fault(
                CHECK,
                text,
                "the storage that copies cannot read what it is to copy: files leave their groups and go alone, a job each",
                format!(
                    "{}; where the account has a firewall, let its own services in: az storage account update --name {} --bypass AzureServices",
                    deploy_or_ask(
                        &format!("{} among watchedAccounts", shell(account)),
                        "Storage Blob Data Reader",
                        format_args!("the app's identity {}", self.subject.assignee),
                        format_args!("the storage account {account}"),
                    ),
                    shell(account)
                ),
            ),
            Probe::Refused(Refusal { kind: RefusalKind::SourceNotCopied, text }) => Finding::unknown(
                CHECK,
                format!("{text}; such a file goes alone"),
                "run it again once another file lies there",
            ),
            Probe::Refused(Refusal { kind: RefusalKind::NotAsked, text }) => {
                Finding::fault(CHECK, text, waits, "correct match.account or group.staging of the rule")
            }
            Probe::Refused(Refusal { text, .. }) => {
                Finding::fault(CHECK, text, waits, "name another container in group.staging of the rule")
            }
            Probe::Disturbed => {
                Finding::unknown(CHECK, "something else was written there while it was copied", "run it again")
            }
            Probe::NotRemoved { url, why } => Finding::fault(
                CHECK,
                format!("a copy was made, {url}, and cannot be removed: {why}"),
                "copies of groups stay there, and are paid for",
                deploy_or_ask(
                    &format!("{} among watchedAccounts", shell(account)),
                    "Storage Blob Data Contributor",
                    format_args!("the app's identity {}", self.subject.assignee),
                    format_args!("the container {account}/{container}, and no immutability policy there"),
                ),
            ),
            Probe::Unknown { url, why } => {
                Finding::unknown(CHECK, format!("{why}; if {url} is there, remove it"), "run it again")
            }
        }
    }
}
