//! Appended-and-synced records a second: the store beside a bare loop of write and `fdatasync`, in the same run, on the
//! same disk. `cargo bench -p leveret-store --bench append`; the directory is a new one under `LEVERET_BENCH_DIR`, else
//! under the system's directory for temporary files, which must not be in memory.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use leveret_store::{Append, Options, QueueId, Store};

const SECONDS: f64 = 2.0;

fn main() {
    let base = std::env::var_os("LEVERET_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    println!("in {}; p50 and p99 are what one client waits for its commit", base.display());
    println!(
        "{:>8} {:>8} {:>12} {:>10} {:>10} {:>10}",
        "clients", "bytes", "records/s", "MB/s", "p50 µs", "p99 µs"
    );
    for bytes in [100, 1024, 65536] {
        bare(&base, bytes);
        for clients in [1, 8, 64] {
            one_by_one(&base, clients, bytes);
        }
        pipelined(&base, bytes);
    }
}

fn report(name: &str, bytes: usize, records: u64, took: Duration, mut waits: Vec<u32>) {
    waits.sort_unstable();
    let at = |share: usize| waits.get(waits.len() * share / 100).copied().unwrap_or(0);
    let rate = records as f64 / took.as_secs_f64();
    println!(
        "{name:>8} {bytes:>8} {rate:>12.0} {:>10.1} {:>10} {:>10}",
        rate * bytes as f64 / 1e6,
        at(50),
        at(99)
    );
}

/// What the disk gives: one record, one write over zeros, one sync.
fn bare(base: &Path, bytes: usize) {
    let directory = tempfile::tempdir_in(base).expect("a directory");
    let file = File::create(directory.path().join("bare")).expect("a file");
    let room = 64 << 20;
    file.write_all_at(&vec![0; room], 0).and_then(|()| file.sync_all()).expect("zeros");
    let body = vec![7; bytes];
    let step = bytes.next_multiple_of(4096);
    let (mut offset, mut waits) = (0, Vec::new());
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < SECONDS {
        let asked = Instant::now();
        file.write_all_at(&body, offset as u64).and_then(|()| file.sync_data()).expect("writes");
        waits.push(asked.elapsed().as_micros() as u32);
        offset = (offset + step) % (room - step);
    }
    report("bare", bytes, waits.len() as u64, began.elapsed(), waits);
}

fn open(directory: &Path) -> Store {
    let (store, _) = Store::open(directory, Options::default(), |_| {}).expect("opens");
    // Time for the first spare file.
    std::thread::sleep(Duration::from_millis(300));
    store
}

/// Clients that append one record, wait for its commit, and settle it.
fn one_by_one(base: &Path, clients: usize, bytes: usize) {
    let directory = tempfile::tempdir_in(base).expect("a directory");
    let store = open(directory.path());
    let start = Barrier::new(clients + 1);
    let (took, waits) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let (store, start) = (&store, &start);
                scope.spawn(move || {
                    start.wait();
                    run_client(store, client as u64 + 1, bytes)
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        let waits: Vec<u32> = threads.into_iter().flat_map(|thread| thread.join().expect("runs")).collect();
        (began.elapsed(), waits)
    });
    report(&clients.to_string(), bytes, waits.len() as u64, took, waits);
    store.close().expect("closes");
}

fn run_client(store: &Store, queue: u64, bytes: usize) -> Vec<u32> {
    let queue = store.queue(QueueId(queue));
    let body = vec![7; bytes];
    let mut waits = Vec::new();
    let began = Instant::now();
    let mut seq = 0;
    while began.elapsed().as_secs_f64() < SECONDS {
        seq += 1;
        let asked = Instant::now();
        let append = Append { flags: 0, body: &[&body], targets: &[(queue, seq)] };
        store.append(&append).and_then(|position| store.wait(position)).expect("commits");
        waits.push(asked.elapsed().as_micros() as u32);
        store.settle(queue, &[seq]).expect("settles");
    }
    waits
}

/// One client that appends batches of 128 and lets at most 8 MiB wait for their commit.
fn pipelined(base: &Path, bytes: usize) {
    let directory = tempfile::tempdir_in(base).expect("a directory");
    let store = open(directory.path());
    let queue = store.queue(QueueId(1));
    let body = vec![7; bytes];
    let window = ((8 << 20) / bytes as u64).max(256);
    let committed = Arc::new(AtomicU64::new(0));
    let (mut seq, mut positions) = (0, std::collections::VecDeque::new());
    let mut settled = 0;
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < SECONDS {
        let position = store.batch(|batch| {
            let mut position = None;
            for _ in 0..128 {
                seq += 1;
                let append = Append { flags: 0, body: &[&body], targets: &[(queue, seq)] };
                position = Some(batch.append(&append).expect("fits"));
            }
            position
        });
        positions.push_back((seq, position.expect("open").expect("some")));
        while seq - committed.load(Ordering::Relaxed) > window {
            let Some((first, position)) = positions.pop_front() else { break };
            store.wait(position).expect("commits");
            committed.store(first, Ordering::Relaxed);
            let seqs: Vec<u64> = (settled + 1..=first).collect();
            store.settle(queue, &seqs).expect("settles");
            settled = first;
        }
    }
    let took = began.elapsed();
    report("pipeline", bytes, committed.load(Ordering::Relaxed), took, Vec::new());
    store.close().expect("closes");
}
