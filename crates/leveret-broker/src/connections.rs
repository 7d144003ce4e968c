//! Who is connected: connections, their channels and the consumers on these, as plain data that the server registers and
//! brings up to date once a batch. Nothing here knows a socket; that one is to be closed is a reason to be polled for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use leveret_amqp::FieldTable;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;

use crate::queue::Owner;
use crate::{ConsumerKey, Queue, Time};

/// A number that one task at a time adds to and anybody reads.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it. Cheaper than an atomic addition, so two at once could lose one of them.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Sets it.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! message_counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a channel has done with messages since it was opened.
        #[derive(Debug, Default)]
        pub struct MessageCounts {
            $($(#[$doc])* pub $name: Count,)*
        }

        /// The values of [`MessageCounts`] at one moment, or a sum of several.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct MessageTotals {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl MessageCounts {
            /// What has been counted so far.
            #[must_use]
            pub fn totals(&self) -> MessageTotals {
                MessageTotals { $($name: self.$name.value(),)* }
            }
        }

        impl std::ops::AddAssign for MessageTotals {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

message_counts! {
    /// Published.
    publish,
    /// Confirmed, by an ack or a nack.
    confirm,
    /// Returned, being mandatory and without a route.
    return_unroutable,
    /// Dropped without a route.
    drop_unroutable,
    /// Delivered to consumers that acknowledge.
    deliver,
    /// Delivered to consumers that do not.
    deliver_no_ack,
    /// Fetched, to be acknowledged.
    get,
    /// Fetched without acknowledgement.
    get_no_ack,
    /// Fetches that found nothing.
    get_empty,
    /// Delivered or fetched that may have been so before.
    redeliver,
    /// Acknowledged.
    ack,
}

/// What is agreed when a connection opens, and what the client says of itself.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct ConnectionOptions {
    pub peer_host: String,
    pub peer_port: u16,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub vhost: Arc<str>,
    /// How the client logged in: `PLAIN` for one.
    pub mechanism: String,
    pub tls: bool,
    pub client_properties: FieldTable,
    pub channel_max: u16,
    pub unit_max_bytes: u32,
    pub heartbeat_s: u16,
    pub connected_at: Time,
}

/// A connection that is open.
pub struct Connection {
    /// Its number, which also owns its exclusive queues.
    pub id: Owner,
    /// `PEER -> LISTENER`, as RabbitMQ names connections.
    pub name: String,
    /// What was agreed.
    pub options: ConnectionOptions,
    /// Bytes read.
    pub received_bytes: Count,
    /// Batches of bytes read.
    pub received: Count,
    /// Bytes handed to the socket.
    pub sent_bytes: Count,
    /// Times that bytes were handed to the socket.
    pub sent: Count,
    /// Whether its publishes are not read now.
    pub blocked: AtomicBool,
    channels: Mutex<BTreeMap<u16, Arc<Channel>>>,
    closing: Mutex<Closing>,
}

#[derive(Default)]
struct Closing {
    reason: Option<String>,
    waker: Option<Waker>,
}

/// How a channel publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChannelMode {
    /// Without answers.
    Plain = 0,
    /// With confirms.
    Confirm = 1,
    /// In transactions.
    Transaction = 2,
}

/// A channel that is open.
pub struct Channel {
    /// Its number on the connection.
    pub number: u16,
    /// What it has done with messages.
    pub counts: MessageCounts,
    /// Prefetch of the consumers to come.
    pub prefetch: Count,
    /// Prefetch of all its consumers together.
    pub global_prefetch: Count,
    /// Deliveries that are not settled.
    pub unacked: Count,
    /// Publishes that are not confirmed.
    pub unconfirmed: Count,
    /// Publishes that wait for their commit.
    pub uncommitted: Count,
    /// Settlements that wait for their commit.
    pub acks_uncommitted: Count,
    mode: AtomicU8,
    consumers: Mutex<Vec<ChannelConsumer>>,
}

/// A consumer of a channel.
#[derive(Clone)]
pub struct ChannelConsumer {
    /// Its tag.
    pub tag: Arc<str>,
    /// Where it consumes.
    pub queue: Arc<Queue>,
    /// Which consumer of the queue it is.
    pub key: ConsumerKey,
    /// Whether its deliveries count as settled at once.
    pub no_ack: bool,
    /// Whether it is the only one.
    pub exclusive: bool,
    /// Most unsettled deliveries it holds.
    pub prefetch: u32,
    /// The arguments of `basic.consume`.
    pub arguments: FieldTable,
}

impl Channel {
    /// How it publishes.
    #[must_use]
    pub fn mode(&self) -> ChannelMode {
        match self.mode.load(Ordering::Relaxed) {
            1 => ChannelMode::Confirm,
            2 => ChannelMode::Transaction,
            _ => ChannelMode::Plain,
        }
    }

    /// Notes how it publishes from now on.
    pub fn set_mode(&self, mode: ChannelMode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// Its consumers.
    #[must_use]
    pub fn consumers(&self) -> Vec<ChannelConsumer> {
        self.consumers.lock().clone()
    }

    /// How many consumers it has.
    #[must_use]
    pub fn consumer_count(&self) -> usize {
        self.consumers.lock().len()
    }

    /// Notes a consumer, instead of one of its tag whose queue is gone.
    pub fn add_consumer(&self, consumer: ChannelConsumer) {
        let mut consumers = self.consumers.lock();
        consumers.retain(|other| other.tag != consumer.tag);
        consumers.push(consumer);
    }

    /// Notes that the consumer of that tag is gone.
    pub fn remove_consumer(&self, tag: &str) {
        self.consumers.lock().retain(|consumer| *consumer.tag != *tag);
    }
}

impl Connection {
    /// Its channels, by number.
    #[must_use]
    pub fn channels(&self) -> Vec<Arc<Channel>> {
        self.channels.lock().values().cloned().collect()
    }

    /// How many channels it has.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.channels.lock().len()
    }

    /// Asks whoever serves it to close it, and to tell the client why.
    pub fn close(&self, reason: &str) {
        let mut closing = self.closing.lock();
        closing.reason.get_or_insert_with(|| reason.into());
        let waker = closing.waker.take();
        drop(closing);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Why it is to be closed, once it is.
    pub fn poll_closing(&self, context: &mut Context<'_>) -> Poll<String> {
        let mut closing = self.closing.lock();
        if let Some(reason) = &closing.reason {
            return Poll::Ready(reason.clone());
        }
        closing.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Connections and channels that came and went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Churn {
    pub connections_opened: u64,
    pub connections_closed: u64,
    pub channels_opened: u64,
    pub channels_closed: u64,
}

/// All connections of a broker.
#[derive(Default)]
pub struct Connections {
    open: RwLock<FxHashMap<Owner, Arc<Connection>>>,
    past: Mutex<Past>,
}

#[derive(Default)]
struct Past {
    churn: Churn,
    /// What channels that are closed had done, by virtual host.
    totals: FxHashMap<Arc<str>, MessageTotals>,
}

impl Connections {
    /// Registers a connection that has opened.
    pub fn open(&self, id: Owner, options: ConnectionOptions) -> Arc<Connection> {
        let ConnectionOptions { peer_host, peer_port, host, port, .. } = &options;
        let connection = Arc::new(Connection {
            id,
            name: format!("{peer_host}:{peer_port} -> {host}:{port}"),
            options,
            received_bytes: Count::default(),
            received: Count::default(),
            sent_bytes: Count::default(),
            sent: Count::default(),
            blocked: AtomicBool::new(false),
            channels: Mutex::default(),
            closing: Mutex::default(),
        });
        self.past.lock().churn.connections_opened += 1;
        self.open.write().insert(id, Arc::clone(&connection));
        connection
    }

    /// A connection has ended, and its channels with it.
    pub fn close(&self, connection: &Connection) {
        for channel in connection.channels() {
            self.close_channel(connection, channel.number);
        }
        // Who finds it among the open ones no more finds it counted as closed.
        let mut past = self.past.lock();
        if self.open.write().remove(&connection.id).is_some() {
            past.churn.connections_closed += 1;
        }
    }

    /// Registers a channel that has opened.
    pub fn open_channel(&self, connection: &Connection, number: u16) -> Arc<Channel> {
        let channel = Arc::new(Channel {
            number,
            counts: MessageCounts::default(),
            prefetch: Count::default(),
            global_prefetch: Count::default(),
            unacked: Count::default(),
            unconfirmed: Count::default(),
            uncommitted: Count::default(),
            acks_uncommitted: Count::default(),
            mode: AtomicU8::new(ChannelMode::Plain as u8),
            consumers: Mutex::default(),
        });
        self.past.lock().churn.channels_opened += 1;
        connection.channels.lock().insert(number, Arc::clone(&channel));
        channel
    }

    /// A channel has ended.
    pub fn close_channel(&self, connection: &Connection, number: u16) {
        // Until it counts as past it counts as open: totals never go back.
        let mut past = self.past.lock();
        let Some(channel) = connection.channels.lock().remove(&number) else { return };
        past.churn.channels_closed += 1;
        *past.totals.entry(Arc::clone(&connection.options.vhost)).or_default() += channel.counts.totals();
        drop(past);
        // Queues and consumers know each other: nobody may hold on to the channel's because of it.
        channel.consumers.lock().clear();
    }

    /// All that are open, in the order in which they were opened.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Connection>> {
        let mut all: Vec<_> = self.open.read().values().cloned().collect();
        all.sort_unstable_by_key(|connection| connection.id.0);
        all
    }

    /// How many are open that `is` says yes to.
    pub(crate) fn count_where(&self, is: impl Fn(&Connection) -> bool) -> u64 {
        self.open.read().values().filter(|connection| is(connection)).count() as u64
    }

    /// Closes those that `is` says yes to.
    pub(crate) fn close_where(&self, is: impl Fn(&Connection) -> bool, reason: &str) {
        self.list()
            .iter()
            .filter(|connection| is(connection))
            .for_each(|connection| connection.close(reason));
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.read().len()
    }

    /// What came and went.
    #[must_use]
    pub fn churn(&self) -> Churn {
        self.past.lock().churn
    }

    /// What has been done with messages since the broker started, by virtual host.
    #[must_use]
    pub fn totals(&self) -> FxHashMap<Arc<str>, MessageTotals> {
        let past = self.past.lock();
        let mut totals = past.totals.clone();
        for connection in self.list() {
            let of_vhost = totals.entry(Arc::clone(&connection.options.vhost)).or_default();
            connection.channels().iter().for_each(|channel| *of_vhost += channel.counts.totals());
        }
        totals
    }

    /// Adds to what has been done by others than channels: the HTTP API publishes and fetches too.
    pub fn note_done(&self, vhost: &Arc<str>, done: MessageTotals) {
        *self.past.lock().totals.entry(Arc::clone(vhost)).or_default() += done;
    }
}
