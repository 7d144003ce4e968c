//! The leveret binary.

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).with_writer(std::io::stderr).init();
    let amqp = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5672".into());
    let server = leveret_server::Server::start(leveret_server::Config { amqp, ..Default::default() }).await?;
    println!("listening on {}", server.amqp_addr().ok_or("no listener")?);
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}
