//! The way back when no manifest is readable: all records of all durable segments are taken as living.

use crate::{
    Damage, QueueId, StoreError,
    core::Core,
    queue::QueueState,
    segment::{
        Extent, Segment,
        block::{BlockRecords, FILE_HEADER_BYTES},
        cursor::{BlockCursor, Found},
        parse_name,
    },
    seq_set::SeqSet,
    storage::Storage,
};

const READ_BYTES: usize = 1 << 20;

pub(crate) fn from_segments(
    storage: &dyn Storage,
    names: &[String],
    invalid: &[String],
    core: &mut Core,
) -> Result<(), StoreError> {
    let file = invalid.first().cloned().unwrap_or_else(|| manifest_name().into());
    let what = "no manifest is readable: the state was rebuilt from segments and journal; settled records may be back";
    core.report(Damage { file, offset: 0, queue: None, lost_records: None, what: what.into() });
    for name in names {
        if let Some((id, number, false)) = parse_name(name) {
            let queue = core.open_queue(id);
            let (segment, damage) = read_segment(storage, name, id, number)?;
            damage.into_iter().for_each(|damage| core.report(damage));
            if let Some(state) = core.queue(queue) {
                take(state, segment);
            }
        }
    }
    Ok(())
}

fn manifest_name() -> &'static str {
    crate::manifest::NAMES[0]
}

fn take(state: &mut QueueState, mut segment: Segment) {
    state.max_seq = state.max_seq.max(segment.extent.last);
    // A segment and the one that compaction has made of it may both be there.
    let twice: Vec<u64> = segment.live.iter().filter(|&seq| state.in_segment(seq)).collect();
    twice.into_iter().for_each(|seq| {
        segment.live.remove(seq);
    });
    if !segment.live.is_empty() {
        state.insert_segment(segment);
    }
}

fn read_segment(
    storage: &dyn Storage,
    name: &str,
    queue: QueueId,
    number: u64,
) -> Result<(Segment, Vec<Damage>), StoreError> {
    let file = storage.open(name, false).map_err(|error| StoreError::io("open", name, error))?;
    let size_bytes = file.size_bytes().map_err(|error| StoreError::io("measure", name, error))?;
    let mut cursor = BlockCursor::new(name.to_owned(), file, 0, size_bytes, READ_BYTES, Vec::new());
    let (mut segment, mut damage) = (empty_segment(queue, number, size_bytes), Vec::new());
    while let Some(found) = cursor.next()? {
        match found {
            Found::Bad { offset, what } => {
                let file = name.to_owned();
                damage.push(Damage {
                    file,
                    offset,
                    queue: Some(queue),
                    lost_records: None,
                    what: what.into(),
                });
            }
            Found::Block { header, offset } => {
                take_block(&mut segment, &cursor.block(offset)[..header.block_bytes()]);
            }
        }
    }
    segment.durable = segment.extent;
    segment.first = segment.live.first().unwrap_or(0);
    segment.damaged = !damage.is_empty();
    Ok((segment, damage))
}

fn take_block(segment: &mut Segment, block: &[u8]) {
    for record in BlockRecords::new(block) {
        segment.live.insert(record.seq);
        segment.extent.records += 1;
        segment.extent.body_bytes += record.body.len() as u64;
        segment.extent.last = segment.extent.last.max(record.seq);
    }
}

fn empty_segment(queue: QueueId, number: u64, size_bytes: u64) -> Segment {
    Segment {
        number,
        queue,
        transient: false,
        extent: Extent { size_bytes, ..Extent::default() },
        durable: Extent::default(),
        first: 0,
        live: SeqSet::default(),
        file: None,
        appendable: false,
        busy: false,
        damaged: false,
        resume: (FILE_HEADER_BYTES as u64, 0),
    }
}
