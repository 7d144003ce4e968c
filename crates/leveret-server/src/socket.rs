//! The bytes of a connection: reading them in large pieces, with or without TLS, and writing out its outbox.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use leveret_broker::Effects;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::outbox::Outbox;

/// Bytes of the buffer of a quiet connection.
const SMALLEST: usize = 4 << 10;
/// Bytes read at a time on a busy one. More would fall out of the processor's cache before it is handled.
const LARGEST: usize = 128 << 10;

/// The reading half of a connection.
pub(crate) enum Reader {
    Plain(Arc<TcpStream>),
    Tls(ReadHalf<TlsStream<TcpStream>>),
}

/// The writing half.
pub(crate) enum Writer {
    Plain(Arc<TcpStream>),
    Tls(WriteHalf<TlsStream<TcpStream>>),
}

impl Reader {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tls(stream) => stream.read(into).await,
            Self::Plain(stream) => loop {
                match stream.try_read(into) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
                    result => return result,
                }
            },
        }
    }
}

/// Bytes that were read and not yet handled. The buffer grows while reads fill it and shrinks when they do not.
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    small_reads: u32,
}

impl ReadBuffer {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; SMALLEST], start: 0, end: 0, small_reads: 0 }
    }

    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
    }

    /// Reads what is there, at least a byte; 0 where the peer has closed. A future that is dropped has read
    /// nothing.
    pub(crate) async fn fill(&mut self, reader: &mut Reader) -> io::Result<usize> {
        self.make_room();
        let room = self.bytes.len() - self.end;
        let read = reader.read(&mut self.bytes[self.end..]).await?;
        self.end += read;
        if read == room && self.bytes.len() < LARGEST {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        self.small_reads = if read < room / 8 { self.small_reads + 1 } else { 0 };
        Ok(read)
    }

    /// Makes room for as many bytes as are there; a frame may be of any size up to the negotiated one.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end > self.bytes.len() / 2 {
            self.bytes.resize(self.bytes.len() * 2, 0);
        } else if self.end == 0 && self.small_reads > 64 && self.bytes.len() > SMALLEST {
            self.bytes = vec![0; self.bytes.len() / 2];
            self.small_reads = 0;
        }
    }
}

impl Writer {
    /// Writes the outbox whenever it is woken, until it is closed.
    pub(crate) async fn run(self, outbox: Arc<Outbox>) {
        match self {
            Self::Plain(socket) => run_plain(&socket, &outbox).await,
            Self::Tls(stream) => run_tls(stream, &outbox).await,
        }
    }
}

async fn run_plain(socket: &TcpStream, outbox: &Outbox) {
    let mut effects = Effects::default();
    while !outbox.is_closed() {
        if outbox.is_writing() {
            tokio::select! {
                writable = socket.writable() => if writable.is_err() { return outbox.close() },
                () = outbox.wake.notified() => {}
            }
        } else {
            outbox.wake.notified().await;
        }
        outbox.flush(&mut effects);
        effects.flush();
        tokio::task::yield_now().await;
    }
}

async fn run_tls(mut stream: WriteHalf<TlsStream<TcpStream>>, outbox: &Outbox) {
    let mut effects = Effects::default();
    let mut frames = Vec::new();
    while !outbox.is_closed() {
        frames = outbox.take(frames);
        if frames.is_empty() {
            outbox.wake.notified().await;
            continue;
        }
        if stream.write_all(&frames).await.is_err() || stream.flush().await.is_err() {
            return outbox.close();
        }
        outbox.has_sent.store(true, Ordering::Relaxed);
        frames.clear();
        outbox.note_drained();
        outbox.resume_stalled(&mut effects);
        effects.flush();
    }
    // A peer that reads no more must not hold up the end of the connection.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), stream.shutdown()).await;
}
