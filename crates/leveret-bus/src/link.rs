//! The connection to the broker, made anew when it is lost. Everything else asks here for a channel and
//! comes back for another when its own breaks; nothing else holds a connection.

use std::sync::Arc;
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for the broker's agreement that a channel or connection is done with: a courtesy, no more.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Up, as far as known.
    Connected,
    /// Lost or not yet made; being tried again when something needs it.
    Disconnected,
    /// Closed for good by [`Bus::close`](crate::Bus::close).
    Closed,
}

pub(crate) struct Link {
    uri: AMQPUri,
    name: String,
    connection: Mutex<Option<Arc<Connection>>>,
    state: watch::Sender<LinkState>,
    closed: CancellationToken,
}

impl Link {
    pub(crate) fn new(url: &str, name: &str) -> Result<Self, Error> {
        Ok(Self {
            uri: parse(url)?,
            name: name.to_owned(),
            connection: Mutex::default(),
            state: watch::Sender::new(LinkState::Disconnected),
            closed: CancellationToken::new(),
        })
    }

    /// A new channel, on the present connection or a new one. Tries once.
    pub(crate) async fn channel(&self) -> Result<Channel, Error> {
        let connection = self.connected().await?;
        match connection.create_channel().await {
            Ok(channel) => Ok(channel),
            Err(error) => {
                self.note_loss(&connection).await;
                Err(error.into())
            }
        }
    }

    /// A new channel; tries again with growing pauses until `deadline`.
    pub(crate) async fn channel_by(&self, deadline: Instant) -> Result<Channel, Error> {
        let mut last = None;
        let trying = async {
            let mut pauses = Pauses::default();
            loop {
                match self.channel().await {
                    Ok(channel) => return Ok(channel),
                    Err(error) if self.closed.is_cancelled() => return Err(error),
                    Err(error) => last = Some(error),
                }
                sleep(pauses.next_pause()).await;
            }
        };
        match timeout_at(deadline, trying).await {
            Ok(result) => result,
            Err(_) => Err(last.unwrap_or(Error::Late)),
        }
    }

    /// A connection beside the main one, for attempts that may cost the connection.
    pub(crate) async fn throw_away(&self) -> Result<Connection, Error> {
        open(&self.uri, &format!("{} (probe)", self.name)).await
    }

    pub(crate) fn state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// True when a connection is up. Makes one if there is none.
    pub(crate) async fn is_up(&self) -> bool {
        self.connected().await.is_ok()
    }

    pub(crate) async fn close(&self) {
        self.closed.cancel();
        if let Some(connection) = self.connection.lock().await.take() {
            // The broker may be gone already; closing is a courtesy.
            let _ = timeout(CONNECT_TIMEOUT, connection.close(200, "bye".into())).await;
        }
        self.state.send_replace(LinkState::Closed);
    }

    /// The lock is held while connecting, so that many who need a connection make one, not many.
    async fn connected(&self) -> Result<Arc<Connection>, Error> {
        let mut slot = self.connection.lock().await;
        if self.closed.is_cancelled() {
            return Err(Error::Closed);
        }
        if let Some(connection) = slot.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        *slot = None;
        self.state.send_replace(LinkState::Disconnected);
        let connection = Arc::new(open(&self.uri, &self.name).await?);
        *slot = Some(Arc::clone(&connection));
        self.state.send_replace(LinkState::Connected);
        Ok(connection)
    }

    /// Forgets a connection that turned out to be dead, unless another has taken its place.
    async fn note_loss(&self, dead: &Arc<Connection>) {
        let mut slot = self.connection.lock().await;
        if slot.as_ref().is_some_and(|present| Arc::ptr_eq(present, dead) && !dead.status().connected()) {
            *slot = None;
            self.state.send_replace(LinkState::Disconnected);
        }
    }
}

async fn open(uri: &AMQPUri, name: &str) -> Result<Connection, Error> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connecting = Connection::connect_uri(uri.clone(), properties);
    Ok(timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| Error::TimedOut(CONNECT_TIMEOUT))??)
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

/// Growing pauses between attempts: doubled each time from 50 ms up to 5 s.
#[derive(Default)]
pub(crate) struct Pauses {
    taken: u32,
}

impl Pauses {
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.taken.min(10)).min(LONGEST_PAUSE);
        self.taken += 1;
        pause
    }
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
    fn pauses_grow_to_five_seconds() {
        let mut pauses = Pauses::default();
        let taken: Vec<_> = (0..9).map(|_| pauses.next_pause().as_millis()).collect();
        assert_eq!(taken, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
