//! A crate's product code as syntax trees: its files, found as the compiler finds them, without what is for tests only.

use std::{
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, ImplItem, Item, Meta, Stmt, Token, TraitItem,
    punctuated::Punctuated,
    visit_mut::{self, VisitMut},
};

use crate::failure::{Failure, Result, cannot};

/// A module's names from the crate's root on; the root is empty.
pub(crate) type ModulePath = Vec<String>;

/// A source file, as one module of its crate.
pub(crate) struct SourceFile {
    /// Where it is, from the root of the file system.
    pub(crate) path: PathBuf,
    /// The module that the file is the body of. Modules in braces belong to the file they stand in.
    pub(crate) module: ModulePath,
    /// Its content without what is for tests only.
    pub(crate) syntax: syn::File,
}

/// All files of the crate whose root is `root` (`src/lib.rs`), in the order in which they are declared.
pub(crate) fn read_crate(root: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    read_file(root, Vec::new(), true, &mut files)?;
    Ok(files)
}

/// Where `in_file` finds something in the crate whose root is `root`, as `file:line`.
#[cfg(test)]
pub(crate) fn lines_of_crate(root: &Path, in_file: fn(&syn::File) -> Vec<usize>) -> Result<Vec<String>> {
    let folder = root.parent().unwrap_or(root);
    let mut found = Vec::new();
    for file in read_crate(root)? {
        let path = file.path.strip_prefix(folder).unwrap_or(&file.path).display();
        found.extend(in_file(&file.syntax).into_iter().map(|line| format!("{path}:{line}")));
    }
    Ok(found)
}

fn read_file(path: &Path, module: ModulePath, is_mod_rs: bool, files: &mut Vec<SourceFile>) -> Result<()> {
    let text = fs::read_to_string(path).map_err(cannot("read", path))?;
    let syntax = product_code(&text).map_err(cannot("read as Rust", path))?;
    // `a/mod.rs` has its children in `a/`, and so has `a.rs`.
    let folder = if is_mod_rs { path.parent().map(Path::to_path_buf) } else { Some(path.with_extension("")) };
    let declared = declared(&syntax.items, &module, &folder.unwrap_or_default(), path)?;
    files.push(SourceFile { path: path.to_path_buf(), module, syntax });
    for (child, folder, name) in declared {
        let (beside, inside) = (folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs"));
        let is_inside = !beside.is_file();
        read_file(if is_inside { &inside } else { &beside }, child, is_inside, files)?;
    }
    Ok(())
}

/// The modules whose bodies are in files of their own: path, folder of the file, name.
fn declared(
    items: &[Item],
    module: &ModulePath,
    folder: &Path,
    file: &Path,
) -> Result<Vec<(ModulePath, PathBuf, String)>> {
    let mut found = Vec::new();
    for item in items {
        let Item::Mod(item) = item else { continue };
        if item.attrs.iter().any(|attribute| attribute.path().is_ident("path")) {
            let place = file.display();
            return Err(Failure::new(format!("{place}: `#[path]` on `mod {}` is not understood here", item.ident)));
        }
        let name = item.ident.to_string();
        let child: ModulePath = module.iter().cloned().chain([name.clone()]).collect();
        match &item.content {
            Some((_, items)) => found.extend(declared(items, &child, &folder.join(&name), file)?),
            None => found.push((child, folder.to_path_buf(), name)),
        }
    }
    Ok(found)
}

/// Whether what these attributes stand on is compiled for tests only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => list.parse_args().is_ok_and(|cfg| needs_test(&cfg)),
        _ => false,
    })
}

/// Whether a `cfg` holds for tests only: `test`, `all(test, …)`, `any(test)`; not `any(test, feature = "dev")`.
fn needs_test(cfg: &Meta) -> bool {
    let Meta::List(list) = cfg else { return cfg.path().is_ident("test") };
    let Ok(parts) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else { return false };
    match () {
        () if list.path.is_ident("all") => parts.iter().any(needs_test),
        () if list.path.is_ident("any") => !parts.is_empty() && parts.iter().all(needs_test),
        () => false,
    }
}

/// The syntax of a source text without what is for tests only.
pub(crate) fn product_code(text: &str) -> syn::Result<syn::File> {
    let mut file = syn::parse_file(text)?;
    WithoutTests.visit_file_mut(&mut file);
    Ok(file)
}

/// Removes what is for tests only, wherever an attribute can say so.
struct WithoutTests;

impl VisitMut for WithoutTests {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        file.items.retain(|item| !is_for_tests(of_item(item)));
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            items.retain(|item| !is_for_tests(of_item(item)));
        }
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, block: &mut syn::ItemImpl) {
        block.items.retain(|item| match item {
            ImplItem::Const(item) => !is_for_tests(&item.attrs),
            ImplItem::Fn(item) => !is_for_tests(&item.attrs),
            ImplItem::Type(item) => !is_for_tests(&item.attrs),
            _ => true,
        });
        visit_mut::visit_item_impl_mut(self, block);
    }

    fn visit_item_trait_mut(&mut self, item: &mut syn::ItemTrait) {
        item.items.retain(|item| match item {
            TraitItem::Fn(item) => !is_for_tests(&item.attrs),
            _ => true,
        });
        visit_mut::visit_item_trait_mut(self, item);
    }

    fn visit_block_mut(&mut self, block: &mut syn::Block) {
        block.stmts.retain(|statement| match statement {
            Stmt::Item(item) => !is_for_tests(of_item(item)),
            Stmt::Local(local) => !is_for_tests(&local.attrs),
            Stmt::Macro(call) => !is_for_tests(&call.attrs),
            Stmt::Expr(..) => true,
        });
        visit_mut::visit_block_mut(self, block);
    }
}

fn of_item(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
