//! Completions for shells, made from the command line itself.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;

/// For which shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Prints the completions.
pub(crate) fn print(completions: &Completions) {
    let mut text = Vec::new();
    clap_complete::generate(completions.shell, &mut Cli::command(), "leveret", &mut text);
    // Whoever closed stdout does not want to know.
    let _closed = std::io::Write::write_all(&mut std::io::stdout(), &text);
}
