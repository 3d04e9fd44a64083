//! Each rule refuses a zip that breaks it and nothing else; the repository's own app passes all.

use std::{fs, path::Path};

use object::elf::{EM_X86_64, ET_DYN, PT_LOAD};

use super::*;
use crate::{
    app_folder::{AppFolder, File},
    elf, workspace, zip_file,
};

const HOST: &str = r#"{"version": "2.0", "customHandler": {"description": {"defaultExecutablePath": "scorekeeper"}},
    "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"}}"#;
const TICK: &str = r#"{"bindings": [{"type": "timerTrigger", "name": "timer", "direction": "in"}]}"#;

/// An app that passes, with these files changed or added.
fn app(changes: &[(&str, &str)]) -> AppFolder {
    let good = [("host.json", HOST), ("scorekeeper", "program"), ("Tick/function.json", TICK)];
    let file = |name: &str, text: &str| File { bytes: text.as_bytes().to_vec(), executable: name == "scorekeeper" };
    let files = good.iter().chain(changes).map(|(name, text)| ((*name).to_owned(), file(name, text)));
    AppFolder(files.collect())
}

fn without(name: &str) -> AppFolder {
    let mut app = app(&[]);
    app.0.remove(name).unwrap();
    app
}

fn findings(app: &AppFolder) -> Vec<Finding> {
    discover(&zip_file::packed(app).unwrap()).unwrap_err()
}

/// The findings for the function `Tick` with this definition.
fn tick(definition: &str) -> Vec<Finding> {
    findings(&app(&[("Tick/function.json", definition)]))
}

fn function() -> String {
    "Tick".to_owned()
}

/// The repository's own app around a small stand-in for the executable.
fn own_app() -> AppFolder {
    let place = tempfile::tempdir().unwrap();
    let executable = place.path().join("scorekeeper");
    fs::write(&executable, elf::made_up(ET_DYN, EM_X86_64, &[PT_LOAD])).unwrap();
    AppFolder::gather(&workspace::root(), &executable, None).unwrap()
}

fn folders(of: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(of).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_host_finds_every_function_of_this_repository() {
    let found = discover(&zip_file::packed(&own_app()).unwrap()).unwrap();
    assert_eq!(found.functions, folders(&workspace::root().join("function-definitions")));
    assert_eq!(found.executable, "scorekeeper");
    assert_eq!(elf::require_static_x86_64(&found.program), Ok(()));
}

#[test]
fn the_same_app_gives_the_same_bytes() {
    assert_eq!(zip_file::packed(&own_app()).unwrap(), zip_file::packed(&own_app()).unwrap());
}

#[test]
fn what_is_no_zip_is_refused() {
    assert!(matches!(discover(b"PK is not enough").unwrap_err()[..], [Finding::NotAZip(_)]));
}

#[test]
fn a_zip_of_the_folder_instead_of_its_content_is_refused() {
    let nested = app(&[]).0.into_iter().map(|(name, file)| (format!("app/{name}"), file)).collect();
    assert_eq!(
        findings(&AppFolder(nested)),
        [Finding::NoHostJson, Finding::Misplaced("app/Tick/function.json".to_owned()), Finding::NoFunction]
    );
}

#[test]
fn a_missing_host_json_is_refused() {
    assert_eq!(findings(&without("host.json")), [Finding::NoHostJson]);
}

#[test]
fn a_host_json_that_runs_no_custom_handler_is_refused() {
    let old = HOST.replace("2.0", "1.0");
    let no_handler = r#"{"version": "2.0", "customHandler": {}}"#;
    for host in ["{", old.as_str(), r#"{"version": "2.0"}"#, no_handler] {
        assert!(matches!(findings(&app(&[("host.json", host)]))[..], [Finding::HostJson(_)]), "{host}");
    }
}

#[test]
fn a_definition_two_levels_deep_is_refused() {
    for path in ["functions/Tock/function.json", "function.json", "Tock/Function.json", r"Tock\function.json"] {
        assert_eq!(findings(&app(&[(path, TICK)])), [Finding::Misplaced(path.to_owned())]);
    }
}

#[test]
fn an_app_without_a_function_is_refused() {
    assert_eq!(findings(&without("Tick/function.json")), [Finding::NoFunction]);
}

#[test]
fn a_missing_executable_is_refused() {
    assert_eq!(findings(&without("scorekeeper")), [Finding::NoExecutable("scorekeeper".to_owned())]);
}

#[test]
fn an_executable_that_lost_its_mode_is_refused() {
    let mut app = app(&[]);
    app.0.get_mut("scorekeeper").unwrap().executable = false;
    assert_eq!(findings(&app), [Finding::NotExecutable { name: "scorekeeper".to_owned(), mode: 0o644 }]);
}

#[test]
fn a_zip_made_on_windows_is_refused() {
    let mut zip = zip_file::packed(&without("Tick/function.json")).unwrap();
    let header = zip.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    zip[header + 5] = 0;
    assert_eq!(discover(&zip).unwrap_err(), [Finding::NotMadeByUnix("host.json".to_owned()), Finding::NoFunction]);
}

#[test]
fn a_function_name_with_a_bad_character_is_refused() {
    let long = "a".repeat(129);
    for name in ["Blob Created", "1st", "blob.created", "-x", "Host", "größe", long.as_str()] {
        let app = app(&[(&format!("{name}/function.json"), TICK)]);
        assert_eq!(findings(&app), [Finding::FunctionName(name.to_owned())]);
    }
    let longest = "a".repeat(128);
    for name in ["x", "Blob_created-2", longest.as_str()] {
        let zip = zip_file::packed(&app(&[(&format!("{name}/function.json"), TICK)])).unwrap();
        assert!(discover(&zip).unwrap().functions.contains(&name.to_owned()));
    }
}

#[test]
fn a_function_outside_of_the_hosts_list_is_refused() {
    let host = |list: &str| HOST.replacen('{', &format!("{{\"functions\": [{list}],"), 1);
    assert_eq!(findings(&app(&[("host.json", &host("\"Tock\""))])), [Finding::NotListed(function())]);
    assert!(discover(&zip_file::packed(&app(&[("host.json", &host("\"tick\""))])).unwrap()).is_ok());
}

#[test]
fn a_definition_that_is_no_json_is_refused() {
    assert!(matches!(&tick("{,}")[..], [Finding::Definition { function, .. }] if function == "Tick"));
}

#[test]
fn a_definition_of_absurd_size_is_not_read() {
    let padded = " ".repeat(usize::try_from(JSON_LIMIT).unwrap()) + TICK;
    assert!(matches!(&tick(&padded)[..], [Finding::Definition { problem, .. }] if problem.contains("larger")));
}

#[test]
fn a_definition_has_exactly_one_trigger() {
    let two = r#"{"bindings": [{"type": "timerTrigger", "name": "a"}, {"type": "HTTPTRIGGER", "name": "b"}]}"#;
    assert_eq!(tick(two), [Finding::Triggers { function: function(), count: 2 }]);
    for none in ["{}", r#"{"bindings": []}"#, r#"{"bindings": [{"type": "http", "name": "$return"}]}"#] {
        assert_eq!(tick(none), [Finding::Triggers { function: function(), count: 0 }]);
    }
}

#[test]
fn binding_names_are_letters_and_digits_and_unique() {
    for name in ["my_timer", "1", "", "$other"] {
        let definition = TICK.replace("\"timer\"", &format!("\"{name}\""));
        assert_eq!(tick(&definition), [Finding::BindingName { function: function(), name: name.to_owned() }]);
    }
    let twice = r#"{"bindings": [{"type": "timerTrigger", "name": "a"}, {"type": "blob", "name": "A"}]}"#;
    assert_eq!(tick(twice), [Finding::BindingTwice { function: function(), name: "A".to_owned() }]);
}

#[test]
fn members_that_the_host_trips_over_or_ignores_are_refused() {
    let with = |member: &str| TICK.replacen('{', &format!("{{{member},"), 1);
    assert_eq!(tick(&with("\"scriptFile\": \"run.sh\"")), [Finding::ScriptFile(function())]);
    assert_eq!(tick(&with("\"disabled\": true")), [Finding::Disabled(function())]);
}

#[test]
fn an_event_grid_trigger_needs_the_extension_bundle() {
    let events = TICK.replace("timerTrigger", "eventGridTrigger");
    let bare = HOST.replace("extensionBundle", "extensions");
    assert_eq!(
        findings(&app(&[("host.json", &bare), ("Tick/function.json", &events)])),
        [Finding::NoBundle { function: function(), trigger: "eventGridTrigger".to_owned() }]
    );
    assert!(discover(&zip_file::packed(&app(&[("host.json", &bare)])).unwrap()).is_ok(), "a timer needs none");
    assert!(discover(&zip_file::packed(&app(&[("Tick/function.json", &events)])).unwrap()).is_ok());
}
