//! The scripted peer: sends any method or bytes, reads frame by frame, and panics where another frame comes than
//! was expected.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use leveret_amqp::{
    ContentHeader, FRAME_MIN_SIZE, Frame, FrameKind, Method, PROTOCOL_HEADER, Properties, basic, channel,
    confirm, connection, parse_frame, write_body_frames, write_method,
};

use crate::socket::Socket;
use crate::{
    Answer, Certificates, Delivery, Fetched, Login, Outcome, Returned, TestBroker, close_connection, flow,
    publish,
};

/// How long a peer waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A client that does what it is told.
pub struct Peer {
    socket: Socket,
    vhost: String,
    received: Vec<u8>,
    /// Payload of the frame that was read last.
    payload: Vec<u8>,
    frame_max: u32,
}

/// How the broker closed a channel or connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The reply code.
    pub code: u16,
    /// The reply text.
    pub text: String,
    /// Class and method id of what caused it.
    pub method: (u16, u16),
}

/// Opening.
impl Peer {
    /// A peer with an open connection and channel 1 open.
    #[must_use]
    pub fn open(broker: &TestBroker) -> Self {
        Self::open_as(broker, &Login::default())
    }

    /// A peer that opens its connection as `login` says, and channel 1.
    #[must_use]
    pub fn open_as(broker: &TestBroker, login: &Login) -> Self {
        let mut peer = Self::connect(broker);
        peer.log_in(login);
        peer
    }

    /// A peer that has not said anything yet.
    #[must_use]
    pub fn connect(broker: &TestBroker) -> Self {
        Self::connect_to(broker.address(), broker.vhost())
    }

    /// A peer of the broker at `address` that has not said anything yet, but will open `vhost`.
    #[must_use]
    pub fn connect_to(address: SocketAddr, vhost: &str) -> Self {
        Self {
            socket: Socket::connect(address, PATIENCE),
            vhost: vhost.into(),
            received: Vec::new(),
            payload: Vec::new(),
            frame_max: 0,
        }
    }

    /// A peer behind TLS that has not said anything yet; it shows a certificate with this common name if any.
    #[must_use]
    pub fn connect_tls(broker: &TestBroker, certificates: &Certificates, common_name: Option<&str>) -> Self {
        let mut peer = Self::connect_to(broker.tls_address(), broker.vhost());
        peer.socket = peer.socket.with_tls(certificates.client(common_name));
        peer
    }

    /// Opens the connection and channel 1.
    pub fn log_in(&mut self, login: &Login) {
        self.offer(login);
        self.tune(login);
        self.expect::<connection::OpenOk>(0);
        self.open_channel(1);
    }

    /// Sends the protocol header, and the log-in after `connection.start`.
    pub fn offer(&mut self, login: &Login) {
        self.send_bytes(&PROTOCOL_HEADER);
        self.expect::<connection::Start>(0);
        let response = login.response();
        let start_ok = connection::StartOk {
            client_properties: login.client_properties(),
            mechanism: login.mechanism.name(),
            response: &response,
            locale: "en_US",
        };
        self.send(0, start_ok);
    }

    /// Takes the broker's `connection.tune`, answers it, and sends `connection.open`.
    pub fn tune(&mut self, login: &Login) {
        let offered = self.expect::<connection::Tune>(0);
        let tuned = login.tune(offered);
        self.send(0, tuned);
        self.frame_max = tuned.frame_max;
        let vhost = login.vhost.map_or_else(|| self.vhost.clone(), Into::into);
        self.send(0, connection::Open { virtual_host: &vhost, reserved_1: "", reserved_2: false });
    }

    /// Opens a channel.
    #[track_caller]
    pub fn open_channel(&mut self, number: u16) {
        self.ask::<channel::OpenOk>(number, channel::Open { out_of_band: "" });
    }
}

/// Saying.
impl Peer {
    /// Sends a method.
    pub fn send<'m>(&mut self, channel: u16, method: impl Into<Method<'m>>) {
        let mut bytes = Vec::new();
        write_method(channel, method, &mut bytes);
        self.send_bytes(&bytes);
    }

    /// Sends any bytes. The broker may close meanwhile, so that failing to write is no failure.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).and_then(|()| self.socket.flush());
    }

    /// Publishes a message.
    pub fn publish(
        &mut self,
        channel: u16,
        method: basic::Publish<'_>,
        properties: &Properties<'_>,
        body: impl AsRef<[u8]>,
    ) {
        let body = body.as_ref();
        let encoded = properties.encode();
        let mut bytes = Vec::new();
        write_method(channel, method, &mut bytes);
        let header = ContentHeader { body_size: body.len() as u64, properties: &encoded };
        header.write_frame(channel, &mut bytes);
        write_body_frames(channel, body, self.frame_max, &mut bytes);
        self.send_bytes(&bytes);
    }

    /// Publishes a text without properties to a queue, on channel 1.
    pub fn put(&mut self, queue: &str, text: &str) {
        self.publish(1, publish("", queue), &Properties::default(), text);
    }

    /// Sends a method and expects its answer next.
    #[track_caller]
    pub fn ask<'m, A: Answer>(&mut self, channel: u16, method: impl Into<Method<'m>>) -> A::In<'_> {
        self.send(channel, method);
        self.expect::<A>(channel)
    }

    /// Puts a channel into confirm mode.
    #[track_caller]
    pub fn select_confirms(&mut self, channel: u16) {
        self.ask::<confirm::SelectOk>(channel, confirm::Select { no_wait: false });
    }

    /// Goes without a word.
    pub fn vanish(self) {
        self.socket.shut(Shutdown::Both);
    }

    /// Closes the connection as one should.
    #[track_caller]
    pub fn close(mut self) {
        self.ask::<connection::CloseOk>(0, close_connection());
    }
}

/// Expecting.
impl Peer {
    /// Expects a method on that channel next.
    #[track_caller]
    pub fn expect<A: Answer>(&mut self, channel: u16) -> A::In<'_> {
        let (kind, number) = self.next_frame(A::NAME);
        let is_it = kind == FrameKind::Method && number == channel;
        let found = if is_it { self.method().and_then(A::of).is_some() } else { false };
        assert!(found, "expected {} on channel {channel}, got {}", A::NAME, self.shown(kind, number));
        self.method().and_then(A::of).expect("it was there a line before")
    }

    /// Expects a delivery next.
    #[track_caller]
    pub fn expect_delivery(&mut self, channel: u16) -> Delivery {
        let delivery = Delivery::from_method(self.expect::<basic::Deliver>(channel));
        self.with_content(channel, delivery)
    }

    /// Expects a delivery that is there already: the answer to a harmless request comes after it.
    #[track_caller]
    pub fn expect_nothing_but_delivery(&mut self, channel: u16, check: impl FnOnce(&Delivery)) {
        self.send(channel, flow(true));
        check(&self.expect_delivery(channel));
        self.expect::<channel::FlowOk>(channel);
    }

    /// What is delivered before the answer to a harmless request. When it returns, the broker has done all that
    /// the channel had asked for before.
    #[track_caller]
    pub fn collect_deliveries(&mut self, channel: u16) -> Vec<Delivery> {
        self.send(channel, flow(true));
        let mut deliveries = Vec::new();
        loop {
            let frame = self.next_frame("basic.Deliver or channel.FlowOk");
            let method = self.method().filter(|_| frame == (FrameKind::Method, channel));
            match method {
                Some(Method::Channel(channel::Method::FlowOk(_))) => return deliveries,
                Some(Method::Basic(basic::Method::Deliver(deliver))) => {
                    let delivery = Delivery::from_method(deliver);
                    deliveries.push(self.with_content(channel, delivery));
                }
                _ => panic!("expected basic.Deliver or channel.FlowOk, got {}", self.shown(frame.0, frame.1)),
            }
        }
    }

    /// Expects these deliveries next, by their texts.
    #[track_caller]
    pub fn expect_texts<const N: usize>(&mut self, channel: u16, texts: [&str; N]) {
        let deliveries: Vec<Delivery> = (0..N).map(|_| self.expect_delivery(channel)).collect();
        assert_eq!(deliveries.iter().map(Delivery::text).collect::<Vec<_>>(), texts);
    }

    /// Expects a returned message next.
    #[track_caller]
    pub fn expect_return(&mut self, channel: u16) -> Returned {
        match self.expect_outcome(channel) {
            Outcome::Returned(returned) => returned,
            other => panic!("expected basic.Return, got {other:?}"),
        }
    }

    /// Expects a returned message or a confirm next.
    #[track_caller]
    pub fn expect_outcome(&mut self, channel: u16) -> Outcome {
        let (kind, number) = self.next_frame("basic.Return, basic.Ack or basic.Nack");
        let answer = self.method().filter(|_| kind == FrameKind::Method && number == channel);
        let (reason, delivery) = match answer {
            Some(Method::Basic(basic::Method::Ack(ack))) => return Outcome::Acked(ack),
            Some(Method::Basic(basic::Method::Nack(nack))) => return Outcome::Nacked(nack),
            Some(Method::Basic(basic::Method::Return(it))) => {
                ((it.reply_code, it.reply_text.to_owned()), Delivery::on_route(it.exchange, it.routing_key))
            }
            _ => panic!("expected basic.Return, basic.Ack or basic.Nack, got {}", self.shown(kind, number)),
        };
        Outcome::Returned(Returned { reason, delivery: self.with_content(channel, delivery) })
    }

    /// Fetches a message with `method`; `None` where the queue is empty.
    #[track_caller]
    pub fn fetch(&mut self, channel: u16, method: basic::Get<'_>) -> Option<Fetched> {
        self.send(channel, method);
        let (kind, number) = self.next_frame("basic.GetOk or basic.GetEmpty");
        let answer = self.method().filter(|_| kind == FrameKind::Method && number == channel);
        let get_ok = match answer {
            Some(Method::Basic(basic::Method::GetEmpty(_))) => return None,
            Some(Method::Basic(basic::Method::GetOk(get_ok))) => get_ok,
            _ => panic!("expected basic.GetOk or basic.GetEmpty, got {}", self.shown(kind, number)),
        };
        let message_count = get_ok.message_count;
        let delivery = Delivery {
            tag: get_ok.delivery_tag,
            redelivered: get_ok.redelivered,
            ..Delivery::on_route(get_ok.exchange, get_ok.routing_key)
        };
        Some(Fetched { delivery: self.with_content(channel, delivery), message_count })
    }

    /// Expects confirms of all messages from `first` to `last`, one by one or several at once.
    #[track_caller]
    pub fn expect_confirms(&mut self, channel: u16, first: u64, last: u64) {
        let mut next = first;
        while next <= last {
            let ack = self.expect::<basic::Ack>(channel);
            let in_order = ack.delivery_tag == next || ack.multiple && ack.delivery_tag > next;
            assert!(in_order && ack.delivery_tag <= last, "confirm {ack:?} where {next}..={last} are due");
            next = ack.delivery_tag + 1;
        }
    }

    /// Expects that nothing has come: the answer to a harmless request is next.
    #[track_caller]
    pub fn expect_nothing(&mut self, channel: u16) {
        self.ask::<channel::FlowOk>(channel, flow(true));
    }

    /// Expects the broker to close the channel next, agrees, and opens it anew.
    #[track_caller]
    pub fn expect_channel_close(&mut self, channel: u16) -> Close {
        let close = self.expect::<channel::Close>(channel);
        let (code, text) = (close.reply_code, close.reply_text.to_owned());
        let method = (close.class_id, close.method_id);
        self.agree_to_close(channel, Close { code, text, method })
    }

    /// Expects the broker to close the connection next, and agrees.
    #[track_caller]
    pub fn expect_connection_close(&mut self) -> Close {
        let close = self.expect::<connection::Close>(0);
        let (code, text) = (close.reply_code, close.reply_text.to_owned());
        let method = (close.class_id, close.method_id);
        self.send(0, connection::CloseOk {});
        Close { code, text: self.as_in_default_vhost(&text), method }
    }

    /// Whether a channel's last method was answered with `A`, or by its end, after which it is opened anew.
    #[track_caller]
    pub fn expect_or_close<A: Answer>(&mut self, channel: u16) -> Result<(), Close> {
        let (kind, number) = self.next_frame(A::NAME);
        assert_eq!((kind, number), (FrameKind::Method, channel), "got {}", self.shown(kind, number));
        match self.method() {
            Some(Method::Channel(channel::Method::Close(close))) => {
                let (code, text) = (close.reply_code, close.reply_text.to_owned());
                let method = (close.class_id, close.method_id);
                Err(self.agree_to_close(channel, Close { code, text, method }))
            }
            Some(method) if A::of(method).is_some() => Ok(()),
            _ => panic!("expected {} or channel.Close, got {}", A::NAME, self.shown(kind, number)),
        }
    }

    #[track_caller]
    fn agree_to_close(&mut self, channel: u16, close: Close) -> Close {
        self.send(channel, channel::CloseOk {});
        self.open_channel(channel);
        Close { text: self.as_in_default_vhost(&close.text), ..close }
    }

    /// Sends a method that is to be refused with the end of the channel, which is opened anew; code and text.
    #[track_caller]
    pub fn refused<'m>(&mut self, channel: u16, method: impl Into<Method<'m>>) -> (u16, String) {
        let method = method.into();
        self.send(channel, method);
        let close = self.expect_channel_close(channel);
        assert_eq!(close.method, method.ids(), "the method that is named");
        (close.code, close.text)
    }

    /// Sends a method that is to be refused with the end of the connection; code and text.
    #[track_caller]
    pub fn broken_by<'m>(&mut self, channel: u16, method: impl Into<Method<'m>>) -> (u16, String) {
        let method = method.into();
        self.send(channel, method);
        let close = self.expect_connection_close();
        assert_eq!(close.method, method.ids(), "the method that is named");
        (close.code, close.text)
    }

    /// Expects a heartbeat next.
    #[track_caller]
    pub fn expect_heartbeat(&mut self) {
        let frame = self.read_frame();
        assert_eq!(frame, Some((FrameKind::Heartbeat, 0)));
    }

    /// Expects the socket's end next.
    #[track_caller]
    pub fn expect_end(&mut self) {
        while let Some((kind, number)) = self.read_frame() {
            assert!(kind == FrameKind::Heartbeat, "expected the end, got {}", self.shown(kind, number));
        }
    }

    /// Whether something has come that was not expected yet. Does not wait.
    pub fn has_heard(&mut self) -> bool {
        self.socket.set_nonblocking(true);
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = self.socket.read(&mut bytes) {
            self.received.extend_from_slice(&bytes[..read]);
        }
        self.socket.set_nonblocking(false);
        !self.received.is_empty()
    }

    /// Everything that comes until the socket's end.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.received);
        let _ = self.socket.read_to_end(&mut rest);
        rest
    }
}

impl Peer {
    #[track_caller]
    fn with_content(&mut self, channel: u16, mut delivery: Delivery) -> Delivery {
        self.expect_kind(FrameKind::Header, channel);
        let header = ContentHeader::parse(&self.payload).expect("a well-formed header");
        delivery.encoded_properties = header.properties.to_vec();
        let size = header.body_size as usize;
        while delivery.body.len() < size {
            self.expect_kind(FrameKind::Body, channel);
            delivery.body.extend_from_slice(&self.payload);
        }
        assert_eq!(delivery.body.len(), size, "bytes of the body");
        delivery
    }

    #[track_caller]
    fn expect_kind(&mut self, kind: FrameKind, channel: u16) {
        let found = self.next_frame("content");
        assert_eq!(found, (kind, channel), "got {}", self.shown(found.0, found.1));
    }

    /// The next frame but heartbeats.
    #[track_caller]
    fn next_frame(&mut self, expected: &str) -> (FrameKind, u16) {
        loop {
            match self.read_frame() {
                Some((FrameKind::Heartbeat, 0)) => {}
                Some(frame) => return frame,
                None => panic!("expected {expected}, but the broker has closed the socket"),
            }
        }
    }

    /// Reads a frame into `payload`; `None` at the socket's end.
    #[track_caller]
    fn read_frame(&mut self) -> Option<(FrameKind, u16)> {
        loop {
            let limit = self.frame_max.max(FRAME_MIN_SIZE);
            let frame = parse_frame(&self.received, limit).expect("the broker sends well-formed frames");
            if let Some(Frame { kind, channel, payload }) = frame {
                self.payload.clear();
                self.payload.extend_from_slice(payload);
                let wire_len = frame.map_or(0, |frame| frame.wire_len());
                self.received.drain(..wire_len);
                return Some((kind, channel));
            }
            if !self.read_more() {
                return None;
            }
        }
    }

    #[track_caller]
    fn read_more(&mut self) -> bool {
        let mut bytes = [0; 16 << 10];
        match self.socket.read(&mut bytes) {
            Ok(0) => false,
            Ok(read) => {
                self.received.extend_from_slice(&bytes[..read]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came within {PATIENCE:?}")
            }
            // A read with a time limit is not begun again after a signal, which a fuzzer's timer sends.
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(_) => false,
        }
    }

    fn method(&self) -> Option<Method<'_>> {
        Method::read(&mut leveret_amqp::Reader::new(&self.payload)).ok()
    }

    fn as_in_default_vhost(&self, text: &str) -> String {
        text.replace(&format!("vhost '{}'", self.vhost), "vhost '/'")
    }

    fn shown(&self, kind: FrameKind, channel: u16) -> String {
        match self.method() {
            Some(method) if kind == FrameKind::Method => format!("{method:?} on channel {channel}"),
            _ => format!("{kind:?} of {} bytes on channel {channel}", self.payload.len()),
        }
    }
}
