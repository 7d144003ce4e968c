//! Reading the journal back into a core, and telling what is torn from what is damaged. Nothing on the disk is changed here, so
//! that a check can use it too.

use std::collections::HashSet;

use crate::{
    Damage, QueueId, StoreError,
    core::Core,
    journal::{
        files::slot_of,
        group::GroupHeader,
        op::{Op, OpError, Ops},
        scan::FileScan,
    },
    layout::VERSION,
    storage::Storage,
};

/// A journal file on the disk, and its number.
pub(crate) struct JournalFile {
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) nonce: u64,
    pub(crate) size_bytes: u64,
    /// Position of the first valid group.
    pub(crate) start: u64,
    /// Where that group stands; not zero only when what was before it is damaged.
    pub(crate) offset: u64,
}

/// Replays the journal into a core.
pub(crate) struct Replay<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) core: Core,
    /// Groups before this are in the manifest already, but for what they say of shelves.
    pub(crate) from: u64,
    /// Of shelves, groups before this are.
    pub(crate) held_from: u64,
    /// Where the next group should begin; `None` before the first.
    pub(crate) position: Option<u64>,
    pub(crate) torn_tail: Option<(String, u64)>,
    pub(crate) groups_replayed: u64,
}

/// What a replay leads to.
pub(crate) struct Replayed {
    /// Ready to gather its first group.
    pub(crate) core: Core,
    pub(crate) torn_tail: Option<(String, u64)>,
    pub(crate) clean: bool,
    /// Where the last group in the journal ends.
    pub(crate) written_to: u64,
}

/// The journal's files from `first_file` on in their order, and those that are free to be used.
pub(crate) fn survey(
    storage: &dyn Storage,
    names: &[String],
    first_file: u64,
) -> Result<(Vec<JournalFile>, Vec<String>), StoreError> {
    let (mut journal, mut spare) = (Vec::new(), Vec::new());
    for name in names.iter().filter(|name| slot_of(name).is_some()) {
        let mut scan = FileScan::open(storage, name)?;
        match scan.identify(first_file)? {
            Some(header) => journal.push(JournalFile {
                name: name.clone(),
                number: header.file,
                nonce: header.nonce,
                size_bytes: scan.size_bytes,
                start: header.start,
                offset: scan.offset,
            }),
            None => spare.push(name.clone()),
        }
    }
    journal.sort_unstable_by_key(|file| file.number);
    Ok((journal, spare))
}

impl<'a> Replay<'a> {
    pub(crate) fn new(storage: &'a dyn Storage, core: Core) -> Self {
        let (from, held_from) = (core.pending.start, core.shelves.saved.position);
        Self { storage, core, from, held_from, position: None, torn_tail: None, groups_replayed: 0 }
    }

    /// Walks over all files; returns the numbers of those in which damage was found.
    pub(crate) fn run(&mut self, first_file: u64, files: &[JournalFile]) -> Result<HashSet<u64>, StoreError> {
        let mut damaged = HashSet::new();
        let mut expected = first_file;
        for (index, file) in files.iter().enumerate() {
            if file.number != expected {
                self.report(
                    &file.name,
                    0,
                    format!("journal files {expected} to {} are missing", file.number - 1),
                );
                self.position = None;
            }
            expected = file.number + 1;
            let next = files.get(index + 1).map(|next| next.start);
            if self.replay_file(file, next)? {
                damaged.insert(file.number);
            }
        }
        self.give_up_missing(files);
        Ok(damaged)
    }

    /// What the manifest counts on, in files that are not there, is lost.
    fn give_up_missing(&mut self, files: &[JournalFile]) {
        let mut damage = Vec::new();
        for state in self.core.queues.iter_mut().flatten() {
            let missing: Vec<u64> = (state.journal.iter().map(|set| set.file))
                .filter(|number| !files.iter().any(|file| file.number == *number))
                .collect();
            for number in missing {
                let lost = state.give_up(number);
                if lost > 0 {
                    damage.push(Damage {
                        file: format!("journal file number {number}"),
                        offset: 0,
                        queue: Some(state.id),
                        lost_records: Some(lost),
                        what: "records are in this journal file, which is missing".into(),
                    });
                }
            }
        }
        damage.into_iter().for_each(|damage| self.core.report(damage));
    }

    fn replay_file(&mut self, file: &JournalFile, next_start: Option<u64>) -> Result<bool, StoreError> {
        let mut scan = FileScan::open(self.storage, &file.name)?;
        scan.expect(file.number, file.nonce);
        let mut damaged = file.offset > 0;
        if damaged {
            self.report(&file.name, 0, "the file's first groups are not readable".into());
            scan.offset = file.offset;
            self.position = None;
        }
        loop {
            damaged |= self.replay_groups(&mut scan)?;
            let (offset, position) = (scan.offset, self.position.unwrap_or(0));
            if next_start.is_some_and(|start| start == position) {
                return Ok(damaged);
            }
            if scan.resync(position)?.is_some() {
                let what = format!("groups up to offset {} are not readable", scan.offset);
                self.report(&file.name, offset, what);
                self.position = None;
                damaged = true;
                continue;
            }
            if next_start.is_some() {
                self.report(&file.name, offset, "groups at the file's end are missing".into());
                self.position = None;
                return Ok(true);
            }
            self.note_tail(&mut scan, offset)?;
            return Ok(damaged);
        }
    }

    /// Replays groups as long as they are valid and continue each other.
    fn replay_groups(&mut self, scan: &mut FileScan) -> Result<bool, StoreError> {
        let mut damaged = false;
        let name = scan.name.clone();
        loop {
            let offset = scan.offset;
            let Some((header, body)) = scan.group()? else { return Ok(damaged) };
            if self.position.is_some_and(|position| position != header.start) {
                self.report(&name, offset, format!("groups up to position {} are missing", header.start));
                damaged = true;
            }
            self.position = Some(header.end);
            let all = header.end > self.from;
            self.groups_replayed += u64::from(all);
            if all || header.end > self.held_from {
                self.apply(header, all, body, &name, offset)?;
            }
        }
    }

    /// Applies a group, or only what it says of shelves.
    fn apply(
        &mut self,
        header: GroupHeader,
        all: bool,
        body: &[u8],
        name: &str,
        offset: u64,
    ) -> Result<(), StoreError> {
        for op in Ops::new(body) {
            match op {
                Ok(Op::Held(_)) if header.end <= self.held_from => {}
                Ok(Op::Held(op)) => self.core.replay_held(op),
                Ok(op) if all => self.core.replay(header.file, op),
                Ok(_) => {}
                Err(OpError::Unknown { version, .. }) => {
                    let found = VERSION.max(u16::from(version)).saturating_add(1);
                    return Err(StoreError::NewerFormat { file: name.into(), found, supported: VERSION });
                }
                Err(OpError::Malformed) => self.report(name, offset, "a malformed operation".into()),
            }
        }
        Ok(())
    }

    fn note_tail(&mut self, scan: &mut FileScan, offset: u64) -> Result<(), StoreError> {
        if scan.begins_a_group(offset)? {
            tracing::warn!(file = %scan.name, offset, "cut a torn tail: the last commit was not finished");
            self.torn_tail = Some((scan.name.clone(), offset));
        }
        Ok(())
    }

    fn report(&mut self, file: &str, offset: u64, what: String) {
        self.core.report(Damage { file: file.to_owned(), offset, queue: None, lost_records: None, what });
    }

    /// `clean`: the manifest says that the store had been closed in order.
    pub(crate) fn finish(self, next_file: u64, clean: bool) -> Replayed {
        let mut core = self.core;
        let written_to = self.position.unwrap_or(self.from);
        let position = written_to.max(self.from);
        core.pending.file = next_file;
        core.pending.start = position;
        core.pending.end = position;
        core.committed = position;
        let clean = clean && self.groups_replayed == 0;
        if !clean {
            for state in core.queues.iter_mut().flatten() {
                state.redelivered_up_to = state.max_seq;
            }
        }
        Replayed { core, torn_tail: self.torn_tail, clean, written_to }
    }
}

impl Core {
    fn replay(&mut self, file: u64, op: Op<'_>) {
        match op {
            Op::Append(append) => {
                for (id, seq) in append.targets() {
                    self.replay_append(file, id, seq, append.body.len());
                }
            }
            Op::Settle { queue, ranges } => {
                for (first, count) in ranges {
                    self.replay_settle(queue, first, count);
                }
            }
            Op::Purge { queue, up_to, keep } => self.apply_purge(queue, up_to, &keep.collect::<Vec<_>>()),
            Op::Delete { queue } => self.apply_delete(queue),
            Op::Mark { queue, marks } => {
                if let Some(state) = self.queue_by_id(queue) {
                    state.marks.extend(marks);
                }
            }
            Op::Held(op) => self.replay_held(op),
        }
    }

    fn replay_append(&mut self, file: u64, id: QueueId, seq: u64, body_bytes: usize) {
        let queue = self.open_queue(id);
        if let Some(state) = self.queue(queue) {
            // It is here twice when the journal was being shortened.
            state.journal_remove(seq);
            if !state.in_segment(seq) {
                state.journal_insert(file, seq, body_bytes);
            }
        }
    }
}
