//! What scripts read: a command's answer as JSON, or what an expression makes of that.

use std::io::{self, Write};

#[cfg(feature = "cli")]
use lifecycle::redact::redacted;
use serde::Serialize;

/// Whether a command answers in JSON.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct JsonArgs {
    /// As JSON, for scripts
    #[arg(long)]
    pub json: bool,
    /// As JSON, and of that what this JMESPath expression names: `attention[].next`, `[?attempt > `1`].id`
    #[cfg(feature = "cli")]
    #[arg(long, value_name = "JMESPATH", value_parser = Query::read)]
    pub query: Option<Query>,
}

/// Why a JSON answer was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
    /// The expression cannot be applied to this answer.
    #[cfg(feature = "cli")]
    #[error("--query {query}: {why}")]
    Query {
        /// The JMESPath expression as it was given.
        query: String,
        /// What the JMESPath library says is wrong with it.
        why: String,
    },
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}

impl JsonArgs {
    /// JSON, the whole of it.
    pub const ALL: Self = Self {
        json: true,
        #[cfg(feature = "cli")]
        query: None,
    };
    /// No JSON: the command answers with text for people.
    pub const TEXT: Self = Self {
        json: false,
        #[cfg(feature = "cli")]
        query: None,
    };

    /// Whether the answer is to be JSON: `--json` was given, or an expression, which implies it.
    pub fn is_asked_for(&self) -> bool {
        #[cfg(feature = "cli")]
        if self.query.is_some() {
            return true;
        }
        self.json
    }

    /// Writes an answer, or what the expression makes of it.
    pub fn write(&self, answer: &impl Serialize, out: &mut dyn Write) -> Result<(), Error> {
        #[cfg(feature = "cli")]
        if let Some(query) = &self.query {
            serde_json::to_writer_pretty(&mut *out, &query.of(answer)?)?;
            writeln!(out)?;
            return Ok(());
        }
        serde_json::to_writer_pretty(&mut *out, answer)?;
        writeln!(out)?;
        Ok(())
    }
}

/// Why a text is no JMESPath expression.
#[cfg(feature = "cli")]
#[derive(Debug, thiserror::Error)]
pub enum NoQuery {
    /// What is wrong, and where.
    #[error(transparent)]
    Unreadable(Box<jmespath::JmespathError>),
    /// The reader would quote a part of the secret, which does not look like one alone.
    #[error("it is no JMESPath expression, and looks like a secret")]
    Secret,
}

/// A JMESPath expression that can be read.
#[cfg(feature = "cli")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query(String);

#[cfg(feature = "cli")]
impl Query {
    /// Reads an expression; the error points at what is wrong in it.
    pub fn read(text: &str) -> Result<Self, NoQuery> {
        match jmespath::compile(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) if redacted(text) != text => Err(NoQuery::Secret),
            Err(why) => Err(NoQuery::Unreadable(Box::new(why))),
        }
    }

    fn of(&self, answer: &impl Serialize) -> Result<serde_json::Value, Error> {
        let failed = |why: jmespath::JmespathError| Error::Query { query: self.0.clone(), why: why.to_string() };
        let found = jmespath::compile(&self.0)
            .and_then(|query| query.search(jmespath::Variable::from_serializable(answer)?))
            .map_err(failed)?;
        Ok(serde_json::to_value(&*found)?)
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(query: &str) -> Result<serde_json::Value, String> {
        let asked = JsonArgs { query: Some(Query::read(query).map_err(|why| why.to_string())?), ..JsonArgs::TEXT };
        assert!(asked.is_asked_for(), "an expression is of JSON");
        let rows = json!([{"id": "1", "attempt": 1, "bytes": 9_007_199_254_740_993_u64}, {"id": "2", "attempt": 2}]);
        let mut out = Vec::new();
        asked.write(&rows, &mut out).map_err(|why| why.to_string())?;
        Ok(serde_json::from_slice(&out).expect("JSON"))
    }

    #[test]
    fn an_expression_picks_from_the_answer_and_an_unusable_one_is_told() {
        assert_eq!(answer("[?attempt > `1`].id").unwrap(), json!(["2"]));
        assert_eq!(answer("length(@)").unwrap(), json!(2));
        assert_eq!(answer("[0].bytes").unwrap(), json!(9_007_199_254_740_993_u64), "every digit");
        assert_eq!(answer("[9].id").unwrap(), json!(null));
        assert!(answer("[?").is_err_and(|why| why.contains("Parse error")));
        assert!(
            answer("length(`5`)").is_err_and(|why| why.contains("--query length(`5`)")),
            "{:?}",
            answer("length(`5`)")
        );
    }
}
