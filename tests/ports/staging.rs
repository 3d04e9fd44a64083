//! What the port `Blobs` promises of members of groups: uploads are copied by their own URLs to a folder in their account, in the
//! versions that were named; copies are removed again; and of an output it is told which copies it names.

use std::collections::BTreeSet;

use app::ports::{NamedBy, PartPage};
use lifecycle::group::{Group, Grouping, staged_name, staging_folder};
use lifecycle::publication::{Refusal, RefusalKind};
use lifecycle::{
    Answer, BlobPlace, BlobVersion, CopySource, InputSnapshot, LedgerId, PublicationMark, Published, Scoring,
    ScoringId, WriteCondition,
};
use stores::fault::Fault;

use super::stage::{Ending, Stage, next_attempt};

/// Uploads of these many writes: one is copied in one call by the real adapter, the other in blocks.
const SIZES: [usize; 2] = [1, 9];

/// The container of copies, in the account of the uploads.
pub const STAGING: &str = "scorekeeper-staging";

/// A group, and the folder of its copies.
struct Scene<'a> {
    stage: &'a dyn Stage,
    group: Scoring,
}

fn ledger() -> LedgerId {
    LedgerId::of_random([1; 16])
}

/// The scoring of an upload.
fn member(stage: &dyn Stage, blob: &BlobVersion) -> Scoring {
    let rules = stage.rules();
    Scoring::accept(&ledger(), rules.iter().next().unwrap(), blob.clone(), stage.now())
}

impl<'a> Scene<'a> {
    /// Of the group of these uploads.
    fn of(stage: &'a dyn Stage, uploads: &[&BlobVersion]) -> Self {
        let members: Vec<ScoringId> = uploads.iter().map(|blob| member(stage, blob).id).collect();
        let rules = stage.rules();
        let rule = rules.iter().next().unwrap();
        let id = ScoringId::of_group(&ledger(), &rule.id, &members, stage.now());
        let folder = staging_folder(uploads[0], STAGING, &ledger(), &id).unwrap();
        let mut group = Scoring::accept(&ledger(), rule, folder, stage.now());
        group.id = id;
        group.grouping = Some(Box::new(Grouping::Group(Group::sealed(members, None))));
        Self { stage, group }
    }

    fn folder(&self) -> BlobPlace {
        BlobPlace::of_url(&*self.group.blob.url)
    }

    /// Where the copy of an upload belongs.
    fn place(&self, blob: &BlobVersion) -> BlobPlace {
        let name = staged_name(&member(self.stage, blob).id, &blob.path);
        BlobPlace::of_url(format!("{}/{name}", self.group.blob.url))
    }

    fn mark(&self, attempt: u32) -> PublicationMark {
        PublicationMark { attempt, ..PublicationMark::of(&ledger(), &self.group, "staged") }
    }

    async fn copy(&self, source: &CopySource, to: &BlobPlace) -> Published {
        let copied = self.stage.blobs().publish(source, to, &WriteCondition::Absent, &self.mark(1)).await;
        copied.unwrap().value
    }

    async fn etag(&self, at: &BlobPlace) -> Option<String> {
        self.stage.blobs().published(at).await.unwrap().map(|there| there.etag)
    }
}

/// Uploads a blob by so many writes.
fn upload(stage: &dyn Stage, path: &str, writes: usize) -> BlobVersion {
    (0..writes).map(|_| stage.write_input(path)).last().unwrap()
}

/// A version as it is copied: by its own URL.
async fn source(stage: &dyn Stage, blob: &BlobVersion) -> CopySource {
    let InputSnapshot::Present(seen) = stage.blobs().input(blob).await.unwrap() else {
        panic!("{} is there", blob.url)
    };
    CopySource { at: BlobPlace::of_url(&*blob.url), etag: blob.etag.clone(), len: seen.content.bytes }
}

fn etag_of(done: Published) -> String {
    match done {
        Published::Written { etag } => etag,
        other => panic!("{other:?}"),
    }
}

fn refusal(done: Published) -> Refusal {
    match done {
        Published::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

pub async fn an_upload_is_copied_by_its_url_and_a_copy_to_another_folder(stage: &dyn Stage) {
    for (n, writes) in SIZES.into_iter().enumerate() {
        let blob = upload(stage, &format!("a b#{n}.csv"), writes);
        let (whole, source) = (Scene::of(stage, &[&blob]), source(stage, &blob).await);
        let to = whole.place(&blob);
        assert_eq!(whole.etag(&to).await, None);
        let etag = etag_of(whole.copy(&source, &to).await);
        let there = stage.blobs().published(&to).await.unwrap().unwrap();
        assert_eq!((&there.etag, there.len, there.mark), (&etag, source.len, Some(whole.mark(1))));
        // What is listed can be copied as it is, whatever became of the upload: so halves of a group get their copies.
        stage.delete_input(&blob);
        let PartPage { mut parts, next: None } = stage.blobs().parts(&whole.folder(), None).await.unwrap() else {
            panic!("one blob is one page");
        };
        assert_eq!(parts, [CopySource { at: to, etag, len: source.len }]);
        stage.pass(time::Duration::MINUTE).await;
        let half = Scene::of(stage, &[&blob]);
        assert_ne!(half.group.id, whole.group.id);
        etag_of(half.copy(&parts.remove(0), &half.place(&blob)).await);
    }
}

pub async fn an_upload_that_changed_is_not_copied_by_its_url(stage: &dyn Stage) {
    for (n, writes) in SIZES.into_iter().enumerate() {
        let blob = upload(stage, &format!("{n}.csv"), writes);
        let (scene, before) = (Scene::of(stage, &[&blob]), source(stage, &blob).await);
        let to = scene.place(&blob);
        stage.mark_input(&blob);
        assert_eq!(scene.copy(&before, &to).await, Published::SourceChanged, "its metadata changed");
        let second = upload(stage, &format!("{n}.csv"), 1);
        assert_eq!(scene.copy(&before, &to).await, Published::SourceChanged, "another content");
        let now = source(stage, &second).await;
        stage.delete_input(&second);
        assert_eq!(scene.copy(&now, &to).await, Published::SourceChanged, "it is gone");
        assert_eq!(scene.etag(&to).await, None);
    }
}

pub async fn nothing_is_copied_over_a_copy_that_lies_there(stage: &dyn Stage) {
    for (n, writes) in SIZES.into_iter().enumerate() {
        let blob = upload(stage, &format!("{n}.csv"), writes);
        let (scene, source) = (Scene::of(stage, &[&blob]), source(stage, &blob).await);
        let to = scene.place(&blob);
        let first = etag_of(scene.copy(&source, &to).await);
        let again = stage.blobs().publish(&source, &to, &WriteCondition::Absent, &scene.mark(2)).await;
        assert_eq!(again.unwrap().value, Published::DestinationChanged);
        let there = stage.blobs().published(&to).await.unwrap().unwrap();
        assert_eq!((there.etag, there.mark), (first, Some(scene.mark(1))), "the look tells whose it is");
    }
}

pub async fn what_the_storage_does_not_copy_is_refused_and_others_are_copied(stage: &dyn Stage) {
    for (n, writes) in SIZES.into_iter().enumerate() {
        let [bad, good] = ["bad", "good"].map(|name| upload(stage, &format!("{name}-{n}.csv"), writes));
        stage.refuse_to_copy(&bad);
        let scene = Scene::of(stage, &[&bad, &good]);
        let refused = refusal(scene.copy(&source(stage, &bad).await, &scene.place(&bad)).await);
        assert_eq!(refused.kind, RefusalKind::SourceNotCopied, "{}", refused.text);
        assert!(refused.text.contains("409"), "{}", refused.text);
        assert_eq!(scene.etag(&scene.place(&bad)).await, None);
        etag_of(scene.copy(&source(stage, &good).await, &scene.place(&good)).await);
    }
}

pub async fn a_copy_that_may_not_be_written_is_refused_and_one_without_an_answer_is_an_error(stage: &dyn Stage) {
    let blob = upload(stage, "a.csv", 1);
    let (scene, source) = (Scene::of(stage, &[&blob]), source(stage, &blob).await);
    let to = scene.place(&blob);
    stage.next_write(Fault::Refused { permanent: false });
    assert_eq!(refusal(scene.copy(&source, &to).await).kind, RefusalKind::MayNotWrite);
    stage.next_write(Fault::LostRequest);
    assert!(stage.blobs().publish(&source, &to, &WriteCondition::Absent, &scene.mark(1)).await.is_err());
    assert_eq!(scene.etag(&to).await, None, "it was sent once");
    stage.next_write(Fault::LostAnswer { times: 1 });
    assert!(stage.blobs().publish(&source, &to, &WriteCondition::Absent, &scene.mark(1)).await.is_err());
    assert!(scene.etag(&to).await.is_some(), "it was written");
}

pub async fn a_copy_is_removed_in_the_version_that_was_seen_and_in_no_other(stage: &dyn Stage) {
    let blob = upload(stage, "a.csv", 1);
    let (scene, source) = (Scene::of(stage, &[&blob]), source(stage, &blob).await);
    let to = scene.place(&blob);
    let first = etag_of(scene.copy(&source, &to).await);
    let over = WriteCondition::Unchanged(first.clone());
    let second = stage.blobs().publish(&source, &to, &over, &scene.mark(2)).await.unwrap().value;
    let second = etag_of(second);
    assert_eq!(stage.blobs().remove(&to, &first).await, Ok(()), "another version is no error");
    assert_eq!(scene.etag(&to).await.as_ref(), Some(&second), "and stays");
    for what in ["it is removed", "that it is gone is no error"] {
        assert_eq!(stage.blobs().remove(&to, &second).await, Ok(()), "{what}");
        assert_eq!(scene.etag(&to).await, None, "{what}");
    }
    assert_eq!(stage.blobs().parts(&scene.folder(), None).await, Ok(PartPage::default()));
    // The path is free again.
    etag_of(scene.copy(&source, &to).await);
}

pub async fn a_removal_that_is_not_allowed_is_an_error(stage: &dyn Stage) {
    let blob = upload(stage, "a.csv", 1);
    let scene = Scene::of(stage, &[&blob]);
    let etag = etag_of(scene.copy(&source(stage, &blob).await, &scene.place(&blob)).await);
    stage.deny_lookups();
    assert!(stage.blobs().remove(&scene.place(&blob), &etag).await.is_err());
}

pub async fn of_the_output_of_a_group_it_is_told_which_copies_it_names(stage: &dyn Stage) {
    let uploads = ["a.csv", "b.csv", "c.csv"].map(|path| upload(stage, path, 2));
    let mut scene = Scene::of(stage, &uploads.each_ref());
    let [a, b, c] = uploads.each_ref().map(|blob| member(stage, blob).id);
    // One of them was never copied.
    for blob in &uploads[..2] {
        etag_of(scene.copy(&source(stage, blob).await, &scene.place(blob)).await);
    }
    next_attempt(stage, &mut scene.group, Ending::Scored).await;
    let asked = BTreeSet::from([a.clone(), b.clone(), c]);
    let named = async |group: &Scoring, asked: &BTreeSet<ScoringId>| {
        stage.blobs().named_in_outputs(group, asked, NamedBy::Text).await
    };
    assert_eq!(named(&scene.group, &asked).await, Ok(BTreeSet::new()), "nothing is there yet");
    let answer = stage.endpoint().submit(&scene.group, std::time::Duration::from_secs(20)).await.value;
    let Answer::Accepted { job, .. } = answer else { panic!("{answer:?}") };
    scene.group.job = Some(job);
    stage.finish().await;
    assert_eq!(named(&scene.group, &asked).await, Ok(BTreeSet::from([a.clone(), b])));
    let one = BTreeSet::from([a]);
    assert_eq!(named(&scene.group, &one).await, Ok(one.clone()), "of those that were asked for");
    stage.deny_lookups();
    assert!(named(&scene.group, &one).await.is_err(), "what cannot be read names nobody, and that is no answer");
}
