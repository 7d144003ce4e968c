//! The store's two threads: one commits what gathers, one keeps house.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use crate::{
    StoreError,
    engine::{CommitterSleep, Engine},
    options::Drive,
};

/// Unasked, house is kept this often, for segments that have become sparse.
const ROUND: Duration = Duration::from_secs(5);

pub(crate) struct Workers(Vec<JoinHandle<()>>);

impl Workers {
    pub(crate) fn start(engine: &Arc<Engine>, drive: Drive) -> Result<Option<Self>, StoreError> {
        if drive == Drive::Manual {
            return Ok(None);
        }
        let committer = spawn("store-commit", engine, Engine::run_committer)?;
        let keeper = spawn("store-house", engine, Engine::run_keeper)?;
        Ok(Some(Self(vec![committer, keeper])))
    }

    pub(crate) fn stop(self, engine: &Engine) {
        engine.patient.stop();
        engine.core.lock().stopping = true;
        engine.gathered.notify_all();
        engine.chores.lock().stop = true;
        engine.chore.notify_all();
        for thread in self.0 {
            // A thread that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, engine: &Arc<Engine>, run: fn(&Engine)) -> Result<JoinHandle<()>, StoreError> {
    let engine = Arc::clone(engine);
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || run(&engine));
    thread.map_err(|error| StoreError::io("start thread", name, error))
}

impl Engine {
    /// No timer: whatever gathered during the last sync is committed next. Only settles, for which nobody waits, are
    /// given a moment to become more.
    fn run_committer(&self) {
        while self.await_work() {
            if self.commit().is_err() {
                return;
            }
        }
    }

    fn await_work(&self) -> bool {
        let mut core = self.core.lock();
        while core.pending.is_untouched() && !core.stopping && core.failed.is_none() {
            core.committer = CommitterSleep::ForAnything;
            self.gathered.wait(&mut core);
        }
        if !core.pending.is_urgent() && !core.stopping {
            core.committer = CommitterSleep::ForSomethingUrgent;
            self.gathered.wait_for(&mut core, self.options.settle_delay);
        }
        core.committer = CommitterSleep::Awake;
        !core.stopping && core.failed.is_none()
    }

    fn run_keeper(&self) {
        // An error has closed the store and was told to everybody by then.
        while self.maintain().is_ok() {
            let mut chores = self.chores.lock();
            if !chores.due && !chores.stop {
                self.chore.wait_for(&mut chores, ROUND);
            }
            if chores.stop {
                return;
            }
            chores.due = false;
        }
    }
}
