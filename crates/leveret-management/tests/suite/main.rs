//! The management beside a server in this process, driven over HTTP.

mod slow;
mod stage;
