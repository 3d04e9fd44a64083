//! Whether the filters of an event subscription let through what a rule wants.
//!
//! A rule wants the events about all blobs of a container whose path has its prefix and suffix, which are complete (one
//! of [`COMPLETE`], with [`BEGUN`] if it takes files that nobody closes) and, unless content may come after its event, not
//! empty; and where files can be renamed, the events about new names of such blobs and of folders that may hold some. A
//! subscription has filters that must all hold; within one filter any of its values will do.
//!
//! The answer is cautious on both sides: [`Coverage::Whole`] is said only of what is proved, and so is
//! [`Coverage::Part`], for which there is a blob that the rule wants and the filter stops. Between them lies
//! [`Coverage::Inconclusive`].
//!
//! Source: Azure Event Grid, *Understand event filtering for Event Grid subscriptions*: strings are compared without
//! regard to case, but for `subjectBeginsWith` and `subjectEndsWith` with `isSubjectCaseSensitive`.

use lifecycle::Rule;
use lifecycle::intake::{BEGUN, COMPLETE};
use lifecycle::rule::{Complete, EmptyBlobs};
use serde_json::Value;

/// The kind of event that a filter is held against, by what it tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    /// A blob was created, or its content was written anew.
    Created,
    /// A blob has another name.
    Renamed,
    /// A folder has another name, and by that its files.
    FolderRenamed,
}

impl EventKind {
    fn event_type(self) -> &'static str {
        match self {
            Self::Created => "Microsoft.Storage.BlobCreated",
            Self::Renamed => "Microsoft.Storage.BlobRenamed",
            Self::FolderRenamed => "Microsoft.Storage.DirectoryRenamed",
        }
    }
}

/// The largest blob has about 190.7 TiB (50,000 blocks of 4,000 MiB).
const MAX_BLOB_BYTES: f64 = 2.1e14;

/// What of a rule's events a filter lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Coverage {
    /// It lets through all of them.
    Whole,
    /// It cannot be told, for this reason.
    Inconclusive(String),
    /// Not all; here is what it stops.
    Part(String),
    /// None of them comes through: here is why.
    None(String),
}

/// What kinds of writing the account knows; `None`: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Account {
    /// A hierarchical namespace: blobs are also written through the Data Lake API.
    pub(super) hierarchical: Option<bool>,
    /// Blobs are also written by SFTP.
    pub(super) sftp: Option<bool>,
}

/// What of the rule's events about this the filter of a subscription (`properties.filter`) lets through.
pub(super) fn of(filter: &Value, rule: &Rule, account: Account, told: EventKind) -> Coverage {
    let wanted = WantedEvents::of(rule, account, told);
    let event_type = told.event_type();
    let mut worst = Coverage::Whole;
    let mut add = |coverage: Coverage| {
        if rank(&coverage) > rank(&worst) {
            worst = coverage;
        }
    };
    let sensitive = filter.get("isSubjectCaseSensitive").and_then(Value::as_bool).unwrap_or(false);
    let text = |name: &str| filter.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(begin) = text("subjectBeginsWith") {
        add(wanted.begins_with(&[begin], sensitive));
    }
    if let Some(end) = text("subjectEndsWith") {
        add(wanted.ends_with(&[end], sensitive));
    }
    let types: Option<Vec<&str>> = filter
        .get("includedEventTypes")
        .and_then(Value::as_array)
        .map(|types| types.iter().filter_map(Value::as_str).collect());
    // None and an empty list mean all; so did "All" once.
    if let Some(types) = types.filter(|types| !types.is_empty())
        && !types.iter().any(|its| its.eq_ignore_ascii_case(event_type) || its.eq_ignore_ascii_case("All"))
    {
        add(Coverage::None(format!("includedEventTypes is {}, without {event_type}", types.join(", "))));
    }
    for advanced in filter.get("advancedFilters").and_then(Value::as_array).into_iter().flatten() {
        add(wanted.advanced(advanced));
    }
    worst
}

/// None beats part, part beats what is inconclusive: one filter that surely stops something is enough.
fn rank(coverage: &Coverage) -> u8 {
    match coverage {
        Coverage::Whole => 0,
        Coverage::Inconclusive(_) => 1,
        Coverage::Part(_) => 2,
        Coverage::None(_) => 3,
    }
}

/// The events that a rule wants.
struct WantedEvents {
    /// What every subject begins with: the container's path, and the rule's prefix unless a folder was renamed.
    begin: String,
    /// What the subject of every event ends with: the rule's suffix; empty for folders.
    end: String,
    /// Bytes of the smallest blob that the rule wants an event of, 0 or 1.
    least: f64,
    /// Whether that is known; else it may be one without bytes.
    least_is_known: bool,
    told: EventKind,
    /// Operations that raise such events, and whether the account knows them.
    apis: Vec<(&'static str, Option<bool>)>,
}

impl WantedEvents {
    fn of(rule: &Rule, account: Account, told: EventKind) -> Self {
        let matches = &rule.matches;
        let unclosed = matches!(rule.complete, Complete::UnchangedFor(_));
        // A folder may lie above the rule's prefix, and has no suffix.
        let (prefix, end) = match told {
            EventKind::Created | EventKind::Renamed => (matches.prefix.as_str(), matches.suffix.clone()),
            EventKind::FolderRenamed => ("", String::new()),
        };
        let happens = |api: &'static str| match api {
            "FlushWithClose" | "CreateFile" | "RenameFile" | "RenameDirectory" => (api, account.hierarchical),
            "SftpCommit" | "SftpCreate" | "SftpRename" => (api, account.sftp),
            _ => (api, Some(true)),
        };
        let apis: Vec<&'static str> = match told {
            EventKind::Created => COMPLETE.into_iter().chain(BEGUN.into_iter().filter(|_| unclosed)).collect(),
            EventKind::Renamed => vec!["RenameFile", "SftpRename"],
            EventKind::FolderRenamed => vec!["RenameDirectory", "SftpRename"],
        };
        let no_bytes = rule.empty_blobs == EmptyBlobs::Score || unclosed;
        Self {
            begin: format!("/blobServices/default/containers/{}/blobs/{prefix}", matches.container),
            end,
            least: if no_bytes || account.hierarchical == Some(true) { 0.0 } else { 1.0 },
            least_is_known: no_bytes || account.hierarchical.is_some(),
            told,
            apis: apis.into_iter().map(happens).collect(),
        }
    }

    /// The subject must begin with any of these.
    fn begins_with(&self, values: &[&str], sensitive: bool) -> Coverage {
        let fold = |text: &str| if sensitive { text.to_owned() } else { text.to_lowercase() };
        let begin = fold(&self.begin);
        let values: Vec<String> = values.iter().map(|value| fold(value)).collect();
        let shown = || values.join(", ");
        if values.iter().any(|value| begin.starts_with(value.as_str())) {
            Coverage::Whole
        } else if values.iter().any(|value| value.starts_with(&begin)) {
            // Longer than what the rule asks for: a path that goes on otherwise is stopped, since a path may go on with
            // more characters than there can be values.
            Coverage::Part(format!(
                "subjects must begin with {}, and the rule wants all that begin with {}",
                shown(),
                self.begin
            ))
        } else {
            Coverage::None(format!("subjects must begin with {}, and the rule wants {}", shown(), self.begin))
        }
    }

    /// The subject must end with any of these.
    fn ends_with(&self, values: &[&str], sensitive: bool) -> Coverage {
        let fold = |text: &str| if sensitive { text.to_owned() } else { text.to_lowercase() };
        let end = fold(&self.end);
        let values: Vec<String> = values.iter().map(|value| fold(value)).collect();
        let shown = || values.join(", ");
        if values.iter().any(|value| end.ends_with(value.as_str())) {
            Coverage::Whole
        } else if values.iter().any(|value| value.ends_with(&end)) {
            let wants = if self.end.is_empty() { "any suffix".to_owned() } else { self.end.clone() };
            Coverage::Part(format!("subjects must end with {}, and the rule wants {wants}", shown()))
        } else {
            Coverage::None(format!("subjects must end with {}, and the rule wants {}", shown(), self.end))
        }
    }

    /// The subject must have any of these in it.
    fn contains(&self, values: &[&str]) -> Coverage {
        let (begin, end) = (self.begin.to_lowercase(), self.end.to_lowercase());
        if values.iter().map(|value| value.to_lowercase()).any(|value| begin.contains(&value) || end.contains(&value)) {
            return Coverage::Whole;
        }
        // Between prefix and suffix may stand anything, also what is in none of the values.
        Coverage::Part(format!("subjects must contain {}, and the rule wants others too", values.join(", ")))
    }

    /// The subject must not be so.
    fn without(values: &[&str], excludes: impl Fn(&str) -> bool, how: &str) -> Coverage {
        match values.iter().find(|value| excludes(&value.to_lowercase())) {
            None => Coverage::Whole,
            Some(value) => Coverage::Part(format!("subjects must not {how} {value}, and the rule wants such blobs")),
        }
    }

    fn subject(&self, operator: &str, values: &[&str]) -> Option<Coverage> {
        let (begin, end) = (self.begin.to_lowercase(), self.end.to_lowercase());
        Some(match operator {
            "stringbeginswith" => self.begins_with(values, false),
            "stringendswith" => self.ends_with(values, false),
            "stringcontains" => self.contains(values),
            "stringin" => Coverage::Part(format!("the subject must be one of {}", values.join(", "))),
            "stringnotbeginswith" => {
                Self::without(values, |value| begin.starts_with(value) || value.starts_with(&begin), "begin with")
            }
            "stringnotendswith" => {
                Self::without(values, |value| end.ends_with(value) || value.ends_with(&end), "end with")
            }
            "stringnotcontains" => Self::without(values, |_| true, "contain"),
            "stringnotin" => Self::without(values, |value| value.starts_with(&begin) && value.ends_with(&end), "be"),
            _ => return None,
        })
    }

    /// The length must be so. What the rule wants are all lengths from the least to the largest.
    fn length(&self, operator: &str, filter: &Value) -> Option<Coverage> {
        if self.told != EventKind::Created {
            let why = "data.contentLength is filtered, and events about new names have none";
            return Some(Coverage::None(why.to_owned()));
        }
        if !lengths_within(operator, filter, self.least)? {
            let wants = if self.least > 0.0 { "all blobs that are not empty" } else { "events about no bytes too" };
            return Some(Coverage::Part(format!("data.contentLength is filtered, and the rule wants {wants}")));
        }
        if !self.least_is_known && !lengths_within(operator, filter, 0.0)? {
            let why = "data.contentLength is filtered, and whether content comes after its event in this account is not known";
            return Some(Coverage::Inconclusive(why.to_owned()));
        }
        Some(Coverage::Whole)
    }

    /// Which of the operations that raise such events pass. One that the account does not know is not missed.
    fn api(&self, operator: &str, values: &[&str]) -> Option<Coverage> {
        let (mut stopped, mut doubtful) = (Vec::new(), Vec::new());
        for (api, happens) in &self.apis {
            if word(operator, values, api)? {
                continue;
            }
            match happens {
                Some(true) => stopped.push(*api),
                Some(false) => {}
                None => doubtful.push(*api),
            }
        }
        let does =
            if self.told == EventKind::Created { "blobs are completed by it" } else { "it gives blobs new names" };
        Some(if !stopped.is_empty() {
            Coverage::Part(format!("data.api must not be {}, and {does}", stopped.join(", ")))
        } else if !doubtful.is_empty() {
            Coverage::Inconclusive(format!(
                "data.api must not be {}, and whether the account knows that is not known",
                doubtful.join(", ")
            ))
        } else {
            Coverage::Whole
        })
    }

    fn advanced(&self, filter: &Value) -> Coverage {
        let text = |name: &str| filter.get(name).and_then(Value::as_str).unwrap_or_default();
        let (operator, key) = (text("operatorType").to_ascii_lowercase(), text("key").to_ascii_lowercase());
        let values: Vec<&str> =
            filter.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let always_there = matches!(&*key, "subject" | "data.api" | "eventtype" | "id")
            || self.told == EventKind::Created && matches!(&*key, "data.contentlength" | "data.url");
        let event_type = self.told.event_type();
        let known = match (&*operator, &*key) {
            ("isnotnull", _) if always_there => Some(Coverage::Whole),
            ("isnullorundefined", _) if always_there => {
                Some(Coverage::None(format!("{key} must be missing, and never is")))
            }
            (_, "subject") => self.subject(&operator, &values),
            (_, "data.contentlength") => self.length(&operator, filter),
            (_, "eventtype" | "type") => word(&operator, &values, event_type).map(|passes| {
                if passes {
                    Coverage::Whole
                } else {
                    Coverage::None(format!("the event type must not be {event_type}"))
                }
            }),
            (_, "data.api") => self.api(&operator, &values),
            _ => None,
        };
        known.unwrap_or_else(|| {
            Coverage::Inconclusive(format!("what {} on {} stops is not known", text("operatorType"), text("key")))
        })
    }
}

/// Whether a filter on strings lets one word through; `None` for an operator that is not known.
fn word(operator: &str, values: &[&str], word: &str) -> Option<bool> {
    let word = word.to_lowercase();
    let any = |test: fn(&str, &str) -> bool| values.iter().any(|value| test(&word, &value.to_lowercase()));
    Some(match operator {
        "stringin" => any(|word, value| word == value),
        "stringbeginswith" => any(|word, value| word.starts_with(value)),
        "stringendswith" => any(|word, value| word.ends_with(value)),
        "stringcontains" => any(|word, value| word.contains(value)),
        "stringnotin" => !any(|word, value| word == value),
        "stringnotbeginswith" => !any(|word, value| word.starts_with(value)),
        "stringnotendswith" => !any(|word, value| word.ends_with(value)),
        "stringnotcontains" => !any(|word, value| word.contains(value)),
        _ => return None,
    })
}

/// Whether all lengths from the least to the largest pass; `None` for a filter that is not understood.
fn lengths_within(operator: &str, filter: &Value, least: f64) -> Option<bool> {
    let value = filter.get("value").and_then(Value::as_f64);
    let ranges = || {
        let values = filter.get("values").and_then(Value::as_array).into_iter().flatten();
        values.filter_map(|range| Some((range.get(0)?.as_f64()?, range.get(1)?.as_f64()?)))
    };
    Some(match operator {
        "numbergreaterthan" => value? < least,
        "numbergreaterthanorequals" => value? <= least,
        "numberlessthan" => value? > MAX_BLOB_BYTES,
        "numberlessthanorequals" => value? >= MAX_BLOB_BYTES,
        "numberinrange" => ranges().any(|(from, to)| from <= least && to >= MAX_BLOB_BYTES),
        "numbernotinrange" => ranges().all(|(from, to)| to < least || from > MAX_BLOB_BYTES),
        "numberin" => false,
        "numbernotin" => {
            let values = filter.get("values").and_then(Value::as_array)?;
            values.iter().filter_map(Value::as_f64).all(|value| value < least || value > MAX_BLOB_BYTES)
        }
        _ => return None,
    })
}

/// Whether the filters stop events of uploads that are only begun. They do no harm but cost a call each.
pub(super) fn stops_unfinished(filter: &Value) -> bool {
    filter.get("advancedFilters").and_then(Value::as_array).into_iter().flatten().any(|advanced| {
        let text = |name: &str| advanced.get(name).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
        let values: Vec<&str> =
            advanced.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        text("key") == "data.api" && word(&text("operatorType"), &values, "CreateFile") == Some(false)
    })
}

#[cfg(test)]
mod tests;
