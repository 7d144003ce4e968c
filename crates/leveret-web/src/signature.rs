//! What is signed, with HMAC-SHA256 and a shared secret: messages, so that nobody else who may publish to an exchange is
//! believed; and requests from system to system, over time and body. That a request's signature is not taken twice is for
//! the database of whoever is asked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use leveret_bus::clock;
use sha2::Sha256;

/// How far the two clocks may be apart, and how old a request may be.
pub const TOLERANCE: Duration = Duration::from_secs(300);

const SHORTEST_SECRET: usize = 16;
/// What stands in a message's signature in place of the time, so that it never passes for a request's: a message may
/// wait for as long as it likes, and may come twice.
const MESSAGE: &str = "message";

/// What those know who may believe each other, and nobody else.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// Why a message or a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A header is missing or cannot be read.
    #[error("it is not signed")]
    Unsigned,
    /// The signature is another.
    #[error("the signature is wrong")]
    Wrong,
    /// It was signed too long ago, or in the future.
    #[error("the signature's time is more than five minutes off")]
    Stale,
    /// It was used before.
    #[error("the signature was used before")]
    Replayed,
}

impl Secret {
    /// A secret of at least 16 bytes.
    ///
    /// # Errors
    /// It is shorter.
    pub fn new(text: impl Into<Vec<u8>>) -> Result<Self, &'static str> {
        let secret = text.into();
        if secret.len() < SHORTEST_SECRET { Err("must have at least 16 bytes") } else { Ok(Self(secret)) }
    }

    /// As [`new`](Self::new), of a setting.
    ///
    /// # Errors
    /// It is shorter.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        Self::new(text)
    }

    /// Signs a message's body.
    pub fn sign_message(&self, body: &[u8]) -> String {
        hex(self.mac(MESSAGE, body))
    }

    /// Checks a message's signature, in the same time whether it is right or not.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn check_message(&self, signature: Option<&str>, body: &[u8]) -> Result<(), Refused> {
        let signature = signature.and_then(bytes).ok_or(Refused::Unsigned)?;
        self.mac(MESSAGE, body).verify_slice(&signature).map_err(|_| Refused::Wrong)
    }

    /// Signs a request's body now; says the time too.
    pub fn sign_now(&self, body: &[u8]) -> (i64, String) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        (time_us, self.sign(time_us, body))
    }

    /// Signs a request's body at this time (microseconds since 1970 UTC).
    pub fn sign(&self, time_us: i64, body: &[u8]) -> String {
        hex(self.mac(&time_us.to_string(), body))
    }

    /// Checks a request's signature, in the same time whether it is right or not.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn check(&self, time: Option<&str>, signature: Option<&str>, body: &[u8]) -> Result<(), Refused> {
        let time_us: i64 = time.and_then(|time| time.parse().ok()).ok_or(Refused::Unsigned)?;
        let signature = signature.and_then(bytes).ok_or(Refused::Unsigned)?;
        self.mac(&time_us.to_string(), body).verify_slice(&signature).map_err(|_| Refused::Wrong)?;
        let off_ms = clock::now_ms().saturating_sub(time_us / 1000).unsigned_abs();
        if u128::from(off_ms) > TOLERANCE.as_millis() { Err(Refused::Stale) } else { Ok(()) }
    }

    fn mac(&self, head: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!("any length is a key"));
        mac.update(head.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac
    }
}

/// The secret must not get into logs.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn hex(mac: Hmac<Sha256>) -> String {
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of lower-case hexadecimal digits, so that a signature has one way to be written.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let is_hex = hex.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || hex.len() != 64 {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_believed_and_nothing_else() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        let now_us = clock::now_ms() * 1000;
        let time = now_us.to_string();
        let signature = secret.sign(now_us, b"tid=1");
        let check =
            |time: &str, signature: &str, body: &[u8]| secret.check(Some(time), Some(signature), body);
        assert_eq!(check(&time, &signature, b"tid=1"), Ok(()));
        assert_eq!(check(&time, &signature, b"tid=2"), Err(Refused::Wrong));
        assert_eq!(check(&(now_us + 1).to_string(), &signature, b"tid=1"), Err(Refused::Wrong));
        for nonsense in ["", "ab", "李", &signature.to_uppercase(), &"é".repeat(32)] {
            assert_eq!(check(&time, nonsense, b"tid=1"), Err(Refused::Unsigned), "{nonsense}");
        }
        let old_us = now_us - 301_000_000;
        let old = secret.sign(old_us, b"tid=1");
        assert_eq!(check(&old_us.to_string(), &old, b"tid=1"), Err(Refused::Stale));
        assert_eq!(secret.check(None, Some(&signature), b"tid=1"), Err(Refused::Unsigned));
        let other = Secret::new("another secret!!").unwrap();
        assert_eq!(other.check(Some(&time), Some(&signature), b"tid=1"), Err(Refused::Wrong));
    }

    #[test]
    fn a_message_is_believed_whenever_it_comes_and_is_no_request() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        let signature = secret.sign_message(b"{}");
        assert_eq!(secret.check_message(Some(&signature), b"{}"), Ok(()));
        assert_eq!(secret.check_message(Some(&signature), b"{ }"), Err(Refused::Wrong));
        assert_eq!(secret.check_message(None, b"{}"), Err(Refused::Unsigned));
        assert_eq!(secret.check(Some(MESSAGE), Some(&signature), b"{}"), Err(Refused::Unsigned));
        let request = secret.sign(1, b"{}");
        assert_eq!(secret.check_message(Some(&request), b"{}"), Err(Refused::Wrong));
    }

    #[test]
    fn a_secret_is_long_and_not_shown() {
        assert!(Secret::new("short").is_err());
        assert_eq!(format!("{:?}", Secret::new("0123456789abcdef").unwrap()), "Secret(…)");
    }
}
