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

/// Runs schedules on a few threads, since each of them is alone with its disk; returns the crashes survived.
fn run_all(first: u64, schedules: u64) -> u64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8) as u64;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let seeds = (first..first + schedules).skip(thread as usize).step_by(threads as usize);
                    seeds.map(run_or_name).sum::<u64>()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a schedule failed, see above")).sum()
    })
}

fn run_or_name(seed: u64) -> u64 {
    let done = std::panic::catch_unwind(|| run(seed));
    done.unwrap_or_else(|_| panic!("repeat with LEVERET_STORE_SEED={seed}"))
}

#[test]
fn nothing_committed_is_lost_and_nothing_settled_returns() {
    if let Some(seed) = number("LEVERET_STORE_SEED") {
        run(seed);
        return;
    }
    let first = fastrand::u64(..1 << 48);
    let schedules = number("LEVERET_STORE_SCHEDULES").unwrap_or(SCHEDULES);
    let crashes = run_all(first, schedules);
    println!("{crashes} crashes from seed {first} on");
    assert!(crashes >= schedules * CRASHES);
}
