//! Who may log in, with which tags, limits and permissions. Changes are written down by the broker, which owns this.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::password::same_bytes;
use crate::{Access, Change, PasswordHash, Permission, TopicPermission, UserLimits};

/// A user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The name, unique in the broker.
    pub name: String,
    /// The password, as a hash.
    #[serde(flatten)]
    pub password: PasswordHash,
    /// What it may do at the management: `administrator`, `monitoring`, `policymaker`, `management`; others mean
    /// nothing to Leveret.
    pub tags: Vec<String>,
    /// What it may have at once.
    #[serde(default)]
    pub limits: UserLimits,
}

/// A user's permissions in a virtual host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPermission {
    /// The user.
    pub user: String,
    /// The virtual host.
    pub vhost: String,
    /// What it may do there.
    #[serde(flatten)]
    pub permission: Permission,
}

/// A user's permissions at a topic exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserTopicPermission {
    /// The user.
    pub user: String,
    /// The virtual host.
    pub vhost: String,
    /// The exchange; the default one has an empty name.
    pub exchange: String,
    /// The keys.
    #[serde(flatten)]
    pub permission: TopicPermission,
}

/// How somebody says who they are.
#[derive(Clone, Copy, Debug)]
pub enum Login<'a> {
    /// By name and password.
    Password(&'a str),
    /// By a certificate that the transport has verified.
    Certificate,
}

/// The users of a broker.
#[derive(Default)]
pub struct Users {
    accounts: RwLock<BTreeMap<String, Account>>,
    /// Names that may log in from loopback addresses only.
    loopback_only: Vec<String>,
    /// What the last good password of a user is known by again.
    verified: Mutex<FxHashMap<String, [u8; 32]>>,
    version: AtomicU64,
}

struct Account {
    user: User,
    /// By virtual host.
    permissions: BTreeMap<String, Arc<Permission>>,
    /// By virtual host and exchange.
    topic_permissions: BTreeMap<(String, String), TopicPermission>,
}

impl Users {
    /// No user yet; those named may log in from loopback addresses only.
    #[must_use]
    pub fn new(loopback_only: Vec<String>) -> Self {
        Self { loopback_only, ..Self::default() }
    }

    /// Whether the user may log in so, from a loopback address or from elsewhere. May take milliseconds.
    #[must_use]
    pub fn admits(&self, name: &str, login: Login<'_>, from_loopback: bool) -> bool {
        if !from_loopback && self.loopback_only.iter().any(|user| user == name) {
            return false;
        }
        let Some(user) = self.find(name) else { return false };
        match login {
            Login::Certificate => true,
            Login::Password(password) => self.knows(&user, password),
        }
    }

    fn knows(&self, user: &User, password: &str) -> bool {
        let fingerprint = user.password.fingerprint(password);
        let seen = self.verified.lock().get(&user.name).copied();
        if seen.is_some_and(|seen| same_bytes(&seen, &fingerprint)) {
            return true;
        }
        let matches = user.password.matches(password);
        if matches {
            self.verified.lock().insert(user.name.clone(), fingerprint);
        }
        matches
    }

    /// All users, by name.
    #[must_use]
    pub fn all(&self) -> Vec<User> {
        self.accounts.read().values().map(|account| account.user.clone()).collect()
    }

    /// The user of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<User> {
        self.accounts.read().get(name).map(|account| account.user.clone())
    }

    /// The limits of a user; none where there is no such user.
    #[must_use]
    pub fn limits(&self, name: &str) -> UserLimits {
        self.accounts.read().get(name).map(|account| account.user.limits).unwrap_or_default()
    }

    /// A number that changes whenever users or permissions do.
    #[must_use]
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What a user may do in a virtual host; `None` where they may not even enter.
    #[must_use]
    pub fn access(&self, name: &str, vhost: &str) -> Option<Arc<Access>> {
        let accounts = self.accounts.read();
        let account = accounts.get(name)?;
        let permission = Some(Arc::clone(account.permissions.get(vhost)?));
        let topics = account.topic_permissions.iter().filter(|((of_vhost, _), _)| **of_vhost == *vhost);
        let topics = topics.map(|((_, exchange), topic)| (exchange, topic));
        Some(Arc::new(Access::new(name, vhost, permission, topics)))
    }

    /// All permissions, by user and virtual host.
    #[must_use]
    pub fn permissions(&self) -> Vec<UserPermission> {
        let accounts = self.accounts.read();
        let of_account = |account: &Account| {
            let user = account.user.name.clone();
            let all = account.permissions.iter().map(move |(vhost, permission)| UserPermission {
                user: user.clone(),
                vhost: vhost.clone(),
                permission: Permission::clone(permission),
            });
            all.collect::<Vec<_>>()
        };
        accounts.values().flat_map(of_account).collect()
    }

    /// All topic permissions, by user, virtual host and exchange.
    #[must_use]
    pub fn topic_permissions(&self) -> Vec<UserTopicPermission> {
        let accounts = self.accounts.read();
        let of_account = |account: &Account| {
            let user = account.user.name.clone();
            let all = account.topic_permissions.iter().map(move |((vhost, exchange), permission)| {
                UserTopicPermission {
                    user: user.clone(),
                    vhost: vhost.clone(),
                    exchange: exchange.clone(),
                    permission: permission.clone(),
                }
            });
            all.collect::<Vec<_>>()
        };
        accounts.values().flat_map(of_account).collect()
    }

    /// Takes over what has been written down. What is not about users is not for here.
    pub(crate) fn apply(&self, change: &Change) {
        let accounts = &mut *self.accounts.write();
        match change.clone() {
            Change::PutUser(user) => put_user(accounts, user),
            Change::DropUser { name } => {
                accounts.remove(&name);
                self.verified.lock().remove(&name);
            }
            Change::PutPermission(UserPermission { user, vhost, permission }) => {
                accounts
                    .get_mut(&user)
                    .and_then(|account| account.permissions.insert(vhost, Arc::new(permission)));
            }
            Change::DropPermission { user, vhost } => {
                accounts.get_mut(&user).and_then(|account| account.permissions.remove(&vhost));
            }
            Change::PutTopicPermission(UserTopicPermission { user, vhost, exchange, permission }) => {
                accounts
                    .get_mut(&user)
                    .and_then(|account| account.topic_permissions.insert((vhost, exchange), permission));
            }
            Change::DropTopicPermission { user, vhost, exchange } => {
                accounts
                    .get_mut(&user)
                    .and_then(|account| account.topic_permissions.remove(&(vhost, exchange)));
            }
            _ => return,
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// What goes with a user or a virtual host, so that the catalog forgets it too.
    pub(crate) fn drops(&self, user: Option<&str>, vhost: Option<&str>) -> Vec<Change> {
        let is = |wanted: Option<&str>, it: &str| wanted.is_none_or(|wanted| wanted == it);
        let permissions = self.permissions().into_iter();
        let permissions = permissions.filter(|it| is(user, &it.user) && is(vhost, &it.vhost));
        let topics = self.topic_permissions().into_iter();
        let topics = topics.filter(|it| is(user, &it.user) && is(vhost, &it.vhost));
        let drops = permissions.map(|it| Change::DropPermission { user: it.user, vhost: it.vhost });
        drops.chain(topics.map(drop_topic_permission)).collect()
    }

    /// What goes with a user's permissions at an exchange, or at all of a virtual host.
    pub(crate) fn drops_of_topics(&self, user: &str, vhost: &str, exchange: Option<&str>) -> Vec<Change> {
        let is_one = |it: &UserTopicPermission| {
            *it.user == *user
                && *it.vhost == *vhost
                && exchange.is_none_or(|exchange| *it.exchange == *exchange)
        };
        self.topic_permissions().into_iter().filter(is_one).map(drop_topic_permission).collect()
    }
}

fn drop_topic_permission(it: UserTopicPermission) -> Change {
    Change::DropTopicPermission { user: it.user, vhost: it.vhost, exchange: it.exchange }
}

fn put_user(accounts: &mut BTreeMap<String, Account>, user: User) {
    match accounts.get_mut(&user.name) {
        Some(account) => account.user = user,
        None => {
            let name = user.name.clone();
            let account = Account { user, permissions: BTreeMap::new(), topic_permissions: BTreeMap::new() };
            accounts.insert(name, account);
        }
    }
}
