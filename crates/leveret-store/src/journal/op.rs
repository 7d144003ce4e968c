//! Operations inside a group, see `docs/storage-format.md`: written into the gathering group, decoded in place.

use crate::{
    QueueId,
    held::{HeldKey, Hold, ShelfId},
    layout::{Fields, PutFields},
};

pub(crate) const VOID: u8 = 0;
const APPEND: u8 = 1;
const SETTLE: u8 = 2;
const PURGE: u8 = 3;
const DELETE: u8 = 4;
const HOLD: u8 = 5;
const TAKE: u8 = 6;
const CLEAR: u8 = 7;
const MARK: u8 = 8;
/// Of a clear: the shelf goes too.
const SHELF_GOES: u16 = 1;
const OP_VERSION: u8 = 1;

const KIND_AT: usize = 4;
const TARGETS_AT: usize = 8;
const LIVE_AT: usize = 12;
const BODY_LENGTH_AT: usize = 16;
const APPEND_HEADER: usize = 20;
const TARGET_BYTES: usize = 16;
/// What a hold takes beside the body.
pub(crate) const HOLD_HEADER: usize = 40;

/// One operation, decoded.
#[derive(Debug, Clone)]
pub(crate) enum Op<'a> {
    Append(AppendOp<'a>),
    Settle { queue: QueueId, ranges: Pairs<'a> },
    Purge { queue: QueueId, up_to: u64, keep: Seqs<'a> },
    Delete { queue: QueueId },
    Mark { queue: QueueId, marks: Pairs<'a> },
    Held(HeldOp<'a>),
}

/// What happened to a shelf.
#[derive(Debug, Clone)]
pub(crate) enum HeldOp<'a> {
    Hold { shelf: ShelfId, key: HeldKey, tag: u64, flags: u16, body: &'a [u8] },
    Take { shelf: ShelfId, taken: Triples<'a> },
    Clear { shelf: ShelfId, up_to: u64 },
    Delete { shelf: ShelfId },
}

#[derive(Debug, Clone)]
pub(crate) struct AppendOp<'a> {
    pub(crate) flags: u16,
    targets: Pairs<'a>,
    pub(crate) body: &'a [u8],
}

impl AppendOp<'_> {
    /// The queues and sequence numbers that were not void when the group was written.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (QueueId, u64)> {
        self.targets.clone().filter(|&(_, seq)| seq != 0).map(|(queue, seq)| (QueueId(queue), seq))
    }
}

/// Rows of two numbers.
#[derive(Debug, Clone)]
pub(crate) struct Pairs<'a>(Fields<'a>);

impl Iterator for Pairs<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        Some((self.0.u64()?, self.0.u64()?))
    }
}

/// Rows of three numbers.
#[derive(Debug, Clone)]
pub(crate) struct Triples<'a>(Fields<'a>);

impl Iterator for Triples<'_> {
    type Item = (u64, u64, u64);

    fn next(&mut self) -> Option<(u64, u64, u64)> {
        Some((self.0.u64()?, self.0.u64()?, self.0.u64()?))
    }
}

/// Rows of one number.
#[derive(Debug, Clone)]
pub(crate) struct Seqs<'a>(Fields<'a>);

impl Iterator for Seqs<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0.u64()
    }
}

/// What stands where an operation is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OpError {
    Malformed,
    Unknown { kind: u8, version: u8 },
}

/// The operations of a group in their order.
pub(crate) struct Ops<'a>(pub(crate) Fields<'a>);

impl<'a> Ops<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self(Fields(body))
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>, OpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let length = self.0.clone().u32().unwrap_or(0) as usize;
        let op = self.0.bytes(length).and_then(decode).unwrap_or(Err(OpError::Malformed));
        if op.is_err() {
            self.0 = Fields(&[]);
        }
        Some(op)
    }
}

fn decode(bytes: &[u8]) -> Option<Result<Op<'_>, OpError>> {
    let mut fields = Fields(bytes);
    fields.u32()?;
    let (kind, version) = (fields.u8()?, fields.u8()?);
    let flags = fields.u16()?;
    if version != OP_VERSION {
        return Some(Err(OpError::Unknown { kind, version }));
    }
    let op = match kind {
        APPEND => decode_append(flags, fields)?,
        SETTLE => Op::Settle { queue: QueueId(fields.u64()?), ranges: Pairs(fields) },
        PURGE => Op::Purge { queue: QueueId(fields.u64()?), up_to: fields.u64()?, keep: Seqs(fields) },
        DELETE => Op::Delete { queue: QueueId(fields.u64()?) },
        HOLD => Op::Held(decode_hold(flags, fields)?),
        TAKE => Op::Held(HeldOp::Take { shelf: ShelfId(fields.u64()?), taken: Triples(fields) }),
        CLEAR => Op::Held(decode_clear(flags, fields)?),
        MARK => Op::Mark { queue: QueueId(fields.u64()?), marks: Pairs(fields) },
        _ => return Some(Err(OpError::Unknown { kind, version })),
    };
    Some(Ok(op))
}

fn decode_append(flags: u16, mut fields: Fields<'_>) -> Option<Op<'_>> {
    let targets = fields.u32()? as usize;
    fields.u32()?;
    let body_bytes = fields.u32()? as usize;
    let targets = Pairs(Fields(fields.bytes(targets.checked_mul(TARGET_BYTES)?)?));
    Some(Op::Append(AppendOp { flags, targets, body: fields.bytes(body_bytes)? }))
}

fn decode_hold(flags: u16, mut fields: Fields<'_>) -> Option<HeldOp<'_>> {
    let shelf = ShelfId(fields.u64()?);
    let key = HeldKey { due: fields.u64()?, number: fields.u64()? };
    Some(HeldOp::Hold { shelf, key, tag: fields.u64()?, flags, body: fields.0 })
}

fn decode_clear(flags: u16, mut fields: Fields<'_>) -> Option<HeldOp<'_>> {
    let (shelf, up_to) = (ShelfId(fields.u64()?), fields.u64()?);
    Some(if flags & SHELF_GOES != 0 { HeldOp::Delete { shelf } } else { HeldOp::Clear { shelf, up_to } })
}

fn begin(out: &mut Vec<u8>, kind: u8, flags: u16) -> usize {
    let start = out.len();
    out.put_u32(0);
    out.put_u8(kind);
    out.put_u8(OP_VERSION);
    out.put_u16(flags);
    start
}

fn finish(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    out.set_u32(start, length as u32);
}

/// An append whose targets, then body, are still to come.
pub(crate) struct AppendWriter {
    start: usize,
    targets: u32,
}

impl AppendWriter {
    pub(crate) fn begin(out: &mut Vec<u8>, flags: u16) -> Self {
        let start = begin(out, APPEND, flags);
        out.resize(start + APPEND_HEADER, 0);
        Self { start, targets: 0 }
    }

    pub(crate) fn start(&self) -> usize {
        self.start
    }

    pub(crate) fn targets(&self) -> u32 {
        self.targets
    }

    pub(crate) fn target(&mut self, out: &mut Vec<u8>, queue: QueueId, seq: u64) {
        out.put_u64(queue.0);
        out.put_u64(seq);
        self.targets += 1;
    }

    pub(crate) fn finish(self, out: &mut Vec<u8>, body: &[&[u8]]) {
        let before = out.len();
        for part in body {
            out.extend_from_slice(part);
        }
        let body_bytes = out.len() - before;
        out.set_u32(self.start + TARGETS_AT, self.targets);
        out.set_u32(self.start + LIVE_AT, self.targets);
        out.set_u32(self.start + BODY_LENGTH_AT, body_bytes as u32);
        finish(out, self.start);
    }
}

/// Voids one target of the append at `start`. Returns the operation's length when that was its last one.
pub(crate) fn void_target(buffer: &mut Vec<u8>, start: usize, target: usize) -> Option<usize> {
    buffer.set_u64(start + APPEND_HEADER + target * TARGET_BYTES + 8, 0);
    let live = Fields(&buffer[start + LIVE_AT..]).u32().unwrap_or(0).saturating_sub(1);
    buffer.set_u32(start + LIVE_AT, live);
    if live > 0 {
        return None;
    }
    buffer[start + KIND_AT] = VOID;
    Fields(&buffer[start..]).u32().map(|length| length as usize)
}

/// Copies the operations that are not void.
pub(crate) fn copy_without_voids(mut from: &[u8], out: &mut Vec<u8>) {
    while let Some(length) = Fields(from).u32() {
        let (op, rest) = from.split_at(length as usize);
        if op[KIND_AT] != VOID {
            out.extend_from_slice(op);
        }
        from = rest;
    }
}

pub(crate) fn put_settle(out: &mut Vec<u8>, queue: QueueId, ranges: impl Iterator<Item = (u64, u64)>) {
    put_pairs(out, SETTLE, queue, ranges);
}

pub(crate) fn put_mark(out: &mut Vec<u8>, queue: QueueId, marks: impl Iterator<Item = (u64, u64)>) {
    put_pairs(out, MARK, queue, marks);
}

fn put_pairs(out: &mut Vec<u8>, kind: u8, queue: QueueId, pairs: impl Iterator<Item = (u64, u64)>) {
    let start = begin(out, kind, 0);
    out.put_u64(queue.0);
    for (first, second) in pairs {
        out.put_u64(first);
        out.put_u64(second);
    }
    finish(out, start);
}

pub(crate) fn put_purge(out: &mut Vec<u8>, queue: QueueId, up_to: u64, keep: &[u64]) {
    let start = begin(out, PURGE, 0);
    out.put_u64(queue.0);
    out.put_u64(up_to);
    keep.iter().for_each(|&seq| out.put_u64(seq));
    finish(out, start);
}

pub(crate) fn put_delete(out: &mut Vec<u8>, queue: QueueId) {
    let start = begin(out, DELETE, 0);
    out.put_u64(queue.0);
    finish(out, start);
}

pub(crate) fn put_hold(out: &mut Vec<u8>, hold: &Hold<'_>, number: u64) {
    let start = begin(out, HOLD, hold.flags);
    [hold.shelf.0, hold.due, number, hold.tag].iter().for_each(|&field| out.put_u64(field));
    hold.body.iter().for_each(|part| out.extend_from_slice(part));
    finish(out, start);
}

/// Adds to the operation at `open`, if that is the last one and of this shelf, else begins one; returns where it is.
pub(crate) fn put_take(
    out: &mut Vec<u8>,
    open: Option<(usize, usize, ShelfId)>,
    shelf: ShelfId,
    key: HeldKey,
    body_bytes: u64,
) -> (usize, usize, ShelfId) {
    let start = match open {
        Some((start, end, of)) if end == out.len() && of == shelf => start,
        _ => {
            let start = begin(out, TAKE, 0);
            out.put_u64(shelf.0);
            start
        }
    };
    [key.due, key.number, body_bytes].iter().for_each(|&field| out.put_u64(field));
    finish(out, start);
    (start, out.len(), shelf)
}

pub(crate) fn put_clear(out: &mut Vec<u8>, shelf: ShelfId, up_to: u64, shelf_goes: bool) {
    let start = begin(out, CLEAR, if shelf_goes { SHELF_GOES } else { 0 });
    out.put_u64(shelf.0);
    out.put_u64(up_to);
    finish(out, start);
}
