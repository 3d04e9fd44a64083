//! Links of the pages lead somewhere: those within the repository to a file and a heading that are there, others to a host that is
//! known, by an address that is whole. Nobody is asked over the network, so that a page that moved elsewhere is not noticed here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use url::Url;

/// Hosts that pages may link to.
const HOSTS: [&str; 8] = [
    "azure.microsoft.com",
    "github.com",
    "keepachangelog.com",
    "learn.microsoft.com",
    "modal.com",
    "monitoringcost.com",
    "semver.org",
    "www.cargo-lambda.info",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All pages that people read.
fn pages() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    repository(&root(), "", &mut files);
    files.retain(|file| Path::new(file).extension().is_some_and(|ending| ending == "md"));
    assert!(files.len() > 14, "{}", files.len());
    let page = |file: &String| {
        let path = root().join(&file[1..]);
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    };
    files.iter().map(page).collect()
}

/// The page without what is shown of programs.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// The anchors that GitHub makes of a page's headings.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).lines().filter_map(|line| line.strip_prefix('#').map(str::to_owned)).collect::<Vec<_>>();
    let anchor = |heading: &String| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.iter().map(anchor).collect()
}

/// Where the links of a page lead: `[text](link)`, `<link>`, pictures, and what `[text][name]` stands for.
fn links(prose: &str) -> Vec<String> {
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let pictures = prose.split("src=\"").skip(1).chain(prose.split("srcset=\"").skip(1));
    let pictures = pictures.filter_map(|rest| rest.split('"').next());
    let bare = prose.split('<').skip(1).filter_map(|rest| rest.split('>').next()).filter(|text| text.contains("://"));
    let all = inline.chain(pictures).chain(bare).map(str::to_owned);
    all.chain(definitions(prose).into_values()).collect()
}

/// The lines `[name]: link`.
fn definitions(prose: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, link) = line.strip_prefix('[')?.split_once("]: ")?;
        Some((name.to_owned(), link.trim().to_owned()))
    };
    prose.lines().filter_map(line).collect()
}

/// What is wrong with a link that leads out of the repository.
fn fault(link: &str) -> Option<String> {
    let placeholder = |c: char| "{}<>$…`\"' ".contains(c);
    if link.contains(placeholder) {
        return Some("it holds a placeholder".to_owned());
    }
    let url = match Url::parse(link) {
        Ok(url) => url,
        Err(why) => return Some(why.to_string()),
    };
    let host = url.host_str().unwrap_or_default();
    let own = env!("CARGO_PKG_REPOSITORY");
    if url.scheme() != "https" || url.port().is_some() || !url.username().is_empty() {
        Some("it is no plain https".to_owned())
    } else if !HOSTS.contains(&host) {
        Some(format!("{host} is none of the hosts that pages link to"))
    } else if link.to_lowercase().contains("/scorekeeper") && !link.starts_with(own) {
        Some(format!("the repository is {own}"))
    } else {
        None
    }
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there_or_to_a_known_host() {
    let (mut within, mut out) = (0, BTreeSet::new());
    for (page, text) in pages() {
        let prose = prose(&text);
        for link in links(&prose) {
            if link.contains("://") || link.starts_with("mailto:") {
                assert_eq!(fault(&link), None, "{}: {link}", page.display());
                out.insert(Url::parse(&link).unwrap().host_str().unwrap().to_owned());
                continue;
            }
            within += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let file = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(file.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let there = anchors(&std::fs::read_to_string(&file).unwrap());
                assert!(there.iter().any(|one| one == anchor), "{}: {link}: {there:?}", page.display());
            }
        }
        let defined = definitions(&prose);
        let named: BTreeSet<&str> = prose.split("][").skip(1).filter_map(|rest| rest.split(']').next()).collect();
        for name in &named {
            assert!(defined.contains_key(*name), "{}: [{name}] leads nowhere", page.display());
        }
        for name in defined.keys() {
            let alone = prose.matches(&format!("[{name}]")).count() > 1;
            assert!(named.contains(name.as_str()) || alone, "{}: nobody uses [{name}]", page.display());
        }
    }
    assert!(within > 60, "{within}");
    assert_eq!(out.iter().map(String::as_str).collect::<Vec<_>>(), HOSTS, "hosts that no page links to any more");
}

#[test]
fn a_link_that_is_not_whole_is_noticed() {
    let page = "[a](b.md#c) and [d][e], <https://github.com/x>, <img src=\"f.png\">\n\n[e]: https://modal.com/y\n";
    let found = ["b.md#c", "f.png", "https://github.com/x", "https://modal.com/y"];
    assert_eq!(links(page), found);
    for (link, said) in [
        ("https://github.com/{owner}/x", "placeholder"),
        ("https://github.com/…", "placeholder"),
        ("https:///x", "none of the hosts"),
        ("http://github.com/x", "https"),
        ("https://u@github.com/x", "https"),
        ("https://example.org/", "none of the hosts"),
        ("https://github.com/somebody/scorekeeper/issues", "the repository is"),
    ] {
        assert!(fault(link).is_some_and(|why| why.contains(said)), "{link}: {:?}", fault(link));
    }
    assert_eq!(fault("https://github.com/scorekeeper/scorekeeper/releases"), None);
}

/// What paths of the repository end with, where a page names one.
const ENDINGS: &[&str] = &[".rs", ".md", ".sh", ".bicep", ".bicepparam", ".toml", ".tsv", ".kql", ".py", ".json"];

/// The repository's files, as `/PATH`.
fn repository(folder: &std::path::Path, below: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{below}/{name}");
        if !entry.file_type().unwrap().is_dir() {
            found.push(path);
        } else if !["target", ".git", "node_modules"].contains(&name.as_str()) {
            repository(&entry.path(), &path, found);
        }
    }
}

/// Paths of the repository that a text names in backquotes. They may be short: what stands before `src`, or a file's name alone.
fn named_paths(prose: &str) -> Vec<&str> {
    let is_path = |text: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        text.chars().all(plain) && ENDINGS.iter().any(|ending| text.len() > ending.len() && text.ends_with(ending))
    };
    prose.split('`').skip(1).step_by(2).filter(is_path).collect()
}

#[test]
fn each_path_of_the_repository_that_a_page_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    repository(&root, "", &mut files);
    let exists = |path: &str| files.iter().any(|file| file.ends_with(&format!("/{path}")));
    let mut named = 0;
    for (page, text) in pages() {
        for path in named_paths(&prose(&text)) {
            // Made by a build, by a release, by whoever deploys, and by the handler where it publishes a folder.
            let made = ["main.json", "events.json", "NOTES.md", "manifest.json"];
            let is_made = path.ends_with(".cdx.json") || made.contains(&path);
            assert!(exists(path) || is_made, "{}: {path} does not exist", page.display());
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
    assert!(!exists("app/src/admission.rs"));
}
