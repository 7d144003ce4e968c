// All queues, and declaring one.

import { t } from "../i18n.js";
import { path, put } from "../api.js";
import { bytes, count, rate } from "../format.js";
import { List } from "../table.js";
import { act, badge, button, features, queueLink, state, vhostColumn } from "../parts.js";
import { form } from "../dialog.js";
import { go, link } from "../router.js";
import { vhost } from "../session.js";
import { vhostField } from "./exchanges.js";

const FIELDS = "name,vhost,type,durable,auto_delete,exclusive,arguments,policy,state,consumers,messages_ready,messages_unacknowledged,messages,message_bytes,message_stats.publish_details.rate,message_stats.deliver_get_details.rate,message_stats.ack_details.rate";

export function queuesPage(_, query) {
  const list = new List({
    url: () => (vhost() ? path("queues", vhost()) : "/api/queues"),
    query,
    fields: FIELDS,
    rowKey: (one) => `${one.vhost} ${one.name}`,
    empty: t("No queue is declared yet."),
    columns: [
      { label: t("Queue"), sort: "name", cell: queueLink },
      vhostColumn(),
      { label: t("Features"), cell: (one) => [one.type && one.type !== "classic" && badge(one.type), features(one)] },
      { label: t("State"), sort: "state", cell: (one) => state(one.state) },
      { label: t("Ready"), sort: "messages_ready", number: true, cell: (one) => count(one.messages_ready) },
      { label: t("Unacked"), sort: "messages_unacknowledged", number: true, cell: (one) => count(one.messages_unacknowledged) },
      { label: t("Size"), sort: "message_bytes", number: true, cell: (one) => bytes(one.message_bytes) },
      { label: t("Consumers"), sort: "consumers", number: true, cell: (one) => count(one.consumers) },
      { label: t("In"), sort: "message_stats.publish_details.rate", number: true, cell: (one) => rate(one.message_stats?.publish_details?.rate) },
      { label: t("Out"), sort: "message_stats.deliver_get_details.rate", number: true, cell: (one) => rate(one.message_stats?.deliver_get_details?.rate) },
    ],
  });
  return {
    title: () => t("Queues"),
    load: () => list.load(),
    view: () => list.view(button(t("New queue"), declare, "primary")),
  };
}

const NUMBERS = { ttl: "x-message-ttl", expires: "x-expires", length: "x-max-length", bytes: "x-max-length-bytes", priority: "x-max-priority" };
const TEXTS = { dlx: "x-dead-letter-exchange", dlk: "x-dead-letter-routing-key", overflow: "x-overflow", type: "x-queue-type" };

async function declare() {
  let made;
  const done = await form({
    title: t("New queue"),
    action: t("Create"),
    wide: true,
    fields: [
      vhostField(),
      { name: "name", label: t("Name"), required: true },
      { name: "type", label: t("Type"), type: "select", options: [["", t("default")], "classic", "quorum"], value: "" },
      { name: "durable", label: t("Durable: survives a restart"), type: "checkbox", value: true },
      { name: "auto_delete", label: t("Delete when its last consumer leaves"), type: "checkbox" },
      { group: t("Limits"), fields: [
        { name: "ttl", label: t("Messages live for (ms)"), type: "number", min: 0 },
        { name: "expires", label: t("Delete when unused for (ms)"), type: "number", min: 1 },
        { name: "length", label: t("Most messages"), type: "number", min: 0 },
        { name: "bytes", label: t("Most bytes"), type: "number", min: 0 },
        { name: "overflow", label: t("When full"), type: "select", options: [["", t("default")], "drop-head", "reject-publish", "reject-publish-dlx"], value: "" },
      ] },
      { group: t("Dead letters and order"), fields: [
        { name: "dlx", label: t("Dead letters go to exchange") },
        { name: "dlk", label: t("with routing key") },
        { name: "priority", label: t("Highest priority"), type: "number", min: 1 },
        { name: "single", label: t("One consumer at a time"), type: "checkbox" },
      ] },
      { name: "arguments", label: t("More arguments, as JSON"), type: "json" },
    ],
    submit: async (values) => {
      await put(path("queues", values.vhost, values.name), { durable: values.durable, auto_delete: values.auto_delete, arguments: argumentsOf(values) });
      made = values;
    },
  });
  if (!done) return;
  await act(async () => {}, t("Queue {name} is there.", { name: made.name }), () => go(link("queues", made.vhost, made.name)));
}

function argumentsOf(values) {
  const own = { ...values.arguments };
  for (const [name, argument] of Object.entries(NUMBERS)) if (values[name] !== undefined) own[argument] = values[name];
  for (const [name, argument] of Object.entries(TEXTS)) if (values[name]) own[argument] = values[name];
  if (values.single) own["x-single-active-consumer"] = true;
  return own;
}
