// What exchanges and queues have in common: forms that publish and bind, and lists of bindings.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { path, post, remove } from "../api.js";
import { act, button, exchangeName, hasFields, table } from "../parts.js";
import { field, confirm, valuesOf } from "../dialog.js";
import { publishBody, publishFields } from "../message.js";
import { plainTable } from "../table.js";
import { complain, say } from "../notices.js";
import { reload } from "../frame.js";
import { link } from "../router.js";

const LISTED = 200;

/** A form that stands in the page itself. */
function inline({ fields, action, submit }) {
  const run = async (event) => {
    event.preventDefault();
    try {
      await submit(valuesOf(event.target, fields), event.target);
    } catch (error) {
      complain(error);
    }
  };
  return h("form", { class: "inline", onsubmit: run }, fields.map(field), h("div", { class: "actions" }, h("button", { class: "primary" }, action)));
}

/** Publishes to an exchange; for a queue, to the default exchange with the queue's name as key. */
export function messageForm({ vhost, exchange, routingKey, delayed = false }) {
  const key = routingKey === undefined ? [{ name: "routing_key", label: t("Routing key") }] : [];
  const fields = [...key, ...publishFields(delayed)];
  return inline({
    fields,
    action: t("Publish"),
    submit: async (values) => {
      const url = path("exchanges", vhost, exchange === "" ? "amq.default" : exchange, "publish");
      const { routed } = await post(url, publishBody(values, routingKey ?? values.routing_key));
      if (routed) say(t("Published."));
      else complain(new Error(t("Published, but no queue took it: nothing is bound for this key.")));
      reload();
    },
  });
}

export const bindingFields = () => [{ name: "routing_key", label: t("Routing key") }, { name: "arguments", label: t("Arguments, as JSON"), type: "json" }];

export const bind = ({ fields, submit }) =>
  inline({
    fields,
    action: t("Bind"),
    submit: async (values, element) => {
      await submit(values);
      element.reset();
      say(t("Bound."));
      reload();
    },
  });

/** Bindings to and from one exchange or queue, each with a button that removes it. */
export function bindingsView(outgoing, incoming) {
  return [
    incoming.length > 0 && outgoing.length > 0 && h("h3", null, t("From")),
    incoming.length > 0 && bindingTable(incoming),
    incoming.length > 0 && outgoing.length > 0 && h("h3", null, t("To")),
    (outgoing.length > 0 || incoming.length === 0) && bindingTable(outgoing),
  ];
}

export function bindingTable(bindings) {
  return [
    plainTable(bindingColumns(), bindings.slice(0, LISTED), bindingKey, t("No bindings.")),
    bindings.length > LISTED && h("p", { class: "muted" }, t("The first {count} are listed; the topology page finds the others.", { count: LISTED })),
  ];
}

export const bindingKey = (one) => [one.vhost, one.source, one.destination_type, one.destination, one.properties_key].join(" ");

export const bindingColumns = () => [
  { label: t("Exchange"), cell: (one) => h("a", { href: link("exchanges", one.vhost, one.source) }, exchangeName(one.source)) },
  { label: t("Routing key"), cell: (one) => one.routing_key },
  { label: t("Arguments"), cell: (one) => (hasFields(one.arguments) ? table(one.arguments) : "") },
  { label: t("To"), cell: (one) => h("a", { href: link(`${one.destination_type}s`, one.vhost, one.destination) }, one.destination) },
  { label: t("Kind"), cell: (one) => (one.destination_type === "queue" ? t("queue") : t("exchange")) },
  { label: "", cell: (one) => one.source !== "" && button(t("Unbind"), () => unbinding(one)) },
];

async function unbinding(one) {
  const sure = await confirm({ title: t("Unbind?"), text: t("Messages from {source} with this key no longer reach {destination}.", { source: one.source, destination: one.destination }), action: t("Unbind") });
  if (!sure) return;
  const url = path("bindings", one.vhost, "e", one.source, one.destination_type === "queue" ? "q" : "e", one.destination, one.properties_key);
  await act(() => remove(url), t("Unbound."));
}
