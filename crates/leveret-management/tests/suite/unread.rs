//! Requests that are refused without a look at their body.

use leveret_management::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stage::{LOGIN, PATIENCE, Stage};

/// What is refused for its head alone.
const REFUSED: [(&str, &str, &str); 4] = [
    ("PUT /api/queues/%2f/q", "", "401"),
    ("PUT /api/queues/%2f/q", "origin: http://elsewhere", "403"),
    ("PUT /api/nothing", LOGIN, "404"),
    ("PATCH /api/queues/%2f/q", LOGIN, "405"),
];

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("is sent");
}

/// The head of the next answer; its body is of the length that it names.
async fn answer(stream: &mut TcpStream) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let byte =
            timeout(PATIENCE, stream.read_u8()).await.expect("an answer").expect("the connection lives");
        head.push(char::from(byte));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    timeout(PATIENCE, stream.read_exact(&mut body)).await.expect("a body").expect("the whole of it");
    head
}

/// The head of a request with those headers.
fn head(request: &str, headers: [&str; 2]) -> String {
    let headers: Vec<_> = headers.into_iter().filter(|header| !header.is_empty()).collect();
    format!("{request} HTTP/1.1\r\nhost: x\r\n{}\r\n\r\n", headers.join("\r\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_body_that_comes_late_does_not_cost_the_connection() {
    let stage = Stage::start(Limits::default()).await;
    let mut stream = TcpStream::connect(stage.management.address()).await.expect("connects");
    for (request, headers, status) in REFUSED {
        // With this the server says when it waits for the body.
        let length = "content-length: 2\r\nexpect: 100-continue";
        send(&mut stream, &head(request, [headers, length])).await;
        let asks = answer(&mut stream).await;
        assert!(asks.starts_with("HTTP/1.1 100"), "{asks}");
        send(&mut stream, "{}").await;
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_end_of_the_body_says_that_the_connection_closes() {
    let stage = Stage::start(Limits::default()).await;
    for (request, headers, status) in REFUSED {
        for length in ["content-length: 1000000", "transfer-encoding: chunked"] {
            let mut stream = TcpStream::connect(stage.management.address()).await.expect("connects");
            send(&mut stream, &head(request, [headers, length])).await;
            let answer = answer(&mut stream).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            assert!(answer.contains("connection: close"), "{answer}");
            let rest = timeout(PATIENCE, stream.read(&mut [0])).await.expect("the server closes");
            assert!(matches!(rest, Ok(0)), "{rest:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_first_and_looks_up_afterwards_gets_the_answer() {
    const BYTES: usize = 5 << 20;
    let stage = Stage::start(Limits::default()).await;
    let body = " ".repeat(BYTES);
    let kinds = [
        (format!("content-length: {BYTES}"), body.clone()),
        ("transfer-encoding: chunked".to_owned(), format!("{BYTES:x}\r\n{body}\r\n0\r\n\r\n")),
    ];
    for (request, headers, status) in REFUSED {
        for (length, body) in &kinds {
            let mut stream = TcpStream::connect(stage.management.address()).await.expect("connects");
            send(&mut stream, &head(request, [headers, length])).await;
            send(&mut stream, body).await;
            let answer = answer(&mut stream).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            let rest = timeout(PATIENCE, stream.read(&mut [0])).await.expect("the server closes");
            assert!(matches!(rest, Ok(0)), "in order: {rest:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_that_waits_to_be_asked_for_is_not_asked_for() {
    let stage = Stage::start(Limits::default()).await;
    let mut stream = TcpStream::connect(stage.management.address()).await.expect("connects");
    let (request, headers, status) = REFUSED[0];
    send(&mut stream, &head(request, [headers, "content-length: 1000000\r\nexpect: 100-continue"])).await;
    let answer = answer(&mut stream).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}
