//! `leveret config`: the effective settings as a settings file, with where each came from.

use std::io::Write;

use crate::failure::Failure;
use crate::settings::{Flags, Settings};

const HIDDEN: &str = "\"********\"";

/// Prints the settings.
pub(crate) fn run(flags: &Flags, show_secrets: bool) -> Result<(), Failure> {
    let settings = Settings::load(flags)?;
    let mut stdout = std::io::stdout().lock();
    for effective in settings.effective() {
        let line = match &effective.value {
            None => format!("# {} is not set", effective.key),
            Some(_) if effective.secret && !show_secrets => format!("{} = {HIDDEN}", effective.key),
            Some(value) => format!("{} = {value}", effective.key),
        };
        // Whoever closed stdout, as `head` does, has seen enough.
        if writeln!(stdout, "{line:<44} # {}", effective.origin).is_err() {
            break;
        }
    }
    Ok(())
}
