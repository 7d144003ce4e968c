//! What a message's body says: when it was sent, in which stream, and which one of it. A stream is what one producer
//! publishes to one queue; its messages are numbered from 0.

/// Bytes of the mark at the start of every body.
pub(super) const MARK_BYTES: usize = 16;
/// Most streams there can be.
pub(super) const STREAMS_MAX: usize = 1 << 16;

const NUMBER_BITS: u32 = 48;

/// The first bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// When it was sent, in microseconds since the start of the test.
    pub(super) sent_us: u64,
    /// The stream it belongs to.
    pub(super) stream: u16,
    /// Its number in the stream.
    pub(super) number: u64,
}

impl Mark {
    #[inline]
    pub(super) fn encode(&self) -> [u8; MARK_BYTES] {
        let which = u64::from(self.stream) << NUMBER_BITS | self.number;
        (u128::from(self.sent_us) << 64 | u128::from(which)).to_be_bytes()
    }

    /// The mark of a body; `None` where it is too short to be one of ours.
    #[inline]
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mark = u128::from_be_bytes(*body.first_chunk()?);
        let which = mark as u64;
        Some(Self {
            sent_us: (mark >> 64) as u64,
            stream: (which >> NUMBER_BITS) as u16,
            number: which & ((1 << NUMBER_BITS) - 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back() {
        let mark = Mark { sent_us: 1 << 40, stream: 0xABCD, number: (1 << 48) - 1 };
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        assert_eq!(Mark::decode(&[0; 15]), None);
    }
}
