//! Who the app is to Azure, and in which cloud: found in a fixed order, and shown by `scorekeeper config`.
//!
//! 1. What `SCOREKEEPER_IDENTITY` names.
//! 2. A service principal, where `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and one proof of it are set.
//! 3. The managed identity: user-assigned by `AZURE_CLIENT_ID`, else the system-assigned one. For a command of a person, where no
//!    platform provides one: whoever is signed in.
//!
//! Further identities, for rules whose endpoints are in other tenants, are named by `SCOREKEEPER_IDENTITIES`; who each is, the same
//! settings say under names of its own.
//!
//! A service principal of which a part is missing is a problem. It would be taken for a managed identity silently else, and the
//! token would be that of somebody with other rights.

use std::collections::BTreeMap;
use std::path::PathBuf;

use azure::tokens::{Identity, ManagedIdentity, Proof, ServicePrincipal};
use lifecycle::{IdentityName, Rules};
use url::Url;

use super::problems::Refused;
use super::{AzureCloudFacts, Problem, Reader, Setting, Source, Vars};

pub(super) const NAME: &str = "SCOREKEEPER_IDENTITY";
/// Names of further identities, for rules.
pub(super) const FURTHER: &str = "SCOREKEEPER_IDENTITIES";
const CLOUD: &str = "AZURE_CLOUD";
const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const SECRET: &str = "AZURE_CLIENT_SECRET";
const SECRET_FILE: &str = "AZURE_CLIENT_SECRET_FILE";
const CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// All of them, for whoever starts a process with an identity of another kind.
#[cfg(feature = "dev")] // for `local`
pub(crate) const ALL: [&str; 9] =
    [NAME, CLOUD, AUTHORITY, TENANT, CLIENT, SECRET, SECRET_FILE, CERTIFICATE, TOKEN_FILE];
/// What a service principal proves itself with.
const PROOFS: [&str; 4] = [SECRET, SECRET_FILE, CERTIFICATE, TOKEN_FILE];
/// Those that say who somebody is, of the app itself.
const OF_ONE: [&str; 8] = [NAME, AUTHORITY, TENANT, CLIENT, SECRET, SECRET_FILE, CERTIFICATE, TOKEN_FILE];

/// A setting of the app's own identity as a further one has it: `AZURE_TENANT_ID` is `SCOREKEEPER_IDENTITY_PARTNER_TENANT_ID`.
fn of_further(setting: &str, identity: &IdentityName) -> String {
    let rest = setting.strip_prefix("AZURE").filter(|_| setting != NAME).unwrap_or_default();
    format!("{NAME}_{}{rest}", identity.to_ascii_uppercase())
}

/// Names of further identities, as far as they can be read.
pub(crate) fn further_identities(vars: &dyn Vars) -> Vec<IdentityName> {
    let listed = vars.get(FURTHER).unwrap_or_default();
    listed.split(',').filter_map(|name| name.trim().parse().ok()).collect()
}

/// Whether a setting says who one of them is.
pub(super) fn is_of_further(setting: &str, vars: &dyn Vars) -> bool {
    further_identities(vars).iter().any(|name| OF_ONE.iter().any(|one| of_further(one, name) == setting))
}

/// The settings as those of the app's own identity would be, if it were a further one.
struct AsFurther<'a> {
    vars: &'a dyn Vars,
    identity: &'a IdentityName,
}

impl Vars for AsFurther<'_> {
    fn get(&self, name: &str) -> Option<String> {
        // What is said of the app itself says nothing of another; the cloud is one for all.
        if OF_ONE.contains(&name) { self.vars.get(&of_further(name, self.identity)) } else { self.vars.get(name) }
    }

    fn names(&self) -> Vec<String> {
        self.vars.names()
    }
}

/// What `SCOREKEEPER_IDENTITY` says: in which way tokens are obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
enum IdentityChoice {
    /// By `AZURE_CLIENT_ID`, else the system-assigned one.
    Managed,
    /// The user-assigned managed identity with this client, object or resource id.
    ManagedOne(ManagedIdentity),
    /// A service principal that proves itself with a secret or a certificate of the settings.
    ServicePrincipal,
    /// A service principal that proves itself with a federated token, which a file holds.
    Workload,
    /// By the token of this managed identity, which the application trusts.
    WorkloadOf(ManagedIdentity),
    SignedIn,
}

/// What a service principal proves itself with.
enum ProofBy<'a> {
    /// Those that are set of those that may be.
    Settings {
        set: &'a [&'static str],
        of: &'static [&'static str],
    },
    ManagedIdentity(ManagedIdentity),
}

/// Who runs what reads the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunBy {
    /// A host, as the app: there is an identity, or there are no tokens.
    Host,
    /// A person, or a script for one.
    Person,
}

/// Whether these variables give a process an identity of its own; whoever runs it asks as somebody who is signed in else.
pub(crate) fn is_app(vars: &dyn Vars) -> bool {
    let is_set = |name: &str| vars.get(name).is_some_and(|value| !value.trim().is_empty());
    match vars.get(NAME).as_deref().map(str::trim) {
        Some(SIGNED_IN) => false,
        Some(wanted) if !wanted.is_empty() => true,
        _ => ["IDENTITY_ENDPOINT", CLIENT].into_iter().chain(PROOFS).any(is_set),
    }
}

const SIGNED_IN: &str = "signedIn";
/// Begins the name of a managed identity whose token is the proof.
const WORKLOAD_OF: &str = "workloadIdentity:";

impl Reader<'_> {
    /// The cloud that is named, and the default of what depends on it.
    pub(super) fn cloud(&mut self) -> Option<&'static AzureCloudFacts> {
        let text = self.get(CLOUD)?;
        let named = AzureCloudFacts::named(&text);
        if named.is_some() {
            self.understood(CLOUD, &text, Source::Variable(CLOUD.to_owned()));
        } else {
            let expected = "`AzureCloud`, `AzureChinaCloud` or `AzureUSGovernment`";
            self.problem(CLOUD, Some(&text), Refused::new(expected, "leave it out for the public cloud"));
        }
        named
    }

    /// Azure Resource Manager, by default that of the cloud that is named.
    pub(super) fn resource_manager(&mut self) -> Url {
        const NAME: &str = "SCOREKEEPER_RESOURCE_MANAGER";
        let named = self.cloud();
        let default = named.map_or(azure::resource_manager::PUBLIC_CLOUD, |cloud| cloud.resource_manager);
        let url = self.read(NAME, default, super::resource_manager);
        if let (Some(named), Some(other)) = (named, AzureCloudFacts::of(&url))
            && *named != *other
        {
            let expected = format!("that of the cloud which {CLOUD} names, {}", named.resource_manager);
            self.problem(
                NAME,
                Some(url.as_str()),
                Refused::new(expected, format!("leave out one of {NAME} and {CLOUD}")),
            );
        }
        url
    }

    /// Who asks. `None` only together with a problem.
    pub(super) fn identity(&mut self, resource_manager: &Url, run_by: RunBy) -> Option<Identity> {
        let before = self.problems.len();
        let wanted = self.wanted();
        let client = self.client_id();
        let proofs: Vec<&'static str> = PROOFS.into_iter().filter(|name| self.get(name).is_some()).collect();
        let of: &'static [&'static str] = match wanted {
            Some(IdentityChoice::Workload) => &[TOKEN_FILE],
            Some(IdentityChoice::ServicePrincipal) => &[SECRET, SECRET_FILE, CERTIFICATE],
            _ => &PROOFS,
        };
        let (identity, source) = match &wanted {
            Some(IdentityChoice::SignedIn) => (Some(Identity::SignedIn), Source::Variable(NAME.to_owned())),
            Some(IdentityChoice::ManagedOne(one)) => {
                (Some(Identity::Managed(one.clone())), Source::Variable(NAME.to_owned()))
            }
            Some(IdentityChoice::Managed) => (Some(managed(client)), Source::Variable(NAME.to_owned())),
            Some(IdentityChoice::Workload | IdentityChoice::ServicePrincipal) => {
                let set: Vec<_> = proofs.into_iter().filter(|name| of.contains(name)).collect();
                let source = Source::Variable(NAME.to_owned());
                (self.service_principal(client, ProofBy::Settings { set: &set, of }, resource_manager), source)
            }
            Some(IdentityChoice::WorkloadOf(which)) => {
                let by = ProofBy::ManagedIdentity(which.clone());
                (self.service_principal(client, by, resource_manager), Source::Variable(NAME.to_owned()))
            }
            // A tenant alone is set by tools for people; with an application beside it somebody means a service principal.
            None if proofs.is_empty() && !(self.get(TENANT).is_some() && client.is_some()) => {
                let why = if client.is_some() { format!("{CLIENT} is set") } else { "no other is named".to_owned() };
                let identity =
                    if run_by == RunBy::Host || is_app(self.vars) { managed(client) } else { Identity::SignedIn };
                (Some(identity), Source::Default(Some(why)))
            }
            None => {
                let why = proofs.first().map(|name| format!("{name} is set"));
                (
                    self.service_principal(client, ProofBy::Settings { set: &proofs, of }, resource_manager),
                    Source::Default(why),
                )
            }
        };
        if let Some(identity) = &identity
            && self.problems.len() == before
        {
            self.understood(NAME, identity.to_string(), source);
        }
        identity
    }

    /// Identities beside the app's own, by the names that rules have for them, and whether each rule names one of them.
    pub(super) fn further_identities(
        &mut self,
        resource_manager: &Url,
        rules: Option<&Rules>,
    ) -> BTreeMap<IdentityName, Identity> {
        let names: Vec<IdentityName> = self.read(FURTHER, "", |text| {
            let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            let name = |entry: &str| {
                entry.parse().map_err(|why: lifecycle::id::InvalidIdentityName| {
                    Refused::new(format!("names with commas between ({why})"), "rules name them in `endpoint.identity`")
                })
            };
            entries.map(name).collect()
        });
        for rule in rules.into_iter().flatten() {
            let Some(name) = rule.endpoint.identity.as_ref().filter(|name| !names.contains(name)) else { continue };
            let expected =
                format!("in `endpoint.identity` of the rule `{}` one of those that {FURTHER} names", rule.id);
            let remedy = format!("name it there and say who it is ({}), or correct the rule", of_further(NAME, name));
            self.problem(super::rules::NAME, Some(name.as_str()), Refused::new(expected, remedy));
        }
        let read = names.into_iter().filter_map(|name| {
            let identity = self.further(&name, resource_manager)?;
            Some((name, identity))
        });
        read.collect()
    }

    fn further(&mut self, name: &IdentityName, resource_manager: &Url) -> Option<Identity> {
        let vars = AsFurther { vars: self.vars, identity: name };
        if !OF_ONE.iter().any(|one| vars.get(one).is_some_and(|value| !value.trim().is_empty())) {
            let expected = format!("who the identity is that {FURTHER} names");
            let remedy = format!(
                "write it as {NAME} would have it; or {}, {} and one of {}",
                of_further(TENANT, name),
                of_further(CLIENT, name),
                PROOFS.map(|proof| of_further(proof, name)).join(", ")
            );
            self.problem(&of_further(NAME, name), None, Refused::new(expected, remedy));
            return None;
        }
        let mut reader = Reader { vars: &vars, problems: Vec::new(), settings: Vec::new() };
        let identity = reader.identity(resource_manager, RunBy::Host);
        let Reader { problems, settings, .. } = reader;
        let renamed = |text: &str| {
            OF_ONE.iter().skip(1).fold(text.replace(NAME, &of_further(NAME, name)), |text, one| {
                // A name that begins another one's is not that other one.
                let parts: Vec<&str> = text.split(one).collect();
                let mut renamed = parts[0].to_owned();
                for part in &parts[1..] {
                    let is_longer = part.starts_with(|next: char| next == '_' || next.is_ascii_uppercase());
                    renamed += if is_longer { one } else { "" };
                    renamed += &(if is_longer { String::new() } else { of_further(one, name) });
                    renamed += part;
                }
                renamed
            })
        };
        self.problems.extend(problems.into_iter().map(|problem| Problem {
            name: renamed(&problem.name),
            expected: renamed(&problem.expected),
            remedy: renamed(&problem.remedy),
            ..problem
        }));
        // What is the same for all by default is shown once, of the app itself.
        let told = settings.into_iter().filter(|it| it.name == NAME || matches!(it.source, Source::Variable(_)));
        self.settings.extend(told.map(|Setting { name, value, source }| {
            let source = match source {
                Source::Variable(variable) => Source::Variable(renamed(&variable)),
                Source::Default(Some(why)) => Source::Default(Some(renamed(&why))),
                other => other,
            };
            Setting { name: renamed(&name).into(), value, source }
        }));
        identity
    }

    fn wanted(&mut self) -> Option<IdentityChoice> {
        let text = self.get(NAME)?;
        let wanted = match (text.strip_prefix(WORKLOAD_OF), text.as_str()) {
            (Some(which), _) => user_assigned(which).map(IdentityChoice::WorkloadOf),
            (None, "managedIdentity") => Some(IdentityChoice::Managed),
            (None, "servicePrincipal") => Some(IdentityChoice::ServicePrincipal),
            (None, "workloadIdentity") => Some(IdentityChoice::Workload),
            (None, SIGNED_IN) => Some(IdentityChoice::SignedIn),
            (None, which) => user_assigned(which).map(IdentityChoice::ManagedOne),
        };
        if wanted.is_none() {
            let expected = "`managedIdentity`, `servicePrincipal`, `workloadIdentity`, `signedIn`, or a user-assigned identity as \
                            `clientId=ID`, `objectId=ID` or `resourceId=/subscriptions/…/userAssignedIdentities/NAME`, with `workloadIdentity:` before it \
                            if an application trusts that identity";
            // It may be a secret that was pasted into the wrong line.
            let shown = format!("({} characters, not shown)", text.chars().count());
            self.problem(NAME, Some(&shown), Refused::new(expected, "leave it out for what the other settings say"));
        }
        wanted
    }

    fn service_principal(
        &mut self,
        client_id: Option<String>,
        proof: ProofBy<'_>,
        resource_manager: &Url,
    ) -> Option<Identity> {
        let remedy = match &proof {
            ProofBy::Settings { of: [one], .. } => format!(
                "set {TENANT}, {CLIENT} and {one}; or name a managed identity that the application trusts, {NAME}={WORKLOAD_OF}clientId=ID"
            ),
            ProofBy::Settings { of, .. } => format!(
                "set {TENANT}, {CLIENT} and one of {}; or {NAME}=managedIdentity, if that is meant",
                of.join(", ")
            ),
            ProofBy::ManagedIdentity(_) => format!(
                "set {TENANT} to the tenant in which it asks, and {CLIENT} to the application that trusts the managed identity"
            ),
        };
        let tenant = self.get(TENANT);
        for (name, set) in [(TENANT, tenant.is_some()), (CLIENT, self.get(CLIENT).is_some())] {
            if !set {
                self.problem(name, None, Refused::new("part of a service principal", remedy.clone()));
            }
        }
        let proof = match proof {
            ProofBy::Settings { set, of } => self.proof(set, of, remedy)?,
            ProofBy::ManagedIdentity(which) => {
                if let (ManagedIdentity::ClientId(id), Some(client)) = (&which, &client_id)
                    && id.eq_ignore_ascii_case(client)
                {
                    let expected = format!("the application's client id; {NAME} names the managed identity's");
                    self.problem(CLIENT, Some(client), Refused::new(expected, remedy));
                    return None;
                }
                Proof::ManagedIdentity { which, audience: self.cloud_of(resource_manager)?.token_exchange }
            }
        };
        let tenant = tenant?;
        if !tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)) {
            let shown = format!("({} characters, not shown)", tenant.chars().count());
            let remedy = "copy it: az account show --query tenantId --output tsv";
            self.problem(TENANT, Some(&shown), Refused::new("a tenant's id or domain", remedy));
            return None;
        }
        let authority = self.authority(resource_manager)?;
        Some(Identity::ServicePrincipal(ServicePrincipal { authority, tenant, client_id: client_id?, proof }))
    }

    /// The one proof that is set.
    fn proof(&mut self, set: &[&'static str], of: &[&'static str], remedy: String) -> Option<Proof> {
        let name = match set {
            [] => {
                self.problem(
                    of.first().copied().unwrap_or(SECRET),
                    None,
                    Refused::new("what the service principal proves itself with", remedy),
                );
                return None;
            }
            [one] => *one,
            [one, others @ ..] => {
                let expected = format!("set alone: {} says who the app is, too", others.join(", "));
                let remedy = format!(
                    "leave one; or {NAME}=workloadIdentity for the token file, {NAME}=servicePrincipal for the other"
                );
                self.problem(one, Some("(not shown)"), Refused::new(expected, remedy));
                return None;
            }
        };
        let value = self.get(name)?;
        Some(match name {
            SECRET => Proof::Secret(value.into()),
            SECRET_FILE => Proof::SecretFile(PathBuf::from(value)),
            CERTIFICATE => Proof::Certificate(PathBuf::from(value)),
            _ => Proof::FederatedToken(PathBuf::from(value)),
        })
    }

    /// The cloud of this Resource Manager; of one of somebody's own that which is named, else the public one.
    fn cloud_of(&mut self, resource_manager: &Url) -> Option<&'static AzureCloudFacts> {
        let named = self.get(CLOUD).and_then(|name| AzureCloudFacts::named(&name));
        AzureCloudFacts::of(resource_manager).or(named).or_else(|| AzureCloudFacts::named("AzureCloud"))
    }

    /// Microsoft Entra ID of the cloud, unless another is named: AKS names one in each pod.
    fn authority(&mut self, resource_manager: &Url) -> Option<Url> {
        let of_cloud = self.cloud_of(resource_manager)?.authority;
        let (text, source) = match self.get(AUTHORITY) {
            Some(text) => (text, Source::Variable(AUTHORITY.to_owned())),
            None => (of_cloud.to_owned(), Source::Default(None)),
        };
        let Ok(url) = super::resource_manager(&text) else {
            let expected = "an https URL without path and query (http for loopback hosts only)";
            self.problem(AUTHORITY, Some(&text), Refused::new(expected, "leave it out for the cloud's own"));
            return None;
        };
        self.understood(AUTHORITY, &text, source);
        Some(url)
    }

    fn client_id(&mut self) -> Option<String> {
        let Some(id) = self.get(CLIENT) else {
            self.understood(CLIENT, "(system-assigned identity)", Source::Default(None));
            return None;
        };
        if is_guid(&id) {
            self.understood(CLIENT, &id, Source::Variable(CLIENT.to_owned()));
            Some(id)
        } else {
            let expected = "a client id (8-4-4-4-12 hexadecimal digits)";
            let remedy =
                "copy `clientId` of the user-assigned identity; its principal id, name and resource id don't do";
            // It may be a client secret that was pasted into the wrong line.
            let shown = format!("({} characters, not shown)", id.chars().count());
            self.problem(CLIENT, Some(&shown), Refused::new(expected, remedy));
            None
        }
    }
}

fn managed(client_id: Option<String>) -> Identity {
    Identity::Managed(client_id.map_or(ManagedIdentity::SystemAssigned, ManagedIdentity::ClientId))
}

/// Reads `clientId=ID`, `objectId=ID` or `resourceId=ID`; `None` for another word, or an id of another form.
fn user_assigned(text: &str) -> Option<ManagedIdentity> {
    match text.split_once('=')? {
        ("clientId", id) if is_guid(id) => Some(ManagedIdentity::ClientId(id.to_owned())),
        ("objectId", id) if is_guid(id) => Some(ManagedIdentity::ObjectId(id.to_owned())),
        ("resourceId", id) if is_identity(id) => Some(ManagedIdentity::ResourceId(id.to_owned())),
        _ => None,
    }
}

fn is_guid(id: &str) -> bool {
    let groups: Vec<_> = id.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && id.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

fn is_identity(id: &str) -> bool {
    let id = id.to_ascii_lowercase();
    let parts: Vec<&str> = id.split('/').collect();
    matches!(
        parts.as_slice(),
        [
            "",
            "subscriptions",
            _,
            "resourcegroups",
            _,
            "providers",
            "microsoft.managedidentity",
            "userassignedidentities",
            _
        ]
    ) && parts.iter().skip(1).all(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::Problems;
    use super::*;
    use std::collections::BTreeMap;

    const ID: &str = "11111111-2222-3333-4444-555555555555";
    const IDENTITY: &str =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/scorekeeper";

    fn read(vars: &[(&str, &str)], run_by: RunBy) -> Result<(Identity, String), Problems> {
        let vars: BTreeMap<String, String> = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut reader = Reader { vars: &vars, problems: Vec::new(), settings: Vec::new() };
        let manager = reader.resource_manager();
        let identity = reader.identity(&manager, run_by);
        match identity {
            Some(identity) if reader.problems.is_empty() => {
                let shown = reader.settings.iter().map(|it| format!("{} {} ({})\n", it.name, it.value, it.source));
                Ok((identity, shown.collect()))
            }
            _ => Err(Problems(reader.problems)),
        }
    }

    fn principal(vars: &[(&str, &str)]) -> ServicePrincipal {
        match read(vars, RunBy::Host) {
            Ok((Identity::ServicePrincipal(principal), _)) => principal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_the_app_is_is_found_in_the_documented_order() {
        let managed = |one| Identity::Managed(one);
        let (tenant, client) = ((TENANT, "contoso.com"), (CLIENT, ID));
        let resource = format!("resourceId={IDENTITY}");
        for (vars, expected) in [
            (vec![], managed(ManagedIdentity::SystemAssigned)),
            (vec![client], managed(ManagedIdentity::ClientId(ID.into()))),
            (vec![tenant], managed(ManagedIdentity::SystemAssigned)),
            (vec![tenant, client, (NAME, "managedIdentity")], managed(ManagedIdentity::ClientId(ID.into()))),
            (
                vec![(NAME, "clientId=11111111-2222-3333-4444-555555555555")],
                managed(ManagedIdentity::ClientId(ID.into())),
            ),
            (
                vec![(NAME, "objectId=11111111-2222-3333-4444-555555555555")],
                managed(ManagedIdentity::ObjectId(ID.into())),
            ),
            (vec![(NAME, &resource)], managed(ManagedIdentity::ResourceId(IDENTITY.into()))),
            (vec![(NAME, "signedIn"), tenant, client, (SECRET, "x")], Identity::SignedIn),
        ] {
            assert_eq!(read(&vars, RunBy::Host).expect("good").0, expected, "{vars:?}");
        }
        let proof = |name: &'static str| principal(&[tenant, client, (name, "it")]).proof;
        assert_eq!(proof(SECRET), Proof::Secret("it".into()));
        assert_eq!(proof(SECRET_FILE), Proof::SecretFile("it".into()));
        assert_eq!(proof(CERTIFICATE), Proof::Certificate("it".into()));
        assert_eq!(proof(TOKEN_FILE), Proof::FederatedToken("it".into()));
        let both = [tenant, client, (SECRET, "s"), (TOKEN_FILE, "f")];
        let chosen = |name: &'static str| principal(&[both.as_slice(), &[(NAME, name)]].concat()).proof;
        assert_eq!(chosen("servicePrincipal"), Proof::Secret("s".into()));
        assert_eq!(chosen("workloadIdentity"), Proof::FederatedToken("f".into()));
    }

    #[test]
    fn a_trusted_managed_identity_is_its_applications_proof_for_the_clouds_audience() {
        let (tenant, client) = ((TENANT, "partner.example"), (CLIENT, "99999999-2222-3333-4444-555555555555"));
        let trusted = (NAME, "workloadIdentity:clientId=11111111-2222-3333-4444-555555555555");
        for (cloud, expected) in [
            ("AzureCloud", "api://AzureADTokenExchange"),
            ("AzureUSGovernment", "api://AzureADTokenExchangeUSGov"),
            ("AzureChinaCloud", "api://AzureADTokenExchangeChina"),
        ] {
            // A secret that is set for something else is not taken beside it.
            let found = principal(&[tenant, client, trusted, (CLOUD, cloud), (SECRET, "PLANTED")]);
            let which = ManagedIdentity::ClientId(ID.to_owned());
            assert_eq!(found.proof, Proof::ManagedIdentity { which, audience: expected }, "{cloud}");
            assert_eq!((found.tenant.as_str(), found.client_id.as_str()), (tenant.1, client.1));
        }
        let resource = format!("workloadIdentity:resourceId={IDENTITY}");
        let (_, shown) = read(&[tenant, client, (NAME, &resource)], RunBy::Host).expect("good");
        let line = format!(
            "service principal {} of tenant partner.example, by the managed identity that is user-assigned {IDENTITY}",
            client.1
        );
        assert!(shown.contains(&line), "{shown}");
        for (vars, named) in [
            (vec![trusted, client], TENANT),
            (vec![trusted, tenant], CLIENT),
            // The managed identity's own client id is not that of the application which trusts it.
            (vec![trusted, tenant, (CLIENT, ID)], CLIENT),
            // An application can trust no system-assigned one.
            (vec![tenant, client, (NAME, "workloadIdentity:managedIdentity")], NAME),
            (vec![tenant, client, (NAME, "workloadIdentity:")], NAME),
        ] {
            let problems = read(&vars, RunBy::Host).expect_err(named).to_string();
            assert!(problems.starts_with(&format!("`{named}`")), "{named}: {problems}");
        }
    }

    #[test]
    fn a_person_asks_as_somebody_who_is_signed_in_unless_an_identity_is_there() {
        let by_person = |vars: &[(&str, &str)]| read(vars, RunBy::Person).expect("good").0;
        assert_eq!(by_person(&[]), Identity::SignedIn);
        assert_eq!(by_person(&[(TENANT, "contoso.com")]), Identity::SignedIn);
        let platform = ("IDENTITY_ENDPOINT", "http://127.0.0.1:1");
        assert_eq!(by_person(&[platform]), Identity::Managed(ManagedIdentity::SystemAssigned));
        assert_eq!(by_person(&[platform, (NAME, "signedIn")]), Identity::SignedIn);
    }

    #[test]
    fn a_service_principal_of_which_a_part_is_missing_is_no_managed_identity() {
        let (tenant, client, secret) = ((TENANT, "contoso.com"), (CLIENT, ID), (SECRET, "PLANTED"));
        for (vars, named) in [
            (vec![tenant, client], SECRET),
            (vec![secret], TENANT),
            (vec![tenant, secret], CLIENT),
            (vec![client, secret], TENANT),
            (vec![tenant, client, (NAME, "workloadIdentity"), secret], TOKEN_FILE),
            (vec![tenant, client, (NAME, "servicePrincipal"), (TOKEN_FILE, "f")], SECRET),
            (vec![tenant, client, secret, (CERTIFICATE, "c.pem")], SECRET),
            (vec![(TENANT, "not/a tenant"), client, secret], TENANT),
            (vec![tenant, (CLIENT, "PLANTED"), secret], CLIENT),
            (vec![tenant, client, secret, (AUTHORITY, "http://login.example.com")], AUTHORITY),
            (vec![(NAME, "PLANTED")], NAME),
            (vec![(NAME, "objectId=PLANTED")], NAME),
            (vec![(NAME, "resourceId=/subscriptions/s/resourceGroups/g")], NAME),
            (vec![(CLOUD, "AzureGermanCloud")], CLOUD),
            (
                vec![(CLOUD, "AzureChinaCloud"), ("SCOREKEEPER_RESOURCE_MANAGER", "https://management.azure.com")],
                "SCOREKEEPER_RESOURCE_MANAGER",
            ),
        ] {
            let problems = read(&vars, RunBy::Host).expect_err(named).to_string();
            assert!(problems.starts_with(&format!("`{named}`")), "{named}: {problems}");
            assert!(!problems.contains("PLANTED"), "{problems}");
        }
    }

    #[test]
    fn a_cloud_that_is_named_chooses_who_signs_in_where() {
        let (tenant, client, secret) = ((TENANT, "contoso.com"), (CLIENT, ID), (SECRET, "PLANTED"));
        let authority = |more: (&'static str, &'static str)| principal(&[tenant, client, secret, more]).authority;
        let host = |more| authority(more).host_str().map(str::to_owned);
        assert_eq!(host((CLOUD, "AzureCloud")).as_deref(), Some("login.microsoftonline.com"));
        assert_eq!(host((CLOUD, "AzureUSGovernment")).as_deref(), Some("login.microsoftonline.us"));
        assert_eq!(host((CLOUD, "azurechinacloud")).as_deref(), Some("login.chinacloudapi.cn"));
        let by_manager = ("SCOREKEEPER_RESOURCE_MANAGER", "https://management.usgovcloudapi.net");
        assert_eq!(host(by_manager).as_deref(), Some("login.microsoftonline.us"));
        assert_eq!(host((AUTHORITY, "http://127.0.0.1:8080")).as_deref(), Some("127.0.0.1"));
    }

    #[test]
    fn what_was_found_is_shown_with_its_reason_and_without_a_secret() {
        let (_, shown) =
            read(&[(TENANT, "contoso.com"), (CLIENT, ID), (SECRET, "PLANTED")], RunBy::Host).expect("good");
        let line =
            format!("{NAME} service principal {ID} of tenant contoso.com, by a secret (default ({SECRET} is set))");
        assert!(shown.contains(&line), "{shown}");
        assert!(!shown.contains("PLANTED"), "{shown}");
        let (_, shown) = read(&[], RunBy::Host).expect("good");
        assert!(
            shown.contains(&format!("{NAME} managed identity, system-assigned (default (no other is named))")),
            "{shown}"
        );
    }

    fn further(
        vars: &[(&str, &str)],
        rules: Option<&str>,
    ) -> Result<(BTreeMap<IdentityName, Identity>, String), String> {
        let vars: BTreeMap<String, String> = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut reader = Reader { vars: &vars, problems: Vec::new(), settings: Vec::new() };
        let manager = reader.resource_manager();
        let rules = rules.map(|identity| {
            Rules::read(&format!(
                r#"{{"rules": [{{"id": "claims", "match": {{"container": "con"}}, "endpoint": {{"uri": "https://e.example/jobs", "identity": "{identity}"}}}}]}}"#
            ))
            .expect("good rules")
        });
        let identities = reader.further_identities(&manager, rules.as_ref());
        if !reader.problems.is_empty() {
            return Err(Problems(reader.problems).to_string());
        }
        let shown = reader.settings.iter().map(|it| format!("{} {} ({})\n", it.name, it.value, it.source));
        Ok((identities, shown.collect()))
    }

    #[test]
    fn a_further_identity_is_read_from_settings_of_its_own_and_shown_by_them() {
        let vars = [
            (CLIENT, "99999999-2222-3333-4444-555555555555"),
            (SECRET, "PLANTED~app"),
            (FURTHER, "partner, lab"),
            ("SCOREKEEPER_IDENTITY_PARTNER_TENANT_ID", "partner.example"),
            ("SCOREKEEPER_IDENTITY_PARTNER_CLIENT_ID", ID),
            ("SCOREKEEPER_IDENTITY_PARTNER_CLIENT_SECRET", "PLANTED~partner"),
            ("SCOREKEEPER_IDENTITY_LAB", "clientId=11111111-2222-3333-4444-555555555555"),
        ];
        let (identities, shown) = further(&vars, Some("partner")).expect("good");
        let Identity::ServicePrincipal(principal) = &identities["partner"] else { panic!("{identities:?}") };
        assert_eq!((principal.tenant.as_str(), principal.client_id.as_str()), ("partner.example", ID));
        assert_eq!(principal.proof, Proof::Secret("PLANTED~partner".into()));
        assert_eq!(identities["lab"], Identity::Managed(ManagedIdentity::ClientId(ID.into())));
        assert!(!shown.contains("PLANTED"), "{shown}");
        assert!(
            shown.contains("SCOREKEEPER_IDENTITY_PARTNER service principal 11111111-2222-3333-4444-555555555555 of tenant partner.example, by a secret (default (SCOREKEEPER_IDENTITY_PARTNER_CLIENT_SECRET is set))"),
            "{shown}"
        );
        assert!(shown.contains("SCOREKEEPER_IDENTITY_LAB managed identity, user-assigned"), "{shown}");
        assert!(is_of_further("SCOREKEEPER_IDENTITY_PARTNER_TENANT_ID", &vars_of(&vars)));
        assert!(!is_of_further("SCOREKEEPER_IDENTITY_OTHER_TENANT_ID", &vars_of(&vars)));
    }

    fn vars_of(vars: &[(&str, &str)]) -> BTreeMap<String, String> {
        vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_further_identity_that_is_not_whole_is_a_problem_by_the_names_of_its_settings() {
        for (vars, rules, parts) in [
            // Nothing of the app's own is taken for it.
            (
                vec![(FURTHER, "partner"), (TENANT, "contoso.com"), (CLIENT, ID), (SECRET, "PLANTED")],
                None,
                vec!["`SCOREKEEPER_IDENTITY_PARTNER` is not set", "SCOREKEEPER_IDENTITY_PARTNER_CLIENT_SECRET_FILE"],
            ),
            (
                vec![(FURTHER, "partner"), ("SCOREKEEPER_IDENTITY_PARTNER_CLIENT_SECRET", "PLANTED")],
                None,
                vec![
                    "`SCOREKEEPER_IDENTITY_PARTNER_TENANT_ID` is not set",
                    "`SCOREKEEPER_IDENTITY_PARTNER_CLIENT_ID` is not set",
                    "or SCOREKEEPER_IDENTITY_PARTNER=managedIdentity",
                ],
            ),
            (vec![(FURTHER, "Partner")], None, vec!["`SCOREKEEPER_IDENTITIES` is `Partner`", "lower-case"]),
            (
                vec![(FURTHER, "lab"), ("SCOREKEEPER_IDENTITY_LAB", "managedIdentity")],
                Some("partner"),
                vec!["`SCOREKEEPER_RULES` is `partner`", "rule `claims`", "SCOREKEEPER_IDENTITY_PARTNER"],
            ),
            (vec![], Some("partner"), vec!["one of those that SCOREKEEPER_IDENTITIES names"]),
        ] {
            let said = further(&vars, rules).expect_err("a problem");
            for part in parts {
                assert!(said.contains(part), "{part}: {said}");
            }
            assert!(
                !said.contains("PLANTED") && !said.contains("AZURE_TENANT") && !said.contains("AZURE_CLIENT"),
                "{said}"
            );
        }
    }
}
