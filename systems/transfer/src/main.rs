//! The transfer system as programs: `transfer a`, `transfer b` and `transfer load`.

mod load;

use std::process::ExitCode;

use clap::Parser;
use leveret_transfer::{SettingsA, SettingsB, run_a, run_b};
use leveret_web::program;

/// Money from a company to another, with none made or lost.
#[derive(Parser)]
#[command(name = "transfer", version)]
enum Cli {
    /// Company A, where money leaves.
    A(Box<SettingsA>),
    /// Company B, where money arrives.
    B(Box<SettingsB>),
    /// Measures how many transfers two running companies settle.
    Load(load::Flags),
}

#[tokio::main]
async fn main() -> ExitCode {
    program::log();
    match Cli::parse() {
        Cli::A(settings) => program::run("transfer a", run_a(*settings)).await,
        Cli::B(settings) => program::run("transfer b", run_b(*settings)).await,
        Cli::Load(flags) => program::end("transfer load", load::run(flags).await),
    }
}
