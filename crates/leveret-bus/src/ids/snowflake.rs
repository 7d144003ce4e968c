//! Snowflakes: 64-bit ids that grow with time, from a worker id that this process holds alone.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sea_orm::DatabaseConnection;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::sequence::Sequence;
use super::worker_id::{Lease, MIGRATIONS, Term};
use crate::clock;
use crate::error::Error;

/// Renewals come no faster than this.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// How snowflakes are made. All have defaults that suit most.
#[derive(Clone)]
pub struct SnowflakeOptions {
    /// How long the worker id stays ours after the last sign of life. It is renewed three times as often. Default 30 s.
    pub lease: Duration,
    /// How far ahead of the clock times are reserved: how long ids can be made while the database is away. Default 60 s.
    pub window: Duration,
    /// What tells the time, in milliseconds since 1970 UTC. Default [`clock::now_ms`].
    pub clock: fn() -> i64,
}

impl Default for SnowflakeOptions {
    fn default() -> Self {
        Self { lease: Duration::from_secs(30), window: Duration::from_secs(60), clock: clock::now_ms }
    }
}

/// Makes ids of 63 bits: 41 bits of milliseconds, 10 bits of worker id, 12 bits of count. Cheap to clone.
///
/// No id is ever made twice, not by several processes on one database, not after a crash, and not when a clock steps
/// back: see the reservation in the table `leveret_worker_id`. Within one worker they grow. At most 1,024 workers
/// live at a time. JavaScript's numbers do not hold them: send them as text.
#[derive(Clone)]
pub struct Snowflake {
    maker: Arc<Maker>,
    _renewal: Arc<DropGuard>,
}

struct Maker {
    db: DatabaseConnection,
    options: SnowflakeOptions,
    sequence: Mutex<Sequence>,
    /// Held while the database is asked, by one at a time.
    lease: tokio::sync::Mutex<Lease>,
}

impl Snowflake {
    /// Makes the table where there is none, leases a worker id, and keeps it as long as a clone of this lives.
    ///
    /// # Errors
    /// The database refuses or cannot be reached, or all worker ids are taken ([`Error::NoWorkerId`]).
    pub async fn lease(db: &DatabaseConnection, options: SnowflakeOptions) -> Result<Self, Error> {
        MIGRATIONS.run(db).await?;
        let (lease, sequence) = take(db, &options).await?;
        let (sequence, lease) = (Mutex::new(sequence), tokio::sync::Mutex::new(lease));
        let maker = Arc::new(Maker { db: db.clone(), options, sequence, lease });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&maker).keep()));
        Ok(Self { maker, _renewal: Arc::new(stop.drop_guard()) })
    }

    /// The next id. Asks the database only where the time reserved has run out.
    ///
    /// # Errors
    /// The time reserved has run out, and the database cannot be reached.
    pub async fn next_id(&self) -> Result<i64, Error> {
        loop {
            if let Some(id) = self.maker.next() {
                return Ok(id);
            }
            self.maker.renew().await?;
        }
    }

    /// The worker id that is ours at present.
    pub fn worker_id(&self) -> u16 {
        self.maker.sequence.lock().worker()
    }
}

impl Maker {
    fn next(&self) -> Option<i64> {
        self.sequence.lock().next((self.options.clock)())
    }

    /// Renews the lease and reserves more time. Where another has taken the worker id over, leases a new one.
    async fn renew(&self) -> Result<(), Error> {
        let mut lease = self.lease.lock().await;
        let now_ms = (self.options.clock)();
        let term = Term {
            lease_until_ms: now_ms + clock::ms(self.options.lease),
            reserved_until_ms: self.sequence.lock().next_bound_ms(now_ms, clock::ms(self.options.window)),
        };
        if lease.extend(&self.db, term).await? {
            self.sequence.lock().reserve(term.reserved_until_ms);
            return Ok(());
        }
        tracing::warn!(worker_id = lease.worker, "worker id lost, leasing another");
        let (taken, sequence) = take(&self.db, &self.options).await?;
        *lease = taken;
        *self.sequence.lock() = sequence;
        Ok(())
    }

    async fn keep(self: Arc<Self>) {
        loop {
            sleep((self.options.lease / 3).max(SHORTEST_PAUSE)).await;
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, "the lease of a worker id could not be renewed");
            }
        }
    }
}

async fn take(db: &DatabaseConnection, options: &SnowflakeOptions) -> Result<(Lease, Sequence), Error> {
    let (lease_ms, window_ms) = (clock::ms(options.lease), clock::ms(options.window));
    let (lease, term) = Lease::take(db, (options.clock)(), lease_ms, window_ms).await?;
    let sequence = Sequence::new(lease.worker, lease.from_ms, term.reserved_until_ms);
    Ok((lease, sequence))
}
