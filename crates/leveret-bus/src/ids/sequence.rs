//! The arithmetic of snowflakes: a time that never goes back, and a count within it. Pure, with the clock as an
//! argument.

/// Bits of the count within a millisecond, and of the worker's id above them.
const STEP_BITS: u32 = 12;
pub(super) const WORKER_BITS: u32 = 10;
const STEPS: i64 = 1 << STEP_BITS;
/// Where time begins, 2010-11-04T01:42:54.657Z, as with the snowflakes of Twitter and of bwmarrin's Go library. It ends
/// 69 years later.
const EPOCH_MS: i64 = 1_288_834_974_657;

/// One worker's ids. Its time is the clock's, unless that went back or too many ids were wanted: then it stays, and
/// runs on by the count alone. It never reaches `bound_ms`, up to which the worker's id is reserved.
#[derive(Debug)]
pub(super) struct Sequence {
    worker: u16,
    /// Time and count of the next id at the earliest.
    time_ms: i64,
    step: i64,
    bound_ms: i64,
}

impl Sequence {
    /// Starts at `from_ms` at the earliest.
    pub(super) fn new(worker: u16, from_ms: i64, bound_ms: i64) -> Self {
        Self { worker, time_ms: from_ms, step: 0, bound_ms }
    }

    pub(super) fn worker(&self) -> u16 {
        self.worker
    }

    /// The next id; `None` when what is reserved has been used up.
    pub(super) fn next(&mut self, now_ms: i64) -> Option<i64> {
        if now_ms > self.time_ms {
            (self.time_ms, self.step) = (now_ms, 0);
        }
        if self.time_ms >= self.bound_ms {
            return None;
        }
        let id = (self.time_ms - EPOCH_MS) << (STEP_BITS + WORKER_BITS)
            | i64::from(self.worker) << STEP_BITS
            | self.step;
        self.step += 1;
        if self.step == STEPS {
            (self.time_ms, self.step) = (self.time_ms + 1, 0);
        }
        Some(id)
    }

    /// Up to when times are to be reserved, so that there is a window from the next id on. Never less than was reserved
    /// before, though the clock went back: ids may be made up to there.
    pub(super) fn next_bound_ms(&self, now_ms: i64, window_ms: i64) -> i64 {
        (now_ms.max(self.time_ms) + window_ms).max(self.bound_ms)
    }

    pub(super) fn reserve(&mut self, bound_ms: i64) {
        self.bound_ms = bound_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_800_000_000_000;

    #[test]
    fn ids_grow_even_when_the_clock_steps_back() {
        let mut sequence = Sequence::new(1023, T, T + 1000);
        let clock = [T, T + 5, T + 5, T - 3_600_000, T + 4, T + 6].into_iter();
        let ids: Vec<_> = clock.map(|now_ms| sequence.next(now_ms).unwrap()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    }

    #[test]
    fn more_than_fit_into_a_millisecond_run_ahead_of_the_clock() {
        let mut sequence = Sequence::new(0, T, T + 1000);
        let mut last = 0;
        for _ in 0..3 * STEPS {
            let id = sequence.next(T).unwrap();
            assert!(id > last);
            last = id;
        }
        assert_eq!(sequence.next_bound_ms(T, 10_000), T + 3 + 10_000);
    }

    #[test]
    fn what_is_reserved_stays_reserved_when_the_clock_steps_back() {
        let mut sequence = Sequence::new(7, T, T + 60_000);
        assert!(sequence.next(T + 5).is_some());
        assert_eq!(sequence.next_bound_ms(T - 3_600_000, 60_000), T + 60_005);
        let idle = Sequence::new(7, T - 3_600_000, T + 60_000);
        assert_eq!(idle.next_bound_ms(T - 3_600_000, 60_000), T + 60_000);
    }

    #[test]
    fn it_stops_at_what_is_reserved() {
        let mut sequence = Sequence::new(7, T, T + 2);
        assert!(sequence.next(T + 1).is_some());
        assert_eq!(sequence.next(T + 2), None);
        sequence.reserve(T + 3);
        assert!(sequence.next(T + 2).is_some());
    }

    #[test]
    fn the_parts_are_where_others_expect_them() {
        let id = Sequence::new(5, T, T + 1).next(T).unwrap();
        assert_eq!((id >> 22) + 1_288_834_974_657, T);
        assert_eq!(((id >> 12) & 1023, id & 4095), (5, 0));
    }
}
