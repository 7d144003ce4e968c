//! Exchanges.

use leveret_broker::ListedExchange;
use serde_json::{Map, Value};

use super::message::table;
use super::rates;
use crate::list::Fields;
use crate::ranges::Ranges;
use crate::statistics::{Rated, Statistics};

const FIGURES: &rates::Figures<(u64, u64)> = &[("publish_in", |it| it.0), ("publish_out", |it| it.1)];

/// An exchange of that virtual host.
pub(crate) fn put(
    (statistics, ranges): (&Statistics, &Ranges),
    vhost: &str,
    exchange: &ListedExchange,
    fields: &mut Fields<'_>,
) {
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
            let [last, before] = statistics.exchange(vhost, &exchange.name).unwrap_or_default();
            let now = (counts.published_in(), counts.published_out());
            let mut object = Map::new();
            for (name, of) in FIGURES {
                let rated = Rated::counter(of(&last), of(&before), statistics.seconds());
                rates::put(&mut object, name, Rated { value: of(&now).cast_signed(), ..rated });
            }
            if let Some(range) = ranges.messages {
                let moments = statistics.past_of_exchange(vhost, &exchange.name, range);
                rates::put_samples(&mut object, FIGURES, &moments);
            }
            Value::Object(object)
        });
    }
    if let Some(policy) = &exchange.applied.policy {
        fields.put("policy", || policy.name.as_str());
    }
    if let Some(delayed) = &exchange.delayed {
        fields.put("messages_delayed", || delayed.totals().messages);
    }
}
