//! The sign-up system as a program, and `signup load`, which measures it.

mod load;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use leveret_signup::{Names, Settings, StartError};
use leveret_web::program;

/// Sign-up with a welcome mail that is tried again with growing delays.
#[derive(Parser)]
#[command(name = "signup", version)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs API, page and worker (the default).
    Serve,
    /// Measures how soon a running system sends the first mail.
    Load(load::Flags),
}

#[derive(Args)]
struct Flags {
    /// The broker.
    #[arg(long, global = true, env = "SIGNUP_AMQP_URL", default_value = "amqp://guest:guest@127.0.0.1:5672")]
    amqp_url: String,
    /// The database.
    #[arg(long, global = true, env = "SIGNUP_DATABASE_URL", default_value = "sqlite://signup.db")]
    database_url: String,
    /// Address of API and page; port 0 picks a free one.
    #[arg(long, global = true, env = "SIGNUP_LISTEN", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Mail server, such as smtp://host:25; without one, mails become files.
    #[arg(long, global = true, env = "SIGNUP_SMTP_URL")]
    smtp_url: Option<String>,
    /// Folder of .eml files.
    #[arg(long, global = true, env = "SIGNUP_MAIL_FOLDER", default_value = "mails")]
    mail_folder: PathBuf,
    /// Sender of the mails.
    #[arg(long, global = true, env = "SIGNUP_MAIL_FROM", default_value = "Sign-up <welcome@localhost>")]
    mail_from: String,
    /// Pauses before each further attempt, in milliseconds; the mail is given up when they are used up.
    #[arg(
        long,
        global = true,
        env = "SIGNUP_DELAYS_MS",
        value_delimiter = ',',
        default_value = "3000,6000,12000,24000"
    )]
    delays_ms: Vec<u64>,
    /// How long one mail may take, in milliseconds.
    #[arg(long, global = true, env = "SIGNUP_MAIL_TIMEOUT_MS", default_value_t = 20_000)]
    mail_timeout_ms: u64,
    #[command(flatten)]
    names: NameFlags,
}

#[derive(Args)]
struct NameFlags {
    /// Exchange that sign-ups are announced to.
    #[arg(long, global = true, env = "SIGNUP_EXCHANGE", default_value = "UserExchange")]
    exchange: String,
    /// Exchange that delays retries, on brokers that can.
    #[arg(long, global = true, env = "SIGNUP_DELAY_EXCHANGE", default_value = "UserDelayExchange")]
    delay_exchange: String,
    /// Routing key.
    #[arg(long, global = true, env = "SIGNUP_ROUTING_KEY", default_value = "userreg")]
    routing_key: String,
    /// Queue of mails to be sent.
    #[arg(long, global = true, env = "SIGNUP_QUEUE", default_value = "UserQueue")]
    queue: String,
}

impl NameFlags {
    fn into_names(self) -> Names {
        Names {
            exchange: self.exchange,
            delay_exchange: self.delay_exchange,
            routing_key: self.routing_key,
            queue: self.queue,
        }
    }
}

impl Flags {
    fn into_settings(self) -> Settings {
        Settings {
            amqp_url: self.amqp_url,
            database_url: self.database_url,
            listen: self.listen,
            smtp_url: self.smtp_url,
            mail_folder: self.mail_folder,
            mail_from: self.mail_from,
            delays: self.delays_ms.into_iter().map(Duration::from_millis).collect(),
            mail_timeout: Duration::from_millis(self.mail_timeout_ms),
            names: self.names.into_names(),
            ..Settings::default()
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    program::log();
    let cli = Cli::parse();
    let settings = cli.flags.into_settings();
    match cli.command {
        None | Some(Command::Serve) => program::end("signup", serve(settings).await),
        Some(Command::Load(flags)) => program::end("signup", load::run(flags).await),
    }
}

async fn serve(settings: Settings) -> Result<(), StartError> {
    let running = leveret_signup::run(settings).await?;
    println!("sign-up: {}", running.url());
    program::asked_to_end().await;
    running.shutdown().await;
    Ok(())
}
