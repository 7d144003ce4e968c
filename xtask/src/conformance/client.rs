//! One connection of a case: bytes out, frames in, assembled to methods with their content. What has come and
//! nobody has asked for yet waits in order. Nothing here knows what a case expects.

use std::collections::{BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use leveret_amqp::{
    ContentHeader, FRAME_OVERHEAD, FieldTable, FrameKind, PROTOCOL_HEADER, Value, parse_frame,
    write_body_frames,
};

use super::method::{Fields, Method, WITH_CONTENT, read_properties, write_properties};

/// How long anything may take to come. Two brokers and everything else of a test run share the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Where a broker is, and who we are there.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
}

impl Address {
    /// Reads `amqp://USER:PASSWORD@HOST:PORT/VHOST`; without a virtual host it is `/`.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let wrong = || format!("'{url}' is not amqp://USER:PASSWORD@HOST:PORT");
        let rest = url.strip_prefix("amqp://").with_context(wrong)?;
        let (rest, vhost) = match rest.split_once('/') {
            Some((rest, vhost)) if !vhost.is_empty() => (rest, vhost.replace("%2F", "/").replace("%2f", "/")),
            Some((rest, _)) => (rest, "/".into()),
            None => (rest, "/".into()),
        };
        let (login, host) = rest.rsplit_once('@').unwrap_or(("guest:guest", rest));
        let (user, password) = login.split_once(':').with_context(wrong)?;
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:5672") };
        Ok(Self { host, user: user.into(), password: password.into(), vhost })
    }
}

/// A method that came, with its message if it has one.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) channel: u16,
    pub(crate) method: &'static Method,
    pub(crate) fields: Fields,
    pub(crate) content: Option<(Fields, Vec<u8>)>,
}

/// How a client logs in.
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
    pub(crate) channel_max: Option<u16>,
    pub(crate) frame_max: Option<u32>,
    pub(crate) heartbeat: u16,
    pub(crate) capabilities: Vec<String>,
}

/// A connection.
pub(crate) struct Client {
    socket: TcpStream,
    received: Vec<u8>,
    frame_max: u32,
    /// The message that is coming.
    partial: Option<(Arrival, usize)>,
    pub(crate) waiting: VecDeque<Arrival>,
    /// The channels that are open.
    pub(crate) open: BTreeSet<u16>,
    /// Whether the connection is closed: whoever wants more opens another.
    pub(crate) closed: bool,
    /// Whether the broker has closed the socket.
    pub(crate) ended: bool,
    /// What the broker says it is, once it has said so.
    pub(crate) server: FieldTable,
}

impl Client {
    /// Connects, and says nothing yet.
    pub(crate) fn connect(address: &Address) -> Result<Self> {
        let host = address.host.to_socket_addrs().ok().and_then(|mut all| all.next());
        let host = host.with_context(|| format!("{} is no address", address.host))?;
        let socket =
            TcpStream::connect_timeout(&host, PATIENCE).with_context(|| format!("no broker at {host}"))?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket,
            received: Vec::new(),
            frame_max: 0,
            partial: None,
            waiting: VecDeque::new(),
            open: BTreeSet::new(),
            closed: false,
            ended: false,
            server: FieldTable::default(),
        })
    }

    /// Opens the connection. Where the broker refuses, what it says instead waits to be expected.
    pub(crate) fn log_in(&mut self, login: &Login) -> Result<()> {
        self.send_bytes(&PROTOCOL_HEADER);
        let Some(start) = self.opening("connection.start")? else { return Ok(()) };
        if let Some((_, Value::Table(properties))) =
            start.fields.into_iter().find(|(name, _)| *name == "server-properties")
        {
            self.server = properties;
        }
        let response = format!("\0{}\0{}", login.user, login.password);
        let capabilities = FieldTable::from_iter(login.capabilities.iter().map(|name| (name, true)));
        let properties = FieldTable::from_iter([
            ("product", Value::from("conformance")),
            ("capabilities", capabilities.into()),
        ]);
        let start_ok = [
            ("client-properties", properties.into()),
            ("mechanism", Value::from("PLAIN")),
            ("response", response.as_str().into()),
            ("locale", "en_US".into()),
        ];
        self.send(0, "connection.start-ok", start_ok)?;
        let Some(tune) = self.opening("connection.tune")? else { return Ok(()) };
        let offered = |field| tune.number(field).unwrap_or_default();
        let channel_max = login.channel_max.map_or_else(|| offered("channel-max"), i64::from);
        let frame_max = login.frame_max.map_or_else(|| offered("frame-max"), i64::from);
        self.frame_max = u32::try_from(frame_max)?;
        let tune_ok = [
            ("channel-max", Value::I64(channel_max)),
            ("frame-max", Value::I64(frame_max)),
            ("heartbeat", Value::U16(login.heartbeat)),
        ];
        self.send(0, "connection.tune-ok", tune_ok)?;
        self.send(0, "connection.open", [("virtual-host", Value::from(login.vhost.as_str()))])?;
        self.opening("connection.open-ok")?;
        Ok(())
    }

    /// The answer that opening waits for; `None` where the broker said something else, or closed.
    fn opening(&mut self, name: &str) -> Result<Option<Arrival>> {
        let deadline = Instant::now() + PATIENCE;
        while self.waiting.is_empty() && !self.ended {
            self.read(deadline)?;
        }
        if self.waiting.front().is_some_and(|first| first.method.name == name) {
            return Ok(self.waiting.pop_front());
        }
        Ok(None)
    }

    /// Sends a method by its name.
    pub(crate) fn send<const N: usize>(
        &mut self,
        channel: u16,
        name: &str,
        fields: [(&str, Value); N],
    ) -> Result<()> {
        let method = Method::named(name).with_context(|| format!("there is no method {name}"))?;
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.send_frame(FrameKind::Method as u8, channel, &method.encode(&fields)?);
        Ok(())
    }

    /// Sends a frame of any kind with any payload.
    pub(crate) fn send_frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let [high, low] = channel.to_be_bytes();
        let mut bytes = vec![kind, high, low];
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes.push(0xCE);
        self.send_bytes(&bytes);
    }

    /// Sends header and body frames.
    pub(crate) fn send_content(
        &mut self,
        channel: u16,
        properties: &[(String, Value)],
        body: &[u8],
    ) -> Result<()> {
        let mut encoded = Vec::new();
        write_properties(properties, &mut encoded)?;
        let mut bytes = Vec::new();
        let header = ContentHeader { body_size: body.len() as u64, properties: &encoded };
        header.write_frame(channel, &mut bytes);
        write_body_frames(channel, body, self.frame_max, &mut bytes);
        self.send_bytes(&bytes);
        Ok(())
    }

    /// Sends any bytes. The broker may close meanwhile, so that failing to write is no failure.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let _closed_meanwhile = self.socket.write_all(bytes);
    }

    /// Goes without a word.
    pub(crate) fn vanish(&self) {
        let _gone_already = self.socket.shutdown(std::net::Shutdown::Both);
    }

    /// Reads until something new waits, the socket ends, or the time is up; false when it is up.
    pub(crate) fn read(&mut self, deadline: Instant) -> Result<bool> {
        let before = self.waiting.len();
        loop {
            while self.take_frame()? {}
            if self.waiting.len() > before || self.ended {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.socket.set_read_timeout(Some(left))?;
            let mut bytes = [0; 16 << 10];
            match self.socket.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(read) => self.received.extend_from_slice(&bytes[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(false);
                }
                Err(_) => self.ended = true,
            }
        }
    }

    /// Takes one frame out of what was received; false where there is no whole one.
    fn take_frame(&mut self) -> Result<bool> {
        if self.received.starts_with(b"AMQP") {
            // The answer to a protocol header that the broker does not like; it closes then.
            ensure!(self.received.len() <= 8, "the broker says more than its protocol header");
            return Ok(false);
        }
        let limit = self.frame_max.max(131_072 + FRAME_OVERHEAD as u32);
        let Some(frame) = parse_frame(&self.received, limit).context("the broker's frame")? else {
            return Ok(false);
        };
        let (kind, channel, len) = (frame.kind, frame.channel, frame.wire_len());
        let payload = frame.payload.to_vec();
        self.received.drain(..len);
        match kind {
            FrameKind::Heartbeat => {}
            FrameKind::Method => self.take_method(channel, &payload)?,
            FrameKind::Header => self.take_header(channel, &payload)?,
            FrameKind::Body => self.take_body(channel, &payload)?,
        }
        Ok(true)
    }

    /// The protocol header that the broker answered with, where it did.
    pub(crate) fn protocol_header(&self) -> Option<&[u8]> {
        self.received.starts_with(b"AMQP").then_some(&self.received)
    }

    fn take_method(&mut self, channel: u16, payload: &[u8]) -> Result<()> {
        ensure!(self.partial.is_none(), "the broker sends a method in the middle of a message");
        let (method, fields) = Method::decode(payload).context("the broker's method")?;
        let arrival = Arrival { channel, method, fields, content: None };
        if WITH_CONTENT.contains(&method.name) {
            self.partial = Some((arrival, 0));
        } else {
            self.arrive(arrival);
        }
        Ok(())
    }

    fn take_header(&mut self, channel: u16, payload: &[u8]) -> Result<()> {
        let Some((mut arrival, 0)) = self.partial.take() else {
            bail!("the broker sends a content header out of place");
        };
        ensure!(arrival.channel == channel && arrival.content.is_none(), "a content header out of place");
        let header = ContentHeader::parse(payload)?;
        arrival.content = Some((read_properties(header.properties)?, Vec::new()));
        self.complete(arrival, usize::try_from(header.body_size)?);
        Ok(())
    }

    fn take_body(&mut self, channel: u16, payload: &[u8]) -> Result<()> {
        let Some((mut arrival, size)) = self.partial.take() else { bail!("a body frame out of place") };
        ensure!(arrival.channel == channel, "a body frame on another channel than its message");
        if let Some((_, body)) = &mut arrival.content {
            body.extend_from_slice(payload);
        }
        self.complete(arrival, size);
        Ok(())
    }

    fn complete(&mut self, arrival: Arrival, size: usize) {
        let len = arrival.content.as_ref().map_or(0, |(_, body)| body.len());
        if len < size {
            self.partial = Some((arrival, size));
        } else {
            self.arrive(arrival);
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        if arrival.method.name == "channel.close" {
            self.open.remove(&arrival.channel);
        }
        self.waiting.push_back(arrival);
    }
}

impl Arrival {
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.field(name)?.as_i64()
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.method.name == name
    }
}
