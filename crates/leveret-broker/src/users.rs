//! Who may log in. Permissions by virtual host and object come with the administration.

use parking_lot::RwLock;
use rustc_hash::FxHashMap;

/// The users of a broker.
#[derive(Default)]
pub struct Users {
    by_name: RwLock<FxHashMap<String, User>>,
    /// Names that may log in from loopback addresses only.
    loopback_only: Vec<String>,
}

struct User {
    password: String,
}

/// How somebody says who they are.
#[derive(Clone, Copy, Debug)]
pub enum Login<'a> {
    /// By name and password.
    Password(&'a str),
    /// By a certificate that the transport has verified.
    Certificate,
}

impl Users {
    /// No user yet; those named may log in from loopback addresses only.
    #[must_use]
    pub fn new(loopback_only: Vec<String>) -> Self {
        Self { by_name: RwLock::default(), loopback_only }
    }

    /// Adds a user, or sets the password of one.
    pub fn add(&self, name: &str, password: &str) {
        self.by_name.write().insert(name.into(), User { password: password.into() });
    }

    /// Whether the user may log in so, from a loopback address or from elsewhere.
    #[must_use]
    pub fn admits(&self, name: &str, login: Login<'_>, from_loopback: bool) -> bool {
        if !from_loopback && self.loopback_only.iter().any(|user| user == name) {
            return false;
        }
        match (self.by_name.read().get(name), login) {
            (None, _) => false,
            (Some(_), Login::Certificate) => true,
            (Some(user), Login::Password(password)) => {
                same_bytes(user.password.as_bytes(), password.as_bytes())
            }
        }
    }
}

/// Compares in a time that depends on the lengths only.
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
