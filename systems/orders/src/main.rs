//! The orders system as a program, and `orders load`, which measures it.

mod load;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use leveret_orders::{Names, Numbering, Settings, StartError};
use leveret_web::program;

/// Orders that are accepted now and written later.
#[derive(Parser)]
#[command(name = "orders", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Measures how many orders a running system accepts.
    Load(load::Flags),
}

#[derive(Args)]
struct Flags {
    /// The broker.
    #[arg(long, env = "ORDERS_AMQP_URL", default_value = "amqp://guest:guest@127.0.0.1:5672")]
    amqp_url: String,
    /// The database.
    #[arg(long, env = "ORDERS_DATABASE_URL", default_value = "sqlite://orders.db")]
    database_url: String,
    /// Address of API and page; port 0 picks a free one.
    #[arg(long, env = "ORDERS_LISTEN", default_value = "127.0.0.1:8084")]
    listen: SocketAddr,
    /// How orders are numbered.
    #[arg(long, env = "ORDERS_NUMBERING", value_enum, default_value_t = NumberingFlag::Uuid)]
    numbering: NumberingFlag,
    /// How long an order may stay unpaid, in milliseconds.
    #[arg(long, env = "ORDERS_CLOSE_AFTER_MS", default_value_t = 1_800_000)]
    close_after_ms: u64,
    /// With more orders than this waiting to be written, no more are accepted for a while.
    #[arg(long, env = "ORDERS_DEEPEST_QUEUE", default_value_t = 1_000_000)]
    deepest_queue: u64,
    /// Accept orders only, and leave the writing to other copies.
    #[arg(long, env = "ORDERS_ACCEPT_ONLY")]
    accept_only: bool,
    /// Most orders written in one transaction.
    #[arg(long, env = "ORDERS_BATCH", default_value_t = 256)]
    batch: usize,
    /// Exchange of new orders.
    #[arg(long, env = "ORDERS_EXCHANGE", default_value = "Exchange_Order")]
    exchange: String,
    /// Routing key.
    #[arg(long, env = "ORDERS_ROUTING_KEY", default_value = "Key_Order")]
    routing_key: String,
    /// Queue of orders to be written.
    #[arg(long, env = "ORDERS_QUEUE", default_value = "Queue_Order")]
    queue: String,
    /// Exchange that holds back the closing.
    #[arg(long, env = "ORDERS_CLOSE_EXCHANGE", default_value = "Exchange_Order_Close")]
    close_exchange: String,
    /// Queue of orders whose time is up.
    #[arg(long, env = "ORDERS_CLOSE_QUEUE", default_value = "Queue_Order_Close")]
    close_queue: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum NumberingFlag {
    /// A UUID of version 7
    Uuid,
    /// A snowflake, whose worker id is leased in the database
    Snowflake,
    /// Date, random digits and user id
    Date,
}

impl Flags {
    fn into_settings(self) -> Settings {
        Settings {
            amqp_url: self.amqp_url,
            database_url: self.database_url,
            listen: self.listen,
            numbering: match self.numbering {
                NumberingFlag::Uuid => Numbering::Uuid,
                NumberingFlag::Snowflake => Numbering::Snowflake,
                NumberingFlag::Date => Numbering::Date,
            },
            close_after: Duration::from_millis(self.close_after_ms),
            deepest_queue: self.deepest_queue,
            is_writing: !self.accept_only,
            batch: self.batch,
            names: Names {
                exchange: self.exchange,
                routing_key: self.routing_key,
                queue: self.queue,
                close_exchange: self.close_exchange,
                close_queue: self.close_queue,
            },
            ..Settings::default()
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    program::log();
    let Cli { flags, command } = Cli::parse();
    if let Some(Command::Load(flags)) = command {
        return program::end("orders", load::run(flags).await);
    }
    program::end("orders", serve(flags.into_settings()).await)
}

async fn serve(settings: Settings) -> Result<(), StartError> {
    let running = leveret_orders::run(settings).await?;
    println!("orders: {}", running.url());
    program::asked_to_end().await;
    running.shutdown().await;
    Ok(())
}
