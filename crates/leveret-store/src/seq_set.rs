//! A set of sequence numbers: a plain range as long as it has no holes, else a row of small bitmaps. A queue that is filled and
//! emptied in order never leaves the range, which is what keeps a deep backlog out of memory.

use std::collections::VecDeque;

use crate::layout::{Fields, PutFields};

const WORDS: usize = 8;
const CHUNK: u64 = WORDS as u64 * 64;
const RANGE_MARK: u32 = u32::MAX;

#[derive(Debug, Clone, Default)]
pub(crate) struct SeqSet {
    form: Form,
    len: u64,
}

#[derive(Debug, Clone)]
enum Form {
    /// `first..first + len`.
    Range(u64),
    /// Sorted by base; none is empty.
    Chunks(VecDeque<Chunk>),
}

impl Default for Form {
    fn default() -> Self {
        Self::Range(0)
    }
}

#[derive(Debug, Clone)]
struct Chunk {
    base: u64,
    words: [u64; WORDS],
}

impl Chunk {
    fn new(base: u64) -> Self {
        Self { base, words: [0; WORDS] }
    }

    fn is_empty(&self) -> bool {
        self.words == [0; WORDS]
    }

    fn seqs(&self) -> impl Iterator<Item = u64> {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let start = self.base * CHUNK + index as u64 * 64;
            Bits(word).map(move |bit| start + u64::from(bit))
        })
    }
}

struct Bits(u64);

impl Iterator for Bits {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

fn place(seq: u64) -> (u64, usize, u64) {
    (seq / CHUNK, (seq % CHUNK / 64) as usize, 1 << (seq % 64))
}

impl SeqSet {
    pub(crate) fn range(first: u64, len: u64) -> Self {
        Self { form: Form::Range(first), len }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        match &self.form {
            Form::Range(first) => seq >= *first && seq - first < self.len,
            Form::Chunks(chunks) => {
                let (base, word, mask) = place(seq);
                find(chunks, base).is_ok_and(|index| chunks[index].words[word] & mask != 0)
            }
        }
    }

    pub(crate) fn insert(&mut self, seq: u64) -> bool {
        if let Form::Range(first) = self.form {
            if self.len == 0 {
                *self = Self::range(seq, 1);
                return true;
            }
            if seq == first + self.len {
                self.len += 1;
                return true;
            }
            if self.contains(seq) {
                return false;
            }
        }
        let inserted = set_bit(self.chunks(), seq);
        self.len += u64::from(inserted);
        inserted
    }

    pub(crate) fn remove(&mut self, seq: u64) -> bool {
        if self.len == 0 {
            return false;
        }
        if let Form::Range(first) = &mut self.form {
            if seq < *first || seq - *first >= self.len {
                return false;
            }
            if seq == *first || seq == *first + self.len - 1 {
                *first += u64::from(seq == *first);
                self.len -= 1;
                return true;
            }
        }
        let removed = clear_bit(self.chunks(), seq);
        self.len -= u64::from(removed);
        if self.len == 0 {
            *self = Self::default();
        }
        removed
    }

    /// The numbers in rising order.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match &self.form {
            Form::Range(first) => Box::new(*first..*first + self.len),
            Form::Chunks(chunks) => Box::new(chunks.iter().flat_map(Chunk::seqs)),
        }
    }

    pub(crate) fn first(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        match &self.form {
            Form::Range(first) => Some(*first),
            Form::Chunks(chunks) => chunks.front().and_then(|chunk| chunk.seqs().next()),
        }
    }

    /// The part from `from` to `to`, both included.
    pub(crate) fn part(&self, from: u64, to: u64) -> Self {
        if self.is_empty() || from > to {
            return Self::default();
        }
        match &self.form {
            Form::Range(first) => {
                let start = from.max(*first);
                let end = to.min(*first + self.len - 1);
                if start > end { Self::default() } else { Self::range(start, end - start + 1) }
            }
            Form::Chunks(chunks) => {
                let skip = chunks.partition_point(|chunk| chunk.base < from / CHUNK);
                let near = chunks.iter().skip(skip).take_while(|chunk| chunk.base <= to / CHUNK);
                near.flat_map(Chunk::seqs).filter(|&seq| seq >= from && seq <= to).collect()
            }
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match &self.form {
            Form::Range(first) => {
                out.put_u32(RANGE_MARK);
                out.put_u64(*first);
                out.put_u64((*first + self.len).wrapping_sub(1));
            }
            Form::Chunks(chunks) => {
                out.put_u32(chunks.len() as u32);
                for chunk in chunks {
                    out.put_u64(chunk.base);
                    chunk.words.iter().for_each(|&word| out.put_u64(word));
                }
            }
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let count = fields.u32()?;
        if count == RANGE_MARK {
            let first = fields.u64()?;
            let last = fields.u64()?;
            return Some(Self::range(first, last.wrapping_add(1).checked_sub(first)?));
        }
        let mut set = Self { form: Form::Chunks(VecDeque::new()), len: 0 };
        for _ in 0..count {
            let mut chunk = Chunk::new(fields.u64()?);
            for word in &mut chunk.words {
                *word = fields.u64()?;
                set.len += u64::from(word.count_ones());
            }
            set.chunks().push_back(chunk);
        }
        Some(set)
    }

    fn chunks(&mut self) -> &mut VecDeque<Chunk> {
        if let Form::Range(first) = self.form {
            self.form = Form::Chunks(chunks_of_range(first, self.len));
        }
        match &mut self.form {
            Form::Chunks(chunks) => chunks,
            Form::Range(_) => unreachable!("the form was changed above"),
        }
    }
}

impl FromIterator<u64> for SeqSet {
    fn from_iter<I: IntoIterator<Item = u64>>(seqs: I) -> Self {
        let mut set = Self::default();
        for seq in seqs {
            set.insert(seq);
        }
        set
    }
}

fn chunks_of_range(first: u64, len: u64) -> VecDeque<Chunk> {
    let end = first + len;
    let mut chunks = VecDeque::new();
    for base in first / CHUNK..end.div_ceil(CHUNK) {
        let mut chunk = Chunk::new(base);
        for (index, word) in chunk.words.iter_mut().enumerate() {
            let start = base * CHUNK + index as u64 * 64;
            *word = low_bits(end.saturating_sub(start)) & !low_bits(first.saturating_sub(start));
        }
        chunks.push_back(chunk);
    }
    chunks
}

fn low_bits(count: u64) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

fn find(chunks: &VecDeque<Chunk>, base: u64) -> Result<usize, usize> {
    match (chunks.front(), chunks.back()) {
        (_, Some(back)) if back.base == base => Ok(chunks.len() - 1),
        (_, Some(back)) if back.base < base => Err(chunks.len()),
        (Some(front), _) if front.base == base => Ok(0),
        _ => chunks.binary_search_by_key(&base, |chunk| chunk.base),
    }
}

fn set_bit(chunks: &mut VecDeque<Chunk>, seq: u64) -> bool {
    let (base, word, mask) = place(seq);
    let index = find(chunks, base).unwrap_or_else(|index| {
        chunks.insert(index, Chunk::new(base));
        index
    });
    let word = &mut chunks[index].words[word];
    let absent = *word & mask == 0;
    *word |= mask;
    absent
}

fn clear_bit(chunks: &mut VecDeque<Chunk>, seq: u64) -> bool {
    let (base, word, mask) = place(seq);
    let Ok(index) = find(chunks, base) else { return false };
    let chunk = &mut chunks[index];
    let present = chunk.words[word] & mask != 0;
    chunk.words[word] &= !mask;
    if present && chunk.is_empty() {
        chunks.remove(index);
    }
    present
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn agrees_with_a_btree_set() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut set = SeqSet::default();
        let mut model = BTreeSet::new();
        for round in 0..20_000 {
            let seq = 1 + random.u64(0..if round < 5_000 { 40 } else { 3_000 });
            if random.bool() {
                assert_eq!(set.insert(seq), model.insert(seq));
            } else {
                assert_eq!(set.remove(seq), model.remove(&seq));
            }
            assert_eq!(set.len(), model.len() as u64);
            assert_eq!(set.first(), model.first().copied());
            let probe = random.u64(0..3_100);
            assert_eq!(set.contains(probe), model.contains(&probe));
        }
        assert!(set.iter().eq(model.iter().copied()));
        assert!(set.part(100, 2_000).iter().eq(model.range(100..=2_000).copied()));
    }

    #[test]
    fn survives_encoding_as_range_and_as_chunks() {
        let sets = [SeqSet::default(), (5..900).collect(), (1..4_000).filter(|seq| seq % 3 == 0).collect()];
        for set in sets {
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            let mut fields = Fields(&bytes);
            let back = SeqSet::decode(&mut fields).expect("decodes");
            assert!(fields.is_empty() && back.iter().eq(set.iter()) && back.len() == set.len());
        }
    }

    #[test]
    fn in_order_use_stays_a_range() {
        let mut set = SeqSet::default();
        for seq in 1..100_000 {
            set.insert(seq);
            if seq > 1_000 {
                set.remove(seq - 1_000);
            }
        }
        assert!(matches!(set.form, Form::Range(_)));
    }
}
