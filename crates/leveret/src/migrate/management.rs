//! One request at a time to a broker's management.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

use crate::failure::Failure;

/// How long an answer may take; that to many definitions takes its time.
const PATIENCE: Duration = Duration::from_secs(300);
/// Largest answer, in bytes.
const LARGEST_BYTES: u64 = 1 << 30;
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A name as it stands in a path.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

pub(super) struct Management {
    agent: Agent,
    url: String,
    authorization: String,
}

impl Management {
    pub(super) fn new(url: &str, user: &str, password: &str) -> Result<Self, Failure> {
        if !url.starts_with("http://") {
            return Err(Failure::usage(format!("{url}: expected http://HOST:PORT")));
        }
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        Ok(Self {
            agent: config.build().into(),
            url: format!("{}/api", url.trim_end_matches('/')),
            authorization: format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))),
        })
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send("GET", path, String::new())
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send("PUT", path, body.to_string())
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send("POST", path, body.to_string())
    }

    /// Null for an answer without a body.
    fn send(&self, method: &str, path: &str, body: String) -> Result<Value, Failure> {
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::run(format!(
                "{}: {error}; --from-management and --to-management say where it is",
                self.url
            ))
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", &self.authorization)
            .header("content-type", "application/json")
            .body(body)
            .map_err(|error| Failure::usage(format!("{}: {error}", self.url)))?;
        let mut answer = self.agent.run(request).map_err(|error| unusable(&error))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(LARGEST_BYTES).read_to_string();
        let text = text.map_err(|error| unusable(&error))?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let reason = value["reason"].as_str().unwrap_or(status.canonical_reason().unwrap_or("refused"));
        Err(Failure::run(format!("{}: {method} {path}: {} {reason}", self.url, status.as_u16())))
    }
}
