//! A TCP proxy before a broker, to cut its connections at will: what a network does, on any broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Passes everything on.
    Fine,
    /// The client's words take their time.
    Slow,
    /// The broker's words no longer reach the client.
    Mute,
    /// Cuts connections and refuses new ones.
    Down,
}

/// How long the client's words take in slow weather.
const SLOW: Duration = Duration::from_millis(40);

pub struct Proxy {
    url: String,
    accepted: Arc<AtomicUsize>,
    weather: watch::Sender<Weather>,
}

impl Proxy {
    /// A proxy before the broker of this URL.
    pub async fn before(url: &str) -> Self {
        let (head, rest) = url.rsplit_once('@').unwrap();
        let (target, path) = rest.split_once('/').unwrap_or((rest, ""));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{head}@{}/{path}", listener.local_addr().unwrap());
        let weather = watch::Sender::new(Weather::Fine);
        let accepted = Arc::<AtomicUsize>::default();
        tokio::spawn(serve(listener, target.to_owned(), weather.clone(), Arc::clone(&accepted)));
        Self { url, accepted, weather }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Connections that it passed on so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn serve(
    listener: TcpListener,
    target: String,
    weather: watch::Sender<Weather>,
    accepted: Arc<AtomicUsize>,
) {
    while let Ok((client, _)) = listener.accept().await {
        if *weather.borrow() == Weather::Down {
            continue;
        }
        let Ok(broker) = TcpStream::connect(&target).await else { continue };
        accepted.fetch_add(1, Ordering::Relaxed);
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        tokio::spawn(pump(from_client, to_broker, weather.subscribe(), false));
        tokio::spawn(pump(from_broker, to_client, weather.subscribe(), true));
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    is_brokers: bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            _ = weather.wait_for(|weather| *weather == Weather::Down) => return,
            read = from.read(&mut buffer) => read,
        };
        let Ok(length @ 1..) = read else { return };
        let now = *weather.borrow();
        if now == Weather::Down {
            return;
        }
        if is_brokers && now == Weather::Mute {
            continue;
        }
        if !is_brokers && now == Weather::Slow {
            tokio::time::sleep(SLOW).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
