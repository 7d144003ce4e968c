//! The management beside a server in this process, driven over HTTP.

mod blocked;
mod certificates;
mod slow;
mod stage;
mod unread;
