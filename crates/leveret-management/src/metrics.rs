//! Metrics for Prometheus, by RabbitMQ's names where it has them.

use std::iter;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::App;
use crate::beside::in_pieces;

mod objects;
mod text;

use self::text::Text;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes of the metrics. They ask for no log-in, as RabbitMQ's do not: they tell numbers, and only per object names.
pub(crate) fn router() -> Router<App> {
    Router::new().route("/metrics", get(aggregated)).route("/metrics/per-object", get(per_object))
}

const HEADERS: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, CONTENT_TYPE)];

async fn aggregated(State(app): State<App>) -> ([(HeaderName, &'static str); 1], String) {
    let mut text = Text::default();
    broker(&app, &mut text);
    queues(&app, &mut text);
    (HEADERS, text.finish())
}

async fn per_object(State(app): State<App>) -> Response {
    let of_objects = objects::pieces(&app);
    let of_broker = iter::once_with(move || {
        let mut text = Text::default();
        broker(&app, &mut text);
        text
    });
    let pieces = of_broker.chain(of_objects).map(|text| text.finish().into());
    (HEADERS, in_pieces(pieces)).into_response()
}

fn broker(app: &App, text: &mut Text) {
    store(app, text);
    delayed(app, text);
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
            ("product_version", app.node.version()),
            ("rabbitmq_version", crate::json::overview::RABBITMQ_VERSION),
        ],
    );
    text.info(
        "rabbitmq_identity_info",
        "Node",
        &[("rabbitmq_node", app.node.name()), ("rabbitmq_cluster", app.node.name())],
    );
    for (name, help, value) in [
        ("rabbitmq_connections", "Connections open", live),
        ("rabbitmq_channels", "Channels open", churn.channels_opened.saturating_sub(churn.channels_closed)),
        ("rabbitmq_consumers", "Consumers", now.queues.consumers),
        ("rabbitmq_queues", "Queues", now.queues.queues),
        ("leveret_delayed_messages", "Messages held back by x-delayed-message exchanges", now.queues.delayed),
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
            u64::from(app.node.blocked() == Some("low on memory")),
        ),
        (
            "rabbitmq_alarms_free_disk_space_watermark",
            "1 while publishers are blocked for disk",
            u64::from(app.node.blocked() == Some("low on disk")),
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

/// All queues together.
fn queues(app: &App, text: &mut Text) {
    let (now, _) = app.statistics.now_and_before();
    for (name, help, value) in [
        (
            "rabbitmq_queue_messages",
            "Messages in queues, ready and unacknowledged",
            now.queues.ready + now.queues.unacked,
        ),
        ("rabbitmq_queue_messages_ready", "Messages ready to be delivered", now.queues.ready),
        ("rabbitmq_queue_messages_unacked", "Messages delivered and not acknowledged", now.queues.unacked),
    ] {
        text.gauge(name, help, value);
    }
}

/// The journal and the segments, where anything is kept.
fn store(app: &App, text: &mut Text) {
    let Some(stats) = app.node.broker().store_stats() else { return };
    for (name, help, value) in [
        ("leveret_journal_groups_total", "Groups of records synced to the journal", stats.groups),
        ("leveret_journal_written_bytes_total", "Bytes written to the journal", stats.journal_written_bytes),
        ("rabbitmq_io_sync_ops_total", "Syncs of the journal", stats.syncs.count),
        ("leveret_store_spilled_records_total", "Records written to segments", stats.spilled_records),
        ("leveret_store_lost_records_total", "Records found damaged or missing", stats.lost_records),
    ] {
        text.counter(name, help, value);
    }
    text.seconds("rabbitmq_io_sync_time_seconds_total", "What they have taken", stats.syncs.time_us);
    for (name, help, value) in [
        ("leveret_journal_bytes", "Size of the journal", stats.journal_bytes),
        ("leveret_journal_pending_bytes", "Bytes that gather for the next group", stats.pending_bytes),
        ("leveret_store_segments", "Segment files", stats.segments),
        ("leveret_store_segment_bytes", "Size of the segment files", stats.segment_bytes),
        ("leveret_store_segment_records", "Records that live in segments", stats.segment_records),
    ] {
        text.gauge(name, help, value);
    }
}

/// What delayed exchanges have done.
fn delayed(app: &App, text: &mut Text) {
    let (mut held, mut released, mut dropped, mut cancelled) = (0, 0, 0, 0);
    for exchange in app.node.broker().vhosts().iter().flat_map(|vhost| vhost.delayed_exchanges()) {
        let totals = exchange.totals();
        held += totals.held_count;
        released += totals.released_count;
        dropped += totals.dropped_count;
        cancelled += totals.cancelled_count;
    }
    text.counter("leveret_delayed_held_total", "Messages that were held back", held);
    text.counter("leveret_delayed_released_total", "Messages released to queues", released);
    text.counter(
        "leveret_delayed_dropped_total",
        "Messages whose route was gone when they were due",
        dropped,
    );
    text.counter("leveret_delayed_cancelled_total", "Messages cancelled or purged", cancelled);
}
