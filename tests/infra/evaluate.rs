//! Evaluates the templates: what would be sent to Resource Manager, as far as it is known before anything is deployed.
//!
//! Values that only a deployment has (an identity's client id, an endpoint) are made up from the resource's id, so that two
//! evaluations are equal exactly if two deployments would send the same. What is not understood is an error: a function
//! or construct that is new here must be taught first.

mod functions;

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use self::functions::{array, guid, number, text, truth};
use super::bicep::{Expr, Kind, Node, Part, Source, Statement};
use super::project::{Project, beside};

/// A resource as it would be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployed {
    /// The file that declares it.
    pub file: String,
    /// Its type, without version.
    pub of: String,
    pub id: String,
    pub body: Value,
}

/// A resource group, as everything here is deployed into one.
pub const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-scores";
const REGION: &str = "westeurope";

/// Deploys a parameters file: the resources and the outputs.
pub fn deploy_parameters(project: &Project, path: &str) -> Result<(Vec<Deployed>, Map<String, Value>), String> {
    let (_, source, template) = project
        .parameter_files()
        .find(|(is, ..)| *is == path)
        .ok_or_else(|| format!("{path} is no parameters file"))?;
    let out = RefCell::default();
    let values = Template {
        project,
        path,
        source,
        given: Map::new(),
        group: GROUP.to_owned(),
        known: RefCell::default(),
        out: &out,
    };
    let mut given = Map::new();
    for param in source.params() {
        let value = param.value().ok_or_else(|| format!("{path}:{}: no value", param.line))?;
        given.insert(param.name.clone(), values.value(value, &Locals::new())?);
    }
    deploy(project, &template, given)
}

/// Deploys a template into [`GROUP`].
pub fn deploy(
    project: &Project,
    path: &str,
    given: Map<String, Value>,
) -> Result<(Vec<Deployed>, Map<String, Value>), String> {
    let out = RefCell::default();
    let outputs = Template::new(project, path, given, GROUP.to_owned(), &out)?.deploy()?;
    Ok((out.into_inner(), outputs))
}

/// Evaluates one variable of a template.
pub fn variable(project: &Project, path: &str, name: &str, given: Map<String, Value>) -> Result<Value, String> {
    let out = RefCell::default();
    Template::new(project, path, given, GROUP.to_owned(), &out)?.symbol(name)
}

type Locals = BTreeMap<String, Value>;

struct Template<'a> {
    project: &'a Project,
    path: &'a str,
    source: &'a Source,
    given: Map<String, Value>,
    pub(super) group: String,
    known: RefCell<BTreeMap<String, Value>>,
    out: &'a RefCell<Vec<Deployed>>,
}

impl<'a> Template<'a> {
    fn new(
        project: &'a Project,
        path: &'a str,
        given: Map<String, Value>,
        group: String,
        out: &'a RefCell<Vec<Deployed>>,
    ) -> Result<Self, String> {
        let (path, source) = project.sources.get_key_value(path).ok_or_else(|| format!("there is no {path}"))?;
        Ok(Self { project, path, source, given, group, known: RefCell::default(), out })
    }

    fn deploy(&self) -> Result<Map<String, Value>, String> {
        for statement in &self.source.statements {
            if matches!(statement.kind, Kind::Resource { .. } | Kind::Module { .. }) {
                self.symbol(&statement.name)?;
            }
        }
        let each = self.source.outputs().map(|output| match &output.kind {
            Kind::Output { value, .. } => Ok((output.name.clone(), self.value(value, &Locals::new())?)),
            _ => Err("no output".to_owned()),
        });
        each.collect()
    }

    fn symbol(&self, name: &str) -> Result<Value, String> {
        if let Some(known) = self.known.borrow().get(name) {
            return Ok(known.clone());
        }
        let value = self
            .find(name)
            .map_err(|why| if why.starts_with("infra/") { why } else { format!("{}: {name}: {why}", self.path) })?;
        self.known.borrow_mut().insert(name.to_owned(), value.clone());
        Ok(value)
    }

    fn find(&self, name: &str) -> Result<Value, String> {
        let none = Locals::new();
        if let Some(statement) = self.source.symbols().get(name).copied() {
            return match &statement.kind {
                Kind::Param { default, .. } => match (self.given.get(name), default) {
                    (Some(given), _) => Ok(given.clone()),
                    (None, Some(default)) => self.value(default, &none),
                    (None, None) => Err("is required and not given".to_owned()),
                },
                Kind::Var(value) => self.value(value, &none),
                Kind::Resource { of, existing, body } => {
                    let of = of.split('@').next().unwrap_or_default();
                    self.each(body, &none, &|body, locals| self.resource(of, *existing, body, locals))
                }
                Kind::Module { path, body } => {
                    let path = beside(self.path, path);
                    self.each(body, &none, &|body, locals| self.module(&path, body, locals))
                }
                _ => Err("has no value".to_owned()),
            };
        }
        for statement in &self.source.statements {
            if let Kind::Import { names, from } = &statement.kind
                && names.iter().any(|imported| imported == name)
            {
                return Template::new(
                    self.project,
                    &beside(self.path, from),
                    Map::new(),
                    self.group.clone(),
                    self.out,
                )?
                .symbol(name);
            }
        }
        Err("is no symbol".to_owned())
    }

    /// What is declared once, on a condition, or for each.
    fn each(
        &self,
        body: &Expr,
        locals: &Locals,
        one: &dyn Fn(&Expr, &Locals) -> Result<Value, String>,
    ) -> Result<Value, String> {
        match &body.node {
            Node::If { condition, body } => match self.value(condition, locals)? {
                Value::Bool(true) => one(body, locals),
                Value::Bool(false) => Ok(Value::Null),
                other => Err(format!("the condition is {other}")),
            },
            Node::For { item, index, over, body } => {
                let items = array(self.value(over, locals)?)?;
                let each = items.into_iter().enumerate().map(|(number, value)| {
                    let mut locals = locals.clone();
                    locals.insert(item.clone(), value);
                    if let Some(index) = index {
                        locals.insert(index.clone(), json!(number));
                    }
                    self.each(body, &locals, one)
                });
                Ok(Value::Array(each.collect::<Result<_, _>>()?))
            }
            _ => one(body, locals),
        }
    }

    fn resource(&self, of: &str, existing: bool, body: &Expr, locals: &Locals) -> Result<Value, String> {
        let mut members = match self.value(body, locals)? {
            Value::Object(members) => members,
            other => return Err(format!("is {other}, no resource")),
        };
        let name = text(members.get("name").ok_or("has no name")?)?;
        let id = match (members.remove("parent"), members.remove("scope")) {
            (Some(parent), _) => {
                let kind = of.rsplit('/').next().unwrap_or_default();
                format!("{}/{kind}/{name}", text(&parent["id"])?)
            }
            (None, Some(scope)) => format!("{}/providers/{of}/{name}", text(&scope["id"])?),
            (None, None) if of == "Microsoft.Resources/resourceGroups" => {
                format!("{}/{name}", self.group.rsplit_once('/').map_or("", |(before, _)| before))
            }
            (None, None) => format!("{}/providers/{of}/{name}", self.group),
        };
        members.remove("dependsOn");
        if !existing {
            let body = Value::Object(members);
            self.out.borrow_mut().push(Deployed {
                file: self.path.to_owned(),
                of: of.to_owned(),
                id: id.clone(),
                body,
            });
        }
        Ok(json!({ "id": id, "name": name, "$of": of, "$path": "" }))
    }

    fn module(&self, path: &str, body: &Expr, locals: &Locals) -> Result<Value, String> {
        let given = match body.get("params").map(|params| self.value(params, locals)).transpose()? {
            Some(Value::Object(params)) => params,
            None => Map::new(),
            Some(other) => return Err(format!("the parameters are {other}")),
        };
        let name = text(&self.value(body.get("name").ok_or("a module has no name")?, locals)?)?;
        if name.is_empty() || name.len() > 64 {
            return Err(format!("a deployment's name has 1 to 64 characters: {name}"));
        }
        let group = match body.get("scope").map(|scope| self.value(scope, locals)).transpose()? {
            Some(scope) => text(&scope["id"])?,
            None => self.group.clone(),
        };
        let outputs = Template::new(self.project, path, given, group.clone(), self.out)?.deploy()?;
        let id = format!("{group}/providers/Microsoft.Resources/deployments/{name}");
        self.out.borrow_mut().push(Deployed {
            file: self.path.to_owned(),
            of: "Microsoft.Resources/deployments".to_owned(),
            id,
            body: json!({ "name": name }),
        });
        Ok(json!({ "name": name, "outputs": outputs }))
    }

    fn value(&self, expr: &Expr, locals: &Locals) -> Result<Value, String> {
        let value = |expr: &Expr| self.value(expr, locals);
        Ok(match &expr.node {
            Node::Null => Value::Null,
            Node::Bool(value) => json!(value),
            Node::Number(number) => json!(number),
            Node::Text(parts) => self.text(parts, locals)?.into(),
            Node::Name(name) => match locals.get(name) {
                Some(value) => value.clone(),
                None => self.symbol(name)?,
            },
            Node::Array(items) => Value::Array(items.iter().map(value).collect::<Result<_, _>>()?),
            Node::Object(properties) => {
                let mut members = Map::new();
                for property in properties {
                    members.insert(self.text(&property.key, locals)?, value(&property.value)?);
                }
                Value::Object(members)
            }
            Node::For { .. } | Node::If { .. } => self.each(expr, locals, &|body, locals| self.value(body, locals))?,
            Node::Call { function, arguments } => {
                self.call(function, arguments, locals).map_err(|why| at_line(expr, &why))?
            }
            Node::Member { of, name, safe } => member(&value(of)?, name, *safe).map_err(|why| at_line(expr, &why))?,
            Node::Index { of, at, safe } => match (value(of)?, value(at)?) {
                (Value::Array(items), Value::Number(at)) => {
                    let found = at.as_u64().and_then(|at| items.get(usize::try_from(at).ok()?));
                    found.cloned().or(safe.then_some(Value::Null)).ok_or_else(|| at_line(expr, "is out of range"))?
                }
                (of, Value::String(name)) => member(&of, &name, *safe).map_err(|why| at_line(expr, &why))?,
                (of, at) => return Err(at_line(expr, &format!("{of} has no index {at}"))),
            },
            Node::Not(of) => json!(!truth(&value(of)?)?),
            Node::Minus(of) => json!(-number(&value(of)?)?),
            Node::Binary { sign, left, right } => match *sign {
                "??" => match value(left)? {
                    Value::Null => value(right)?,
                    left => left,
                },
                "||" => json!(truth(&value(left)?)? || truth(&value(right)?)?),
                "&&" => json!(truth(&value(left)?)? && truth(&value(right)?)?),
                "==" => json!(value(left)? == value(right)?),
                "!=" => json!(value(left)? != value(right)?),
                "<" => json!(number(&value(left)?)? < number(&value(right)?)?),
                ">" => json!(number(&value(left)?)? > number(&value(right)?)?),
                "<=" => json!(number(&value(left)?)? <= number(&value(right)?)?),
                ">=" => json!(number(&value(left)?)? >= number(&value(right)?)?),
                "+" => json!(number(&value(left)?)? + number(&value(right)?)?),
                "-" => json!(number(&value(left)?)? - number(&value(right)?)?),
                other => return Err(at_line(expr, &format!("`{other}` is not known to this evaluator"))),
            },
            Node::Choice { condition, then, other } => {
                if truth(&value(condition)?)? {
                    value(then)?
                } else {
                    value(other)?
                }
            }
            Node::Lambda { .. } => return Err(at_line(expr, "a lambda is no value")),
        })
    }

    fn text(&self, parts: &[Part], locals: &Locals) -> Result<String, String> {
        let each = parts.iter().map(|part| match part {
            Part::Plain(text) => Ok(text.clone()),
            Part::Of(expr) => match self.value(expr, locals)? {
                Value::String(text) => Ok(text),
                other @ (Value::Number(_) | Value::Bool(_)) => Ok(other.to_string()),
                other => Err(at_line(expr, &format!("{other} stands in a text"))),
            },
        });
        each.collect()
    }

    fn call(&self, function: &str, arguments: &[Expr], locals: &Locals) -> Result<Value, String> {
        let apply = |lambda: &Expr, item: Value| match &lambda.node {
            Node::Lambda { parameters, body } => {
                let mut locals = locals.clone();
                locals.insert(parameters.first().cloned().unwrap_or_default(), item);
                self.value(body, &locals)
            }
            _ => Err("expected a lambda".to_owned()),
        };
        match (function, arguments) {
            ("map", [items, lambda]) => {
                let items = array(self.value(items, locals)?)?;
                return Ok(Value::Array(items.into_iter().map(|item| apply(lambda, item)).collect::<Result<_, _>>()?));
            }
            ("filter", [items, lambda]) => {
                let mut kept = Vec::new();
                for item in array(self.value(items, locals)?)? {
                    if truth(&apply(lambda, item.clone())?)? {
                        kept.push(item);
                    }
                }
                return Ok(Value::Array(kept));
            }
            ("toObject", [items, key, value]) => {
                let mut members = Map::new();
                for item in array(self.value(items, locals)?)? {
                    members.insert(text(&apply(key, item.clone())?)?, apply(value, item)?);
                }
                return Ok(Value::Object(members));
            }
            _ => {}
        }
        let given = arguments.iter().map(|argument| self.value(argument, locals)).collect::<Result<Vec<_>, _>>()?;
        self.plain_call(function, &given)
    }

    pub(super) fn loaded(&self, path: &str) -> Result<String, String> {
        let path = beside(self.path, path);
        self.project.files.find(&path).map(str::to_owned).ok_or_else(|| format!("there is no {path}"))
    }
}

fn at_line(expr: &Expr, why: &str) -> String {
    if why.starts_with("line ") || why.starts_with("infra/") {
        why.to_owned()
    } else {
        format!("line {}: {why}", expr.line)
    }
}

/// A member; of a resource what is known of it only after its deployment, made up.
fn member(of: &Value, name: &str, safe: bool) -> Result<Value, String> {
    match of {
        Value::Object(members) if members.contains_key("$of") && !matches!(name, "id" | "name") => {
            let path = format!("{}.{name}", members["$path"].as_str().unwrap_or_default());
            let (id, resource) = (text(&members["id"])?, text(&members["name"])?);
            Ok(match &path[1..] {
                "location" => json!(REGION),
                "properties.clientId" | "properties.principalId" | "identity.principalId" => {
                    json!(guid(&format!("{id}{path}")))
                }
                "properties.primaryEndpoints.blob" => json!(format!("https://{resource}.blob.core.windows.net/")),
                "properties.primaryEndpoints.queue" => json!(format!("https://{resource}.queue.core.windows.net/")),
                "properties.primaryEndpoints.table" => json!(format!("https://{resource}.table.core.windows.net/")),
                "properties.ConnectionString" => json!(format!("InstrumentationKey={}", guid(&id))),
                "properties.defaultHostName" => json!(format!("{resource}.azurewebsites.net")),
                _ => {
                    let mut deeper = members.clone();
                    deeper.insert("$path".to_owned(), json!(path));
                    Value::Object(deeper)
                }
            })
        }
        Value::Object(members) => match members.get(name) {
            Some(value) => Ok(value.clone()),
            None if safe => Ok(Value::Null),
            None => Err(format!("there is no member `{name}`")),
        },
        Value::Null if safe => Ok(Value::Null),
        other => Err(format!("{other} has no member `{name}`")),
    }
}

/// For messages.
pub fn place(path: &str, statement: &Statement) -> String {
    format!("{path}:{}: {}", statement.line, statement.name)
}
