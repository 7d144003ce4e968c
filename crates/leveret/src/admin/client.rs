//! The broker that a command asks, and what it says of the answer.

use std::time::Duration;

use serde_json::Value;

use super::options::Target;
use crate::failure::Failure;
use crate::http_api::{Api, ApiError, encoded};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A broker's management.
pub(super) struct Client {
    api: Api,
    vhost: String,
    pub(super) json: bool,
}

impl Client {
    pub(super) fn new(target: &Target) -> Result<Self, Failure> {
        let login = (target.user.as_str(), target.password.as_str());
        let api = Api::new("--url", &target.url, login, PATIENCE)?;
        Ok(Self { api, vhost: target.vhost.clone(), json: target.json })
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
        self.api.get(path).map_err(explained)
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.api.put(path, body).map_err(explained)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.api.post(path, body).map_err(explained)
    }

    pub(super) fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.api.delete(path).map_err(explained)
    }
}

/// With what most often helps.
fn explained(error: ApiError) -> Failure {
    let advice = match error.status.map(|status| status.as_u16()) {
        Some(401) if error.is_about("Login failed") => {
            "; wrong user or password: --user and --password, or LEVERET_MANAGEMENT_USER and \
             LEVERET_MANAGEMENT_PASSWORD, say who asks"
        }
        Some(401) => "; --user says who asks: this takes more rights",
        Some(404) => {
            "; there is nothing of that name: --vhost says in which virtual host, `list` what there is"
        }
        _ => "",
    };
    Failure::run(format!("{error}{advice}"))
}
