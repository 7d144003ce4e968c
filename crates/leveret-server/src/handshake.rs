//! The opening of a connection (spec 2.2.4): protocol header, log-in, tuning, choice of the virtual host.

use std::sync::Arc;

use leveret_amqp::{
    DecodeError, FieldTable, FrameKind, Method, PROTOCOL_HEADER, ReplyCode, Table, Value, connection,
    parse_frame, write_method,
};
use leveret_broker::{Access, Login, Vhost};
use tokio::io;

use crate::reply::Exception;
use crate::socket::{ReadBuffer, Reader};
use crate::{Outbox, Shared};

/// What was agreed.
pub(crate) struct Opened {
    pub(crate) vhost: Arc<Vhost>,
    pub(crate) user: String,
    pub(crate) access: Arc<Access>,
    pub(crate) client: Client,
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    pub(crate) heartbeat_s: u16,
    /// How the client logged in.
    pub(crate) mechanism: String,
    /// What the client says of itself, as it says it.
    pub(crate) client_properties: FieldTable,
}

/// What a client says of itself.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Its `connection_name`, for logs and lists.
    pub(crate) name: Option<String>,
    /// It wants `basic.cancel` when a queue of its consumers goes.
    pub(crate) consumer_cancel_notify: bool,
    /// It wants to be told that its publishes are not read for a while.
    pub(crate) connection_blocked: bool,
    /// It wants to be told why a log-in failed.
    authentication_failure_close: bool,
}

/// Why a connection did not open.
#[derive(Debug)]
pub(crate) enum NotOpened {
    /// The peer is gone.
    Gone,
    /// It spoke something else; it was told what is spoken here.
    WrongProtocol,
    /// It is to be closed with this exception.
    Refused(Exception),
    /// Log-in failed, and the client did not ask to be told.
    RefusedSilently(Exception),
}

impl From<io::Error> for NotOpened {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl From<DecodeError> for NotOpened {
    fn from(error: DecodeError) -> Self {
        Self::Refused(error.into())
    }
}

/// What `connection.start-ok` has told.
struct LoggedIn {
    user: String,
    client: Client,
    mechanism: String,
    client_properties: FieldTable,
}

/// One opening.
pub(crate) struct Handshake<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) reader: &'a mut Reader,
    pub(crate) buffer: &'a mut ReadBuffer,
    pub(crate) outbox: &'a Outbox,
    /// Whether the peer's address is a loopback one.
    pub(crate) from_loopback: bool,
    /// Common name of the client's certificate, where it has shown one.
    pub(crate) certificate_name: Option<String>,
}

impl Handshake<'_> {
    /// Goes through all steps.
    pub(crate) async fn run(mut self) -> Result<Opened, NotOpened> {
        self.protocol_header().await?;
        self.send_start();
        let LoggedIn { user, client, mechanism, client_properties } = self.log_in().await?;
        let config = &self.shared.config;
        let offered = connection::Tune {
            channel_max: config.channel_max,
            frame_max: config.frame_max_bytes,
            heartbeat: config.heartbeat_s,
        };
        self.send(offered);
        let tuned = self.tune(offered).await?;
        let (vhost, access) = self.open(&user).await?;
        Ok(Opened {
            vhost,
            user,
            access,
            client,
            channel_max: tuned.channel_max,
            frame_max: tuned.frame_max,
            heartbeat_s: tuned.heartbeat,
            mechanism,
            client_properties,
        })
    }

    async fn protocol_header(&mut self) -> Result<(), NotOpened> {
        loop {
            let unread = self.buffer.unread();
            let len = unread.len().min(PROTOCOL_HEADER.len());
            if unread[..len] != PROTOCOL_HEADER[..len] {
                self.outbox.lock().frames.extend_from_slice(&PROTOCOL_HEADER);
                return Err(NotOpened::WrongProtocol);
            }
            if len == PROTOCOL_HEADER.len() {
                self.buffer.consume(len);
                return Ok(());
            }
            self.read_more().await?;
        }
    }

    fn send_start(&mut self) {
        let properties = server_properties().encode();
        let mechanisms: &[u8] =
            if self.certificate_name.is_some() { b"EXTERNAL PLAIN AMQPLAIN" } else { b"PLAIN AMQPLAIN" };
        self.send(connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: Table::parse(&properties).unwrap_or_default(),
            mechanisms,
            locales: b"en_US",
        });
    }

    async fn log_in(&mut self) -> Result<LoggedIn, NotOpened> {
        let payload = self.next_method().await?;
        let method = Method::read(&mut leveret_amqp::Reader::new(&payload))?;
        let Method::Connection(connection::Method::StartOk(start_ok)) = method else {
            return Err(out_of_order(method));
        };
        let client = Client::from_properties(start_ok.client_properties);
        let user = self.user(start_ok.mechanism, start_ok.response).await?.ok_or_else(|| {
            let text = format!(
                "Login was refused using authentication mechanism {}. For details see the broker logfile.",
                start_ok.mechanism
            );
            let refused = Exception::new(ReplyCode::ACCESS_REFUSED, text);
            if client.authentication_failure_close {
                NotOpened::Refused(refused)
            } else {
                NotOpened::RefusedSilently(refused)
            }
        })?;
        Ok(LoggedIn {
            user,
            client,
            mechanism: start_ok.mechanism.into(),
            client_properties: start_ok.client_properties.to_owned(),
        })
    }

    /// The user that the response proves to be there; `None` where it proves nothing.
    async fn user(&self, mechanism: &str, response: &[u8]) -> Result<Option<String>, NotOpened> {
        let credentials = match mechanism {
            "PLAIN" => plain(response),
            "AMQPLAIN" => amqplain(response),
            "EXTERNAL" => {
                let name = self.certificate_name.clone();
                let users = &self.shared.broker.users;
                return Ok(name.filter(|name| users.admits(name, Login::Certificate, self.from_loopback)));
            }
            other => {
                let text = format!("unknown authentication mechanism '{other}'");
                return Err(NotOpened::Refused(Exception::new(ReplyCode::COMMAND_INVALID, text)));
            }
        };
        Ok(match credentials {
            Some((name, password)) => {
                self.shared.admits(&name, password, self.from_loopback).await.then_some(name)
            }
            None => None,
        })
    }

    async fn tune(&mut self, offered: connection::Tune) -> Result<connection::TuneOk, NotOpened> {
        let payload = self.next_method().await?;
        let method = Method::read(&mut leveret_amqp::Reader::new(&payload))?;
        let Method::Connection(connection::Method::TuneOk(asked)) = method else {
            return Err(out_of_order(method));
        };
        agree("channel_max", asked.channel_max.into(), offered.channel_max.into(), 1)?;
        agree("frame_max", asked.frame_max, offered.frame_max, leveret_amqp::FRAME_MIN_SIZE)?;
        Ok(asked)
    }

    async fn open(&mut self, user: &str) -> Result<(Arc<Vhost>, Arc<Access>), NotOpened> {
        let payload = self.next_method().await?;
        let method = Method::read(&mut leveret_amqp::Reader::new(&payload))?;
        let Method::Connection(connection::Method::Open(open)) = method else {
            return Err(out_of_order(method));
        };
        let opened = self.shared.broker.admit(user, open.virtual_host);
        let opened = opened.map_err(|error| NotOpened::Refused(error.into()))?;
        self.send(connection::OpenOk { reserved_1: "" });
        Ok(opened)
    }

    /// The payload of the next frame but heartbeats, which must be a method of the connection.
    async fn next_method(&mut self) -> Result<Vec<u8>, NotOpened> {
        loop {
            let Some(frame) = parse_frame(self.buffer.unread(), self.shared.config.frame_max_bytes)? else {
                self.read_more().await?;
                continue;
            };
            let (kind, channel, len) = (frame.kind, frame.channel, frame.wire_len());
            let payload = frame.payload.to_vec();
            self.buffer.consume(len);
            match kind {
                FrameKind::Heartbeat => {}
                FrameKind::Method if channel == 0 => return Ok(payload),
                _ => {
                    let text = format!("{kind:?} frame on channel {channel} while the connection opens");
                    return Err(NotOpened::Refused(Exception::new(ReplyCode::UNEXPECTED_FRAME, text)));
                }
            }
        }
    }

    async fn read_more(&mut self) -> Result<(), NotOpened> {
        self.outbox.flush(&mut leveret_broker::Effects::default());
        match self.buffer.fill(self.reader).await? {
            0 => Err(NotOpened::Gone),
            _ => Ok(()),
        }
    }

    fn send<'m>(&self, method: impl Into<Method<'m>>) {
        write_method(0, method, &mut self.outbox.lock().frames);
    }
}

impl Client {
    fn from_properties(properties: Table<'_>) -> Self {
        let capabilities = match properties.find("capabilities") {
            Some(leveret_amqp::ValueRef::Table(table)) => table,
            _ => Table::default(),
        };
        let capable = |name| capabilities.find(name) == Some(leveret_amqp::ValueRef::Bool(true));
        Self {
            name: properties.find("connection_name").and_then(leveret_amqp::ValueRef::as_str).map(Into::into),
            consumer_cancel_notify: capable("consumer_cancel_notify"),
            connection_blocked: capable("connection.blocked"),
            authentication_failure_close: capable("authentication_failure_close"),
        }
    }
}

fn server_properties() -> FieldTable {
    let capabilities = [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ];
    let capabilities = FieldTable::from_iter(capabilities.map(|name| (name, true)));
    FieldTable::from_iter([
        ("capabilities", Value::from(capabilities)),
        ("product", "Leveret".into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("platform", concat!("Rust ", env!("CARGO_PKG_RUST_VERSION")).into()),
        ("information", "A RabbitMQ-compatible message broker".into()),
    ])
}

/// Authorisation identity, name and password, each after a zero byte (RFC 4616). The first is not looked at.
fn plain(response: &[u8]) -> Option<(String, String)> {
    let mut parts = response.split(|byte| *byte == 0).skip(1);
    let (name, password) = (parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    Some((text(name)?, text(password)?))
}

/// A field table without its length, with `LOGIN` and `PASSWORD`.
fn amqplain(response: &[u8]) -> Option<(String, String)> {
    let table = Table::parse(response).ok()?;
    Some((table.find("LOGIN")?.as_str()?.into(), table.find("PASSWORD")?.as_str()?.into()))
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(Into::into)
}

/// A client may ask for less than offered, but neither for more nor, with 0, for no limit.
fn agree(what: &str, asked: u32, offered: u32, least: u32) -> Result<(), NotOpened> {
    let problem = if asked == 0 || asked > offered {
        format!("higher than the maximum allowed value ({offered})")
    } else if asked < least {
        format!("lower than the minimum allowed value ({least})")
    } else {
        return Ok(());
    };
    let no_limit = if what == "channel_max" && asked == 0 { " (no limit)" } else { "" };
    let text = format!("negotiated {what} = {asked}{no_limit} is {problem}");
    Err(NotOpened::Refused(Exception::new(ReplyCode::NOT_ALLOWED, text)))
}

fn out_of_order(method: Method<'_>) -> NotOpened {
    let (class, method) = method.ids();
    let text = format!("method {class}.{method} while the connection opens");
    NotOpened::Refused(Exception::new(ReplyCode::COMMAND_INVALID, text))
}
