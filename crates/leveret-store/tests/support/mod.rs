//! What the store's tests share. Each of them uses a part of it.
#![allow(dead_code, reason = "every test binary includes all of it")]

pub(crate) mod disk;
pub(crate) mod rig;
pub(crate) mod schedule;
pub(crate) mod wreck;
