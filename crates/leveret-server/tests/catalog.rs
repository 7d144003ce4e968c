//! Catalogs of other versions, as they were written, and first starts that fail.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use leveret_amqp::{FieldTable, queue};
use leveret_server::{Config, Server, StartError};
use leveret_testkit::{Peer, TestBroker, declare_queue, publish};
use redb::{Database, ReadableDatabase, TableDefinition};
use tokio::runtime::Runtime;

const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// The tables of version 1, which had no users, and no other settings of virtual hosts than their names.
const VHOSTS: TableDefinition<'_, &str, ()> = TableDefinition::new("vhosts");
const EXCHANGES: TableDefinition<'_, (&str, &str), (&str, u8, &[u8])> = TableDefinition::new("exchanges");
const QUEUES: TableDefinition<'_, (&str, &str), (u64, u8, &[u8])> = TableDefinition::new("queues");
type BindingKey<'a> = (&'a str, &'a str, &'a str, bool, &'a str, &'a [u8]);
const BINDINGS: TableDefinition<'_, BindingKey<'_>, ()> = TableDefinition::new("bindings");

fn write_version(directory: &Path, version: u64) -> Database {
    let database = Database::create(directory.join("catalog.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(ABOUT).unwrap().insert("version", version).unwrap();
    transaction.commit().unwrap();
    database
}

fn write_version_1(directory: &Path) {
    let database = write_version(directory, 1);
    let transaction = database.begin_write().unwrap();
    let none = FieldTable::default().encode();
    let limited = FieldTable::from_iter([("x-max-length", 2)]).encode();
    transaction.open_table(VHOSTS).unwrap().insert("/", ()).unwrap();
    let fanout = ("fanout", 0, none.as_slice());
    transaction.open_table(EXCHANGES).unwrap().insert(("/", "x"), fanout).unwrap();
    transaction.open_table(QUEUES).unwrap().insert(("/", "q"), (1, 0, limited.as_slice())).unwrap();
    let binding = ("/", "x", "q", true, "", none.as_slice());
    transaction.open_table(BINDINGS).unwrap().insert(binding, ()).unwrap();
    transaction.commit().unwrap();
}

fn config(directory: &Path) -> Config {
    Config { data_dir: Some(directory.into()), ..Config::ephemeral() }
}

fn refusal(config: Config) -> String {
    let started = Runtime::new().unwrap().block_on(Server::start(config));
    match started.err().expect("it does not start") {
        StartError::Data(text) => text,
        other => panic!("{other}"),
    }
}

#[test]
fn a_catalog_of_version_1_is_read_and_given_the_default_user() {
    let folder = tempfile::tempdir().unwrap();
    write_version_1(folder.path());
    // What it is given is there at the next start too.
    for ready in [1, 2] {
        let mut test = TestBroker::with(config(folder.path()));
        let mut peer = Peer::open(&test);
        let persistent = leveret_amqp::Properties { delivery_mode: Some(2), ..Default::default() };
        peer.select_confirms(1);
        peer.publish(1, publish("x", ""), &persistent, b"m");
        peer.expect_confirms(1, 1, 1);
        let passive = queue::Declare { passive: true, ..declare_queue("q") };
        assert_eq!(peer.ask::<queue::DeclareOk>(1, passive).message_count, ready);
        let queue = test.handle().broker().vhost("/").unwrap().find_queue("q").unwrap();
        assert_eq!(queue.rules().max_length, Some(2));
        peer.close();
        test.shutdown();
    }
    let version = Database::create(folder.path().join("catalog.redb")).unwrap();
    let about = version.begin_read().unwrap().open_table(ABOUT).unwrap();
    assert_eq!(about.get("version").unwrap().unwrap().value(), 2);
}

#[test]
fn a_catalog_of_a_newer_version_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    drop(write_version(folder.path(), 3));
    for _ in 0..2 {
        let text = refusal(config(folder.path()));
        assert!(text.contains("catalog.redb has version 3"), "{text}");
        assert!(text.contains("use the newer Leveret that wrote it"), "{text}");
    }
}

#[test]
fn a_first_import_that_fails_leaves_a_broker_that_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("definitions.json");
    std::fs::write(
        &file,
        r#"{"users": [{"name": "bob", "password": "pw", "tags": ""}], "queues": [{"name": "q", "vhost": "nowhere"}]}"#,
    )
    .unwrap();
    let loading = Config { load_definitions: Some(file), ..config(folder.path()) };
    let text = refusal(loading);
    assert!(text.contains("queue 'q': no vhost 'nowhere'"), "{text}");
    let test = TestBroker::with(config(folder.path()));
    Peer::open(&test).close();
}
