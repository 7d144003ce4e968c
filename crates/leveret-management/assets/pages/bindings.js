// The topology of a virtual host: as a picture of a part small enough to be one, and as a list of all bindings.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get, page, path } from "../api.js";
import { card } from "../parts.js";
import { List } from "../table.js";
import { topology } from "../graph.js";
import { redraw, reload } from "../frame.js";
import { knownVhosts, likelyVhost } from "../session.js";
import { bindingColumns, bindingKey } from "./routing.js";

const DRAWN_EXCHANGES = 40;
const DRAWN_QUEUES = 60;
const FIELDS = "name,vhost,type,arguments,effective_policy_definition";

export function bindingsPage(_, query) {
  let vhost = likelyVhost();
  let filter = "";
  let typing = 0;
  const list = new List({ url: () => path("bindings", vhost), query, columns: bindingColumns(), rowKey: bindingKey, sort: "source", empty: t("No bindings.") });
  const change = (text) => {
    clearTimeout(typing);
    typing = setTimeout(() => { filter = text; reload(); }, 250);
  };
  const choose = (event) => { vhost = event.target.value; redraw(); reload(); };
  return {
    title: () => t("Topology"),
    every: 15_000,
    async load() {
      const [part] = await Promise.all([partOf(vhost, filter), list.load()]);
      return part;
    },
    view: (part) => [
      h("div", { class: "toolbar" },
        knownVhosts().length > 1 && h("select", { "aria-label": t("Virtual host"), value: vhost, onchange: choose }, knownVhosts().map((name) => h("option", { value: name, selected: name === vhost }, name))),
        h("input", { type: "search", class: "filter", "aria-label": t("Exchanges whose name contains"), placeholder: t("Exchanges whose name contains"), value: filter, oninput: (event) => change(event.target.value) })),
      card(t("Where messages go"), picture(vhost, part)),
      card(t("All bindings"), list.view()),
    ],
  };
}

/** Some exchanges that are bound to something, what they lead to, and how much is left out. */
async function partOf(vhost, filter) {
  const exchanges = await page(path("exchanges", vhost), { size: DRAWN_EXCHANGES, name: filter, columns: FIELDS });
  const own = exchanges.items.filter((exchange) => exchange.name !== "");
  const bindings = (await Promise.all(own.map((exchange) => get(path("exchanges", vhost, exchange.name, "bindings", "source"))))).flat();
  const names = [...new Set(bindings.filter((binding) => binding.destination_type === "queue").map((binding) => binding.destination))];
  const drawn = new Set(names.slice(0, DRAWN_QUEUES));
  const shown = bindings.filter((binding) => binding.destination_type !== "queue" || drawn.has(binding.destination));
  const queues = await Promise.all([...drawn].map((name) => get(path("queues", vhost, name), { columns: FIELDS, disable_stats: true }).catch(() => ({ name }))));
  const linked = new Set(shown.flatMap((binding) => [binding.source, binding.destination_type === "exchange" ? binding.destination : ""]));
  const used = own.filter((exchange) => linked.has(exchange.name) || (filter !== "" && own.length <= DRAWN_EXCHANGES));
  return { exchanges: used, queues, bindings: shown, more: exchanges.filtered > exchanges.items.length || names.length > drawn.size };
}

function picture(vhost, { exchanges, queues, bindings, more }) {
  if (exchanges.length === 0) return h("p", { class: "empty" }, t("Nothing is bound here."));
  return [
    topology({ vhost, exchanges, queues, bindings }),
    h("p", { class: "muted" },
      t("Lines lead from exchanges to what is bound to them; dashed lines show where dead letters and unroutable messages go."), " ",
      more && t("This is a part of the virtual host: the filter shows others.")),
  ];
}
