//! Which crate may need which: values go down, results come back, nothing calls up.
//!
//! Read from the manifests, of which the compiler holds the code to every letter. What only tests need is free, such as an
//! adapter's test against the simulator.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, Package};

use super::members::Members;

/// The crates of this workspace, each with those of ours that its product code may need. A crate that is not here may not
/// be.
///
/// ```text
/// handler -> {azure, stores*, doctor, simulator*, simulation*} -> app -> table_store -> lifecycle
/// ```
///
/// What has a star is in [`NOT_IN_THE_PACKAGE`]. The simulation runs the app over the stores, so it needs them too.
const ARROWS: &[(&str, &[&str])] = &[
    ("lifecycle", &[]),
    // The port under the ledger, which the app shows as one of its own: apart, so that it is compiled for speed.
    ("table_store", &["lifecycle"]),
    ("app", &["lifecycle", "table_store"]),
    ("azure", &["app", "lifecycle"]),
    ("stores", &["app", "lifecycle"]),
    ("doctor", &["app", "lifecycle"]),
    // Azure's side by itself: what it shared with us, it could not catch us at.
    ("simulator", &[]),
    ("simulation", &["app", "lifecycle", "stores"]),
    ("handler", &["azure", "stores", "doctor", "simulator", "simulation", "app", "lifecycle"]),
    ("xtask", &[]),
];

/// Crates that the package for the Functions host is built without, each with the feature that brings it: once the handler has that
/// feature, they come by it and by nothing else.
const NOT_IN_THE_PACKAGE: &[(&str, &str)] = &[("simulator", "dev"), ("simulation", "dev"), ("stores", "cli")];

/// As much of a manifest as the rule needs.
#[derive(Debug, Clone, Default)]
struct Manifest {
    /// What the product code needs, ours and others', with whether it is optional.
    needs: BTreeMap<String, bool>,
    features: BTreeMap<String, Vec<String>>,
}

impl Manifest {
    /// What product code needs, whatever the target.
    fn of(package: &Package) -> Self {
        let needs = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        Self {
            needs: needs.map(|dependency| (dependency.name.clone(), dependency.optional)).collect(),
            features: package.features.clone(),
        }
    }
}

/// What breaks the rule in this workspace, a sentence each.
pub(crate) fn of_workspace(members: &Members) -> Vec<String> {
    broken(&members.0.iter().map(|(name, package)| (name.clone(), Manifest::of(package))).collect())
}

fn broken(manifests: &BTreeMap<String, Manifest>) -> Vec<String> {
    let mut broken = Vec::new();
    for (name, manifest) in manifests {
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| from == name) else {
            broken.push(format!("`{name}` is not in the table of crates: say what it may need"));
            continue;
        };
        let ours = manifest.needs.iter().filter(|(needed, _)| manifests.contains_key(*needed));
        for (needed, optional) in ours {
            if !allowed.contains(&needed.as_str()) {
                broken.push(format!("`{name}` may not need `{needed}`"));
            } else if let Some((_, feature)) = NOT_IN_THE_PACKAGE.iter().find(|(left_out, _)| left_out == needed)
                && manifest.features.contains_key(*feature)
            {
                broken.extend(not_of_feature_alone(name, manifest, (needed, feature), *optional));
            }
        }
    }
    broken
}

fn not_of_feature_alone(
    name: &str,
    manifest: &Manifest,
    (needed, feature): (&str, &str),
    optional: bool,
) -> Option<String> {
    if !optional {
        return Some(format!("`{name}` needs `{needed}` always; it must come by the feature `{feature}` alone"));
    }
    let brings = |values: &[String]| {
        values.iter().any(|value| {
            let value = value.strip_prefix("dep:").unwrap_or(value);
            // `simulator/slow` brings it too, `simulator?/slow` does not.
            value == needed || value.strip_prefix(needed).is_some_and(|rest| rest.starts_with('/'))
        })
    };
    let by: Vec<&str> =
        manifest.features.iter().filter(|(_, values)| brings(values)).map(|(name, _)| name.as_str()).collect();
    (by != [feature])
        .then(|| format!("`{name}` gets `{needed}` by {by:?}; it must come by the feature `{feature}` alone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(needs: &[(&str, bool)], features: &[(&str, &[&str])]) -> Manifest {
        Manifest {
            needs: needs.iter().map(|&(name, optional)| (name.to_owned(), optional)).collect(),
            features: features
                .iter()
                .map(|(name, values)| ((*name).to_owned(), values.iter().map(|&value| value.to_owned()).collect()))
                .collect(),
        }
    }

    fn found(of: &str, given: Manifest) -> Vec<String> {
        let mut manifests: BTreeMap<String, Manifest> =
            ARROWS.iter().map(|(name, _)| ((*name).to_owned(), Manifest::default())).collect();
        manifests.insert(of.to_owned(), given);
        broken(&manifests)
    }

    #[test]
    fn an_arrow_that_points_up_or_aside_is_refused() {
        let none = [""; 0];
        assert_eq!(found("app", manifest(&[("lifecycle", false), ("serde", false)], &[])), none);
        assert_eq!(found("app", manifest(&[("azure", false)], &[])), ["`app` may not need `azure`"]);
        assert_eq!(found("simulator", manifest(&[("app", true)], &[])), ["`simulator` may not need `app`"]);
        let unknown = found("tools", Manifest::default());
        assert_eq!(unknown, ["`tools` is not in the table of crates: say what it may need"]);
    }

    #[test]
    fn what_production_is_built_without_comes_by_one_feature_alone() {
        let simulator = |optional, features| found("handler", manifest(&[("simulator", optional)], features));
        let none = [""; 0];
        assert_eq!(simulator(false, &[]), none, "before there is the feature");
        assert_eq!(simulator(true, &[("default", &["dev"]), ("dev", &["dep:simulator"])]), none);
        let stores = |feature: &str| {
            found("handler", manifest(&[("stores", true)], &[("dev", &[]), ("cli", &[]), (feature, &["dep:stores"])]))
        };
        assert_eq!(stores("cli"), none);
        assert_eq!(stores("dev"), ["`handler` gets `stores` by [\"dev\"]; it must come by the feature `cli` alone"]);
        let told = "`handler` needs `simulator` always; it must come by the feature `dev` alone";
        assert_eq!(simulator(false, &[("dev", &[])]), [told]);
        let wrong: [&[(&str, &[&str])]; 3] = [
            &[("dev", &["dep:simulator"]), ("cli", &["dep:simulator"])],
            &[("dev", &["dep:simulator"]), ("cli", &["simulator/slow"])],
            &[("dev", &["simulator?/slow"])],
        ];
        for features in wrong {
            assert!(simulator(true, features)[0].contains("it must come by the feature `dev` alone"), "{features:?}");
        }
    }
}
