//! Where the broker is: one host or several, with or without TLS. Opens connections; who keeps them is
//! [`Link`](crate::link::Link).

use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

use crate::error::Error;

/// How long one host may take to accept a connection, log-in included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The hosts of a broker, tried in their order.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    uris: Vec<AMQPUri>,
    name: String,
    tls: OwnedTLSConfig,
}

impl Hosts {
    /// Reads a list of URLs, separated by commas.
    pub(crate) fn new(urls: &str, name: String, ca_pem: Option<String>) -> Result<Self, Error> {
        let uris = urls.split(',').map(|url| parse(url.trim())).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { uris, name, tls: OwnedTLSConfig { identity: None, cert_chain: ca_pem } })
    }

    /// A connection to the first host that accepts one; the last one's error where none does.
    pub(crate) async fn open(&self, suffix: &str) -> Result<Connection, Error> {
        let mut last = Error::Closed;
        for uri in &self.uris {
            match self.open_one(uri, suffix).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    tracing::debug!(host = uri.authority.host, port = uri.authority.port, %error, "no connection");
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn open_one(&self, uri: &AMQPUri, suffix: &str) -> Result<Connection, Error> {
        let name = format!("{}{suffix}", self.name);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime()?;
        let connecting =
            Connection::connect_uri_with_config(uri.clone(), properties, self.tls.clone(), runtime);
        Ok(timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| Error::TimedOut(CONNECT_TIMEOUT))??)
    }
}

/// Reads the URL. A path of "/" alone means the default virtual host here, as most clients read it, and not
/// the virtual host without a name.
fn parse(url: &str) -> Result<AMQPUri, Error> {
    let mut uri: AMQPUri = url.parse().map_err(Error::Url)?;
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_slash_is_the_default_virtual_host() {
        for url in ["amqp://127.0.0.1:1", "amqp://127.0.0.1:1/", "amqp://127.0.0.1:1/%2f"] {
            assert_eq!(parse(url).unwrap().vhost, "/", "{url}");
        }
        assert_eq!(parse("amqp://u:p@h/v").unwrap().vhost, "v");
    }

    #[test]
    fn a_list_of_urls_is_a_list_of_hosts() {
        let hosts = Hosts::new("amqp://a:1/v, amqps://b:2/v", String::new(), None).unwrap();
        let read: Vec<_> =
            hosts.uris.iter().map(|uri| (uri.authority.host.as_str(), uri.authority.port)).collect();
        assert_eq!(read, [("a", 1), ("b", 2)]);
        for bad in ["", "amqp://a,", "http://a"] {
            assert!(matches!(Hosts::new(bad, String::new(), None), Err(Error::Url(_))), "{bad:?}");
        }
    }
}
