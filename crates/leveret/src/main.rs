//! The leveret binary: what the command line asks for is done here, by one module a subcommand. Messaging
//! itself lives in the libraries.

mod cli;
mod config;
mod data_dir;
#[cfg(feature = "systems")]
mod demo;
mod failure;
mod log;
mod management;
mod perf;
mod serve;
mod settings;
mod stop;
mod store;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    match Cli::try_parse().map_err(Failure::from).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(flags) => serve::run(&flags),
        Command::Config { flags, show_secrets } => config::run(&flags, show_secrets),
        #[cfg(feature = "systems")]
        Command::Demo(options) => demo::run(&options),
        Command::Perf(options) => perf::run(&options),
        Command::Store { command } => store::run(&command),
    }
}
