//! The connection to the broker. A supervisor makes it, notices its loss and makes it again, with growing pauses,
//! until the bus is closed. Everything else asks here for a channel and comes back for another when its own breaks;
//! nothing else holds a connection, and nothing waits without a limit.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Channel, Connection, Event};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::Error;
use crate::hosts::Hosts;

/// How long to wait for the broker's agreement that a channel or connection is done with: a courtesy, no more.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a few questions to the broker may take, such as declarations.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that opens no channel within this is dead, whatever it says of itself.
const CHANNEL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the broker may take to show that it is there.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the connection's state is looked at, beside its own events.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Up.
    Connected,
    /// Up, but the broker takes no messages at present, since it is short of disk or memory: publishes wait.
    Blocked,
    /// Lost, and being made again.
    Disconnected,
    /// Closed for good by [`Bus::close`](crate::Bus::close).
    Closed,
}

pub(crate) struct Link {
    shared: Arc<Shared>,
    hosts: Hosts,
    closed: CancellationToken,
    /// The supervisor ends, and the connection with it, when nobody needs it any more.
    _guard: DropGuard,
}

/// What the supervisor and the link have in common.
struct Shared {
    state: watch::Sender<LinkState>,
    present: watch::Sender<Option<Arc<Connection>>>,
    /// The last connection that somebody found dead before it said so.
    dead: watch::Sender<Weak<Connection>>,
}

impl Link {
    /// Connects, trying again until `deadline`, except where the broker refuses the log-in.
    pub(crate) async fn connect(hosts: Hosts, deadline: Instant) -> Result<Self, Error> {
        let first = first_connection(&hosts, deadline).await?;
        let shared = Arc::new(Shared {
            state: watch::Sender::new(LinkState::Connected),
            present: watch::Sender::new(None),
            dead: watch::Sender::new(Weak::new()),
        });
        let closed = CancellationToken::new();
        let supervisor =
            Supervisor { shared: Arc::clone(&shared), hosts: hosts.clone(), closed: closed.clone() };
        supervisor.shared.present.send_replace(Some(Arc::new(first)));
        tokio::spawn(supervisor.run());
        Ok(Self { shared, hosts, _guard: closed.clone().drop_guard(), closed })
    }

    /// A new channel within the time that a few questions may take.
    pub(crate) async fn channel(&self) -> Result<Channel, Error> {
        self.channel_by(Instant::now() + ANSWER_TIMEOUT).await
    }

    /// A new channel, on the present connection or the next one; tries with growing pauses until `deadline`.
    pub(crate) async fn channel_by(&self, deadline: Instant) -> Result<Channel, Error> {
        let mut last = None;
        let trying = async {
            let mut pauses = Pauses::default();
            loop {
                match self.try_channel().await {
                    Ok(channel) => return Ok(channel),
                    Err(Error::Closed) => return Err(Error::Closed),
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
        self.hosts.open(" (probe)").await
    }

    pub(crate) fn state(&self) -> watch::Receiver<LinkState> {
        self.shared.state.subscribe()
    }

    pub(crate) async fn answers(&self) -> bool {
        let Ok(Ok(channel)) = timeout(ASK_TIMEOUT, self.try_channel()).await else { return false };
        close(&channel).await;
        true
    }

    /// Ends the supervisor and waits until it has closed the connection.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        let mut state = self.state();
        let closed = state.wait_for(|state| *state == LinkState::Closed);
        let _ = timeout(CLOSE_TIMEOUT * 2, closed).await;
    }

    async fn try_channel(&self) -> Result<Channel, Error> {
        let connection = self.connection().await?;
        match timeout(CHANNEL_TIMEOUT, connection.create_channel()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                self.shared.dead.send_replace(Arc::downgrade(&connection));
                Err(Error::TimedOut(CHANNEL_TIMEOUT))
            }
        }
    }

    /// The present connection, or the next one.
    async fn connection(&self) -> Result<Arc<Connection>, Error> {
        let mut present = self.shared.present.subscribe();
        let is_up =
            |slot: &Option<Arc<Connection>>| slot.as_ref().is_some_and(|one| one.status().connected());
        let next = async { present.wait_for(is_up).await.map(|slot| slot.clone()) };
        tokio::select! {
            () = self.closed.cancelled() => Err(Error::Closed),
            next = next => next.ok().flatten().ok_or(Error::Closed),
        }
    }
}

async fn first_connection(hosts: &Hosts, deadline: Instant) -> Result<Connection, Error> {
    let mut pauses = Pauses::default();
    loop {
        match hosts.open("").await {
            Err(error) if !is_refusal(&error) && Instant::now() < deadline => {
                tracing::warn!(%error, "the broker cannot be reached yet");
            }
            result => return result,
        }
        sleep(pauses.next_pause().min(deadline.saturating_duration_since(Instant::now()))).await;
    }
}

/// True where the broker answered and does not want us: waiting would not help.
fn is_refusal(error: &Error) -> bool {
    let Error::Broker(error) = error else { return false };
    let lapin::ErrorKind::ProtocolError(error) = error.kind() else { return false };
    matches!(
        error.kind(),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
    )
}

struct Supervisor {
    shared: Arc<Shared>,
    hosts: Hosts,
    closed: CancellationToken,
}

impl Supervisor {
    async fn run(self) {
        let closed = self.closed.clone();
        closed.run_until_cancelled(self.keep_connected()).await;
        self.give_up("bye").await;
        self.shared.state.send_replace(LinkState::Closed);
    }

    async fn keep_connected(&self) {
        loop {
            let present = self.shared.present.borrow().clone();
            if let Some(connection) = present {
                self.watch(&connection).await;
            }
            self.shared.state.send_replace(LinkState::Disconnected);
            self.give_up("found dead").await;
            self.reconnect().await;
        }
    }

    /// Ends when the connection is lost.
    async fn watch(&self, connection: &Arc<Connection>) {
        let mut dead = self.shared.dead.subscribe();
        let is_this = |dead: &Weak<Connection>| dead.as_ptr() == Arc::as_ptr(connection);
        let mut found_dead = pin!(async { dead.wait_for(is_this).await.map(drop) });
        let mut events = pin!(connection.events_listener());
        let mut looks = interval(LOOK_EVERY);
        while connection.status().connected() {
            let event = tokio::select! {
                event = events.next() => event,
                _ = &mut found_dead => return tracing::warn!("the broker no longer answers"),
                _ = looks.tick() => continue,
            };
            match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(reason, "the broker takes no messages at present");
                    self.shared.state.send_replace(LinkState::Blocked);
                }
                Some(Event::ConnectionUnblocked) => {
                    self.shared.state.send_replace(LinkState::Connected);
                }
                Some(Event::Error(error)) => tracing::warn!(%error, "connection"),
                Some(_) => {}
                None => return,
            }
        }
    }

    async fn reconnect(&self) {
        let mut pauses = Pauses::default();
        loop {
            match self.hosts.open("").await {
                Ok(connection) => {
                    tracing::info!("connected again");
                    self.shared.present.send_replace(Some(Arc::new(connection)));
                    self.shared.state.send_replace(LinkState::Connected);
                    return;
                }
                Err(error) => tracing::warn!(%error, "the broker cannot be reached, trying again"),
            }
            sleep(pauses.next_pause()).await;
        }
    }

    /// Lets go of the connection. The broker may be gone already; closing is a courtesy.
    async fn give_up(&self, words: &'static str) {
        let present = self.shared.present.send_replace(None);
        if let Some(connection) = present {
            let _ = timeout(CLOSE_TIMEOUT, connection.close(200, words.into())).await;
        }
    }
}

/// What comes of a few questions to the broker, or an error when they take too long.
pub(crate) async fn bounded<T>(asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(ANSWER_TIMEOUT, asking).await.unwrap_or(Err(Error::TimedOut(ANSWER_TIMEOUT)))
}

/// Closes a channel that is done with.
pub(crate) async fn close(channel: &Channel) {
    let _ = timeout(CLOSE_TIMEOUT, channel.close(200, "done".into())).await;
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
    fn pauses_grow_to_five_seconds() {
        let mut pauses = Pauses::default();
        let taken: Vec<_> = (0..9).map(|_| pauses.next_pause().as_millis()).collect();
        assert_eq!(taken, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
