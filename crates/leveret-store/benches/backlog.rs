//! A deep backlog: filled and drained through segments, with resident memory. `cargo bench -p leveret-store --bench
//! backlog`; `LEVERET_BENCH_RECORDS` (2 million) and `LEVERET_BENCH_BYTES` (64) say how deep.
//! For a restart in earnest: `-- die DIR` fills a directory and aborts, `-- open DIR` opens and drains it.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use leveret_store::{Append, Options, QueueId, QueueRef, Spill, Store};

/// What a broker publishes at a time, and spills at a time.
const BATCH: u64 = 128;
const WINDOW: u64 = 4096;
const READ_BYTES: usize = 256 << 10;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let records = number("LEVERET_BENCH_RECORDS", 2_000_000);
    let body = vec![7; number("LEVERET_BENCH_BYTES", 64) as usize];
    let base = std::env::var_os("LEVERET_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("die"), Some(directory)) => die(Path::new(&directory), records, &body),
        (Some("open"), Some(directory)) => open_and_drain(Path::new(&directory), records, body.len()),
        _ => in_one_process(&base, records, &body),
    }
}

fn die(directory: &Path, records: u64, body: &[u8]) {
    let store = open(directory);
    line("durable", "fill", records, || fill(&store, store.queue(QueueId(1)), 1, records, body, false));
    std::process::abort();
}

fn open_and_drain(directory: &Path, records: u64, body_bytes: usize) {
    let store = line("durable", "open", records, || open(directory));
    line("durable", "drain", records, || drain(&store, store.queue(QueueId(1)), records, body_bytes));
}

fn in_one_process(base: &Path, records: u64, body: &[u8]) {
    println!("{records} records of {} bytes in {}", body.len(), base.display());
    for transient in [true, false] {
        let directory = tempfile::tempdir_in(base).expect("a directory");
        let name = if transient { "transient" } else { "durable" };
        let store = open(directory.path());
        let queue = store.queue(QueueId(1));
        line(name, "fill", records, || fill(&store, queue, 1, records, body, transient));
        line(name, "drain", records, || drain(&store, queue, records, body.len()));
        if !transient {
            line(name, "fill", records, || fill(&store, queue, records + 1, records, body, false));
            // As if the process had been killed.
            drop(store);
            let reopened = line(name, "reopen", records, || open(directory.path()));
            let queue = reopened.queue(QueueId(1));
            line(name, "drain", records, || drain(&reopened, queue, records, body.len()));
        }
    }
}

fn open(directory: &Path) -> Store {
    let (store, found) = Store::open(directory, Options::default(), |_| {}).expect("opens");
    if found.took > Duration::from_millis(20) {
        println!(
            "    recovery took {:?} for {:?}",
            found.took,
            found.queues.first().map(|queue| queue.records)
        );
    }
    store
}

fn line<T>(class: &str, what: &str, records: u64, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    let took = began.elapsed();
    let rate = records as f64 / took.as_secs_f64();
    println!("{class:>10} {what:>7}: {rate:>10.0} records/s, {took:>9.3?}, resident {} MB", resident_mb());
    result
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn fill(store: &Store, queue: QueueRef, first: u64, records: u64, body: &[u8], transient: bool) {
    let mut spills = Vec::new();
    let mut last = None;
    for seq in (first..first + records).step_by(BATCH as usize) {
        let end = (seq + BATCH).min(first + records);
        if !transient {
            let body = &[body];
            let appended = store.batch(|batch| {
                let append = |seq| batch.append(&Append { flags: 0, body, targets: &[(queue, seq)] });
                (seq..end).map(append).last()
            });
            last = appended.expect("open");
            while store.is_congested() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        spills.extend((seq..end).map(|seq| Spill { seq, flags: 0, transient, body }));
        if spills.len() as u64 >= WINDOW || end == first + records {
            assert!(store.spill(queue, &spills).expect("spills").is_empty());
            spills.clear();
        }
    }
    if let Some(position) = last {
        store.wait(position.expect("fits")).expect("commits");
    }
}

fn drain(store: &Store, queue: QueueRef, records: u64, body_bytes: usize) {
    let (mut from, mut seen) = (1, 0);
    let mut seqs = Vec::new();
    while seen < records {
        seqs.clear();
        let end = store.read(queue, from..=u64::MAX, READ_BYTES, |record| {
            assert!(record.body.len() == body_bytes);
            seqs.push(record.seq);
        });
        assert!(!seqs.is_empty(), "{end:?} after {seen}");
        seen += seqs.len() as u64;
        from = seqs[seqs.len() - 1] + 1;
        for settled in seqs.chunks(BATCH as usize) {
            store.settle(queue, settled).expect("settles");
        }
    }
}
