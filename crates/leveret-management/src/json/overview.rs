//! The whole broker: overview, nodes, listeners.

use leveret_broker::{CLUSTER_NAME, Churn};
use serde_json::{Map, Value, json};

use super::connection::{MESSAGE_FIGURES, message_stats};
use super::rates;
use crate::App;
use crate::list::Fields;
use crate::node::NodeStatus;
use crate::ranges::Ranges;
use crate::statistics::{QueueTotals, Rated, Sample};

/// The version of RabbitMQ whose shapes and behaviour clients may count on.
pub(crate) const RABBITMQ_VERSION: &str = "3.13.7";

const EXCHANGE_TYPES: [(&str, &str); 6] = [
    ("direct", "AMQP direct exchange, as per the AMQP specification"),
    ("fanout", "AMQP fanout exchange, as per the AMQP specification"),
    ("headers", "AMQP headers exchange, as per the AMQP specification"),
    ("topic", "AMQP topic exchange, as per the AMQP specification"),
    ("x-consistent-hash", "Each message to one of the bound queues, by a hash"),
    ("x-delayed-message", "Holds messages back before it routes them"),
];

const AUTH_MECHANISMS: [(&str, &str); 3] = [
    ("PLAIN", "SASL PLAIN authentication mechanism"),
    ("AMQPLAIN", "Name and password in a field table"),
    ("EXTERNAL", "By the certificate that the client has shown"),
];

fn named(all: &[(&str, &str)]) -> Value {
    let items = all
        .iter()
        .map(|(name, description)| json!({ "name": name, "description": description, "enabled": true }));
    items.collect()
}

/// What administrators have named it, else the node's name.
pub(crate) fn cluster_name(app: &App) -> String {
    match app.node.broker().global_parameter(CLUSTER_NAME) {
        Some(Value::String(name)) => name,
        _ => app.node.name().into(),
    }
}

/// The overview. What only monitors may see is left out for others.
pub(crate) fn put((app, ranges): (&App, &Ranges), is_monitor: bool, fields: &mut Fields<'_>) {
    let (now, before) = app.statistics.now_and_before();
    let seconds = now.seconds_since(&before);
    fields.put("management_version", || RABBITMQ_VERSION);
    fields.put("rabbitmq_version", || RABBITMQ_VERSION);
    fields.put("product_name", || "Leveret");
    fields.put("product_version", || app.node.version());
    fields.put("cluster_name", || cluster_name(app));
    fields.put("node", || app.node.name());
    fields.put("rates_mode", || "basic");
    fields.put("sample_retention_policies", || json!({ "global": [600], "basic": [600], "detailed": [600] }));
    fields.put("exchange_types", || named(&EXCHANGE_TYPES));
    // RabbitMQ's clients want these to be there.
    fields.put("erlang_version", || "none");
    fields.put("erlang_full_version", || concat!("none: Rust ", env!("CARGO_PKG_RUST_VERSION")));
    fields.put("release_series_support_status", || "supported");
    fields.put("disable_stats", || false);
    fields.put("enable_queue_totals", || false);
    fields.put("message_stats", || {
        let mut object = message_stats(&now.messages, &before.messages, seconds);
        if let Some(range) = ranges.messages {
            let moments = app.statistics.past(range).into_iter();
            let moments: Vec<_> = moments.map(|(at_ms, sample)| (at_ms, sample.messages)).collect();
            rates::put_samples(&mut object, MESSAGE_FIGURES, &moments);
        }
        Value::Object(object)
    });
    fields.put("churn_rates", || Value::Object(churn(&now.churn, &before.churn, seconds)));
    fields.put("queue_totals", || {
        let mut object = queue_totals(&now.queues, &before.queues, seconds);
        if let Some(range) = ranges.lengths {
            let moments = app.statistics.past(range).into_iter();
            let moments: Vec<_> = moments.map(|(at_ms, sample)| (at_ms, sample.queues)).collect();
            rates::put_samples(&mut object, LENGTH_FIGURES, &moments);
        }
        Value::Object(object)
    });
    fields.put("object_totals", || object_totals(app, &now));
    fields.put("statistics_db_event_queue", || 0);
    if is_monitor {
        fields.put("listeners", || listeners(app));
        fields.put("contexts", || contexts(app));
    }
}

/// How many there are of each. What is counted where it lives is told as it is now.
fn object_totals(app: &App, now: &Sample) -> Value {
    let broker = app.node.broker();
    let vhosts = broker.vhosts();
    let channels = now.churn.channels_opened.saturating_sub(now.churn.channels_closed);
    json!({
        "channels": channels,
        "connections": broker.connections.count(),
        "consumers": now.queues.consumers,
        "exchanges": vhosts.iter().map(|vhost| vhost.exchange_count()).sum::<usize>(),
        "queues": vhosts.iter().map(|vhost| vhost.queue_count()).sum::<usize>(),
    })
}

fn churn(now: &Churn, before: &Churn, seconds: f64) -> Map<String, Value> {
    let rated = |now: u64, before: u64| Rated::counter(now, before, seconds);
    rates::object(&[
        ("channel_closed", rated(now.channels_closed, before.channels_closed)),
        ("channel_created", rated(now.channels_opened, before.channels_opened)),
        ("connection_closed", rated(now.connections_closed, before.connections_closed)),
        ("connection_created", rated(now.connections_opened, before.connections_opened)),
    ])
}

pub(crate) const LENGTH_FIGURES: &rates::Figures<QueueTotals> = &[
    ("messages", |it| it.ready + it.unacked),
    ("messages_ready", |it| it.ready),
    ("messages_unacknowledged", |it| it.unacked),
    ("messages_delayed", |it| it.delayed),
];

/// What waits in queues and what is out.
pub(crate) fn queue_totals(now: &QueueTotals, before: &QueueTotals, seconds: f64) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, of) in LENGTH_FIGURES {
        rates::put(&mut object, name, Rated::gauge(of(now), of(before), seconds));
    }
    object
}

fn listeners(app: &App) -> Value {
    let http = ("http", app.statistics.address);
    let all =
        app.node.listeners().into_iter().map(|listener| (listener.protocol, listener.address)).chain([http]);
    let items = all.map(|(protocol, address)| {
        json!({
            "node": app.node.name(),
            "protocol": protocol,
            "ip_address": address.ip().to_string(),
            "port": address.port(),
            "socket_opts": { "nodelay": true },
        })
    });
    items.collect()
}

fn contexts(app: &App) -> Value {
    let address = app.statistics.address;
    json!([{
        "node": app.node.name(),
        "description": "Leveret Management",
        "path": "/",
        "ip": address.ip().to_string(),
        "port": address.port().to_string(),
        "ssl_opts": [],
    }])
}

const NODE_FIGURES: &rates::Figures<Sample> = &[
    ("mem_used", |it| it.memory_bytes),
    ("disk_free", |it| it.disk_free_bytes),
    ("fd_used", |it| it.files),
    ("sockets_used", |it| it.connections),
    ("proc_used", |_| 0),
    ("io_sync_count", |it| it.syncs.unwrap_or_default().count),
    ("channel_closed", |it| it.churn.channels_closed),
    ("channel_created", |it| it.churn.channels_opened),
    ("connection_closed", |it| it.churn.connections_closed),
    ("connection_created", |it| it.churn.connections_opened),
];

/// The node.
pub(crate) fn put_node((app, ranges): (&App, &Ranges), status: &NodeStatus, fields: &mut Fields<'_>) {
    let (now, before) = app.statistics.now_and_before();
    let seconds = now.seconds_since(&before);
    let (files_used, files_total) = status.files.unwrap_or_default();
    fields.put("name", || app.node.name());
    fields.put("type", || "disc");
    fields.put("running", || true);
    fields.put("being_drained", || false);
    fields.put("os_pid", || std::process::id().to_string());
    fields.put("uptime", || app.node.now().0.saturating_sub(status.started.0) / 1000);
    fields.put("processors", || std::thread::available_parallelism().map_or(1, usize::from));
    fields.put("run_queue", || 0);
    fields.put("rates_mode", || "basic");
    fields.put("mem_limit", || status.memory_limit_bytes);
    fields.put("mem_alarm", || app.node.blocked() == Some("low on memory"));
    fields.put("mem_calculation_strategy", || "rss");
    fields.put("disk_free_limit", || status.disk_free_limit_bytes);
    fields.put("disk_free_alarm", || app.node.blocked() == Some("low on disk"));
    fields.put("fd_total", || files_total);
    fields.put("sockets_total", || files_total);
    fields.put("proc_total", || 0);
    fields.put("exchange_types", || named(&EXCHANGE_TYPES));
    fields.put("auth_mechanisms", || named(&AUTH_MECHANISMS));
    fields.put(
        "applications",
        || json!([{ "name": "leveret", "description": "Leveret", "version": app.node.version() }]),
    );
    fields.put("contexts", || contexts(app));
    fields.put("log_files", || json!(["<stderr>"]));
    fields
        .put("db_dir", || status.data_dir.as_ref().map(|dir| dir.display().to_string()).unwrap_or_default());
    fields.put("config_files", || json!([]));
    fields.put("net_ticktime", || 0);
    fields.put("enabled_plugins", || json!(["rabbitmq_delayed_message_exchange", "rabbitmq_management"]));
    fields.put("partitions", || json!([]));
    fields.put("cluster_links", || json!([]));
    fields.put("metrics_gc_queue_length", || json!({}));
    let mut rated = churn(&now.churn, &before.churn, seconds);
    rates::put(&mut rated, "mem_used", Rated::gauge(now.memory_bytes, before.memory_bytes, seconds));
    rates::put(&mut rated, "disk_free", Rated::gauge(now.disk_free_bytes, before.disk_free_bytes, seconds));
    rates::put(&mut rated, "fd_used", Rated::gauge(files_used, before.files, seconds));
    rates::put(&mut rated, "sockets_used", Rated::gauge(now.connections, before.connections, seconds));
    rates::put(&mut rated, "proc_used", Rated::default());
    if let (Some(syncs), Some(sync_ms)) = (now.syncs, now.sync_ms_since(&before)) {
        let count_before = before.syncs.unwrap_or_default().count;
        rates::put(&mut rated, "io_sync_count", Rated::counter(syncs.count, count_before, seconds));
        rates::put_average(&mut rated, "io_sync_avg_time", sync_ms);
    }
    if let Some(range) = ranges.node {
        rates::put_samples(&mut rated, NODE_FIGURES, &app.statistics.past(range));
    }
    fields.put_all(rated);
}

/// Where the node's memory is, in RabbitMQ's fields. Only the whole is known, and nothing here is Erlang's.
pub(crate) fn memory(status: &NodeStatus) -> Value {
    const NOT_KNOWN: [&str; 23] = [
        "connection_readers",
        "connection_writers",
        "connection_channels",
        "connection_other",
        "queue_procs",
        "quorum_queue_procs",
        "stream_queue_procs",
        "stream_queue_replica_reader_procs",
        "stream_queue_coordinator_procs",
        "plugins",
        "metadata_store",
        "other_proc",
        "metrics",
        "mgmt_db",
        "mnesia",
        "quorum_ets",
        "metadata_store_ets",
        "other_ets",
        "binary",
        "msg_index",
        "code",
        "atom",
        "allocated_unused",
    ];
    let used = status.memory_used_bytes.unwrap_or(0);
    let mut memory: Map<String, Value> =
        NOT_KNOWN.map(|name| (name.to_owned(), 0.into())).into_iter().collect();
    memory.insert("reserved_unallocated".into(), 0.into());
    memory.insert("other_system".into(), used.into());
    memory.insert("strategy".into(), "rss".into());
    memory.insert("total".into(), json!({ "rss": used, "allocated": used, "erlang": 0 }));
    json!({ "memory": memory })
}

/// Samples over the last minutes, each series in its own array, so that a chart can take it as it is.
pub(crate) fn history(samples: &[Sample]) -> Value {
    let series = |of: fn(&Sample) -> u64| samples.iter().map(of).collect::<Vec<_>>();
    json!({
        "at_ms": series(|it| it.at.0 / 1000),
        "publish": series(|it| it.messages.publish),
        "confirm": series(|it| it.messages.confirm),
        "deliver": series(|it| it.messages.deliver + it.messages.deliver_no_ack),
        "get": series(|it| it.messages.get + it.messages.get_no_ack),
        "ack": series(|it| it.messages.ack),
        "redeliver": series(|it| it.messages.redeliver),
        "messages_ready": series(|it| it.queues.ready),
        "messages_unacknowledged": series(|it| it.queues.unacked),
        "messages_delayed": series(|it| it.queues.delayed),
        "queues": series(|it| it.queues.queues),
        "consumers": series(|it| it.queues.consumers),
        "connections": series(|it| it.connections),
        "memory_bytes": series(|it| it.memory_bytes),
        "disk_free_bytes": series(|it| it.disk_free_bytes),
        "received_bytes": series(|it| it.received_bytes),
        "sent_bytes": series(|it| it.sent_bytes),
        "io_sync_avg_time": sync_times(samples),
    })
}

/// What a sync of the journal took in the second before each sample, in milliseconds; empty where nothing is kept.
fn sync_times(samples: &[Sample]) -> Vec<f64> {
    let before = samples.iter().take(1).chain(samples);
    samples.iter().zip(before).filter_map(|(now, before)| now.sync_ms_since(before)).collect()
}
