//! Metrics for Prometheus, by RabbitMQ's names where it has them.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::routing::get;

use crate::App;

mod text;

use self::text::Text;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes of the metrics. They ask for no log-in, as RabbitMQ's do not: they tell numbers, and only per object names.
pub(crate) fn router() -> Router<App> {
    Router::new().route("/metrics", get(aggregated))
}

type Page = ([(HeaderName, &'static str); 1], String);

fn page(text: Text) -> Page {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text.finish())
}

async fn aggregated(State(app): State<App>) -> Page {
    let mut text = Text::default();
    broker(&app, &mut text);
    page(text)
}

fn broker(app: &App, text: &mut Text) {
    let status = app.node.status();
    let (now, _) = app.statistics.now_and_before();
    let live = app.node.broker().connections.count() as u64;
    let churn = app.node.broker().connections.churn();
    let messages = now.messages;
    text.info(
        "rabbitmq_build_info",
        "Version",
        &[
            ("product_name", "Leveret"),
            ("product_version", &status.version),
            ("rabbitmq_version", crate::json::overview::RABBITMQ_VERSION),
        ],
    );
    text.info(
        "rabbitmq_identity_info",
        "Node",
        &[("rabbitmq_node", &status.name), ("rabbitmq_cluster", &status.name)],
    );
    for (name, help, value) in [
        ("rabbitmq_connections", "Connections open", live),
        ("rabbitmq_channels", "Channels open", churn.channels_opened.saturating_sub(churn.channels_closed)),
        ("rabbitmq_consumers", "Consumers", now.queues.consumers),
        ("rabbitmq_queues", "Queues", now.queues.queues),
        (
            "rabbitmq_queue_messages",
            "Messages in queues, ready and unacknowledged",
            now.queues.ready + now.queues.unacked,
        ),
        ("rabbitmq_queue_messages_ready", "Messages ready to be delivered", now.queues.ready),
        ("rabbitmq_queue_messages_unacked", "Messages delivered and not acknowledged", now.queues.unacked),
        ("rabbitmq_process_resident_memory_bytes", "Resident memory", status.memory_used_bytes.unwrap_or(0)),
        (
            "rabbitmq_resident_memory_limit_bytes",
            "Memory from which on publishers are blocked, 0 for never",
            status.memory_limit_bytes,
        ),
        (
            "rabbitmq_disk_space_available_bytes",
            "Free space on the data folder's disk",
            status.disk_free_bytes.unwrap_or(0),
        ),
        (
            "rabbitmq_disk_space_available_limit_bytes",
            "Free space below which publishers are blocked",
            status.disk_free_limit_bytes,
        ),
        ("rabbitmq_process_open_fds", "Open files", status.files.map_or(0, |(open, _)| open)),
        ("rabbitmq_process_max_fds", "Most open files", status.files.map_or(0, |(_, most)| most)),
        (
            "rabbitmq_alarms_memory_used_watermark",
            "1 while publishers are blocked for memory",
            u64::from(status.blocked == Some("low on memory")),
        ),
        (
            "rabbitmq_alarms_free_disk_space_watermark",
            "1 while publishers are blocked for disk",
            u64::from(status.blocked == Some("low on disk")),
        ),
        (
            "leveret_store_failed",
            "1 once the store has closed itself",
            u64::from(status.store_failure.is_some()),
        ),
        (
            "leveret_store_damaged_places",
            "Damaged places found in the data folder",
            status.damage.len() as u64,
        ),
    ] {
        text.gauge(name, help, value);
    }
    for (name, help, value) in [
        ("rabbitmq_connections_opened_total", "Connections opened", churn.connections_opened),
        ("rabbitmq_connections_closed_total", "Connections closed", churn.connections_closed),
        ("rabbitmq_channels_opened_total", "Channels opened", churn.channels_opened),
        ("rabbitmq_channels_closed_total", "Channels closed", churn.channels_closed),
        ("rabbitmq_global_messages_received_total", "Messages published", messages.publish),
        ("rabbitmq_global_messages_confirmed_total", "Messages confirmed", messages.confirm),
        (
            "rabbitmq_global_messages_unroutable_dropped_total",
            "Messages dropped without a route",
            messages.drop_unroutable,
        ),
        (
            "rabbitmq_global_messages_unroutable_returned_total",
            "Messages returned without a route",
            messages.return_unroutable,
        ),
        (
            "rabbitmq_global_messages_delivered_consume_manual_ack_total",
            "Messages delivered to be acknowledged",
            messages.deliver,
        ),
        (
            "rabbitmq_global_messages_delivered_consume_auto_ack_total",
            "Messages delivered without acknowledgement",
            messages.deliver_no_ack,
        ),
        (
            "rabbitmq_global_messages_delivered_get_manual_ack_total",
            "Messages fetched to be acknowledged",
            messages.get,
        ),
        (
            "rabbitmq_global_messages_delivered_get_auto_ack_total",
            "Messages fetched without acknowledgement",
            messages.get_no_ack,
        ),
        ("rabbitmq_global_messages_get_empty_total", "Fetches that found nothing", messages.get_empty),
        ("rabbitmq_global_messages_redelivered_total", "Messages delivered again", messages.redeliver),
        ("rabbitmq_global_messages_acknowledged_total", "Messages acknowledged", messages.ack),
    ] {
        text.counter(name, help, value);
    }
}
