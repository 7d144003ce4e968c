//! Any damage to any file that a store left, segments, journal, manifests and the runs of its shelves.

#[path = "../../crates/leveret-store/tests/support/mod.rs"]
mod support;

use arbitrary::{Result, Unstructured};

use crate::Worth;
use support::wreck::{Blow, Left, check};

/// Fuzzes with these bytes.
pub fn fuzz(bytes: &[u8]) -> Worth {
    wreck(&mut Unstructured::new(bytes)).into()
}

fn wreck(bytes: &mut Unstructured<'_>) -> Result<()> {
    let left = *bytes.choose(&[Left::Closed, Left::Killed])?;
    let file = bytes.int_in_range(0..=left.files().count() - 1)?;
    let mut blows = vec![];
    while !bytes.is_empty() && blows.len() < 8 {
        blows.push(blow(bytes)?);
    }
    check(left, file, &blows);
    Ok(())
}

fn blow(bytes: &mut Unstructured<'_>) -> Result<Blow> {
    Ok(match bytes.int_in_range(0..=15)? {
        0 => Blow::Delete,
        1 => Blow::Cut { len: bytes.arbitrary::<u16>()?.into() },
        _ => {
            let at = bytes.arbitrary::<u16>()?.into();
            let len = bytes.int_in_range(1..=16)?;
            Blow::Overwrite { at, with: bytes.bytes(len)?.to_vec() }
        }
    })
}
