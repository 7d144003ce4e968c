//! Serving HTTP with bounds: on connections, and on the time that a client takes for its request and for its answer.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use crate::places::{Place, Places};

/// What clients may take of the management.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at a time. One more takes the place of the one that has asked for nothing for longest.
    pub connections: usize,
    /// For the head of a request, the time between requests included.
    pub head: Duration,
    /// For a request from its head to its answer, its body's coming in included.
    pub request: Duration,
    /// For taking no part of an answer.
    pub answer: Duration,
}

impl Default for Limits {
    /// 512 connections, 30 s for a head, 60 s for a request, 30 s without reading.
    fn default() -> Self {
        Self {
            connections: 512,
            head: Duration::from_secs(30),
            request: Duration::from_secs(60),
            answer: Duration::from_secs(30),
        }
    }
}

/// How long a connection may last in all.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Bytes kept of a request's head.
const HEAD_BYTES: usize = 64 << 10;
/// Pause after an `accept` that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the task is aborted.
pub(crate) async fn run(listener: TcpListener, router: Router, limits: Limits) {
    let places = Places::new(limits.connections);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (router, place) = (router.clone(), places.take());
                tokio::spawn(async move {
                    tokio::select! {
                        () = place.lost() => tracing::debug!(%peer, "HTTP connection made room for another"),
                        ended = timeout(LIFETIME, serve(stream, router, peer, &place, limits)) => {
                            if let Ok(Err(error)) = ended {
                                tracing::debug!(%peer, %error, "HTTP connection ended");
                            }
                        }
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept an HTTP connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    router: Router,
    peer: SocketAddr,
    place: &Place,
    limits: Limits,
) -> hyper::Result<()> {
    let _without = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.answer));
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let answer = router.call(request);
        async move {
            let _busy = place.busy();
            answer.await
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .await
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Peer {
    /// Whether it is this machine.
    pub(crate) fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}
