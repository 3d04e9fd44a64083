//! The page in a real Chromium: `browser/journey.mjs` is what an operator does there. Where Chromium or its driver is missing the test
//! says so and is left out, unless `SCOREKEEPER_REQUIRE_BROWSER` is set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::functions_host::SCOREKEEPER;
use crate::support::process::Process;

/// Names under which systems have it; the variable goes before them.
const CHROMIUM: [&str; 3] = ["chromium", "google-chrome", "chromium-browser"];
/// A browser that hangs must fail the test, not block it.
const LIMIT: Duration = Duration::from_secs(400);
/// Fails for as long as a file of this name is there.
const BROKEN: &str = "broken";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Chromium, and the folder of what drives it; `None` where one is missing.
fn installed() -> Option<(PathBuf, PathBuf)> {
    let folders: Vec<_> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let named = std::env::var_os("SCOREKEEPER_CHROMIUM").map(PathBuf::from);
    let found = || CHROMIUM.iter().flat_map(|name| folders.iter().map(move |it| it.join(name))).find(|it| it.is_file());
    let chromium = named.or_else(found);
    let modules = root().join("target/browser");
    let driver = Some(modules.clone()).filter(|it| it.join("node_modules/.package-lock.json").is_file());
    let (missing, both) = match (chromium, driver) {
        (Some(chromium), Some(driver)) => ("", Some((chromium, driver))),
        (None, _) => ("no Chromium on PATH", None),
        (_, None) => ("no target/browser", None),
    };
    if both.is_none() {
        assert!(std::env::var_os("SCOREKEEPER_REQUIRE_BROWSER").is_none(), "there is {missing}");
        println!("left out: there is {missing}");
    }
    both
}

/// `local` with one rule, whose model fails for as long as `broken` is there.
async fn local(folder: &Path) -> (Process, String) {
    let rules = json!({"rules": [{
        "id": "claims", "match": {"container": "claims"}, "maxInFlight": 10, "maxAttempts": 1, "retryBackOff": "PT1S",
        "endpoint": {"uri": "https://heart.westeurope.inference.ml.azure.com/jobs",
            "workspace": "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ws"},
    }]});
    std::fs::write(folder.join("rules.json"), rules.to_string()).unwrap();
    std::fs::write(folder.join(BROKEN), "").unwrap();
    let broken = folder.join(BROKEN);
    let command = format!(
        "test ! -e '{}' || {{ echo 'ValueError: no column called sex' >&2; exit 3; }}; cp \"$SCORE_INPUT\" \"$SCORE_OUTPUT\"",
        broken.display()
    );
    let path: BTreeMap<String, String> = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
    let arguments =
        ["local", "--data", "d", "--listen", "127.0.0.1:0", "--rules", "rules.json", "--score-command", &command];
    let mut local = Process::on_leash(Path::new(SCOREKEEPER), &arguments, folder, &path);
    let line = local.until_logged(|line| line.contains("page ")).await;
    let page = line.split_whitespace().last().unwrap().to_owned();
    (local, page)
}

/// Runs a script to its end.
async fn drive(script: &str, modules: &Path, settings: &Value) {
    let mut node = tokio::process::Command::new("node");
    node.arg(root().join("tests/browser").join(script)).arg(modules).arg(settings.to_string()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, node.output()).await.expect("the browser hangs").unwrap();
    let (told, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{told}");
    assert!(output.status.success(), "{told}\n{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_finds_reads_retries_pauses_and_cancels_in_a_browser() {
    let Some((chromium, modules)) = installed() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_local, page) = local(folder.path()).await;
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&shots).unwrap();
    let settings = json!({
        "chromium": chromium, "profile": folder.path().join("profile"), "page": page, "shots": shots,
        "inbox": folder.path().join("d/inbox/claims"), "broken": folder.path().join(BROKEN),
    });
    drive("journey.mjs", &modules, &settings).await;
}
