//! What can be set on the system, with defaults. Reading flags and environment is the binary's business.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use leveret_bus::{DelayMode, ExchangeKind, Topology};

use crate::numbers::Numbering;

/// Where orders travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Exchange of new orders. Default `Exchange_Order`.
    pub exchange: String,
    /// Routing key. Default `Key_Order`.
    pub routing_key: String,
    /// Queue of orders to be written. Default `Queue_Order`.
    pub queue: String,
    /// Exchange that holds back the closing, on brokers that can. Default `Exchange_Order_Close`.
    pub close_exchange: String,
    /// Queue of orders whose time is up. Default `Queue_Order_Close`.
    pub close_queue: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            exchange: "Exchange_Order".into(),
            routing_key: "Key_Order".into(),
            queue: "Queue_Order".into(),
            close_exchange: "Exchange_Order_Close".into(),
            close_queue: "Queue_Order_Close".into(),
        }
    }
}

impl Names {
    pub(crate) fn topology(&self) -> Topology {
        Topology::new()
            .exchange(&self.exchange, ExchangeKind::Direct)
            .queue(&self.queue)
            .bind(&self.queue, &self.exchange, &self.routing_key)
            .queue(&self.close_queue)
    }
}

/// Settings of the orders system.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The broker. Default `amqp://guest:guest@127.0.0.1:5672`.
    pub amqp_url: String,
    /// The database. Default `sqlite://orders.db`, made if there is none.
    pub database_url: String,
    /// Address of API and page; port 0 picks a free one. Default `127.0.0.1:8084`.
    pub listen: SocketAddr,
    /// How orders are numbered. Default UUID.
    pub numbering: Numbering,
    /// How long an order may stay unpaid. Default 30 min.
    pub close_after: Duration,
    /// How the closing is held back. Default: by what the broker has.
    pub delay_mode: DelayMode,
    /// With more orders than this waiting to be written, no more are accepted for a while. Default 1,000,000.
    pub deepest_queue: u64,
    /// Whether orders are written and closed here too, or only accepted. Default true.
    pub is_writing: bool,
    /// Most orders written in one transaction. Default 256.
    pub batch: usize,
    /// Exchanges, key and queues. Default: the notes'.
    pub names: Names,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            amqp_url: "amqp://guest:guest@127.0.0.1:5672".into(),
            database_url: "sqlite://orders.db".into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8084)),
            numbering: Numbering::Uuid,
            close_after: Duration::from_secs(30 * 60),
            delay_mode: DelayMode::Auto,
            deepest_queue: 1_000_000,
            is_writing: true,
            batch: 256,
            names: Names::default(),
        }
    }
}
