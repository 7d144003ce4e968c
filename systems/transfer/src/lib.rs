//! Money from company A to company B: two programs, two databases, a broker between them, and no cent made or lost.
//!
//! A debits and logs the transfer in one transaction, with the message for B. B records it as prepared, then asks A by
//! callback. The verdict belongs to A's log row alone: B's callback moves it from 0 to 1, A's time-out from 0 to 2, and
//! whichever comes first stands. B credits only after A has said "success"; A refunds what failed. What is left open by
//! a crash anywhere is picked up by the timers of both.
//!
//! [`run_a`] and [`run_b`] start the two companies.

pub mod a;
mod accounts;
pub mod b;
mod books;
mod company;
mod http;
mod log;
mod page;
mod settings;
mod transfer;

pub use a::run_a;
pub use b::run_b;
pub use books::{Account, Books, Entry, Side, Status};
pub use leveret_web::StartError;
pub use leveret_web::signature::{Refused, Secret};
pub use settings::{Names, SettingsA, SettingsB};
pub use transfer::{SIGNATURE_HEADER, TIME_HEADER, Transfer};
