//! Exchanges, queues and bindings as values, to be declared in one call. Declaring what exists already with the
//! same settings changes nothing; other settings are the broker's error 406.

use lapin::Channel;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::error::Error;
use crate::message::{short, table};

/// How an exchange chooses queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// By the whole routing key.
    Direct,
    /// All that are bound.
    Fanout,
    /// By the words of the routing key, with `*` for one and `#` for any number.
    Topic,
    /// By headers.
    Headers,
    /// After the time in the header `x-delay` (milliseconds), then as the kind named here. Not every
    /// broker has it.
    Delayed(Box<ExchangeKind>),
}

impl ExchangeKind {
    /// AMQP's name of the kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::Delayed(_) => "x-delayed-message",
        }
    }

    fn arguments(&self) -> FieldTable {
        match self {
            Self::Delayed(inner) => {
                table([("x-delayed-type", AMQPValue::LongString(LongString::from(inner.name())))])
            }
            _ => FieldTable::default(),
        }
    }
}

/// A durable exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    name: String,
    kind: ExchangeKind,
}

impl Exchange {
    /// A durable exchange of this name and kind.
    pub fn new(name: impl Into<String>, kind: ExchangeKind) -> Self {
        Self { name: name.into(), kind }
    }

    pub(crate) async fn declare(&self, channel: &Channel) -> Result<(), Error> {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let kind = lapin::ExchangeKind::Custom(self.kind.name().to_owned());
        channel.exchange_declare(short(&self.name)?, kind, options, self.kind.arguments()).await?;
        Ok(())
    }
}

/// A queue, durable unless said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    name: String,
    durable: bool,
    arguments: FieldTable,
}

impl Queue {
    /// A queue that survives a broker's restart.
    pub fn durable(name: impl Into<String>) -> Self {
        Self { name: name.into(), durable: true, arguments: FieldTable::default() }
    }

    /// A queue that does not.
    pub fn transient(name: impl Into<String>) -> Self {
        Self { durable: false, ..Self::durable(name) }
    }

    /// Adds an argument whose value is text, such as `x-queue-type`.
    pub fn with_text(mut self, argument: &'static str, value: &str) -> Self {
        self.arguments.insert(ShortString::from(argument), AMQPValue::LongString(value.into()));
        self
    }

    /// Adds an argument whose value is an integer, such as `x-message-ttl` (milliseconds).
    pub fn with_integer(mut self, argument: &'static str, value: i64) -> Self {
        self.arguments.insert(ShortString::from(argument), AMQPValue::LongLongInt(value));
        self
    }

    /// Declares the queue and says how many messages are ready in it.
    pub(crate) async fn declare(&self, channel: &Channel) -> Result<u32, Error> {
        let options = QueueDeclareOptions { durable: self.durable, ..Default::default() };
        let queue = channel.queue_declare(short(&self.name)?, options, self.arguments.clone()).await?;
        Ok(queue.message_count())
    }
}

/// A queue's claim on an exchange's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    queue: String,
    exchange: String,
    routing_key: String,
}

impl Binding {
    /// Messages that reach `exchange` under `routing_key` go to `queue`.
    pub fn new(
        queue: impl Into<String>,
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
    ) -> Self {
        Self { queue: queue.into(), exchange: exchange.into(), routing_key: routing_key.into() }
    }

    pub(crate) async fn declare(&self, channel: &Channel) -> Result<(), Error> {
        let (queue, exchange) = (short(&self.queue)?, short(&self.exchange)?);
        let key = short(&self.routing_key)?;
        channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await?;
        Ok(())
    }
}

/// A set of exchanges, queues and bindings.
///
/// ```
/// use leveret_bus::{ExchangeKind, Topology};
///
/// let topology = Topology::new()
///     .exchange("UserExchange", ExchangeKind::Direct)
///     .queue("UserQueue")
///     .bind("UserQueue", "UserExchange", "userreg");
/// # let _ = topology;
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    exchanges: Vec<Exchange>,
    queues: Vec<Queue>,
    bindings: Vec<Binding>,
}

impl Topology {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a durable exchange.
    pub fn exchange(mut self, name: impl Into<String>, kind: ExchangeKind) -> Self {
        self.exchanges.push(Exchange::new(name, kind));
        self
    }

    /// Adds a durable queue without arguments.
    pub fn queue(self, name: impl Into<String>) -> Self {
        self.queue_with(Queue::durable(name))
    }

    /// Adds a queue.
    pub fn queue_with(mut self, queue: Queue) -> Self {
        self.queues.push(queue);
        self
    }

    /// Adds a binding.
    pub fn bind(
        mut self,
        queue: impl Into<String>,
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
    ) -> Self {
        self.bindings.push(Binding::new(queue, exchange, routing_key));
        self
    }

    pub(crate) async fn declare(&self, channel: &Channel) -> Result<(), Error> {
        for exchange in &self.exchanges {
            exchange.declare(channel).await?;
        }
        for queue in &self.queues {
            queue.declare(channel).await?;
        }
        for binding in &self.bindings {
            binding.declare(channel).await?;
        }
        Ok(())
    }
}
