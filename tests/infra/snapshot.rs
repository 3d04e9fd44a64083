//! What the compiler predicts: each resource as it would be sent, and the outputs.
//!
//! Values that only a deployment knows (a client id, an endpoint) stay expressions of Resource Manager in a snapshot;
//! [`substituted`] puts in what Azure would answer.

use serde_json::Value;

/// What one deployment would send.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub resources: Vec<Resource>,
    pub outputs: Value,
}

/// A resource as it would be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Type without version.
    pub of: String,
    pub id: String,
    pub body: Value,
}

impl Snapshot {
    pub fn read(json: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let resources = json["predictedResources"].as_array().expect("a snapshot has resources");
        let resources = resources
            .iter()
            .map(|body| Resource { of: text(&body["type"]), id: text(&body["id"]), body: body.clone() })
            .collect();
        Self { resources, outputs: json["outputs"].clone() }
    }

    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.resources.iter().filter(move |resource| resource.of == kind)
    }

    /// The one resource of a type.
    pub fn one<'a>(&'a self, kind: &'a str) -> &'a Resource {
        self.of(kind).next().unwrap_or_else(|| panic!("there is no {kind}"))
    }

    /// Names and values of the app's settings, in their order.
    pub fn settings(&self) -> Vec<(String, String)> {
        let sites = self.of("Microsoft.Web/sites");
        let pair = |setting: &Value| {
            Some((setting["name"].as_str()?.to_owned(), setting["value"].as_str().unwrap_or_default().to_owned()))
        };
        sites.flat_map(|site| list(site.get("properties/siteConfig/appSettings"))).filter_map(pair).collect()
    }

    pub fn setting(&self, name: &str) -> Option<String> {
        self.settings().into_iter().find(|(is, _)| is == name).map(|(_, value)| value)
    }
}

impl Resource {
    /// A member by its path, `properties/retryPolicy/maxDeliveryAttempts`.
    pub fn get(&self, path: &str) -> &Value {
        path.split('/').fold(&self.body, |value, name| &value[name])
    }

    /// The id of what an extension resource (a role assignment, a lock, a diagnostic setting) is on.
    pub fn scope(&self) -> &str {
        match self.id.strip_prefix("[extensionResourceId('") {
            Some(rest) => rest.split('\'').next().unwrap_or_default(),
            None => self.id.rsplit_once("/providers/").map_or("", |(scope, _)| scope),
        }
    }
}

/// The members of a list; of anything else, none.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The texts among them.
pub fn texts(value: &Value) -> impl Iterator<Item = &str> {
    list(value).filter_map(Value::as_str)
}

/// The last part of an id's type: `storageAccounts` of `…/Microsoft.Storage/storageAccounts/st`.
pub fn kind_of(id: &str) -> &str {
    id.rsplit('/').nth(1).unwrap_or_default()
}

/// A value with its expressions replaced by what Azure would answer; `None` for an expression that nobody knows.
pub fn substituted(value: &str) -> Option<String> {
    let Some(expression) = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return Some(value.to_owned());
    };
    if expression == "environment().resourceManager" {
        return Some("https://management.azure.com/".to_owned());
    }
    let client = "33333333-3333-3333-3333-333333333333";
    if let Some(rest) = expression.strip_prefix("format('ClientId={0};Authorization=AAD', reference(") {
        return rest.contains("/userAssignedIdentities/").then(|| format!("ClientId={client};Authorization=AAD"));
    }
    // A text behind what Azure answers.
    if let Some((first, text)) = expression.strip_prefix("format('{0}{1}', ").and_then(|rest| rest.rsplit_once(", '")) {
        return Some(substituted(&format!("[{first}]"))? + text.strip_suffix("')")?);
    }
    let (of, member) = expression.strip_prefix("reference('")?.rsplit_once(").")?;
    let id = of.split('\'').next()?;
    let name = id.rsplit('/').next()?;
    match (kind_of(id), member) {
        ("userAssignedIdentities", "clientId" | "principalId") => Some(client.to_owned()),
        ("components", "ConnectionString") => Some("InstrumentationKey=x;IngestionEndpoint=https://x/".to_owned()),
        ("sites", "defaultHostName") => Some(format!("{name}.azurewebsites.net")),
        ("storageAccounts", member) => {
            let service = member.strip_prefix("primaryEndpoints.")?;
            Some(format!("https://{name}.{service}.core.windows.net/"))
        }
        _ => None,
    }
}
