//! The worker on the queue of orders. Each message waits for its batch: whatever has gathered while the last
//! batch was written is the next. Then the order's closing is set for later, and only then is the message done.
//!
//! A batch that the database refuses is tried again where it is, so that orders gather in their queue, whose depth says when
//! to turn new ones away.

use std::time::Duration;

use leveret_bus::{DelayedQueue, Delivery, Handler, Json, Message, Outcome};
use leveret_web::trace;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::desk::{self, Desk, Order};
use crate::store::{self, Written};

/// Pause before a batch is tried again: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a batch is tried. After that its orders come again one by one, should one of them be at fault.
const TRIED_FOR: Duration = Duration::from_secs(60);

type Answer = Result<Written, String>;

/// An order that waits to be written, and where to say that it was.
struct Waiting {
    order: Order,
    answer: oneshot::Sender<Answer>,
}

/// Writes orders.
pub(crate) struct Writer {
    desk: Desk,
    closing: DelayedQueue,
    waiting: mpsc::Sender<Waiting>,
}

impl Writer {
    /// Starts writing; from `stop` on nothing is tried again.
    pub(crate) fn start(desk: Desk, closing: DelayedQueue, stop: CancellationToken) -> Self {
        let batch = desk.settings.batch.max(1);
        let (waiting, queue) = mpsc::channel(batch * 2);
        tokio::spawn(write_batches(desk.clone(), queue, batch, stop));
        Self { desk, closing, waiting }
    }
}

impl Handler for Writer {
    type Message = Json<Order>;

    async fn handle(&self, Json(order): Json<Order>, delivery: &Delivery) -> Outcome {
        if !desk::can_be_a_number(&order.orderno) {
            return Outcome::park("the order number is empty, too long, or has odd characters");
        }
        trace::handling(delivery, self.write(order)).await
    }
}

impl Writer {
    async fn write(&self, order: Order) -> Outcome {
        let number = order.orderno.clone();
        let (answer, written) = oneshot::channel();
        if self.waiting.send(Waiting { order, answer }).await.is_err() {
            return Outcome::retry("the system is ending");
        }
        match written.await {
            Ok(Ok(Written::There)) => self.close_later(number).await,
            Ok(Ok(Written::Taken)) => Outcome::park(format!("the number {number} belongs to another order")),
            Ok(Err(error)) => Outcome::retry(error),
            Err(_) => Outcome::retry("the system is ending"),
        }
    }

    /// A crash before this is done brings the message again, and with it the closing: twice does no harm.
    async fn close_later(&self, number: String) -> Outcome {
        let names = &self.desk.settings.names;
        let message = trace::attach(Message::text(&names.close_exchange, &names.close_queue, number));
        self.closing.publish(message, self.desk.settings.close_after).await.into()
    }
}

/// One batch after the other, until nobody sends any more.
async fn write_batches(
    desk: Desk,
    mut queue: mpsc::Receiver<Waiting>,
    batch: usize,
    stop: CancellationToken,
) {
    let mut gathered = Vec::with_capacity(batch);
    while queue.recv_many(&mut gathered, batch).await > 0 {
        let (orders, answers): (Vec<_>, Vec<_>) =
            gathered.drain(..).map(|waiting| (waiting.order, waiting.answer)).unzip();
        let written = write(&desk, &orders, &stop).await;
        for (answer, written) in answers.into_iter().zip(written) {
            // Whoever no longer waits gets the message again.
            let _ = answer.send(written);
        }
        tracing::debug!(orders = orders.len(), "batch written");
        desk.changed.notify_one();
    }
}

async fn write(desk: &Desk, orders: &[Order], stop: &CancellationToken) -> Vec<Answer> {
    let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
    loop {
        let error = match store::write(&desk.db, orders).await {
            Ok(written) => return written.into_iter().map(Ok).collect(),
            Err(error) => error.to_string(),
        };
        if start.elapsed() >= TRIED_FOR || stop.is_cancelled() {
            return orders.iter().map(|_| Err(error.clone())).collect();
        }
        tracing::warn!(orders = orders.len(), error, "a batch could not be written, it is tried again");
        let _stopped = timeout(pause, stop.cancelled()).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
