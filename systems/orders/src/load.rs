//! `orders load`: how many orders a running system accepts a second, how many it writes meanwhile, and that each of them
//! gets into the database.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use leveret_orders::Flow;
use leveret_web::client::{NoAnswer, Place};
use leveret_web::load;
use serde_json::{Value, json};

/// Written or not, an order that is not counted for so long is waited for no more.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Where, how many clients, how long.
#[derive(Args)]
pub(crate) struct Flags {
    /// The system.
    #[arg(long, default_value = "http://127.0.0.1:8084")]
    url: String,
    /// Clients that place orders at once.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Places orders, tells how fast they were accepted and written, and looks each of them up.
pub(crate) async fn run(flags: Flags) -> Result<(), NoAnswer> {
    let system = System(Place::new(&flags.url, LIMIT));
    let before = system.written().await?;
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let (placing, accepted) = (system.clone(), Arc::clone(&numbers));
    let report = load::drive(flags.clients, Duration::from_secs(flags.seconds), move |client| {
        let (system, accepted) = (placing.clone(), Arc::clone(&accepted));
        async move {
            let number = system.place(client + 1).await?;
            accepted.lock().unwrap_or_else(PoisonError::into_inner).push(number);
            Ok(())
        }
    });
    let report = report.await;
    println!("accepted, confirmed durable: {report}");
    let meanwhile = system.written().await? - before;
    println!("written meanwhile: {meanwhile}, {:.0}/s", meanwhile as f64 / report.took().as_secs_f64());
    let drained = load::until_all("writing", report.done as u64, PATIENCE, async || {
        Ok(system.written().await? - before)
    })
    .await?;
    println!("the rest was written in {:.1} s more", drained.as_secs_f64());
    let numbers = std::mem::take(&mut *numbers.lock().unwrap_or_else(PoisonError::into_inner));
    system.look_up(numbers).await
}

/// The running system.
#[derive(Clone)]
struct System(Place);

impl System {
    /// Places an order, and says its number.
    async fn place(&self, userid: usize) -> Result<String, String> {
        let order = self.0.post("orders", &json!({ "userid": userid })).await;
        let order = order.map_err(|error| error.to_string())?;
        order["order_no"].as_str().map(str::to_owned).ok_or_else(|| order.to_string())
    }

    /// How many orders are in the table.
    async fn written(&self) -> Result<u64, NoAnswer> {
        let flow: Flow = self.0.get("flow").await?;
        Ok(flow.created + flow.paid + flow.closed)
    }

    /// Asks for each order by its number.
    async fn look_up(&self, numbers: Vec<String>) -> Result<(), NoAnswer> {
        let (accepted, mut lost) = (numbers.len(), 0);
        let different: HashSet<String> = numbers.into_iter().collect();
        let bar = load::progress("looking each up", accepted as u64);
        for number in &different {
            let order: Value = self.0.get(&format!("orders/{number}")).await?;
            lost += usize::from(!order["userid"].is_number());
            bar.inc(1);
        }
        bar.finish_and_clear();
        println!("looked up: {accepted} accepted, {} numbers, {lost} lost", different.len());
        if lost == 0 && different.len() == accepted {
            return Ok(());
        }
        Err(NoAnswer::because("not every accepted order is in the database under a number of its own"))
    }
}
