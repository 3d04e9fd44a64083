//! No documentation of four words or fewer: it repeats the name, and leaves out meaning, unit, shape and source.
//!
//! Help texts of the command line and descriptions of schemas are comments too, for other readers: types that derive them are left out.

use std::path::Path;

use proc_macro2::Span;
use syn::{
    Attribute, Expr, ExprLit, Lit, Meta,
    spanned::Spanned as _,
    visit::{self, Visit},
};

use super::sources;
use crate::failure::Result;

/// Words from which on a comment may say something.
const MIN_WORDS: usize = 5;
/// Derives whose output the comments of a type are.
const PRINTED: [&str; 6] = ["Args", "Parser", "Subcommand", "ValueEnum", "JsonSchema", "ToSchema"];

/// Where the crate whose root is `root` is documented in too few words, as `file:line`.
pub(crate) fn of_crate(root: &Path) -> Result<Vec<String>> {
    sources::lines_of_crate(root, in_file)
}

fn in_file(file: &syn::File) -> Vec<usize> {
    let mut finder = Finder::default();
    finder.visit_file(file);
    finder.0.iter().map(|span| span.start().line).collect()
}

#[derive(Default)]
struct Finder(Vec<Span>);

impl Finder {
    fn look(&mut self, attributes: &[Attribute]) {
        let comments: Vec<(Span, String)> = attributes.iter().filter_map(comment).collect();
        let words = comments.iter().flat_map(|(_, line)| line.split_whitespace()).count();
        if let Some((span, _)) = comments.first().filter(|_| words < MIN_WORDS) {
            self.0.push(*span);
        }
    }
}

/// A line of an item's documentation.
fn comment(attribute: &Attribute) -> Option<(Span, String)> {
    let Meta::NameValue(doc) = &attribute.meta else { return None };
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &doc.value else { return None };
    doc.path.is_ident("doc").then(|| (attribute.span(), text.value()))
}

fn is_printed(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let mut printed = false;
        // What cannot be read here the compiler refuses.
        let _ = attribute.path().is_ident("derive").then(|| {
            attribute.parse_nested_meta(|derived| {
                let name = derived.path.segments.last().map(|last| last.ident.to_string());
                printed |= name.is_some_and(|name| PRINTED.contains(&name.as_str()));
                Ok(())
            })
        });
        printed
    })
}

macro_rules! look_at {
    ($($visit:ident: $item:ident),*) => {
        $(fn $visit(&mut self, item: &'ast syn::$item) {
            self.look(&item.attrs);
            visit::$visit(self, item);
        })*
    };
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        if !is_printed(&item.attrs) {
            self.look(&item.attrs);
            visit::visit_item_struct(self, item);
        }
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        if !is_printed(&item.attrs) {
            self.look(&item.attrs);
            visit::visit_item_enum(self, item);
        }
    }

    look_at!(
        visit_field: Field, visit_variant: Variant, visit_item_const: ItemConst, visit_item_fn: ItemFn,
        visit_item_mod: ItemMod, visit_item_static: ItemStatic, visit_item_trait: ItemTrait, visit_item_type: ItemType,
        visit_impl_item_const: ImplItemConst, visit_impl_item_fn: ImplItemFn, visit_impl_item_type: ImplItemType,
        visit_trait_item_const: TraitItemConst, visit_trait_item_fn: TraitItemFn, visit_trait_item_type: TraitItemType
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        in_file(&sources::product_code(text).unwrap())
    }

    #[test]
    fn few_words_are_found_on_every_item_and_left_where_they_are_printed() {
        let found = "/// Its name.\nfn f() {}\nstruct S {\n/// Why.\na: u8 }\nimpl S {\n/// As\n/// JSON.\nfn g() {} }";
        assert_eq!(lines(found), [1, 4, 7]);
        let fine = "/// What the service answered, without secrets.\nenum E {\n/// The answer never came, or broke off.\nA }\nfn h() {}";
        assert_eq!(lines(fine), [0; 0]);
        assert_eq!(lines("#[derive(Debug, clap::Args)]\nstruct A {\n/// As JSON\n#[arg(long)]\njson: bool }"), [0; 0]);
        assert_eq!(lines("#[cfg(test)]\nmod tests {\n/// Its name.\nfn f() {} }"), [0; 0]);
    }
}
