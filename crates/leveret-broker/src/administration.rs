//! What administrators do to the whole broker: users, permissions, virtual hosts and global parameters. Every change is
//! written down before it counts, one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;

use crate::{
    Access, Broker, Change, Connection, ConnectionOptions, Error, GlobalParameter, PasswordHash, Permission,
    TopicPermission, User, UserLimits, UserPermission, UserTopicPermission, Vhost, VhostSettings,
};

/// The global parameter that names the broker.
pub const CLUSTER_NAME: &str = "cluster_name";
/// The global parameter that every broker has from its first start on.
const CLUSTER_ID: &str = "internal_cluster_id";

/// What a broker that nobody has used yet is given.
#[derive(Clone, Copy, Debug)]
pub struct FirstUser<'a> {
    /// An administrator who may do everything in the virtual host.
    pub name: &'a str,
    /// The password.
    pub password: &'a str,
    /// The virtual host.
    pub vhost: &'a str,
}

/// The global parameters, by name.
#[derive(Default)]
pub(crate) struct GlobalParameters {
    by_name: RwLock<BTreeMap<String, Value>>,
}

impl GlobalParameters {
    pub(crate) fn apply(&self, change: &Change) {
        match change {
            Change::PutGlobalParameter(GlobalParameter { name, value }) => {
                self.by_name.write().insert(name.clone(), value.clone());
            }
            Change::DropGlobalParameter { name } => {
                self.by_name.write().remove(name);
            }
            _ => {}
        }
    }
}

impl Broker {
    /// Whether nobody has used this broker yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.global_parameter(CLUSTER_ID).is_none()
    }

    /// Makes the first user and virtual host of a new broker, once in its life: whoever deletes them later does not get
    /// them back.
    ///
    /// # Errors
    /// `Internal` where the catalog cannot keep them.
    pub fn begin(&self, first: &FirstUser<'_>, cluster_id: &str) -> Result<(), Error> {
        let account = User {
            name: first.name.into(),
            password: PasswordHash::of(first.password)?,
            tags: vec!["administrator".into()],
            limits: UserLimits::default(),
        };
        let settings =
            VhostSettings { description: "Default virtual host".into(), ..VhostSettings::default() };
        let permission = UserPermission {
            user: first.name.into(),
            vhost: first.vhost.into(),
            permission: Permission::full()?,
        };
        self.administer(|_| {
            Ok((
                vec![
                    Change::PutVhost { name: first.vhost.into(), settings },
                    Change::PutUser(account),
                    Change::PutPermission(permission),
                    begun(cluster_id),
                ],
                (),
            ))
        })
    }

    /// Begins a new broker whose users come from definitions.
    ///
    /// # Errors
    /// `Internal` where the catalog cannot keep it.
    pub fn begin_without_user(&self, cluster_id: &str) -> Result<(), Error> {
        self.administer(|_| Ok((vec![begun(cluster_id)], ())))
    }

    /// Sets name, password, tags and limits of a user; true where there was none of that name.
    ///
    /// # Errors
    /// `Internal` where the catalog cannot keep it.
    pub fn put_user(&self, user: User) -> Result<bool, Error> {
        check_name("user", &user.name)?;
        self.administer(|broker| {
            let is_new = broker.users.find(&user.name).is_none();
            Ok((vec![Change::PutUser(user)], is_new))
        })
    }

    /// Deletes a user with all permissions, and ends the connections; false where there is none.
    ///
    /// # Errors
    /// `Internal` where the catalog cannot keep it.
    pub fn delete_user(&self, name: &str) -> Result<bool, Error> {
        let was_there = self.administer(|broker| {
            if broker.users.find(name).is_none() {
                return Ok((vec![], false));
            }
            let mut changes = broker.users.drops(Some(name), None);
            changes.push(Change::DropUser { name: name.into() });
            Ok((changes, true))
        })?;
        if was_there {
            self.connections.close_where(|it| it.options.user == name, &user_is_deleted(name));
        }
        Ok(was_there)
    }

    /// Sets a user's limits.
    ///
    /// # Errors
    /// `NotFound`, or `Internal` where the catalog cannot keep it.
    pub fn set_user_limits(&self, name: &str, limits: UserLimits) -> Result<(), Error> {
        self.administer(|broker| {
            let user = broker.user(name)?;
            Ok((vec![Change::PutUser(User { limits, ..user })], ()))
        })
    }

    /// The user of that name.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn user(&self, name: &str) -> Result<User, Error> {
        self.users.find(name).ok_or_else(|| Error::not_found(format!("no user '{name}'")))
    }

    /// Sets a user's permissions in a virtual host; true where there were none.
    ///
    /// # Errors
    /// `NotFound` for the user or the virtual host, or `Internal` where the catalog cannot keep it.
    pub fn set_permission(&self, user: &str, vhost: &str, permission: Permission) -> Result<bool, Error> {
        self.administer(|broker| {
            broker.check_ends(user, vhost)?;
            let is_new = broker.users.access(user, vhost).is_none();
            let permission = UserPermission { user: user.into(), vhost: vhost.into(), permission };
            Ok((vec![Change::PutPermission(permission)], is_new))
        })
    }

    /// Clears a user's permissions in a virtual host; false where there are none.
    ///
    /// # Errors
    /// `NotFound` for the user or the virtual host, or `Internal` where the catalog cannot keep it.
    pub fn clear_permission(&self, user: &str, vhost: &str) -> Result<bool, Error> {
        self.administer(|broker| {
            broker.check_ends(user, vhost)?;
            let was_there = broker.users.access(user, vhost).is_some();
            Ok((vec![Change::DropPermission { user: user.into(), vhost: vhost.into() }], was_there))
        })
    }

    /// Sets a user's permissions at a topic exchange; true where there were none.
    ///
    /// # Errors
    /// `NotFound` for the user or the virtual host, or `Internal` where the catalog cannot keep it.
    pub fn set_topic_permission(
        &self,
        (user, vhost, exchange): (&str, &str, &str),
        permission: TopicPermission,
    ) -> Result<bool, Error> {
        self.administer(|broker| {
            broker.check_ends(user, vhost)?;
            let is_new = broker.users.drops_of_topics(user, vhost, Some(exchange)).is_empty();
            let (user, vhost, exchange) = (user.into(), vhost.into(), exchange.into());
            let permission = UserTopicPermission { user, vhost, exchange, permission };
            Ok((vec![Change::PutTopicPermission(permission)], is_new))
        })
    }

    /// Clears a user's permissions at a topic exchange, or at all of the virtual host; false where there are none.
    ///
    /// # Errors
    /// `NotFound` for the user or the virtual host, or `Internal` where the catalog cannot keep it.
    pub fn clear_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Result<bool, Error> {
        self.administer(|broker| {
            broker.check_ends(user, vhost)?;
            let drops = broker.users.drops_of_topics(user, vhost, exchange);
            let were_there = !drops.is_empty();
            Ok((drops, were_there))
        })
    }

    /// Adds a virtual host or changes the settings of one; true where there was none of that name.
    ///
    /// # Errors
    /// `PreconditionFailed` for a setting out of range, `Internal` where the catalog cannot keep it.
    pub fn put_vhost(&self, name: &str, settings: VhostSettings) -> Result<bool, Error> {
        check_name("vhost", name)?;
        settings.check()?;
        self.administer(|broker| {
            let is_new = broker.vhost(name).is_none();
            Ok((vec![Change::PutVhost { name: name.into(), settings }], is_new))
        })
    }

    /// Says whether deleting a virtual host is refused from now on; false where there is none.
    ///
    /// # Errors
    /// `Internal` where the catalog cannot keep it.
    pub fn protect_vhost(&self, name: &str, protected_from_deletion: bool) -> Result<bool, Error> {
        self.administer(|broker| {
            let Some(vhost) = broker.vhost(name) else { return Ok((vec![], false)) };
            let settings = VhostSettings { protected_from_deletion, ..vhost.settings() };
            Ok((vec![Change::PutVhost { name: name.into(), settings }], true))
        })
    }

    /// Deletes a virtual host with its queues, messages, exchanges, permissions and parameters, and ends its
    /// connections; false where there is none.
    ///
    /// # Errors
    /// `PreconditionFailed` where it is protected, `Internal` where the catalog cannot keep it.
    pub fn delete_vhost(&self, name: &str) -> Result<bool, Error> {
        let deleted = self.administer(|broker| {
            let Some(vhost) = broker.vhost(name) else { return Ok((vec![], None)) };
            if vhost.settings().protected_from_deletion {
                return Err(Error::precondition(format!("vhost '{name}' is protected from deletion")));
            }
            vhost.topology_mut().set_closed(true);
            let mut changes = broker.users.drops(None, Some(name));
            changes.extend(vhost.parameters().into_iter().map(|it| Change::DropParameter {
                vhost: it.vhost,
                component: it.component,
                name: it.name,
            }));
            changes.push(Change::DropVhost { name: name.into() });
            Ok((changes, Some(vhost)))
        });
        if let (Err(_), Some(vhost)) = (&deleted, self.vhost(name)) {
            vhost.topology_mut().set_closed(false);
        }
        let Some(vhost) = deleted? else { return Ok(false) };
        self.connections.close_where(|it| *it.options.vhost == *name, &vhost_is_deleted(name));
        vhost.delete_everything();
        Ok(true)
    }

    /// Sets a parameter of the whole broker; true where there was none.
    ///
    /// # Errors
    /// `Internal` where the catalog cannot keep it.
    pub fn set_global_parameter(&self, name: &str, value: Value) -> Result<bool, Error> {
        self.administer(|broker| {
            let is_new = broker.global_parameter(name).is_none();
            Ok((vec![Change::PutGlobalParameter(GlobalParameter { name: name.into(), value })], is_new))
        })
    }

    /// Clears a parameter of the whole broker; false where there is none.
    ///
    /// # Errors
    /// `Internal` where the catalog cannot keep it.
    pub fn clear_global_parameter(&self, name: &str) -> Result<bool, Error> {
        self.administer(|broker| {
            let was_there = broker.global_parameter(name).is_some();
            Ok((vec![Change::DropGlobalParameter { name: name.into() }], was_there))
        })
    }

    /// The value of a parameter of the whole broker.
    #[must_use]
    pub fn global_parameter(&self, name: &str) -> Option<Value> {
        self.global_parameters.by_name.read().get(name).cloned()
    }

    /// All parameters of the whole broker, by name.
    #[must_use]
    pub fn global_parameters(&self) -> Vec<GlobalParameter> {
        let parameters = self.global_parameters.by_name.read();
        let all = parameters.iter();
        all.map(|(name, value)| GlobalParameter { name: name.clone(), value: value.clone() }).collect()
    }

    /// Lets a user who has logged in into a virtual host.
    ///
    /// # Errors
    /// `NotAllowed` where there is no such virtual host, the user may not enter it, or a limit is reached.
    pub fn admit(&self, user: &str, vhost_name: &str) -> Result<(Arc<Vhost>, Arc<Access>), Error> {
        let vhost = self
            .vhost(vhost_name)
            .ok_or_else(|| Error::not_allowed(format!("vhost {vhost_name} not found")))?;
        if let Some(limit) = vhost.limits().max_connections
            && self.connections.count_where(|it| *it.options.vhost == *vhost_name) >= limit
        {
            return Err(Error::not_allowed(format!(
                "access to vhost '{vhost_name}' refused for user '{user}': connection limit ({limit}) is reached"
            )));
        }
        if let Some(limit) = self.users.limits(user).max_connections
            && self.connections.count_where(|it| it.options.user == user) >= limit
        {
            return Err(Error::not_allowed(format!(
                "connection refused for user '{user}': user connection limit ({limit}) is reached"
            )));
        }
        let access = self.users.access(user, vhost_name).ok_or_else(|| {
            Error::not_allowed(format!("access to vhost '{vhost_name}' refused for user '{user}'"))
        })?;
        Ok((vhost, access))
    }

    /// Whether the user may open one more channel.
    ///
    /// # Errors
    /// `NotAllowed` where the user has as many as they may.
    pub fn check_channel_limit(&self, user: &str) -> Result<(), Error> {
        let Some(limit) = self.users.limits(user).max_channels else { return Ok(()) };
        let of_user = self.connections.list().into_iter().filter(|it| it.options.user == user);
        if of_user.map(|it| it.channel_count() as u64).sum::<u64>() < limit {
            return Ok(());
        }
        Err(Error::not_allowed(format!(
            "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({limit})"
        )))
    }

    /// Closes a connection whose user or virtual host was deleted while it opened.
    pub fn close_if_orphaned(&self, connection: &Connection) {
        let ConnectionOptions { user, vhost, .. } = &connection.options;
        if self.users.find(user).is_none() {
            connection.close(&user_is_deleted(user));
        } else if self.vhost(vhost).is_none() {
            connection.close(&vhost_is_deleted(vhost));
        }
    }

    fn check_ends(&self, user: &str, vhost: &str) -> Result<(), Error> {
        self.user(user)?;
        if self.vhost(vhost).is_none() {
            return Err(Error::not_found(format!("no vhost '{vhost}'")));
        }
        Ok(())
    }

    /// Makes the changes that `plan` comes up with: first in the catalog, then here.
    pub(crate) fn administer<T>(
        &self,
        plan: impl FnOnce(&Self) -> Result<(Vec<Change>, T), Error>,
    ) -> Result<T, Error> {
        let _one_at_a_time = self.administering.lock();
        let (changes, result) = plan(self)?;
        self.keep(&changes)?;
        for change in &changes {
            self.apply(change);
        }
        // Routes that were found with other permissions are void.
        self.vhosts().iter().for_each(|vhost| vhost.void_routes());
        Ok(result)
    }

    /// Takes over a change that has been written down.
    pub(crate) fn apply(&self, change: &Change) {
        self.users.apply(change);
        self.global_parameters.apply(change);
        match change {
            Change::PutVhost { name, settings } => self.insert_vhost(name).set_settings(settings.clone()),
            Change::DropVhost { name } => self.remove_vhost(name),
            _ => {}
        }
    }
}

/// What a broker that has begun is known by.
fn begun(cluster_id: &str) -> Change {
    Change::PutGlobalParameter(GlobalParameter { name: CLUSTER_ID.into(), value: cluster_id.into() })
}

fn user_is_deleted(name: &str) -> String {
    format!("user '{name}' is deleted")
}

fn vhost_is_deleted(name: &str) -> String {
    format!("vhost '{name}' is deleted")
}

fn check_name(kind: &str, name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > 255 {
        return Err(Error::precondition(format!("the name of a {kind} has 1 to 255 bytes")));
    }
    Ok(())
}
