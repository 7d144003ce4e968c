//! Any bindings of a topic exchange, and what they match, against the plain way to match.

#[path = "../../crates/leveret-broker/tests/support/topics.rs"]
mod topics;

use arbitrary::{Result, Unstructured};

use crate::Worth;
use topics::{QUEUES, Step, Topics};

/// Fuzzes with these bytes.
pub fn fuzz(bytes: &[u8]) -> Worth {
    run(&mut Unstructured::new(bytes)).into()
}

fn run(bytes: &mut Unstructured<'_>) -> Result<()> {
    let mut topics = Topics::new();
    while !bytes.is_empty() {
        let step = step(bytes)?;
        topics.step(step);
    }
    Ok(())
}

fn step(bytes: &mut Unstructured<'_>) -> Result<Step> {
    let queue = bytes.int_in_range(0..=QUEUES - 1)?;
    Ok(match bytes.int_in_range(0..=3)? {
        0 => Step::Bind { queue, pattern: text(bytes)? },
        1 => Step::Unbind { queue, pattern: text(bytes)? },
        _ => Step::Publish { key: text(bytes)? },
    })
}

/// Few words, so that they meet.
fn text(bytes: &mut Unstructured<'_>) -> Result<String> {
    let len = bytes.int_in_range(0..=6)?;
    let words: Result<Vec<&str>> =
        (0..len).map(|_| bytes.choose(&["a", "b", "", "*", "#"]).copied()).collect();
    Ok(words?.join("."))
}
