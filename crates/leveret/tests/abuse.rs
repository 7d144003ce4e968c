//! Bytes that no client should send: noise, torn and oversized frames, tables that lie about their length,
//! handshakes that stop half way. Each gets the protocol's own error or a close; afterwards the broker still
//! answers, and its memory has not grown beyond reason.

mod binary;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use binary::Broker;

const PROTOCOL: &[u8] = b"AMQP\x00\x00\x09\x01";
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_MAX: u32 = 131_072;
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How much the broker's memory may grow over a whole test, in bytes: what an allocator keeps for itself, far
/// below what any of the lengths in here pretend to need.
const GROWTH_LIMIT_BYTES: u64 = 48 << 20;

const CONNECTION_CLOSE: (u16, u16) = (10, 50);
const CHANNEL_CLOSE: (u16, u16) = (20, 40);

/// How the broker ended a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// `connection.close` or `channel.close` with this code.
    Code(u16),
    /// The socket was closed without a word.
    Closed,
    /// Neither within the limit.
    Silence,
}

/// A client that can say anything.
struct Peer {
    stream: TcpStream,
}

impl Peer {
    fn connect(broker: &Broker) -> Self {
        let stream = TcpStream::connect(broker.address()).expect("the broker still listens");
        stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a limit above zero");
        stream.set_write_timeout(Some(ANSWER_LIMIT)).expect("a limit above zero");
        Self { stream }
    }

    /// A peer that has behaved so far: connection open, channel 1 open.
    fn opened(broker: &Broker) -> Self {
        let mut peer = Self::connect(broker);
        for (said, answer) in handshake().iter().zip([(10, 10), (10, 30), (10, 41), (20, 11)]) {
            peer.say(said);
            let (_, _, payload) = peer.frame().expect("an answer");
            assert_eq!(method_id(&payload), Some(answer));
        }
        peer
    }

    /// The broker may close while we still write, so a failure to write is no failure.
    fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next frame: type, channel, payload.
    fn frame(&mut self) -> Result<(u8, u16, Vec<u8>), ErrorKind> {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).map_err(|error| error.kind())?;
        if head.starts_with(b"AMQP") {
            // The answer to a wrong protocol header, after which the broker closes.
            return Err(ErrorKind::ConnectionAborted);
        }
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        assert!(length <= FRAME_MAX, "the broker's own frame is too large, or no frame: {head:?}");
        let mut payload = vec![0; length as usize + 1];
        self.stream.read_exact(&mut payload).map_err(|error| error.kind())?;
        assert_eq!(payload.pop(), Some(0xCE), "the broker's frame has no end");
        Ok((head[0], u16::from_be_bytes([head[1], head[2]]), payload))
    }

    /// Reads until the broker closes the channel or the connection, in whatever way.
    fn end(&mut self) -> End {
        loop {
            match self.frame() {
                Ok((METHOD, _, payload)) if is_close(&payload) => {
                    return End::Code(u16::from_be_bytes([payload[4], payload[5]]));
                }
                Ok(_) => {}
                Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => return End::Silence,
                Err(_) => return End::Closed,
            }
        }
    }

    /// Everything that the broker says until it closes.
    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }
}

fn is_close(payload: &[u8]) -> bool {
    matches!(method_id(payload), Some(CONNECTION_CLOSE | CHANNEL_CLOSE))
}

fn method_id(payload: &[u8]) -> Option<(u16, u16)> {
    let id = payload.first_chunk::<4>()?;
    Some((u16::from_be_bytes([id[0], id[1]]), u16::from_be_bytes([id[2], id[3]])))
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    framed(kind, channel, payload.len() as u32, payload, 0xCE)
}

fn framed(kind: u8, channel: u16, length: u32, payload: &[u8], end: u8) -> Vec<u8> {
    [&[kind][..], &channel.to_be_bytes(), &length.to_be_bytes(), payload, &[end]].concat()
}

fn method(channel: u16, class: u16, id: u16, arguments: &[u8]) -> Vec<u8> {
    frame(METHOD, channel, &[&class.to_be_bytes()[..], &id.to_be_bytes(), arguments].concat())
}

fn short_string(text: &str) -> Vec<u8> {
    [&[text.len() as u8][..], text.as_bytes()].concat()
}

fn long_string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn start_ok(properties: &[u8]) -> Vec<u8> {
    let login = long_string(b"\0guest\0guest");
    method(0, 10, 11, &[properties, &short_string("PLAIN"), &login, &short_string("en_US")].concat())
}

/// What a well-behaved client says up to its first open channel, one element for each answer.
fn handshake() -> Vec<Vec<u8>> {
    handshake_with_heartbeat(0)
}

fn handshake_with_heartbeat(seconds: u16) -> Vec<Vec<u8>> {
    let tune_ok = [&2047_u16.to_be_bytes()[..], &FRAME_MAX.to_be_bytes(), &seconds.to_be_bytes()].concat();
    let open = [short_string("/"), short_string(""), vec![0]].concat();
    vec![
        PROTOCOL.to_vec(),
        start_ok(&long_string(b"")),
        [method(0, 10, 31, &tune_ok), method(0, 10, 40, &open)].concat(),
        method(1, 20, 10, &short_string("")),
    ]
}

fn declare_with(arguments: &[u8]) -> Vec<u8> {
    const EXCLUSIVE_AUTO_DELETE: u8 = 0b1100;
    method(1, 50, 10, &[&[0, 0, 0, EXCLUSIVE_AUTO_DELETE][..], arguments].concat())
}

fn publish() -> Vec<u8> {
    method(1, 60, 40, &[&[0, 0][..], &short_string(""), &short_string("nowhere"), &[0]].concat())
}

fn content_header(body_size: u64) -> Vec<u8> {
    frame(HEADER, 1, &[&60_u16.to_be_bytes()[..], &[0, 0], &body_size.to_be_bytes(), &[0, 0]].concat())
}

fn noise(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// Runs cases against one broker and judges it afterwards.
fn abuse(cases: impl FnOnce(&Broker)) {
    let broker = Broker::start();
    assert_answers(&broker);
    let before = broker.is_ours().then(|| broker.resident_bytes());
    cases(&broker);
    assert_answers(&broker);
    if let Some(before) = before {
        let after = broker.resident_bytes();
        assert!(after < before + GROWTH_LIMIT_BYTES, "memory grew from {before} to {after} bytes");
    }
}

fn assert_answers(broker: &Broker) {
    let mut peer = Peer::opened(broker);
    peer.say(&declare_with(&long_string(b"")));
    let (_, _, payload) = peer.frame().expect("an answer");
    assert_eq!(method_id(&payload), Some((50, 11)), "queue.declare-ok");
}

/// Says something on an open connection and expects one of these ends.
#[track_caller]
fn expect(broker: &Broker, what: &str, said: &[u8], ends: &[End]) {
    let mut peer = Peer::opened(broker);
    peer.say(said);
    let end = match peer.end() {
        // RabbitMQ closes without a word here and there; Leveret always says why.
        End::Closed if !broker.is_ours() => return,
        end => end,
    };
    assert!(ends.contains(&end), "{what}: {end:?}, expected one of {ends:?}");
}

#[test]
fn another_protocol_is_answered_with_ours() {
    abuse(|broker| {
        let headers: &[&[u8]] = &[
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"AMQP\x00\x01\x00\x00",
            b"AMQP\x03\x01\x00\x00",
            b"AMQP\x00\x00\x09\x02",
            b"\x16\x03\x01\x02\x00\x01\x00\x01",
            b"MQTTMQTT",
        ];
        for header in headers {
            let mut peer = Peer::connect(broker);
            peer.say(header);
            assert_eq!(peer.rest(), PROTOCOL, "after {header:?}");
        }
    });
}

#[test]
fn noise_instead_of_a_handshake() {
    abuse(|broker| {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let length = random.usize(8..20_000);
            let noise = noise(&mut random, length);
            let mut peer = Peer::connect(broker);
            peer.say(&noise);
            // Closed with our bytes unread, the socket may be reset before the answer is read.
            let answer = peer.rest();
            assert!(PROTOCOL.starts_with(&answer), "answered {answer:?}");
        }
    });
}

#[test]
fn noise_after_the_handshake() {
    abuse(|broker| {
        let mut random = fastrand::Rng::with_seed(2);
        for round in 0..100 {
            let noise = noise(&mut random, 20_000);
            let mut peer = Peer::opened(broker);
            peer.say(&noise);
            peer.stream.shutdown(Shutdown::Write).unwrap();
            assert_ne!(peer.end(), End::Silence, "round {round}");
        }
    });
}

#[test]
fn a_good_stream_with_one_wrong_byte() {
    let good = [
        handshake().concat(),
        declare_with(&long_string(b"")),
        publish(),
        content_header(5),
        frame(BODY, 1, b"hello"),
    ]
    .concat();
    abuse(|broker| {
        let mut random = fastrand::Rng::with_seed(3);
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= random.u8(1..);
            let mut peer = Peer::connect(broker);
            peer.say(&bad);
            peer.stream.shutdown(Shutdown::Write).unwrap();
            // Some of these streams are good as well; those end with our half of the socket.
            assert_ne!(peer.end(), End::Silence, "byte {position}");
        }
    });
}

#[test]
fn a_good_stream_cut_anywhere() {
    let good = [handshake().concat(), declare_with(&long_string(b"")), publish(), content_header(5)].concat();
    abuse(|broker| {
        for length in 0..good.len() {
            let mut peer = Peer::connect(broker);
            peer.say(&good[..length]);
        }
    });
}

#[test]
fn frames_too_large() {
    abuse(|broker| {
        let refused = &[End::Code(501), End::Closed];
        for length in [FRAME_MAX + 1, 1 << 24, 1 << 31, u32::MAX] {
            let said = framed(METHOD, 1, length, &[0; 64], 0xCE);
            expect(broker, &format!("a frame of {length} bytes"), &said, refused);
        }
        for length in [FRAME_MAX + 1, u32::MAX] {
            let mut peer = Peer::connect(broker);
            peer.say(PROTOCOL);
            peer.say(&framed(METHOD, 0, length, &vec![0; FRAME_MAX as usize], 0xCE));
            assert_ne!(peer.end(), End::Silence, "a first frame of {length} bytes");
        }
    });
}

#[test]
fn frames_out_of_place() {
    abuse(|broker| {
        let unexpected = &[End::Code(505), End::Code(504), End::Code(503), End::Code(501)];
        expect(
            broker,
            "wrong frame end",
            &framed(METHOD, 1, 4, &[0, 20, 0, 10], 0),
            &[End::Code(501), End::Closed],
        );
        expect(
            broker,
            "unknown frame type",
            &frame(77, 1, b""),
            &[End::Code(501), End::Code(503), End::Closed],
        );
        expect(broker, "header without a method", &content_header(1), unexpected);
        expect(broker, "body without a header", &frame(BODY, 1, b"body"), unexpected);
        expect(broker, "method inside a content", &[publish(), publish()].concat(), unexpected);
        let body_first = [publish(), frame(BODY, 1, b"body")].concat();
        expect(broker, "body before its header", &body_first, unexpected);
        expect(broker, "channel never opened", &method(7, 50, 10, &[0; 8]), &[End::Code(504)]);
        expect(broker, "channel opened twice", &method(1, 20, 10, &[0]), &[End::Code(504)]);
        expect(broker, "content on channel 0", &frame(HEADER, 0, &[0; 14]), unexpected);
    });
}

#[test]
fn more_body_than_announced() {
    abuse(|broker| {
        let too_much = [publish(), content_header(1), frame(BODY, 1, b"body")].concat();
        expect(broker, "four bytes instead of one", &too_much, &[End::Code(501), End::Code(505)]);
    });
}

#[test]
fn methods_unknown_or_malformed() {
    abuse(|broker| {
        let unknown = &[End::Code(540), End::Code(503), End::Code(501), End::Code(502)];
        let malformed = &[End::Code(502), End::Code(501), End::Code(541)];
        expect(broker, "unknown class", &method(1, 999, 1, b""), unknown);
        expect(broker, "unknown method", &method(1, 50, 999, b""), unknown);
        expect(broker, "no method at all", &frame(METHOD, 1, b""), malformed);
        expect(broker, "arguments missing", &method(1, 50, 10, &[0]), malformed);
        expect(broker, "short string too long", &method(1, 50, 10, &[0, 0, 255, b'a']), malformed);
    });
}

#[test]
fn tables_that_lie() {
    abuse(|broker| {
        let malformed = &[End::Code(502), End::Code(501), End::Code(541)];
        for length in [1_u32, 1000, i32::MAX as u32, u32::MAX] {
            let said = declare_with(&length.to_be_bytes());
            expect(broker, &format!("a table of {length} bytes"), &said, malformed);
        }
        let lying_text = [&short_string("key")[..], b"S\xff\xff\xff\xff"].concat();
        expect(broker, "text of 4 GiB", &declare_with(&long_string(&lying_text)), malformed);
        let unknown_type = [&short_string("key")[..], b"?1234"].concat();
        expect(broker, "unknown field type", &declare_with(&long_string(&unknown_type)), malformed);
        let cut = [&short_string("key")[..], b"l123"].concat();
        expect(broker, "number cut short", &declare_with(&long_string(&cut)), malformed);
    });
}

#[test]
fn tables_before_the_login_that_lie() {
    abuse(|broker| {
        for length in [1000_u32, u32::MAX] {
            let mut peer = Peer::connect(broker);
            peer.say(PROTOCOL);
            peer.say(&start_ok(&length.to_be_bytes()));
            assert_ne!(peer.end(), End::Silence, "client properties of {length} bytes");
        }
    });
}

#[test]
fn tables_within_tables_within_tables() {
    abuse(|broker| {
        let depth = 10_000;
        for opening in [&b"\x01kF"[..], b"A"] {
            let mut nested = Vec::new();
            for _ in 0..depth {
                nested = if opening == b"A" {
                    [b"A", &long_string(&nested)[..]].concat()
                } else {
                    [opening, &long_string(&nested)].concat()
                };
            }
            let arguments = if opening == b"A" { [b"\x01k", &nested[..]].concat() } else { nested };
            let mut peer = Peer::opened(broker);
            peer.say(&declare_with(&long_string(&arguments)));
            let answered = peer.frame().is_ok();
            assert!(answered || peer.end() == End::Closed, "neither an answer nor a close");
        }
    });
}

#[test]
fn bodies_announced_and_never_sent() {
    abuse(|broker| {
        let mut peers = Vec::new();
        for size in [u64::MAX, 1 << 62, 1 << 40, 127 << 20, 100 << 20] {
            for _ in 0..5 {
                let mut peer = Peer::opened(broker);
                peer.say(&[publish(), content_header(size), frame(BODY, 1, &[0; 1000])].concat());
                peers.push(peer);
            }
        }
        assert_answers(broker);
        drop(peers);
    });
}

#[test]
fn handshakes_that_stop_half_way_are_dropped() {
    abuse(|broker| {
        let full = handshake().concat();
        let start = Instant::now();
        let cuts = [0, 4, 8, 12, 30, full.len() / 2];
        let mut peers: Vec<_> = cuts
            .iter()
            .map(|cut| {
                let mut peer = Peer::connect(broker);
                peer.say(&full[..*cut]);
                peer.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                peer
            })
            .collect();
        for (peer, cut) in peers.iter_mut().zip(cuts) {
            assert_ne!(peer.end(), End::Silence, "a handshake cut at {cut} bytes");
        }
        assert!(start.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn a_silent_peer_is_dropped_after_two_heartbeats() {
    abuse(|broker| {
        let mut peer = Peer::connect(broker);
        peer.say(&handshake_with_heartbeat(1).concat());
        let start = Instant::now();
        assert_ne!(peer.end(), End::Silence);
        let took = start.elapsed();
        assert!((Duration::from_millis(1500)..Duration::from_secs(5)).contains(&took), "took {took:?}");
    });
}

#[test]
fn hundreds_of_connections_at_once_come_and_go() {
    abuse(|broker| {
        let peers: Vec<_> = (0..300).map(|_| Peer::opened(broker)).collect();
        assert_answers(broker);
        drop(peers);
    });
}

#[test]
fn a_session_byte_by_byte_is_a_good_session() {
    abuse(|broker| {
        let mut peer = Peer::connect(broker);
        peer.stream.set_nodelay(true).unwrap();
        for byte in [handshake().concat(), declare_with(&long_string(b""))].concat() {
            peer.say(&[byte]);
        }
        let answers: Vec<_> = (0..5).map(|_| method_id(&peer.frame().expect("an answer").2)).collect();
        assert_eq!(answers, [(10, 10), (10, 30), (10, 41), (20, 11), (50, 11)].map(Some));
    });
}

#[test]
fn what_was_on_its_way_when_the_channel_closed_is_ignored() {
    abuse(|broker| {
        let passive = method(1, 50, 10, &[&[0, 0][..], &short_string("absent"), &[1, 0, 0, 0, 0]].concat());
        let on_its_way =
            [publish(), content_header(4), frame(BODY, 1, b"body"), declare_with(&long_string(b""))];
        let mut peer = Peer::opened(broker);
        peer.say(&[passive, on_its_way.concat()].concat());
        assert_eq!(peer.end(), End::Code(404));
        let (close_ok, open) = (method(1, 20, 41, b""), method(1, 20, 10, &short_string("")));
        peer.say(&[close_ok, open].concat());
        let (_, _, payload) = peer.frame().expect("an answer");
        assert_eq!(method_id(&payload), Some((20, 11)), "channel.open-ok");
    });
}

#[test]
fn a_client_that_asks_and_never_reads() {
    abuse(|broker| {
        let mut peer = Peer::opened(broker);
        peer.stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let name = short_string(&"n".repeat(255));
        const AUTO_DELETE: u8 = 0b1000;
        let ask = method(1, 50, 10, &[&[0, 0][..], &name, &[AUTO_DELETE, 0, 0, 0, 0]].concat());
        let many = ask.repeat(4096);
        // The broker stops reading from who does not read, so that this blocks long before its end.
        let asked = (0..200).take_while(|_| peer.stream.write_all(&many).is_ok()).count();
        assert!(asked < 200, "{asked} MiB of questions were read, none of whose answers was");
        assert_answers(broker);
        if broker.is_ours() {
            let bytes = broker.resident_bytes();
            assert!(bytes < 2 * GROWTH_LIMIT_BYTES, "{bytes} bytes for a client that does not read");
        }
    });
}
