//! Orders: accepted now, written later. `POST /orders` answers with the order's number as soon as the broker has
//! confirmed the message about it; workers write the orders in batches, as fast as the database likes. An order that is
//! not paid in time closes by itself, and of paying and closing one wins.
//!
//! [`run`] starts all of it in this process.

mod closing;
mod desk;
mod http;
mod numbers;
mod page;
mod running;
mod settings;
mod store;
mod writer;

pub use desk::{Desk, Flow, Found, State};
pub use leveret_web::StartError;
pub use numbers::Numbering;
pub use running::{Running, run};
pub use settings::{Names, Settings};
