//! Every metric of the bus by name, through the `metrics` facade: what installs a recorder, before the bus starts, sees
//! them, and without one they cost next to nothing.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::error::PublishError;

/// A publisher's: `leveret_bus_published_total{result}` and `leveret_bus_publish_seconds`.
pub(crate) struct Publishing {
    confirmed: Counter,
    returned: Counter,
    nacked: Counter,
    unknown: Counter,
    failed: Counter,
    pub(crate) seconds: Histogram,
}

impl Publishing {
    pub(crate) fn new() -> Self {
        let published = |result| counter!("leveret_bus_published_total", "result" => result);
        Self {
            confirmed: published("confirmed"),
            returned: published("returned"),
            nacked: published("nacked"),
            unknown: published("unknown"),
            failed: published("failed"),
            seconds: histogram!("leveret_bus_publish_seconds"),
        }
    }

    pub(crate) fn count(&self, answer: &Result<(), PublishError>) {
        let counter = match answer {
            Ok(()) => &self.confirmed,
            Err(PublishError::Returned(_)) => &self.returned,
            Err(PublishError::Nacked { .. }) => &self.nacked,
            Err(PublishError::Unknown { .. }) => &self.unknown,
            Err(_) => &self.failed,
        };
        counter.increment(1);
    }
}

/// A worker's: `leveret_bus_handled_total{queue,outcome}`, `leveret_bus_handle_seconds{queue}` and
/// `leveret_bus_at_work{queue}`.
pub(crate) struct Handling {
    pub(crate) done: Counter,
    pub(crate) retried: Counter,
    pub(crate) parked: Counter,
    pub(crate) seconds: Histogram,
    pub(crate) at_work: Gauge,
}

impl Handling {
    pub(crate) fn new(queue: &str) -> Self {
        let handled = |outcome| counter!("leveret_bus_handled_total", "queue" => queue.to_owned(), "outcome" => outcome);
        Self {
            done: handled("done"),
            retried: handled("retried"),
            parked: handled("parked"),
            seconds: histogram!("leveret_bus_handle_seconds", "queue" => queue.to_owned()),
            at_work: gauge!("leveret_bus_at_work", "queue" => queue.to_owned()),
        }
    }
}

/// A relay's: `leveret_bus_outbox_unsent`, `leveret_bus_outbox_oldest_unsent_seconds`,
/// `leveret_bus_outbox_relayed_total` and `leveret_bus_outbox_failed_total`.
pub(crate) struct Relaying {
    pub(crate) unsent: Gauge,
    pub(crate) oldest_seconds: Gauge,
    pub(crate) relayed: Counter,
    pub(crate) failed: Counter,
}

impl Relaying {
    pub(crate) fn new() -> Self {
        Self {
            unsent: gauge!("leveret_bus_outbox_unsent"),
            oldest_seconds: gauge!("leveret_bus_outbox_oldest_unsent_seconds"),
            relayed: counter!("leveret_bus_outbox_relayed_total"),
            failed: counter!("leveret_bus_outbox_failed_total"),
        }
    }
}
