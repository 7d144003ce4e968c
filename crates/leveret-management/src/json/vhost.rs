//! Virtual hosts.

use leveret_broker::{MessageTotals, Vhost};
use serde_json::{Value, json};

use super::connection::{MESSAGE_FIGURES, TRAFFIC, TRAFFIC_FIGURES, message_stats};
use super::overview::{LENGTH_FIGURES, queue_totals};
use super::rates;
use crate::App;
use crate::list::Fields;
use crate::ranges::Ranges;
use crate::statistics::{Range, Rated, VhostSample};

/// A virtual host.
pub(crate) fn put((app, ranges): (&App, &Ranges), vhost: &Vhost, fields: &mut Fields<'_>) {
    fields.put("name", || &*vhost.name);
    let settings = vhost.settings();
    fields.put("description", || settings.description.as_str());
    fields.put("tags", || settings.tags.clone());
    fields.put("metadata", || {
        let mut metadata = json!({ "description": settings.description, "tags": settings.tags });
        if settings.protected_from_deletion {
            metadata["protected_from_deletion"] = true.into();
        }
        metadata
    });
    fields.put("protected_from_deletion", || settings.protected_from_deletion);
    fields.put("default_queue_type", || {
        settings.default_queue_type.clone().unwrap_or_else(|| "classic".into())
    });
    fields.put("tracing", || settings.tracing);
    fields.put("cluster_state", || json!({ (app.node.name()): "running" }));
    Sampled::of(app, vhost).put(ranges, fields);
}

/// What a virtual host holds and does, as it was sampled last.
struct Sampled<'a> {
    app: &'a App,
    name: &'a str,
    now: VhostSample,
    before: VhostSample,
    seconds: f64,
}

impl<'a> Sampled<'a> {
    fn of(app: &'a App, vhost: &'a Vhost) -> Self {
        let [now, before] = app.statistics.vhost(&vhost.name).unwrap_or_default();
        Self { app, name: &vhost.name, now, before, seconds: app.statistics.seconds() }
    }

    fn put(&self, ranges: &Ranges, fields: &mut Fields<'_>) {
        // As in RabbitMQ, lengths are asked for with the rates here.
        self.put_lengths(ranges.messages.or(ranges.lengths), fields);
        if fields.want(TRAFFIC) {
            self.put_traffic(ranges.data, fields);
        }
        if self.now.messages != MessageTotals::default() {
            fields.put("message_stats", || self.message_stats(ranges.messages));
        }
    }

    fn put_lengths(&self, range: Option<Range>, fields: &mut Fields<'_>) {
        let mut totals = queue_totals(&self.now.queues, &self.before.queues, self.seconds);
        if let Some(range) = range {
            rates::put_samples(&mut totals, LENGTH_FIGURES, &self.past(range, |it| it.queues));
        }
        fields.put_all(totals);
    }

    fn put_traffic(&self, range: Option<Range>, fields: &mut Fields<'_>) {
        let (now, before) = (&self.now.traffic, &self.before.traffic);
        let rated = TRAFFIC_FIGURES
            .iter()
            .map(|(name, of)| (*name, Rated::counter(of(now), of(before), self.seconds)));
        let mut traffic = rates::object(&rated.collect::<Vec<_>>());
        if let Some(range) = range {
            rates::put_samples(&mut traffic, TRAFFIC_FIGURES, &self.past(range, |it| it.traffic));
        }
        fields.put_all(traffic);
    }

    fn message_stats(&self, range: Option<Range>) -> Value {
        let mut stats = message_stats(&self.now.messages, &self.before.messages, self.seconds);
        if let Some(range) = range {
            rates::put_samples(&mut stats, MESSAGE_FIGURES, &self.past(range, |it| it.messages));
        }
        Value::Object(stats)
    }

    fn past<S>(&self, range: Range, of: fn(&VhostSample) -> S) -> Vec<(u64, S)> {
        let moments = self.app.statistics.past_of_vhost(self.name, range);
        moments.iter().map(|(at_ms, sample)| (*at_ms, of(sample))).collect()
    }
}
