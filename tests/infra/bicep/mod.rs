//! A reader of Bicep, as much of the language as the templates use, with the language's own precedence.
//!
//! There is no Bicep compiler in any registry of Rust, npm or Python, and the tests must run without a network. The
//! public tree-sitter grammar (`syntax.rs`) says whether a file is Bicep; it does not know which operator binds
//! stronger, so it cannot say what an expression means. This reader can: the tests *evaluate* the templates.
//! What it does not know it refuses, so a new construct fails loudly.

mod lexer;
mod parser;

use std::collections::BTreeMap;

pub use self::parser::parse;

/// A file.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// In the order of the file.
    pub statements: Vec<Statement>,
}

/// One statement.
#[derive(Debug, Clone)]
pub struct Statement {
    pub line: usize,
    pub decorators: Vec<(String, Vec<Expr>)>,
    pub name: String,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub enum Kind {
    TargetScope,
    /// Of a parameters file.
    Using(String),
    Import {
        names: Vec<String>,
        from: String,
    },
    /// The type is kept as it is written. In a parameters file there is none.
    Param {
        of: String,
        default: Option<Expr>,
    },
    Var(Expr),
    Output {
        of: String,
        value: Expr,
    },
    Resource {
        of: String,
        existing: bool,
        body: Expr,
    },
    Module {
        path: String,
        body: Expr,
    },
    Type(Vec<Member>),
}

/// A member of an object type.
#[derive(Debug, Clone)]
pub struct Member {
    pub line: usize,
    pub decorators: Vec<(String, Vec<Expr>)>,
    pub name: String,
}

/// An expression with the line it begins in.
#[derive(Debug, Clone)]
pub struct Expr {
    pub line: usize,
    pub node: Node,
}

#[derive(Debug, Clone)]
pub enum Node {
    Null,
    Bool(bool),
    Number(i64),
    /// Texts and expressions in turn.
    Text(Vec<Part>),
    Name(String),
    Array(Vec<Expr>),
    Object(Vec<Property>),
    For {
        item: String,
        index: Option<String>,
        over: Box<Expr>,
        body: Box<Expr>,
    },
    /// Of a resource or module.
    If {
        condition: Box<Expr>,
        body: Box<Expr>,
    },
    Call {
        function: String,
        arguments: Vec<Expr>,
    },
    Member {
        of: Box<Expr>,
        name: String,
        safe: bool,
    },
    Index {
        of: Box<Expr>,
        at: Box<Expr>,
        safe: bool,
    },
    Not(Box<Expr>),
    Minus(Box<Expr>),
    Binary {
        sign: &'static str,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Choice {
        condition: Box<Expr>,
        then: Box<Expr>,
        other: Box<Expr>,
    },
    Lambda {
        parameters: Vec<String>,
        body: Box<Expr>,
    },
}

#[derive(Debug, Clone)]
pub enum Part {
    Plain(String),
    Of(Expr),
}

impl Part {
    pub fn plain(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Of(_) => None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Property {
    pub line: usize,
    pub key: Vec<Part>,
    pub value: Expr,
}

impl Property {
    /// The name, if it is a plain one.
    pub fn name(&self) -> Option<&str> {
        plain(&self.key)
    }
}

fn plain(parts: &[Part]) -> Option<&str> {
    match parts {
        [Part::Plain(text)] => Some(text),
        _ => None,
    }
}

impl Expr {
    /// The text of a string without expressions.
    pub fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Text(parts) => plain(parts),
            _ => None,
        }
    }

    /// The object within `for` and `if`.
    pub fn object(&self) -> Option<&[Property]> {
        match &self.node {
            Node::Object(properties) => Some(properties),
            Node::For { body, .. } | Node::If { body, .. } => body.object(),
            _ => None,
        }
    }

    /// A member by its path, within `for` and `if`.
    pub fn get(&self, path: &str) -> Option<&Expr> {
        path.split('/').try_fold(self, |expr, name| {
            expr.object()?.iter().find(|property| property.name() == Some(name)).map(|property| &property.value)
        })
    }

    /// Every expression in this one, itself included.
    pub fn walk<'a>(&'a self, each: &mut dyn FnMut(&'a Expr)) {
        each(self);
        let parts = |parts: &'a [Part], each: &mut dyn FnMut(&'a Expr)| {
            for part in parts {
                if let Part::Of(inner) = part {
                    inner.walk(each);
                }
            }
        };
        match &self.node {
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Name(_) => {}
            Node::Text(of) => parts(of, each),
            Node::Array(of) | Node::Call { arguments: of, .. } => of.iter().for_each(|inner| inner.walk(each)),
            Node::Object(of) => {
                for property in of {
                    parts(&property.key, each);
                    property.value.walk(each);
                }
            }
            Node::For { over: a, body: b, .. }
            | Node::If { condition: a, body: b }
            | Node::Index { of: a, at: b, .. }
            | Node::Binary { left: a, right: b, .. } => {
                a.walk(each);
                b.walk(each);
            }
            Node::Member { of, .. } | Node::Not(of) | Node::Minus(of) | Node::Lambda { body: of, .. } => of.walk(each),
            Node::Choice { condition, then, other } => {
                condition.walk(each);
                then.walk(each);
                other.walk(each);
            }
        }
    }
}

impl Statement {
    /// The first argument of a decorator, if it is a text.
    pub fn decorator(&self, name: &str) -> Option<&str> {
        decorator(&self.decorators, name)
    }

    /// The expression of whatever has one.
    pub fn value(&self) -> Option<&Expr> {
        match &self.kind {
            Kind::Param { default, .. } => default.as_ref(),
            Kind::Var(value) | Kind::Output { value, .. } => Some(value),
            Kind::Resource { body, .. } | Kind::Module { body, .. } => Some(body),
            Kind::TargetScope | Kind::Using(_) | Kind::Import { .. } | Kind::Type(_) => None,
        }
    }
}

/// The first argument of a decorator, if it is a text.
pub fn decorator<'a>(decorators: &'a [(String, Vec<Expr>)], name: &str) -> Option<&'a str> {
    decorators.iter().find(|(is, _)| is == name).and_then(|(_, arguments)| arguments.first()?.text())
}

impl Source {
    /// By name. Outputs have names of their own.
    pub fn symbols(&self) -> BTreeMap<&str, &Statement> {
        let symbols = self.statements.iter().filter(|s| !matches!(s.kind, Kind::Output { .. } | Kind::Import { .. }));
        symbols.map(|statement| (&*statement.name, statement)).collect()
    }

    pub fn outputs(&self) -> impl Iterator<Item = &Statement> {
        self.statements.iter().filter(|statement| matches!(statement.kind, Kind::Output { .. }))
    }

    pub fn params(&self) -> impl Iterator<Item = &Statement> {
        self.statements.iter().filter(|statement| matches!(statement.kind, Kind::Param { .. }))
    }

    /// Name, type with version, whether it exists, body.
    pub fn resources(&self) -> impl Iterator<Item = (&Statement, &str, bool, &Expr)> {
        self.statements.iter().filter_map(|statement| match &statement.kind {
            Kind::Resource { of, existing, body } => Some((statement, &**of, *existing, body)),
            _ => None,
        })
    }
}
