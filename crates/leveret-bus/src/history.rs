//! The stack of failed attempts that a message carries: what went wrong, and when. It is a header of JSON text, so that
//! any AMQP tool shows it; it is cut, because headers have to fit into one frame.

use serde::{Deserialize, Serialize};

use crate::headers::{HISTORY, Headers};

/// Most attempts kept: the first and the last ones.
const LIMIT: usize = 20;
/// Longest reason kept of an attempt, in bytes. The last reason has a header of its own, with more room.
const REASON_LIMIT_BYTES: usize = 200;

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// Which one it was, from 1.
    pub attempt: u32,
    /// When it failed, milliseconds since 1970 UTC.
    pub failed_ms: i64,
    /// Why, shortened to 200 bytes.
    pub reason: String,
}

/// The failed attempts, oldest first; at most 20, of which the first is the very first.
pub(crate) fn of(headers: &Headers) -> Vec<FailedAttempt> {
    headers.text(HISTORY).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

pub(crate) fn add(headers: &mut Headers, attempt: u32, failed_ms: i64, reason: &str) {
    let mut attempts = of(headers);
    if attempts.len() >= LIMIT {
        attempts.remove(1);
    }
    let reason = shortened(reason, REASON_LIMIT_BYTES).to_owned();
    attempts.push(FailedAttempt { attempt, failed_ms, reason });
    if let Ok(text) = serde_json::to_string(&attempts) {
        headers.set_text(HISTORY, text);
    }
}

/// The beginning of a text, cut between letters.
pub(crate) fn shortened(reason: &str, limit_bytes: usize) -> &str {
    &reason[..reason.floor_char_boundary(limit_bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_attempts_are_kept() {
        let mut headers = Headers::default();
        for attempt in 1..=50 {
            add(&mut headers, attempt, 1000 + i64::from(attempt), &"é".repeat(300));
        }
        let attempts = of(&headers);
        let numbers: Vec<_> = attempts.iter().map(|one| one.attempt).collect();
        assert_eq!((numbers.len(), numbers[0], numbers[1], numbers[19]), (20, 1, 32, 50));
        assert_eq!((attempts[0].failed_ms, attempts[0].reason.len()), (1001, 200));
    }

    #[test]
    fn long_reasons_are_cut_between_letters() {
        assert_eq!(shortened(&"é".repeat(600), 1000).len(), 1000);
        assert_eq!(shortened(&"aé".repeat(600), 1000).chars().last(), Some('a'));
        assert_eq!(shortened("short", 1000), "short");
    }

    #[test]
    fn a_header_that_makes_no_sense_is_no_history() {
        let mut headers = Headers::default();
        headers.set_text(HISTORY, "{");
        assert_eq!(of(&headers), []);
    }
}
