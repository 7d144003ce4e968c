// All exchanges, and declaring one.

import { t } from "../i18n.js";
import { path, put } from "../api.js";
import { count, rate } from "../format.js";
import { List } from "../table.js";
import { act, button, exchangeLink, features, vhostColumn } from "../parts.js";
import { form } from "../dialog.js";
import { go, link } from "../router.js";
import { knownVhosts, likelyVhost, vhost } from "../session.js";

const TYPES = ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-delayed-message"];
const ROUTING = ["direct", "fanout", "topic", "headers"];

export function exchangesPage(_, query) {
  const list = new List({
    url: () => (vhost() ? path("exchanges", vhost()) : "/api/exchanges"),
    query,
    rowKey: (one) => `${one.vhost} ${one.name}`,
    columns: [
      { label: t("Exchange"), sort: "name", cell: exchangeLink },
      vhostColumn(),
      { label: t("Type"), sort: "type", cell: (one) => one.type },
      { label: t("Features"), cell: features },
      { label: t("Published in"), sort: "message_stats.publish_in_details.rate", number: true, cell: (one) => rate(one.message_stats?.publish_in_details?.rate) },
      { label: t("Routed out"), sort: "message_stats.publish_out_details.rate", number: true, cell: (one) => rate(one.message_stats?.publish_out_details?.rate) },
      { label: t("Delayed"), number: true, cell: (one) => (one.messages_delayed === undefined ? "" : count(one.messages_delayed)) },
    ],
  });
  return {
    title: () => t("Exchanges"),
    load: () => list.load(),
    view: () => list.view(button(t("New exchange"), declare, "primary")),
  };
}

export const vhostField = () => ({ name: "vhost", label: t("Virtual host"), type: "select", options: knownVhosts(), value: likelyVhost() });

async function declare() {
  let made;
  const done = await form({
    title: t("New exchange"),
    action: t("Create"),
    fields: [
      vhostField(),
      { name: "name", label: t("Name"), required: true },
      { name: "type", label: t("Type"), type: "select", options: TYPES, value: "direct", hint: t("x-delayed-message holds messages back for as long as their x-delay header says.") },
      { name: "delayed_type", label: t("A delayed exchange routes like"), type: "select", options: ROUTING, value: "direct" },
      { name: "durable", label: t("Durable: survives a restart"), type: "checkbox", value: true },
      { name: "auto_delete", label: t("Delete when nothing is bound to it any more"), type: "checkbox" },
      { name: "internal", label: t("Internal: clients cannot publish to it"), type: "checkbox" },
      { name: "alternate", label: t("Alternate exchange"), hint: t("gets what finds no queue") },
      { name: "arguments", label: t("More arguments, as JSON"), type: "json" },
    ],
    submit: async (values) => {
      const own = { ...values.arguments };
      if (values.alternate) own["alternate-exchange"] = values.alternate;
      if (values.type === "x-delayed-message") own["x-delayed-type"] ??= values.delayed_type;
      const { type, durable, auto_delete, internal } = values;
      await put(path("exchanges", values.vhost, values.name), { type, durable, auto_delete, internal, arguments: own });
      made = values;
    },
  });
  if (!done) return;
  await act(async () => {}, t("Exchange {name} is there.", { name: made.name }), () => go(link("exchanges", made.vhost, made.name)));
}
