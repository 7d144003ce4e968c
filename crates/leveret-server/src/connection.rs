//! The task of one connection: opens it, feeds what it reads to its session, keeps the heartbeat, and closes it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use leveret_amqp::{Method, ReplyCode, connection, parse_frame, write_heartbeat, write_method};
use leveret_broker::{Connection as Entry, ConnectionOptions, Effects, Login, Owner, Queue};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout};

use crate::Shared;
use crate::handshake::{Handshake, NotOpened, Opened};
use crate::outbox::Outbox;
use crate::reply::Exception;
use crate::session::{Batch, Session};
use crate::socket::{ReadBuffer, Reader};

/// Longest pause of a publisher for the sake of a congested queue. A queue whose consumer is stuck for longer
/// slows its publishers down; it never stops them.
const LONGEST_PAUSE: Duration = Duration::from_millis(5);
/// Longest pause of a publisher after each batch for the sake of the disk.
const LONGEST_STORE_PAUSE_MS: u32 = 1000;
/// Deliveries during a pause that show that waiting helps: consumers that take time over each message are not
/// waited for.
const MOVING: u64 = 100;
/// How long a client whose log-in failed waits for the end of the connection.
const PENALTY: Duration = Duration::from_secs(1);

/// A connection that was accepted.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reader: Reader,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) peer: SocketAddr,
    /// The listener's address that the peer has reached.
    pub(crate) local: SocketAddr,
    pub(crate) is_tls: bool,
    pub(crate) certificate_name: Option<String>,
    pub(crate) owner: Owner,
    /// Whether the client wants to know that its publishes are not read; known once it has opened.
    pub(crate) tell_blocked: bool,
}

impl Connection {
    /// Serves the connection to its end.
    pub(crate) async fn run(mut self) {
        let mut buffer = ReadBuffer::new();
        let from_loopback = self.is_from_here();
        let handshake = Handshake {
            shared: &self.shared,
            reader: &mut self.reader,
            buffer: &mut buffer,
            outbox: &self.outbox,
            from_loopback,
            certificate_name: self.certificate_name.take(),
        };
        let limit = Duration::from_millis(self.shared.config.handshake_timeout_ms);
        let opened = tokio::select! {
            opened = timeout(limit, handshake.run()) => opened,
            () = self.shared.stopping() => Ok(Err(NotOpened::Gone)),
        };
        match opened {
            Ok(Ok(opened)) => {
                tracing::info!(
                    peer = %self.peer,
                    user = opened.user,
                    vhost = %opened.vhost.name,
                    name = opened.client.name,
                    "connection open"
                );
                self.outbox.lock().frame_max = opened.frame_max;
                self.tell_blocked = opened.client.connection_blocked;
                let heartbeat = Heartbeat::new(opened.heartbeat_s);
                let frame_max = opened.frame_max;
                let registered = self.register(&opened);
                let entry = Arc::clone(&registered.entry);
                let shared = Arc::clone(&self.shared);
                let session = Session::new(shared, Arc::clone(&self.outbox), Arc::clone(&entry), opened);
                self.serve(session, &entry, buffer, heartbeat, frame_max).await;
            }
            Ok(Err(not_opened)) => self.refuse(not_opened, buffer).await,
            Err(_) => tracing::info!(peer = %self.peer, "connection did not open in time"),
        }
        let _ = timeout(Duration::from_secs(1), self.sent_all()).await;
        self.outbox.close();
    }

    /// Enters the connection among those of the broker, until what this returns is dropped.
    fn register(&self, opened: &Opened) -> Registered {
        let options = ConnectionOptions {
            peer_host: self.peer.ip().to_canonical().to_string(),
            peer_port: self.peer.port(),
            host: self.local.ip().to_canonical().to_string(),
            port: self.local.port(),
            user: opened.user.clone(),
            vhost: Arc::clone(&opened.vhost.name),
            mechanism: opened.mechanism.clone(),
            tls: self.is_tls,
            client_properties: opened.client_properties.clone(),
            channel_max: opened.channel_max,
            unit_max_bytes: opened.frame_max,
            heartbeat_s: opened.heartbeat_s,
            connected_at: self.shared.clock.now(),
        };
        let entry = self.shared.broker.connections.open(self.owner, options);
        self.shared.broker.close_if_orphaned(&entry);
        self.outbox.lock().entry = Some(Arc::clone(&entry));
        Registered { shared: Arc::clone(&self.shared), entry }
    }

    async fn sent_all(&self) {
        self.flush();
        self.outbox.sent_all().await;
    }

    fn flush(&self) {
        let mut effects = Effects::default();
        self.outbox.flush(&mut effects);
        effects.flush();
    }

    async fn refuse(&mut self, not_opened: NotOpened, mut buffer: ReadBuffer) {
        match not_opened {
            NotOpened::Gone => {}
            NotOpened::WrongProtocol => tracing::info!(peer = %self.peer, "peer does not speak AMQP 0-9-1"),
            NotOpened::RefusedSilently(exception) => {
                tracing::warn!(peer = %self.peer, text = exception.text, "log-in refused");
                sleep(PENALTY).await;
            }
            NotOpened::Refused(exception) => {
                tracing::warn!(peer = %self.peer, code = exception.code.0, text = exception.text, "connection refused");
                let frame_max = self.shared.config.frame_max_bytes;
                self.close(&exception, (0, 0), &mut buffer, frame_max).await;
            }
        }
    }

    async fn serve(
        &mut self,
        mut session: Session,
        entry: &Entry,
        mut buffer: ReadBuffer,
        mut heartbeat: Heartbeat,
        frame_max: u32,
    ) {
        let mut patience = Patience::default();
        let woken = session.woken();
        let failed = loop {
            let (used, batch) = session.handle(buffer.unread());
            buffer.consume(used);
            entry.received_bytes.add(used as u64);
            match batch {
                Batch::Done => {}
                Batch::Overfull => match self.drained(entry, heartbeat.dead_after()).await {
                    Ok(()) => continue,
                    Err(failed) => break failed,
                },
                Batch::NewSecret(secret) => {
                    if self.admits(entry, secret).await {
                        session.accept_secret();
                        continue;
                    }
                    break Some(secret_refused());
                }
                Batch::Closed => break None,
                Batch::Failed(exception, method) => break Some((exception, method)),
            }
            patience.pause(session.take_congested()).await;
            if session.has_published() {
                self.store_keeps_up().await;
                if let Err(failed) = self.unblocked(&mut session, entry, &mut heartbeat).await {
                    break failed;
                }
            }
            if self.outbox.has_drained_now() {
                tokio::task::yield_now().await;
            } else if let Err(failed) = self.drained(entry, heartbeat.dead_after()).await {
                break failed;
            }
            // Reading stands behind what a client that never pauses must not keep from its turn.
            tokio::select! {
                biased;
                () = self.shared.stopping() => break Some(shutdown()),
                reason = closing(entry) => break Some(forced(&reason)),
                alive = heartbeat.tick(&self.outbox) => if !alive {
                    tracing::warn!(peer = %self.peer, "missed heartbeats from client");
                    break None;
                },
                read = buffer.fill(&mut self.reader) => match read {
                    Ok(1..) => {
                        entry.received.add(1);
                        heartbeat.heard();
                    }
                    Ok(0) | Err(_) => {
                        tracing::info!(peer = %self.peer, "client is gone without closing the connection");
                        break None;
                    }
                },
                () = woken.notified() => {}
            }
        };
        session.release();
        if let Some((exception, method)) = failed {
            tracing::warn!(peer = %self.peer, code = exception.code.0, text = exception.text, "connection error");
            self.close(&exception, method, &mut buffer, frame_max).await;
        }
    }

    /// Whether the user may still log in: with that password, or else with the certificate that was shown.
    async fn admits(&self, entry: &Entry, secret: Vec<u8>) -> bool {
        let (user, from_loopback) = (&entry.options.user, self.is_from_here());
        if entry.options.mechanism == "EXTERNAL" {
            return self.shared.broker.users.admits(user, Login::Certificate, from_loopback);
        }
        match String::from_utf8(secret) {
            Ok(password) => self.shared.admits(user, password, from_loopback).await,
            Err(_) => false,
        }
    }

    fn is_from_here(&self) -> bool {
        self.peer.ip().to_canonical().is_loopback()
    }

    /// Waits, not for long, while more comes in than the disk takes.
    async fn store_keeps_up(&self) {
        for _ in 0..LONGEST_STORE_PAUSE_MS {
            if !self.shared.broker.is_store_congested() {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Reads nothing from a publisher while an alarm lasts; says how to end where that is the end.
    async fn unblocked(
        &self,
        session: &mut Session,
        entry: &Entry,
        heartbeat: &mut Heartbeat,
    ) -> Result<(), Option<Failure>> {
        let mut alarm = self.shared.alarm.subscribe();
        let Some(reason) = *alarm.borrow_and_update() else { return Ok(()) };
        self.tell_blocked(connection::Blocked { reason });
        let _blocked = Blocked::note(entry);
        let woken = session.woken();
        loop {
            tokio::select! {
                biased;
                () = self.shared.stopping() => return Err(Some(shutdown())),
                reason = closing(entry) => return Err(Some(forced(&reason))),
                // What the client sends meanwhile is not read: its silence means nothing.
                _ = heartbeat.tick(&self.outbox) => heartbeat.heard(),
                () = woken.notified() => {
                    session.handle(&[]);
                }
                over = alarm.wait_for(Option::is_none) => {
                    if over.is_ok() {
                        self.tell_blocked(connection::Unblocked {});
                    }
                    return Ok(());
                }
            }
            if self.outbox.is_closed() {
                return Err(None);
            }
        }
    }

    fn tell_blocked<'m>(&self, method: impl Into<Method<'m>>) {
        if self.tell_blocked {
            write_method(0, method, &mut self.outbox.lock().frames);
            self.flush();
        }
    }

    /// Waits until the client has read so much that it may ask for more; says how to end where it does not.
    async fn drained(&self, entry: &Entry, limit: Duration) -> Result<(), Option<Failure>> {
        tokio::select! {
            drained = timeout(limit, self.outbox.has_drained()) => {
                if drained.is_ok() && !self.outbox.is_closed() {
                    return Ok(());
                }
                tracing::warn!(peer = %self.peer, "client does not read what it asks for");
                Err(None)
            }
            () = self.shared.stopping() => Err(Some(shutdown())),
            reason = closing(entry) => Err(Some(forced(&reason))),
        }
    }

    /// Sends `connection.close` and waits, not for long, for the client to agree.
    async fn close(
        &mut self,
        exception: &Exception,
        (class_id, method_id): (u16, u16),
        buffer: &mut ReadBuffer,
        frame_max: u32,
    ) {
        let reply_text = exception.reply_text();
        let close =
            connection::Close { reply_code: exception.code.0, reply_text: &reply_text, class_id, method_id };
        write_method(0, close, &mut self.outbox.lock().frames);
        self.flush();
        let limit = Duration::from_millis(self.shared.config.shutdown_timeout_ms);
        let _ = timeout(limit, self.closed_by_peer(buffer, frame_max)).await;
    }

    async fn closed_by_peer(&mut self, buffer: &mut ReadBuffer, frame_max: u32) {
        loop {
            match parse_frame(buffer.unread(), frame_max) {
                Ok(Some(frame)) => {
                    if matches!(
                        frame.method(),
                        Ok(Method::Connection(connection::Method::CloseOk(_) | connection::Method::Close(_)))
                    ) {
                        return;
                    }
                    let len = frame.wire_len();
                    buffer.consume(len);
                }
                // What comes after an error may be anything.
                Err(_) => {
                    let len = buffer.unread().len();
                    buffer.consume(len);
                }
                Ok(None) => match buffer.fill(&mut self.reader).await {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return,
                },
            }
        }
    }
}

/// An exception that ends the connection, and the method that caused it by class and method id.
type Failure = (Exception, (u16, u16));

fn shutdown() -> Failure {
    let text = "broker forced connection closure with reason 'shutdown'";
    (Exception::new(ReplyCode::CONNECTION_FORCED, text), (0, 0))
}

fn forced(reason: &str) -> Failure {
    (Exception::new(ReplyCode::CONNECTION_FORCED, reason), (0, 0))
}

fn secret_refused() -> Failure {
    let text = "New secret was refused by one of the backends";
    (Exception::new(ReplyCode::NOT_ALLOWED, text), (10, 70))
}

/// Waits until somebody asks for the end of the connection; returns why.
async fn closing(entry: &Entry) -> String {
    poll_fn(|context| entry.poll_closing(context)).await
}

/// A connection's entry among those of the broker, taken out when this is dropped.
struct Registered {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.broker.connections.close(&self.entry);
    }
}

/// While this lives the connection's publishes are not read.
struct Blocked<'a>(&'a Entry);

impl<'a> Blocked<'a> {
    fn note(entry: &'a Entry) -> Self {
        entry.blocked.store(true, Ordering::Relaxed);
        Self(entry)
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.blocked.store(false, Ordering::Relaxed);
    }
}

/// Signs of life in both directions.
struct Heartbeat {
    ticks: Option<Interval>,
    period: Duration,
    /// Half periods without a byte from the client.
    silent: u32,
}

impl Heartbeat {
    /// Half periods after which a silent client counts as dead: two whole ones, and the rest of the one in which
    /// it was last heard.
    const DEAD: u32 = 5;

    fn new(heartbeat_s: u16) -> Self {
        let period = Duration::from_secs(heartbeat_s.into());
        let ticks = (heartbeat_s > 0).then(|| {
            // A first tick at once would count as half a period of silence, should the client be heard a moment before.
            let mut ticks = interval_at(Instant::now() + period / 2, period / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self { ticks, period, silent: 0 }
    }

    fn heard(&mut self) {
        self.silent = 0;
    }

    fn dead_after(&self) -> Duration {
        if self.ticks.is_none() { Duration::from_secs(120) } else { self.period * 2 }
    }

    /// Waits half a period, sends a heartbeat if nothing else was sent, and says whether the client is alive.
    async fn tick(&mut self, outbox: &Outbox) -> bool {
        let Some(ticks) = &mut self.ticks else { return std::future::pending().await };
        ticks.tick().await;
        self.silent += 1;
        if !outbox.has_sent.swap(false, Ordering::Relaxed) {
            write_heartbeat(&mut outbox.lock().frames);
            let mut effects = Effects::default();
            outbox.flush(&mut effects);
            effects.flush();
        }
        self.silent < Self::DEAD
    }
}

/// How willing a publisher is to pause for congested queues: less and less for those that do not move meanwhile.
#[derive(Default)]
struct Patience {
    skip: u32,
    fruitless: u32,
}

impl Patience {
    async fn pause(&mut self, congested: Vec<Arc<Queue>>) {
        if congested.is_empty() {
            return;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        let before: u64 = congested.iter().map(|queue| queue.delivered_count()).sum();
        let relaxed = poll_fn(|context| {
            let still = congested.iter().any(|queue| queue.is_congested(context.waker()));
            if still { Poll::Pending } else { Poll::Ready(()) }
        });
        let _ = timeout(LONGEST_PAUSE, relaxed).await;
        poll_fn(|context| {
            congested.iter().for_each(|queue| queue.end_pause(context.waker()));
            Poll::Ready(())
        })
        .await;
        let after: u64 = congested.iter().map(|queue| queue.delivered_count()).sum();
        self.fruitless = if after.saturating_sub(before) < MOVING { (self.fruitless + 1).min(10) } else { 0 };
        self.skip = (1 << self.fruitless) - 1;
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Wake, Waker};

    use leveret_amqp::Properties;
    use leveret_broker::{
        CONGESTED_READY, Consume, ConsumerKey, Holder, Inbox, Mailbox, Message, QueueOptions, QueueRules,
        Route, route_of,
    };

    use super::*;

    /// A consumer that has no room, ever.
    struct Full;

    impl Mailbox for Full {
        fn open(&self, _key: ConsumerKey, _fill: &mut dyn FnMut(&mut dyn Inbox)) -> bool {
            false
        }

        fn flush(&self, _effects: &mut Effects) {}

        fn cancelled(&self, _queue: &Arc<Queue>) {}
    }

    impl Holder for Full {
        fn overdue(&self, _timeout_ms: u64) {}
    }

    /// A queue with more messages than its consumer keeps up with.
    fn congested() -> Arc<Queue> {
        let queue = Arc::new(Queue::new("q".into(), QueueOptions::default(), QueueRules::default()));
        let mailbox = Arc::new(Full);
        let holder = Arc::downgrade(&mailbox) as _;
        let consume = Consume { mailbox, holder, no_ack: false, exclusive: false, prefetch: 0, priority: 0 };
        queue.consume(consume).expect("nobody else is there");
        let (route, properties) = (route_of("", "q"), Properties::default().encode());
        let message = Message {
            route: &route,
            properties: &properties,
            body: b"",
            persistent: false,
            expiration_ms: None,
            record: None,
        };
        let to_queue = Route { queues: vec![Arc::clone(&queue)], ..Route::default() };
        to_queue.publish(&[message; CONGESTED_READY], &mut Effects::default());
        queue
    }

    struct Publisher;

    impl Wake for Publisher {
        fn wake(self: Arc<Self>) {}
    }

    #[tokio::test]
    async fn a_pause_that_is_over_leaves_nothing_at_the_queue() {
        let (queue, publisher, mut patience) = (congested(), Arc::new(Publisher), Patience::default());
        let waker = Waker::from(Arc::clone(&publisher));
        let mut pause = Box::pin(patience.pause(vec![Arc::clone(&queue)]));
        assert!(pause.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        sleep(LONGEST_PAUSE * 2).await;
        assert!(pause.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        drop((pause, waker));
        assert_eq!(Arc::strong_count(&publisher), 1);
    }

    #[tokio::test]
    async fn a_client_that_is_heard_once_is_alive_for_two_whole_periods_at_least() {
        let (outbox, begun) = (Outbox::new(None, 4096), Instant::now());
        let mut heartbeat = Heartbeat::new(1);
        heartbeat.heard();
        while heartbeat.tick(&outbox).await {}
        assert!(begun.elapsed() >= heartbeat.period * 5 / 2, "{:?}", begun.elapsed());
    }
}
