//! Why a command could not do its work, for the person who ran it.

use std::{
    error::Error,
    fmt::{self, Display},
    io,
    path::Path,
};

/// Names what was tried, on what, and the remedy where there is one. What the system or a library said about it is the
/// [`source`](Error::source); `{failure:#}` shows both in one line.
///
/// One type for the whole program: nobody here acts on the kind of a failure, it is only shown. Where somebody does
/// (what is missing for a build, what the Functions host would refuse), there is an enum.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The result of everything here.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure that we found ourselves.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None }
    }

    /// A failure that somebody else told us of.
    pub(crate) fn because(what: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what: what.into(), cause: Some(cause.into()) }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let mut cause = self.source().filter(|_| f.alternate());
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// For `map_err` behind a file operation: "cannot `action` `path`".
pub(crate) fn cannot<'a, E>(action: &'a str, path: &'a Path) -> impl FnOnce(E) -> Failure + 'a
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    move |cause| Failure::because(format!("cannot {action} {}", path.display()), cause)
}

/// For `map_err` behind the start of a program.
pub(crate) fn cannot_start(program: &str) -> impl FnOnce(io::Error) -> Failure + '_ {
    move |cause| Failure::because(format!("cannot start `{program}`"), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_source_and_shows_it_on_demand() {
        let failure = cannot("read", "a.json".as_ref())(io::Error::other("it is gone"));
        let failure = Failure::because("lints failed", failure);
        assert_eq!(failure.to_string(), "lints failed");
        assert_eq!(format!("{failure:#}"), "lints failed: cannot read a.json: it is gone");
        let root = failure.source().and_then(Error::source).unwrap();
        assert!(root.is::<io::Error>());
    }
}
