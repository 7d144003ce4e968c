//! Compaction: neighbouring segments of which little lives are rewritten as one, so that a few old records do not hold
//! gigabytes. What must be rewritten is less than what is freed, by the choice of segments.

use std::sync::Arc;

use crate::{
    QueueRef, StoreError,
    engine::Engine,
    queue::QueueState,
    segment::{
        Extent, Segment,
        block::{BlockRecords, BlockWriter, FILE_HEADER_BYTES, FileHeader},
        cursor::{BlockCursor, Found},
        segment_name,
    },
    seq_set::SeqSet,
};

/// A segment with less than one of this many parts alive is sparse.
const SPARSE: u64 = 4;
/// This many small neighbours are made one even if they are full of life.
const MANY: usize = 8;

/// Segments to become one.
struct Run {
    queue: QueueRef,
    segments: Vec<Segment>,
}

/// The segment that is being written.
struct Output {
    number: u64,
    file: Arc<dyn crate::storage::StorageFile>,
    name: String,
    buffer: Vec<u8>,
    blocks: BlockWriter,
    extent: Extent,
    first: u64,
    copied: SeqSet,
}

impl Engine {
    /// Compacts what is worth it; says whether a manifest is needed to gain from it.
    pub(crate) fn compact(&self) -> Result<bool, StoreError> {
        let mut durable = false;
        let queues: Vec<QueueRef> = self.core.lock().queues().map(|(queue, _)| queue).collect();
        for queue in queues {
            let Some(writing) = self.core.lock().arc_of_writing(queue) else { continue };
            let _writing = writing.lock();
            while let Some(run) = self.find_run(queue) {
                let is_durable = !run.segments[0].transient;
                match self.compact_run(run) {
                    Err(error) if error.is_out_of_descriptors() => {
                        tracing::warn!("compacting waits: {error}");
                        return Ok(durable);
                    }
                    result => result?,
                }
                durable |= is_durable;
            }
        }
        Ok(durable)
    }

    fn find_run(&self, queue: QueueRef) -> Option<Run> {
        let mut core = self.core.lock();
        let segment_bytes = self.options.segment_bytes;
        let state = core.queue(queue)?;
        let segments =
            [false, true].into_iter().find_map(|transient| state.sparse_run(transient, segment_bytes))?;
        Some(Run { queue, segments })
    }

    fn compact_run(&self, run: Run) -> Result<(), StoreError> {
        let mut output = self.begin_output(&run)?;
        for segment in &run.segments {
            let copied = self.copy_live(segment, &mut output);
            if let Err(error) = &copied
                && error.is_out_of_descriptors()
            {
                self.discard(&output.name, false);
                return copied.map(|_| ());
            }
            if !copied.unwrap_or(false) {
                // Whoever reads it will find out what is lost. Until then it is left alone.
                self.discard(&output.name, false);
                self.mark_damaged(run.queue, segment.number);
                return Ok(());
            }
            output.blocks.finish(&mut output.buffer);
            self.write_output(&mut output)?;
        }
        let reading = self.core.lock().queue(run.queue).map(|state| Arc::clone(&state.reading));
        let Some(reading) = reading else {
            self.discard(&output.name, false);
            return Ok(());
        };
        {
            let _reading = reading.lock();
            self.replace(&run, output);
        }
        self.close_surplus()
    }

    fn mark_damaged(&self, queue: QueueRef, number: u64) {
        let mut core = self.core.lock();
        if let Some(segment) = core.queue(queue).and_then(|state| state.segment_mut(number)) {
            segment.damaged = true;
        }
    }

    fn begin_output(&self, run: &Run) -> Result<Output, StoreError> {
        let number = {
            let mut core = self.core.lock();
            core.next_segment += 1;
            core.next_segment - 1
        };
        let transient = run.segments[0].transient;
        let name = segment_name(run.queue.id, number, transient);
        let file = self.storage.open(&name, true).map_err(|error| StoreError::io("open", &name, error))?;
        let mut buffer = self.take_buffer();
        buffer.clear();
        FileHeader::new(run.queue.id, number, transient).encode(&mut buffer);
        let blocks = BlockWriter::new(self.options.block_bytes);
        let (extent, copied) = (Extent::default(), SeqSet::default());
        Ok(Output { number, file, name, buffer, blocks, extent, first: 0, copied })
    }

    /// Copies what lives, into memory; says whether all of it was readable.
    fn copy_live(&self, segment: &Segment, output: &mut Output) -> Result<bool, StoreError> {
        let name = segment.name();
        let file = match &segment.file {
            Some(file) => Arc::clone(file),
            None => self.storage.open(&name, false).map_err(|error| StoreError::io("open", &name, error))?,
        };
        let end = segment.extent.size_bytes;
        let block_bytes = self.options.block_bytes;
        let mut cursor = BlockCursor::new(name, file, 0, end, block_bytes, self.take_buffer());
        let mut left = segment.live.clone();
        while let Some(next) = left.first() {
            cursor.skip_before(next)?;
            let Some(Found::Block { header, offset }) = cursor.next()? else { return Ok(false) };
            for record in BlockRecords::new(&cursor.block(offset)[..header.block_bytes()]) {
                if left.remove(record.seq) {
                    output.put(record.seq, record.flags, record.body);
                }
            }
            if left.first().is_some_and(|first| first <= header.last) {
                return Ok(false);
            }
        }
        self.give_buffer(cursor.into_window());
        Ok(true)
    }

    fn write_output(&self, output: &mut Output) -> Result<(), StoreError> {
        let written = output.file.write_at(&output.buffer, output.extent.size_bytes);
        written.map_err(|error| StoreError::io("write", &output.name, error))?;
        output.extent.size_bytes += output.buffer.len() as u64;
        output.buffer.clear();
        Ok(())
    }

    /// Puts the new segment in the place of the old ones; what was settled meanwhile stays settled.
    fn replace(&self, run: &Run, output: Output) {
        let mut core = self.core.lock();
        let Some(state) = core.queue(run.queue) else {
            drop(core);
            self.discard(&output.name, false);
            return;
        };
        let is_old = |segment: &Segment| run.segments.iter().any(|old| old.number == segment.number);
        let (old, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut state.segments).into_iter().partition(is_old);
        state.segments = rest.into();
        let living = old.iter().flat_map(|segment| segment.live.iter());
        let live: SeqSet = living.filter(|&seq| output.copied.contains(seq)).collect();
        let transient = run.segments[0].transient;
        state.unsaved |= !transient;
        let segment = Segment {
            number: output.number,
            queue: run.queue.id,
            transient,
            extent: output.extent,
            durable: Extent::default(),
            first: output.first,
            live,
            file: (!transient).then_some(output.file),
            appendable: false,
            busy: false,
            damaged: false,
            resume: (FILE_HEADER_BYTES as u64, 0),
        };
        if segment.live.is_empty() {
            core.bury(segment);
        } else {
            state.insert_segment(segment);
            core.opened.push_back((run.queue, output.number));
        }
        old.into_iter().for_each(|segment| core.bury(segment));
    }
}

impl Output {
    fn put(&mut self, seq: u64, flags: u16, body: &[u8]) {
        self.blocks.put(&mut self.buffer, seq, flags, &[body]);
        if self.extent.records == 0 {
            self.first = seq;
        }
        self.extent.records += 1;
        self.extent.body_bytes += body.len() as u64;
        self.extent.last = seq;
        self.copied.insert(seq);
    }
}

impl QueueState {
    /// The first row of neighbours, in order and not overlapping, that is worth to be rewritten.
    fn sparse_run(&self, transient: bool, segment_bytes: u64) -> Option<Vec<Segment>> {
        let mut run: Vec<&Segment> = Vec::new();
        let mut live = 0;
        for segment in self.segments.iter().filter(|segment| segment.transient == transient) {
            let bytes = segment.live_file_bytes();
            let fits = !segment.appendable
                && !segment.is_unsaved()
                && !segment.damaged
                && bytes < segment_bytes / SPARSE
                && live + bytes <= segment_bytes
                && run.last().is_none_or(|last| last.extent.last < segment.first);
            if fits {
                run.push(segment);
                live += bytes;
                continue;
            }
            if is_worth_it(&run, live, segment_bytes) {
                break;
            }
            run.clear();
            live = 0;
        }
        is_worth_it(&run, live, segment_bytes).then(|| run.into_iter().cloned().collect())
    }
}

fn is_worth_it(run: &[&Segment], live: u64, segment_bytes: u64) -> bool {
    let size: u64 = run.iter().map(|segment| segment.extent.size_bytes).sum();
    !run.is_empty() && (size >= live * SPARSE && size > segment_bytes / SPARSE || run.len() >= MANY)
}
