//! Reading a queue's records back in order, in large pieces: from its segments, durable and transient ones merged, and from
//! what the last start kept in memory. Damage met on the way costs the records it hit, which are reported, and no others.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use crate::{
    Damage, QueueRef, StoreError, StoredRecord,
    engine::Engine,
    queue::{QueueState, RecoveredRecord},
    segment::{
        block::{BLOCK_HEADER_BYTES, BlockRecords, RECORD_HEADER_BYTES},
        cursor::{BlockCursor, Found},
    },
};

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadEnd {
    /// Where to read on; `None` when the range is exhausted.
    pub next: Option<u64>,
    /// Records in the range that turned out to be damaged; they are gone and were reported.
    pub lost: u64,
}

/// A segment being read.
struct Source {
    number: u64,
    transient: bool,
    /// The highest number in it when it was opened.
    last: u64,
    cursor: BlockCursor,
    /// Live records of the block in the cursor's window, still to be given out.
    records: Vec<Place>,
    given: usize,
    /// Everything in this segment up to here has been looked at.
    seen: u64,
    /// Where the block stands that `records` are from.
    block_at: u64,
    /// `seen` before that block.
    seen_before: u64,
    /// Whether blocks were skipped by their headers alone.
    skipped: bool,
    trouble: Option<(u64, &'static str)>,
}

#[derive(Clone, Copy)]
struct Place {
    seq: u64,
    flags: u16,
    mark: u64,
    start: usize,
    end: usize,
}

/// A segment that may hold records of the range.
struct Candidate {
    number: u64,
    first: u64,
}

/// A read on its way: what is open, what is still to be opened, what has been used up.
struct Reading {
    seqs: RangeInclusive<u64>,
    recovered: BTreeMap<u64, RecoveredRecord>,
    /// The first record of the range kept in memory that was not taken: where to read on.
    left_behind: Option<u64>,
    /// The next one last.
    candidates: Vec<Candidate>,
    open: Vec<Source>,
    done: Vec<Source>,
    redelivered_up_to: u64,
    lost: u64,
    bytes: usize,
    last: u64,
}

impl Engine {
    pub(crate) fn read(
        &self,
        queue: QueueRef,
        seqs: RangeInclusive<u64>,
        max_bytes: usize,
        mut visit: impl FnMut(StoredRecord<'_>),
    ) -> Result<ReadEnd, StoreError> {
        let Some(lock) = self.core.lock().queue(queue).map(|state| Arc::clone(&state.reading)) else {
            return Ok(ReadEnd::default());
        };
        let _reading = lock.lock();
        let Some(mut reading) = self.begin_read(queue, seqs, max_bytes) else {
            return Ok(ReadEnd::default());
        };
        let result = self.read_on(queue, &mut reading, max_bytes, &mut visit);
        let end = result.map(|next| ReadEnd { next, lost: reading.lost });
        self.end_read(queue, reading);
        end
    }

    fn read_on(
        &self,
        queue: QueueRef,
        reading: &mut Reading,
        max_bytes: usize,
        visit: &mut impl FnMut(StoredRecord<'_>),
    ) -> Result<Option<u64>, StoreError> {
        loop {
            self.open_due(queue, reading)?;
            let Some((seq, index)) = reading.nearest() else { return Ok(reading.left_behind) };
            let block_is_used_up = match index {
                Some(index) => reading.give_run(index, visit),
                None => reading.give_recovered(seq, visit),
            };
            if reading.bytes >= max_bytes && block_is_used_up {
                let next = reading.last.checked_add(1).filter(|next| next <= reading.seqs.end());
                return Ok(next.or(reading.left_behind));
            }
            if let Some(index) = index.filter(|_| block_is_used_up) {
                let mut source = reading.open.swap_remove(index);
                reading.lost += self.advance(queue, &mut source, *reading.seqs.end())?;
                reading.keep(source);
            }
        }
    }

    fn begin_read(&self, queue: QueueRef, seqs: RangeInclusive<u64>, max_bytes: usize) -> Option<Reading> {
        let mut core = self.core.lock();
        let state = core.queue(queue)?;
        let segments = state.segments.iter().rev().filter(|segment| {
            segment.first <= *seqs.end() && segment.extent.last >= *seqs.start() && !segment.live.is_empty()
        });
        let candidates = segments.map(|segment| Candidate { number: segment.number, first: segment.first });
        let candidates = candidates.collect();
        let recovered = state.take_recovered(&seqs, max_bytes);
        let left_behind = state.recovered.range(seqs.clone()).next().map(|(&seq, _)| seq);
        // What is behind a record that was not taken must not overtake it.
        let seqs = *seqs.start()..=left_behind.map_or(*seqs.end(), |seq| seq - 1);
        Some(Reading {
            recovered,
            left_behind,
            candidates,
            open: Vec::new(),
            done: Vec::new(),
            redelivered_up_to: state.redelivered_up_to,
            lost: 0,
            bytes: 0,
            last: 0,
            seqs,
        })
    }

    /// Opens the segments that begin before anything that is open goes on.
    fn open_due(&self, queue: QueueRef, reading: &mut Reading) -> Result<(), StoreError> {
        while let Some(candidate) = reading.candidates.last() {
            let (number, first) = (candidate.number, candidate.first);
            if reading.nearest().is_some_and(|(seq, _)| seq < first) {
                return Ok(());
            }
            reading.candidates.pop();
            if let Some(mut source) = self.open_source(queue, number, *reading.seqs.start())? {
                reading.lost += self.advance(queue, &mut source, *reading.seqs.end())?;
                reading.keep(source);
            }
        }
        Ok(())
    }

    fn open_source(&self, queue: QueueRef, number: u64, from: u64) -> Result<Option<Source>, StoreError> {
        let (name, file, resume, extent, transient) = {
            let mut core = self.core.lock();
            let Some(segment) = core.queue(queue).and_then(|state| state.segment_mut(number)) else {
                return Ok(None);
            };
            (segment.name(), segment.file.clone(), segment.resume, segment.extent, segment.transient)
        };
        let file = match file {
            Some(file) => file,
            None => self.storage.open(&name, false).map_err(|error| StoreError::io("open", &name, error))?,
        };
        let resume = if resume.1 < from { resume } else { (0, 0) };
        let window = self.take_buffer();
        let mut cursor =
            BlockCursor::new(name, file, resume.0, extent.size_bytes, self.options.read_bytes, window);
        let before = cursor.offset();
        cursor.skip_before(from)?;
        let skipped = cursor.offset() != before || resume.1 > 0;
        Ok(Some(Source {
            number,
            transient,
            last: extent.last,
            block_at: cursor.offset(),
            cursor,
            records: Vec::new(),
            given: 0,
            seen: from.saturating_sub(1),
            seen_before: from.saturating_sub(1),
            skipped,
            trouble: None,
        }))
    }

    /// Loads the source's next block that has a live record up to `to`; none is loaded at the end. Returns how
    /// many records are lost by damage that was passed.
    fn advance(&self, queue: QueueRef, source: &mut Source, to: u64) -> Result<u64, StoreError> {
        let mut lost = 0;
        source.records.clear();
        source.given = 0;
        while source.records.is_empty() && source.seen < to {
            let (seen, last) = (source.seen, source.last);
            let (header, offset) = match source.cursor.next()? {
                None if source.skipped && self.live_in(queue, source.number, seen + 1, last) > 0 => {
                    source.start_over();
                    continue;
                }
                None => return Ok(lost + self.give_up(queue, source, last)),
                Some(Found::Bad { offset, what }) => {
                    source.trouble = Some((offset, what));
                    continue;
                }
                Some(Found::Block { header, offset }) => (header, offset),
            };
            let before = header.first.saturating_sub(1);
            let gap = self.live_in(queue, source.number, seen + 1, before);
            if gap > 0 && source.skipped {
                source.start_over();
                continue;
            }
            if gap > 0 {
                lost += self.give_up(queue, source, before);
            }
            source.skipped = false;
            source.block_at = offset;
            source.seen_before = seen.max(before);
            source.seen = seen.max(header.last);
            self.load_live(queue, source, header.block_bytes(), seen, to);
        }
        Ok(lost)
    }

    fn live_in(&self, queue: QueueRef, number: u64, from: u64, to: u64) -> u64 {
        let mut core = self.core.lock();
        let segment = core.queue(queue).and_then(|state| state.segment_mut(number));
        segment.map_or(0, |segment| segment.live.part(from, to).len())
    }

    fn load_live(&self, queue: QueueRef, source: &mut Source, block_bytes: usize, after: u64, to: u64) {
        let mut core = self.core.lock();
        let Some(state) = core.queue(queue) else { return };
        let Some(segment) = state.segments.iter().find(|segment| segment.number == source.number) else {
            return;
        };
        let mut start = BLOCK_HEADER_BYTES;
        for record in BlockRecords::new(&source.cursor.block(source.block_at)[..block_bytes]) {
            start += RECORD_HEADER_BYTES;
            let end = start + record.body.len();
            let is_wanted = record.seq > after && record.seq <= to && segment.live.contains(record.seq);
            if is_wanted && !state.held.contains(record.seq) {
                let mark = state.mark_of(record.seq);
                source.records.push(Place { seq: record.seq, flags: record.flags, mark, start, end });
            }
            start = end;
        }
    }

    /// Writes off what should live between what was seen and `to`, and reports it.
    fn give_up(&self, queue: QueueRef, source: &mut Source, to: u64) -> u64 {
        let mut core = self.core.lock();
        let Some(segment) = core.queue(queue).and_then(|state| state.segment_mut(source.number)) else {
            return 0;
        };
        let lost = segment.live.part(source.seen.saturating_add(1), to);
        if lost.is_empty() {
            return 0;
        }
        lost.iter().for_each(|seq| {
            segment.live.remove(seq);
        });
        segment.damaged = true;
        let (offset, what) = source.trouble.take().unwrap_or((source.block_at, "records are missing"));
        core.report(Damage {
            file: source.cursor.name().to_owned(),
            offset,
            queue: Some(queue.id),
            lost_records: Some(lost.len()),
            what: what.into(),
        });
        lost.len()
    }

    /// Notes where to read on in each segment, and gives back what was not read after all.
    fn end_read(&self, queue: QueueRef, reading: Reading) {
        let mut core = self.core.lock();
        if let Some(state) = core.queue(queue) {
            for (seq, record) in reading.recovered {
                if state.in_journal(seq) {
                    state.recovered.insert(seq, record);
                }
            }
        }
        for source in reading.open.into_iter().chain(reading.done) {
            if let Some(segment) = core.queue(queue).and_then(|state| state.segment_mut(source.number)) {
                segment.resume = source.resume();
            }
            self.give_buffer(source.cursor.into_window());
        }
    }
}

impl QueueState {
    fn take_recovered(
        &mut self,
        seqs: &RangeInclusive<u64>,
        max_bytes: usize,
    ) -> BTreeMap<u64, RecoveredRecord> {
        let mut taken = BTreeMap::new();
        let mut bytes = 0;
        while bytes < max_bytes || taken.is_empty() {
            let Some((&seq, _)) = self.recovered.range(seqs.clone()).next() else { break };
            let Some(record) = self.recovered.remove(&seq) else { break };
            bytes += record.body.len();
            taken.insert(seq, record);
        }
        taken
    }
}

impl Source {
    fn next_seq(&self) -> Option<u64> {
        self.records.get(self.given).map(|place| place.seq)
    }

    /// Reads from the segment's beginning after all: a header that was trusted for skipping was wrong.
    fn start_over(&mut self) {
        self.skipped = false;
        self.trouble = None;
        self.cursor.rewind();
    }

    fn resume(&self) -> (u64, u64) {
        match self.next_seq() {
            Some(_) => (self.block_at, self.seen_before),
            None => (self.cursor.offset(), self.seen),
        }
    }
}

impl Reading {
    /// The source that goes on with the lowest number; no index stands for the recovered records.
    fn nearest(&self) -> Option<(u64, Option<usize>)> {
        let open = self.open.iter().enumerate();
        let of_segments = open.filter_map(|(index, source)| Some((source.next_seq()?, Some(index))));
        let of_memory = self.recovered.keys().next().map(|&seq| (seq, None));
        of_segments.chain(of_memory).min_by_key(|&(seq, _)| seq)
    }

    /// The lowest number of everything but one source.
    fn next_of_others(&self, index: usize) -> u64 {
        let others = self.open.iter().enumerate().filter(|&(other, _)| other != index);
        let of_segments = others.filter_map(|(_, source)| source.next_seq());
        let of_memory = self.recovered.keys().next().copied();
        let to_open = self.candidates.last().map(|candidate| candidate.first);
        of_segments.chain(of_memory).chain(to_open).min().unwrap_or(u64::MAX)
    }

    /// Gives out one source's records as long as they come first. Says whether its block is used up.
    fn give_run(&mut self, index: usize, visit: &mut impl FnMut(StoredRecord<'_>)) -> bool {
        let before = self.next_of_others(index);
        let source = &mut self.open[index];
        let block = source.cursor.block(source.block_at);
        for place in source.records[source.given..].iter().take_while(|place| place.seq < before) {
            source.given += 1;
            self.bytes += place.end - place.start;
            self.last = place.seq;
            visit(StoredRecord {
                seq: place.seq,
                flags: place.flags,
                transient: source.transient,
                redelivered: place.seq <= self.redelivered_up_to,
                on_disk: true,
                mark: place.mark,
                body: &block[place.start..place.end],
            });
        }
        source.given == source.records.len()
    }

    fn give_recovered(&mut self, seq: u64, visit: &mut impl FnMut(StoredRecord<'_>)) -> bool {
        let Some(record) = self.recovered.remove(&seq) else { return true };
        self.bytes += record.body.len();
        self.last = seq;
        visit(StoredRecord {
            seq,
            flags: record.flags,
            transient: false,
            redelivered: seq <= self.redelivered_up_to,
            on_disk: false,
            mark: record.mark,
            body: &record.body,
        });
        true
    }

    fn keep(&mut self, source: Source) {
        let list = if source.records.is_empty() { &mut self.done } else { &mut self.open };
        list.push(source);
    }
}
