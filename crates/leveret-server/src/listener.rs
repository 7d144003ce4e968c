//! Accepting connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use leveret_broker::Owner;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::connection::Connection;
use crate::outbox::Outbox;
use crate::socket::{Reader, Writer};
use crate::{Shared, StartError, tls};

/// Pause after an `accept` that failed: most often there are no file descriptors left, and more haste would only
/// burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// It is not said again for so long that there is no place for more connections.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a writer may take for what a peer that has stopped reading does not read.
const LINGER: Duration = Duration::from_secs(1);

/// A listener on the address, none for `off`.
pub(crate) async fn bind(address: &str) -> Result<Option<TcpListener>, StartError> {
    if address == "off" {
        return Ok(None);
    }
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|source| StartError::Listen { address: address.into(), source })
}

/// Accepts connections until the task is aborted. Each connection holds on to `alive`.
pub(crate) async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    alive: mpsc::Sender<()>,
) {
    let (mut failing, mut told) = (false, None);
    while let Some(place) = place(&shared, &mut told).await {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                let (shared, tls, alive) = (Arc::clone(&shared), tls.clone(), alive.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, peer, tls, shared).await {
                        tracing::info!(%peer, %error, "connection not accepted");
                    }
                    drop((place, alive));
                });
            }
            Err(error) => {
                // The same error comes back until something has changed.
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "cannot accept connections for now; trying again");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A place for one more connection. While there is none, clients wait in the system's queue, and what is open is served.
async fn place(shared: &Shared, told: &mut Option<Instant>) -> Option<OwnedSemaphorePermit> {
    let places = Arc::clone(&shared.places);
    if places.available_permits() == 0 && told.is_none_or(|told| told.elapsed() > SILENCE) {
        *told = Some(Instant::now());
        tracing::warn!(
            "no more connections are accepted until one ends: file descriptors are short (ulimit -n)"
        );
    }
    places.acquire_owned().await.ok()
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let is_tls = tls.is_some();
    let frame_max = shared.config.frame_max_bytes;
    let mut certificate_name = None;
    let (reader, writer, outbox) = match tls {
        None => {
            let stream = Arc::new(stream);
            let outbox = Outbox::new(Some(Arc::clone(&stream)), frame_max);
            (Reader::Plain(Arc::clone(&stream)), Writer::Plain(stream), outbox)
        }
        Some(acceptor) => {
            let limit = Duration::from_millis(shared.config.handshake_timeout_ms);
            let stream = tokio::select! {
                stream = timeout(limit, acceptor.accept(stream)) => stream.map_err(io::Error::from)??,
                () = shared.stopping() => return Ok(()),
            };
            let certificates = stream.get_ref().1.peer_certificates();
            certificate_name = certificates.and_then(<[_]>::first).and_then(tls::common_name);
            let (read, write) = tokio::io::split(stream);
            (Reader::Tls(read), Writer::Tls(write), Outbox::new(None, frame_max))
        }
    };
    let outbox = Arc::new(outbox);
    let mut writer = tokio::spawn(writer.run(Arc::clone(&outbox)));
    let owner = Owner(shared.next_owner.fetch_add(1, Ordering::Relaxed));
    Connection { shared, reader, outbox, peer, local, is_tls, certificate_name, owner, tell_blocked: false }
        .run()
        .await;
    if timeout(LINGER, &mut writer).await.is_err() {
        writer.abort();
    }
    Ok(())
}
