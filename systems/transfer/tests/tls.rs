//! Callbacks over TLS: A stands behind a proxy that speaks `https://`, and B credits only on the word of one whom it
//! trusts. B is a program of its own, because whom it trusts is said by its environment.
#![allow(clippy::unwrap_used, reason = "these are tests, also their setting up")]

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use leveret_rig::{Program, until};
use leveret_testkit::Certificates;
use leveret_transfer::{Books, Status};
use support::{Rig, SECRET, money_of};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_goes_over_tls_to_whom_b_trusts_and_to_nobody_else() {
    let certificates = Certificates::new();
    let rig = Rig::start().await.stop_b().await;
    let (port, refusals) = put_tls_before(rig.a.addr(), &certificates).await;
    let tid = rig.transfer(100).await;

    let distrusting = Program::start(&mut company_b(&rig, port));
    until("a refused certificate", async || (refusals.load(Ordering::Relaxed) > 0).then_some(())).await;
    assert_eq!(rig.at_a(tid).await.status, Status::Pending);
    distrusting.kill();

    let trusting = Program::start(company_b(&rig, port).env("SSL_CERT_FILE", certificates.authority_file()));
    rig.until_at_a(tid, Status::Ok).await;
    until("bob's money", async || {
        let books: Books = rig.client.get(&format!("{}books", trusting.url)).await.unwrap().json().unwrap();
        (money_of(&books, "bob") == 600).then_some(())
    })
    .await;
    trusting.kill();
    rig.stop().await;
}

fn company_b(rig: &Rig, port: u16) -> Command {
    let settings = &rig.settings_b;
    let mut command = Command::new(env!("CARGO_BIN_EXE_transfer"));
    command
        .args(["b", "--listen", "127.0.0.1:0", "--secret", SECRET, "--amqp-url", &settings.amqp_url])
        .args(["--database-url", &settings.database_url, "--exchange", &settings.names.exchange])
        .args(["--routing-key", &settings.names.routing_key, "--queue", &settings.names.queue])
        .args(["--callback-url", &format!("https://localhost:{port}/callback")])
        .args(["--callback-timeout-ms", "1000", "--ask-again-after-ms", "50", "--sweep-every-ms", "100"])
        .env("RUST_LOG", "off");
    command
}

/// A proxy before A, and how often somebody did not believe its certificate.
async fn put_tls_before(a: SocketAddr, certificates: &Certificates) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (acceptor, refusals) = (TlsAcceptor::from(certificates.server()), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&refusals);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, refusals) = (acceptor.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return refusals.fetch_add(1, Ordering::Relaxed);
                };
                let mut to_a = TcpStream::connect(a).await.unwrap();
                // Whichever side ends it, it has ended.
                let _ = copy_bidirectional(&mut stream, &mut to_a).await;
                0
            });
        }
    });
    (port, refusals)
}
