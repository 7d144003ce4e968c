//! The architecture's invariants, as checks. What one crate may depend on is in `dependencies`, what a source
//! may say is in `sources`; a check returns its findings, one line each, and says nothing when all is well.

mod dependencies;
mod sources;

use anyhow::Result;

use crate::counts::Counts;
use crate::steps::Steps;
use crate::tree::Tree;

type Check = fn(&Tree) -> Result<Vec<String>>;

const CHECKS: &[(&str, Check)] = &[
    ("dependencies between crates point down", dependencies::point_down),
    ("floor 0 and the core bring no runtime and no sockets", dependencies::bring_no_runtime),
    ("the testkit is a dev-dependency only", dependencies::testkit_is_for_tests),
    ("the core opens nothing, reads no clock, spawns nothing", sources::core_is_pure),
    ("the core names no frame", sources::core_names_no_frame),
    ("the store names no AMQP", sources::store_names_no_amqp),
    ("nothing is left undone or ignored", sources::nothing_is_left_undone),
    ("modules are named after their subject", sources::modules_have_subjects),
];

/// Runs the checks as a chore of its own.
pub(crate) fn run(tree: &Tree) -> Result<()> {
    let mut steps = Steps::default();
    run_steps(tree, &mut steps);
    steps.finish()
}

/// The checks, as one step.
pub(crate) fn run_steps(tree: &Tree, steps: &mut Steps) {
    steps.run("architecture", || {
        let mut counts = Counts::default();
        for (name, check) in CHECKS {
            let findings = check(tree)?;
            for finding in &findings {
                eprintln!("{name}: {finding}");
            }
            match findings.as_slice() {
                [] => counts.passed += 1,
                findings => counts.fail(format!("{name}: {}", findings.join("; "))),
            }
        }
        Ok(counts)
    });
}
