//! Tools for tests: a broker in the test's own process, and a scripted AMQP peer that says what it is told to
//! say and expects what it is told to expect.
//!
//! ```
//! use leveret_amqp::{basic, queue};
//! use leveret_testkit::{Peer, TestBroker, consume, declare_queue};
//!
//! let broker = TestBroker::start();
//! let mut peer = Peer::open(&broker);
//! peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
//! peer.put("q", "hello");
//! peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
//! assert_eq!(peer.expect_delivery(1).text(), "hello");
//! ```
//!
//! Everything is blocking and panics where something else comes than expected, or nothing within
//! [`PATIENCE`]. Nothing of this is for production code.

mod answer;
mod broker;
#[cfg(feature = "browser")]
mod browser;
mod certificates;
mod content;
mod login;
mod methods;
mod peer;
mod socket;

pub use answer::Answer;
pub use broker::TestBroker;
#[cfg(feature = "browser")]
pub use browser::{Browser, Width};
pub use certificates::Certificates;
pub use content::{Delivery, Fetched, Outcome, Returned};
pub use login::{Login, Mechanism};
pub use methods::{
    ack, bind_exchange, bind_queue, cancel, close_channel, close_connection, consume, declare_exchange,
    declare_queue, delete_exchange, delete_queue, flow, get, nack, publish, purge, qos, reject, table,
    unbind_exchange, unbind_queue,
};
pub use peer::{Close, PATIENCE, Peer};
