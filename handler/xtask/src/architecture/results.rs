//! No `Result<_, String>`: a text cannot be matched on and forgets its source. Errors are enums by the caller's situation.

use std::path::Path;

use proc_macro2::Span;
use syn::{
    GenericArgument, PathArguments, Type,
    spanned::Spanned as _,
    visit::{self, Visit},
};

use super::sources;
use crate::failure::Result;

/// Where the crate whose root is `root` has a text for an error, as `file:line`.
pub(crate) fn of_crate(root: &Path) -> Result<Vec<String>> {
    sources::lines_of_crate(root, in_file)
}

fn in_file(file: &syn::File) -> Vec<usize> {
    let mut finder = Finder::default();
    finder.visit_file(file);
    finder.0.iter().map(|span| span.start().line).collect()
}

/// Signatures, aliases, fields, and what stands in bodies: where a type is written, somebody handles it.
#[derive(Default)]
struct Finder(Vec<Span>);

impl<'ast> Visit<'ast> for Finder {
    fn visit_type(&mut self, ty: &'ast Type) {
        if let Type::Path(path) = ty
            && let Some(last) = path.path.segments.last()
            && last.ident == "Result"
            && let PathArguments::AngleBracketed(arguments) = &last.arguments
            && let Some(GenericArgument::Type(Type::Path(error))) = arguments.args.iter().nth(1)
            && error.path.segments.last().is_some_and(|last| last.ident == "String")
        {
            self.0.push(ty.span());
        }
        visit::visit_type(self, ty);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        in_file(&sources::product_code(text).unwrap())
    }

    #[test]
    fn a_text_for_an_error_is_found_wherever_a_type_is_written() {
        for text in [
            "fn f() -> Result<(), String> {}",
            "trait T { fn f() -> std::result::Result<u8, std::string::String>; }",
            "type R<T> = Result<T, String>;",
            "struct S { last: Option<Result<u8, String>> }",
            "fn f(_: Result<u8, String>) {}",
            "impl S { async fn f() -> impl Iterator<Item = Result<u8, String>> {} }",
        ] {
            assert_eq!(lines(text), [1], "{text}");
        }
        let fine = "fn f() -> Result<String, Error> {}\nfn g() -> Result<String> {}\nfn h() -> Option<String> {}";
        assert_eq!(lines(fine), [0; 0]);
        assert_eq!(lines("#[cfg(test)]\nmod tests { fn f() -> Result<(), String> {} }"), [0; 0]);
    }
}
