//! The HTTP API's answers, good and bad.

mod support;

use std::time::Duration;

use leveret_rig::openapi;
use support::{Rig, is_sent};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn bad_input_is_told_precisely() {
    let rig = Rig::start(0, &[50]).await;
    let cases = [
        (r#"{"email":"a@b.c"}"#, 422, Some("name")),
        (r#"{"name":"","email":"a@b.c"}"#, 422, Some("name")),
        (r#"{"name":7,"email":"a@b.c"}"#, 422, Some("name")),
        (r#"{"name":"n"}"#, 422, Some("email")),
        (r#"{"name":"n","email":"nonsense"}"#, 422, Some("email")),
        (r#"{"name":"n","email":null}"#, 422, Some("email")),
        (r#"["n","a@b.c"]"#, 400, None),
        (r#"{"name":"n""#, 400, None),
        ("", 400, None),
    ];
    for (body, status, field) in cases {
        let answer = rig.post("/users", body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.head.contains("content-type: application/problem+json"), "{body}: {answer:?}");
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{body}");
        assert_eq!(problem["field"].as_str(), field, "{body}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn an_address_signs_up_once() {
    let rig = Rig::start(0, &[50]).await;
    rig.sign_up("Ada", "ada@example.org").await;
    let again = rig.post("/users", r#"{"name":"Ada","email":"ADA@Example.org"}"#).await;
    assert_eq!(again.status, 409, "{again:?}");
    assert_eq!(rig.get("/users").await.json().as_array().unwrap().len(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn large_bodies_other_types_and_odd_addresses_are_refused() {
    let rig = Rig::start(0, &[50]).await;
    let large = format!(r#"{{"name":"{}","email":"a@b.c"}}"#, "n".repeat(70_000));
    assert_eq!(rig.post("/users", &large).await.status, 413);
    // Also where the body is not named as too large beforehand.
    let chunk = format!("2710\r\n{}\r\n", "n".repeat(10_000));
    let chunks = format!("{}0\r\n\r\n", chunk.repeat(10));
    assert_eq!(rig.send("POST /users HTTP/1.1\r\ntransfer-encoding: chunked\r\n", &chunks).await.status, 413);
    let form = "POST /users HTTP/1.1\r\ncontent-type: text/plain\r\n";
    assert_eq!(rig.ask(form, b"{}").await.status, 415);
    assert_eq!(rig.get("/nothing").await.status, 404);
    assert_eq!(rig.get("/users/77").await.status, 404);
    assert_eq!(rig.get("/users/abc").await.status, 404);
    assert_eq!(rig.get("/mails/..%2Fsignup.db").await.status, 404);
    let odd = rig.get("/mails/%ff").await;
    assert!(odd.status == 404 && odd.head.contains("application/problem+json"), "{odd:?}");
    assert_eq!(rig.ask("PUT /users HTTP/1.1\r\n", b"").await.status, 405);
    let foreign = "POST /parked/replay HTTP/1.1\r\nsec-fetch-site: cross-site\r\n";
    assert_eq!(rig.ask(foreign, b"").await.status, 403);
    let foreign = "POST /parked/replay HTTP/1.1\r\norigin: http://evil.example\r\n";
    assert_eq!(rig.ask(foreign, b"").await.status, 403);
    rig.stop().await;
}

/// Behind an answer that comes before the body has, the connection would be closed, and the client's next request on it fail.
#[tokio::test]
async fn what_is_refused_without_a_look_at_its_body_leaves_the_connection_alive() {
    let rig = Rig::start(0, &[50]).await;
    let mut stream = BufReader::new(TcpStream::connect(rig.running.addr()).await.unwrap());
    for (line, header, status) in [
        ("POST /parked/replay", "sec-fetch-site: cross-site\r\n", "403"),
        ("DELETE /parked", "sec-fetch-site: same-site\r\n", "403"),
        ("POST /users", "idempotency-key: \r\n", "400"),
        ("POST /users", "content-type: text/plain\r\n", "415"),
        ("POST /nothing", "", "404"),
        ("PUT /users", "", "405"),
        ("GET /health", "", "200"),
    ] {
        let head = format!("{line} HTTP/1.1\r\nhost: localhost\r\n{header}content-length: 2\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let early = timeout(Duration::from_millis(50), stream.fill_buf()).await;
        assert!(early.is_err(), "{line} is answered before its body: {early:?}");
        stream.write_all(b"{}").await.unwrap();
        let answer = support::soon(line, support::read_answer(&mut stream)).await;
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{line}: {answer}");
        assert!(!answer.contains("connection: close"), "{line}: {answer}");
    }
    // The end of a body that goes on and on is not waited for: then the answer says that the connection is closed.
    stream
        .write_all(b"POST /users HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n")
        .await
        .unwrap();
    stream.write_all(&[b'n'; 4 * 64 * 1024 + 1]).await.unwrap();
    let answer = support::soon("413", support::read_answer(&mut stream)).await;
    assert!(answer.starts_with("http/1.1 413") && answer.contains("connection: close"), "{answer}");
    rig.stop().await;
}

#[tokio::test]
async fn a_user_can_be_followed() {
    let rig = Rig::start(1, &[100]).await;
    let user_id = rig.sign_up("Ada", "ada@example.org").await;
    rig.until(user_id, is_sent).await;
    let user = rig.get(&format!("/users/{user_id}")).await.json();
    assert_eq!(user["state"], "sent");
    assert_eq!(user["attempts"].as_array().unwrap().len(), 2);
    assert!(user["attempts"][0]["next_due_ms"].is_i64(), "{user}");
    let mails = rig.get("/mails").await.json();
    let name = mails[0]["name"].as_str().unwrap();
    let mail = rig.get(&format!("/mails/{name}")).await;
    assert!(mail.body.contains("ada@example.org"), "{mail:?}");
    rig.stop().await;
}

#[tokio::test]
async fn the_page_shows_it_in_both_languages() {
    let rig = Rig::start(0, &[50]).await;
    let user_id = rig.sign_up("<Ada>", "ada@example.org").await;
    rig.until(user_id, is_sent).await;
    let english = rig.get("/").await;
    assert!(english.body.contains("&lt;Ada&gt;") && english.body.contains("Sign up"), "{english:?}");
    assert!(english.head.contains("content-security-policy: default-src 'self'"), "{english:?}");
    assert!(rig.get("/?lang=zh").await.body.contains("用户注册"));
    for asset in ["/style.css", "/live.js", "/patch.js"] {
        assert_eq!(rig.get(asset).await.status, 200, "{asset}");
    }
    // That its message has gone out is noted at the same time as the mail is sent.
    let noted = async {
        loop {
            let health = rig.get("/ready").await;
            assert_eq!(health.status, 200);
            if health.json()["outbox_unsent"] == 0 {
                return;
            }
        }
    };
    support::soon("nothing unsent", noted).await;
    rig.stop().await;
}

#[tokio::test]
async fn the_live_part_is_pushed_and_ends_with_the_server() {
    let rig = Rig::start(0, &[50]).await;
    let mut stream = TcpStream::connect(rig.running.addr()).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    rig.sign_up("Ada", "ada@example.org").await;
    let seeing = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("data:") && line.contains("Ada") && line.contains("badge sent") {
                return;
            }
        }
        panic!("the stream ended early");
    };
    support::soon("the mail on the page", seeing).await;
    support::soon("shutdown with a page open", rig.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_withstands_anything() {
    let rig = Rig::start(0, &[50]).await;
    openapi::withstands_anything(&rig.running.url(), 300).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_request_key_signs_up_once() {
    let rig = Rig::start(0, &[50]).await;
    let head = "POST /users HTTP/1.1\r\ncontent-type: application/json\r\nidempotency-key: one\r\n";
    let body = br#"{"name":"Ada","email":"ada@example.org"}"#;
    let (first, second) = (rig.ask(head, body).await, rig.ask(head, body).await);
    assert_eq!((first.status, second.status), (201, 201), "{first:?} {second:?}");
    assert_eq!(first.json(), second.json());
    assert!(second.head.contains("idempotency-replayed: true") && second.head.contains("location: /users/1"));
    let other = rig.ask(head, br#"{"name":"Eve","email":"eve@example.org"}"#).await;
    assert_eq!(other.status, 422, "{other:?}");
    rig.stop().await;
}
