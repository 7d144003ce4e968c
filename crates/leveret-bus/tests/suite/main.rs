//! The bus's conformance suite: what it promises, on any pair of broker and database. `LEVERET_TEST_AMQP_URL` names the
//! broker, else it is Leveret in this process; `LEVERET_TEST_DATABASE_URL` a database server, else it is SQLite.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "these are tests, also their setting up")]
mod connecting;
mod database_tls;
mod decision;
mod faults;
mod ids;
mod lease;
mod metrics;
mod on_time;
mod outage;
mod outbox;
mod publish;
mod schedules;
mod support;
mod worker;
