//! File descriptors: how many the process may have open, and how they are shared out, so that clients leave some for the
//! store. What happens when there are none left all the same is up to whoever needs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the process's limit on open files as far as the system lets it, and returns it. Many systems begin with a
/// limit of 1,024, for the sake of old programs, and allow far more.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // Where that is refused the limit stays as it was, which is what is returned.
    let _refused = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    descriptor_limit()
}

fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many connections may be open at once: about three quarters of the limit.
pub(crate) fn for_connections() -> usize {
    let limit = usize::try_from(descriptor_limit()).unwrap_or(usize::MAX);
    (limit - limit / 4).saturating_sub(16).clamp(1, tokio::sync::Semaphore::MAX_PERMITS)
}

/// How many segments the store may keep open to write on: an eighth of the limit.
pub(crate) fn for_segments() -> usize {
    usize::try_from(descriptor_limit() / 8).unwrap_or(usize::MAX).max(4)
}
