//! The journal: groups of operations in numbered files. Encoding, the group that gathers, the files and reading them
//! back are here; what the operations mean for queues is not.

pub(crate) mod files;
pub(crate) mod group;
pub(crate) mod op;
pub(crate) mod pending;
pub(crate) mod scan;
