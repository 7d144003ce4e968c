//! Company A: where money leaves, and whose log row holds the verdict on every transfer.

mod company;
mod http;
mod running;
mod timers;

pub use company::{CompanyA, Verdict};
pub use running::{RunningA, run_a};
