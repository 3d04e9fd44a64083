//! One rule, as the file has it.

use std::collections::BTreeMap;

use super::exclude::{Exclude, Glob};
use super::group::GroupSettings;
use super::metadata_and_tags::{AskedMetadata, AskedTags};
use super::policy::Policy;
use super::publish::Publish;
use super::settings::Settings;
use super::split::Split;
use super::sweep_schedule::SweepSchedule;
use super::template::Template;
use super::upload::{Api, Complete, MediaType, Overwrites, Renames};
use crate::blob::BlobVersion;
use crate::id::{
    AccountName, ContainerName, DeploymentName, EndpointUri, IdentityName, LedgerId, RuleId, ScoringId, WorkspaceId,
};
use crate::job::{InputMode, OutputKind, OutputMode};

/// Where results go when a rule names no output: the workspace's default datastore, one path per attempt.
pub const DEFAULT_OUTPUT: &str =
    "azureml://datastores/workspaceblobstore/paths/scorekeeper/{rule.id}/{scoring.id}/{attempt}/predictions.csv";

/// One rule. See `README.md`, *Rules*, for the members and their defaults.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "camelCase", deny_unknown_fields, transform = super::forms::rule))]
pub struct Rule {
    /// Stable name; part of every scoring's id. Renaming a rule scores everything again.
    pub id: RuleId,
    /// Which blob versions it wants.
    #[cfg_attr(feature = "schema", schemars(rename = "match"))]
    pub matches: Match,
    /// Where their scorings are submitted.
    pub endpoint: Target,
    /// Inputs by name; default: one `UriFile` named `input_data` with the blob's URL, or the marker's folder as `UriFolder`. None
    /// at all is for pipeline component deployments.
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
    /// What to do with further versions of a path.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Overwrites>"))]
    pub overwrites: Overwrites,
    /// What to do with blobs that were renamed into its place.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Renames>"))]
    pub renames: Renames,
    /// Several uploads share one job; absent: each has its own.
    pub group: Option<GroupSettings>,
    /// How its place is swept for versions that no event told of.
    #[cfg_attr(feature = "schema", schemars(flatten))]
    pub sweep: SweepSchedule,
    /// The rule whose shadow this one is.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub shadow_of: Option<RuleId>,
    /// The metadata that its texts name, in lower case, with whether a `uri` is among them.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub metadata_in_texts: BTreeMap<String, bool>,
    /// Times, retries, and what to do when an answer is lost.
    #[cfg_attr(feature = "schema", schemars(flatten))]
    pub policy: Policy,
}

impl Rule {
    /// The id of a blob version's scoring under this rule. Where overwrites are ignored it is that of the path, so that no second
    /// version can be taken in beside the first, by whomever and whenever.
    pub fn scoring_id(&self, ledger: &LedgerId, blob: &BlobVersion) -> ScoringId {
        let any_version = || BlobVersion { etag: "*".to_owned(), ..blob.clone() };
        match self.overwrites {
            Overwrites::Ignore => ScoringId::new(ledger, &self.id, &any_version(), self.generation),
            Overwrites::NewVersion | Overwrites::LatestOnly => ScoringId::new(ledger, &self.id, blob, self.generation),
        }
    }

    /// No input says which blob it is made for: all scorings of the rule have the same inputs. After a lost answer a job
    /// that shows neither outputs nor tags may then be any of theirs.
    pub fn has_shared_inputs(&self) -> bool {
        let is_marker = matches!(self.complete, Complete::Marker(_));
        let tells = |text: &Template| text.tells_the_blob() || is_marker && text.tells_the_folder();
        !self.inputs.values().any(|input| match input {
            InputTemplate::UriFile(source) | InputTemplate::UriFolder(source) => tells(&source.uri),
            InputTemplate::Literal { value: Literal::Template(template), .. } => tells(template),
            InputTemplate::Literal { value: Literal::AsWritten(_), .. } => false,
        })
    }

    /// Names of the inputs that a start may give a value for.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        let declared = |input: &InputTemplate| matches!(input, InputTemplate::Literal { parameter: true, .. });
        self.inputs.iter().filter(move |(_, input)| declared(input)).map(|(name, _)| name.as_str())
    }

    /// The deployment that a blob's scoring goes to; `None`: the endpoint's default.
    pub fn deployment_for(&self, blob: &BlobVersion) -> Option<&DeploymentName> {
        match &self.endpoint.deployments {
            Some(split) => split.pick(&self.id, &blob.url, self.generation),
            None => self.endpoint.deployment.as_ref(),
        }
    }

    /// The rule as it would be for each of its deployments alone.
    pub fn by_deployment(&self) -> Vec<Self> {
        let Some(split) = &self.endpoint.deployments else { return vec![self.clone()] };
        let alone = |name: &DeploymentName| {
            let deployment = Some(name.clone());
            Self { endpoint: Target { deployment, deployments: None, ..self.endpoint.clone() }, ..self.clone() }
        };
        split.deployments().map(alone).collect()
    }
}

/// What a rule wants. All given members must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Match {
    /// Storage account; absent: any account whose events arrive.
    pub account: Option<AccountName>,
    /// The container's name, exactly; it takes no pattern.
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
    /// It has so many bytes at least.
    pub min_bytes: Option<u64>,
    /// It has so many bytes at most.
    pub max_bytes: Option<u64>,
    /// Its content type is one of these, whatever its parameters: `text/csv`, or `text/*`. None: any.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<MediaType>>"))]
    pub content_types: Vec<MediaType>,
    /// It was written by one of these operations of Azure Storage, as events name them. None: any.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<Api>>"))]
    pub apis: Vec<Api>,
    /// It has metadata of these names: a value, one of several, `true` for any, or `false` for none. The blob is looked at first,
    /// as no event tells.
    #[cfg_attr(feature = "schema", schemars(with = "Option<AskedMetadata>"))]
    pub metadata: AskedMetadata,
    /// The same for its index tags. They take a request and a right of their own.
    #[cfg_attr(feature = "schema", schemars(with = "Option<AskedTags>"))]
    pub index_tags: AskedTags,
    /// What of these is not wanted all the same; default: temporary names and markers.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Exclude>"))]
    pub exclude: Exclude,
}

/// Where a rule's scorings are submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields, transform = super::forms::target))]
pub struct Target {
    /// The batch endpoint's invoke URI.
    pub uri: EndpointUri,
    /// Deployment; absent: the endpoint's default.
    pub deployment: Option<DeploymentName>,
    /// Shares of several deployments in hundredths, in place of `deployment`: `{"v7": 90, "v8": 10}`. Each blob has one of them by
    /// its URL.
    pub deployments: Option<Split>,
    /// Another deployment that scores each blob too, for comparison: as the rule `ID-shadow`, whose scorings, outputs and limits
    /// are its own.
    pub shadow: Option<DeploymentName>,
    /// ARM id of the workspace (`/subscriptions/…/workspaces/NAME`). Without it a submission whose answer was lost
    /// before any job of the endpoint was seen cannot be looked for, and waits.
    pub workspace: Option<WorkspaceId>,
    /// By whom the endpoint, its jobs and its workspace are asked: one of the identities that the app's setting
    /// `SCOREKEEPER_IDENTITIES` names; absent: the app's own. For an endpoint in another tenant.
    pub identity: Option<IdentityName>,
}

/// An input whose texts are templates.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(tag = "type", transform = super::forms::inputs))]
pub enum InputTemplate {
    /// One file, most often the blob itself.
    UriFile(Source),
    /// A folder, for deployments that read several files; a slash is added at its end where there is none.
    UriFolder(Source),
    /// A value, for pipeline component deployments only.
    Literal {
        /// The value that is sent.
        #[cfg_attr(feature = "schema", schemars(skip))]
        value: Literal,
        /// Whoever starts a scoring without an upload may give another value for it, under the input's name. Default: false.
        #[cfg_attr(feature = "schema", schemars(with = "Option<bool>"))]
        parameter: bool,
    },
}

/// The file or folder that an input of a rule reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
pub struct Source {
    /// Its URI: https, `azureml://datastores/…/paths/…`, an ARM datastore path or a data asset's id.
    #[cfg_attr(feature = "schema", schemars(transform = super::forms::input))]
    pub uri: Template,
    /// How it is brought to the job; absent: mounted to be read.
    pub mode: Option<InputMode>,
    /// A text for people, sent as the input's `Description`.
    pub description: Option<Template>,
}

impl Source {
    pub(super) fn at(uri: Template) -> Self {
        Self { uri, mode: None, description: None }
    }
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
    /// How it is brought there.
    pub mode: Option<OutputMode>,
    /// A text for people, sent as the output's `Description`.
    pub description: Option<Template>,
    /// Where the verified result is published too; absent: nowhere.
    pub publish: Option<Publish>,
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

/// The blob itself, or the folder of the marker that says that it is complete.
pub(super) fn default_inputs(complete: &Complete) -> BTreeMap<String, InputTemplate> {
    let source = |text| Source::at(Template::parse(text).expect("the built-in template parses"));
    let input = match complete {
        Complete::Marker(_) => InputTemplate::UriFolder(source("{blob.folderUrl}")),
        Complete::Closed | Complete::UnchangedFor(_) => InputTemplate::UriFile(source("{blob.url}")),
    };
    BTreeMap::from([("input_data".to_owned(), input)])
}

pub(super) fn default_outputs() -> BTreeMap<String, OutputTemplate> {
    let uri = Template::parse(DEFAULT_OUTPUT).expect("the built-in template parses");
    let output = OutputTemplate { kind: OutputKind::UriFile, uri, mode: None, description: None, publish: None };
    BTreeMap::from([("score".to_owned(), output)])
}
