//! Which messages came: one bit each, so that every loss and every duplicate is found.

use super::body::Mark;

/// What came to one consumer, or, merged, to all.
#[derive(Debug, Default)]
pub(super) struct Tally {
    streams: Vec<Stream>,
    /// Messages that came, each counted once.
    pub(super) received: u64,
    /// Messages that came again without the redelivered flag.
    pub(super) duplicated: u64,
    /// Deliveries with the redelivered flag.
    pub(super) redelivered: u64,
    /// Messages with a lower number than one of their stream that came before to the same consumer.
    pub(super) out_of_order: u64,
    /// Deliveries that nobody in this test has sent.
    pub(super) foreign: u64,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    seen: Vec<u64>,
    next: u64,
}

impl Stream {
    /// True where the number is new.
    #[inline]
    fn mark(&mut self, number: u64) -> bool {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if word >= self.seen.len() {
            self.seen.resize((word + 1).max(self.seen.len() * 2), 0);
        }
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        new
    }
}

impl Tally {
    /// A tally of so many streams.
    pub(super) fn new(streams: usize) -> Self {
        Self { streams: vec![Stream::default(); streams], ..Self::default() }
    }

    /// Counts a delivery; true where its message is new.
    #[inline]
    pub(super) fn count(&mut self, mark: &Mark, redelivered: bool) -> bool {
        let Some(stream) = self.streams.get_mut(usize::from(mark.stream)) else {
            self.foreign += 1;
            return false;
        };
        self.redelivered += u64::from(redelivered);
        if !stream.mark(mark.number) {
            self.duplicated += u64::from(!redelivered);
            return false;
        }
        self.received += 1;
        if mark.number < stream.next {
            self.out_of_order += u64::from(!redelivered);
        } else {
            stream.next = mark.number + 1;
        }
        true
    }

    /// Adds what came to another consumer. What came to both counts as duplicated, as far as it was not flagged.
    pub(super) fn merge(&mut self, other: &Self) {
        let streams = self.streams.iter_mut().zip(&other.streams);
        let twice: u64 = streams.map(|(ours, theirs)| ours.merge(theirs)).sum();
        self.received += other.received - twice;
        self.redelivered += other.redelivered;
        self.duplicated += other.duplicated + twice.saturating_sub(self.redelivered);
        self.out_of_order += other.out_of_order;
        self.foreign += other.foreign;
    }
}

impl Stream {
    /// Adds the other's bits; returns how many were here already.
    fn merge(&mut self, other: &Self) -> u64 {
        self.seen.resize(self.seen.len().max(other.seen.len()), 0);
        let both = self.seen.iter().zip(&other.seen).map(|(a, b)| u64::from((a & b).count_ones())).sum();
        self.seen.iter_mut().zip(&other.seen).for_each(|(a, b)| *a |= b);
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(stream: u16, number: u64) -> Mark {
        Mark { sent_us: 0, stream, number }
    }

    #[test]
    fn every_message_is_accounted_for() {
        let mut tally = Tally::new(2);
        for number in [0, 1, 3, 2, 1] {
            tally.count(&mark(1, number), false);
        }
        tally.count(&mark(1, 3), true);
        tally.count(&mark(2, 0), false);
        assert_eq!((tally.received, tally.duplicated, tally.out_of_order), (4, 1, 1));
        assert_eq!((tally.redelivered, tally.foreign), (1, 1));
    }

    #[test]
    fn what_two_consumers_got_is_duplicated() {
        let (mut a, mut b) = (Tally::new(1), Tally::new(1));
        for number in [0, 1, 500] {
            a.count(&mark(0, number), false);
        }
        for number in [1, 2] {
            b.count(&mark(0, number), false);
        }
        a.merge(&b);
        assert_eq!((a.received, a.duplicated, a.out_of_order), (4, 1, 0));
    }
}
