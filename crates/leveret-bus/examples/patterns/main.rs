//! Ten patterns, each in a file of its own and under forty lines: `cargo run -p leveret-bus --example patterns`. Each
//! gets a broker and an empty database from the test kit, and they all run as tests too.

mod decision;
mod delay;
mod ids;
mod inbox;
mod outbox;
mod parking;
mod publish;
mod retry;
mod schedule;
mod worker;

use leveret_bus_testkit::TestBed;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    macro_rules! run {
        ($($pattern:ident),*) => {$({
            println!("{}", stringify!($pattern));
            let bed = TestBed::start().await;
            $pattern::run(&bed).await?;
            bed.stop().await;
        })*};
    }
    run!(publish, worker, retry, parking, delay, outbox, inbox, decision, schedule, ids);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! examples {
        ($($pattern:ident),*) => {$(
            #[tokio::test]
            async fn $pattern() -> Outcome {
                let bed = TestBed::start().await;
                super::$pattern::run(&bed).await?;
                bed.stop().await;
                Ok(())
            }
        )*};
    }
    examples!(publish, worker, retry, parking, delay, outbox, inbox, decision, schedule, ids);
}
