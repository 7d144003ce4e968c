//! The transfer system as programs: `transfer a`, `transfer b` and `transfer load`.

mod load;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use leveret_transfer::{Names, Secret, SettingsA, SettingsB, StartError};
use leveret_web::program;

/// Money from a company to another, with none made or lost.
#[derive(Parser)]
#[command(name = "transfer", version)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    company: Company,
}

#[derive(Subcommand)]
enum Company {
    /// Company A, where money leaves.
    A(FlagsA),
    /// Company B, where money arrives.
    B(FlagsB),
    /// Measures how many transfers two running companies settle.
    Load(load::Flags),
}

/// What both companies have to agree on.
#[derive(Args)]
struct Shared {
    /// The broker.
    #[arg(
        long,
        global = true,
        env = "TRANSFER_AMQP_URL",
        default_value = "amqp://guest:guest@127.0.0.1:5672"
    )]
    amqp_url: String,
    /// What messages and callbacks are signed with, at least 16 bytes.
    #[arg(long, global = true, env = "TRANSFER_SECRET", hide_env_values = true, default_value = "")]
    secret: String,
    /// Exchange of transfers.
    #[arg(long, global = true, env = "TRANSFER_EXCHANGE", default_value = "TransExchange")]
    exchange: String,
    /// Routing key.
    #[arg(long, global = true, env = "TRANSFER_ROUTING_KEY", default_value = "trans")]
    routing_key: String,
    /// Queue of transfers.
    #[arg(long, global = true, env = "TRANSFER_QUEUE", default_value = "TransQueueA")]
    queue: String,
}

#[derive(Args)]
struct FlagsA {
    /// A's database.
    #[arg(long, env = "TRANSFER_A_DATABASE_URL", default_value = "sqlite://a.db")]
    database_url: String,
    /// Address of API, callback and page; port 0 picks a free one.
    #[arg(long, env = "TRANSFER_A_LISTEN", default_value = "127.0.0.1:8082")]
    listen: SocketAddr,
    /// Where B is, for the page to show both sides.
    #[arg(long, env = "TRANSFER_B_URL")]
    peer_url: Option<String>,
    /// How often what is pending is published again, in milliseconds.
    #[arg(long, env = "TRANSFER_REPUBLISH_EVERY_MS", default_value_t = 2000)]
    republish_every_ms: u64,
    /// Up to which age, in milliseconds.
    #[arg(long, env = "TRANSFER_REPUBLISH_UNTIL_MS", default_value_t = 8000)]
    republish_until_ms: u64,
    /// How often what is overdue is failed and refunded, in milliseconds.
    #[arg(long, env = "TRANSFER_EXPIRE_EVERY_MS", default_value_t = 3000)]
    expire_every_ms: u64,
    /// From which age a transfer is overdue, in milliseconds.
    #[arg(long, env = "TRANSFER_EXPIRE_AFTER_MS", default_value_t = 30_000)]
    expire_after_ms: u64,
}

#[derive(Args)]
struct FlagsB {
    /// B's database.
    #[arg(long, env = "TRANSFER_B_DATABASE_URL", default_value = "sqlite://b.db")]
    database_url: String,
    /// Address of API and page; port 0 picks a free one.
    #[arg(long, env = "TRANSFER_B_LISTEN", default_value = "127.0.0.1:8083")]
    listen: SocketAddr,
    /// A's callback, http:// or https://; whom to trust is the system's business, or SSL_CERT_FILE's.
    #[arg(long, env = "TRANSFER_CALLBACK_URL", default_value = "http://127.0.0.1:8082/callback")]
    callback_url: String,
    /// How long one callback may take, in milliseconds.
    #[arg(long, env = "TRANSFER_CALLBACK_TIMEOUT_MS", default_value_t = 5000)]
    callback_timeout_ms: u64,
    /// Where A is, for the page to show both sides.
    #[arg(long, env = "TRANSFER_A_URL")]
    peer_url: Option<String>,
    /// How often what is still prepared is looked for, in milliseconds.
    #[arg(long, env = "TRANSFER_SWEEP_EVERY_MS", default_value_t = 1000)]
    sweep_every_ms: u64,
    /// First pause before A is asked again, in milliseconds.
    #[arg(long, env = "TRANSFER_ASK_AGAIN_AFTER_MS", default_value_t = 1000)]
    ask_again_after_ms: u64,
    /// How many transfers are worked on at once.
    #[arg(long, env = "TRANSFER_CONCURRENCY", default_value_t = 64)]
    concurrency: usize,
}

impl Shared {
    fn secret(&self) -> Result<Secret, StartError> {
        let wrong = |problem: &str| StartError::setting("--secret", problem);
        Secret::new(self.secret.as_str()).map_err(wrong)
    }

    fn names(&self) -> Names {
        Names {
            exchange: self.exchange.clone(),
            routing_key: self.routing_key.clone(),
            queue: self.queue.clone(),
        }
    }

    fn a(&self, flags: FlagsA) -> Result<SettingsA, StartError> {
        Ok(SettingsA {
            amqp_url: self.amqp_url.clone(),
            database_url: flags.database_url,
            listen: flags.listen,
            peer_url: flags.peer_url,
            names: self.names(),
            republish_every: Duration::from_millis(flags.republish_every_ms),
            republish_until: Duration::from_millis(flags.republish_until_ms),
            expire_every: Duration::from_millis(flags.expire_every_ms),
            expire_after: Duration::from_millis(flags.expire_after_ms),
            secret: self.secret()?,
        })
    }

    fn b(&self, flags: FlagsB) -> Result<SettingsB, StartError> {
        Ok(SettingsB {
            amqp_url: self.amqp_url.clone(),
            database_url: flags.database_url,
            listen: flags.listen,
            callback_url: flags.callback_url,
            callback_timeout: Duration::from_millis(flags.callback_timeout_ms),
            peer_url: flags.peer_url,
            names: self.names(),
            sweep_every: Duration::from_millis(flags.sweep_every_ms),
            ask_again_after: Duration::from_millis(flags.ask_again_after_ms),
            concurrency: flags.concurrency,
            secret: self.secret()?,
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    program::log();
    let Cli { shared, company } = Cli::parse();
    match company {
        Company::A(flags) => program::end("transfer", a(shared.a(flags)).await),
        Company::B(flags) => program::end("transfer", b(shared.b(flags)).await),
        Company::Load(flags) => program::end("transfer", load::run(flags).await),
    }
}

async fn a(settings: Result<SettingsA, StartError>) -> Result<(), StartError> {
    let running = leveret_transfer::run_a(settings?).await?;
    println!("transfer a: {}", running.url());
    program::asked_to_end().await;
    running.shutdown().await;
    Ok(())
}

async fn b(settings: Result<SettingsB, StartError>) -> Result<(), StartError> {
    let running = leveret_transfer::run_b(settings?).await?;
    println!("transfer b: {}", running.url());
    program::asked_to_end().await;
    running.shutdown().await;
    Ok(())
}
