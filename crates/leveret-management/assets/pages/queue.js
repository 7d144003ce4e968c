// One queue: how it fares, what is in it, and everything one can do with its messages.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get, path, post, remove } from "../api.js";
import { bytes, count, moment, yesNo } from "../format.js";
import { History } from "../chart.js";
import { act, button, card, drawer, facts, features, hasFields, state, table } from "../parts.js";
import { confirm, field, form, valuesOf } from "../dialog.js";
import { topology } from "../graph.js";
import { go, link } from "../router.js";
import { messageCard } from "../message.js";
import { complain, say } from "../notices.js";
import { plainTable } from "../table.js";
import { redraw } from "../frame.js";
import { bind, bindingFields, bindingsView, messageForm } from "./routing.js";
import { lengthChart, rateChart, seeLengths, seeRates } from "./overview.js";

const DRAWN = 120;
const BODY_SHOWN_BYTES = 50_000;

export function queuePage([vhost, name]) {
  const history = new History();
  const own = path("queues", vhost, name);
  const seen = { messages: null };
  return {
    title: () => t("Queue {name}", { name }),
    async load() {
      const [queue, bindings] = await Promise.all([get(own, history.missing), get(`${own}/bindings`)]);
      seeLengths(history, queue);
      seeRates(history, { publish_details: { rate: 0 }, deliver_get_details: { rate: 0 }, ...queue.message_stats });
      return { queue, bindings: bindings.filter((binding) => binding.source !== "") };
    },
    view: ({ queue, bindings }) => [
      actions(own, queue),
      h("div", { class: "charts" }, card(null, lengthChart(history)), card(null, rateChart(history))),
      card(t("Messages"), getForm(own, seen), messages(seen)),
      drawer(t("Publish a message"), messageForm({ vhost, exchange: "", routingKey: name })),
      card(t("Details"), facts(details(queue))),
      card(t("Consumers"), consumers(queue.consumer_details ?? [])),
      card(t("Bindings"), pictureOf(vhost, queue, bindings), bindingsView([], bindings)),
      drawer(t("Bind to an exchange"), bindForm(vhost, name)),
    ],
  };
}

function actions(own, queue) {
  return h("div", { class: "toolbar" },
    h("span", { class: "grow" }),
    button(t("Move messages"), () => moving(own, queue)),
    button(t("Replay dead letters"), () => replaying(own, queue)),
    button(t("Purge"), () => purging(own, queue), "danger"),
    button(t("Delete"), () => deleting(own, queue), "danger"));
}

const details = (queue) => [
  [t("Virtual host"), queue.vhost],
  [t("Type"), queue.type],
  [t("Features"), features(queue)],
  [t("State"), state(queue.state)],
  [t("Ready"), count(queue.messages_ready)],
  [t("Unacknowledged"), count(queue.messages_unacknowledged)],
  [t("Size"), bytes(queue.message_bytes)],
  [t("Persistent messages"), queue.messages_persistent === undefined ? undefined : count(queue.messages_persistent)],
  [t("Memory"), queue.memory === undefined ? undefined : bytes(queue.memory)],
  [t("Consumers"), count(queue.consumers)],
  [t("Consumer capacity"), typeof queue.consumer_capacity === "number" ? `${Math.round(queue.consumer_capacity * 100)} %` : undefined],
  [t("Oldest message"), queue.head_message_timestamp ? moment(queue.head_message_timestamp * 1000) : undefined],
  [t("Idle since"), queue.idle_since ? moment(Date.parse(queue.idle_since)) : undefined],
  [t("Policy"), queue.policy],
  [t("Operator policy"), queue.operator_policy],
  [t("Settings from policies"), hasFields(queue.effective_policy_definition) && table(queue.effective_policy_definition)],
  [t("Arguments"), hasFields(queue.arguments) && table(queue.arguments)],
];

const consumers = (all) =>
  plainTable([
    { label: t("Consumer tag"), cell: (one) => one.consumer_tag },
    { label: t("Channel"), cell: (one) => one.channel_details?.name && h("a", { href: link("channels", one.channel_details.name) }, one.channel_details.name) },
    { label: t("Active"), cell: (one) => yesNo(one.active ?? true) },
    { label: t("Acknowledges"), cell: (one) => yesNo(one.ack_required) },
    { label: t("Exclusive"), cell: (one) => yesNo(one.exclusive) },
    { label: t("Prefetch"), cell: (one) => count(one.prefetch_count), number: true },
  ], all, (one) => `${one.channel_details?.name} ${one.consumer_tag}`, t("Nobody consumes from it."));

function pictureOf(vhost, queue, bindings) {
  if (bindings.length === 0) return null;
  return topology({ vhost, exchanges: [], queues: [queue], bindings: bindings.slice(0, DRAWN), focus: `queue:${queue.name}` });
}

const bindForm = (vhost, name) => bind({
  fields: [{ name: "source", label: t("Exchange"), required: true }, ...bindingFields()],
  submit: ({ source, routing_key, arguments: own }) => post(path("bindings", vhost, "e", source, "q", name), { routing_key, arguments: own }),
});

function getForm(own, seen) {
  const fields = [
    { name: "count", label: t("How many"), type: "number", min: 1, value: 10 },
    { name: "ackmode", label: t("and then"), type: "select", value: "ack_requeue_true", options: [["ack_requeue_true", t("put them back (peek)")], ["ack_requeue_false", t("take them out")], ["reject_requeue_false", t("reject them: to the dead letters, if set")]] },
  ];
  const submit = async (event) => {
    event.preventDefault();
    const values = valuesOf(event.target, fields);
    if (values.ackmode !== "ack_requeue_true" && !(await sureToTake(values))) return;
    try {
      seen.messages = await post(`${own}/get`, { ...values, count: Math.max(1, Math.floor(values.count ?? 1)), encoding: "base64", truncate: BODY_SHOWN_BYTES });
    } catch (error) {
      complain(error);
    }
    redraw();
  };
  return h("form", { class: "inline row", onsubmit: submit }, fields.map(field), h("div", { class: "actions" }, h("button", { class: "primary" }, t("Get messages"))));
}

const sureToTake = (values) =>
  confirm({
    title: t("Take messages out of the queue?"),
    text: values.ackmode === "ack_requeue_false" ? t("What is shown is gone from the queue afterwards, and no consumer gets it.") : t("They become dead letters, or are gone if the queue has no dead letter exchange."),
    action: t("Get messages"),
  });

function messages(seen) {
  if (seen.messages === null) return null;
  if (seen.messages.length === 0) return h("p", { class: "empty" }, t("The queue has no message ready."));
  const left = seen.messages.at(-1).message_count;
  return [seen.messages.map(messageCard), h("p", { class: "muted" }, t("{count} more are behind these.", { count: count(left) }))];
}

async function purging(own, queue) {
  const sure = await confirm({ title: t("Purge queue {name}?", { name: queue.name }), text: t("All {count} ready messages are deleted. This cannot be undone.", { count: count(queue.messages_ready) }), action: t("Purge") });
  if (sure) await act(() => remove(`${own}/contents`), t("Queue {name} is empty.", { name: queue.name }));
}

async function deleting(own, queue) {
  const sure = await confirm({ title: t("Delete queue {name}?", { name: queue.name }), text: t("It is deleted with {count} messages. This cannot be undone.", { count: count(queue.messages) }), action: t("Delete"), typed: queue.messages > 0 ? queue.name : undefined });
  if (!sure) return;
  await act(() => remove(own), t("Queue {name} is deleted.", { name: queue.name }), () => go(link("queues")));
}

async function moving(own, queue) {
  await form({
    title: t("Move messages to another queue"),
    text: t("Ready messages go from {name} to the other queue, the oldest first. None is lost on the way, even if the broker is killed meanwhile.", { name: queue.name }),
    action: t("Move"),
    fields: [
      { name: "destination", label: t("To queue"), required: true },
      { name: "count", label: t("How many"), type: "number", min: 1, hint: t("all, if left empty") },
    ],
    submit: async ({ destination, count: most }) => {
      const { moved } = await post(`${own}/move`, { destination, count: most });
      say(t("{count} messages moved to {name}.", { count: count(moved), name: destination }));
    },
  });
}

async function replaying(own, queue) {
  await form({
    title: t("Replay dead letters"),
    text: t("Each message in {name} that is a dead letter goes back to the queue that it came from; others stay. Mend what made them fail first.", { name: queue.name }),
    action: t("Replay"),
    fields: [{ name: "count", label: t("How many"), type: "number", min: 1, hint: t("all, if left empty") }],
    submit: async ({ count: most }) => {
      const { replayed, left } = await post(`${own}/replay`, { count: most });
      say(t("{count} messages went back where they came from; {left} stayed.", { count: count(replayed), left: count(left) }));
    },
  });
}
