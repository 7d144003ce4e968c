//! `/metrics` in Prometheus' text format: what every system has. All of it belongs to one site; nothing is global.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::Problem;
use crate::site::Site;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    route: String,
    status: u16,
}

/// The counters of a site.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    request_seconds: Histogram,
    unsent: Gauge,
    oldest_seconds: Gauge<f64, AtomicU64>,
    broker_up: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("leveret");
        let requests = Family::default();
        let request_seconds = Histogram::new(exponential_buckets(0.0005, 2.0, 15));
        let (unsent, oldest_seconds, broker_up) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register("http_request_seconds", "Time to the answer", request_seconds.clone());
        registry.register("outbox_unsent", "Messages the broker has not confirmed yet", unsent.clone());
        registry.register("outbox_oldest_seconds", "Age of the oldest of them", oldest_seconds.clone());
        registry.register("broker_up", "1 while the broker can be reached", broker_up.clone());
        Self { registry, requests, request_seconds, unsent, oldest_seconds, broker_up }
    }

    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        // A method is the client's to choose, and must not become a label without end.
        let method = if matches!(method, "GET" | "HEAD" | "POST" | "DELETE") { method } else { "other" };
        let request = Request { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&request).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }
}

/// `GET /metrics`
pub(crate) async fn show(State(site): State<Site>) -> Result<impl IntoResponse, Problem> {
    let metrics = &site.metrics;
    metrics.broker_up.set(i64::from(site.bus.is_up().await));
    if let Some(outbox) = &site.outbox
        && let Ok(depth) = outbox.depth().await
    {
        metrics.unsent.set(i64::try_from(depth.unsent).unwrap_or(i64::MAX));
        metrics.oldest_seconds.set(depth.oldest.unwrap_or_default().as_secs_f64());
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &metrics.registry)
        .map_err(|error| Problem::unavailable(error, "the metrics cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
