//! One request of the HTTP API at a time.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

use super::options::Target;
use crate::failure::Failure;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Largest answer, in bytes.
const LARGEST_BYTES: u64 = 1 << 30;

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A name as it stands in a path.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// A broker's management.
pub(super) struct Client {
    agent: Agent,
    base: String,
    authorization: String,
    pub(super) vhost: String,
    pub(super) json: bool,
}

impl Client {
    pub(super) fn new(target: &Target) -> Result<Self, Failure> {
        if !target.url.starts_with("http://") {
            return Err(Failure::usage(format!("--url {}: expected http://HOST:PORT", target.url)));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(PATIENCE));
        Ok(Self {
            agent: config.build().into(),
            base: format!("{}/api", target.url.trim_end_matches('/')),
            authorization: format!(
                "Basic {}",
                BASE64_STANDARD.encode(format!("{}:{}", target.user, target.password))
            ),
            vhost: target.vhost.clone(),
            json: target.json,
        })
    }

    /// `/KIND/VHOST/NAME`, encoded.
    pub(super) fn path(&self, kind: &str, names: &[&str]) -> String {
        let names = std::iter::once(self.vhost.as_str()).chain(names.iter().copied());
        let mut path = format!("/{kind}");
        for name in names {
            path.push('/');
            path.push_str(&encoded(name));
        }
        path
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send("GET", path, None)
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send("PUT", path, Some(body))
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send("POST", path, Some(body))
    }

    pub(super) fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.send("DELETE", path, None)
    }

    /// Null for an answer without a body.
    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let unusable = |error: &dyn std::fmt::Display| Failure::run(format!("{}: {error}", self.base));
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(&url)
            .header("authorization", &self.authorization)
            .header("content-type", "application/json")
            .body(body)
            .map_err(|error| Failure::usage(format!("{url}: {error}")))?;
        let mut answer = self.agent.run(request).map_err(|error| unusable(&error))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(LARGEST_BYTES).read_to_string();
        let text = text.map_err(|error| unusable(&error))?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let reason = match &value["reason"] {
            Value::String(reason) => reason.clone(),
            Value::Null => status.canonical_reason().unwrap_or("refused").into(),
            other => other.to_string(),
        };
        Err(Failure::run(format!("{method} {path}: {} {reason}", status.as_u16())))
    }
}
