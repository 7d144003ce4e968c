//! The program is killed in the middle of its work, again and again, and no mail is lost.
#![allow(clippy::unwrap_used, reason = "these are tests, also their setting up")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use leveret_mailserver::ScriptedMailServer;
use leveret_rig::{TestDatabase, broker, soon};
use leveret_signup::MailFolder;

const USERS: usize = 60;
const KILLS: usize = 5;
/// Mails under way at once: as many may be sent twice at each kill.
const AT_ONCE: usize = 8;

/// The program as one would run it.
struct Program {
    child: Child,
    addr: String,
}

impl Program {
    fn start(folder: &std::path::Path, database_url: &str, amqp_url: &str, smtp_url: &str, id: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_signup"))
            .args(["--listen", "127.0.0.1:0", "--delays-ms", "50,100,200,400", "--mail-timeout-ms", "10000"])
            .args(["--amqp-url", amqp_url, "--smtp-url", smtp_url])
            .args(["--database-url", database_url])
            .arg("--mail-folder")
            .arg(folder.join("mails"))
            .args(["--exchange", &format!("x-{id}"), "--delay-exchange", &format!("d-{id}")])
            .args(["--queue", &format!("q-{id}")])
            .env("RUST_LOG", "off")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("sign-up: http://").unwrap().trim_end_matches('/').to_owned();
        Self { child, addr }
    }

    fn sign_up(&self, number: usize) {
        let body = format!(r#"{{"name":"User {number}","email":"user{number}@example.org"}}"#);
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        write!(
            stream,
            "POST /users HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// How many mails each address got.
async fn mails_by_address(mails: &MailFolder) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for mail in mails.latest(usize::MAX).await.unwrap() {
        let text = String::from_utf8(mails.read(&mail.name).await.unwrap().unwrap()).unwrap();
        let to = text.lines().find(|line| line.starts_with("To: ")).unwrap().to_owned();
        *counts.entry(to).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_sends_every_mail() {
    let folder = tempfile::tempdir().unwrap();
    let (server, amqp_url) = broker().await;
    let database = TestDatabase::new().await;
    let mails = MailFolder::open(folder.path().join("mails")).await.unwrap();
    let mail_server = ScriptedMailServer::start(folder.path().join("mails"), 3).await.unwrap();
    let id = uuid::Uuid::now_v7().to_string();
    let start = || Program::start(folder.path(), &database.url, &amqp_url, &mail_server.url(), &id);

    let mut program = start();
    for number in 0..USERS {
        program.sign_up(number);
        if (number + 1) % (USERS / KILLS) == 0 {
            program.kill();
            program = start();
        }
    }
    let all = async { while mails_by_address(&mails).await.len() < USERS {} };
    soon("a mail for every user", all).await;
    let counts = mails_by_address(&mails).await;
    let twice = counts.values().filter(|count| **count > 1).count();
    assert!(twice <= KILLS * AT_ONCE, "{twice} users got their mail more than once");
    program.kill();
    if let Some(server) = server {
        server.shutdown().await;
    }
}
