//! What every system's program does: settings, logs, and the end on request.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::num::ParseIntError;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::Resettable;
use tracing_subscriber::EnvFilter;

use crate::{Running, StartError};

/// Starts logging to stderr, as `RUST_LOG` says, else `info`. One JSON object a line with `LOG_FORMAT=json`.
pub fn log() {
    // lapin reports as errors what the bus deals with, such as a broker without delayed exchanges.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,lapin=off"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::env::var("LOG_FORMAT").is_ok_and(|format| format == "json") {
        lines.json().init();
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).init();
    }
}

/// The settings that flags and environment would make of these flags in an empty environment.
///
/// # Panics
/// A flag that has to be given is missing, or one makes no sense: whoever calls this knows the flags.
pub fn settings<T: clap::Args>(flags: &[&str]) -> T {
    let command = T::augment_args(clap::Command::new("settings").no_binary_name(true));
    let command = command.mut_args(|flag| flag.env(Resettable::Reset));
    let found = command.try_get_matches_from(flags.iter().map(OsString::from));
    let settings = found.and_then(|found| T::from_arg_matches(&found));
    settings.unwrap_or_else(|error| panic!("{error}"))
}

/// Reads a setting of so many milliseconds.
///
/// # Errors
/// It is no whole number.
pub fn ms(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_millis)
}

/// Reads a setting of so many things at once: 1 to 65,535.
///
/// # Errors
/// It is no such number.
pub fn count(text: &str) -> Result<usize, String> {
    let count = text.parse::<u16>().ok().filter(|count| *count > 0);
    count.map(usize::from).ok_or_else(|| format!("must be a whole number from 1 to {}", u16::MAX))
}

/// Runs a system until it is asked to end, and tells on stdout where it is.
pub async fn run<S>(name: &str, starting: impl Future<Output = Result<Running<S>, StartError>>) -> ExitCode {
    match starting.await {
        Ok(running) => {
            println!("{name}: {}", running.url());
            asked_to_end().await;
            running.shutdown().await;
            ExitCode::SUCCESS
        }
        failed => end(name, failed.map(drop)),
    }
}

/// The program's exit code: 0, or 2 where a setting is at fault, else 1. What went wrong is told on stderr.
pub fn end<E: std::error::Error + 'static>(name: &str, done: Result<(), E>) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("{name}: {error}");
    let error: &(dyn std::error::Error + 'static) = &error;
    let is_setting = matches!(error.downcast_ref(), Some(StartError::Setting { .. }));
    ExitCode::from(if is_setting { 2 } else { 1 })
}

/// Returns on Ctrl-C or SIGTERM.
async fn asked_to_end() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    let _ = interrupted.await;
}
