//! The tests that have to pass on RabbitMQ too: the bus and the systems, because any broker must do for them, and
//! the interop suites, because what they ask of Leveret must be what RabbitMQ does.

use anyhow::Result;
use duct::Expression;

use crate::counts::{Counts, run_tests};
use crate::interop;
use crate::prerequisites;
use crate::services::{Instance, Name};
use crate::steps::Steps;
use crate::tree::Tree;

/// Starts a private RabbitMQ, runs the tests on it, and ends it, unless it ran already.
pub(crate) fn run_steps(tree: &Tree, steps: &mut Steps) {
    let instance = Instance::of(tree, Name::Rabbitmq);
    let was_running = instance.is_running().unwrap_or(false);
    if steps.run("RabbitMQ up", || done(instance.up())) {
        run_tests_on(&instance, tree, steps);
    } else {
        steps.give_up("tests on RabbitMQ", "it does not start");
    }
    if !was_running {
        steps.run("RabbitMQ down", || done(instance.down()));
    }
}

fn run_tests_on(instance: &Instance, tree: &Tree, steps: &mut Steps) {
    steps.run("bus and systems on RabbitMQ", || {
        run_tests(&any_broker(tree).env("LEVERET_TEST_AMQP_URL", instance.url()))
    });
    interop::drive(tree, &interop::Options::rabbitmq(instance.url()), steps);
}

/// The tests of the crates that must serve any broker, with those that only RabbitMQ can pass yet. Picked by a
/// filter where it can be done, because a build of these packages alone would compile everything anew.
fn any_broker(tree: &Tree) -> Expression {
    if prerequisites::succeeds(&["cargo", "nextest", "--version"]) {
        let filter = "package(leveret-bus) + package(leveret-signup)";
        return tree.cargo(&[
            "nextest",
            "run",
            "--workspace",
            "--no-fail-fast",
            "--run-ignored",
            "all",
            "-E",
            filter,
        ]);
    }
    tree.cargo(&[
        "test",
        "-p",
        "leveret-bus",
        "-p",
        "leveret-signup",
        "--no-fail-fast",
        "--",
        "--include-ignored",
    ])
}

fn done(outcome: Result<()>) -> Result<Counts> {
    outcome.map(|()| Counts::default())
}
