//! Patterns for reliable messaging over AMQP 0-9-1, with any broker that speaks it and a SQL database: confirmed
//! publishing, retries with growing delays, parking, a transactional outbox, an idempotent inbox, decisions, schedules, ids.
//!
//! The parts build on each other, and each can be used without those after it.
//!
//! # Publishing
//!
//! A [`Bus`] is a connection that comes back when it is lost, to the first host of a list that answers, by TLS if the URL
//! says `amqps`. [`Bus::state`] tells what it is doing. A [`Topology`] says what has to exist. A publish
//! resolves when the broker has confirmed the message, which for a durable queue means that it is on disk;
//! until then it is not published.
//!
//! ```no_run
//! use leveret_bus::{Bus, ExchangeKind, Message, PublishError, Topology};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let bus = Bus::connect("amqp://guest:guest@127.0.0.1:5672").await?;
//! let topology = Topology::new()
//!     .exchange("UserExchange", ExchangeKind::Direct)
//!     .queue("UserQueue")
//!     .bind("UserQueue", "UserExchange", "userreg");
//! bus.declare(&topology).await?;
//!
//! match bus.publish(Message::text("UserExchange", "userreg", "42")).await {
//!     Ok(()) => println!("on disk at the broker"),
//!     Err(PublishError::Returned(back)) => println!("no queue wants {}", back.message.routing_key()),
//!     Err(PublishError::Unknown { .. }) => println!("perhaps there: send it again, with the same message id"),
//!     Err(other) => println!("{other}"),
//! }
//! # Ok(()) }
//! ```
//!
//! Messages are persistent and mandatory unless made [`transient`](Message::transient) or
//! [`optional`](Message::optional). Any number of tasks may publish at once; each gets its own answer.
//!
//! # Working
//!
//! A [`Handler`] has one method. What it returns decides about the message, which is acknowledged only after
//! that has been carried out, so a crash anywhere means that the message comes again, never that it is lost.
//!
//! ```no_run
//! use std::time::Duration;
//! use leveret_bus::{Bus, Delivery, Handler, Outcome, RetryPolicy, Text};
//!
//! struct Mailer;
//!
//! impl Handler for Mailer {
//!     type Message = Text;
//!
//!     async fn handle(&self, Text(user_id): Text, delivery: &Delivery) -> Outcome {
//!         let Ok(user_id) = user_id.parse::<i64>() else {
//!             return Outcome::park("not a user id");
//!         };
//!         match send_mail(user_id).await {
//!             Ok(()) => Outcome::Done,
//!             Err(error) => Outcome::retry(error),
//!         }
//!     }
//! }
//! # async fn send_mail(_: i64) -> Result<(), std::io::Error> { Ok(()) }
//!
//! # async fn example(bus: Bus) -> Result<(), Box<dyn std::error::Error>> {
//! let worker = bus
//!     .worker("UserQueue")
//!     .retry(RetryPolicy::exponential(Duration::from_secs(3)).with_attempts(5))
//!     .concurrency(4)
//!     .start(Mailer)
//!     .await?;
//! // ... and at the end, with the mails under way finished:
//! worker.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! # Failing
//!
//! A message that failed comes back after the pause that the [`RetryPolicy`] says: here 3 s, 6 s, 12 s, 24 s. It does
//! not block its queue meanwhile. Where the broker has exchanges of the type `x-delayed-message`, it waits there;
//! elsewhere in a ladder of durable queues that the bus sets up by itself (`leveret.delay.03` to `leveret.delay.31`).
//! [`DelayMode`] forces one or the other, and [`Bus::delayed`] delays messages of one's own. A handler that knows better
//! says so: [`Outcome::RetryAfter`] brings its own pause, [`Outcome::RetryWith`] its own policy, by the kind of error.
//!
//! After the last attempt, or on [`Outcome::Park`], or when the body cannot be decoded, the message is put aside in
//! `<queue>.parked`. [`Bus::parked`] lists, replays and drops what is there, and so does `leveret bus parked`. Its headers
//! tell the story, with every failed attempt: see [`headers`].
//!
//! # Publishing with the database
//!
//! A row and a message that announces it should both come to be, or neither. [`Outbox::stage`] makes the message a row
//! too, in the same transaction; a relay publishes it after the commit.
//!
//! ```no_run
//! use leveret_bus::{Bus, Message, Outbox, database, outbox::RelayOptions};
//!
//! # async fn example(bus: Bus) -> Result<(), Box<dyn std::error::Error>> {
//! let db = database::connect("sqlite://users.db").await?;
//! let outbox = Outbox::open(db.clone()).await?;
//! let relay = outbox.relay(bus.publisher(), RelayOptions::default());
//!
//! let tx = database::begin(&db).await?;
//! // ... insert the user with SeaORM, on &tx ...
//! outbox.stage(&tx, Message::text("UserExchange", "userreg", "42")).await?;
//! outbox.commit(tx).await?;
//! # relay.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! The database is SQLite, MySQL or MariaDB, or PostgreSQL: only the URL differs, which also says how the connection is
//! encrypted. SQLite runs in WAL mode with `synchronous=FULL`: what is committed survives a power cut. See
//! [`database::connect`]. The bus's tables are its own, with names that begin with `leveret_`; any number of instances may
//! make them at once.
//!
//! Any number of relays may run, in any number of processes: each takes rows under a lease, which is checked again when
//! they are marked as sent. Sent rows are kept for an hour unless
//! [`retention`](outbox::RelayOptions::retention) says otherwise. [`Outbox::stage_in_order`] keeps the messages of one key
//! in their order; [`Outbox::depth`] and the metrics tell how long the oldest has been waiting.
//!
//! # Doing things once
//!
//! Every message arrives at least once: duplicates come from crashes between the work and its acknowledgement, and
//! from publishes whose fate was unknown. [`inbox::claim`], called in the transaction that does the work, tells the
//! first time from the others, as long as the work is in that database. Work elsewhere, like sending a mail,
//! can at best be made unlikely to happen twice: [`lease`] keeps others from it while one is at it, and knows when it was done.
//!
//! ```no_run
//! use leveret_bus::inbox::{self, Claim};
//! use leveret_bus::{Delivery, Error, clock, database};
//! use sea_orm::DatabaseConnection;
//!
//! async fn book(db: &DatabaseConnection, delivery: &Delivery) -> Result<(), Error> {
//!     let tx = database::begin(db).await?;
//!     if inbox::claim(&tx, "booking", delivery.message_id()).await? == Claim::First {
//!         // ... book it, on &tx ...
//!     }
//!     tx.commit().await?;
//!     Ok(())
//! }
//!
//! # async fn example(db: DatabaseConnection) -> Result<(), Error> {
//! // Once, at the start, for the table; and now and then, for what is older than a message can be under way:
//! inbox::migrate(&db).await?;
//! inbox::forget(&db, clock::now_ms() - 7 * 24 * 3600 * 1000).await?;
//! # Ok(()) }
//! ```
//!
//! A handler that ends with `book(&db, delivery).await.into()` is done when that is `Ok`, and tries again when it is not.
//! Claims are kept until [`inbox::forget`] is called; a message that comes again after that is a new one.
//!
//! # Deciding once
//!
//! Where two sides race for one answer (a payment and its time-out, say), [`decision::decide`] lets the first win and
//! tells the other. It is called in the transaction that acts on the answer.
//!
//! ```no_run
//! use leveret_bus::{Error, database, decision};
//! use sea_orm::DatabaseConnection;
//!
//! async fn close_unpaid(db: &DatabaseConnection, order: &str) -> Result<(), Error> {
//!     let tx = database::begin(db).await?;
//!     let stands = decision::decide(&tx, order, "closed").await?;
//!     if stands.is_new {
//!         // ... give the goods back, on &tx; if `stands.outcome` is "paid", somebody was faster ...
//!     }
//!     tx.commit().await?;
//!     Ok(())
//! }
//!
//! # async fn example(db: DatabaseConnection) -> Result<(), Error> {
//! decision::migrate(&db).await?; // once, at the start
//! # Ok(()) }
//! ```
//!
//! # Doing things by the calendar
//!
//! [`Schedules`] runs a job when a cron expression says so (in UTC), in one of however many instances there are. A single
//! message for later goes into the outbox with [`Outbox::stage_after`].
//!
//! ```no_run
//! use leveret_bus::{Error, Schedules};
//!
//! # async fn example(db: sea_orm::DatabaseConnection) -> Result<(), Error> {
//! let schedules = Schedules::open(db).await?;
//! let nightly = schedules.cron("nightly report", "30 2 * * *")?;
//! let nightly = nightly.start(async |occurrence| report(occurrence.due_ms).await).await?;
//! # nightly.shutdown().await;
//! # Ok(()) }
//! # async fn report(_: i64) -> Result<(), Error> { Ok(()) }
//! ```
//!
//! # Ids
//!
//! [`ids`] has UUIDs that sort by time, snowflakes whose worker ids are leased in the database, and numbers of date,
//! random digits and user.
//!
//! # What may come twice
//!
//! Nothing that was confirmed or committed is lost. These come twice, under the same message id:
//! - a message whose handler was at work, or whose acknowledgement was under way, when the process, the connection or
//!   the broker died; the same between publishing a retry or a parked copy and acknowledging the original;
//! - an outbox message whose relay died between publishing and marking it (up to [`batch`](outbox::RelayOptions::batch)
//!   times [`batches`](outbox::RelayOptions::batches) at a time), or was silent for longer than its lease, or than another
//!   relay's clock took it to be;
//! - a publish that ended in [`PublishError::Unknown`] and was sent again.
//!
//! # Watching it
//!
//! Publishing, handling and relaying run in `tracing` spans. With an OpenTelemetry layer in the subscriber the trace goes
//! along in the header `traceparent`, through the outbox too, and the handler's span continues it. The `metrics` facade
//! gets these, from whatever starts after its recorder was installed:
//! - `leveret_bus_published_total` by `result` (confirmed, returned, nacked, unknown, failed), `leveret_bus_publish_seconds`;
//! - `leveret_bus_handled_total` by `queue` and `outcome` (done, retried, parked), `leveret_bus_handle_seconds` and
//!   `leveret_bus_at_work` by `queue`;
//! - `leveret_bus_outbox_unsent`, `leveret_bus_outbox_oldest_unsent_seconds` (both every 10 s),
//!   `leveret_bus_outbox_relayed_total`, `leveret_bus_outbox_failed_total`.
//!
//! # Testing with it
//!
//! The crate `leveret-bus-testkit` starts a broker in the test's process and a database in memory. The ten patterns in
//! `examples/patterns` are written with it.

mod bus;
pub mod clock;
pub mod database;
pub mod decision;
mod delay;
mod delivery;
mod error;
mod handler;
pub mod headers;
mod history;
mod hosts;
pub mod ids;
pub mod inbox;
mod ladder;
mod lane;
pub mod lease;
mod link;
mod message;
mod meters;
pub mod outbox;
mod parking;
mod payload;
mod publisher;
mod retry;
pub mod schedules;
mod settlement;
mod topology;
mod trace;
mod worker;

pub use bus::{Bus, BusBuilder};
pub use delay::{DelayMode, DelayedQueue, DelayedQueueBuilder};
pub use delivery::Delivery;
pub use error::{Error, PublishError, Returned};
pub use handler::{Handler, Outcome};
pub use headers::Headers;
pub use history::FailedAttempt;
pub use link::LinkState;
pub use message::Message;
pub use outbox::Outbox;
pub use parking::{Parked, ParkedMessage, parked_queue};
pub use payload::{Body, Bytes, Json, Payload, Text};
pub use publisher::{Publisher, PublisherOptions};
pub use retry::RetryPolicy;
pub use schedules::Schedules;
pub use topology::{Binding, Exchange, ExchangeKind, Queue, Topology};
pub use worker::{Worker, WorkerBuilder};
