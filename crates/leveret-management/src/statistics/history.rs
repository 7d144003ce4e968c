//! Samples of the whole broker over the last minutes, for rates and charts.

use std::collections::VecDeque;

use leveret_broker::{Broker, Churn, MessageTotals, StoreSyncs, Time};

use super::connected::Traffic;
use super::{QueueTotals, Range};
use crate::NodeStatus;

/// Samples kept: ten minutes.
const KEPT: usize = 600;
/// Samples between the two that a rate is taken of.
const RATE_OVER: usize = 5;

/// The whole broker at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) at: Time,
    pub(crate) messages: MessageTotals,
    pub(crate) queues: QueueTotals,
    pub(crate) churn: Churn,
    pub(crate) connections: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) disk_free_bytes: u64,
    pub(crate) files: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    /// Of the journal; `None` where nothing is kept.
    pub(crate) syncs: Option<StoreSyncs>,
}

impl Sample {
    pub(crate) fn take(
        at: Time,
        broker: &Broker,
        status: &NodeStatus,
        messages: MessageTotals,
        queues: QueueTotals,
        (received_bytes, sent_bytes): Traffic,
    ) -> Self {
        Self {
            at,
            messages,
            queues,
            churn: broker.connections.churn(),
            connections: broker.connections.count() as u64,
            memory_bytes: status.memory_used_bytes.unwrap_or(0),
            disk_free_bytes: status.disk_free_bytes.unwrap_or(0),
            files: status.files.map_or(0, |(open, _)| open),
            received_bytes,
            sent_bytes,
            syncs: broker.store_syncs(),
        }
    }

    /// What a sync of the journal has taken since an earlier one, in milliseconds: 0 where there was none, `None` where
    /// nothing is kept.
    pub(crate) fn sync_ms_since(&self, before: &Self) -> Option<f64> {
        let (now, before) = (self.syncs?, before.syncs.unwrap_or_default());
        let count = now.count.saturating_sub(before.count);
        let time_us = now.time_us.saturating_sub(before.time_us);
        Some(if count == 0 { 0.0 } else { time_us as f64 / count as f64 / 1000.0 })
    }

    /// Seconds since an earlier one.
    pub(crate) fn seconds_since(&self, before: &Self) -> f64 {
        self.at.0.saturating_sub(before.at.0) as f64 / 1e6
    }
}

/// The last samples.
#[derive(Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
}

impl History {
    pub(crate) fn push(&mut self, sample: Sample) {
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    pub(crate) fn all(&self) -> Vec<Sample> {
        self.samples.iter().copied().collect()
    }

    /// The samples of these moments, the newest first.
    pub(crate) fn at(&self, range: Range) -> Vec<(u64, Sample)> {
        range
            .of(&self.samples, |sample| sample.at)
            .into_iter()
            .map(|(at_ms, sample)| (at_ms, *sample))
            .collect()
    }

    pub(crate) fn now_and_before(&self) -> (Sample, Sample) {
        let now = self.samples.back().copied().unwrap_or_default();
        let before = self.samples.len().saturating_sub(RATE_OVER + 1);
        (now, self.samples.get(before).copied().unwrap_or(now))
    }
}
