//! How a peer opens a connection: who it says it is and what it asks for. The defaults are those of a modest
//! client that takes what it is offered.

use leveret_amqp::{FieldTable, Table, Value, connection};

use crate::table;

/// What a peer says while its connection opens.
#[derive(Clone, Debug)]
pub struct Login {
    /// How it proves who it is.
    pub mechanism: Mechanism,
    /// The user's name.
    pub user: &'static str,
    /// The user's password.
    pub password: &'static str,
    /// The virtual host; `None` takes the one that the test has.
    pub vhost: Option<&'static str>,
    /// Most channels; `None` takes what is offered.
    pub channel_max: Option<u16>,
    /// Largest frame in bytes; `None` takes what is offered.
    pub frame_max: Option<u32>,
    /// Heartbeat in seconds. Default 0, none.
    pub heartbeat_s: u16,
    /// The capabilities that it announces.
    pub capabilities: &'static [&'static str],
}

/// The log-in mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mechanism {
    Plain,
    AmqPlain,
    External,
    /// One that no broker knows.
    Unknown,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            mechanism: Mechanism::Plain,
            user: "guest",
            password: "guest",
            vhost: None,
            channel_max: None,
            frame_max: None,
            heartbeat_s: 0,
            capabilities: &["authentication_failure_close", "consumer_cancel_notify", "basic.nack"],
        }
    }
}

impl Mechanism {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl Login {
    pub(crate) fn client_properties(&self) -> Table<'static> {
        let capabilities = FieldTable::from_iter(self.capabilities.iter().map(|name| (*name, true)));
        table([("product", Value::from("testkit")), ("capabilities", capabilities.into())])
    }

    pub(crate) fn response(&self) -> Vec<u8> {
        let (user, password) = (self.user, self.password);
        match self.mechanism {
            Mechanism::AmqPlain => FieldTable::from_iter([("LOGIN", user), ("PASSWORD", password)]).encode(),
            Mechanism::External => Vec::new(),
            Mechanism::Plain | Mechanism::Unknown => format!("\0{user}\0{password}").into_bytes(),
        }
    }

    pub(crate) fn tune(&self, offered: connection::Tune) -> connection::TuneOk {
        connection::TuneOk {
            channel_max: self.channel_max.unwrap_or(offered.channel_max),
            frame_max: self.frame_max.unwrap_or(offered.frame_max),
            heartbeat: self.heartbeat_s,
        }
    }
}
