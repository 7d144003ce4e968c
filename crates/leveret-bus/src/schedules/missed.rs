//! Which occurrence is run, and which comes next. Pure, with the time as an argument.

use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;

use crate::clock;
use crate::error::Error;

/// What becomes of occurrences at which no instance ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// All that were missed are run as one, the latest of them. The default.
    #[default]
    Once,
    /// Each is run, one after the other.
    Every,
    /// None is run that is later than this.
    Skip(Duration),
}

/// What to do about an occurrence that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The occurrence to run, if any.
    pub(super) run_ms: Option<i64>,
    /// The one after it.
    pub(super) next_ms: i64,
}

impl Missed {
    pub(super) fn turn(self, cron: &Cron, due_ms: i64, now_ms: i64) -> Result<Turn, Error> {
        let after_now_ms = next_after(cron, now_ms)?;
        Ok(match self {
            Self::Every => Turn { run_ms: Some(due_ms), next_ms: next_after(cron, due_ms)? },
            Self::Once => {
                Turn { run_ms: Some(latest_until(cron, now_ms).max(due_ms)), next_ms: after_now_ms }
            }
            Self::Skip(late) => {
                let latest_ms = latest_until(cron, now_ms).max(due_ms);
                let in_time = now_ms.saturating_sub(latest_ms) <= clock::ms(late);
                Turn { run_ms: in_time.then_some(latest_ms), next_ms: after_now_ms }
            }
        })
    }
}

/// The first occurrence after a time.
pub(super) fn next_after(cron: &Cron, ms: i64) -> Result<i64, Error> {
    let next = cron.find_next_occurrence(&time(ms), false);
    next.map(|next| next.timestamp_millis()).map_err(|error| Error::Cron(error.to_string()))
}

/// The last occurrence up to a time; the beginning of time where there is none.
fn latest_until(cron: &Cron, ms: i64) -> i64 {
    cron.find_previous_occurrence(&time(ms), true).map_or(i64::MIN, |previous| previous.timestamp_millis())
}

fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    /// A full hour.
    const T: i64 = 1_800_000_000_000;

    fn turn(missed: Missed, due_ms: i64, now_ms: i64) -> Turn {
        let every_minute: Cron = "* * * * *".parse().unwrap();
        missed.turn(&every_minute, due_ms, now_ms).unwrap()
    }

    fn expected(run_ms: impl Into<Option<i64>>, next_ms: i64) -> Turn {
        Turn { run_ms: run_ms.into(), next_ms }
    }

    #[test]
    fn in_time_all_are_the_same() {
        for missed in [Missed::Once, Missed::Every, Missed::Skip(Duration::from_secs(1))] {
            assert_eq!(turn(missed, T, T + 5), expected(T, T + MINUTE));
        }
    }

    #[test]
    fn ten_minutes_later_they_differ() {
        let now_ms = T + 10 * MINUTE + 2000;
        let (latest_ms, next_ms) = (T + 10 * MINUTE, T + 11 * MINUTE);
        assert_eq!(turn(Missed::Once, T, now_ms), expected(latest_ms, next_ms));
        assert_eq!(turn(Missed::Every, T, now_ms), expected(T, T + MINUTE));
        assert_eq!(turn(Missed::Skip(Duration::from_secs(1)), T, now_ms), expected(None, next_ms));
        assert_eq!(turn(Missed::Skip(Duration::from_secs(5)), T, now_ms), expected(latest_ms, next_ms));
    }
}
