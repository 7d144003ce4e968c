//! The timer: does what the broker has due, when it is due. A thread of its own, because the runtime's timers know
//! milliseconds only and come late by up to two of them, and because its workers may be busy with a batch.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use leveret_broker::Effects;

use crate::Shared;

/// The timer's thread. Dropped, it ends with what it is about.
pub(crate) struct Timer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Wakes the timer from wherever something becomes due earlier than what it waits for.
struct WakeTimer(Thread);

impl Wake for WakeTimer {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

impl Timer {
    pub(crate) fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let (stop, broker) = (Arc::new(AtomicBool::new(false)), Arc::clone(&shared.broker));
        let stopped = Arc::clone(&stop);
        let thread =
            thread::Builder::new().name("leveret-timer".into()).spawn(move || run(&shared, &stopped))?;
        broker.wake_for_ticks(Arc::new(WakeTimer(thread.thread().clone())).into());
        // What became due before it could be told.
        thread.thread().unpark();
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends it, and waits for that: a tick is short.
    pub(crate) fn end(mut self) {
        self.tell();
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing left to end.
            let _ = thread.join();
        }
    }

    fn tell(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.tell();
    }
}

fn run(shared: &Shared, stop: &AtomicBool) {
    let mut effects = Effects::default();
    while !stop.load(Ordering::Acquire) {
        effects.now = shared.clock.now();
        let next = shared.broker.tick(&mut effects);
        effects.flush();
        effects.congested.clear();
        if let Some(error) = effects.failure.take() {
            tracing::error!(%error, "delayed messages that are due cannot be released now");
        }
        match next {
            None => thread::park(),
            // What has gathered, over a time without a broker for example, may take half of one core: the rest is for
            // what comes in now.
            Some(due) if due <= effects.now => {
                let took = shared.clock.now().0.saturating_sub(effects.now.0);
                thread::sleep(Duration::from_micros(took));
            }
            Some(due) => {
                thread::park_timeout(shared.clock.instant(due).saturating_duration_since(Instant::now()));
            }
        }
    }
}
