//! A rules file as it is written: its values with their places, and the reading of them that goes on after a problem.
//!
//! serde ends at the first problem and does not say where it stands. People correct a file once, not once for each problem,
//! so values are read one by one here: what is wrong is noted and counts as absent.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;

use jsonc_parser::ast::{self, ObjectProp};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions};

use super::elsewhere::elsewhere;
use super::problem::{Place, Problem, Problems, near_miss};
use crate::text::one_line;

/// Characters of a value that a problem shows.
const MAX_SHOWN: usize = 120;
/// Characters of what was expected, and of what to do: both quote what people wrote.
const MAX_SENTENCE: usize = 1_000;
/// Characters of a path that a problem shows.
const MAX_PATH: usize = 300;

/// What is accepted beside plain JSON: comments and commas before a closing bracket, which editors take in `.json` files.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Reads a file by what `read` makes of its outermost value; `Err` holds all problems.
pub(super) fn read<T>(text: &str, read: impl FnOnce(&Node<'_>) -> Option<T>) -> Result<T, Problems> {
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source { text, problems: RefCell::default() };
    let root = match jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &OPTIONS) {
        Ok(parsed) => {
            if parsed.value.is_none() {
                source.no_json(0, &"there is nothing in it");
            }
            parsed.value
        }
        Err(error) => {
            source.no_json(error.range().start, error.kind());
            None
        }
    };
    let value = root.as_ref().and_then(|root| read(&Node { source: &source, value: root, path: String::new() }));
    let mut problems = source.problems.into_inner();
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => {
            problems.sort_by(|one, other| one.place.cmp(&other.place));
            Err(Problems(problems))
        }
    }
}

/// The text of a file, and what is wrong with it so far.
struct Source<'d> {
    text: &'d str,
    problems: RefCell<Vec<Problem>>,
}

impl Source<'_> {
    fn place(&self, at: usize, path: String) -> Place {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1, path }
    }

    fn no_json(&self, at: usize, why: &dyn Display) {
        self.problems.borrow_mut().push(Problem {
            place: self.place(at, String::new()),
            value: Some(format!("not JSON: {why}")),
            expected: "{\"rules\": [ … ]}".to_owned(),
            remedy: "correct the text there; comments (`//`, `/* */`) and trailing commas are allowed".to_owned(),
        });
    }
}

/// Why a value is not taken: what was expected, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    expected: String,
    remedy: String,
}

impl Refused {
    pub(super) fn new(expected: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { expected: expected.into(), remedy: remedy.into() }
    }
}

/// A value of the file, with where it stands.
#[derive(Clone)]
pub(super) struct Node<'d> {
    source: &'d Source<'d>,
    value: &'d ast::Value<'d>,
    path: String,
}

/// What is read from a value. Where it is wrong that is noted and it counts as absent.
pub(super) trait Read: Sized {
    fn read(node: &Node<'_>) -> Option<Self>;
}

impl<'d> Node<'d> {
    /// Notes that the value cannot be taken.
    pub(super) fn refuse(&self, refused: Refused) {
        let range = self.value.range();
        let shown = match self.value {
            // Its line shows what it is.
            ast::Value::Object(object) if !object.properties.is_empty() => "{ … }".to_owned(),
            ast::Value::Array(list) if !list.elements.is_empty() => "[ … ]".to_owned(),
            _ => one_line(self.source.text.get(range.start..range.end).unwrap_or_default(), MAX_SHOWN),
        };
        self.note(range.start, Some(shown), refused);
    }

    /// Notes the same and gives nothing, for the end of a [`Read`].
    pub(super) fn refused<T>(&self, refused: Refused) -> Option<T> {
        self.refuse(refused);
        None
    }

    /// Notes each line of the file that cannot be taken, of which nothing is shown.
    pub(super) fn refuse_lines(&self, cannot_be: impl Fn(&str) -> bool, refused: &Refused) {
        let mut at = 0;
        let whole = Node { path: String::new(), ..self.clone() };
        for line in self.source.text.split_inclusive('\n') {
            if cannot_be(line) {
                whole.note(at, Some("(not shown)".to_owned()), refused.clone());
            }
            at += line.len();
        }
    }

    fn note(&self, at: usize, value: Option<String>, Refused { expected, remedy }: Refused) {
        // Names too: people paste keys anywhere.
        let place = self.source.place(at, one_line(&self.path, MAX_PATH));
        self.source.problems.borrow_mut().push(Problem {
            place,
            value,
            expected: one_line(&expected, MAX_SENTENCE),
            remedy: one_line(&remedy, MAX_SENTENCE),
        });
    }

    /// Whether it is `null`, which is as good as absent.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, ast::Value::NullKeyword(_))
    }

    /// The text that it is.
    pub(super) fn text(&self) -> Option<&'d str> {
        match self.value {
            ast::Value::StringLit(text) => Some(&text.value),
            _ => None,
        }
    }

    /// Where it stands in the text, in bytes.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        let range = self.value.range();
        range.start..range.end
    }

    /// The digits of the number that it is, as they are written.
    pub(super) fn digits(&self) -> Option<&'d str> {
        match self.value {
            ast::Value::NumberLit(number) => Some(number.value),
            _ => None,
        }
    }

    /// The boolean that it is.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value {
            ast::Value::BooleanLit(boolean) => Some(boolean.value),
            _ => None,
        }
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.value, ast::Value::Array(_))
    }

    /// The members of the object that it is; noted if it is none. `what` says what the object is for.
    pub(super) fn object(&self, what: &str) -> Option<Members<'d>> {
        let ast::Value::Object(object) = self.value else {
            return self.refused(Refused::new(format!("an object: {what}"), "write { … }"));
        };
        let mut members = Members {
            node: self.clone(),
            members: Vec::new(),
            asked: Vec::new(),
            other: Vec::new(),
            refused: Vec::new(),
        };
        for ObjectProp { name, value, range } in &object.properties {
            let name = name.as_str();
            let node = Node { source: self.source, value, path: member_path(&self.path, name) };
            if let Some((_, first)) = members.members.iter().find(|(known, _)| *known == name) {
                let line = self.source.place(first.value.range().start, String::new()).line;
                node.note(
                    range.start,
                    Some("written twice".to_owned()),
                    Refused::new("each member once", format!("remove one of the two; the other is in line {line}")),
                );
            } else {
                members.members.push((name, node));
            }
        }
        Some(members)
    }

    /// The elements of the list that it is; noted if it is none.
    pub(super) fn list(&self, of: &str) -> Option<Vec<Node<'d>>> {
        let ast::Value::Array(list) = self.value else {
            return self.refused(Refused::new(format!("a list of {of}"), "write [ … ]"));
        };
        let element = |(index, value)| Node { source: self.source, value, path: format!("{}[{index}]", self.path) };
        Some(list.elements.iter().enumerate().map(element).collect())
    }

    /// The member of this name, for a look at it beforehand: nothing is noted.
    pub(super) fn peek(&self, name: &str) -> Option<Node<'d>> {
        let ast::Value::Object(object) = self.value else { return None };
        let member = object.properties.iter().find(|member| member.name.as_str() == name)?;
        Some(Node { source: self.source, value: &member.value, path: member_path(&self.path, name) })
    }

    /// The same of a member that may be spelled with a capital letter.
    fn peek_either(&self, name: &str) -> Option<Node<'d>> {
        let ast::Value::Object(object) = self.value else { return None };
        let names = object.properties.iter().map(|member| member.name.as_str());
        let other = || names.clone().find(|other| other.eq_ignore_ascii_case(name));
        self.peek(name).or_else(|| self.peek(other()?))
    }

    /// The first value that is this text: this one, or one within it.
    fn text_within(&self, text: &str) -> Option<Node<'d>> {
        match self.value {
            ast::Value::Object(object) => {
                object.properties.iter().find_map(|member| self.peek(member.name.as_str())?.text_within(text))
            }
            ast::Value::Array(_) => self.list("values")?.iter().find_map(|element| element.text_within(text)),
            _ => (self.text() == Some(text)).then(|| self.clone()),
        }
    }

    /// What parses as `T`. `refused` makes the problem of a text that does not.
    pub(super) fn parsed<T: FromStr>(&self, refused: impl FnOnce(&str, T::Err) -> Refused) -> Option<T> {
        let text = self.text_or_refuse()?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => self.refused(refused(text, error)),
        }
    }

    /// The text that it is; noted if it is none.
    pub(super) fn text_or_refuse(&self) -> Option<&'d str> {
        match self.text() {
            Some(text) => Some(text),
            None if self.digits().is_some() || self.boolean().is_some() => {
                self.refused(Refused::new("a text", "write it between quotes"))
            }
            None => self.refused(Refused::new("a text", "write \"…\"")),
        }
    }

    /// The whole number from `min` to `max` that it is; noted if it is none.
    pub(super) fn whole_number(&self, min: i64, max: i64, remedy: &str) -> Option<i64> {
        let refused = |remedy: &str| self.refused(Refused::new(format!("a whole number from {min} to {max}"), remedy));
        match (self.digits(), self.text()) {
            (Some(digits), _) => match digits.parse::<i64>().ok().filter(|number| (min..=max).contains(number)) {
                Some(number) => Some(number),
                None => refused(remedy),
            },
            (None, Some(text)) if text.parse::<i64>().is_ok() => refused("write it without quotes"),
            _ => refused(remedy),
        }
    }

    /// The value that this word stands for; noted if it is none of them.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        if let Some((_, value)) = words.iter().find(|(word, _)| self.text() == Some(word)) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of {}", quoted(&known));
        let remedy = self.text().and_then(|text| near_miss(text, known)).map(|meant| format!("write \"{meant}\""));
        self.refused(Refused::new(expected, remedy.unwrap_or_else(|| "write one of them".to_owned())))
    }

    /// The value as serde has it.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        Some(match self.value {
            ast::Value::StringLit(text) => serde_json::Value::String(text.value.clone().into_owned()),
            // A number that would be sent as another one is none.
            ast::Value::NumberLit(number) => match number.value.parse::<serde_json::Number>() {
                Ok(parsed) if is_exact(number.value, &parsed) => serde_json::Value::Number(parsed),
                _ => {
                    let expected = "a number of 64 bits, of 15 significant digits where it is no whole number";
                    return self.refused(Refused::new(expected, "write it as a text, or shorter"));
                }
            },
            ast::Value::BooleanLit(boolean) => serde_json::Value::Bool(boolean.value),
            ast::Value::NullKeyword(_) => serde_json::Value::Null,
            ast::Value::Array(_) => {
                let elements = self.list("values")?;
                serde_json::Value::Array(elements.iter().filter_map(Node::json).collect())
            }
            ast::Value::Object(_) => {
                let members = self.object("any members")?;
                let read = |(name, node): &(&str, Node<'_>)| Some(((*name).to_owned(), node.json()?));
                serde_json::Value::Object(members.members.iter().filter_map(read).collect())
            }
        })
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

/// The members of an object. Each is asked for by its name; what nobody asked for is noted by [`end`](Self::end).
#[derive(Debug)]
pub(super) struct Members<'d> {
    node: Node<'d>,
    members: Vec<(&'d str, Node<'d>)>,
    asked: Vec<&'static str>,
    /// What is as good as one of these, or must not be written.
    other: Vec<&'static str>,
    /// Members of which it is noted already that they must not be written.
    refused: Vec<&'d str>,
}

impl<'d> Members<'d> {
    /// The value of this member. `null` is as good as absent: templates write it for what they leave out.
    pub(super) fn node(&mut self, name: &'static str) -> Option<Node<'d>> {
        self.asked.push(name);
        let (_, node) = self.members.iter().find(|(known, _)| *known == name)?;
        (!node.is_null()).then(|| node.clone())
    }

    /// The value of a member that has two spellings.
    pub(super) fn either(&mut self, name: &'static str, other: &'static str) -> Option<Node<'d>> {
        let found = self.node(name);
        self.other.push(other);
        let second = self.members.iter().find(|(known, _)| *known == other).map(|(_, node)| node);
        match (found, second) {
            (Some(found), Some(second)) => {
                let expected = format!("one of `{name}` and `{other}`, which are the same");
                second.refuse(Refused::new(expected, "remove one of them"));
                Some(found)
            }
            (Some(found), None) => Some(found),
            (None, second) => second.filter(|node| !node.is_null()).cloned(),
        }
    }

    /// What a member says that has two spellings.
    pub(super) fn optional_either<T: Read>(&mut self, name: &'static str, other: &'static str) -> Option<T> {
        self.either(name, other).as_ref().and_then(T::read)
    }

    /// Notes a member, in any case, that must not be written here.
    pub(super) fn never(&mut self, name: &'static str, refused: &Refused) {
        self.other.push(name);
        for (written, node) in &self.members {
            if written.eq_ignore_ascii_case(name) {
                node.refuse(refused.clone());
                self.refused.push(written);
            }
        }
    }

    /// Whether it has a member of this name, in any case.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.asked.iter().chain(&self.other).any(|known| known.eq_ignore_ascii_case(name))
    }

    /// What this member says; `None`: it is absent, or wrong, which is noted then.
    pub(super) fn optional<T: Read>(&mut self, name: &'static str) -> Option<T> {
        self.node(name).as_ref().and_then(T::read)
    }

    /// How many are written in it.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The same with a default.
    pub(super) fn or_default<T: Read + Default>(&mut self, name: &'static str) -> T {
        self.optional(name).unwrap_or_default()
    }

    /// What this member says. It must be there; `refused` says what for.
    pub(super) fn required<T: Read>(&mut self, name: &'static str, refused: Refused) -> Option<T> {
        self.required_node(name, refused).as_ref().and_then(T::read)
    }

    /// The value of this member. It must be there; `refused` says what for.
    pub(super) fn required_node(&mut self, name: &'static str, refused: Refused) -> Option<Node<'d>> {
        if let Some(node) = self.node(name) {
            return Some(node);
        }
        let missing = Node { path: member_path(&self.node.path, name), ..self.node.clone() };
        missing.note(self.node.value.range().start, None, refused);
        None
    }

    /// Notes a problem at this member, or at the object where the member is not written: its default is part of the problem.
    pub(super) fn refuse(&self, name: &str, refused: Refused) {
        self.refuse_at(&[name], refused);
    }

    /// The same at the member of a member that these names lead to, in either spelling, or at the innermost of them that is written.
    pub(super) fn refuse_at(&self, path: &[&str], refused: Refused) {
        let mut at = self.node.clone();
        for name in path {
            let Some(member) = at.peek_either(name) else { break };
            at = member;
        }
        at.refuse(refused);
    }

    /// The same at the first text within this member that is this one.
    pub(super) fn refuse_text(&self, name: &str, text: &str, refused: Refused) {
        match self.node.peek_either(name).and_then(|member| member.text_within(text)) {
            Some(found) => found.refuse(refused),
            None => self.refuse(name, refused),
        }
    }

    /// Each member by the name that the user gave it, as `T`.
    pub(super) fn all<T>(&self, mut read: impl FnMut(&str, &Node<'d>) -> Option<T>) -> BTreeMap<String, T> {
        self.members.iter().filter_map(|(name, node)| Some(((*name).to_owned(), read(name, node)?))).collect()
    }

    /// Notes each member that nothing reads: most often a typing error of one that matters.
    pub(super) fn end(self) {
        for (name, node) in &self.members {
            if self.asked.contains(name) || self.other.contains(name) || self.refused.contains(name) {
                continue;
            }
            let remedy = match (near_miss(name, self.asked.iter().copied()), elsewhere(name)) {
                (Some(meant), _) => format!("write `{meant}`"),
                (None, Some(place)) => format!("write it as {place}"),
                (None, None) => "remove it".to_owned(),
            };
            let known = self.asked.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            // At the name: it is the name that is wrong, not the value.
            let at = self.source_of_name(node);
            node.note(at, Some("not a known member".to_owned()), Refused::new(format!("only {known}"), remedy));
        }
    }

    fn source_of_name(&self, node: &Node<'d>) -> usize {
        let ast::Value::Object(object) = self.node.value else { return 0 };
        let member = object.properties.iter().find(|member| std::ptr::eq(&raw const member.value, node.value));
        member.map_or(0, |member| member.range.start)
    }
}

/// No digit is lost when the number is kept in 64 bits: a whole number fits, and of another one 15 digits do.
fn is_exact(digits: &str, parsed: &serde_json::Number) -> bool {
    let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
    let significant = mantissa.chars().filter(char::is_ascii_digit).collect::<String>();
    parsed.is_i64() || parsed.is_u64() || significant.trim_matches('0').len() <= 15
}

/// The path of a member: `outputs.score`, or `outputs["my score"]` where the name would not be read as one.
fn member_path(path: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'));
    match (path.is_empty(), plain) {
        (true, true) => name.to_owned(),
        (false, true) => format!("{path}.{name}"),
        (_, false) => format!("{path}[{name:?}]"),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

impl Read for String {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.text_or_refuse().map(str::to_owned)
    }
}

impl Read for bool {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.boolean().or_else(|| {
            let is_quoted = matches!(node.text(), Some("true" | "false"));
            let remedy = if is_quoted { "write it without quotes" } else { "write true or false, without quotes" };
            node.refused(Refused::new("true or false", remedy))
        })
    }
}

impl Read for u32 {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.whole_number(0, i64::from(Self::MAX), "correct it")?.try_into().ok()
    }
}

impl Read for i32 {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.whole_number(i64::from(Self::MIN), i64::from(Self::MAX), "correct it")?.try_into().ok()
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node<'_>) -> Option<Self> {
        Some(node.list("texts")?.iter().filter_map(T::read).collect())
    }
}
