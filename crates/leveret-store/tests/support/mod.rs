//! What the store's tests share.

pub(crate) mod disk;
pub(crate) mod schedule;
