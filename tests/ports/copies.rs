//! What the Azure adapter alone promises of copies: they have the content type of their source, go on with the blocks that an
//! earlier try left, and a refusal says the same whichever way a copy is made. The fakes have no containers and no rights of their own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use app::ports::NamedBy;
use lifecycle::job::OutputKind;
use lifecycle::publication::{Refusal, RefusalKind};
use lifecycle::{BlobPlace, CopySource, LedgerId, PublicationMark, Published, Scoring, ScoringId, WriteCondition};

use super::stage::{Ending, Stage as _, scoring};
use super::stages::{Azure, DELETED};
use super::staging::STAGING;

/// Longer than what is copied in one call: four blocks of ten bytes, and one of one.
const LONG: usize = 41;

fn place(scoring: &Scoring, path: &str) -> BlobPlace {
    BlobPlace::of(scoring, format!("azureml://datastores/workspaceblobstore/paths/{path}"))
}

fn write(file: &Path, text: &str) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

async fn source(stage: &Azure, at: BlobPlace) -> CopySource {
    let seen = stage.blobs().published(&at).await.unwrap().unwrap();
    CopySource { at, etag: seen.etag, len: seen.len }
}

async fn copy(stage: &Azure, source: &CopySource, to: &BlobPlace, scoring: &Scoring) -> Published {
    let mark = PublicationMark::of(&LedgerId::of_random([1; 16]), scoring, "score");
    stage.blobs().publish(source, to, &WriteCondition::Absent, &mark).await.unwrap().value
}

#[tokio::test]
async fn a_copy_has_the_content_type_of_its_source_whichever_way_it_is_made() {
    let stage = Azure::start().await;
    let scoring = scoring(&stage, "a.csv", Ending::Absent).await;
    for bytes in [7, LONG, 0] {
        let from = place(&scoring, &format!("out/{bytes}.csv"));
        write(&stage.file(&from.uri), &"x".repeat(bytes));
        // Its own name tells nothing.
        let to = place(&scoring, &format!("published/{bytes}"));
        let source = source(&stage, from).await;
        let done = copy(&stage, &source, &to, &scoring).await;
        assert!(matches!(done, Published::Written { .. }), "{bytes}: {done:?}");
        let named = stage.blobs().locate(&to).await.unwrap();
        let shown = stage.blobs().blob(&named).await.unwrap().unwrap();
        assert_eq!((shown.content_type.as_deref(), shown.size), (Some("text/csv"), bytes as u64));
    }
}

/// The files of the blocks that wait to become a blob.
fn waiting(file: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(file.parent().unwrap()).into_iter().flatten().flatten();
    let folder = entries.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("blocks-"));
    folder
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten())
        .map(|it| it.path())
        .collect()
}

#[tokio::test]
async fn a_killed_copy_goes_on_with_its_blocks_and_with_none_of_another_version() {
    for changed in [false, true] {
        let stage = Azure::start().await;
        let scoring = scoring(&stage, "a.csv", Ending::Absent).await;
        let (from, to) = (place(&scoring, "out/a.csv"), place(&scoring, "published/a.csv"));
        let (input, output) = (stage.file(&from.uri), stage.file(&to.uri));
        write(&input, &"a".repeat(LONG));
        let before = source(&stage, from.clone()).await;
        // The list of blocks, and two of them.
        stage.hang("published", 3);
        {
            let mut killed = std::pin::pin!(copy(&stage, &before, &to, &scoring));
            while waiting(&output).len() < 2 {
                tokio::select! {
                    done = &mut killed => panic!("{done:?}"),
                    () = tokio::task::yield_now() => {}
                }
            }
        }
        stage.heal();
        assert_eq!(stage.blobs().published(&to).await, Ok(None), "nobody sees blocks");
        // Whoever copies them again writes over this. A block that was on its way may have come beside the two.
        let left = waiting(&output);
        assert!((2..LONG / 10).contains(&left.len()), "{left:?}");
        for block in &left {
            std::fs::write(block, "X".repeat(10)).unwrap();
        }
        if changed {
            write(&input, &"b".repeat(LONG));
        }
        let now = source(&stage, from).await;
        assert_eq!(now != before, changed);
        let done = copy(&stage, &now, &to, &scoring).await;
        assert!(matches!(done, Published::Written { .. }), "{done:?}");
        let text = std::fs::read_to_string(&output).unwrap();
        let count = |of: char| text.chars().filter(|c| *c == of).count();
        if changed {
            assert_eq!((count('X'), count('a'), count('b')), (0, 0, LONG), "{text}");
        } else {
            // The one that was on its way may have been written a moment after this wrote over it.
            assert!((20..=10 * left.len()).contains(&count('X')), "{text}");
            assert_eq!(count('X') + count('a'), LONG, "{text}");
        }
        assert_eq!(waiting(&output), Vec::<PathBuf>::new(), "nothing is left over");
    }
}

/// The list of blocks is made of one version, or not at all.
#[tokio::test]
async fn a_source_that_is_written_over_while_its_blocks_are_copied_is_not_copied() {
    let stage = Azure::start().await;
    let scoring = scoring(&stage, "a.csv", Ending::Absent).await;
    let (from, to) = (place(&scoring, "out/a.csv"), place(&scoring, "published/a.csv"));
    let (input, output) = (stage.file(&from.uri), stage.file(&to.uri));
    write(&input, &"a".repeat(LONG));
    let before = source(&stage, from).await;
    let mut copied = std::pin::pin!(copy(&stage, &before, &to, &scoring));
    // Four blocks are on their way at one time; the fifth waits for one of them.
    while waiting(&output).is_empty() {
        tokio::select! {
            done = &mut copied => panic!("{done:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    write(&input, &"b".repeat(LONG));
    assert_eq!(copied.await, Published::SourceChanged);
    assert_eq!(stage.blobs().published(&to).await, Ok(None));
}

/// An upload that is copied in one call, or in blocks, and the place in a container of its account.
async fn upload(stage: &Azure, bytes: usize) -> CopySource {
    let blob = stage.upload(&format!("{bytes}.csv"), bytes);
    let seen = stage.blobs().blob(&blob).await.unwrap().unwrap();
    CopySource { at: BlobPlace::of_url(blob.url), etag: seen.etag.trim_matches('"').to_owned(), len: seen.size }
}

fn refusal(done: Published) -> Refusal {
    match done {
        Published::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_missing_container_and_missing_rights_are_told_apart_whatever_the_size() {
    for bytes in [7, LONG] {
        let stage = Azure::start().await;
        let scoring = scoring(&stage, "a.csv", Ending::Absent).await;
        let source = upload(&stage, bytes).await;
        let in_container = |name: &str| BlobPlace::of_url(source.at.uri.replace("/claims/", &format!("/{name}/x/")));
        let none = refusal(copy(&stage, &source, &in_container(DELETED), &scoring).await);
        assert_eq!(none.kind, RefusalKind::NoContainer, "{bytes}: {}", none.text);
        assert!(none.text.contains("make it, or correct"), "{}", none.text);
        // Uploads may be read and not written.
        let write = refusal(copy(&stage, &source, &in_container("claims"), &scoring).await);
        assert_eq!(write.kind, RefusalKind::MayNotWrite, "{bytes}: {}", write.text);
        assert!(write.text.contains("Storage Blob Data Contributor on the container"), "{}", write.text);
        for (status, kind, told) in [
            (403, RefusalKind::MayNotReadSource, "Data Reader"),
            (409, RefusalKind::SourceNotCopied, "archived, or another kind of blob"),
        ] {
            stage.refuse_source(&source.at.uri, status);
            let read = refusal(copy(&stage, &source, &in_container(STAGING), &scoring).await);
            assert_eq!(read.kind, kind, "{bytes}: {}", read.text);
            assert!(read.text.contains("(CannotVerifyCopySource)") && read.text.contains(told), "{}", read.text);
        }
        // What may pass is no refusal: it may have been written.
        stage.refuse_source(&source.at.uri, 503);
        let mark = PublicationMark::of(&LedgerId::of_random([1; 16]), &scoring, "staged");
        let to = in_container(STAGING);
        let unknown = stage.blobs().publish(&source, &to, &WriteCondition::Absent, &mark).await;
        assert!(unknown.is_err(), "{unknown:?}");
        assert_eq!(stage.blobs().published(&to).await, Ok(None));
    }
}

/// In blocks the source is looked at first, by whom it is read then.
#[tokio::test]
async fn a_large_source_without_the_right_to_look_is_refused_as_one_that_is_not_copied() {
    let stage = Azure::start().await;
    let scoring = scoring(&stage, "a.csv", Ending::Absent).await;
    let source = upload(&stage, LONG).await;
    let to = BlobPlace::of_url(source.at.uri.replace("/claims/", &format!("/{STAGING}/x/")));
    stage.forbid("/claims/");
    let read = refusal(copy(&stage, &source, &to, &scoring).await);
    assert_eq!(read.kind, RefusalKind::MayNotReadSource, "{}", read.text);
    assert!(read.text.contains("403") && read.text.contains(&source.at.uri), "{}", read.text);
    stage.heal();
    assert!(matches!(copy(&stage, &source, &to, &scoring).await, Published::Written { .. }));
}

/// In names of files alone, in texts alone, and where one read ends and the next begins; not where one file ends and the next begins.
#[tokio::test]
async fn ids_are_found_in_the_text_or_in_the_names_of_the_files_of_an_output() {
    let stage = Azure::start().await;
    let mut scoring = scoring(&stage, "a.csv", Ending::Absent).await;
    let output = scoring.submission.as_mut().unwrap().outputs.values_mut().next().unwrap();
    output.kind = OutputKind::UriFolder;
    let folder = stage.file(&output.uri);
    let ids: Vec<ScoringId> = (0..4).map(|n| format!("{n:x}").repeat(32).parse().unwrap()).collect();
    let [border, second, named, longer] = ids.as_slice() else { unreachable!() };
    // A read is of 4 MiB.
    let short = &longer.as_str()[1..];
    write(&folder.join("predictions.csv"), &format!("{}{border},1\n{short},1\n", " ".repeat((4 << 20) - 16)));
    let (first, rest) = longer.as_str().split_at(16);
    write(&folder.join("b.csv"), first);
    write(&folder.join("c.csv"), rest);
    write(&folder.join("deeper/more.csv"), &format!("a,{second}.csv,1\n"));
    write(&folder.join(format!("{named}.csv")), "1\n");
    let asked: BTreeSet<ScoringId> = ids.iter().cloned().collect();
    let found = async |by| stage.blobs().named_in_outputs(&scoring, &asked, by).await.unwrap();
    assert_eq!(found(NamedBy::Text).await, BTreeSet::from([border.clone(), second.clone()]));
    assert_eq!(found(NamedBy::FileNames).await, BTreeSet::from([named.clone()]));
}

/// What is empty is not copied but written, and only in the version that was named.
#[tokio::test]
async fn an_empty_source_that_was_written_again_is_another_version() {
    let stage = Azure::start().await;
    let scoring = scoring(&stage, "a.csv", Ending::Absent).await;
    let before = upload(&stage, 0).await;
    let to = BlobPlace::of_url(before.at.uri.replace("/claims/", &format!("/{STAGING}/x/")));
    let now = upload(&stage, 0).await;
    assert_ne!(before.etag, now.etag);
    assert_eq!(copy(&stage, &before, &to, &scoring).await, Published::SourceChanged);
    assert_eq!(stage.blobs().published(&to).await, Ok(None));
    assert!(matches!(copy(&stage, &now, &to, &scoring).await, Published::Written { .. }));
}
