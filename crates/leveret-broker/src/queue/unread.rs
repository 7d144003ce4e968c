//! What a row had at the start and has not read back yet: how many bytes its bodies may be. The store knows its records as a
//! whole; how much of them is not body shows in those that were read.

use leveret_store::RecoveredQueue;

/// Records that are still to be read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    count: u64,
    bytes: u64,
    read: u64,
    /// What was not body of those that were read.
    overhead_bytes: u64,
}

impl Unread {
    pub(super) fn new(recovered: &RecoveredQueue) -> Self {
        Self { count: recovered.records, bytes: recovered.body_bytes, ..Self::default() }
    }

    /// Whether there are some, of whose bodies nothing is known yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.count > 0 && self.read == 0
    }

    /// A record of so many bytes, so many of them body, was read.
    pub(super) fn note_read(&mut self, record_bytes: u64, body_bytes: u64) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(record_bytes);
        self.read += 1;
        self.overhead_bytes += record_bytes.saturating_sub(body_bytes);
    }

    /// Bytes of the bodies to be read if all of them have as much around them as those read so far; rather less than more.
    pub(super) fn body_bytes(&self) -> u64 {
        if self.count == 0 || self.read == 0 {
            return 0;
        }
        let overhead = self.overhead_bytes.div_ceil(self.read).saturating_mul(self.count);
        self.bytes.saturating_sub(overhead)
    }
}
