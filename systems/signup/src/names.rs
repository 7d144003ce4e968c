//! Names of exchanges, queue and key. The defaults are those of the notes that the system follows.

use leveret_bus::{ExchangeKind, Topology};

/// Where sign-up messages travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Exchange that sign-ups are announced to. Default `UserExchange`.
    pub exchange: String,
    /// Exchange that delays retries, on brokers that can. Default `UserDelayExchange`.
    pub delay_exchange: String,
    /// Routing key. Default `userreg`.
    pub routing_key: String,
    /// Queue of mails to be sent. Default `UserQueue`.
    pub queue: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            exchange: "UserExchange".into(),
            delay_exchange: "UserDelayExchange".into(),
            routing_key: "userreg".into(),
            queue: "UserQueue".into(),
        }
    }
}

impl Names {
    pub(crate) fn topology(&self) -> Topology {
        Topology::new().exchange(&self.exchange, ExchangeKind::Direct).queue(&self.queue).bind(
            &self.queue,
            &self.exchange,
            &self.routing_key,
        )
    }
}
