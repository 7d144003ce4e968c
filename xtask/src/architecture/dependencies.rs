//! Which crate may depend on which. Arrows point down only: a crate that is not in the table has no place in
//! the house yet, and is a finding too.

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Package};

use crate::tree::Tree;

/// The crates of the workspace that each crate may depend on, outside its tests.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("leveret-amqp", &[]),
    ("leveret-store", &[]),
    ("leveret-broker", &["leveret-amqp", "leveret-store"]),
    ("leveret-server", &["leveret-amqp", "leveret-broker"]),
    ("leveret-management", &["leveret-broker"]),
    ("leveret-bus", &[]),
    ("leveret-mailserver", &[]),
    ("leveret-bus-testkit", &["leveret-bus", "leveret-server"]),
    ("leveret-web", &["leveret-bus"]),
    ("leveret-signup", &["leveret-bus", "leveret-web"]),
    ("leveret-transfer", &["leveret-bus", "leveret-web"]),
    ("leveret-orders", &["leveret-bus", "leveret-web"]),
    (
        "leveret",
        &[
            "leveret-amqp",
            "leveret-store",
            "leveret-broker",
            "leveret-server",
            "leveret-management",
            "leveret-bus",
            "leveret-mailserver",
            "leveret-web",
            "leveret-signup",
            "leveret-transfer",
            "leveret-orders",
        ],
    ),
    ("leveret-testkit", &["leveret-amqp", "leveret-store", "leveret-broker", "leveret-server"]),
    ("leveret-rig", &["leveret-bus", "leveret-server", "leveret-web"]),
    (
        "leveret-fuzz",
        &["leveret-amqp", "leveret-store", "leveret-broker", "leveret-server", "leveret-management"],
    ),
    ("xtask", &["leveret-amqp"]),
];

/// The crates below the server, and what none of them may bring along, directly or not.
const WITHOUT_RUNTIME: &[&str] = &["leveret-amqp", "leveret-store", "leveret-broker"];
const RUNTIME: &[&str] = &["tokio", "mio", "socket2", "async-std", "smol", "lapin", "hyper"];

pub(super) fn point_down(tree: &Tree) -> Result<Vec<String>> {
    Ok(tree.metadata.workspace_packages().into_iter().flat_map(|package| upward(tree, package)).collect())
}

fn upward(tree: &Tree, package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(crate_name, _)| *crate_name == name) else {
        return vec![format!("{name} has no place in xtask/src/architecture/dependencies.rs yet")];
    };
    house_dependencies(tree, package)
        .filter(|dependency| !allowed.contains(&dependency.as_str()))
        // Its own check tells about the testkit.
        .filter(|dependency| dependency != "leveret-testkit")
        .map(|dependency| format!("{name} depends on {dependency}, which is not below it"))
        .collect()
}

/// The crates of the workspace that a package needs outside its tests.
fn house_dependencies<'a>(tree: &'a Tree, package: &'a Package) -> impl Iterator<Item = String> + 'a {
    let house: Vec<_> =
        tree.metadata.workspace_packages().iter().map(|member| member.name.to_string()).collect();
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.clone())
        .filter(move |name| house.contains(name))
}

pub(super) fn testkit_is_for_tests(tree: &Tree) -> Result<Vec<String>> {
    let packages = tree.metadata.workspace_packages();
    // Fuzz targets are tests, all of them.
    let others = packages.into_iter().filter(|package| package.name != "leveret-fuzz");
    let findings = others.filter(|package| {
        house_dependencies(tree, package).any(|dependency| dependency == "leveret-testkit")
    });
    Ok(findings.map(|package| format!("{} needs the testkit outside its tests", package.name)).collect())
}

pub(super) fn bring_no_runtime(tree: &Tree) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for name in WITHOUT_RUNTIME {
        let all = every_dependency(tree, name)?;
        let found = RUNTIME.iter().filter(|runtime| all.iter().any(|one| one == *runtime));
        findings.extend(
            found.map(|runtime| format!("{name} brings {runtime}: see `cargo tree -p {name} -i {runtime}`")),
        );
    }
    Ok(findings)
}

/// Everything that a crate needs outside its tests, directly or not.
fn every_dependency(tree: &Tree, name: &str) -> Result<Vec<String>> {
    let arguments =
        ["tree", "--package", name, "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let listing = tree.cargo(&arguments).read().with_context(|| format!("cargo tree fails for {name}"))?;
    Ok(listing.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}
