//! What is declared durably and administered, as changes that somebody else writes down and gives back after a restart.

use std::sync::Arc;

use leveret_amqp::FieldTable;

use crate::{
    ExchangeOptions, GlobalParameter, Parameter, QueueOptions, User, UserPermission, UserTopicPermission,
    VhostSettings,
};

/// Keeps the durable declarations. The core calls it with no lock held that others wait for.
pub trait Catalog: Send + Sync {
    /// Writes the changes down, all or none of them, before it returns.
    ///
    /// # Errors
    /// Why it could not, in words for the client.
    fn keep(&self, changes: &[Change]) -> Result<(), String>;
}

/// A change of what is declared durably. To put what is there already replaces it; to drop what is not there
/// changes nothing.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
#[allow(clippy::large_enum_variant, reason = "few are alive at a time")]
pub enum Change {
    PutVhost {
        name: Arc<str>,
        settings: VhostSettings,
    },
    /// Goes with everything that is declared in it; permissions and parameters are dropped by name.
    DropVhost {
        name: Arc<str>,
    },
    /// `shelf` is where it holds messages in the store, if it does.
    PutExchange {
        vhost: Arc<str>,
        name: Arc<str>,
        shelf: Option<u64>,
        options: ExchangeOptions,
    },
    /// Goes with all bindings from it.
    DropExchange {
        vhost: Arc<str>,
        name: Arc<str>,
    },
    /// `id` is the queue's number in the store.
    PutQueue {
        vhost: Arc<str>,
        name: Arc<str>,
        id: u64,
        options: QueueOptions,
    },
    DropQueue {
        vhost: Arc<str>,
        name: Arc<str>,
    },
    PutBinding {
        vhost: Arc<str>,
        binding: KeptBinding,
    },
    DropBinding {
        vhost: Arc<str>,
        binding: KeptBinding,
    },
    PutUser(User),
    /// Its permissions are dropped by name.
    DropUser {
        name: String,
    },
    PutPermission(UserPermission),
    DropPermission {
        user: String,
        vhost: String,
    },
    PutTopicPermission(UserTopicPermission),
    DropTopicPermission {
        user: String,
        vhost: String,
        exchange: String,
    },
    PutParameter(Parameter),
    DropParameter {
        vhost: String,
        component: String,
        name: String,
    },
    PutGlobalParameter(GlobalParameter),
    DropGlobalParameter {
        name: String,
    },
}

/// A binding between durable ends.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct KeptBinding {
    pub source: Arc<str>,
    pub destination: Arc<str>,
    /// Whether the destination is a queue rather than an exchange.
    pub to_queue: bool,
    pub key: Arc<str>,
    pub arguments: FieldTable,
}
