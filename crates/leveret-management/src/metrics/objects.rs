//! Metrics of each queue, exchange and channel, by RabbitMQ's names: as many lines as there are objects, so only on request, and
//! made piece by piece.

use std::iter;
use std::sync::Arc;

use leveret_broker::{Channel, ListedExchange, MessageTotals, Queue, QueueStats};

use super::text::Text;
use crate::App;
use crate::json::connection::channel_name;

/// Lines made at once.
const PIECE: usize = 1024;

/// All of them. What there is of each kind is looked up when its turn comes.
pub(super) fn pieces(app: &App) -> impl Iterator<Item = Text> + Send + 'static {
    let [of_queues, of_exchanges, of_channels] = [(); 3].map(|()| app.clone());
    let queues = iter::once_with(move || families(queues(&of_queues))).flatten();
    let exchanges = iter::once_with(move || families(exchanges(&of_exchanges))).flatten();
    let channels = iter::once_with(move || families(channels(&of_channels))).flatten();
    queues.chain(exchanges).chain(channels)
}

/// What is told of objects of a kind.
trait Object: Send + Sync + 'static {
    type Figures;
    const FAMILIES: &'static [Family<Self::Figures>];

    fn labels(&self) -> impl AsRef<[(&'static str, &str)]>;

    /// As they are now.
    fn figures(&self) -> Self::Figures;
}

/// Name, kind, help, and how to find the value.
type Family<F> = (&'static str, &'static str, &'static str, fn(&F) -> u64);

/// Each family's head and its lines, one for each object.
fn families<T: Object>(objects: Vec<T>) -> impl Iterator<Item = Text> + Send {
    let objects = Arc::new(objects);
    T::FAMILIES.iter().flat_map(move |family| {
        let objects = Arc::clone(&objects);
        // The head is there without lines too.
        let pieces = (0..objects.len().max(1)).step_by(PIECE);
        pieces.map(move |from| piece(*family, objects.iter().skip(from).take(PIECE), from == 0))
    })
}

fn piece<'a, T: Object>(
    (name, kind, help, value): Family<T::Figures>,
    objects: impl Iterator<Item = &'a T>,
    is_first: bool,
) -> Text {
    let mut text = Text::default();
    if is_first {
        text.head(name, kind, help);
    }
    objects.for_each(|object| text.sample(name, object.labels().as_ref(), value(&object.figures())));
    text
}

struct OfQueue {
    vhost: Arc<str>,
    queue: Arc<Queue>,
}

fn queues(app: &App) -> Vec<OfQueue> {
    let of_vhosts = app.node.broker().vhosts().into_iter().flat_map(|vhost| {
        vhost.queues().into_iter().map(move |queue| OfQueue { vhost: Arc::clone(&vhost.name), queue })
    });
    of_vhosts.collect()
}

impl Object for OfQueue {
    type Figures = QueueStats;

    const FAMILIES: &'static [Family<QueueStats>] = &[
        ("rabbitmq_queue_messages_ready", "gauge", "Messages ready to be delivered", |it| it.ready as u64),
        ("rabbitmq_queue_messages_unacked", "gauge", "Messages delivered and not acknowledged", |it| {
            it.unacked as u64
        }),
        ("rabbitmq_queue_messages", "gauge", "Both", |it| (it.ready + it.unacked) as u64),
        ("rabbitmq_queue_messages_ready_bytes", "gauge", "Bytes of ready messages", |it| it.ready_bytes),
        ("rabbitmq_queue_messages_unacked_bytes", "gauge", "Bytes of unacknowledged messages", |it| {
            it.unacked_bytes
        }),
        ("rabbitmq_queue_messages_persistent", "gauge", "Messages kept over a restart", |it| {
            it.persistent as u64
        }),
        ("rabbitmq_queue_messages_paged_out", "gauge", "Messages on the disk alone", |it| {
            it.paged_out as u64
        }),
        ("rabbitmq_queue_process_memory_bytes", "gauge", "Memory of waiting messages", |it| {
            it.memory_bytes as u64
        }),
        ("rabbitmq_queue_consumers", "gauge", "Consumers", |it| it.consumers as u64),
        ("rabbitmq_queue_messages_published_total", "counter", "Messages taken", |it| it.counts.published),
        ("rabbitmq_queue_messages_acked_total", "counter", "Messages acknowledged", |it| it.counts.acked),
        ("rabbitmq_queue_messages_redelivered_total", "counter", "Messages delivered again", |it| {
            it.counts.redelivered
        }),
    ];

    fn labels(&self) -> impl AsRef<[(&'static str, &str)]> {
        [("vhost", &*self.vhost), ("queue", &*self.queue.name)]
    }

    fn figures(&self) -> QueueStats {
        self.queue.stats()
    }
}

struct OfExchange {
    vhost: Arc<str>,
    exchange: ListedExchange,
}

fn exchanges(app: &App) -> Vec<OfExchange> {
    let of_vhosts = app.node.broker().vhosts().into_iter().flat_map(|vhost| {
        let exchanges = vhost.exchanges().into_iter();
        exchanges.map(move |exchange| OfExchange { vhost: Arc::clone(&vhost.name), exchange })
    });
    of_vhosts.collect()
}

impl Object for OfExchange {
    /// Messages in and out.
    type Figures = (u64, u64);

    const FAMILIES: &'static [Family<(u64, u64)>] = &[
        (
            "rabbitmq_exchange_messages_published_in_total",
            "counter",
            "Messages published to an exchange",
            |it| it.0,
        ),
        (
            "rabbitmq_exchange_messages_published_out_total",
            "counter",
            "Messages that queues got by an exchange",
            |it| it.1,
        ),
    ];

    fn labels(&self) -> impl AsRef<[(&'static str, &str)]> {
        [("vhost", &*self.vhost), ("exchange", &*self.exchange.name)]
    }

    fn figures(&self) -> (u64, u64) {
        let counts = &self.exchange.counts;
        (counts.published_in(), counts.published_out())
    }
}

struct OfChannel {
    name: String,
    channel: Arc<Channel>,
}

fn channels(app: &App) -> Vec<OfChannel> {
    let connections = app.node.broker().connections.list().into_iter();
    let all = connections.flat_map(|connection| {
        let channels = connection.channels().into_iter();
        channels.map(move |channel| OfChannel { name: channel_name(&connection, &channel), channel })
    });
    all.collect()
}

impl Object for OfChannel {
    /// What was done, and how many messages are out.
    type Figures = (MessageTotals, u64);

    const FAMILIES: &'static [Family<Self::Figures>] = &[
        ("rabbitmq_channel_messages_published_total", "counter", "Messages published", |it| it.0.publish),
        ("rabbitmq_channel_messages_confirmed_total", "counter", "Messages confirmed", |it| it.0.confirm),
        (
            "rabbitmq_channel_messages_delivered_ack_total",
            "counter",
            "Messages delivered to be acknowledged",
            |it| it.0.deliver,
        ),
        (
            "rabbitmq_channel_messages_delivered_total",
            "counter",
            "Messages delivered without acknowledgement",
            |it| it.0.deliver_no_ack,
        ),
        ("rabbitmq_channel_messages_acked_total", "counter", "Messages acknowledged", |it| it.0.ack),
        ("rabbitmq_channel_messages_unacked", "gauge", "Messages delivered and not acknowledged", |it| it.1),
    ];

    fn labels(&self) -> impl AsRef<[(&'static str, &str)]> {
        [("channel", self.name.as_str())]
    }

    fn figures(&self) -> Self::Figures {
        (self.channel.counts.totals(), self.channel.unacked.value())
    }
}
