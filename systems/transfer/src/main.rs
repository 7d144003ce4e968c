//! The transfer system as programs: `transfer a`, `transfer b` and `transfer load`.

mod load;

use std::process::ExitCode;

use clap::Parser;
use leveret_transfer::{SettingsA, SettingsB, StartError, run_a, run_b};
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
        Cli::A(settings) => program::end("transfer a", a(*settings).await),
        Cli::B(settings) => program::end("transfer b", b(*settings).await),
        Cli::Load(flags) => program::end("transfer load", load::run(flags).await),
    }
}

async fn a(settings: SettingsA) -> Result<(), StartError> {
    let running = run_a(settings).await?;
    println!("transfer a: {}", running.url());
    program::asked_to_end().await;
    running.shutdown().await;
    Ok(())
}

async fn b(settings: SettingsB) -> Result<(), StartError> {
    let running = run_b(settings).await?;
    println!("transfer b: {}", running.url());
    program::asked_to_end().await;
    running.shutdown().await;
    Ok(())
}
