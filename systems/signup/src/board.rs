//! What the page shows, gathered once for all who look, and only while somebody does.

use std::sync::Arc;
use std::time::Duration;

use leveret_bus::ParkedMessage;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::mail::MailFile;
use crate::signup::Signup;
use crate::view::User;

/// Changes made by other processes show after this long; those of this one at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const USERS_SHOWN: u64 = 30;
const PARKED_SHOWN: usize = 50;
const MAILS_SHOWN: usize = 30;

/// Everything on the page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) users: Vec<User>,
    pub(crate) parked: Vec<ParkedMessage>,
    pub(crate) parked_count: u32,
    pub(crate) mails: Vec<MailFile>,
    pub(crate) unsent: u64,
    /// What could not be asked, in words.
    pub(crate) trouble: Option<String>,
}

/// Where the page gets what it shows.
#[derive(Clone)]
pub(crate) struct Board {
    signup: Signup,
    latest: watch::Sender<Arc<Snapshot>>,
}

impl Board {
    /// Starts gathering; ends with `stop`.
    pub(crate) fn start(signup: Signup, stop: CancellationToken) -> Self {
        let board = Self { signup, latest: watch::Sender::default() };
        tokio::spawn(board.clone().run(stop));
        board
    }

    /// The state now.
    pub(crate) async fn now(&self) -> Snapshot {
        gather(&self.signup, None).await
    }

    /// The state as it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        let mut receiver = self.latest.subscribe();
        self.signup.changed.notify_one();
        receiver.mark_unchanged();
        receiver
    }

    async fn run(self, stop: CancellationToken) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let known = tokio::select! {
                () = stop.cancelled() => return,
                () = self.signup.changed.notified() => None,
                _ = looks.tick() => Some(Arc::clone(&self.latest.borrow())),
            };
            if self.latest.receiver_count() > 0 {
                let snapshot = gather(&self.signup, known.as_deref()).await;
                self.latest.send_replace(Arc::new(snapshot));
            }
        }
    }
}

/// Gathers what can be had; what cannot is named in `trouble`. Listing parked messages takes them out of their queue
/// for a moment, so as long as there are as many as `known`, they are taken for the same.
async fn gather(signup: &Signup, known: Option<&Snapshot>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    if let Err(error) = from_database(signup, &mut snapshot).await {
        snapshot.trouble = Some(error.to_string());
    }
    if let Err(error) = from_broker(signup, &mut snapshot, known).await {
        snapshot.trouble = Some(error.to_string());
    }
    match signup.mails.latest(MAILS_SHOWN).await {
        Ok(mails) => snapshot.mails = mails,
        Err(error) => snapshot.trouble = Some(error.to_string()),
    }
    snapshot
}

async fn from_database(signup: &Signup, snapshot: &mut Snapshot) -> Result<(), crate::Error> {
    snapshot.users = signup.latest_users(USERS_SHOWN).await?;
    snapshot.unsent = signup.outbox.depth().await?.unsent;
    Ok(())
}

async fn from_broker(
    signup: &Signup,
    snapshot: &mut Snapshot,
    known: Option<&Snapshot>,
) -> Result<(), crate::Error> {
    snapshot.parked_count = signup.parked.count().await?;
    snapshot.parked = match known {
        Some(known) if known.parked_count == snapshot.parked_count => known.parked.clone(),
        _ if snapshot.parked_count == 0 => Vec::new(),
        _ => signup.parked(PARKED_SHOWN).await?,
    };
    Ok(())
}
