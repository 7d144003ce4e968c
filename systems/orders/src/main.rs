//! The orders system as a program, and `orders load`, which measures it.

mod load;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use leveret_orders::Settings;
use leveret_web::program;

/// Orders that are accepted now and written later.
#[derive(Parser)]
#[command(name = "orders", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Measures how many orders a running system accepts and writes.
    Load(load::Flags),
}

#[tokio::main]
async fn main() -> ExitCode {
    program::log();
    let cli = Cli::parse();
    match cli.command {
        None => program::run("orders", leveret_orders::run(cli.settings)).await,
        Some(Command::Load(flags)) => program::end("orders load", load::run(flags).await),
    }
}
