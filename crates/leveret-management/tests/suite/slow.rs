//! Clients that are slow, silent or deaf hold nothing for longer than the limits say, and keep nobody out.

use std::io::ErrorKind;
use std::time::Duration;

use leveret_management::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{LOGIN, PATIENCE, Stage};

/// One of the limits; the others are too long to be what ends a connection.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(600);

const NO_LIMITS: Limits = Limits { connections: 100, head: LONG, request: LONG, answer: LONG };

async fn connect(stage: &Stage) -> TcpStream {
    TcpStream::connect(stage.management.address()).await.expect("connects")
}

/// What comes until the server closes the connection.
async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset is an end too.
    let _how = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("the server closes");
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_in_is_not_waited_for() {
    let stage = Stage::start(Limits { head: SHORT, ..NO_LIMITS }).await;
    let (mut reader, mut writer) = connect(&stage).await.into_split();
    let trickle = tokio::spawn(async move {
        for byte in b"GET /api/whoami HTTP/1.1\r\nhost: x\r\nx: ".iter().chain(std::iter::repeat(&b'x')) {
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    let mut all = Vec::new();
    let _how = timeout(PATIENCE, reader.read_to_end(&mut all)).await.expect("the server closes");
    assert!(!String::from_utf8_lossy(&all).contains("200 OK"));
    timeout(PATIENCE, trickle).await.expect("it is told").expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_comes_is_not_waited_for() {
    let stage = Stage::start(Limits { request: SHORT, ..NO_LIMITS }).await;
    for request in [
        format!("PUT /api/queues/%2f/q HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n{LOGIN}\r\n\r\n{{"),
        "POST /api/session HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nx-leveret-ui: 1\r\n\r\n{".to_owned(),
    ] {
        let mut stream = connect(&stage).await;
        stream.write_all(request.as_bytes()).await.expect("is sent");
        let answer = to_the_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_is_not_signed_in_has_a_large_body_read() {
    let stage = Stage::start(NO_LIMITS).await;
    // What is beyond the bound is not waited for, and nothing is where no page of ours asks.
    for (mark, sent_bytes, status) in [("x-leveret-ui: 1\r\n", 4 * 4096 + 1, "413"), ("", 0, "400")] {
        let mut stream = connect(&stage).await;
        let head = format!("POST /api/session HTTP/1.1\r\nhost: x\r\ncontent-length: 30000000\r\n{mark}\r\n");
        stream.write_all(head.as_bytes()).await.expect("is sent");
        stream.write_all(&vec![b' '; sent_bytes]).await.expect("is sent");
        let answer = to_the_end(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_reads_is_given_up() {
    let stage = Stage::start(Limits { answer: SHORT, ..NO_LIMITS }).await;
    let mut stream = connect(&stage).await;
    let request = format!("GET /api/openapi.json HTTP/1.1\r\nhost: x\r\n{LOGIN}\r\n\r\n").repeat(1000);
    let start = Instant::now();
    // More answers than the sockets hold; nothing is read, so the connection only ends by being closed.
    let end = loop {
        match timeout(SHORT, stream.write_all(request.as_bytes())).await {
            Ok(Err(error)) => break error.kind(),
            _ => assert!(start.elapsed() < PATIENCE, "the server still waits"),
        }
    };
    assert!(matches!(end, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_keep_nobody_out() {
    let stage = Stage::start(Limits { connections: 10, ..NO_LIMITS }).await;
    let body = format!("PUT /api/queues/%2f/q HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n{LOGIN}\r\n\r\n");
    let mut silent = Vec::new();
    for number in 0..40 {
        let mut stream = connect(&stage).await;
        if number % 2 == 0 {
            stream.write_all(body.as_bytes()).await.expect("is sent");
        }
        silent.push(stream);
    }
    let answer = stage.ask("GET", "/api/whoami", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
