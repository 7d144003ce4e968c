//! `leveret store` on a folder that a broker has left behind.
#![allow(clippy::unwrap_used)]

mod binary;

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Output};

use binary::Broker;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties, Error};

/// A broker that has confirmed three messages in the queue `orders`.
async fn broker_with_messages() -> Result<Broker, Error> {
    let broker = Broker::ours();
    let connection = Connection::connect(&broker.url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("orders".into(), durable, FieldTable::default()).await?;
    for body in ["first", "second", "third"] {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), "orders".into(), options, body.as_bytes(), properties)
            .await?
            .await?;
    }
    Ok(broker)
}

fn store(command: &str, folder: &Path) -> Output {
    let mut leveret = Command::new(env!("CARGO_BIN_EXE_leveret"));
    leveret.env_clear().args(["store", command]).arg(folder).output().expect("the binary starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn check_tells_what_waits_and_dump_shows_it() -> Result<(), Error> {
    let folder = broker_with_messages().await?.stop();
    let checked = store("check", folder.path());
    assert!(checked.status.success(), "{}", text(&checked));
    assert!(text(&checked).contains("messages waiting  3"), "{}", text(&checked));
    assert!(text(&checked).contains("'orders' in vhost '/'"), "{}", text(&checked));
    let dumped = text(&store("dump", folder.path()));
    for body in ["first", "second", "third"] {
        let line = dumped.lines().find(|line| line.contains(&format!("\"{body}\"")));
        assert!(line.is_some_and(|line| line.contains("'orders' in vhost '/'")), "{dumped}");
    }
    Ok(())
}

#[tokio::test]
async fn a_folder_in_use_is_left_alone() -> Result<(), Error> {
    let broker = broker_with_messages().await?;
    let refused = store("check", broker.data_dir());
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("in use") && text(&refused).contains("stop the broker"),
        "{}",
        text(&refused)
    );
    let mut second = Command::new(env!("CARGO_BIN_EXE_leveret"));
    second
        .env_clear()
        .args(["serve", "--amqp", "127.0.0.1:0", "--management", "off", "--data-dir"])
        .arg(broker.data_dir());
    let refused = second.output().expect("the binary starts");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("in use by another process"), "{}", text(&refused));
    Ok(())
}

#[tokio::test]
async fn damage_is_named() -> Result<(), Error> {
    let folder = broker_with_messages().await?.stop();
    let manifest = folder.path().join("messages/manifest-a");
    for name in [manifest.clone(), manifest.with_file_name("manifest-b")] {
        let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(&name) else { continue };
        file.seek(SeekFrom::Start(70)).unwrap();
        file.write_all(b"damage").unwrap();
    }
    let checked = store("check", folder.path());
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
    assert!(text(&checked).contains("manifest-"), "{}", text(&checked));
    Ok(())
}

#[test]
fn a_folder_without_a_store_is_told() {
    let empty = tempfile::tempdir().unwrap();
    let refused = store("check", empty.path());
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("holds no store"), "{}", text(&refused));
}
