//! What the systems share beside the bus, so that each system's code is about the system. A [`Ground`] is given a
//! system's own routes and adds the rest: errors as RFC 9457 has them, request keys that make a repeated POST harmless,
//! health, metrics, trace ids, the page's frame and the parked messages.
//!
//! It stands beside `leveret-bus`, not in it, because who uses the bus may have no HTTP or another framework for it.
//! Nothing here may know what a system is about.

pub mod board;
pub mod client;
mod ground;
mod guard;
mod health;
pub mod input;
pub mod load;
mod metrics;
mod openapi;
pub mod page;
pub mod parked;
mod problem;
pub mod program;
mod request_key;
mod site;
mod start_error;
pub mod trace;
mod turns;

pub use board::Board;
pub use ground::{Ground, Places, Served, until_the_database_is_back};
pub use problem::Problem;
pub use request_key::{Answer, RequestKey};
pub use start_error::StartError;
pub use turns::Turns;
