//! Ids that need no asking around: UUIDs by time, snowflakes, and numbers that people can read.

mod sequence;
mod snowflake;
mod worker_id;

use std::fmt::Display;

use chrono::Utc;
use uuid::Uuid;

pub use snowflake::{Snowflake, SnowflakeOptions};

/// A UUID of version 7: 36 characters that sort by time.
pub fn uuid() -> String {
    Uuid::now_v7().to_string()
}

/// The date (UTC, `YYYYMMDD`), twelve random digits, and the user's id: `20261122` `048151623421` `42`. Two of one user
/// on one day are the same with a probability of one in a million million, so a unique column and a second attempt
/// belong to it.
pub fn dated(user: impl Display) -> String {
    let random = Uuid::new_v4().as_u128() % 1_000_000_000_000;
    format!("{}{random:012}{user}", Utc::now().format("%Y%m%d"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_dated_id_is_date_digits_and_user() {
        let id = super::dated(42);
        assert_eq!(id.len(), 8 + 12 + 2);
        assert!(id.starts_with("20") && id.ends_with("42") && id.bytes().all(|byte| byte.is_ascii_digit()));
        assert_ne!(id, super::dated(42));
    }
}
