//! Data folders: made and tried out before anything starts in them, so that a folder that cannot be written is
//! told at once.

use std::fs;
use std::io;
use std::path::Path;

use crate::failure::Failure;

const PROBE: &str = ".leveret-can-write";

/// Makes the folder that `flag` names where there is none, and checks that files can be made in it.
pub(crate) fn prepare(dir: &Path, flag: &str) -> Result<(), Failure> {
    let failed = |what: &str, error: &io::Error| {
        Failure::run(format!(
            "data folder {} {what}: {error}; choose a folder that this user may write, with {flag}",
            dir.display()
        ))
    };
    fs::create_dir_all(dir).map_err(|error| failed("cannot be made", &error))?;
    let probe = dir.join(PROBE);
    fs::write(&probe, b"")
        .and_then(|()| fs::remove_file(&probe))
        .map_err(|error| failed("cannot be written", &error))
}
