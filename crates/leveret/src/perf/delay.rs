//! How long each message of a test is held: a function of its mark, so that who receives it knows too.

use clap::ValueEnum;

use super::body::Mark;
use super::options::Options;

/// In which order the due times of one stream come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DelayOrder {
    /// In none.
    #[default]
    Random,
    /// Each a millisecond later than the one before.
    Ascending,
    /// Each a millisecond earlier.
    Descending,
}

/// The delays of a test, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delays {
    from_ms: u64,
    /// How many different ones there are.
    span_ms: u64,
    order: DelayOrder,
}

impl Delays {
    /// `None` where nothing is delayed.
    pub(super) fn of(options: &Options) -> Option<Self> {
        let from_ms = u64::from(options.delay?);
        let span_ms = options.delay_to.unwrap_or(from_ms).saturating_sub(from_ms) + 1;
        Some(Self { from_ms, span_ms, order: options.delay_order })
    }

    /// Whether all are the same.
    pub(super) fn is_one(&self) -> bool {
        self.span_ms == 1
    }

    /// The delay of a message.
    #[inline]
    pub(super) fn ms(&self, mark: &Mark) -> u64 {
        let place = match self.order {
            DelayOrder::Random => scattered(mark.number ^ u64::from(mark.stream) << 48),
            DelayOrder::Ascending => mark.number,
            DelayOrder::Descending => u64::MAX - mark.number,
        };
        self.from_ms + place % self.span_ms
    }
}

/// Neighbours go far apart (the last step of SplitMix64).
fn scattered(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_in_their_span_and_order() {
        let delays = |order| Delays { from_ms: 10, span_ms: 91, order };
        let row =
            |order| (0..90).map(|number| delays(order).ms(&Mark { sent_us: 0, stream: 1, number })).collect();
        let (up, down, random): (Vec<u64>, Vec<u64>, Vec<u64>) =
            (row(DelayOrder::Ascending), row(DelayOrder::Descending), row(DelayOrder::Random));
        assert!(up.windows(2).all(|two| two[0] + 1 == two[1] || two[1] == 10));
        assert!(down.windows(2).all(|two| two[0] == two[1] + 1 || two[0] == 10));
        assert!(random.iter().all(|ms| (10..=100).contains(ms)) && !random.is_sorted());
    }
}
