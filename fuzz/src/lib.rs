//! Fuzz targets: each makes of any bytes the input of a check, most of which the crates' tests have too. `cargo xtask fuzz`
//! lets libFuzzer look for bytes that fail; the tests try a few, so that the targets stay true. Without the feature `engine` this
//! needs no libFuzzer. Checks do not belong here but in `tests/support` of the crate that they check.

pub mod codec;
pub mod definitions;
mod guest;
pub mod http;
pub mod queue;
pub mod recovery;
pub mod session;
pub mod topic;

/// What an input was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It was checked: inputs like it may find more.
    Keeping,
    /// It ended before it meant anything.
    Nothing,
}

impl From<arbitrary::Result<()>> for Worth {
    fn from(done: arbitrary::Result<()>) -> Self {
        done.map_or(Self::Nothing, |()| Self::Keeping)
    }
}

/// The program that libFuzzer drives, for one of the modules here.
#[macro_export]
macro_rules! target {
    ($target:ident) => {
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
            match $crate::$target::fuzz(bytes) {
                $crate::Worth::Keeping => libfuzzer_sys::Corpus::Keep,
                $crate::Worth::Nothing => libfuzzer_sys::Corpus::Reject,
            }
        });
    };
}
