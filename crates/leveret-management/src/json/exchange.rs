//! Exchanges.

use leveret_broker::ListedExchange;
use serde_json::Value;

use super::message::table;
use crate::list::Fields;

/// An exchange of that virtual host.
pub(crate) fn put(vhost: &str, exchange: &ListedExchange, fields: &mut Fields<'_>) {
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
    if let Some(delayed) = &exchange.delayed {
        fields.put("messages_delayed", || delayed.totals().messages);
    }
}
