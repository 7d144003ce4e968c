//! The places of HTTP connections. There are so many; where all are taken, a new connection gets that of the one that has
//! asked for nothing for longest, so that silent ones keep nobody out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) struct Places(Arc<Shared>);

struct Shared {
    most: usize,
    taken: Mutex<Vec<Arc<Seat>>>,
    /// Counts what happens, to tell what was last.
    clock: AtomicU64,
}

struct Seat {
    /// When its connection was made or last asked for something.
    used: AtomicU64,
    /// Whether a request is being answered.
    is_busy: AtomicBool,
    lost: Notify,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, taken: Mutex::default(), clock: AtomicU64::new(0) }))
    }

    /// A place, another connection's where there is none.
    pub(crate) fn take(&self) -> Place {
        let shared = Arc::clone(&self.0);
        let seat = Arc::new(Seat {
            used: AtomicU64::new(shared.tick()),
            is_busy: AtomicBool::new(false),
            lost: Notify::new(),
        });
        let mut taken = shared.taken.lock();
        if taken.len() >= shared.most
            && let Some(longest) =
                taken.iter().enumerate().min_by_key(|(_, seat)| seat.rank()).map(|(at, _)| at)
        {
            taken.swap_remove(longest).lost.notify_one();
        }
        taken.push(Arc::clone(&seat));
        drop(taken);
        Place { shared, seat }
    }
}

impl Shared {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }
}

impl Seat {
    /// The least of all is the first to go: one that waits for nothing, and of those the one that has for longest.
    fn rank(&self) -> (bool, u64) {
        (self.is_busy.load(Ordering::Relaxed), self.used.load(Ordering::Relaxed))
    }
}

/// A connection's place, until it is dropped.
pub(crate) struct Place {
    shared: Arc<Shared>,
    seat: Arc<Seat>,
}

impl Place {
    /// Waits until another connection has got it.
    pub(crate) async fn lost(&self) {
        self.seat.lost.notified().await;
    }

    /// Says that a request is being answered, until what is returned is dropped.
    pub(crate) fn busy(&self) -> impl Drop {
        self.seat.used.store(self.shared.tick(), Ordering::Relaxed);
        self.seat.is_busy.store(true, Ordering::Relaxed);
        Busy(Arc::clone(&self.seat))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.taken.lock().retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_lost(place: &Place) -> bool {
        pin!(place.lost()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_has_asked_for_nothing_for_longest_makes_room() {
        let places = Places::new(3);
        let [working, used, silent] = [(); 3].map(|()| places.take());
        let answering = working.busy();
        drop(used.busy());
        let first = places.take();
        assert!(is_lost(&silent) && !is_lost(&used) && !is_lost(&working));
        let second = places.take();
        assert!(is_lost(&used) && !is_lost(&working), "a request is answered if it can be");
        drop(answering);
        let _third = places.take();
        assert!(is_lost(&working) && !is_lost(&first) && !is_lost(&second));
    }

    #[test]
    fn a_place_is_free_when_its_connection_ends() {
        let places = Places::new(2);
        let kept = places.take();
        for _ in 0..5 {
            let _ended = places.take();
        }
        assert!(!is_lost(&kept));
    }
}
