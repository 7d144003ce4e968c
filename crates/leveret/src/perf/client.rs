//! One AMQP connection with one channel, on the bare codec: the load test must cost less than what it tests.

use std::io;

use bytes::{Buf, BytesMut};
use leveret_amqp::{
    DecodeError, FieldTable, Frame, FrameKind, Method, PROTOCOL_HEADER, Table, Value, channel, connection,
    parse_frame, write_method,
};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::url::Url;

/// The only channel.
pub(super) const CHANNEL: u16 = 1;

const FRAME_MAX: u32 = 131_072;
const READ_BYTES: usize = 64 << 10;

/// A connection whose channel is open.
pub(super) struct Client {
    /// What was read and not looked at yet.
    pub(super) input: Input,
    /// What is to be sent.
    pub(super) output: Output,
    /// Largest frame, in bytes.
    pub(super) frame_max: u32,
}

/// The half that reads.
pub(super) struct Input {
    socket: OwnedReadHalf,
    bytes: BytesMut,
}

/// The half that writes.
pub(super) struct Output {
    socket: OwnedWriteHalf,
    /// Encoded frames.
    pub(super) bytes: Vec<u8>,
    written: usize,
}

/// Why a conversation ended.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// The broker cannot be reached, or the connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The broker closed the connection or the channel.
    #[error("the broker said {code} {text}")]
    Closed {
        /// AMQP's reply code.
        code: u16,
        /// The broker's words.
        text: String,
    },
    /// The broker sent what is no AMQP.
    #[error("the broker does not speak AMQP 0-9-1: {0}")]
    Protocol(#[from] DecodeError),
}

impl Client {
    /// Connects, logs in and opens the channel.
    pub(super) async fn connect(url: &Url) -> Result<Self, ClientError> {
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let mut client = Self {
            input: Input { socket: reader, bytes: BytesMut::new() },
            output: Output { socket: writer, bytes: PROTOCOL_HEADER.to_vec(), written: 0 },
            frame_max: FRAME_MAX,
        };
        client.log_in(url).await?;
        client
            .call(channel::Open { out_of_band: "" }, |method| match method {
                Method::Channel(channel::Method::OpenOk(_)) => Some(()),
                _ => None,
            })
            .await?;
        Ok(client)
    }

    async fn log_in(&mut self, url: &Url) -> Result<(), ClientError> {
        self.answer(|method| {
            matches!(method, Method::Connection(connection::Method::Start(_))).then_some(())
        })
        .await?;
        let properties = client_properties();
        let response = format!("\0{}\0{}", url.user, url.password);
        let start_ok = connection::StartOk {
            client_properties: Table::parse(&properties)?,
            mechanism: "PLAIN",
            response: response.as_bytes(),
            locale: "en_US",
        };
        write_method(0, start_ok, &mut self.output.bytes);
        let offered = self.answer(|method| match method {
            Method::Connection(connection::Method::Tune(tune)) => Some(*tune),
            _ => None,
        });
        let offered = offered.await?;
        self.frame_max = if offered.frame_max == 0 { FRAME_MAX } else { offered.frame_max.min(FRAME_MAX) };
        let tune_ok = connection::TuneOk { channel_max: 1, frame_max: self.frame_max, heartbeat: 0 };
        write_method(0, tune_ok, &mut self.output.bytes);
        let open = connection::Open { virtual_host: &url.vhost, reserved_1: "", reserved_2: false };
        write_method(0, open, &mut self.output.bytes);
        self.answer(|method| {
            matches!(method, Method::Connection(connection::Method::OpenOk(_))).then_some(())
        })
        .await
    }

    /// Sends a method, and waits for the answer that `pick` recognises.
    pub(super) async fn call<'a, T>(
        &mut self,
        method: impl Into<Method<'a>>,
        pick: impl Fn(&Method<'_>) -> Option<T>,
    ) -> Result<T, ClientError> {
        write_method(CHANNEL, method, &mut self.output.bytes);
        self.answer(pick).await
    }

    async fn answer<T>(&mut self, pick: impl Fn(&Method<'_>) -> Option<T>) -> Result<T, ClientError> {
        self.output.flush().await?;
        loop {
            let mut picked = None;
            self.input.drain(self.frame_max, |frame| {
                if frame.kind == FrameKind::Method {
                    picked = pick(&frame.method()?).or(picked.take());
                }
                Ok(())
            })?;
            if let Some(picked) = picked {
                return Ok(picked);
            }
            self.input.read().await?;
        }
    }

    /// Says goodbye. The broker has done everything it was asked before once it answers.
    pub(super) async fn close(mut self) -> Result<(), ClientError> {
        let close = connection::Close { reply_code: 200, reply_text: "bye", class_id: 0, method_id: 0 };
        write_method(0, close, &mut self.output.bytes);
        self.answer(|method| {
            matches!(method, Method::Connection(connection::Method::CloseOk(_))).then_some(())
        })
        .await
    }
}

impl Input {
    /// Waits for bytes. Dropped half way, it loses none.
    pub(super) async fn read(&mut self) -> Result<(), ClientError> {
        self.bytes.reserve(READ_BYTES);
        match self.socket.read_buf(&mut self.bytes).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the broker closed the socket").into()),
            _ => Ok(()),
        }
    }

    /// Gives every whole frame that was read to `each`.
    #[inline]
    pub(super) fn drain(
        &mut self,
        frame_max: u32,
        mut each: impl FnMut(&Frame<'_>) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let mut used = 0;
        while let Some(frame) = parse_frame(&self.bytes[used..], frame_max)? {
            used += frame.wire_len();
            if is_close(&frame) {
                return Err(closed(&frame));
            }
            each(&frame)?;
        }
        self.bytes.advance(used);
        Ok(())
    }
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Sends some of what is there. Dropped half way, it sends nothing twice.
    pub(super) async fn write(&mut self) -> Result<(), ClientError> {
        self.written += self.socket.write(&self.bytes[self.written..]).await?;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
        }
        Ok(())
    }

    /// Sends all that is there.
    pub(super) async fn flush(&mut self) -> Result<(), ClientError> {
        while !self.is_empty() {
            self.write().await?;
        }
        Ok(())
    }
}

fn client_properties() -> Vec<u8> {
    let capabilities = ["publisher_confirms", "authentication_failure_close", "connection.blocked"];
    let capabilities = capabilities.into_iter().map(|name| (name, true)).collect::<FieldTable>();
    let product = ("product".to_owned(), Value::from("leveret perf"));
    FieldTable(vec![product, ("capabilities".into(), capabilities.into())]).encode()
}

/// `connection.close` or `channel.close`.
#[inline]
fn is_close(frame: &Frame<'_>) -> bool {
    frame.kind == FrameKind::Method
        && (frame.payload.starts_with(&[0, 10, 0, 50]) || frame.payload.starts_with(&[0, 20, 0, 40]))
}

fn closed(frame: &Frame<'_>) -> ClientError {
    match frame.method() {
        Ok(Method::Connection(connection::Method::Close(close))) => {
            ClientError::Closed { code: close.reply_code, text: close.reply_text.into() }
        }
        Ok(Method::Channel(channel::Method::Close(close))) => {
            ClientError::Closed { code: close.reply_code, text: close.reply_text.into() }
        }
        Ok(_) => ClientError::Protocol(DecodeError::Truncated),
        Err(error) => error.into(),
    }
}
