//! Where orders are accepted, asked for and paid, apart from how.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use leveret_bus::{Bus, Message, Parked, PublishError, clock};
use leveret_web::{Problem, trace};
use sea_orm::{DatabaseConnection, DbErr};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::numbers::Numbers;
use crate::settings::Settings;
use crate::store;

const KEY_OF_ANOTHER: &str = "this Idempotency-Key was used for another order";
const MAYBE_ACCEPTED: &str = "the order may have been accepted: the broker did not confirm it in time. Sent again with its \
     Idempotency-Key, it is the same order";
/// When those turned away may come again.
const COME_AGAIN: Duration = Duration::from_secs(2);
/// Longest order number, in bytes.
const LONGEST_NUMBER: usize = 64;
/// How long a promised number outlives its request.
const PROMISES_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The message about an order, in the notes' words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) userid: i64,
    pub(crate) orderno: String,
    /// Milliseconds since 1970 UTC.
    pub(crate) ordertime: i64,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// On disk at the broker, and not yet in the table.
    Accepted,
    /// 1: in the table.
    Created,
    /// 2
    Paid,
    /// 3: not paid in time.
    Closed,
}

impl State {
    pub(crate) fn of(number: i32) -> Self {
        match number {
            store::PAID => Self::Paid,
            store::CLOSED => Self::Closed,
            _ => Self::Created,
        }
    }
}

/// An order that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its number.
    pub order_no: String,
    /// Where it stands.
    pub state: State,
    /// Whose it is; not known before it is in the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userid: Option<i64>,
    /// When it was placed, milliseconds since 1970 UTC; not known before it is in the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_time: Option<i64>,
}

impl From<store::order::Model> for Found {
    fn from(row: store::order::Model) -> Self {
        Self {
            order_no: row.order_no,
            state: State::of(row.order_state),
            userid: Some(row.order_user),
            order_time: Some(row.order_time),
        }
    }
}

/// The system's operations. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    pub(crate) db: DatabaseConnection,
    pub(crate) bus: Bus,
    pub(crate) parked: Parked,
    pub(crate) settings: Arc<Settings>,
    pub(crate) numbers: Numbers,
    pub(crate) changed: Arc<Notify>,
    pub(crate) counts: Arc<Counts>,
}

/// How many orders are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Accepted by this process since its start.
    pub accepted: u64,
    /// Waiting to be written, as last seen, with those accepted here since.
    pub waiting: u64,
    /// In the table and open.
    pub created: u64,
    /// In the table and paid.
    pub paid: u64,
    /// In the table and closed.
    pub closed: u64,
}

/// What this process has seen.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicU64,
    /// Orders waiting to be written, as last seen, with those accepted here since.
    pub(crate) waiting: AtomicU64,
}

impl Desk {
    pub(crate) fn new(db: DatabaseConnection, bus: Bus, settings: Settings, numbers: Numbers) -> Self {
        Self {
            parked: bus.parked(&settings.names.queue),
            settings: Arc::new(settings),
            changed: Arc::default(),
            counts: Arc::default(),
            db,
            bus,
            numbers,
        }
    }

    /// Accepts an order: its number, once the broker has it on disk. With a request key the order is promised first,
    /// so that asking again means the same order.
    ///
    /// # Errors
    /// The queue is too deep (429), or the key was used for another order (422): the order is not accepted then. The
    /// broker did not confirm (503): it is not accepted, or where the connection broke in between, may have been.
    pub async fn accept(&self, userid: i64, request_key: Option<&str>) -> Result<String, Problem> {
        if self.counts.waiting.load(Ordering::Relaxed) >= self.settings.deepest_queue {
            let full =
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many orders are waiting to be written");
            return Err(full.retry_after(COME_AGAIN));
        }
        let mut order = Order { userid, orderno: self.number(userid).await?, ordertime: clock::now_ms() };
        if let Some(key) = request_key {
            order = store::promise(&self.db, key, order).await?;
        }
        if order.userid != userid {
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, KEY_OF_ANOTHER));
        }
        let names = &self.settings.names;
        let message = Message::json(&names.exchange, &names.routing_key, &order)?;
        let message = trace::attach(message.with_message_id(order.orderno.as_str()));
        self.bus.publish(message).await.map_err(unconfirmed)?;
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
        Ok(order.orderno)
    }

    /// A number that no order has. Where numbers can be the same by chance, another is drawn.
    async fn number(&self, userid: i64) -> Result<String, Problem> {
        loop {
            let number = self.numbers.next(userid).await?;
            if !self.numbers.can_clash() || store::find(&self.db, &number).await?.is_none() {
                return Ok(number);
            }
        }
    }

    /// An order; `None` when there is none of this number. Each copy knows those that another has accepted.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn find(&self, order_no: &str) -> Result<Option<Found>, DbErr> {
        if !can_be_a_number(order_no) {
            return Ok(None);
        }
        if let Some(row) = store::find(&self.db, order_no).await? {
            return Ok(Some(row.into()));
        }
        let (order_no, state) = (order_no.to_owned(), State::Accepted);
        let is_accepted = self.numbers.has_sealed(&order_no);
        Ok(is_accepted.then_some(Found { order_no, state, userid: None, order_time: None }))
    }

    /// How many orders are where.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn flow(&self) -> Result<Flow, DbErr> {
        let orders = store::count_by_state(&self.db).await?;
        Ok(Flow {
            accepted: self.counts.accepted.load(Ordering::Relaxed),
            waiting: self.counts.waiting.load(Ordering::Relaxed),
            created: orders(store::CREATED),
            paid: orders(store::PAID),
            closed: orders(store::CLOSED),
        })
    }

    /// Pays an order. Paying twice is paying once; an order that closed first stays closed (409).
    ///
    /// # Errors
    /// It is closed or not written yet (409), there is none (404), or the database cannot be reached (503).
    pub async fn pay(&self, order_no: &str) -> Result<Found, Problem> {
        let is_first = can_be_a_number(order_no) && store::decide(&self.db, order_no, store::PAID).await?;
        let found = self.find(order_no).await?.ok_or_else(|| Problem::not_found("there is no such order"))?;
        match found.state {
            State::Paid => {
                tracing::info!(order_no, is_first, "paid");
                self.changed.notify_one();
                Ok(found)
            }
            State::Closed => Err(Problem::conflict("the order was not paid in time and is closed")),
            State::Accepted | State::Created => {
                Err(Problem::conflict("the order is not written yet").retry_after(Duration::from_secs(1)))
            }
        }
    }

    /// Looks how many orders wait. A broker that came back without the queue is given it again.
    pub(crate) async fn look(self) -> Result<(), leveret_bus::Error> {
        let names = &self.settings.names;
        let depth = match self.bus.depth(&names.queue).await {
            Ok(depth) => depth,
            Err(_) => {
                self.bus.declare(&names.topology()).await?;
                self.bus.depth(&names.queue).await?
            }
        };
        self.counts.waiting.store(depth.into(), Ordering::Relaxed);
        Ok(())
    }

    /// Forgets promises that nobody will ask for again.
    pub(crate) async fn forget(self) -> Result<(), DbErr> {
        store::forget_promises(&self.db, clock::now_ms() - clock::ms(PROMISES_KEPT)).await
    }
}

/// A message that was under way when its connection broke may be at the broker all the same, and nobody can know.
fn unconfirmed(error: PublishError) -> Problem {
    let what = match error {
        PublishError::Unknown { .. } => MAYBE_ACCEPTED,
        _ => "the order was not accepted: the broker did not take it",
    };
    Problem::unavailable(error, what).retry_after(COME_AGAIN)
}

/// Databases need not be asked for anything else, nor be given it; some refuse, and a whole batch with it.
pub(crate) fn can_be_a_number(order_no: &str) -> bool {
    (1..=LONGEST_NUMBER).contains(&order_no.len()) && order_no.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_arrived_is_not_called_refused() {
        let unknown = PublishError::Unknown { message_id: "1".into(), cause: "the connection broke".into() };
        assert!(unconfirmed(unknown).to_string().contains("may have been accepted"));
        let refused = PublishError::Nacked { message_id: "1".into() };
        assert!(unconfirmed(refused).to_string().contains("was not accepted"));
    }
}
