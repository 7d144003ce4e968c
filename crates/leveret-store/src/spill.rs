//! Writing records of one queue into its segments: what the caller wants out of memory, and what has to leave the
//! journal. Files are written outside of the core's lock, one writer a queue.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    QueueRef, StoreError,
    engine::Engine,
    queue::QueueState,
    segment::{
        Extent, Segment,
        block::{BlockWriter, FILE_HEADER_BYTES, FileHeader},
        segment_name,
    },
    seq_set::SeqSet,
    storage::StorageFile,
};

/// One write of a segment is about this long.
const WRITE_BYTES: usize = 1 << 20;

/// A record to be written to a segment.
#[derive(Debug, Clone, Copy)]
pub struct Spill<'a> {
    /// Its sequence number.
    pub seq: u64,
    /// The caller's bits.
    pub flags: u16,
    /// It was never appended and need not survive a restart.
    pub transient: bool,
    /// Its body.
    pub body: &'a [u8],
}

/// Who has what is spilled, besides the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The caller gave it up, or never had it.
    NobodyElse,
    /// The caller still has it in memory.
    CallerToo,
}

/// A segment chosen to be written to.
struct Home {
    number: u64,
    extent: Extent,
    file: Option<Arc<dyn StorageFile>>,
}

/// One write that was done.
struct Written {
    home: Home,
    file: Arc<dyn StorageFile>,
    seqs: Vec<u64>,
    first: u64,
    extent: Extent,
}

impl Engine {
    /// Writes records, sorted by sequence number, to segments, those that are there already left out. Returns the
    /// numbers, sorted, that it could not take because they are persistent and not appended yet, or for want of file
    /// descriptors.
    pub(crate) fn spill(
        &self,
        queue: QueueRef,
        records: &[Spill<'_>],
        holder: Holder,
    ) -> Result<Vec<u64>, StoreError> {
        let Some(writing) = self.core.lock().arc_of_writing(queue) else { return Ok(Vec::new()) };
        let _writing = writing.lock();
        let (durable, transient, mut refused) = self.sort_out(queue, records, holder)?;
        for (class, of_class) in [(false, durable), (true, transient)] {
            let written = self.write_records(queue, &of_class, class, holder);
            let left = self.or_fail(written)?;
            refused.extend(left.iter().map(|record| record.seq));
        }
        let closed = self.close_surplus();
        self.or_fail(closed)?;
        refused.sort_unstable();
        Ok(refused)
    }

    #[allow(clippy::type_complexity, reason = "three lists that are taken apart at once")]
    fn sort_out<'a>(
        &self,
        queue: QueueRef,
        records: &[Spill<'a>],
        holder: Holder,
    ) -> Result<(Vec<Spill<'a>>, Vec<Spill<'a>>, Vec<u64>), StoreError> {
        let (mut durable, mut transient, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let mut core = self.core.lock();
        core.check()?;
        let Some(state) = core.queue(queue) else { return Ok((durable, transient, refused)) };
        for &record in records {
            if state.in_segment(record.seq) {
                if holder == Holder::NobodyElse {
                    state.held.remove(record.seq);
                }
                continue;
            }
            if record.transient {
                transient.push(record);
            } else if state.in_journal(record.seq) {
                durable.push(record);
            } else {
                refused.push(record.seq);
            }
        }
        Ok((durable, transient, refused))
    }

    /// Returns the last records, where there was no file descriptor for the segment that they should go to.
    fn write_records<'r, 's>(
        &self,
        queue: QueueRef,
        mut records: &'r [Spill<'s>],
        transient: bool,
        holder: Holder,
    ) -> Result<&'r [Spill<'s>], StoreError> {
        let mut buffer = self.take_buffer();
        while let Some(first) = records.first() {
            let home = self.choose_home(queue, first.seq, transient);
            let file = match self.open_home(queue, &home, transient) {
                Err(error) if error.is_out_of_descriptors() => {
                    self.leave_home(queue, &home);
                    if !self.short.swap(true, Ordering::Relaxed) {
                        tracing::warn!("nothing is paged out for now: {error}");
                    }
                    break;
                }
                opened => opened?,
            };
            self.short.store(false, Ordering::Relaxed);
            let count = self.fill(queue, &home, records, transient, &mut buffer);
            let (now, later) = records.split_at(count);
            let written = self.write_piece(queue, (home, file), now, transient, &buffer)?;
            self.publish(queue, &written, transient, holder);
            records = later;
        }
        self.give_buffer(buffer);
        Ok(records)
    }

    fn choose_home(&self, queue: QueueRef, first: u64, transient: bool) -> Home {
        let mut core = self.core.lock();
        if let Some(state) = core.queue(queue)
            && let Some(segment) = state.home_for(first, transient)
        {
            segment.busy = true;
            return Home { number: segment.number, extent: segment.extent, file: segment.file.clone() };
        }
        core.next_segment += 1;
        Home { number: core.next_segment - 1, extent: Extent::default(), file: None }
    }

    fn open_home(
        &self,
        queue: QueueRef,
        home: &Home,
        transient: bool,
    ) -> Result<Arc<dyn StorageFile>, StoreError> {
        if let Some(file) = &home.file {
            return Ok(Arc::clone(file));
        }
        let name = segment_name(queue.id, home.number, transient);
        self.storage.open(&name, true).map_err(|error| StoreError::io("open", &name, error))
    }

    fn leave_home(&self, queue: QueueRef, home: &Home) {
        if let Some(segment) = self.core.lock().queue(queue).and_then(|state| state.segment_mut(home.number))
        {
            segment.busy = false;
        }
    }

    /// Fills the buffer with blocks; returns how many records went in.
    fn fill(
        &self,
        queue: QueueRef,
        home: &Home,
        records: &[Spill<'_>],
        transient: bool,
        buffer: &mut Vec<u8>,
    ) -> usize {
        buffer.clear();
        if home.extent.size_bytes == 0 {
            FileHeader::new(queue.id, home.number, transient).encode(buffer);
        }
        let room =
            (self.options.segment_bytes.saturating_sub(home.extent.size_bytes) as usize).min(WRITE_BYTES);
        let mut blocks = BlockWriter::new(self.options.block_bytes);
        let mut count = 0;
        for record in records {
            if count > 0 && buffer.len() >= room {
                break;
            }
            blocks.put(buffer, record.seq, record.flags, &[record.body]);
            count += 1;
        }
        blocks.finish(buffer);
        count
    }

    fn write_piece(
        &self,
        queue: QueueRef,
        (home, file): (Home, Arc<dyn StorageFile>),
        records: &[Spill<'_>],
        transient: bool,
        bytes: &[u8],
    ) -> Result<Written, StoreError> {
        let name = segment_name(queue.id, home.number, transient);
        let written = file.write_at(bytes, home.extent.size_bytes);
        written.map_err(|error| StoreError::io("write", &name, error))?;
        let body_bytes: usize = records.iter().map(|record| record.body.len()).sum();
        let extent = Extent {
            size_bytes: home.extent.size_bytes + bytes.len() as u64,
            records: home.extent.records + records.len() as u64,
            body_bytes: home.extent.body_bytes + body_bytes as u64,
            last: records[records.len() - 1].seq,
        };
        let seqs: Vec<u64> = records.iter().map(|record| record.seq).collect();
        self.counts.spilled_records.fetch_add(seqs.len() as u64, Ordering::Relaxed);
        Ok(Written { home, file, first: seqs[0], seqs, extent })
    }

    /// Makes what was written findable; records settled meanwhile are left out.
    fn publish(&self, queue: QueueRef, written: &Written, transient: bool, holder: Holder) {
        let is_full = written.extent.size_bytes >= self.options.segment_bytes;
        let mut core = self.core.lock();
        let number = written.home.number;
        let Some(state) = core.queue(queue) else {
            // The queue was deleted; a home that existed went with it.
            if written.home.extent == Extent::default() {
                let segment = new_segment(queue, number, transient, written);
                core.bury(segment);
            }
            return;
        };
        if written.home.extent == Extent::default() {
            state.insert_segment(new_segment(queue, number, transient, written));
        }
        state.publish(written, transient, is_full, holder);
        if written.home.file.is_none() {
            core.opened.push_back((queue, number));
        }
    }
}

fn new_segment(queue: QueueRef, number: u64, transient: bool, written: &Written) -> Segment {
    Segment {
        number,
        queue: queue.id,
        transient,
        extent: written.extent,
        durable: Extent::default(),
        first: written.first,
        live: SeqSet::default(),
        file: Some(Arc::clone(&written.file)),
        appendable: true,
        busy: true,
        damaged: false,
        resume: (FILE_HEADER_BYTES as u64, 0),
    }
}

impl QueueState {
    fn home_for(&mut self, first: u64, transient: bool) -> Option<&mut Segment> {
        self.segments.iter_mut().rev().find(|segment| {
            segment.appendable && segment.transient == transient && segment.extent.last < first
        })
    }

    fn publish(&mut self, written: &Written, transient: bool, is_full: bool, holder: Holder) {
        let mut live = Vec::with_capacity(written.seqs.len());
        for &seq in &written.seqs {
            let lives = if transient { !self.early.remove(&seq) } else { self.in_journal(seq) };
            if lives {
                let was_unread = !self.recovered.is_empty() && self.recovered.remove(&seq).is_some();
                if holder == Holder::CallerToo && !was_unread {
                    self.held.insert(seq);
                }
                live.push(seq);
            }
        }
        self.spilled_up_to = self.spilled_up_to.max(written.extent.last);
        self.unsaved |= !transient;
        let Some(segment) = self.segment_mut(written.home.number) else { return };
        segment.extent = written.extent;
        segment.busy = false;
        segment.file.get_or_insert_with(|| Arc::clone(&written.file));
        for seq in live {
            segment.live.insert(seq);
        }
        if is_full {
            segment.appendable = false;
            if transient {
                segment.file = None;
            }
        }
    }
}
