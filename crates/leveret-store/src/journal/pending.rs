//! The group that gathers while the last one is being written. Everything here is memory; it is changed under the
//! core's lock, so it must stay cheap.

use crate::{
    QueueId,
    held::{HeldKey, Hold, ShelfId},
    journal::{
        group::HEADER_BYTES,
        op::{self, AppendWriter},
    },
};

/// Where an unwritten append stands, so that a settle can void it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PendingRef {
    pub(crate) seq: u64,
    pub(crate) op: u32,
    pub(crate) target: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SettledRange {
    pub(crate) queue: QueueId,
    pub(crate) first: u64,
    pub(crate) count: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Marked {
    queue: QueueId,
    seq: u64,
    mark: u64,
}

/// A gathering group. `buffer` begins with room for the header.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Counts groups of this run; tells whether a [`PendingRef`] is still of this one.
    pub(crate) number: u64,
    /// The journal file it will go to; decided when it begins, so that live records can be filed under it.
    pub(crate) file: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) buffer: Vec<u8>,
    pub(crate) settles: Vec<SettledRange>,
    marks: Vec<Marked>,
    pub(crate) live_ops: u32,
    pub(crate) void_bytes: usize,
    /// The last operation, where it is a take that more can be added to: its start, its end and its shelf.
    open_take: Option<(usize, usize, ShelfId)>,
}

impl Pending {
    pub(crate) fn new(file: u64, start: u64) -> Self {
        let buffer = vec![0; HEADER_BYTES];
        Self {
            number: 1,
            file,
            start,
            end: start,
            buffer,
            settles: Vec::new(),
            marks: Vec::new(),
            live_ops: 0,
            void_bytes: 0,
            open_take: None,
        }
    }

    /// Takes the group out and begins the next with the memory of an older one.
    pub(crate) fn take(
        &mut self,
        next_file: u64,
        mut buffer: Vec<u8>,
        mut settles: Vec<SettledRange>,
    ) -> Self {
        buffer.clear();
        buffer.resize(HEADER_BYTES, 0);
        settles.clear();
        let next = Self {
            number: self.number + 1,
            file: next_file,
            start: self.end,
            end: self.end,
            buffer,
            settles,
            marks: Vec::new(),
            live_ops: 0,
            void_bytes: 0,
            open_take: None,
        };
        std::mem::replace(self, next)
    }

    /// Whether anything happened since the group began.
    pub(crate) fn is_untouched(&self) -> bool {
        self.start == self.end
    }

    /// Whether anything must reach the disk.
    pub(crate) fn needs_write(&self) -> bool {
        self.live_ops > 0 || !self.settles.is_empty() || !self.marks.is_empty()
    }

    /// Whether somebody may wait for it, rather than only settles and marks having gathered.
    pub(crate) fn is_urgent(&self) -> bool {
        self.buffer.len() > HEADER_BYTES
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.buffer.len()
            + self.settles.len() * size_of::<SettledRange>()
            + self.marks.len() * size_of::<Marked>()
    }

    pub(crate) fn begin_append(&mut self, flags: u16) -> AppendWriter {
        AppendWriter::begin(&mut self.buffer, flags)
    }

    /// Completes an append, or drops it when no queue took it.
    pub(crate) fn finish_append(&mut self, append: AppendWriter, body: &[&[u8]]) {
        let start = append.start();
        if append.targets() == 0 {
            self.buffer.truncate(start);
            return;
        }
        append.finish(&mut self.buffer, body);
        self.live_ops += 1;
        self.end += (self.buffer.len() - start) as u64;
    }

    pub(crate) fn void(&mut self, place: PendingRef) {
        if let Some(length) = op::void_target(&mut self.buffer, place.op as usize, place.target as usize) {
            self.void_bytes += length;
            self.live_ops -= 1;
        }
    }

    /// Notes a settle; returns its place in the list, to try first the next time.
    pub(crate) fn settle(&mut self, queue: QueueId, seq: u64, last_place: Option<usize>) -> usize {
        self.end += 1;
        if let Some(place) = last_place
            && let Some(range) = self.settles.get_mut(place)
            && range.first + range.count == seq
        {
            range.count += 1;
            return place;
        }
        self.settles.push(SettledRange { queue, first: seq, count: 1 });
        self.settles.len() - 1
    }

    pub(crate) fn mark(&mut self, queue: QueueId, seq: u64, mark: u64) {
        self.end += 1;
        self.marks.push(Marked { queue, seq, mark });
    }

    pub(crate) fn purge(&mut self, queue: QueueId, up_to: u64, keep: &[u64]) {
        op::put_purge(&mut self.buffer, queue, up_to, keep);
        self.live_ops += 1;
        self.end += 1;
    }

    pub(crate) fn delete(&mut self, queue: QueueId) {
        op::put_delete(&mut self.buffer, queue);
        self.live_ops += 1;
        self.end += 1;
    }

    pub(crate) fn hold(&mut self, hold: &Hold<'_>, number: u64) {
        let start = self.buffer.len();
        op::put_hold(&mut self.buffer, hold, number);
        self.live_ops += 1;
        self.end += (self.buffer.len() - start) as u64;
    }

    pub(crate) fn take_held(&mut self, shelf: ShelfId, key: HeldKey, body_bytes: u64) {
        let open = op::put_take(&mut self.buffer, self.open_take, shelf, key, body_bytes);
        self.live_ops += u32::from(self.open_take.is_none_or(|last| last.0 != open.0));
        self.open_take = Some(open);
        self.end += 1;
    }

    pub(crate) fn clear_shelf(&mut self, shelf: ShelfId, up_to: u64, shelf_goes: bool) {
        op::put_clear(&mut self.buffer, shelf, up_to, shelf_goes);
        self.live_ops += 1;
        self.end += 1;
    }

    /// Removes voids and appends the settles and the marks; `spare` becomes the buffer when something must be removed.
    pub(crate) fn seal(&mut self, spare: &mut Vec<u8>) {
        if self.void_bytes > 0 {
            spare.clear();
            spare.resize(HEADER_BYTES, 0);
            op::copy_without_voids(&self.buffer[HEADER_BYTES..], spare);
            std::mem::swap(&mut self.buffer, spare);
            self.void_bytes = 0;
        }
        self.settles.sort_unstable_by_key(|range| (range.queue, range.first));
        for ranges in self.settles.chunk_by(|a, b| a.queue == b.queue) {
            let pairs = ranges.iter().map(|range| (range.first, range.count));
            op::put_settle(&mut self.buffer, ranges[0].queue, pairs);
        }
        // Stable: of a record's marks the last one counts.
        self.marks.sort_by_key(|marked| (marked.queue, marked.seq));
        for marks in self.marks.chunk_by(|a, b| a.queue == b.queue) {
            let pairs = marks.iter().map(|marked| (marked.seq, marked.mark));
            op::put_mark(&mut self.buffer, marks[0].queue, pairs);
        }
    }
}
