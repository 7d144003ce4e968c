//! Moving what still lives in old journal files: long rows of a queue go to its segments, short ones are written to the
//! journal again, so that many small queues do not become many small files.

use std::collections::HashMap;

use crate::{
    Damage, QueueId, QueueRef, Spill, StoreError,
    checkpoint::closed_before,
    core::Core,
    engine::Engine,
    journal::{
        files::ClosedFile,
        op::{AppendOp, Op, Ops},
        scan::FileScan,
    },
    queue::{QueueState, RecoveredRecord},
    spill::Holder,
};

/// So much is gathered before it is written to segments.
const GATHER_BYTES: usize = 4 << 20;
/// So many operations are looked at under one lock.
const OPS_A_LOCK: usize = 256;

/// Whether bodies written to the journal again are also kept in memory, for those who will read them first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    OnDisk,
    InMemoryToo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    Segment,
    Journal,
}

type Plan = HashMap<QueueId, Destination>;

#[derive(Default)]
struct Gathered {
    records: HashMap<QueueRef, Vec<GatheredRecord>>,
    bodies: Vec<u8>,
}

struct GatheredRecord {
    seq: u64,
    flags: u16,
    start: usize,
    end: usize,
}

impl Engine {
    pub(crate) fn relocate_before(&self, first_file: u64, keep: Keep) -> Result<(), StoreError> {
        for file in closed_before(self, first_file) {
            let budget = self.options.journal_file_bytes / 4;
            let plan = self.core.lock().plan_relocation(file.number, self.options.relocate_bytes, budget);
            if !plan.is_empty() {
                self.relocate_file(&file, &plan, keep)?;
                self.give_up_rest(&file);
            }
        }
        Ok(())
    }

    fn relocate_file(&self, file: &ClosedFile, plan: &Plan, keep: Keep) -> Result<(), StoreError> {
        let mut scan = FileScan::open(&*self.patient, &file.name)?;
        let mut gathered = Gathered::default();
        loop {
            while let Some((header, body)) = scan.group()? {
                if header.file != file.number {
                    return self.flush(gathered, keep);
                }
                gathered = self.relocate_group(file.number, body, plan, keep, gathered)?;
            }
            // Damage was reported when the file was first read.
            if !file.damaged || scan.resync(0)?.is_none() {
                return self.flush(gathered, keep);
            }
        }
    }

    fn relocate_group(
        &self,
        file: u64,
        body: &[u8],
        plan: &Plan,
        keep: Keep,
        mut gathered: Gathered,
    ) -> Result<Gathered, StoreError> {
        let mut ops = Ops::new(body).filter_map(Result::ok).peekable();
        while ops.peek().is_some() {
            let mut core = self.core.lock();
            for op in ops.by_ref().take(OPS_A_LOCK) {
                if let Op::Append(append) = op {
                    core.relocate_append(file, &append, plan, keep, &mut gathered);
                }
            }
            self.wake_committer(core);
            if gathered.bodies.len() >= GATHER_BYTES {
                self.flush(std::mem::take(&mut gathered), keep)?;
            }
        }
        Ok(gathered)
    }

    /// What was not found in the file, for all that it should be there, is lost.
    fn give_up_rest(&self, file: &ClosedFile) {
        let mut core = self.core.lock();
        let mut lost = Vec::new();
        for state in core.queues.iter_mut().flatten() {
            let count = state.give_up(file.number);
            if count > 0 {
                lost.push((state.id, count));
            }
        }
        for (id, count) in lost {
            core.report(Damage {
                file: file.name.clone(),
                offset: 0,
                queue: Some(id),
                lost_records: Some(count),
                what: "records that should be in this journal file are not readable".into(),
            });
        }
    }

    fn flush(&self, gathered: Gathered, keep: Keep) -> Result<(), StoreError> {
        let holder = if keep == Keep::InMemoryToo { Holder::NobodyElse } else { Holder::CallerToo };
        for (queue, mut records) in gathered.records {
            records.sort_unstable_by_key(|record| record.seq);
            let mut spills: Vec<Spill<'_>> = records
                .iter()
                .map(|record| Spill {
                    seq: record.seq,
                    flags: record.flags,
                    transient: false,
                    body: &gathered.bodies[record.start..record.end],
                })
                .collect();
            self.spill_all(queue, &mut spills, holder)?;
        }
        Ok(())
    }

    /// Writes all of them to segments that live, and waits for file descriptors where there are none.
    fn spill_all(
        &self,
        queue: QueueRef,
        records: &mut Vec<Spill<'_>>,
        holder: Holder,
    ) -> Result<(), StoreError> {
        loop {
            let refused = self.spill(queue, records, holder)?;
            records.retain(|record| refused.binary_search(&record.seq).is_ok());
            let mut core = self.core.lock();
            let Some(state) = core.queue(queue) else { return Ok(()) };
            records.retain(|record| state.in_journal(record.seq));
            drop(core);
            if records.is_empty() {
                return Ok(());
            }
            if !self.patient.pause() {
                return Err(StoreError::Closed);
            }
        }
    }
}

impl Core {
    fn plan_relocation(&self, file: u64, segment_from_bytes: u64, journal_budget: u64) -> Plan {
        let mut sizes: Vec<(u64, QueueId)> = Vec::new();
        for (queue, state) in self.queues() {
            for set in state.journal.iter().filter(|set| set.file == file && !set.seqs.is_empty()) {
                sizes.push((set.live_bytes(), queue.id));
            }
        }
        sizes.sort_unstable();
        let mut again = 0;
        let destinations = sizes.into_iter().map(|(bytes, id)| {
            again += bytes;
            let short = bytes < segment_from_bytes && again <= journal_budget;
            (id, if short { Destination::Journal } else { Destination::Segment })
        });
        destinations.collect()
    }

    fn relocate_append(
        &mut self,
        file: u64,
        append: &AppendOp<'_>,
        plan: &Plan,
        keep: Keep,
        gathered: &mut Gathered,
    ) {
        let mut again = Vec::new();
        let mut body_at = None;
        for (id, seq) in append.targets() {
            let Some(destination) = plan.get(&id) else { continue };
            let Some(&slot) = self.slots.get(&id) else { continue };
            let queue = QueueRef { id, slot };
            let Some(state) = self.queue(queue) else { continue };
            if !state.in_journal_file(file, seq) || state.in_segment(seq) {
                continue;
            }
            match destination {
                Destination::Journal => again.push((queue, seq)),
                Destination::Segment => {
                    let start = *body_at.get_or_insert_with(|| gathered.put(append.body));
                    let record =
                        GatheredRecord { seq, flags: append.flags, start, end: start + append.body.len() };
                    gathered.records.entry(queue).or_default().push(record);
                }
            }
        }
        if !again.is_empty() {
            self.append_again(append, &again, keep);
        }
    }

    /// Not noted as unwritten in the queues: the first copy is on the disk, so a settle must be journalled.
    fn append_again(&mut self, append: &AppendOp<'_>, targets: &[(QueueRef, u64)], keep: Keep) {
        let file = self.pending.file;
        let mut writer = self.pending.begin_append(append.flags);
        for &(queue, seq) in targets {
            writer.target(&mut self.pending.buffer, queue.id, seq);
            let Some(state) = self.queue(queue) else { continue };
            state.journal_remove(seq);
            state.journal_insert(file, seq, append.body.len());
            if keep == Keep::InMemoryToo {
                let (flags, mark) = (append.flags, state.mark_of(seq));
                let record = RecoveredRecord { flags, mark, body: append.body.into() };
                state.recovered.insert(seq, record);
            }
        }
        self.pending.finish_append(writer, &[append.body]);
    }
}

impl QueueState {
    /// Forgets the records of a journal file that are nowhere else; returns how many those were.
    pub(crate) fn give_up(&mut self, file: u64) -> u64 {
        let set = self.journal.iter().find(|set| set.file == file);
        let lost: Vec<u64> = set.into_iter().flat_map(|set| set.seqs.iter()).collect();
        let lost = lost.into_iter().filter(|&seq| !self.in_segment(seq)).collect::<Vec<_>>();
        lost.iter().for_each(|&seq| {
            self.journal_remove(seq);
        });
        lost.len() as u64
    }
}

impl Gathered {
    fn put(&mut self, body: &[u8]) -> usize {
        let start = self.bodies.len();
        self.bodies.extend_from_slice(body);
        start
    }
}
