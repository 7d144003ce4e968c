//! The log: lines on stderr, in colour on a terminal only.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Reads a filter as `--log` takes it: a level, or levels by module (`warn,leveret_server=debug`).
pub(crate) fn parse(filter: &str) -> Result<Targets, String> {
    for part in filter.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level).trim();
        if !LEVELS.contains(&level) {
            return Err(format!("`{level}` is not a level; there are {}", LEVELS.join(", ")));
        }
    }
    filter.parse().map_err(|error: tracing_subscriber::filter::ParseError| error.to_string())
}

/// Starts logging. What is logged before is lost.
pub(crate) fn start(filter: Targets) {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let with_modules = filter.would_enable("leveret_server", &Level::DEBUG);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(with_modules);
    tracing_subscriber::registry().with(lines).with(filter).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_checked() {
        assert!(parse("info").is_ok());
        assert!(parse("warn,leveret_server=debug").is_ok());
        assert!(parse("verbose").unwrap_err().contains("`verbose` is not a level"));
        assert!(parse("leveret_server=loud").is_err());
    }
}
