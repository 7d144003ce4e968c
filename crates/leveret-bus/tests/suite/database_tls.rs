//! A database by TLS, as far as the URL asks for it. The server is a stand-in that speaks the first words of PostgreSQL's
//! protocol and then shows what it was told.

use std::sync::Arc;

use leveret_bus::database;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::soon;

/// Answers to the question for TLS (`SSLRequest`): yes with this certificate, or no. Passes on the words that it is told
/// in secret. Says its port.
async fn stand_in(tls: Option<TlsAcceptor>, told: mpsc::UnboundedSender<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut question = [0; 8];
            if stream.read_exact(&mut question).await.is_err() {
                continue;
            }
            let Some(tls) = &tls else {
                let _ = stream.write_all(b"N").await;
                continue;
            };
            let _ = stream.write_all(b"S").await;
            let Ok(mut stream) = tls.accept(stream).await else { continue };
            let mut words = [0; 256];
            let length = stream.read(&mut words).await.unwrap_or(0);
            let _ = told.send(String::from_utf8_lossy(&words[..length]).into_owned());
        }
    });
    port
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_the_url_wants_it() {
    let port = stand_in(None, mpsc::unbounded_channel().0).await;
    let url = format!("postgres://leveret@localhost:{port}/d?sslmode=require");
    let error = soon("answer", database::connect(&url)).await.unwrap_err().to_string();
    assert!(error.contains("server does not support TLS"), "{error}");
}

#[tokio::test]
async fn a_server_is_known_by_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
    let (told, mut words) = mpsc::unbounded_channel();
    let port = stand_in(Some(TlsAcceptor::from(Arc::new(config))), told).await;

    let url = format!("postgres://leveret@localhost:{port}/d?sslmode=verify-full");
    let stranger = soon("answer", database::connect(&url)).await.unwrap_err().to_string();
    assert!(stranger.contains("certificate"), "{stranger}");
    assert!(words.try_recv().is_err());
    // The stand-in knows no more than the first words, so there is no connection in the end.
    let connecting = tokio::spawn(async move {
        let _ = database::connect(&format!("{url}&sslrootcert={}", file.display())).await;
    });
    let words = soon("the log-in", words.recv()).await.unwrap();
    assert!(words.contains("user\0leveret"), "{words:?}");
    connecting.abort();
}
