//! A broker's HTTP API, Leveret's or RabbitMQ's: one request at a time.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, StatusCode};

use crate::failure::Failure;

/// Largest answer, in bytes.
const LARGEST_BYTES: u64 = 1 << 30;
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A name as it stands in a path.
pub(crate) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// The API of one broker, for one user.
pub(crate) struct Api {
    agent: Agent,
    base: String,
    authorization: String,
    /// Says on the command line where it is.
    flag: &'static str,
}

/// Why a request was not carried out.
#[derive(Debug)]
pub(crate) struct ApiError {
    /// What the API has answered; `None` where it has not.
    pub(crate) status: Option<StatusCode>,
    text: String,
}

impl ApiError {
    /// Whether that is what the API said.
    pub(crate) fn is_about(&self, reason: &str) -> bool {
        self.text.ends_with(reason)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::run(error.text)
    }
}

impl Api {
    /// The API under `url`, which the command line gave by `flag`, for somebody with this name and password who waits so
    /// long for an answer.
    pub(crate) fn new(
        flag: &'static str,
        url: &str,
        (user, password): (&str, &str),
        patience: Duration,
    ) -> Result<Self, Failure> {
        if !url.starts_with("http://") {
            return Err(Failure::usage(format!("{flag} {url}: expected http://HOST:PORT")));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(patience));
        Ok(Self {
            agent: config.build().into(),
            base: format!("{}/api", url.trim_end_matches('/')),
            authorization: format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))),
            flag,
        })
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.send("GET", path, None)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.send("PUT", path, Some(body))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.send("POST", path, Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Value, ApiError> {
        self.send("DELETE", path, None)
    }

    /// Null for an answer without a body.
    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let url = format!("{}{path}", self.base);
        let request = Request::builder()
            .method(method)
            .uri(&url)
            .header("authorization", &self.authorization)
            .header("content-type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .map_err(|error| self.unusable(&error))?;
        let mut answer = self.agent.run(request).map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(LARGEST_BYTES).read_to_string();
        let text = text.map_err(|error| self.unusable(&error))?;
        if !status.is_success() {
            let text = format!("{method} {url}: {} {}", status.as_u16(), reason(status, &text));
            return Err(ApiError { status: Some(status), text });
        }
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        // What answers there may be something else entirely.
        serde_json::from_str(&text).map_err(|error| self.unusable(&format!("the answer is no JSON: {error}")))
    }

    fn unreachable(&self, error: &ureq::Error) -> ApiError {
        match error {
            ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                self.unusable(&"nothing listens there; does the broker run, with its management?")
            }
            ureq::Error::Io(error) => self.unusable(error),
            other => self.unusable(other),
        }
    }

    fn unusable(&self, error: &dyn fmt::Display) -> ApiError {
        ApiError { status: None, text: format!("{}: {error}; {} says where it is", self.base, self.flag) }
    }
}

/// Why the API refuses, in its own words where it has any.
fn reason(status: StatusCode, body: &str) -> String {
    match serde_json::from_str::<Value>(body).unwrap_or_default().get("reason") {
        Some(Value::String(reason)) => reason.clone(),
        None | Some(Value::Null) => status.canonical_reason().unwrap_or("refused").into(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// What is made of one answer.
    fn answered(answer: &'static str) -> Result<Value, ApiError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let api = Api::new("--url", &url, ("guest", "guest"), Duration::from_secs(30)).unwrap();
        let result = api.get("/overview");
        server.join().unwrap();
        result
    }

    #[test]
    fn an_answer_is_json_or_empty_or_an_error() {
        let json = answered("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").unwrap();
        assert_eq!(json, serde_json::json!([]));
        assert_eq!(answered("HTTP/1.1 204 No Content\r\n\r\n").unwrap(), Value::Null);
        let error = answered("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>").unwrap_err();
        assert!(error.status.is_none() && error.text.contains("no JSON"), "{error}");
        assert!(error.text.contains("--url says where it is"), "{error}");
    }

    #[test]
    fn a_refusal_says_why() {
        let error =
            answered("HTTP/1.1 404 Not Found\r\ncontent-length: 15\r\n\r\n{\"reason\":\"no\"}").unwrap_err();
        assert_eq!(error.status, Some(StatusCode::NOT_FOUND));
        assert!(error.text.ends_with("404 no"), "{error}");
        let error = answered("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 1\r\n\r\n<").unwrap_err();
        assert!(error.text.ends_with("502 Bad Gateway"), "{error}");
    }
}
