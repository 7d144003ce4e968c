//! The whole broker: its virtual hosts and its users.

use std::sync::Arc;
use std::task::Waker;

use leveret_store::{Stats as StoreStats, StoreError, Syncs as StoreSyncs};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;

use crate::administration::GlobalParameters;
use crate::timers::TimerWaker;
use crate::{Backing, Change, Connections, Effects, Error, Time, Users, Vhost, VhostSettings};

/// A broker. Everything in it can be used from many threads at once.
pub struct Broker {
    /// Who may log in.
    pub users: Users,
    /// Who is connected.
    pub connections: Connections,
    vhosts: RwLock<FxHashMap<Arc<str>, Arc<Vhost>>>,
    backing: Mutex<Option<Arc<Backing>>>,
    waker: TimerWaker,
    pub(crate) global_parameters: GlobalParameters,
    /// Held while something is administered.
    pub(crate) administering: Mutex<()>,
}

impl Broker {
    /// A broker without virtual hosts, which keeps nothing over its end.
    #[must_use]
    pub fn new(users: Users) -> Self {
        Self {
            users,
            connections: Connections::default(),
            vhosts: RwLock::default(),
            backing: Mutex::new(None),
            waker: TimerWaker::default(),
            global_parameters: GlobalParameters::default(),
            administering: Mutex::new(()),
        }
    }

    /// A broker on what an earlier one has kept; `kept` are the rows of its catalog.
    #[must_use]
    pub fn restored(users: Users, backing: Backing, kept: &[Change], now: Time) -> Self {
        let backing = Arc::new(backing);
        let broker = Self { backing: Mutex::new(Some(Arc::clone(&backing))), ..Self::new(users) };
        // Policies are to be known before what they apply to, bindings need their ends, permissions their users.
        let order: [fn(&Change) -> bool; 6] = [
            |change| matches!(change, Change::PutVhost { .. } | Change::PutUser(_)),
            |change| matches!(change, Change::PutParameter(_)),
            |change| matches!(change, Change::PutExchange { .. }),
            |change| matches!(change, Change::PutQueue { .. }),
            |change| matches!(change, Change::PutBinding { .. }),
            |change| {
                matches!(
                    change,
                    Change::PutPermission(_) | Change::PutTopicPermission(_) | Change::PutGlobalParameter(_)
                )
            },
        ];
        for of_kind in order {
            kept.iter().filter(|change| of_kind(change)).for_each(|change| broker.restore(change, now));
        }
        backing.drop_unclaimed();
        broker
    }

    fn restore(&self, change: &Change, now: Time) {
        match change {
            Change::PutExchange { vhost, .. }
            | Change::PutQueue { vhost, .. }
            | Change::PutBinding { vhost, .. } => self.insert_vhost(vhost).restore(change, now),
            Change::PutParameter(parameter) => {
                self.insert_vhost(&parameter.vhost).restore_parameter(parameter.clone());
            }
            other => self.apply(other),
        }
    }

    /// Adds a virtual host; one that is there already stays as it is.
    ///
    /// # Errors
    /// `Internal` where the catalog cannot keep it.
    pub fn add_vhost(&self, name: &str) -> Result<Arc<Vhost>, Error> {
        if self.vhost(name).is_none() {
            self.put_vhost(name, VhostSettings::default())?;
        }
        self.vhost(name).ok_or_else(|| Error::not_found(format!("no vhost '{name}'")))
    }

    /// Writes changes down, where anything is.
    pub(crate) fn keep(&self, changes: &[Change]) -> Result<(), Error> {
        let backing = self.backing.lock().clone();
        match backing {
            Some(backing) if !changes.is_empty() => backing.keep(changes).map_err(Error::internal),
            _ => Ok(()),
        }
    }

    pub(crate) fn insert_vhost(&self, name: &str) -> Arc<Vhost> {
        let backing = self.backing.lock().clone();
        let mut vhosts = self.vhosts.write();
        let vhost = vhosts
            .entry(name.into())
            .or_insert_with(|| Arc::new(Vhost::new(name, backing, self.waker.clone())));
        Arc::clone(vhost)
    }

    pub(crate) fn remove_vhost(&self, name: &str) {
        self.vhosts.write().remove(name);
    }

    /// All virtual hosts, by name.
    #[must_use]
    pub fn vhosts(&self) -> Vec<Arc<Vhost>> {
        let mut vhosts: Vec<_> = self.vhosts.read().values().cloned().collect();
        vhosts.sort_by(|a, b| a.name.cmp(&b.name));
        vhosts
    }

    /// Whether more comes in than the store can write: publishers are to be held back meanwhile.
    #[must_use]
    pub fn is_store_congested(&self) -> bool {
        self.backing.lock().as_ref().is_some_and(|backing| backing.is_congested())
    }

    /// Figures about the store; `None` where nothing is kept.
    #[must_use]
    pub fn store_stats(&self) -> Option<StoreStats> {
        self.backing.lock().as_ref().map(|backing| backing.stats())
    }

    /// Syncs of the store's journal; `None` where nothing is kept.
    #[must_use]
    pub fn store_syncs(&self) -> Option<StoreSyncs> {
        self.backing.lock().as_ref().map(|backing| backing.syncs())
    }

    /// What the store has found damaged since it was opened, that found on opening included, in words.
    #[must_use]
    pub fn store_damage(&self) -> Vec<String> {
        self.backing.lock().as_ref().map_or_else(Vec::new, |backing| backing.damage())
    }

    /// Ends the broker in order: its store notes that nothing is half done. Connections must have ended before.
    ///
    /// # Errors
    /// What the store could not write.
    pub fn close(&self) -> Result<(), StoreError> {
        let vhosts = std::mem::take(&mut *self.vhosts.write());
        for queue in vhosts.values().flat_map(|vhost| vhost.queues()) {
            queue.note_delivered();
        }
        drop(vhosts);
        match self.backing.lock().take().and_then(Arc::into_inner) {
            Some(backing) => backing.close(),
            None => Ok(()),
        }
    }

    /// The virtual host of that name.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.vhosts.read().get(name).cloned()
    }

    /// Has `waker` woken when something becomes due earlier than the last [`Broker::tick`] has said. The first one
    /// given stays.
    pub fn wake_for_ticks(&self, waker: Waker) {
        self.waker.set(waker);
    }

    /// Does what is due at the effects' time; returns when something will be due next.
    pub fn tick(&self, effects: &mut Effects) -> Option<Time> {
        let vhosts: Vec<_> = self.vhosts.read().values().cloned().collect();
        vhosts.iter().filter_map(|vhost| vhost.tick(effects)).min()
    }
}
