//! What the port `Blobs` promises of the places that results are published to.

use app::ports::{MAX_PAGE, PartPage};
use lifecycle::publication::RefusalKind;
use lifecycle::{BlobPlace, CopySource, LedgerId, PublicationMark, Published, PublishedBlob, Scoring, WriteCondition};
use stores::fault::Fault;

use super::stage::{Ending, Stage, scoring};

const FOLDER: &str = "azureml://datastores/workspaceblobstore/paths";

/// A place of this path, and a scoring whose result may go there.
struct Scene<'a> {
    stage: &'a dyn Stage,
    scoring: Scoring,
}

impl<'a> Scene<'a> {
    async fn of(stage: &'a dyn Stage) -> Self {
        Self { stage, scoring: scoring(stage, "a.csv", Ending::Absent).await }
    }

    fn place(&self, path: &str) -> BlobPlace {
        BlobPlace::of(&self.scoring, format!("{FOLDER}/{path}"))
    }

    /// Somebody writes a blob.
    fn put(&self, path: &str, bytes: usize) -> BlobPlace {
        let place = self.place(path);
        self.stage.place(&place.uri, bytes);
        place
    }

    async fn lying(&self, at: &BlobPlace) -> Option<PublishedBlob> {
        self.stage.blobs().published(at).await.unwrap()
    }

    /// What a copy is made of.
    async fn source(&self, path: &str, bytes: usize) -> CopySource {
        let at = self.put(path, bytes);
        let seen = self.lying(&at).await.unwrap();
        assert_eq!((seen.len, seen.mark), (bytes as u64, None));
        CopySource { at, etag: seen.etag, len: seen.len }
    }

    fn mark(&self, attempt: u32) -> PublicationMark {
        let mark = PublicationMark::of(&LedgerId::of_random([1; 16]), &self.scoring, "score");
        PublicationMark { attempt, ..mark }
    }

    async fn copy(&self, source: &CopySource, to: &BlobPlace, condition: &WriteCondition, attempt: u32) -> Published {
        self.stage.blobs().publish(source, to, condition, &self.mark(attempt)).await.unwrap().value
    }
}

fn etag_of(done: Published) -> String {
    match done {
        Published::Written { etag } => etag,
        other => panic!("{other:?}"),
    }
}

fn refused(done: Published) -> RefusalKind {
    match done {
        Published::Refused(refusal) => {
            assert!(refusal.text.contains("403"), "{}", refusal.text);
            refusal.kind
        }
        other => panic!("{other:?}"),
    }
}

pub async fn a_copy_is_whole_marked_and_known_by_the_etag_of_its_answer(stage: &dyn Stage) {
    let scene = Scene::of(stage).await;
    // As large as what is copied in several blocks, as large as none, and with a name that a URL must encode.
    for (n, bytes) in [(1, 7), (2, 41), (3, 0)] {
        let source = scene.source(&format!("out/ä #{n}.csv"), bytes).await;
        let to = scene.place(&format!("published/deep/ü &{n}.csv"));
        assert_eq!(scene.lying(&to).await, None);
        let named = stage.blobs().locate(&to).await.unwrap();
        assert!(named.path.ends_with(&format!("published/deep/ü &{n}.csv")), "as an event would name it: {named:?}");
        let etag = etag_of(scene.copy(&source, &to, &WriteCondition::Absent, 1).await);
        let seen = scene.lying(&to).await;
        assert_eq!(seen, Some(PublishedBlob { etag, len: bytes as u64, mark: Some(scene.mark(1)) }));
        assert_eq!(scene.lying(&source.at).await.map(|seen| seen.etag), Some(source.etag), "the source stays");
    }
}

pub async fn nothing_is_copied_over_what_should_not_be_there(stage: &dyn Stage) {
    let scene = Scene::of(stage).await;
    for bytes in [7, 41] {
        let source = scene.source("out/a.csv", bytes).await;
        let to = scene.put("published/a.csv", 3);
        let theirs = scene.lying(&to).await.unwrap();
        assert_eq!(scene.copy(&source, &to, &WriteCondition::Absent, 1).await, Published::DestinationChanged);
        assert_eq!(scene.lying(&to).await, Some(theirs), "nothing was touched");
    }
}

pub async fn of_two_copies_over_one_version_one_is_made(stage: &dyn Stage) {
    let scene = Scene::of(stage).await;
    for bytes in [7, 41] {
        let source = scene.source("out/a.csv", bytes).await;
        let to = scene.put("published/a.csv", 3);
        let theirs = WriteCondition::Unchanged(scene.lying(&to).await.unwrap().etag);
        let first = etag_of(scene.copy(&source, &to, &theirs, 1).await);
        assert_eq!(scene.copy(&source, &to, &theirs, 2).await, Published::DestinationChanged);
        assert_eq!(scene.lying(&to).await.unwrap().mark, Some(scene.mark(1)));
        let second = etag_of(scene.copy(&source, &to, &WriteCondition::Unchanged(first.clone()), 2).await);
        assert_ne!(first, second);
        assert_eq!(scene.lying(&to).await.unwrap().mark, Some(scene.mark(2)), "its own mark, and no other");
        let gone = scene.place("published/nothing.csv");
        let done = scene.copy(&source, &gone, &WriteCondition::Unchanged(second), 1).await;
        assert_eq!(done, Published::DestinationChanged, "what was there is gone");
    }
}

pub async fn another_version_of_the_source_is_not_copied(stage: &dyn Stage) {
    let scene = Scene::of(stage).await;
    let to = scene.place("published/a.csv");
    for bytes in [7, 41, 0] {
        let source = scene.source("out/a.csv", bytes).await;
        stage.pass(time::Duration::MINUTE).await;
        scene.put("out/a.csv", bytes + 1);
        assert_eq!(scene.copy(&source, &to, &WriteCondition::Absent, 1).await, Published::SourceChanged);
        let gone = CopySource { at: scene.place("out/nothing.csv"), ..source };
        assert_eq!(scene.copy(&gone, &to, &WriteCondition::Absent, 1).await, Published::SourceChanged);
        assert_eq!(scene.lying(&to).await, None);
    }
}

pub async fn a_write_without_an_answer_is_an_error_and_a_look_tells(stage: &dyn Stage) {
    let scene = Scene::of(stage).await;
    let source = scene.source("out/a.csv", 7).await;
    let to = scene.place("published/a.csv");
    stage.next_write(Fault::LostRequest);
    assert!(stage.blobs().publish(&source, &to, &WriteCondition::Absent, &scene.mark(1)).await.is_err());
    assert_eq!(scene.lying(&to).await, None, "it was sent once");
    stage.next_write(Fault::LostAnswer { times: 1 });
    assert!(stage.blobs().publish(&source, &to, &WriteCondition::Absent, &scene.mark(2)).await.is_err());
    assert_eq!(scene.lying(&to).await.unwrap().mark, Some(scene.mark(2)));
    let manifest = scene.place("published/manifest.json");
    stage.next_write(Fault::LostAnswer { times: 1 });
    let body = b"{}".to_vec();
    assert!(stage.blobs().write_manifest(&manifest, body, &WriteCondition::Absent, &scene.mark(3)).await.is_err());
    assert_eq!(scene.lying(&manifest).await.unwrap().mark, Some(scene.mark(3)));
}

pub async fn a_write_that_is_forbidden_is_refused_and_nothing_is_there(stage: &dyn Stage) {
    let scene = Scene::of(stage).await;
    let source = scene.source("out/a.csv", 7).await;
    let to = scene.place("published/a.csv");
    stage.next_write(Fault::Refused { permanent: false });
    assert_eq!(refused(scene.copy(&source, &to, &WriteCondition::Absent, 1).await), RefusalKind::MayNotWrite);
    stage.next_write(Fault::Refused { permanent: false });
    let done = stage.blobs().write_manifest(&to, b"{}".to_vec(), &WriteCondition::Absent, &scene.mark(1)).await;
    assert_eq!(refused(done.unwrap().value), RefusalKind::MayNotWrite);
    assert_eq!(scene.lying(&to).await, None);
}

pub async fn a_document_is_written_on_the_same_conditions(stage: &dyn Stage) {
    let scene = Scene::of(stage).await;
    let to = scene.place("published/manifest.json");
    let write = async |condition: &WriteCondition, attempt| {
        let body = b"{\"parts\":[]}".to_vec();
        stage.blobs().write_manifest(&to, body, condition, &scene.mark(attempt)).await.unwrap().value
    };
    let first = etag_of(write(&WriteCondition::Absent, 1).await);
    let seen = PublishedBlob { etag: first.clone(), len: 12, mark: Some(scene.mark(1)) };
    assert_eq!(scene.lying(&to).await, Some(seen));
    assert_eq!(write(&WriteCondition::Absent, 2).await, Published::DestinationChanged);
    let second = etag_of(write(&WriteCondition::Unchanged(first.clone()), 2).await);
    assert_eq!(write(&WriteCondition::Unchanged(first), 3).await, Published::DestinationChanged);
    assert_eq!(scene.lying(&to).await.map(|seen| (seen.etag, seen.mark)), Some((second, Some(scene.mark(2)))));
}

pub async fn what_lies_in_a_folder_is_listed_page_by_page_and_can_be_copied(stage: &dyn Stage) {
    let scene = Scene::of(stage).await;
    let count = MAX_PAGE + 2;
    for n in 0..count {
        scene.put(&format!("out/folder/{n:04}.csv"), 3);
    }
    scene.put("out/folder/z/ä #1.csv", 41);
    for neighbour in ["out/folder-2/a.csv", "out/folder.csv"] {
        scene.put(neighbour, 1);
    }
    for folder in ["out/folder", "out/folder/"] {
        let (mut parts, mut from, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = stage.blobs().parts(&scene.place(folder), from.as_deref()).await.unwrap();
            assert!(page.parts.len() <= MAX_PAGE);
            parts.extend(page.parts);
            pages += 1;
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!((parts.len(), pages), (count + 1, 2));
        let last = parts.pop().unwrap();
        assert_eq!(last.at, scene.place("out/folder/z/ä #1.csv"));
        assert_eq!(scene.lying(&last.at).await.map(|seen| (seen.etag, seen.len)), Some((last.etag.clone(), 41)));
        let to = scene.place(&format!("published/{folder}/1.csv"));
        let to = BlobPlace { uri: to.uri.replace("//1", "-/1"), ..to };
        etag_of(scene.copy(&last, &to, &WriteCondition::Absent, 1).await);
    }
    assert_eq!(stage.blobs().parts(&scene.place("out/nothing"), None).await, Ok(PartPage::default()));
}

pub async fn a_published_place_that_cannot_be_looked_at_is_an_error_and_never_none(stage: &dyn Stage) {
    let scene = Scene::of(stage).await;
    let place = scene.place("published/a.csv");
    stage.deny_lookups();
    assert!(stage.blobs().published(&place).await.is_err());
    assert!(stage.blobs().parts(&place, None).await.is_err());
}
