//! The whole broker: its virtual hosts and its users.

use std::sync::Arc;

use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use crate::{Effects, Time, Users, Vhost};

/// A broker. Everything in it can be used from many threads at once.
pub struct Broker {
    /// Who may log in.
    pub users: Users,
    vhosts: RwLock<FxHashMap<Arc<str>, Arc<Vhost>>>,
}

impl Broker {
    /// A broker without virtual hosts.
    #[must_use]
    pub fn new(users: Users) -> Self {
        Self { users, vhosts: RwLock::default() }
    }

    /// Adds a virtual host; one that is there already stays as it is.
    pub fn add_vhost(&self, name: &str) -> Arc<Vhost> {
        let mut vhosts = self.vhosts.write();
        let vhost = vhosts.entry(name.into()).or_insert_with(|| Arc::new(Vhost::new(name)));
        Arc::clone(vhost)
    }

    /// The virtual host of that name.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.vhosts.read().get(name).cloned()
    }

    /// Does what is due at `now`; returns when something will be due next.
    pub fn tick(&self, now: Time, effects: &mut Effects) -> Option<Time> {
        let vhosts: Vec<_> = self.vhosts.read().values().cloned().collect();
        vhosts.iter().filter_map(|vhost| vhost.tick(now, effects)).min()
    }
}
