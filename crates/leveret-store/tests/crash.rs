//! Random schedules of work and crashes on a simulated disk. `LEVERET_STORE_SEED=n` repeats one schedule,
//! `LEVERET_STORE_SCHEDULES=n` runs more of them.

mod support;

use support::schedule::Schedule;

const SCHEDULES: u64 = 500;
const CRASHES: u64 = 21;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn run(seed: u64) -> u64 {
    let mut schedule = Schedule::new(seed);
    for _ in 0..CRASHES {
        schedule.round();
    }
    schedule.finish();
    schedule.crashes
}

#[test]
fn nothing_committed_is_lost_and_nothing_settled_returns() {
    if let Some(seed) = number("LEVERET_STORE_SEED") {
        run(seed);
        return;
    }
    let first = fastrand::u64(..1 << 48);
    let schedules = number("LEVERET_STORE_SCHEDULES").unwrap_or(SCHEDULES);
    let mut crashes = 0;
    for seed in first..first + schedules {
        let done = std::panic::catch_unwind(|| run(seed));
        crashes += done.unwrap_or_else(|_| panic!("repeat with LEVERET_STORE_SEED={seed}"));
    }
    println!("{crashes} crashes from seed {first} on");
    assert!(crashes >= schedules * CRASHES);
}
