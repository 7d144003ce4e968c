//! RabbitMQ's own command line, `rabbitmqadmin` of Debian's package, against the management of our broker.

use std::path::Path;

use anyhow::{Result, ensure};
use duct::cmd;

use crate::broker::Broker;
use crate::counts::Counts;
use crate::prerequisites;

const PROGRAM: &str = "/usr/bin/rabbitmqadmin";

/// What it is asked to do, one after another.
const COMMANDS: [&str; 33] = [
    "show overview",
    "list nodes name type running",
    "declare queue name=ra durable=true",
    "declare exchange name=rx type=topic",
    "declare binding source=rx destination=ra routing_key=a.#",
    "publish exchange=rx routing_key=a.b payload=hello",
    "get queue=ra ackmode=ack_requeue_true",
    "list queues name messages",
    "list exchanges name type",
    "list bindings",
    "list connections",
    "list channels",
    "list consumers",
    "list users",
    "declare user name=ru password=p tags=monitoring",
    "declare permission vhost=/ user=ru configure=.* write=.* read=.*",
    "list permissions",
    "declare policy name=rp pattern=^ra definition={\"max-length\":5} apply-to=queues",
    "list policies",
    "declare operator_policy name=ro pattern=^ra definition={\"max-length\":5}",
    "declare parameter component=vhost-limits name=limits value={\"max-queues\":1000}",
    "list parameters",
    "list vhost_limits",
    "declare vhost name=rv",
    "list vhosts",
    "export rabbitmqadmin.json",
    "import rabbitmqadmin.json",
    "purge queue name=ra",
    "delete queue name=ra",
    "delete exchange name=rx",
    "delete policy name=rp",
    "delete user name=ru",
    "delete vhost name=rv",
];

/// Runs all commands in `folder`, where it may leave a file.
pub(crate) fn run(broker: &Broker, folder: &Path) -> Result<Counts> {
    if !Path::new(PROGRAM).exists() {
        prerequisites::install(&["rabbitmq-server"])?;
    }
    let (host, port) = broker.management.rsplit_once(':').unwrap_or_default();
    ensure!(!host.is_empty(), "the broker has not named its management");
    let (user, password) = Broker::login();
    let mut counts = Counts::default();
    for command in COMMANDS {
        let login = ["-H", host, "-P", port, "-u", user, "-p", password];
        let line: Vec<&str> = login.into_iter().chain(command.split(' ')).collect();
        let output = cmd(PROGRAM, line)
            .dir(folder)
            .stdin_null()
            .stdout_capture()
            .stderr_to_stdout()
            .unchecked()
            .run()?;
        if output.status.success() {
            counts.passed += 1;
        } else {
            counts.failed += 1;
            eprintln!("rabbitmqadmin {command}: {}", String::from_utf8_lossy(&output.stdout).trim());
        }
    }
    Ok(counts)
}
