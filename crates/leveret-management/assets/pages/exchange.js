// One exchange: what moves through it, where it leads, and publishing to it.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get, path, post, remove } from "../api.js";
import { count, yesNo } from "../format.js";
import { History } from "../chart.js";
import { act, button, card, drawer, exchangeName, facts, features, table } from "../parts.js";
import { confirm } from "../dialog.js";
import { topology } from "../graph.js";
import { go, link } from "../router.js";
import { messageForm, bindingsView, bindingFields, bind } from "./routing.js";
import { rateChart, seeRates } from "./overview.js";

const DRAWN = 120;

export function exchangePage([vhost, name]) {
  const history = new History();
  // The default exchange has an empty name, which cannot stand in a path.
  const own = path("exchanges", vhost, name === "" ? "amq.default" : name);
  return {
    title: () => t("Exchange {name}", { name: exchangeName(name) }),
    async load() {
      const [exchange, outgoing, incoming] = await Promise.all([get(own, history.missing), name === "" ? [] : get(`${own}/bindings/source`), name === "" ? [] : get(`${own}/bindings/destination`)]);
      seeRates(history, exchange.message_stats);
      return { exchange, outgoing, incoming };
    },
    view: ({ exchange, outgoing, incoming }) => [
      h("div", { class: "toolbar" }, h("span", { class: "grow" }),
        exchange.type === "x-delayed-message" && h("a", { class: "button", href: link("delayed", vhost, name) }, t("Delayed messages")),
        !isPredeclared(name) && button(t("Delete"), () => deleting(own, name), "danger")),
      exchange.message_stats && card(null, rateChart(history)),
      card(t("Details"), facts([
        [t("Virtual host"), vhost],
        [t("Type"), exchange.type],
        [t("Features"), features(exchange)],
        [t("Durable"), yesNo(exchange.durable)],
        [t("Policy"), exchange.policy],
        [t("Arguments"), Object.keys(exchange.arguments ?? {}).length > 0 && table(exchange.arguments)],
        [t("Delayed messages"), exchange.messages_delayed === undefined ? undefined : count(exchange.messages_delayed)],
      ])),
      name === "" ? card(t("Bindings"), h("p", null, t("Every queue is bound to the default exchange by its own name.")))
        : [card(t("Where messages go"), pictureOf(vhost, exchange, outgoing, incoming)), card(t("Bindings"), bindingsView(outgoing, incoming)), drawer(t("Bind to a queue or exchange"), bindForm(vhost, name))],
      drawer(t("Publish a message"), messageForm({ vhost, exchange: name, delayed: exchange.type === "x-delayed-message" })),
    ],
  };
}

const isPredeclared = (name) => name === "" || name.startsWith("amq.");

function pictureOf(vhost, exchange, outgoing, incoming) {
  const all = [...incoming, ...outgoing];
  if (all.length === 0) return h("p", { class: "empty" }, t("Nothing is bound: what is published here goes nowhere."));
  return [
    topology({ vhost, exchanges: [exchange], queues: [], bindings: all.slice(0, DRAWN), focus: `exchange:${exchange.name}` }),
    all.length > DRAWN && h("p", { class: "muted" }, t("The first {count} bindings are drawn.", { count: DRAWN })),
  ];
}

const bindForm = (vhost, source) => bind({
  fields: [{ name: "kind", label: t("To a"), type: "select", options: [["q", t("queue")], ["e", t("exchange")]], value: "q" }, { name: "destination", label: t("Name"), required: true }, ...bindingFields()],
  submit: ({ kind, destination, routing_key, arguments: own }) => post(`${path("bindings", vhost)}/e/${encodeURIComponent(source)}/${kind}/${encodeURIComponent(destination)}`, { routing_key, arguments: own }),
});

async function deleting(own, name) {
  const sure = await confirm({ title: t("Delete exchange {name}?", { name }), text: t("Its bindings go with it. Publishers that use it get an error."), action: t("Delete") });
  if (!sure) return;
  await act(() => remove(own), t("Exchange {name} is deleted.", { name }), () => go(link("exchanges")));
}
