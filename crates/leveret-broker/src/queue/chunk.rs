//! Memory of a queue's small messages: they are copied one after another into chunks, and a chunk is given back
//! when its last message is gone. Chunks grow with the queue, so that an idle queue holds none.

use std::collections::VecDeque;

const SMALLEST: usize = 4 << 10;
const LARGEST: usize = 256 << 10;

/// Chunks in the order in which they were begun. Only the last one takes messages.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    chunks: VecDeque<Chunk>,
    /// Number of the first chunk in `chunks`.
    first: u32,
    /// Capacity of the last chunk that was made, in bytes.
    last_capacity: usize,
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    live: u32,
}

/// Where a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    chunk: u32,
    offset: u32,
}

impl Chunks {
    // Inlined, since it happens once a message.
    /// Copies the parts one after another.
    #[inline(always)]
    pub(super) fn store(&mut self, parts: [&[u8]; 4]) -> Place {
        let len = parts.iter().map(|part| part.len()).sum();
        let fits = self.chunks.back().is_some_and(|last| last.bytes.capacity() - last.bytes.len() >= len);
        if !fits {
            self.begin_chunk(len);
        }
        let number = self.first.wrapping_add(self.chunks.len() as u32 - 1);
        let Some(last) = self.chunks.back_mut() else { unreachable!("a chunk was just begun") };
        let offset = last.bytes.len() as u32;
        for part in parts {
            last.bytes.extend_from_slice(part);
        }
        last.live += 1;
        Place { chunk: number, offset }
    }

    /// The `len` bytes at `place`.
    #[inline]
    pub(super) fn bytes(&self, place: Place, len: usize) -> &[u8] {
        let chunk = &self.chunks[place.chunk.wrapping_sub(self.first) as usize];
        &chunk.bytes[place.offset as usize..][..len]
    }

    /// Lets go of the message at `place`.
    #[inline]
    pub(super) fn release(&mut self, place: Place) {
        let index = place.chunk.wrapping_sub(self.first) as usize;
        let chunk = &mut self.chunks[index];
        chunk.live -= 1;
        if chunk.live == 0 {
            self.reclaim(index);
        }
    }

    fn begin_chunk(&mut self, len: usize) {
        let capacity = (self.last_capacity * 2).clamp(SMALLEST, LARGEST).max(len);
        self.last_capacity = capacity.min(LARGEST);
        self.chunks.push_back(Chunk { bytes: Vec::with_capacity(capacity), live: 0 });
    }

    /// The chunk in use is begun anew when it was well filled; all others are freed.
    fn reclaim(&mut self, index: usize) {
        let last = index + 1 == self.chunks.len();
        let bytes = &mut self.chunks[index].bytes;
        if last && bytes.capacity() > SMALLEST && bytes.len() >= bytes.capacity() / 4 {
            bytes.clear();
        } else {
            self.last_capacity = if last { bytes.capacity() / 4 } else { self.last_capacity };
            *bytes = Vec::new();
        }
        while self.chunks.front().is_some_and(|chunk| chunk.live == 0 && chunk.bytes.capacity() == 0) {
            self.chunks.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_chunks_are_freed() {
        let mut chunks = Chunks::default();
        let places: Vec<_> =
            (0..50_000u32).map(|n| chunks.store([b"route", &n.to_be_bytes(), &[7; 40], b""])).collect();
        for (n, place) in places.iter().enumerate() {
            assert_eq!(&chunks.bytes(*place, 49)[5..9], &(n as u32).to_be_bytes());
        }
        places.iter().rev().for_each(|place| chunks.release(*place));
        assert!(chunks.chunks.len() <= 1, "{} chunks left", chunks.chunks.len());
    }

    #[test]
    fn an_old_message_pins_its_own_chunk_only() {
        let mut chunks = Chunks::default();
        let old = chunks.store([b"old", b"", b"", b""]);
        for _ in 0..100_000 {
            let place = chunks.store([&[1; 100], b"", b"", b""]);
            chunks.release(place);
        }
        let held: usize = chunks.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
        assert!(held <= LARGEST + SMALLEST, "{held} bytes held");
        assert_eq!(chunks.bytes(old, 3), b"old");
    }

    #[test]
    fn an_empty_queue_that_was_quiet_holds_no_chunk() {
        let mut chunks = Chunks::default();
        let place = chunks.store([b"one", b"", b"", b""]);
        chunks.release(place);
        assert!(chunks.chunks.is_empty());
    }
}
