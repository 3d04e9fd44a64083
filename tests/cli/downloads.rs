//! `output --download`: files that hold what was verified, whole, and nothing of another version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use app::App;
use handler::cli::download::{self, Source, Target};
use handler::cli::on_ledger::{ATTENTION, OK};
use lifecycle::Scoring;
use lifecycle::publishing::Publishing;
use time::Duration;

use crate::support::world::{World, event};

/// A scored blob whose output lies in a folder, and that folder.
async fn scored(output: &str) -> (World, App, Scoring, tempfile::TempDir, PathBuf) {
    let rules = format!(
        r#"{{"rules":[{{"id":"claims","match":{{"container":"claims"}},"endpoint":{{"uri":"https://heart.example/jobs"}},
            "outputs":{{"score":{output}}}}}]}}"#
    );
    let world = World::with_rules(&rules);
    let app = world.app();
    let id = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
    world.tick_until_final(&app, 6).await;
    let scoring = world.get(&app, &id).await;
    assert_eq!(scoring.output_bytes, Some(7), "what the world's jobs write");
    let folder = tempfile::tempdir().unwrap();
    let place = scoring.output_uri().unwrap().split("/paths/").nth(1).unwrap().to_owned();
    let place = folder.path().join("store").join(place);
    (world, app, scoring, folder, place)
}

fn write(path: &Path, text: &str, scoring: &Scoring) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    let at = scoring.completed.unwrap() - Duration::SECOND;
    std::fs::File::options().write(true).open(path).unwrap().set_modified(at.into()).unwrap();
}

async fn fetched(
    scoring: &Scoring,
    folder: &Path,
    to: &Path,
    overwrite: bool,
) -> Result<(u8, String), download::Error> {
    let source = Source::Folders(BTreeMap::from([("workspaceblobstore".to_owned(), folder.join("store"))]));
    let target = Target { path: to.to_owned(), overwrite };
    let mut out = Vec::new();
    let code = download::download(&source, std::slice::from_ref(scoring), &target, &mut out).await?;
    Ok((code, String::from_utf8(out).unwrap()))
}

const FILE: &str = r#"{"type":"UriFile","uri":"azureml://datastores/workspaceblobstore/paths/{scoring.id}/{attempt}/predictions.csv"}"#;
const FOLDER: &str =
    r#"{"type":"UriFolder","uri":"azureml://datastores/workspaceblobstore/paths/{scoring.id}/{attempt}"}"#;

#[tokio::test]
async fn a_file_is_put_into_a_folder_or_under_a_name_and_overwrites_nothing_unasked() {
    let (_world, _app, scoring, folder, place) = scored(FILE).await;
    write(&place, "1,2\n3,4", &scoring);
    let (code, told) = fetched(&scoring, folder.path(), folder.path(), false).await.unwrap();
    let there = folder.path().join("predictions.csv");
    assert_eq!((code, told), (OK, format!("{}  7 bytes\n", there.display())));
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "1,2\n3,4");
    std::fs::write(&there, "mine").unwrap();
    let (code, told) = fetched(&scoring, folder.path(), folder.path(), false).await.unwrap();
    assert!(code == ATTENTION && told.contains("add --force") && told.contains("predictions.csv"), "{told}");
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "mine");
    assert_eq!(fetched(&scoring, folder.path(), folder.path(), true).await.unwrap().0, OK);
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "1,2\n3,4");
    let named = folder.path().join("new/of-a.csv");
    assert_eq!(fetched(&scoring, folder.path(), &named, false).await.unwrap().0, OK);
    assert_eq!(std::fs::read_to_string(&named).unwrap(), "1,2\n3,4");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "nothing unfinished is left: {left:?}");
}

#[tokio::test]
async fn a_folder_keeps_the_paths_below_it() {
    let (_world, _app, scoring, folder, place) = scored(FOLDER).await;
    write(&place.join("a.csv"), "1,2\n", &scoring);
    write(&place.join("b/c.csv"), "3,4", &scoring);
    let to = folder.path().join("to");
    let (code, told) = fetched(&scoring, folder.path(), &to, false).await.unwrap();
    assert!(code == OK && told.lines().count() == 2, "{told}");
    assert_eq!(std::fs::read_to_string(to.join("b/c.csv")).unwrap(), "3,4");
    assert_eq!(std::fs::read_to_string(to.join("a.csv")).unwrap(), "1,2\n");
}

#[tokio::test]
async fn what_is_not_what_was_verified_is_not_written() {
    let (_world, _app, scoring, folder, place) = scored(FILE).await;
    let to = folder.path().join("to.csv");
    for (text, later, why) in [
        (None, Duration::ZERO, "its output is not there any more"),
        (Some("longer than that"), Duration::ZERO, "has 16 bytes now, and 7 were verified"),
        (Some("9,9\n9,9"), Duration::HOUR, "was written again at 2026-07-21 11:"),
    ] {
        if let Some(text) = text {
            write(&place, text, &scoring);
            let at = scoring.completed.unwrap() + later;
            std::fs::File::options().write(true).open(&place).unwrap().set_modified(at.into()).unwrap();
        }
        let (code, told) = fetched(&scoring, folder.path(), &to, true).await.unwrap();
        assert!(code == ATTENTION && told.contains(why), "{told}");
        assert!(!to.exists());
    }
    // That it was published two hours later makes nothing verified that was written in between.
    let published = Publishing { since: scoring.updated, scored: scoring.completed, outputs: Vec::new() };
    let completed = scoring.completed.map(|at| at + 2 * Duration::HOUR);
    let later = Scoring { publishing: Some(published), completed, ..scoring };
    let (code, told) = fetched(&later, folder.path(), &to, true).await.unwrap();
    assert!(code == ATTENTION && told.contains("was written again at"), "{told}");
}
