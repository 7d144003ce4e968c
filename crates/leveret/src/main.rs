//! The leveret binary: what the command line asks for is done here, by one module a subcommand. Messaging
//! itself lives in the libraries.

mod admin;
#[cfg(feature = "systems")]
mod bus;
mod cli;
mod config;
mod data_dir;
#[cfg(feature = "systems")]
mod demo;
mod failure;
mod http_api;
mod log;
mod management;
#[cfg(feature = "migrate")]
mod migrate;
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
        Command::Bus { command } => bus::run(&command),
        #[cfg(feature = "systems")]
        Command::Demo(options) => demo::run(&options),
        #[cfg(feature = "migrate")]
        Command::Migrate(options) => migrate::run(&options),
        Command::Perf(options) => perf::run(&options),
        Command::Queues(on) => admin::queues(&on),
        Command::Exchanges(on) => admin::exchanges(&on),
        Command::Bindings(on) => admin::bindings(&on),
        Command::Connections(on) => admin::connections(&on),
        Command::Channels(on) => admin::list("channels", &on),
        Command::Consumers(on) => admin::list("consumers", &on),
        Command::Users(on) => admin::users(&on),
        Command::Permissions(on) => admin::permissions(&on),
        Command::Vhosts(on) => admin::vhosts(&on),
        Command::Policies(on) => admin::policies(&on),
        Command::Definitions(on) => admin::definitions(&on),
        Command::Delayed(on) => admin::delayed(&on),
        Command::Parked(on) => admin::parked(&on),
        Command::Status(target) => admin::status(&target),
        Command::Top(options) => admin::top(&options),
        Command::Completions(completions) => {
            admin::print_completions(&completions);
            Ok(())
        }
        Command::Store { command } => store::run(&command),
    }
}
