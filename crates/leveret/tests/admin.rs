//! The commands that ask a running broker, driven as a user would.

mod binary;

use std::process::{Command, Output};

use binary::Broker;
use serde_json::Value;

fn leveret(broker: &Broker, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.env_clear().env("LEVERET_MANAGEMENT_URL", format!("http://{}", broker.management()));
    command.args(args).output().expect("the binary starts")
}

fn said(broker: &Broker, args: &[&str]) -> String {
    let output = leveret(broker, args);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {told}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(broker: &Broker, args: &[&str]) -> Value {
    serde_json::from_str(&said(broker, &[args, &["--json"]].concat())).expect("JSON")
}

#[test]
fn queues_are_declared_filled_looked_at_and_moved() {
    let broker = Broker::ours();
    said(&broker, &["queues", "declare", "from", "--argument", "x-max-length=10"]);
    said(&broker, &["queues", "declare", "to", "--type", "quorum"]);
    said(&broker, &["exchanges", "declare", "x", "--type", "topic"]);
    said(&broker, &["bindings", "declare", "x", "from", "--key", "a.#"]);
    for payload in ["one", "two"] {
        said(&broker, &["exchanges", "publish", "x", "--key", "a.b", "--payload", payload]);
    }
    let table = said(&broker, &["queues", "list", "--columns", "name,messages"]);
    assert_eq!(table, "name  messages\nfrom  2\nto    0\n");
    assert_eq!(json(&broker, &["queues", "list", "--name", "fro"])[0]["arguments"]["x-max-length"], 10);
    assert!(said(&broker, &["queues", "peek", "from"]).contains("two"));
    said(&broker, &["queues", "move", "from", "--to", "to", "--count", "1"]);
    assert_eq!(json(&broker, &["queues", "show", "to"])["messages"], 1);
    said(&broker, &["queues", "purge", "to"]);
    said(&broker, &["bindings", "delete", "x", "from", "--key", "a.#"]);
    let refused = leveret(&broker, &["bindings", "delete", "x", "from", "--key", "a.#"]);
    assert_eq!(refused.status.code(), Some(1));
    said(&broker, &["queues", "delete", "from"]);
    assert_eq!(json(&broker, &["queues", "list"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn rights_policies_and_definitions() {
    let broker = Broker::ours();
    said(&broker, &["vhosts", "declare", "v", "--description", "for tests"]);
    said(&broker, &["users", "declare", "ann", "--new-password", "secret", "--tags", "monitoring"]);
    said(&broker, &["permissions", "declare", "ann", "-V", "v", "--configure", "^mine"]);
    let definition = r#"{"max-length": 5}"#;
    said(&broker, &["policies", "declare", "p", "-V", "v", "--pattern", "^q", "--definition", definition]);
    assert!(said(&broker, &["users", "list"]).contains("ann    monitoring"));
    assert!(said(&broker, &["permissions", "list"]).contains("^mine"));
    assert_eq!(json(&broker, &["policies", "list", "-V", "v"])[0]["definition"]["max-length"], 5);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("definitions.json");
    std::fs::write(&file, said(&broker, &["definitions", "list"])).expect("the file is written");
    said(&broker, &["vhosts", "protect", "v"]);
    let refused = leveret(&broker, &["vhosts", "delete", "v"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("protected from deletion"));
    said(&broker, &["vhosts", "unprotect", "v"]);
    said(&broker, &["vhosts", "delete", "v"]);
    said(&broker, &["definitions", "import", &file.display().to_string()]);
    assert_eq!(json(&broker, &["policies", "list", "-V", "v"])[0]["name"], "p");
    said(&broker, &["users", "delete", "ann"]);
    let wrong = leveret(&broker, &["users", "list", "--user", "ann", "--password", "secret"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("401 Login failed"));
}

#[test]
fn the_broker_at_a_glance() {
    let broker = Broker::ours();
    assert!(said(&broker, &["status"]).contains("health       good"));
    assert!(said(&broker, &["top", "--times", "1"]).contains("queue"));
    assert!(said(&broker, &["completions", "bash"]).contains("_leveret()"));
    assert_eq!(said(&broker, &["parked", "list"]), "queue  parked\n");
    said(
        &broker,
        &["exchanges", "declare", "later", "--type", "x-delayed-message", "-a", "x-delayed-type=fanout"],
    );
    said(&broker, &["queues", "declare", "q"]);
    said(&broker, &["bindings", "declare", "later", "q"]);
    said(&broker, &["exchanges", "publish", "later", "--header", "x-delay=3600000", "--payload", "held"]);
    let held = json(&broker, &["delayed", "list", "later"]);
    let id = held[0]["id"].as_str().expect("an id");
    said(&broker, &["delayed", "release", "later", id]);
    assert!(said(&broker, &["queues", "peek", "q"]).contains("held"));
    let nobody = leveret(&broker, &["status", "--url", "http://127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(1));
}

#[test]
fn what_goes_wrong_is_said_with_what_helps() {
    let broker = Broker::ours();
    for (args, told) in [
        (&["status", "--url", "http://127.0.0.1:1"][..], "nothing listens there"),
        (&["status", "--password", "wrong"], "401 Login failed; wrong user or password"),
        (&["queues", "list", "-V", "none"], "404 Not Found; there is nothing of that name"),
        (&["queues", "purge", "none"], "404 Not Found; there is nothing of that name"),
        (&["users", "list", "--url", "amqp://127.0.0.1"], "expected http://HOST:PORT"),
    ] {
        let output = leveret(&broker, args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(told), "{args:?}: {text}");
    }
}

#[test]
fn messages_do_not_move_the_terminals_cursor() {
    let broker = Broker::ours();
    said(&broker, &["queues", "declare", "q"]);
    said(&broker, &["exchanges", "publish", "amq.default", "--key", "q", "--payload", "\u{1b}[2Jgone"]);
    let seen = said(&broker, &["queues", "peek", "q"]);
    assert!(!seen.contains('\u{1b}') && seen.contains("[2Jgone"), "{seen}");
}
