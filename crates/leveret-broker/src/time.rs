//! Time as the core sees it: a number that the caller passes in.

/// A moment, in microseconds since 1970. It never goes back while the broker runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// Later than all others.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `ms` milliseconds later, or the last one there is.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1000)))
    }
}
