//! The project's own chores. Each subcommand is one module; what they share (steps with headings, counted
//! output, programs that must be there) has a module of its own. Nothing that ships lives here.

mod architecture;
mod broker;
mod ci;
mod conformance;
mod counts;
mod failures;
mod fuzz;
mod interop;
mod pairs;
mod prerequisites;
mod rabbitmqadmin;
mod scale;
mod services;
mod steps;
mod test;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use services::Action;
use tree::Tree;

/// The chores of the Leveret workspace.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what the tests need, then run all of them
    ///
    /// Installs Debian packages when run as root or with passwordless sudo, and Python and Node clients into
    /// target/interop. Then runs the Rust tests, the doc tests, the interop suites against the leveret binary,
    /// `leveret demo --once`, and on private servers what has to run on RabbitMQ, MariaDB and PostgreSQL too.
    Test,
    /// Everything that a change must pass: format, lints, docs, architecture, tests
    Ci,
    /// Only the architecture checks
    Architecture,
    /// Drive a broker with other people's clients
    ///
    /// Without --url it starts the leveret binary of the target folder on a free port.
    Interop(interop::Options),
    /// The same cases on Leveret and on RabbitMQ, side by side, or on any one broker
    ///
    /// Prints where they differ. Every difference has to stand in docs/compatibility.md.
    Conformance(conformance::Options),
    /// Any input to what takes input from outside, for a while
    ///
    /// Needs a C++ compiler, and builds for some minutes the first time. What was found stays under target/fuzz.
    Fuzz(fuzz::Options),
    /// How much time and memory many queues and bindings take
    ///
    /// Measures the release build of the leveret binary, and says so where it is not built.
    Scale(scale::Options),
    /// Private instances of the services that Leveret is compared with, under target/services
    Services {
        #[arg(value_enum)]
        action: Action,
        /// Which services; all when none is named
        #[arg(value_enum)]
        names: Vec<services::Name>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<()> {
    let tree = Tree::locate()?;
    match chore {
        Chore::Test => test::run(&tree),
        Chore::Ci => ci::run(&tree),
        Chore::Architecture => architecture::run(&tree),
        Chore::Interop(options) => interop::run(&tree, &options),
        Chore::Conformance(options) => conformance::run(&tree, &options),
        Chore::Fuzz(options) => fuzz::run(&tree, &options),
        Chore::Scale(options) => scale::run(&tree, &options),
        Chore::Services { action, names } => services::run(&tree, action, &names),
    }
}
