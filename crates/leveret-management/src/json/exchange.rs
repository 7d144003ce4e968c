//! Exchanges.

use leveret_broker::ListedExchange;
use serde_json::Value;

use super::message::table;
use super::rates;
use crate::list::Fields;
use crate::statistics::{Rated, Statistics};

/// An exchange of that virtual host.
pub(crate) fn put(statistics: &Statistics, vhost: &str, exchange: &ListedExchange, fields: &mut Fields<'_>) {
    let is_predeclared = exchange.name.is_empty() || exchange.name.starts_with("amq.");
    fields.put("name", || &*exchange.name);
    fields.put("vhost", || vhost);
    fields.put("type", || exchange.options.kind.as_str());
    fields.put("durable", || exchange.options.durable);
    fields.put("auto_delete", || exchange.options.auto_delete);
    fields.put("internal", || exchange.options.internal);
    fields.put("arguments", || table(&exchange.options.arguments));
    fields.put("user_who_performed_action", || {
        if is_predeclared { Value::from("leveret-internal") } else { Value::Null }
    });
    let counts = &exchange.counts;
    if counts.published_in() + counts.published_out() > 0 {
        fields.put("message_stats", || {
            let [now, before] = statistics.exchange(vhost, &exchange.name).unwrap_or_default();
            let rated = |value: u64, now: u64, before: u64| Rated {
                value: value.cast_signed(),
                ..Rated::counter(now, before, statistics.seconds())
            };
            Value::Object(rates::object(&[
                ("publish_in", rated(counts.published_in(), now.0, before.0)),
                ("publish_out", rated(counts.published_out(), now.1, before.1)),
            ]))
        });
    }
    if let Some(policy) = &exchange.applied.policy {
        fields.put("policy", || policy.name.as_str());
    }
    if let Some(delayed) = &exchange.delayed {
        fields.put("messages_delayed", || delayed.totals().messages);
    }
}
