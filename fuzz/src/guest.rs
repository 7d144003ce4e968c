//! A broker that is made soon: its guest's password has RabbitMQ's hash, which takes no time.

use std::io::Write;
use std::sync::LazyLock;

use leveret_server::Config;
use tempfile::NamedTempFile;

/// Salt, and SHA-256 of salt and password.
const GUEST: &str = "c2FsdDRwMuw4kgNZhm0cEYx1m4NAR6BCdplxDdFbnDjbRIKq";

static DEFINITIONS: LazyLock<NamedTempFile> = LazyLock::new(|| {
    let json = serde_json::json!({
        "users": [{
            "name": "guest", "password_hash": GUEST, "tags": ["administrator"],
            "hashing_algorithm": "rabbit_password_hashing_sha256",
        }],
        "vhosts": [{"name": "/"}],
        "permissions": [{"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
    });
    let mut file = NamedTempFile::new().expect("a file can be made");
    write!(file, "{json}").expect("it can be written");
    file
});

/// A server in memory, for this guest.
pub(crate) fn config() -> Config {
    Config { load_definitions: Some(DEFINITIONS.path().into()), ..Config::ephemeral() }
}
