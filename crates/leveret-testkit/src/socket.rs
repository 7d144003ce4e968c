//! The peer's end of the connection, with and without TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Socket {
    pub(crate) fn connect(address: SocketAddr, patience: Duration) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_nodelay(true).expect("a fresh socket takes options");
        stream.set_read_timeout(Some(patience)).expect("a fresh socket takes options");
        stream.set_write_timeout(Some(patience)).expect("a fresh socket takes options");
        Self::Plain(stream)
    }

    pub(crate) fn with_tls(self, config: Arc<ClientConfig>) -> Self {
        let Self::Plain(stream) = self else { return self };
        let name = "localhost".try_into().expect("a host name");
        let connection = ClientConnection::new(config, name).expect("a complete configuration");
        Self::Tls(Box::new(StreamOwned::new(connection, stream)))
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.tcp().set_nonblocking(nonblocking).expect("an open socket takes options");
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Says that nothing more comes, as a client that has died does.
    pub(crate) fn shut(&self, how: Shutdown) {
        let _gone_already = self.tcp().shutdown(how);
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
