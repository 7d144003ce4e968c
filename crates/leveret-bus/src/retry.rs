//! When a failed message comes back. Arithmetic, and chance where jitter is wanted: no clock, no broker.

use std::time::Duration;

/// How many attempts a message gets, and how long the pause before each further one is.
///
/// ```
/// use std::time::Duration;
/// use leveret_bus::RetryPolicy;
///
/// let policy = RetryPolicy::exponential(Duration::from_secs(3)).with_attempts(5);
/// assert_eq!(policy.delay_after(1), Some(Duration::from_secs(3)));
/// assert_eq!(policy.delay_after(4), Some(Duration::from_secs(24)));
/// assert_eq!(policy.delay_after(5), None); // parked
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    growth: Growth,
    attempts: u32,
    jitter: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Growth {
    Exponential { first: Duration, factor: f64, cap: Duration },
    List(Vec<Duration>),
}

impl Default for RetryPolicy {
    /// Ten attempts, after 1 s, 2 s, 4 s and so on up to 5 minutes.
    fn default() -> Self {
        Self::exponential(Duration::from_secs(1)).with_cap(Duration::from_secs(300)).with_attempts(10)
    }
}

impl RetryPolicy {
    /// No second attempt: what fails is parked.
    pub fn none() -> Self {
        Self::list([])
    }

    /// The same pause before every attempt; five attempts unless set otherwise.
    pub fn fixed(delay: Duration) -> Self {
        Self::exponential(delay).with_factor(1.0)
    }

    /// A pause that doubles each time; five attempts and no cap unless set otherwise.
    pub fn exponential(first: Duration) -> Self {
        Self {
            growth: Growth::Exponential { first, factor: 2.0, cap: Duration::MAX },
            attempts: 5,
            jitter: 0.0,
        }
    }

    /// Exactly these pauses: one attempt more than there are pauses.
    pub fn list(delays: impl IntoIterator<Item = Duration>) -> Self {
        let delays: Vec<_> = delays.into_iter().collect();
        let attempts = u32::try_from(delays.len()).unwrap_or(u32::MAX).saturating_add(1);
        Self { growth: Growth::List(delays), attempts, jitter: 0.0 }
    }

    /// Sets what each pause is multiplied by to give the next (default 2). Below 1, NaN: taken as 1. A list
    /// has no factor.
    pub fn with_factor(mut self, new: f64) -> Self {
        if let Growth::Exponential { factor, .. } = &mut self.growth {
            *factor = new.max(1.0);
        }
        self
    }

    /// Sets the longest pause (default none). A list has no cap.
    pub fn with_cap(mut self, new: Duration) -> Self {
        if let Growth::Exponential { cap, .. } = &mut self.growth {
            *cap = new;
        }
        self
    }

    /// Sets how often a message is tried in all, at least once. A list is cut or repeats its last pause.
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Makes each pause longer by chance, by up to this share of it (0.2: up to a fifth; default 0), so that what failed
    /// together does not come back together. Below 0, NaN: taken as 0.
    pub fn with_jitter(mut self, share: f64) -> Self {
        self.jitter = share.max(0.0);
        self
    }

    /// How often a message is tried in all.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The pause after the given number of failures, with jitter by chance.
    pub(crate) fn draw(&self, failures: u32) -> Option<Duration> {
        let delay = self.delay_after(failures)?;
        let longer = delay.as_secs_f64() * (1.0 + self.jitter * fastrand::f64());
        Some(if self.jitter > 0.0 {
            Duration::try_from_secs_f64(longer).unwrap_or(Duration::MAX)
        } else {
            delay
        })
    }

    /// The pause after the given number of failures, counted from 1 and without jitter; `None` when there is no attempt
    /// left.
    pub fn delay_after(&self, failures: u32) -> Option<Duration> {
        if failures >= self.attempts {
            return None;
        }
        let step = failures.saturating_sub(1);
        Some(match &self.growth {
            Growth::Exponential { first, factor, cap } => grown(*first, *factor, step).min(*cap),
            Growth::List(delays) => *delays.get(step as usize).or(delays.last())?,
        })
    }
}

fn grown(first: Duration, factor: f64, steps: u32) -> Duration {
    let scale = factor.powf(f64::from(steps));
    Duration::try_from_secs_f64(first.as_secs_f64() * scale).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(policy: &RetryPolicy) -> Vec<u64> {
        (1..)
            .map_while(|failures| policy.delay_after(failures))
            .map(|delay| delay.as_secs())
            .take(20)
            .collect()
    }

    #[test]
    fn exponential_doubles_up_to_the_cap() {
        let policy = RetryPolicy::exponential(Duration::from_secs(3)).with_attempts(5);
        assert_eq!(secs(&policy), [3, 6, 12, 24]);
        assert_eq!(secs(&policy.with_cap(Duration::from_secs(10))), [3, 6, 10, 10]);
    }

    #[test]
    fn fixed_and_list() {
        assert_eq!(secs(&RetryPolicy::fixed(Duration::from_secs(2)).with_attempts(4)), [2, 2, 2]);
        let list = RetryPolicy::list([1, 5].map(Duration::from_secs));
        assert_eq!(secs(&list), [1, 5]);
        assert_eq!(secs(&list.with_attempts(5)), [1, 5, 5, 5]);
    }

    #[test]
    fn jitter_makes_pauses_longer_and_different() {
        let policy = RetryPolicy::fixed(Duration::from_secs(10)).with_jitter(0.5);
        let drawn: Vec<_> = (0..50).map(|_| policy.draw(1).unwrap()).collect();
        assert!(drawn.iter().all(|delay| (10.0..=15.0).contains(&delay.as_secs_f64())));
        assert!(drawn.iter().any(|delay| *delay != drawn[0]));
        assert_eq!(policy.with_jitter(f64::NAN).draw(1), Some(Duration::from_secs(10)));
    }

    #[test]
    fn none_parks_at_once() {
        assert_eq!(RetryPolicy::none().delay_after(1), None);
        assert_eq!(RetryPolicy::none().with_attempts(3).delay_after(1), None);
    }

    #[test]
    fn huge_growth_saturates() {
        let policy =
            RetryPolicy::exponential(Duration::from_secs(3)).with_factor(1e9).with_attempts(u32::MAX);
        assert_eq!(policy.delay_after(1_000_000), Some(Duration::MAX));
    }
}
