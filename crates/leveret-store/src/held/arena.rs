//! Memory for the bodies of held records: chunks filled one after another, each free again once nothing in it lives.

use std::sync::Arc;

/// Where a body lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) chunk: u32,
    at: u32,
    pub(crate) len: u32,
}

/// Chunks by their number, shared with whoever writes them to a file.
pub(crate) type Chunks = Vec<Arc<Vec<u8>>>;

#[derive(Default)]
pub(crate) struct Arena {
    chunks: Vec<Chunk>,
    /// Numbers of chunks without memory.
    free: Vec<u32>,
    current: Option<u32>,
    size_bytes: usize,
}

/// Chunks that are free. The system is not asked for memory, and given it back, for each table anew.
#[derive(Default)]
pub(crate) struct Spare {
    chunks: Vec<Vec<u8>>,
    was_used: bool,
}

impl Spare {
    fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        self.was_used = true;
        self.chunks.pop_if(|chunk| chunk.capacity() >= bytes)
    }

    /// What there is, where nothing was taken since the last call.
    pub(crate) fn unused(&mut self) -> Vec<Vec<u8>> {
        if std::mem::take(&mut self.was_used) { Vec::new() } else { std::mem::take(&mut self.chunks) }
    }
}

struct Chunk {
    bytes: Arc<Vec<u8>>,
    live: u32,
}

impl Place {
    pub(crate) fn of(self, chunks: &[Arc<Vec<u8>>]) -> &[u8] {
        &chunks[self.chunk as usize][self.at as usize..(self.at + self.len) as usize]
    }
}

impl Arena {
    /// Memory taken, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    pub(crate) fn get(&self, place: Place) -> &[u8] {
        let bytes = &self.chunks[place.chunk as usize].bytes;
        &bytes[place.at as usize..(place.at + place.len) as usize]
    }

    /// The chunks as they are now.
    pub(crate) fn chunks(&self) -> Chunks {
        self.chunks.iter().map(|chunk| Arc::clone(&chunk.bytes)).collect()
    }

    /// Keeps a body; a new chunk is so large at least.
    pub(crate) fn put(&mut self, parts: &[&[u8]], chunk_bytes: usize, spare: &mut Spare) -> Place {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let number = self.with_room(len, chunk_bytes, spare);
        let chunk = &mut self.chunks[number as usize];
        chunk.live += 1;
        // Only arenas that are not filled any more share their chunks.
        let bytes = Arc::make_mut(&mut chunk.bytes);
        let at = bytes.len() as u32;
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Place { chunk: number, at, len: len as u32 }
    }

    fn with_room(&mut self, len: usize, chunk_bytes: usize, spare: &mut Spare) -> u32 {
        if let Some(number) = self.current {
            let bytes = &self.chunks[number as usize].bytes;
            if bytes.capacity() - bytes.len() >= len {
                return number;
            }
            self.current = None;
            self.release_if_empty(number);
        }
        let size = len.max(chunk_bytes);
        let bytes = Arc::new(spare.take(size).unwrap_or_else(|| Vec::with_capacity(size)));
        self.size_bytes += bytes.capacity();
        let chunk = Chunk { bytes, live: 0 };
        let number = match self.free.pop() {
            Some(number) => {
                self.chunks[number as usize] = chunk;
                number
            }
            None => {
                self.chunks.push(chunk);
                (self.chunks.len() - 1) as u32
            }
        };
        self.current = Some(number);
        number
    }

    /// Gives back the chunks that nobody else shares, until so many bytes are spare; returns the rest.
    pub(crate) fn give_back(self, spare: &mut Spare, most_bytes: usize) -> Vec<Vec<u8>> {
        let mut superfluous = Vec::new();
        let mut kept: usize = spare.chunks.iter().map(Vec::capacity).sum();
        for mut chunk in self.chunks.into_iter().filter_map(|chunk| Arc::into_inner(chunk.bytes)) {
            if chunk.capacity() == 0 {
                continue;
            }
            kept += chunk.capacity();
            chunk.clear();
            if kept <= most_bytes { spare.chunks.push(chunk) } else { superfluous.push(chunk) }
        }
        superfluous
    }

    pub(crate) fn free(&mut self, place: Place) {
        self.chunks[place.chunk as usize].live -= 1;
        self.release_if_empty(place.chunk);
    }

    fn release_if_empty(&mut self, number: u32) {
        let chunk = &mut self.chunks[number as usize];
        if chunk.live > 0 {
            return;
        }
        if self.current == Some(number) {
            Arc::make_mut(&mut chunk.bytes).clear();
            return;
        }
        self.size_bytes -= chunk.bytes.capacity();
        chunk.bytes = Arc::default();
        self.free.push(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK_BYTES: usize = 64 << 10;

    #[test]
    fn what_is_freed_is_used_again() {
        let (mut arena, mut spare) = (Arena::default(), Spare::default());
        for round in 0..1000_u32 {
            let body = vec![round as u8; 3000];
            let places: Vec<_> = (0..100)
                .map(|_| arena.put(&[&body[..1000], &body[1000..]], CHUNK_BYTES, &mut spare))
                .collect();
            assert!(places.iter().all(|place| arena.get(*place) == body));
            places.into_iter().for_each(|place| arena.free(place));
        }
        assert!(arena.size_bytes() <= 6 * CHUNK_BYTES && arena.chunks.len() <= 8);
    }

    #[test]
    fn what_is_given_back_is_used_again_and_given_up_when_nobody_does() {
        let (mut arena, mut spare) = (Arena::default(), Spare::default());
        for _ in 0..4 {
            arena.put(&[&[7; CHUNK_BYTES][..]], CHUNK_BYTES, &mut spare);
        }
        let superfluous = std::mem::take(&mut arena).give_back(&mut spare, 3 * CHUNK_BYTES);
        assert_eq!((spare.chunks.len(), superfluous.len()), (3, 1), "no more than was asked for");
        let place = arena.put(&[&[8; 10][..]], CHUNK_BYTES, &mut spare);
        assert_eq!((spare.chunks.len(), arena.get(place)), (2, &[8; 10][..]));
        assert_eq!((spare.unused().len(), spare.unused().len()), (0, 2));
    }
}
