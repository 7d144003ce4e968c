//! A mail server to try things out with: a real one on a real port, that refuses as many mails as it is told
//! to and keeps the others as `.eml` files in a folder. The demo and the tests of the sign-up system have it; it is not for
//! the open network.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::fs;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const LONGEST_LINE_BYTES: u64 = 64 * 1024;
const LARGEST_MAIL_BYTES: usize = 10 * 1024 * 1024;

/// A running mail server. It ends when dropped.
pub struct ScriptedMailServer {
    addr: SocketAddr,
    script: Arc<Script>,
    stop: CancellationToken,
}

struct Script {
    folder: PathBuf,
    failures_left: AtomicU32,
    delivered: AtomicU32,
}

impl ScriptedMailServer {
    /// Starts on a free port of this machine. Answers the first `failures` mails with 451, "try again later", and keeps
    /// those after them in the folder.
    ///
    /// # Errors
    /// No port is to be had, or the folder cannot be made.
    pub async fn start(folder: impl Into<PathBuf>, failures: u32) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let script = Arc::new(Script {
            folder,
            failures_left: AtomicU32::new(failures),
            delivered: AtomicU32::new(0),
        });
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, Arc::clone(&script), stop.clone()));
        Ok(Self { addr, script, stop })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL to give to those who send.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.addr)
    }

    /// How many of the next mails to refuse.
    pub fn fail_next(&self, failures: u32) {
        self.script.failures_left.store(failures, Ordering::SeqCst);
    }

    /// How many mails it has taken.
    pub fn delivered(&self) -> u32 {
        self.script.delivered.load(Ordering::SeqCst)
    }
}

impl Drop for ScriptedMailServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Script {
    /// True while mails are to be refused; counts one down.
    fn refuses(&self) -> bool {
        let less_one = |left: u32| left.checked_sub(1);
        self.failures_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less_one).is_ok()
    }

    async fn take(&self, mail: &[u8]) -> &'static str {
        if self.refuses() {
            return "451 4.3.0 try again later\r\n";
        }
        match self.keep(mail).await {
            Ok(()) => "250 2.0.0 taken\r\n",
            Err(error) => {
                tracing::error!(%error, "a mail could not be kept");
                "452 4.3.1 no room\r\n"
            }
        }
    }

    /// The mail appears whole or not at all.
    async fn keep(&self, mail: &[u8]) -> io::Result<()> {
        let number = self.delivered.fetch_add(1, Ordering::SeqCst) + 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{}-{number:06}.eml", now.as_millis());
        let unfinished = self.folder.join(format!(".{name}.part"));
        fs::write(&unfinished, mail).await?;
        fs::rename(&unfinished, self.folder.join(name)).await
    }
}

async fn serve(listener: TcpListener, script: Arc<Script>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (script, stop) = (Arc::clone(&script), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                ended = Conversation::new(stream, script).hold() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a mail connection ended");
                    }
                }
            }
        });
    }
}

/// One connection, as far as RFC 5321 asks of a minimal server.
struct Conversation {
    stream: BufReader<TcpStream>,
    script: Arc<Script>,
    has_sender: bool,
    has_recipient: bool,
}

impl Conversation {
    fn new(stream: TcpStream, script: Arc<Script>) -> Self {
        Self { stream: BufReader::new(stream), script, has_sender: false, has_recipient: false }
    }

    async fn hold(mut self) -> io::Result<()> {
        self.say("220 localhost ESMTP\r\n").await?;
        while let Some(line) = self.line().await? {
            let command = String::from_utf8_lossy(&line).trim_end().to_ascii_uppercase();
            let verb = command.split([' ', ':']).next().unwrap_or_default();
            match verb {
                "EHLO" => self.say("250-localhost\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n").await?,
                "HELO" | "NOOP" => self.say("250 2.0.0 ok\r\n").await?,
                "MAIL" => self.sender().await?,
                "RCPT" => self.recipient().await?,
                "DATA" => self.data().await?,
                "RSET" => self.reset().await?,
                "QUIT" => return self.say("221 2.0.0 bye\r\n").await,
                _ => self.say("502 5.5.2 unknown command\r\n").await?,
            }
        }
        Ok(())
    }

    async fn sender(&mut self) -> io::Result<()> {
        self.has_sender = true;
        self.say("250 2.1.0 ok\r\n").await
    }

    async fn recipient(&mut self) -> io::Result<()> {
        if !self.has_sender {
            return self.say("503 5.5.1 MAIL first\r\n").await;
        }
        self.has_recipient = true;
        self.say("250 2.1.5 ok\r\n").await
    }

    async fn reset(&mut self) -> io::Result<()> {
        (self.has_sender, self.has_recipient) = (false, false);
        self.say("250 2.0.0 ok\r\n").await
    }

    async fn data(&mut self) -> io::Result<()> {
        if !self.has_recipient {
            return self.say("503 5.5.1 RCPT first\r\n").await;
        }
        self.say("354 end with a dot\r\n").await?;
        (self.has_sender, self.has_recipient) = (false, false);
        let mail = self.mail().await?;
        let answer = self.script.take(&mail).await;
        self.say(answer).await
    }

    /// Reads up to the line with only a dot, and takes back the dot doubled at a line's beginning.
    async fn mail(&mut self) -> io::Result<Vec<u8>> {
        let mut mail = Vec::new();
        while let Some(line) = self.line().await? {
            if line == b".\r\n" {
                return Ok(mail);
            }
            if mail.len() + line.len() > LARGEST_MAIL_BYTES {
                return Err(io::Error::other("mail too large"));
            }
            mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let length = (&mut self.stream).take(LONGEST_LINE_BYTES).read_until(b'\n', &mut line).await?;
        if length > 0 && !line.ends_with(b"\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((length > 0).then_some(line))
    }

    async fn say(&mut self, words: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(words.as_bytes()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lettre::message::MessageBuilder;
    use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

    #[tokio::test]
    async fn the_first_mails_fail_and_the_next_is_kept_whole() {
        let folder = tempfile::tempdir().unwrap();
        let server = ScriptedMailServer::start(folder.path(), 2).await.unwrap();
        let sender = AsyncSmtpTransport::<Tokio1Executor>::from_url(&server.url()).unwrap().build();
        let mail = MessageBuilder::new()
            .from("a@localhost".parse().unwrap())
            .to("b@localhost".parse().unwrap())
            .body(".a line that begins with a dot\r\n".to_owned())
            .unwrap();
        for _ in 0..2 {
            assert!(sender.send(mail.clone()).await.unwrap_err().is_transient());
        }
        sender.send(mail.clone()).await.unwrap();
        assert_eq!(server.delivered(), 1);
        let kept: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        let text = std::fs::read(kept[0].as_ref().unwrap().path()).unwrap();
        assert_eq!(kept.len(), 1);
        // The sender puts one more line end before the dot that ends the mail.
        assert_eq!(text.trim_ascii_end(), mail.formatted().trim_ascii_end());
    }
}
