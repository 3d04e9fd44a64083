//! What the Azure adapter alone promises of copies: they have the content type of their source, and go on with the blocks that an
//! earlier try left.

use std::path::{Path, PathBuf};

use lifecycle::{BlobPlace, CopySource, LedgerId, PublicationMark, Published, Scoring, WriteCondition};

use super::stage::{Ending, Stage as _, scoring};
use super::stages::Azure;

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
async fn a_copy_that_was_killed_goes_on_with_the_blocks_that_are_there_and_with_none_of_another_version() {
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
