//! Samples of connections and channels, the last two of each.

use leveret_broker::{Broker, Connection, MessageTotals, Owner};
use rustc_hash::FxHashMap;

/// Bytes of a connection at one moment: received and sent.
pub(crate) type Traffic = (u64, u64);

#[derive(Default)]
pub(crate) struct Connected {
    connections: FxHashMap<Owner, OfConnection>,
}

#[derive(Default)]
struct OfConnection {
    traffic: [Traffic; 2],
    channels: FxHashMap<u16, [MessageTotals; 2]>,
}

impl Connected {
    pub(crate) fn sample(&mut self, broker: &Broker) {
        let mut before = std::mem::take(&mut self.connections);
        for connection in broker.connections.list() {
            let old = before.remove(&connection.id);
            self.connections.insert(connection.id, sample(&connection, old));
        }
    }

    /// What a connection had received and sent at the sample before the last.
    pub(crate) fn traffic(&self, id: Owner) -> Option<[Traffic; 2]> {
        self.connections.get(&id).map(|connection| connection.traffic)
    }

    pub(crate) fn channel(&self, id: Owner, number: u16) -> Option<[MessageTotals; 2]> {
        self.connections.get(&id)?.channels.get(&number).copied()
    }
}

fn sample(connection: &Connection, old: Option<OfConnection>) -> OfConnection {
    let traffic = (connection.received_bytes.value(), connection.sent_bytes.value());
    let old = old.unwrap_or_else(|| OfConnection { traffic: [traffic; 2], ..OfConnection::default() });
    let channels = connection.channels().into_iter().map(|channel| {
        let now = channel.counts.totals();
        let before = old.channels.get(&channel.number).map_or(now, |samples| samples[0]);
        (channel.number, [now, before])
    });
    OfConnection { traffic: [traffic, old.traffic[0]], channels: channels.collect() }
}
