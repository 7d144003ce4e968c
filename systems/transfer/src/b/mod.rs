//! Company B: where money arrives, once A has said that it may.

mod company;
mod receiver;
mod running;

pub use company::CompanyB;
pub use running::{RunningB, run_b};
