//! What a test declares at the broker, and takes away again.

use leveret_amqp::{FieldTable, Method, Table, exchange, queue};

use super::client::{Client, ClientError};
use super::options::Options;
use super::url::Url;

/// Queues of a test, and the exchange that delays.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    /// The queues' names.
    pub(super) queues: Vec<String>,
    /// Where messages are published: the default exchange, or one that delays.
    pub(super) exchange: String,
    durable: bool,
}

impl Topology {
    /// Names that no other test uses.
    pub(super) fn new(options: &Options) -> Self {
        let prefix = format!("perf-{}-{:08x}", std::process::id(), fastrand::u32(..));
        Self {
            queues: (0..options.queues).map(|number| format!("{prefix}-q{number}")).collect(),
            exchange: options.delay.map_or_else(String::new, |_| format!("{prefix}-x")),
            durable: options.durable,
        }
    }

    /// Declares everything.
    pub(super) async fn declare(&self, url: &Url) -> Result<(), ClientError> {
        let mut client = Client::connect(url).await?;
        if !self.exchange.is_empty() {
            self.declare_exchange(&mut client).await?;
        }
        for name in &self.queues {
            self.declare_queue(&mut client, name).await?;
        }
        client.close().await
    }

    async fn declare_exchange(&self, client: &mut Client) -> Result<(), ClientError> {
        let arguments = FieldTable::from_iter([("x-delayed-type", "direct")]).encode();
        let declare = exchange::Declare {
            ticket: 0,
            exchange: &self.exchange,
            kind: "x-delayed-message",
            passive: false,
            durable: self.durable,
            auto_delete: false,
            internal: false,
            no_wait: false,
            arguments: Table::parse(&arguments)?,
        };
        let answer = |method: &Method<'_>| {
            matches!(method, Method::Exchange(exchange::Method::DeclareOk(_))).then_some(())
        };
        client.call(declare, answer).await
    }

    async fn declare_queue(&self, client: &mut Client, name: &str) -> Result<(), ClientError> {
        let declare = queue::Declare {
            ticket: 0,
            queue: name,
            passive: false,
            durable: self.durable,
            exclusive: false,
            auto_delete: false,
            no_wait: false,
            arguments: Table::default(),
        };
        let declared =
            |method: &Method<'_>| matches!(method, Method::Queue(queue::Method::DeclareOk(_))).then_some(());
        client.call(declare, declared).await?;
        if self.exchange.is_empty() {
            return Ok(());
        }
        let bind = queue::Bind {
            ticket: 0,
            queue: name,
            exchange: &self.exchange,
            routing_key: name,
            no_wait: false,
            arguments: Table::default(),
        };
        let bound =
            |method: &Method<'_>| matches!(method, Method::Queue(queue::Method::BindOk(_))).then_some(());
        client.call(bind, bound).await
    }

    /// Deletes everything; returns how many messages were left in the queues.
    pub(super) async fn delete(&self, url: &Url) -> Result<u64, ClientError> {
        let mut client = Client::connect(url).await?;
        let mut left = 0;
        for name in &self.queues {
            let delete =
                queue::Delete { ticket: 0, queue: name, if_unused: false, if_empty: false, no_wait: false };
            let deleted = |method: &Method<'_>| match method {
                Method::Queue(queue::Method::DeleteOk(ok)) => Some(ok.message_count),
                _ => None,
            };
            left += u64::from(client.call(delete, deleted).await?);
        }
        if !self.exchange.is_empty() {
            let delete =
                exchange::Delete { ticket: 0, exchange: &self.exchange, if_unused: false, no_wait: false };
            let deleted = |method: &Method<'_>| {
                matches!(method, Method::Exchange(exchange::Method::DeleteOk(_))).then_some(())
            };
            client.call(delete, deleted).await?;
        }
        client.close().await?;
        Ok(left)
    }
}
