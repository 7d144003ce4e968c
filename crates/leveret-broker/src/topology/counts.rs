//! What has gone through an exchange.

use std::sync::atomic::{AtomicU64, Ordering};

/// Messages published to an exchange and routed on from it, since it was declared.
#[derive(Debug, Default)]
pub struct ExchangeCounts {
    published_in: AtomicU64,
    published_out: AtomicU64,
}

impl ExchangeCounts {
    /// A run of messages went to so many queues.
    #[inline]
    pub(super) fn note(&self, messages: u64, queues: u64) {
        self.published_in.fetch_add(messages, Ordering::Relaxed);
        self.published_out.fetch_add(messages * queues, Ordering::Relaxed);
    }

    /// Messages published to it.
    #[must_use]
    pub fn published_in(&self) -> u64 {
        self.published_in.load(Ordering::Relaxed)
    }

    /// Messages that queues got by it.
    #[must_use]
    pub fn published_out(&self) -> u64 {
        self.published_out.load(Ordering::Relaxed)
    }
}
