//! Passwords as they are kept: argon2id for those set here, RabbitMQ's salted hashes for users who came from there.

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};

use crate::Error;

/// Memory and passes of a new hash: a few milliseconds for a log-in, which are a few milliseconds for each guess too.
const MEMORY_KIB: u32 = 4096;
const PASSES: u32 = 3;
/// RabbitMQ's salt stands before the hash.
const SALT_BYTES: usize = 4;

/// How a hash was made, by RabbitMQ's names where it is RabbitMQ's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HashAlgorithm {
    /// RabbitMQ's since 3.6, and what it takes a hash without a name for.
    #[default]
    #[serde(rename = "rabbit_password_hashing_sha256")]
    Sha256,
    /// One that RabbitMQ can be told to use.
    #[serde(rename = "rabbit_password_hashing_sha512")]
    Sha512,
    /// RabbitMQ's before 3.6.
    #[serde(rename = "rabbit_password_hashing_md5")]
    Md5,
    /// Leveret's. RabbitMQ cannot read it.
    #[serde(rename = "argon2id")]
    Argon2id,
}

/// The hash of a password. An empty one is no password's: its user cannot log in with one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    /// Base64 of salt and hash, as RabbitMQ writes it; the usual `$argon2id$…` for argon2.
    #[serde(rename = "password_hash")]
    hash: String,
    #[serde(rename = "hashing_algorithm", default)]
    algorithm: HashAlgorithm,
}

impl PasswordHash {
    /// Hashes a password with a new salt. Takes milliseconds.
    ///
    /// # Errors
    /// `Internal` where the system gives no random salt.
    pub fn of(password: &str) -> Result<Self, Error> {
        let hash = argon2()?
            .hash_password(password.as_bytes())
            .map_err(|error| Error::internal(error.to_string()))?;
        Ok(Self { hash: hash.to_string(), algorithm: HashAlgorithm::Argon2id })
    }

    /// A hash that was made elsewhere.
    ///
    /// # Errors
    /// `PreconditionFailed` where the text is no hash of that kind.
    pub fn imported(hash: &str, algorithm: HashAlgorithm) -> Result<Self, Error> {
        let wrong = |what: &str| Error::precondition(format!("password_hash: {what}"));
        if algorithm == HashAlgorithm::Argon2id && !hash.is_empty() {
            Phc::new(hash).map_err(|error| wrong(&error.to_string()))?;
        } else {
            STANDARD.decode(hash).map_err(|error| wrong(&format!("not base64: {error}")))?;
        }
        Ok(Self { hash: hash.into(), algorithm })
    }

    /// The hash as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.hash
    }

    /// How it was made.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Whether it is this password's. Takes milliseconds. As in RabbitMQ, nobody logs in with an empty password.
    #[must_use]
    pub fn matches(&self, password: &str) -> bool {
        if password.is_empty() {
            return false;
        }
        match self.algorithm {
            HashAlgorithm::Sha256 => self.matches_salted::<Sha256>(password),
            HashAlgorithm::Sha512 => self.matches_salted::<Sha512>(password),
            HashAlgorithm::Md5 => self.matches_salted::<Md5>(password),
            HashAlgorithm::Argon2id => Phc::new(&self.hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()),
        }
    }

    fn matches_salted<D: Digest>(&self, password: &str) -> bool {
        let Ok(salted) = STANDARD.decode(&self.hash) else { return false };
        let Some((salt, hash)) = salted.split_at_checked(SALT_BYTES) else { return false };
        same_bytes(&D::new().chain_update(salt).chain_update(password).finalize(), hash)
    }

    /// What a log-in that went well is remembered by, so that the next one takes microseconds.
    pub(crate) fn fingerprint(&self, password: &str) -> [u8; 32] {
        Sha256::new().chain_update(&self.hash).chain_update([0]).chain_update(password).finalize().into()
    }
}

fn argon2() -> Result<Argon2<'static>, Error> {
    let params =
        Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::default(), params))
}

/// Compares in a time that depends on the lengths only.
pub(crate) fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
