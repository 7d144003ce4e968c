//! `cargo xtask test`: everything that is tested, from the needs of the tests to the demo.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use duct::cmd;

use crate::counts::{Counts, run_counted, run_tests};
use crate::interop;
use crate::pairs;
use crate::prerequisites;
use crate::steps::Steps;
use crate::tree::Tree;

const DEMO_LIMIT: Duration = Duration::from_secs(90);

/// Runs every test, as a chore of its own.
pub(crate) fn run(tree: &Tree) -> Result<()> {
    let mut steps = Steps::default();
    run_steps(tree, &mut steps);
    steps.finish()
}

/// The steps of the tests. A step that fails does not keep the next from running, unless it is what the next needs.
pub(crate) fn run_steps(tree: &Tree, steps: &mut Steps) {
    let installed = steps.run("what the tests need", || install(tree));
    // Without this the later steps could run a binary left by an earlier build.
    if !steps.run("build", || build(tree)) {
        return steps.give_up("tests", "the workspace does not build");
    }
    steps.run("Rust tests", || rust_tests(tree));
    steps.run("doc tests", || run_counted(&tree.cargo(&["test", "--doc", "--workspace"])));
    if installed {
        interop::drive(tree, &interop::Options::everything(), steps);
    } else {
        steps.give_up("interop suites", "what they need is not installed");
    }
    steps.run("leveret demo --once", || demo(tree, &[]));
    pairs::run_steps(tree, steps);
}

fn install(tree: &Tree) -> Result<Counts> {
    prerequisites::debian_packages()?;
    prerequisites::python(tree)?;
    prerequisites::node_modules(tree)?;
    prerequisites::rabbitmqadmin(tree)?;
    Ok(Counts::default())
}

/// The tests' build also makes the leveret binary that the later steps run; building it apart would compile
/// its dependencies a second time, with other features.
fn build(tree: &Tree) -> Result<Counts> {
    tree.cargo(&["test", "--workspace", "--no-run"]).run()?;
    Ok(Counts::default())
}

fn rust_tests(tree: &Tree) -> Result<Counts> {
    if prerequisites::succeeds(&["cargo", "nextest", "--version"]) {
        return run_tests(&tree.cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]));
    }
    eprintln!("note: cargo-nextest is not installed, so cargo test runs the tests, more slowly");
    run_tests(&tree.cargo(&["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]))
}

/// The demo's tour, with these flags too.
pub(crate) fn demo(tree: &Tree, flags: &[&str]) -> Result<Counts> {
    let demo = cmd(tree.leveret(), ["demo", "--once"].iter().chain(flags))
        .dir(tree.target("interop"))
        .stdin_null()
        .unchecked()
        .start()
        .context("the leveret binary does not start")?;
    let Some(output) = demo.wait_timeout(DEMO_LIMIT)? else {
        demo.kill()?;
        bail!("the demo still runs after {} s", DEMO_LIMIT.as_secs());
    };
    if !output.status.success() {
        bail!("the demo ended with {}", output.status);
    }
    Ok(Counts::default())
}
