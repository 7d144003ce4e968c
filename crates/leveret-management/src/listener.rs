//! Serving HTTP with bounds: on connections, on the time that a client takes for its request, and on its size.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Most connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 512;
/// How long a client may take for the head of a request, the time between requests included.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long a connection may last in all.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Bytes kept of a request's head.
const HEAD_BYTES: usize = 64 << 10;
/// Pause after an `accept` that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the task is aborted.
pub(crate) async fn run(listener: TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    if let Ok(Err(error)) = timeout(LIFETIME, serve(stream, router, peer)).await {
                        tracing::debug!(%peer, %error, "HTTP connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept an HTTP connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router, peer: std::net::SocketAddr) -> hyper::Result<()> {
    let _without = stream.set_nodelay(true);
    let router = router.layer(axum::Extension(Peer(peer)));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades()
        .await
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) std::net::SocketAddr);

impl Peer {
    /// Whether it is this machine.
    pub(crate) fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}
