//! Any bindings of a topic exchange, and what they match, against the plain way to match.
#![no_main]

#[path = "../../crates/leveret-broker/tests/support/topics.rs"]
mod topics;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};

use topics::{QUEUES, Step, Topics};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match run(&mut Unstructured::new(bytes)) {
        Ok(()) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});

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
