//! Making the connection: to one of several hosts, by TLS, to a broker that is not there yet.

use std::time::Duration;

use leveret_bus::{Bus, Error, LinkState, Message, Topology};
use leveret_server::{Config, Server, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpSocket;

use crate::support::proxy::{Proxy, Weather};
use crate::support::{Broker, soon, unique};

/// An address where nothing listens, nor anybody else can while the socket is there.
fn dead_url() -> (String, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    (format!("amqp://guest:guest@{}", socket.local_addr().unwrap()), socket)
}

#[tokio::test]
async fn the_first_host_that_answers_is_used_each_time() {
    let broker = Broker::start().await;
    let (first, second) = (Proxy::before(broker.url()).await, Proxy::before(broker.url()).await);
    let (dead, _kept) = dead_url();
    let urls = format!("{dead},{},{}", first.url(), second.url());
    let bus = Bus::connect(&urls).await.unwrap();
    let queue = unique("q");
    bus.declare(&Topology::new().queue(&queue)).await.unwrap();
    let mut state = bus.state();
    first.set(Weather::Down);
    soon("loss", state.wait_for(|state| *state == LinkState::Disconnected)).await.unwrap();
    soon("return", state.wait_for(|state| *state == LinkState::Connected)).await.unwrap();
    soon("confirm", bus.publish(Message::text("", &queue, "x"))).await.unwrap();
    second.set(Weather::Down);
    soon("loss", state.wait_for(|state| *state == LinkState::Disconnected)).await.unwrap();
    bus.close().await;
    assert_eq!(*bus.state().borrow(), LinkState::Closed);
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    let broker = Broker::start().await;
    let proxy = Proxy::before(broker.url()).await;
    proxy.set(Weather::Down);
    let url = proxy.url().to_owned();
    let connecting = tokio::spawn(async move { Bus::connect(&url).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.set(Weather::Fine);
    let bus = soon("connection", connecting).await.unwrap().unwrap();
    assert!(bus.is_up().await);
    broker.stop().await;
}

#[tokio::test]
async fn nobody_there_is_an_error_in_time() {
    let (dead, _kept) = dead_url();
    let bus = Bus::builder(&dead).connect_within(Duration::from_millis(200)).connect();
    assert!(matches!(soon("answer", bus).await, Err(Error::Broker(_))));
}

#[tokio::test]
async fn a_wrong_password_is_an_error_at_once() {
    let broker = Broker::start().await;
    let address = broker.url().rsplit_once('@').unwrap().1.to_owned();
    let answer = soon("answer", Bus::connect(&format!("amqp://guest:wrong@{address}"))).await;
    let error = answer.err().unwrap().to_string();
    assert!(error.contains("ACCESS_REFUSED") || error.contains("ACCESS-REFUSED"), "{error}");
    broker.stop().await;
}

#[tokio::test]
async fn a_mute_broker_is_given_up_and_another_connection_made() {
    let broker = Broker::start().await;
    let proxy = Proxy::before(broker.url()).await;
    let bus = Bus::connect(proxy.url()).await.unwrap();
    proxy.set(Weather::Mute);
    let mut state = bus.state();
    let declaring = (0..8).map(|_| {
        let bus = bus.clone();
        tokio::spawn(async move { bus.declare(&Topology::new().queue(unique("q"))).await })
    });
    let declaring: Vec<_> = declaring.collect();
    soon("loss noticed", state.wait_for(|state| *state == LinkState::Disconnected)).await.unwrap();
    proxy.set(Weather::Fine);
    // In time or too late: but it ends.
    for declaring in declaring {
        let _ = soon("answer", declaring).await.unwrap();
    }
    soon("return", state.wait_for(|state| *state == LinkState::Connected)).await.unwrap();
    for _ in 0..20 {
        bus.declare(&Topology::new().queue(unique("q"))).await.unwrap();
    }
    assert_eq!(proxy.accepted(), 2, "that several found the first one dead does the second no harm");
    broker.stop().await;
}

/// The broker's certificate is vouched for by an authority that only this bus knows.
#[tokio::test]
async fn tls_with_an_authority_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let tls = Tls { cert: cert_file, key: key_file, client_ca: None };
    let config = Config { amqps: "127.0.0.1:0".into(), tls: Some(tls), ..Config::ephemeral() };
    let server = Server::start(config).await.unwrap();
    let url = format!("amqps://guest:guest@localhost:{}", server.amqps_addr().unwrap().port());

    let stranger = Bus::builder(&url).connect_within(Duration::ZERO).connect().await;
    assert!(matches!(stranger, Err(Error::Broker(_))));
    let bus = Bus::builder(&url).certificate_authority(authority.pem()).connect().await.unwrap();
    let queue = unique("q");
    bus.declare(&Topology::new().queue(&queue)).await.unwrap();
    bus.publish(Message::text("", &queue, "in secret")).await.unwrap();
    bus.close().await;
    server.shutdown().await;
}
