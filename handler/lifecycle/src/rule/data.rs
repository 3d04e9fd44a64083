//! Inputs and outputs of a rule: what can never be read or written is told when the rules are read.

use std::collections::BTreeMap;

use super::definition::{InputTemplate, Literal, OutputTemplate, Source};
use super::document::{Members, Node, Read, Refused};
use super::examples::{METADATA, example};
use super::publish::{IfExists, Publish};
use super::template::Template;
use crate::datastore::{DatastorePath, same_place};
use crate::id::DatastoreName;
use crate::job::{InputMode, OutputKind, OutputMode};

const INPUT_FORMS: &str = "{blob.url}, another https URL, azureml://datastores/NAME/paths/PATH, or the ARM id of a datastore path or data asset";
pub(super) const OUTPUT_FORM: &str = "a path on a registered Blob datastore: azureml://datastores/NAME/paths/PATH";

pub(super) fn read_inputs(node: &Node<'_>) -> BTreeMap<String, InputTemplate> {
    let Some(members) = node.object("inputs by name") else { return BTreeMap::new() };
    members.all(|name, node| {
        check_name(name, node);
        InputTemplate::read(node)
    })
}

pub(super) fn read_outputs(node: &Node<'_>) -> BTreeMap<String, OutputTemplate> {
    let Some(members) = node.object("outputs by name") else { return BTreeMap::new() };
    members.all(|name, node| {
        check_name(name, node);
        OutputTemplate::read(node)
    })
}

fn check_name(name: &str, node: &Node<'_>) {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        node.refuse(Refused::new("a name of letters, digits and `_`, as the deployment has it", "rename it"));
    }
}

impl Read for InputTemplate {
    fn read(node: &Node<'_>) -> Option<Self> {
        #[derive(Clone, Copy)]
        enum Kind {
            File,
            Folder,
            Literal,
        }
        let mut members =
            node.object("\"type\" and \"uri\", or \"type\": \"Literal\" and \"value\" or \"template\"")?;
        let kind =
            members.required_node("type", Refused::new("UriFile, UriFolder or Literal", "say what the input is"));
        let kind = kind.and_then(|kind| {
            kind.word(&[("UriFile", Kind::File), ("UriFolder", Kind::Folder), ("Literal", Kind::Literal)])
        });
        let input = match kind {
            Some(Kind::Literal) => {
                let (value, parameter) = (literal(&mut members), members.optional("parameter").unwrap_or(false));
                value.map(|value| Self::Literal { value, parameter })
            }
            Some(kind) => source(&mut members).map(|source| match kind {
                Kind::Folder => Self::UriFolder(source),
                Kind::File | Kind::Literal => Self::UriFile(source),
            }),
            // Its other members are good or not according to its type.
            None => return None,
        };
        members.end();
        input
    }
}

fn source(members: &mut Members<'_>) -> Option<Source> {
    let uri = members.required_node("uri", Refused::new(INPUT_FORMS, "say where it lies"));
    let uri = uri.and_then(|node| input_uri(&node));
    let (mode, description) = (members.optional("mode"), members.optional("description"));
    Some(Source { uri: uri?, mode, description })
}

impl Read for InputMode {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.word(&[
            ("ReadOnlyMount", Self::ReadOnlyMount),
            ("ReadWriteMount", Self::ReadWriteMount),
            ("Download", Self::Download),
            ("Direct", Self::Direct),
            ("EvalMount", Self::EvalMount),
            ("EvalDownload", Self::EvalDownload),
        ])
    }
}

impl Read for OutputMode {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.word(&[("ReadWriteMount", Self::ReadWriteMount), ("Upload", Self::Upload)])
    }
}

/// The value itself, or a template of it.
fn literal(members: &mut Members<'_>) -> Option<Literal> {
    let Some(template) = members.node("template") else {
        let expected = "the value that is sent, or `template` for a text with placeholders";
        let value = members.required_node("value", Refused::new(expected, "write a text, a number, true or false"));
        return value.as_ref().and_then(as_written).map(Literal::AsWritten);
    };
    if members.node("value").is_some() {
        return template.refused(Refused::new("one of `value` and `template`", "remove one of them"));
    }
    Template::read(&template).map(Literal::Template)
}

/// The text of a value as it was written: no number is read and written anew, which would cost digits.
fn as_written(node: &Node<'_>) -> Option<String> {
    let boolean = node.boolean().map(|boolean| boolean.to_string());
    let found = node.text().or_else(|| node.digits()).map(str::to_owned).or(boolean);
    found.or_else(|| {
        node.refused(Refused::new("a text, a number, true or false", "write an object or a list as JSON in a text"))
    })
}

impl Read for OutputTemplate {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut members = node.object("\"type\" and \"uri\"")?;
        let kind = members.required_node("type", Refused::new("UriFile or UriFolder", "say what the output is"));
        let kinds = [("UriFile", OutputKind::UriFile), ("UriFolder", OutputKind::UriFolder)];
        let kind = kind.and_then(|kind| kind.word(&kinds));
        let uri = members.required_node("uri", Refused::new(OUTPUT_FORM, "say where it goes"));
        let uri = uri.and_then(|node| output_uri(&node));
        let (mode, description) = (members.optional("mode"), members.optional("description"));
        let publish = members.optional("publish");
        members.end();
        Some(Self { kind: kind?, uri: uri?, mode, description, publish })
    }
}

impl Read for Publish {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut members = node.object("`uri`, perhaps `ifExists`")?;
        let uri = members.required_node("uri", Refused::new(OUTPUT_FORM, "say where the result is published"));
        let uri = uri.and_then(|node| {
            let template = Template::read(&node)?;
            if let Some(remedy) = no_output(&example(&template)) {
                node.refuse(Refused::new(OUTPUT_FORM, remedy));
            }
            Some(template)
        });
        let if_exists = members.or_default("ifExists");
        members.end();
        Some(Self { uri: uri?, if_exists })
    }
}

impl Read for IfExists {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.word(&[("refuse", Self::Refuse), ("replace", Self::Replace), ("version", Self::Version)])
    }
}

/// What to do about metadata before the path that it may be a part of: whoever uploads would choose account, container,
/// datastore or data asset.
fn chosen_by_uploader(uri: &str) -> Option<String> {
    let (before, _) = uri.split_once(METADATA)?;
    let is_in_path = match before.to_ascii_lowercase().strip_prefix("https://") {
        Some(rest) => rest.matches('/').count() >= 2,
        None => before.to_ascii_lowercase().contains("/paths/"),
    };
    let remedy =
        "put `{blob.metadata.…}` behind the container or `/paths/`: whoever uploads must not choose what lies before";
    (!is_in_path).then(|| remedy.to_owned())
}

fn input_uri(node: &Node<'_>) -> Option<Template> {
    let template = Template::read(node)?;
    let uri = example(&template);
    if let Some(remedy) = chosen_by_uploader(&uri).or_else(|| no_input(&uri)) {
        return node.refused(Refused::new(INPUT_FORMS, remedy));
    }
    Some(template)
}

/// What to do about a URI that Azure ML cannot read from; `None`: its form is a known one.
fn no_input(uri: &str) -> Option<String> {
    let scheme = uri.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if let Some(remedy) = no_path(uri) {
        return Some(remedy);
    }
    match scheme.as_deref() {
        Some("https") => {
            let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
            if query.is_some() {
                return Some(
                    "leave out the query: a SAS would be kept with the job; the identities of the app and of the compute read the blob".to_owned(),
                );
            }
            let behind = path.get("https://".len()..).unwrap_or_default();
            let whole = behind.split_once('/').is_some_and(|(host, path)| !host.is_empty() && !path.is_empty());
            (!whole).then(|| "name a blob or a folder behind the host".to_owned())
        }
        Some("http") => Some("use https".to_owned()),
        Some("abfs" | "abfss" | "wasb" | "wasbs" | "adl") => Some(
            "batch endpoints do not take it; write https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH".to_owned(),
        ),
        Some("azureml") => no_workspace_path(uri),
        Some(other) => Some(format!("batch endpoints do not take `{other}://`")),
        None if uri.starts_with("/subscriptions/") => no_workspace_path(uri),
        None if uri.starts_with("azureml:") => Some(
            "`azureml:NAME:VERSION` is short for an id that the Azure CLI looks up; write the data asset's id"
                .to_owned(),
        ),
        None if uri.is_empty() => Some("write {blob.url} for the blob itself".to_owned()),
        None => Some("write {blob.url} for the blob itself; a path needs its datastore before it".to_owned()),
    }
}

/// What to do about what names neither a path on a datastore nor a data asset.
fn no_workspace_path(uri: &str) -> Option<String> {
    if uri.contains('?') {
        return Some("leave out the query: a SAS would be kept with the job".to_owned());
    }
    match uri.parse::<DatastorePath>() {
        Ok(path) => no_datastore(&path),
        Err(_) if is_data_asset(uri) => None,
        Err(_) if uri.contains("datastores/") && !uri.contains("/paths/") => {
            Some("write `/paths/` between the datastore's name and the path".to_owned())
        }
        Err(_) => Some("write azureml://datastores/NAME/paths/PATH".to_owned()),
    }
}

fn no_datastore(path: &DatastorePath) -> Option<String> {
    let name = &path.datastore;
    let bad = name.parse::<DatastoreName>().is_err();
    bad.then(|| format!("`{name}` is not a datastore's name: a letter or digit, then letters, digits, `-` or `_`"))
}

/// `…/data/NAME/versions/VERSION`, `…/data/NAME/labels/LABEL`, in a workspace or a registry.
pub(super) fn is_data_asset(uri: &str) -> bool {
    let segments: Vec<&str> = uri.trim_end_matches('/').split('/').collect();
    let [.., data, name, by, version] = segments.as_slice() else { return false };
    data.eq_ignore_ascii_case("data")
        && (by.eq_ignore_ascii_case("versions") || by.eq_ignore_ascii_case("labels"))
        && !name.is_empty()
        && !version.is_empty()
}

/// What to do about what no path has.
fn no_path(uri: &str) -> Option<String> {
    if uri.chars().any(char::is_control) {
        return Some("remove line breaks and other control characters".to_owned());
    }
    let has_dots = uri.split('/').any(|segment| matches!(segment, "." | ".."));
    has_dots.then(|| "remove the segments `.` and `..`; nothing resolves them".to_owned())
}

/// What to do about a URI that is not a path on a datastore that outputs go to.
pub(super) fn no_output(uri: &str) -> Option<String> {
    let chosen = chosen_by_uploader(uri);
    match uri.parse::<DatastorePath>() {
        _ if chosen.is_some() => chosen,
        _ if no_path(uri).is_some() => no_path(uri),
        _ if uri.contains('?') => {
            Some("leave out the query: a SAS would be kept with the rules and the scoring".to_owned())
        }
        Ok(path) => no_datastore(&path),
        Err(_) if uri.contains("://") && !uri.starts_with("azureml") => Some(
            "outputs are not written to URLs; register the container as a Blob datastore of the workspace".to_owned(),
        ),
        Err(_) => Some("write azureml://datastores/NAME/paths/PATH".to_owned()),
    }
}

fn output_uri(node: &Node<'_>) -> Option<Template> {
    let template = Template::read(node)?;
    if let Some(remedy) = no_output(&example(&template)) {
        node.refuse(Refused::new(OUTPUT_FORM, remedy));
    }
    for (placeholder, has) in [("scoring.id", template.has_scoring_id()), ("attempt", template.has_attempt())] {
        if !has {
            node.refuse(Refused::new(
                "a path of its own for each attempt, or a second job could overwrite a result",
                format!("put {{{placeholder}}} into it"),
            ));
        }
    }
    if template.has_scoring_id() && !template.sets_off_scoring_id() {
        node.refuse(Refused::new(
            "a path in which the scoring's id can be found again, or outputs in a watched place would be scored without end",
            "put a character that is neither a hex digit nor `%`, `-` or `/` for example, before or behind {scoring.id}",
        ));
    }
    Some(template)
}

/// Two outputs at one place would overwrite each other.
pub(super) fn check_outputs(node: &Node<'_>, outputs: &BTreeMap<String, OutputTemplate>) {
    let places: Vec<(&String, String)> = outputs.iter().map(|(name, output)| (name, example(&output.uri))).collect();
    for (index, (name, uri)) in places.iter().enumerate() {
        if let Some((other, _)) = places[..index].iter().find(|(_, other)| same_place(uri, other)) {
            let its_uri = node.peek(name).and_then(|output| output.peek("uri"));
            its_uri.as_ref().unwrap_or(node).refuse(Refused::new(
                format!("a place of its own for each output; `{other}` and `{name}` have the same"),
                "give one of them another path",
            ));
        }
    }
}
