//! What can be asked of a blob's metadata and of its index tags, and how a rules file says it.
//!
//! Sources: Azure Storage, *Setting and retrieving properties and metadata for Blob resources*; *Manage and find Azure Blob data
//! with blob index tags*.

use std::collections::BTreeMap;

use super::document::{Node, Read, Refused};
use crate::text::one_line;

/// Characters of a value that a reason quotes.
pub(super) const MAX_SHOWN: usize = 128;
/// Bytes that all metadata of a blob has at most.
const MAX_METADATA: usize = 8_192;
/// Characters of a tag's name and of its value, at most.
const MAX_TAG: (usize, usize) = (128, 256);

/// What the value of one name must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueCondition {
    /// `true`: any, as long as there is one; `false`: there is none.
    Present(bool),
    /// The value is one of these, and its case counts.
    OneOf(Vec<String>),
}

/// What is asked of metadata, by names in lower case: a header's name has no case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AskedMetadata(pub(super) BTreeMap<String, ValueCondition>);

/// What is asked of index tags, by their names as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AskedTags(pub(super) BTreeMap<String, ValueCondition>);

impl ValueCondition {
    /// Why a value is not what is asked; `what` is what has it.
    pub(super) fn refuses(&self, what: &str, value: Option<&str>) -> Option<String> {
        match (self, value) {
            (Self::Present(true), Some(_)) | (Self::Present(false), None) => None,
            (Self::Present(false), Some(_)) => Some(format!("it has {what}")),
            (Self::Present(true) | Self::OneOf(_), None) => Some(format!("it has no {what}")),
            (Self::OneOf(wanted), Some(value)) if wanted.iter().any(|wanted| wanted == value) => None,
            (Self::OneOf(wanted), Some(value)) => {
                let wanted: Vec<String> = wanted.iter().map(|wanted| format!("`{wanted}`")).collect();
                Some(format!("its {what} is `{}`, not {}", one_line(value, MAX_SHOWN), wanted.join(", ")))
            }
        }
    }
}

/// Whether a text that whoever uploads has chosen stays where the rule puts it: within one segment of a path, whoever decodes it.
pub(super) fn is_segment(value: &str) -> bool {
    let leads_elsewhere = |c: char| matches!(c, '/' | '\\' | '%' | '?' | '#') || c.is_control();
    !value.contains(leads_elsewhere) && value.chars().any(|c| c != '.')
}

/// Whether it is a name of metadata: one of a C# identifier, in ASCII as a header has it.
pub(super) fn is_metadata_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
        && name.len() <= MAX_METADATA
}

/// Whether the text has characters of index tags alone.
fn is_of_tag(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" +-./:=_".contains(&byte))
}

/// What names of metadata begin with in a request.
const HEADER: &str = "x-ms-meta-";

impl Read for AskedMetadata {
    fn read(node: &Node<'_>) -> Option<Self> {
        let members = node.object("values by names of metadata")?;
        let mut asked = BTreeMap::new();
        members.all(|name, node| {
            if !is_metadata_name(name) {
                let rest = name.get(..HEADER.len()).filter(|begin| begin.eq_ignore_ascii_case(HEADER));
                let remedy = match rest {
                    Some(header) => format!("leave out `{header}`"),
                    None => "rename it".to_owned(),
                };
                node.refuse(Refused::new("a name of letters, digits and `_` that begins with no digit", remedy));
            }
            let fits =
                |value: &str| value.trim() == value && value.is_ascii() && !value.contains(|c: char| c.is_control());
            let value = read_asked(node, "a value that a header can have: ASCII, without spaces at its ends", &fits)?;
            if asked.insert(name.to_ascii_lowercase(), value).is_some() {
                node.refuse(Refused::new("each name once; metadata has no case", "remove one of them"));
            }
            Some(())
        });
        Some(Self(asked))
    }
}

impl Read for AskedTags {
    fn read(node: &Node<'_>) -> Option<Self> {
        const FORM: &str = "letters, digits, spaces and `+-./:=_`";
        let members = node.object("values by names of index tags")?;
        let (names, values) = MAX_TAG;
        let asked = members.all(|name, node| {
            if name.is_empty() || name.len() > names || !is_of_tag(name) {
                node.refuse(Refused::new(format!("a tag's name, 1 to {names} {FORM}"), "rename it"));
            }
            let fits = |value: &str| value.len() <= values && is_of_tag(value);
            read_asked(node, &format!("a tag's value, {values} {FORM} at most"), &fits)
        });
        Some(Self(asked))
    }
}

/// `true`, `false`, a value, or several of which one is meant.
fn read_asked(node: &Node<'_>, form: &str, fits: &dyn Fn(&str) -> bool) -> Option<ValueCondition> {
    if node.is_null() {
        return None;
    }
    if let Some(present) = node.boolean() {
        return Some(ValueCondition::Present(present));
    }
    let nodes = if node.text().is_some() {
        vec![node.clone()]
    } else if node.is_list() {
        node.list("values")?
    } else {
        let expected = "a text, a list of texts, true if any value will do, or false if there must be none";
        return node.refused(Refused::new(expected, "write \"…\", [\"…\", \"…\"], true or false"));
    };
    if nodes.is_empty() {
        return node.refused(Refused::new("one value at least, or no blob is wanted", "write true if any will do"));
    }
    let values = nodes.iter().filter_map(|node| {
        let value = node.text_or_refuse()?;
        if fits(value) { Some(value.to_owned()) } else { node.refused(Refused::new(form, "correct it")) }
    });
    Some(ValueCondition::OneOf(values.collect()))
}
