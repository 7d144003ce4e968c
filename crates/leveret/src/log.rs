//! The log: lines on stderr, in colour on a terminal only; the newest are kept for the management to show.

use std::fmt::{Debug, Write};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use leveret_management::{LogLine, Logs};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
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

/// Starts logging, and returns where the newest lines are. What is logged before is lost.
pub(crate) fn start(filter: Targets) -> Arc<Logs> {
    let logs = Arc::<Logs>::default();
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let with_modules = filter.would_enable("leveret_server", &Level::DEBUG);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(with_modules);
    tracing_subscriber::registry().with(lines).with(Keep(Arc::clone(&logs))).with(filter).init();
    logs
}

/// Keeps the newest lines.
struct Keep(Arc<Logs>);

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let about = event.metadata();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.push(LogLine {
            id: 0,
            at_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
            level: *about.level(),
            target: about.target().to_owned(),
            message: text.message + &text.fields,
        });
    }
}

/// The words of an event: its message, then its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
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
