//! One rule, as the file has it.

use std::collections::BTreeMap;

use super::exclude::{Exclude, Glob};
use super::policy::Policy;
use super::settings::Settings;
use super::template::Template;
use super::upload::{Complete, Renames};
use crate::id::{AccountName, ContainerName, DeploymentName, EndpointUri, RuleId, WorkspaceId};
use crate::job::OutputKind;

/// Where results go when a rule names no output: the workspace's default datastore, one path per attempt.
pub const DEFAULT_OUTPUT: &str =
    "azureml://datastores/workspaceblobstore/paths/scorekeeper/{rule.id}/{scoring.id}/{attempt}/predictions.csv";

/// One rule. See `README.md`, *Rules*, for the members and their defaults.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Rule {
    /// Stable name; part of every scoring's id. Renaming a rule scores everything again.
    pub id: RuleId,
    /// Which blob versions it wants.
    #[cfg_attr(feature = "schema", schemars(rename = "match"))]
    pub matches: Match,
    /// Where their scorings are submitted.
    pub endpoint: Target,
    /// Inputs by name; default: one `UriFile` named `input_data` with the blob's URL.
    #[cfg_attr(feature = "schema", schemars(with = "Option<BTreeMap<String, InputTemplate>>", transform = super::forms::named))]
    pub inputs: BTreeMap<String, InputTemplate>,
    /// Outputs by name; default: one `UriFile` named `score` at [`DEFAULT_OUTPUT`].
    #[cfg_attr(feature = "schema", schemars(with = "Option<BTreeMap<String, OutputTemplate>>", transform = super::forms::named))]
    pub outputs: BTreeMap<String, OutputTemplate>,
    /// Further members of the request's `properties` (`miniBatchSize`, `compute`, …), in REST's spelling. Their texts are
    /// templates.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Settings>"))]
    pub settings: Settings,
    /// Jobs get tags that say whose they are. Off for a service that refuses a request with the member `tags`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"))]
    pub tags: bool,
    /// Raise it to score everything again under the same rule.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u32>"))]
    pub generation: u32,
    /// Most jobs of this rule at one time; absent: no limit.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub max_in_flight: Option<u32>,
    /// Goes before rules of lower priority at the same endpoint; see [`crate::schedule`].
    #[cfg_attr(feature = "schema", schemars(with = "Option<i32>", range(min = i32::MIN, max = i32::MAX)))]
    pub priority: i32,
    /// What to do with blobs of no bytes.
    #[cfg_attr(feature = "schema", schemars(with = "Option<EmptyBlobs>"))]
    pub empty_blobs: EmptyBlobs,
    /// When a blob is whole.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Complete>"))]
    pub complete: Complete,
    /// What to do with blobs that were renamed into its place.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Renames>"))]
    pub renames: Renames,
    /// Times, retries, and what to do when an answer is lost.
    #[cfg_attr(feature = "schema", schemars(flatten))]
    pub policy: Policy,
}

impl Rule {
    /// No input says which blob it is made for: all scorings of the rule have the same inputs. After a lost answer a job
    /// that shows neither outputs nor tags may then be any of theirs.
    pub fn has_shared_inputs(&self) -> bool {
        let tells = |input: &InputTemplate| match input {
            InputTemplate::UriFile { uri } | InputTemplate::UriFolder { uri } => uri.tells_the_blob(),
            InputTemplate::Literal { value: Literal::Template(template) } => template.tells_the_blob(),
            InputTemplate::Literal { value: Literal::AsWritten(_) } => false,
        };
        !self.inputs.values().any(tells)
    }
}

/// What a rule wants. All given members must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Match {
    /// Storage account; absent: any account whose events arrive.
    pub account: Option<AccountName>,
    /// The container's name, exactly.
    pub container: ContainerName,
    /// The decoded path begins with this text; case matters, as it does in Azure Storage.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", transform = super::forms::prefix))]
    pub prefix: String,
    /// The decoded path ends with this text (`.csv`).
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("pattern" = "^[^*\\\\]*$")))]
    pub suffix: String,
    /// The decoded path has one of these forms; none: any path. `*` within a segment, `**/` any number of segments, `?` one
    /// character, `[ab]` one of these.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<Glob>>"))]
    pub globs: Vec<Glob>,
    /// What of these is not wanted all the same; default: temporary names and markers.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Exclude>"))]
    pub exclude: Exclude,
}

/// Where a rule's scorings are submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Target {
    /// The batch endpoint's invoke URI.
    pub uri: EndpointUri,
    /// Deployment; absent: the endpoint's default.
    pub deployment: Option<DeploymentName>,
    /// ARM id of the workspace (`/subscriptions/…/workspaces/NAME`). Without it a submission whose answer was lost
    /// before any job of the endpoint was seen cannot be looked for, and waits.
    pub workspace: Option<WorkspaceId>,
}

/// An input whose texts are templates.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(tag = "type", deny_unknown_fields, transform = super::forms::literal))]
pub enum InputTemplate {
    /// One file, most often the blob itself.
    UriFile {
        /// Its URI: https, `azureml://datastores/…/paths/…`, an ARM datastore path or a data asset's id.
        #[cfg_attr(feature = "schema", schemars(transform = super::forms::input))]
        uri: Template,
    },
    /// A folder, for deployments that read several files.
    UriFolder {
        /// Its URI; a slash is added at its end where there is none.
        #[cfg_attr(feature = "schema", schemars(transform = super::forms::input))]
        uri: Template,
    },
    /// A value, for pipeline component deployments only.
    Literal {
        /// The value that is sent.
        #[cfg_attr(feature = "schema", schemars(skip))]
        value: Literal,
    },
}

/// A literal value of a rule's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// `value`: a text, a number or a boolean, sent exactly as it was written. A text may be JSON or anything else with braces.
    AsWritten(String),
    /// `template`: a text with placeholders.
    Template(Template),
}

/// An output whose URI is a template.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct OutputTemplate {
    /// Whether one file or a folder is written; model deployments take files only.
    #[cfg_attr(feature = "schema", schemars(rename = "type"))]
    pub kind: OutputKind,
    /// Its URI; must hold `{scoring.id}` and `{attempt}`.
    #[cfg_attr(feature = "schema", schemars(transform = super::forms::output))]
    pub uri: Template,
}

/// What to do with blobs of no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "lowercase"))]
pub enum EmptyBlobs {
    /// Skip and record (default): there is nothing to score.
    #[default]
    Skip,
    /// Score them like any other.
    Score,
}

pub(super) fn default_inputs() -> BTreeMap<String, InputTemplate> {
    let uri = Template::parse("{blob.url}").expect("the built-in template parses");
    BTreeMap::from([("input_data".to_owned(), InputTemplate::UriFile { uri })])
}

pub(super) fn default_outputs() -> BTreeMap<String, OutputTemplate> {
    let uri = Template::parse(DEFAULT_OUTPUT).expect("the built-in template parses");
    BTreeMap::from([("score".to_owned(), OutputTemplate { kind: OutputKind::UriFile, uri })])
}
