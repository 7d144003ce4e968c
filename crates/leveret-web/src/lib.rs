//! What the systems share beside the bus, so that each system's code is about the system. A [`Ground`] is given a
//! system's own routes and adds the rest: errors as RFC 9457 has them, request keys that make a repeated POST harmless,
//! health, metrics, trace ids, the page's frame and the parked messages; a [`Running`] ends all of it in good order.
//!
//! It stands beside `leveret-bus`, not in it, because who uses the bus may have no HTTP or another framework for it.
//! Nothing here may know what a system is about.

mod board;
pub mod client;
mod front;
mod ground;
mod guard;
mod health;
pub mod input;
pub mod load;
mod metrics;
mod openapi;
pub mod page;
mod parked;
mod problem;
pub mod program;
mod request_key;
mod running;
pub mod signature;
mod site;
mod start_error;
pub mod trace;
mod turns;

pub use front::{Front, Page, Trouble};
pub use ground::{Ground, Places, until_the_database_is_back};
pub use guard::is_foreign;
pub use problem::Problem;
pub use request_key::{Answer, RequestKey};
pub use running::Running;
pub use start_error::StartError;
pub use turns::Turns;
