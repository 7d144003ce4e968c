//! The sign-up system as a program, and `signup load`, which measures it.

mod load;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use leveret_signup::Settings;
use leveret_web::program;

/// Sign-up with a welcome mail that is tried again with growing delays.
#[derive(Parser)]
#[command(name = "signup", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Measures how soon a running system sends the first mail.
    Load(load::Flags),
}

#[tokio::main]
async fn main() -> ExitCode {
    program::log();
    let cli = Cli::parse();
    match cli.command {
        None => program::run("sign-up", leveret_signup::run(cli.settings)).await,
        Some(Command::Load(flags)) => program::end("signup load", load::run(flags).await),
    }
}
