//! `cargo xtask ci`: what a change must pass. The quick checks come first; all of them run, so that one run
//! tells everything.

use anyhow::Result;

use crate::architecture;
use crate::counts::Counts;
use crate::steps::Steps;
use crate::test;
use crate::tree::Tree;

/// Runs every check and every test.
pub(crate) fn run(tree: &Tree) -> Result<()> {
    let mut steps = Steps::default();
    steps.run("format", || {
        succeed(tree, &["fmt", "--all", "--check"])?;
        succeed(tree, &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])
    });
    architecture::run_steps(tree, &mut steps);
    steps.run("lints", || {
        succeed(
            tree,
            &["clippy", "--keep-going", "--workspace", "--all-targets", "--no-deps", "--", "-D", "warnings"],
        )
    });
    steps.run("docs", || docs(tree));
    test::run_steps(tree, &mut steps);
    steps.finish()
}

fn succeed(tree: &Tree, arguments: &[&str]) -> Result<Counts> {
    tree.cargo(arguments).run()?;
    Ok(Counts::default())
}

fn docs(tree: &Tree) -> Result<Counts> {
    tree.cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings").run()?;
    Ok(Counts::default())
}
