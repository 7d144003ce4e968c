//! Any damage to any file of a directory: what is found is what was put in, and what is missing is named.

mod support;

use fastrand::Rng;
use support::wreck::{Blow, Left, check};

const TRIES: u64 = 200;

fn blow(random: &mut Rng) -> Blow {
    match random.u8(0..8) {
        0 => Blow::Delete,
        1 => Blow::Cut { len: random.usize(..) },
        _ => {
            let mut with = vec![0; random.usize(1..64)];
            random.fill(&mut with);
            Blow::Overwrite { at: random.usize(..), with }
        }
    }
}

#[test]
fn no_damage_invents_a_record_or_goes_unnoticed() {
    for seed in 0..TRIES {
        let mut random = Rng::with_seed(seed);
        let left = if random.bool() { Left::Closed } else { Left::Killed };
        let file = random.usize(..);
        let blows: Vec<Blow> = (0..random.usize(0..4)).map(|_| blow(&mut random)).collect();
        check(left, file, &blows);
    }
}
