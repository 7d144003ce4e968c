//! What a user may do in a virtual host: configure, write and read, by regular expressions on the names of queues and
//! exchanges, and on routing keys where an exchange is a topic.
//!
//! The rules are RabbitMQ's (<https://www.rabbitmq.com/docs/access-control>). Which operation asks for which
//! permission is decided where the operation is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::pattern::Pattern;
use crate::{Error, Owner};

/// A user's permissions in a virtual host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// What may be declared and deleted.
    pub configure: Pattern,
    /// What may be published to, and bound to something.
    pub write: Pattern,
    /// What may be consumed from, and bound from.
    pub read: Pattern,
}

impl Permission {
    /// # Errors
    /// `PreconditionFailed` where one is no regular expression.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, Error> {
        Ok(Self {
            configure: Pattern::new(configure)?,
            write: Pattern::new(write)?,
            read: Pattern::new(read)?,
        })
    }

    /// For everything.
    ///
    /// # Errors
    /// None.
    pub fn full() -> Result<Self, Error> {
        Self::new(".*", ".*", ".*")
    }

    fn of(&self, operation: Operation) -> &Pattern {
        match operation {
            Operation::Configure => &self.configure,
            Operation::Write => &self.write,
            Operation::Read => &self.read,
        }
    }
}

/// A user's permissions on the routing keys of a topic exchange. `{username}` and `{vhost}` stand for the names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPermission {
    /// Keys that may be published with.
    pub write: String,
    /// Keys that may be bound with.
    pub read: String,
}

impl TopicPermission {
    /// # Errors
    /// `PreconditionFailed` where one is no regular expression.
    pub fn new(write: &str, read: &str) -> Result<Self, Error> {
        let permission = Self { write: write.into(), read: read.into() };
        permission.check().map(|()| permission)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.compiled("user", "vhost").map(|_| ())
    }

    /// With the variables filled in. `{client_id}` is MQTT's: here it stays as it is.
    fn compiled(&self, user: &str, vhost: &str) -> Result<TopicPatterns, Error> {
        let compile = |source: &str| {
            let source = source.replace("{username}", &fancy_regex::escape(user));
            let source = source.replace("{vhost}", &fancy_regex::escape(vhost));
            Pattern::new(&source.replace("{client_id}", r"\{client_id\}"))
        };
        Ok(TopicPatterns { write: compile(&self.write)?, read: compile(&self.read)? })
    }
}

struct TopicPatterns {
    write: Pattern,
    read: Pattern,
}

/// What is done to a queue or an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// To declare or delete it.
    Configure,
    /// To publish or bind to it.
    Write,
    /// To consume or bind from it.
    Read,
}

/// What it is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A queue, by name.
    Queue(&'a str),
    /// An exchange, by name.
    Exchange(&'a str),
}

impl<'a> Resource<'a> {
    fn kind_and_name(self) -> (&'static str, &'a str) {
        match self {
            Self::Queue(name) => ("queue", name),
            // The default exchange has a name for permissions only.
            Self::Exchange("") => ("exchange", "amq.default"),
            Self::Exchange(name) => ("exchange", name),
        }
    }
}

/// What a user may do in a virtual host, ready to be asked.
pub struct Access {
    user: Arc<str>,
    vhost: Arc<str>,
    /// `None` where the user may do nothing.
    permission: Option<Arc<Permission>>,
    /// By exchange, `None` where they allow nothing. Where an exchange is not named, all its keys are allowed.
    topics: Vec<(String, Option<TopicPatterns>)>,
}

impl Access {
    pub(crate) fn new<'p>(
        user: &str,
        vhost: &str,
        permission: Option<Arc<Permission>>,
        topics: impl Iterator<Item = (&'p String, &'p TopicPermission)>,
    ) -> Self {
        let topics = topics.map(|(exchange, topic)| {
            // They were compiled with other names when they were set; those that do not with these allow nothing.
            (exchange.clone(), topic.compiled(user, vhost).ok())
        });
        Self { topics: topics.collect(), user: user.into(), vhost: vhost.into(), permission }
    }

    /// Nothing is allowed.
    #[must_use]
    pub fn none(user: &str, vhost: &str) -> Self {
        Self { user: user.into(), vhost: vhost.into(), permission: None, topics: Vec::new() }
    }

    /// Of the broker itself: everything is allowed.
    #[must_use]
    pub fn unlimited() -> Self {
        let permission = Permission::full().ok().map(Arc::new);
        Self { user: "".into(), vhost: "".into(), permission, topics: Vec::new() }
    }

    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &Arc<str> {
        &self.user
    }

    /// # Errors
    /// `AccessRefused` where the user may not.
    pub fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), Error> {
        let (kind, name) = resource.kind_and_name();
        let allowed = |permission: &Arc<Permission>| permission.of(operation).allows(name);
        if self.permission.as_ref().is_some_and(allowed) {
            return Ok(());
        }
        Err(Error::refused(format!(
            "access to {kind} '{name}' in vhost '{}' refused for user '{}'",
            self.vhost, self.user
        )))
    }

    /// Checks the routing key at a topic exchange; `operation` is to write or to read.
    ///
    /// # Errors
    /// `AccessRefused` where the user may not.
    pub fn check_topic(&self, operation: Operation, exchange: &str, routing_key: &str) -> Result<(), Error> {
        let Some((_, patterns)) = self.topics.iter().find(|(name, _)| **name == *exchange) else {
            return Ok(());
        };
        let is_write = operation == Operation::Write;
        let pattern = patterns.as_ref().map(|it| if is_write { &it.write } else { &it.read });
        if pattern.is_some_and(|pattern| pattern.allows(routing_key)) {
            return Ok(());
        }
        Err(Error::refused(format!(
            "access to topic '{routing_key}' in exchange topic '{exchange}' in vhost '{}' refused for user '{}'",
            self.vhost, self.user
        )))
    }
}

/// Who asks for an operation: a connection, or somebody at the management, who owns no queue.
#[derive(Clone)]
pub struct Client {
    /// The connection, as the owner of exclusive queues.
    pub owner: Owner,
    /// What the user may do.
    pub access: Arc<Access>,
    /// Whether what it declares is written down later, many declarations at once: nobody is to be told of any before
    /// [`Vhost::commit`](crate::Vhost::commit). Otherwise each is when its operation returns.
    pub grouped: bool,
}

impl Client {
    /// Somebody with these permissions and no connection.
    #[must_use]
    pub fn without_connection(access: Arc<Access>) -> Self {
        Self { owner: Owner::NOBODY, access, grouped: false }
    }

    /// The broker itself.
    #[must_use]
    pub fn broker() -> Self {
        Self::without_connection(Arc::new(Access::unlimited()))
    }
}
