//! One of the two brokers of a migration: where it speaks AMQP, where its management is.

use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use ureq::http::StatusCode;

use crate::failure::Failure;
use crate::http_api::{Api, encoded};

/// How long an answer may take; that to many definitions takes its time.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) struct Side {
    /// What it is called on the command line.
    flag: &'static str,
    uri: AMQPUri,
    pub(super) management: Api,
    /// The virtual host that the migration is confined to.
    pub(super) only_vhost: Option<String>,
}

impl Side {
    /// `vhost` is what the other side is confined to.
    pub(super) fn new(
        flag: &'static str,
        url: &str,
        management: Option<&str>,
        vhost: Option<String>,
    ) -> Result<Self, Failure> {
        let mut uri: AMQPUri = url
            .parse()
            .map_err(|error| Failure::usage(format!("{flag}: {error}; expected amqp://HOST:PORT")))?;
        let own = url
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split_once('/'))
            .is_some_and(|(_, path)| !path.is_empty());
        let own = own.then(|| uri.vhost.clone());
        uri.vhost = "/".into();
        if let (Some(own), Some(other)) = (&own, &vhost)
            && own != other
        {
            return Err(Failure::usage(format!(
                "{flag}: the virtual hosts have to be of one name, not {own} and {other}"
            )));
        }
        let login = &uri.authority.userinfo;
        let management = management.map_or_else(|| derived(&uri), str::to_owned);
        let says_where = if flag == "--from" { "--from-management" } else { "--to-management" };
        let login = (login.username.as_str(), login.password.as_str());
        let management = Api::new(says_where, &management, login, PATIENCE)?;
        Ok(Self { flag, management, uri, only_vhost: vhost.or(own) })
    }

    pub(super) fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    pub(super) fn overview(&self) -> Result<Value, Failure> {
        Ok(self.management.get("/overview")?)
    }

    /// The virtual hosts that are migrated.
    pub(super) fn vhosts(&self) -> Result<Vec<String>, Failure> {
        if let Some(vhost) = &self.only_vhost {
            return Ok(vec![vhost.clone()]);
        }
        let all = self.management.get("/vhosts?columns=name")?;
        Ok(all
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| Some(one["name"].as_str()?.to_owned()))
            .collect())
    }

    pub(super) async fn connect(&self, vhost: &str) -> Result<Connection, Failure> {
        let uri = AMQPUri { vhost: vhost.to_owned(), ..self.uri.clone() };
        let properties = ConnectionProperties::default().with_connection_name("leveret migrate".into());
        let connected = Connection::connect_uri(uri, properties).await;
        connected.map_err(|error| Failure::run(format!("{}: virtual host {vhost}: {error}", self.flag)))
    }

    /// Lets the user that messages are published as into a virtual host where it may not yet; returns whether it had to.
    pub(super) fn enter(&self, vhost: &str) -> Result<bool, Failure> {
        let path = format!("/permissions/{}/{}", encoded(vhost), encoded(self.user()));
        match self.management.get(&path) {
            Ok(_) => return Ok(false),
            // Only then it has none: anything else must not end in more rights than somebody chose.
            Err(error) if error.status == Some(StatusCode::NOT_FOUND) => {}
            Err(error) => return Err(error.into()),
        }
        let everything = serde_json::json!({ "configure": ".*", "write": ".*", "read": ".*" });
        self.management.put(&path, &everything)?;
        Ok(true)
    }
}

/// By the habits of RabbitMQ's installations.
fn derived(uri: &AMQPUri) -> String {
    let port = match uri.authority.port {
        5671 | 5672 => 15672,
        port => u32::from(port) + 10_000,
    };
    let host = &uri.authority.host;
    if host.contains(':') { format!("http://[{host}]:{port}") } else { format!("http://{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_management_is_where_it_usually_is() {
        let of = |url: &str| derived(&url.parse().unwrap());
        assert_eq!(of("amqp://localhost"), "http://localhost:15672");
        assert_eq!(of("amqps://a@b:5671"), "http://b:15672");
        assert_eq!(of("amqp://a:b@h:35672/v"), "http://h:45672");
    }

    #[test]
    fn a_path_confines_the_migration() {
        let only = |url| Side::new("--from", url, None, None).unwrap().only_vhost;
        assert_eq!(only("amqp://h:1"), None);
        assert_eq!(only("amqp://h:1/"), None);
        assert_eq!(only("amqp://h:1/%2F").as_deref(), Some("/"));
        assert!(Side::new("--to", "amqp://h:1/a", None, Some("b".into())).is_err());
    }
}
