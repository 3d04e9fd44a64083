//! Which file of a crate imports from which, by the paths in its product code.
//!
//! A path counts for the file in which its item is defined, through re-exports and aliases; so `use super::Job` in
//! `a/b.rs` is an import from `a/c.rs` if `a/mod.rs` says `pub use c::Job`. That re-export itself is none: a module that
//! only declares and re-exports its children depends on nothing. Method calls are not followed; the type that they are
//! called on was named somewhere.
//!
//! This is no compiler: macros are searched for paths, not expanded, and a name that nobody is seen to define counts for
//! the module that the path leads to.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, ItemMod, ItemUse, Macro, Meta, UseTree, Visibility,
    spanned::Spanned as _,
    visit::{self, Visit},
};

use super::sources::{ModulePath, SourceFile};

/// One file's need of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    /// Index of the importing file.
    pub(crate) from: usize,
    /// Index of the file that defines what is imported.
    pub(crate) to: usize,
    /// Line of the path in `from`; the first if there are several.
    pub(crate) line: usize,
    /// The path as it stands there, without generics.
    pub(crate) path: String,
}

/// All imports between these files of one crate; one for each pair.
pub(crate) fn between(files: &[SourceFile]) -> Vec<Import> {
    let mut collected = Collector::default();
    for (index, file) in files.iter().enumerate() {
        collected.file = index;
        collected.current.clone_from(&file.module);
        collected.define(&file.syntax.items);
        collected.visit_file(&file.syntax);
    }
    let mut imports: BTreeMap<(usize, usize), Import> = BTreeMap::new();
    for reference in &collected.references {
        let Some(to) = collected.modules.target(reference) else { continue };
        if to == reference.file {
            continue;
        }
        let (from, line, path) = (reference.file, reference.line, reference.path.join("::"));
        imports.entry((from, to)).or_insert(Import { from, to, line, path });
    }
    imports.into_values().collect()
}

/// A path in the code, before it is known where it leads.
struct Reference {
    file: usize,
    module: ModulePath,
    line: usize,
    path: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A leaf of a `use` tree. Whom it is `visible` to may follow it: `pub use`, `pub(crate) use`.
    Use { visible: bool, glob: bool },
    /// Anywhere else: in code, in a macro, or as the text of an attribute.
    Path,
}

#[derive(Default)]
struct Module {
    file: usize,
    names: BTreeMap<String, Name>,
    /// Paths in front of a `*`: modules whose names are visible here, too.
    globs: Vec<Vec<String>>,
}

enum Name {
    Defined,
    Imported(Vec<String>),
}

#[derive(Default)]
struct Modules(BTreeMap<ModulePath, Module>);

/// Where a path leads: to a module, or to an item in one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Module(ModulePath),
    /// The module that defines the item.
    ItemOf(ModulePath),
}

/// Longer chains of re-exports are circles themselves.
const MAX_HOPS: usize = 16;

impl Modules {
    /// The file that `reference` imports from, if it is one of ours and it is an import at all.
    fn target(&self, reference: &Reference) -> Option<usize> {
        let Reference { module, path, kind, .. } = reference;
        if let (Kind::Path, [name]) = (kind, path.as_slice()) {
            // A local variable, a type of the file or of the prelude: only what was imported is of interest.
            let Some(Name::Imported(_)) = self.0.get(module)?.names.get(name) else { return None };
        }
        let place = match (self.resolve(module, path, MAX_HOPS)?, kind) {
            (Place::ItemOf(place), _) | (Place::Module(place), Kind::Use { glob: true, .. }) => place,
            // `use super::wire;` alone needs nothing of it; the paths that begin with `wire::` do.
            (Place::Module(_), _) => return None,
        };
        let is_below = place.len() > module.len() && place.starts_with(module);
        let is_re_export = matches!(kind, Kind::Use { visible: true, .. });
        if is_below && is_re_export { None } else { self.0.get(&place).map(|module| module.file) }
    }

    /// Follows `path` from `module` on.
    fn resolve(&self, module: &[String], path: &[String], hops: usize) -> Option<Place> {
        let hops = hops.checked_sub(1)?;
        let mut current = module.to_vec();
        let mut rest = path;
        let mut anchored = false;
        while let [first, behind @ ..] = rest {
            match first.as_str() {
                "crate" => current.clear(),
                "self" => {}
                "super" => _ = current.pop(),
                _ => break,
            }
            (anchored, rest) = (true, behind);
        }
        while let [name, behind @ ..] = rest {
            let child: ModulePath = current.iter().chain([name]).cloned().collect();
            if self.0.contains_key(&child) {
                (current, rest, anchored) = (child, behind, true);
                continue;
            }
            let here = self.0.get(&current)?;
            return match here.names.get(name) {
                Some(Name::Defined) => Some(Place::ItemOf(current)),
                Some(Name::Imported(from)) => self.resolve(&current, &[from, behind].concat(), hops),
                None => self.through_globs(here, &current, rest, hops).or(anchored.then_some(Place::ItemOf(current))),
            };
        }
        anchored.then_some(Place::Module(current))
    }

    fn through_globs(&self, here: &Module, current: &[String], rest: &[String], hops: usize) -> Option<Place> {
        here.globs.iter().find_map(|glob| {
            let Some(Place::Module(from)) = self.resolve(current, glob, hops) else { return None };
            let name = rest.first()?;
            let child: ModulePath = from.iter().chain([name]).cloned().collect();
            let is_there = self.0.contains_key(&child) || self.0.get(&from)?.names.contains_key(name);
            (is_there && from != current).then(|| self.resolve(&from, rest, hops)).flatten()
        })
    }
}

#[derive(Default)]
struct Collector {
    file: usize,
    current: ModulePath,
    modules: Modules,
    references: Vec<Reference>,
}

impl Collector {
    /// Enters the names that a module's items give it.
    fn define(&mut self, items: &[Item]) {
        let module = self.modules.0.entry(self.current.clone()).or_default();
        module.file = self.file;
        let names = items.iter().filter_map(|item| match item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Macro(item) => item.ident.as_ref(),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            Item::Union(item) => Some(&item.ident),
            _ => None,
        });
        module.names.extend(names.map(|name| (name.to_string(), Name::Defined)));
    }

    fn refer(&mut self, path: Vec<String>, line: usize, kind: Kind) {
        let (file, module) = (self.file, self.current.clone());
        self.references.push(Reference { file, module, line, path, kind });
    }

    /// The leaves of a `use` tree.
    fn import(&mut self, tree: &UseTree, prefix: &[String], visible: bool) {
        let line = tree.span().start().line;
        let (path, name) = match tree {
            UseTree::Path(path) => {
                let prefix = [prefix, &[path.ident.to_string()]].concat();
                return self.import(&path.tree, &prefix, visible);
            }
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.import(tree, prefix, visible)),
            UseTree::Glob(_) => {
                if let Some(module) = self.modules.0.get_mut(&self.current) {
                    module.globs.push(prefix.to_vec());
                }
                return self.refer(prefix.to_vec(), line, Kind::Use { visible, glob: true });
            }
            // `use wire::{self}` is `use wire`.
            UseTree::Name(leaf) if leaf.ident == "self" => (prefix.to_vec(), prefix.last().cloned()),
            UseTree::Name(leaf) => ([prefix, &[leaf.ident.to_string()]].concat(), Some(leaf.ident.to_string())),
            UseTree::Rename(leaf) if leaf.ident == "self" => (prefix.to_vec(), Some(leaf.rename.to_string())),
            UseTree::Rename(leaf) => ([prefix, &[leaf.ident.to_string()]].concat(), Some(leaf.rename.to_string())),
        };
        if let (Some(name), Some(module)) = (name, self.modules.0.get_mut(&self.current)) {
            module.names.entry(name).or_insert_with(|| Name::Imported(path.clone()));
        }
        self.refer(path, line, Kind::Use { visible, glob: false });
    }

    /// The paths among tokens that are no syntax of their own, such as a macro's arguments.
    fn search(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.found(&mut path, line);
                    }
                    if path.is_empty() {
                        line = name.span().start().line;
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.found(&mut path, line);
                    colons = 0;
                    self.search(group.stream());
                }
                TokenTree::Literal(literal) => {
                    self.found(&mut path, line);
                    colons = 0;
                    self.search_literal(&literal);
                }
                TokenTree::Punct(_) => {
                    self.found(&mut path, line);
                    colons = 0;
                }
            }
        }
        self.found(&mut path, line);
    }

    fn found(&mut self, path: &mut Vec<String>, line: usize) {
        if !path.is_empty() {
            self.refer(std::mem::take(path), line, Kind::Path);
        }
    }

    /// `#[serde(with = "crate::text::seconds")]` names a module in a string.
    fn search_literal(&mut self, literal: &proc_macro2::Literal) {
        let text = literal.to_string();
        let Some(text) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return };
        if text.contains("::")
            && let Ok(path) = syn::parse_str::<syn::Path>(text)
        {
            let path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.refer(path, literal.span().start().line, Kind::Path);
        }
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let Some((_, items)) = &module.content else { return };
        self.current.push(module.ident.to_string());
        self.define(items);
        visit::visit_item_mod(self, module);
        self.current.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.refer(names, path.span().start().line, Kind::Path);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        visit::visit_macro(self, call);
        self.search(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.search(list.tokens.clone());
        }
    }

    /// `pub(in crate::ledger)` says who may import, and imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::architecture::sources::product_code;

    /// The imports in a crate of these modules ("" is the root), as `from -> to`.
    fn found(modules: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<SourceFile> = modules
            .iter()
            .map(|(module, text)| SourceFile {
                path: PathBuf::from(module),
                module: module.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect(),
                syntax: product_code(text).unwrap(),
            })
            .collect();
        let name = |index: usize| files[index].path.display().to_string();
        between(&files).iter().map(|import| format!("{} -> {}", name(import.from), name(import.to))).collect()
    }

    #[test]
    fn an_item_counts_for_the_file_that_defines_it_through_re_exports() {
        let root = "mod a; mod b; mod c; pub use a::X; pub(crate) use b::*;";
        let (a, b) = ("pub struct X;", "pub struct Y;");
        for c in [
            "use crate::X;",
            "use super::X as Z;",
            "fn f(_: super::X) {}",
            "use crate::a; fn f() -> a::X { todo!() }",
            "use crate::{a::{self}}; const Z: a::X = a::X;",
            "fn f() { g!(crate::X {}) }",
            "macro_rules! m { () => { $crate::a::X } }",
            "#[serde(with = \"crate::a::X\")] struct Z;",
        ] {
            assert_eq!(found(&[("", root), ("a", a), ("b", b), ("c", c)]), ["c -> a"], "{c}");
        }
        assert_eq!(found(&[("", root), ("a", a), ("b", b), ("c", "use super::Y;")]), ["c -> b"]);
    }

    #[test]
    fn a_parent_that_re_exports_imports_nothing_until_it_uses_what_it_re_exports() {
        let child = "pub struct X;";
        assert_eq!(found(&[("", "pub mod a; pub use a::X;"), ("a", child)]), [""; 0]);
        assert_eq!(found(&[("", "pub mod a; pub use a::X; pub fn f(_: X) {}"), ("a", child)]), [" -> a"]);
        assert_eq!(found(&[("", "mod a; use a::X;"), ("a", child)]), [" -> a"]);
        assert_eq!(found(&[("", "mod a; use a::*;"), ("a", child)]), [" -> a"]);
        assert_eq!(found(&[("", "mod a; fn f() { a::X; }"), ("a", child)]), [" -> a"]);
        assert_eq!(found(&[("", "mod a; struct S;"), ("a", "use super::S;")]), ["a -> "]);
        assert_eq!(found(&[("", "mod a; struct S;"), ("a", "impl super::S { }")]), ["a -> "]);
    }

    #[test]
    fn tests_visibility_other_crates_and_local_names_are_no_imports() {
        let root = "mod a; mod b; mod time; pub struct S;";
        for a in [
            "#[cfg(test)] mod tests { use crate::b::X; }",
            "#[cfg(test)] use super::b::X;",
            "#[cfg(all(test, unix))] fn f() { super::b::X; }",
            "struct S; impl S { #[cfg(test)] fn f(_: crate::b::X) {} }",
            "pub(in crate::b) struct Z; pub(super) struct Y;",
            "use ::time::X; use std::b::Y;",
            "fn f(b: u32) -> u32 { b }",
            "use crate::b;",
        ] {
            assert_eq!(found(&[("", root), ("a", a), ("b", "pub struct X;"), ("time", "")]), [""; 0], "{a}");
        }
        let product = "#[cfg(any(test, feature = \"dev\"))] use super::b::X;";
        assert_eq!(found(&[("", root), ("a", product), ("b", "pub struct X;"), ("time", "")]), ["a -> b"]);
    }

    #[test]
    fn modules_in_braces_belong_to_their_file() {
        let root = "mod a; mod b { pub struct X; pub mod c { pub use super::X; } }";
        assert_eq!(found(&[("", root), ("a", "use crate::b::c::X;")]), ["a -> "]);
    }
}
