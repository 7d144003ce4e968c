//! How the program fails: one line on stderr, and an exit code that tells wrong input (2) from everything
//! else (1).

use std::io::Write;
use std::process::ExitCode;

use thiserror::Error;

/// Why the program ends without having done what was asked.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// A wrong flag or setting.
    #[error("{0}")]
    Usage(String),
    /// Something about this machine, or about the other side of a connection.
    #[error("{0}")]
    Run(String),
    /// What clap has to say: wrong flags, but also `--help` and `--version`.
    #[error("{}", one_line(.0))]
    CommandLine(#[from] clap::Error),
}

impl Failure {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub(crate) fn run(text: impl Into<String>) -> Self {
        Self::Run(text.into())
    }

    /// Tells the user, and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if let Self::CommandLine(error) = self
            && is_help(error)
        {
            // Nothing is left to be told where even this cannot be written.
            let _ = error.print();
            return exit_code(error.exit_code());
        }
        let _ = writeln!(std::io::stderr(), "leveret: {}", self.to_string().replace('\n', " "));
        match self {
            Self::Run(_) => ExitCode::FAILURE,
            Self::Usage(_) | Self::CommandLine(_) => ExitCode::from(2),
        }
    }
}

fn is_help(error: &clap::Error) -> bool {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion)
}

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The message and its tips, without the usage that clap adds.
fn one_line(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let told = rendered.trim_start_matches("error: ").lines().map(str::trim);
    let parts: Vec<_> = told
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        // How to pass dashes as a value is not what somebody needs who has mistyped a flag.
        .filter(|line| !line.is_empty() && !line.contains("as a value, use"))
        .collect();
    format!("{}; --help shows what there is", parts.join("; ").replace(":;", ":"))
}
