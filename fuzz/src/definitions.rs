//! Any definitions: taken or refused, and what was taken is given back the same. Begins with what is right, and puts any
//! JSON in any place of it.

#[path = "../../crates/leveret-broker/tests/support/given.rs"]
mod given;

use crate::Worth;

/// Deepest place in definitions.
const STEPS: usize = 6;

/// Fuzzes with these bytes.
pub fn fuzz(bytes: &[u8]) -> Worth {
    let Some((places, text)) = bytes.split_at_checked(STEPS + 1) else { return Worth::Nothing };
    let Ok(other) = serde_json::from_slice(text) else { return Worth::Nothing };
    let depth = usize::from(places[0]) % (STEPS + 1);
    let steps: Vec<usize> = places[1..=depth].iter().copied().map(usize::from).collect();
    let mut json = given::definitions();
    given::replace(&mut json, &steps, other);
    given::check(json);
    Worth::Keeping
}
