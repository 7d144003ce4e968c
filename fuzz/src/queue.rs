//! Any operations on a queue, which has to stay what its model is.

#[path = "../../crates/leveret-broker/tests/support/kept.rs"]
mod kept;
#[path = "../../crates/leveret-broker/tests/support/letterbox.rs"]
mod letterbox;
#[path = "../../crates/leveret-broker/tests/support/model.rs"]
mod model;
#[path = "../../crates/leveret-broker/tests/support/run.rs"]
mod run;

use arbitrary::{Result, Unstructured};
use leveret_broker::Settlement;

use crate::Worth;
use run::{Run, Setup, Step};

/// More than this is more of the same.
const STEPS: usize = 200;

/// Fuzzes with these bytes.
pub fn fuzz(bytes: &[u8]) -> Worth {
    play(&mut Unstructured::new(bytes)).into()
}

fn play(bytes: &mut Unstructured<'_>) -> Result<()> {
    let mut run = Run::new(setup(bytes)?);
    for _ in 0..STEPS {
        if bytes.is_empty() {
            break;
        }
        run.step(step(bytes)?);
    }
    Ok(())
}

fn setup(bytes: &mut Unstructured<'_>) -> Result<Setup> {
    let quorum = if bytes.ratio(1, 4)? { Some(bytes.int_in_range(0..=3)?) } else { None };
    let max_priority = if quorum.is_none() && bytes.arbitrary()? { 4 } else { 0 };
    // A store takes a hundred times as long.
    Ok(Setup { stored: bytes.ratio(1, 16)?, max_priority, single_active: bytes.arbitrary()?, quorum })
}

fn step(bytes: &mut Unstructured<'_>) -> Result<Step> {
    Ok(match bytes.int_in_range(0..=9)? {
        0 => Step::Consume {
            no_ack: bytes.arbitrary()?,
            prefetch: bytes.int_in_range(0..=19)?,
            room: bytes.int_in_range(0..=49)?,
            priority: bytes.int_in_range(-1..=1)?,
        },
        1 => Step::Cancel { nth: bytes.int_in_range(0..=3)? },
        2 => Step::Get { no_ack: bytes.arbitrary()? },
        3 | 4 => Step::Settle {
            nth: bytes.int_in_range(0..=49)?,
            count: bytes.int_in_range(1..=29)?,
            settlement: *bytes.choose(&[
                Settlement::Acked,
                Settlement::Requeued,
                Settlement::PutBack,
                Settlement::Rejected,
            ])?,
        },
        5 => Step::MakeRoom { nth: bytes.int_in_range(0..=3)?, room: bytes.int_in_range(1..=99)? },
        6 => Step::Wait { ms: bytes.int_in_range(0..=39)? },
        7 => Step::SetRules {
            ttl_ms: ms(bytes)?,
            max_length: if bytes.arbitrary()? { Some(bytes.int_in_range(0..=29)?) } else { None },
            rejects: bytes.arbitrary()?,
        },
        8 => {
            if bytes.arbitrary()? {
                Step::Purge
            } else {
                Step::Restart
            }
        }
        _ => Step::Publish {
            count: bytes.int_in_range(1..=11)?,
            large: bytes.ratio(1, 10)?,
            priority: bytes.int_in_range(0..=5)?,
            expiration_ms: ms(bytes)?,
            persistent: bytes.arbitrary()?,
        },
    })
}

fn ms(bytes: &mut Unstructured<'_>) -> Result<Option<u64>> {
    Ok(if bytes.ratio(1, 5)? { Some(bytes.int_in_range(0..=49)?) } else { None })
}
