//! What can be set on the system, by flag and environment or by a program that has it inside. The defaults are the
//! notes' names.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use leveret_bus::{DelayMode, ExchangeKind, Topology};
use leveret_web::program;

use crate::numbers::Numbering;

/// Where orders travel.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Exchange of new orders.
    #[arg(long, env = "ORDERS_EXCHANGE", default_value = "Exchange_Order")]
    pub exchange: String,
    /// Routing key.
    #[arg(long, env = "ORDERS_ROUTING_KEY", default_value = "Key_Order")]
    pub routing_key: String,
    /// Queue of orders to be written.
    #[arg(long, env = "ORDERS_QUEUE", default_value = "Queue_Order")]
    pub queue: String,
    /// Exchange that holds back the closing, on brokers that can.
    #[arg(long, env = "ORDERS_CLOSE_EXCHANGE", default_value = "Exchange_Order_Close")]
    pub close_exchange: String,
    /// Queue of orders whose time is up.
    #[arg(long, env = "ORDERS_CLOSE_QUEUE", default_value = "Queue_Order_Close")]
    pub close_queue: String,
}

impl Default for Names {
    fn default() -> Self {
        program::settings(&[])
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
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The broker.
    #[arg(long, env = "ORDERS_AMQP_URL", default_value = "amqp://guest:guest@127.0.0.1:5672")]
    pub amqp_url: String,
    /// The database; a SQLite file is made if there is none.
    #[arg(long, env = "ORDERS_DATABASE_URL", default_value = "sqlite://orders.db")]
    pub database_url: String,
    /// Address of API and page; port 0 picks a free one.
    #[arg(long, env = "ORDERS_LISTEN", default_value = "127.0.0.1:8084")]
    pub listen: SocketAddr,
    /// How orders are numbered.
    #[arg(long, env = "ORDERS_NUMBERING", value_enum, default_value_t)]
    pub numbering: Numbering,
    /// How long an order may stay unpaid, in milliseconds.
    #[arg(long = "close-after-ms", env = "ORDERS_CLOSE_AFTER_MS", default_value = "1800000", value_parser = program::ms)]
    pub close_after: Duration,
    /// How the closing is held back: by what the broker has.
    #[arg(skip = DelayMode::Auto)]
    pub delay_mode: DelayMode,
    /// With more orders than this waiting to be written, no more are accepted for a while.
    #[arg(long, env = "ORDERS_DEEPEST_QUEUE", default_value_t = 1_000_000)]
    pub deepest_queue: u64,
    /// Accept orders only, and leave writing and closing to other copies.
    #[arg(long, env = "ORDERS_ACCEPT_ONLY")]
    pub accept_only: bool,
    /// Most orders written in one transaction.
    #[arg(long, env = "ORDERS_BATCH", default_value = "256", value_parser = program::count)]
    pub batch: usize,
    /// Exchanges, key and queues.
    #[command(flatten)]
    pub names: Names,
}

impl Default for Settings {
    fn default() -> Self {
        program::settings(&[])
    }
}
