//! A broker on a simulated disk.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]
#![allow(clippy::disallowed_methods, reason = "the store's threads take real time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use leveret_broker::{Backing, Broker, CommitEvent, Effects, OpenStore, StoreOptions, Time, Users};

use crate::delays::Rows;
use crate::disk::SimulatedDisk;
use crate::house::House;

const MEMORY_BYTES: usize = 64 << 10;

fn small() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.journal_file_bytes = 64 << 10;
    options.segment_bytes = 8 << 10;
    options.relocate_bytes = 2 << 10;
    options.dead_bytes = 16 << 10;
    options.held_bytes = 6 << 10;
    options.held_block_bytes = 512;
    options
}

/// A broker on the disk. `committed` hears how far its store has come.
pub fn open(disk: &SimulatedDisk, rows: &Rows, now: Time, committed: &Arc<AtomicU64>) -> House {
    let told = Arc::clone(committed);
    let listener = move |event| {
        if let CommitEvent::Committed(position) = event {
            told.fetch_max(position.0, Ordering::SeqCst);
        }
    };
    let store = OpenStore::open_on(Arc::new(disk.clone()), small(), listener).unwrap();
    committed.fetch_max(store.committed().0, Ordering::SeqCst);
    let kept = rows.0.lock().clone();
    let backing = Backing::new(store, MEMORY_BYTES, Box::new(rows.clone()));
    let broker = Broker::restored(Users::new(vec![]), backing, &kept, now);
    let vhost = broker.add_vhost("/").unwrap();
    House { broker, vhost, effects: Effects::at(now) }
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} takes too long");
        std::thread::yield_now();
    }
}
