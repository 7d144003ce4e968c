//! What `rabbitmqadmin` of Debian's package is asked to do.

use super::Command;

pub(super) const PROGRAM: &str = "/usr/bin/rabbitmqadmin";

/// What it is asked to do, one after another, and a word that its answer has to have in it.
pub(super) const COMMANDS: [Command; 33] = [
    ("show overview", "3.13.7"),
    ("list nodes name type running", "disc"),
    ("declare queue name=ra durable=true", "queue declared"),
    ("declare exchange name=rx type=topic", "exchange declared"),
    ("declare binding source=rx destination=ra routing_key=a.#", "binding declared"),
    ("publish exchange=rx routing_key=a.b payload=hello", "Message published"),
    ("get queue=ra ackmode=ack_requeue_true", "hello"),
    ("list queues name durable", "ra"),
    ("list exchanges name type", "topic"),
    ("list bindings", "a.#"),
    ("list connections", "No items"),
    ("list channels", "No items"),
    ("list consumers", "No items"),
    ("list users", "administrator"),
    ("declare user name=ru password=p tags=monitoring", "user declared"),
    ("declare permission vhost=/ user=ru configure=.* write=.* read=.*", "permission declared"),
    ("list permissions", "ru"),
    ("declare policy name=rp pattern=^ra definition={\"max-length\":5} apply-to=queues", "policy declared"),
    ("list policies", "max-length"),
    ("declare operator_policy name=ro pattern=^ra definition={\"max-length\":5}", "operator_policy declared"),
    (
        "declare parameter component=vhost-limits name=limits value={\"max-queues\":1000}",
        "parameter declared",
    ),
    ("list parameters", "vhost-limits"),
    ("list vhost_limits", "max-queues"),
    ("declare vhost name=rv", "vhost declared"),
    ("list vhosts", "rv"),
    ("export rabbitmqadmin.json", "Exported definitions"),
    ("import rabbitmqadmin.json", "Uploaded definitions"),
    ("purge queue name=ra", "queue purged"),
    ("delete queue name=ra", "queue deleted"),
    ("delete exchange name=rx", "exchange deleted"),
    ("delete policy name=rp", "policy deleted"),
    ("delete user name=ru", "user deleted"),
    ("delete vhost name=rv", "vhost deleted"),
];
