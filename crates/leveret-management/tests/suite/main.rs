//! The management beside a server in this process, driven over HTTP.

mod blocked;
mod certificates;
mod missing;
mod objects;
mod past;
mod rights;
mod slow;
mod stage;
mod unread;
