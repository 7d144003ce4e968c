// Virtual hosts: all of them, and one of them.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get, path, put, remove } from "../api.js";
import { History } from "../chart.js";
import { byteRate, bytes, count, rate } from "../format.js";
import { List } from "../table.js";
import { act, badge, button, card, facts } from "../parts.js";
import { confirm, form } from "../dialog.js";
import { go, link } from "../router.js";
import { refreshVhosts } from "../session.js";
import { seeTraffic, trafficChart } from "./connections.js";
import { lengthChart, rateChart, seeLengths, seeRates } from "./overview.js";

const badges = (one) =>
  h("span", { class: "badges" }, one.protected_from_deletion && badge(t("protected"), "accent", t("It is protected from deletion.")), (one.tags ?? []).map((tag) => badge(tag)));

export function vhostsPage(_, query) {
  const list = new List({
    url: () => "/api/vhosts",
    query,
    rowKey: (one) => one.name,
    columns: [
      { label: t("Virtual host"), sort: "name", cell: (one) => h("span", { class: "two-lines" }, h("a", { href: link("vhosts", one.name) }, one.name), one.description && h("small", null, one.description)) },
      { label: t("Tags"), cell: badges },
      { label: t("Ready"), sort: "messages_ready", number: true, cell: (one) => count(one.messages_ready) },
      { label: t("Unacked"), sort: "messages_unacknowledged", number: true, cell: (one) => count(one.messages_unacknowledged) },
      { label: t("Publish"), number: true, cell: (one) => rate(one.message_stats?.publish_details?.rate) },
      { label: t("Deliver"), number: true, cell: (one) => rate(one.message_stats?.deliver_get_details?.rate) },
      { label: t("From clients"), number: true, cell: (one) => byteRate(one.recv_oct_details?.rate) },
      { label: "", cell: (one) => h("span", { class: "actions" }, buttons(one)) },
    ],
  });
  return {
    title: () => t("Virtual hosts"),
    load: () => list.load(),
    view: () => list.view(button(t("New virtual host"), () => edit(), "primary")),
  };
}

export function vhostPage([name]) {
  const history = new History();
  return {
    title: () => t("Virtual host {name}", { name }),
    async load() {
      const vhost = await get(path("vhosts", name), history.missing);
      seeLengths(history, vhost);
      seeRates(history, { publish_details: { rate: 0 }, deliver_get_details: { rate: 0 }, ...vhost.message_stats });
      seeTraffic(history, vhost);
      return vhost;
    },
    view: (vhost) => [
      h("div", { class: "toolbar" }, h("span", { class: "grow" }), buttons(vhost)),
      h("div", { class: "charts three" }, card(null, lengthChart(history)), card(null, rateChart(history)), card(null, trafficChart(history))),
      card(t("Details"), facts([
        [t("Description"), vhost.description],
        [t("Tags"), (vhost.tags?.length > 0 || vhost.protected_from_deletion) && badges(vhost)],
        [t("Default queue type"), vhost.default_queue_type],
        [t("Ready"), count(vhost.messages_ready)],
        [t("Unacknowledged"), count(vhost.messages_unacknowledged)],
        [t("Received"), bytes(vhost.recv_oct)],
        [t("Sent"), bytes(vhost.send_oct)],
      ])),
    ],
  };
}

const buttons = (one) => [button(t("Change"), () => edit(one)), !one.protected_from_deletion && button(t("Delete"), () => deleting(one.name), "danger")];

async function edit(known) {
  let name = known?.name;
  const done = await form({
    title: known ? t("Change {name}", { name }) : t("New virtual host"),
    action: known ? t("Save") : t("Create"),
    fields: [
      !known && { name: "name", label: t("Name"), required: true },
      { name: "description", label: t("Description"), value: known?.description },
      { name: "tags", label: t("Tags, with commas between"), value: (known?.tags ?? []).join(",") },
      { name: "protected_from_deletion", label: t("Protected from deletion"), type: "checkbox", value: known?.protected_from_deletion },
    ].filter(Boolean),
    submit: async (values) => {
      const { name: chosen, ...settings } = values;
      name ??= chosen;
      await put(path("vhosts", name), settings);
      await refreshVhosts();
    },
  });
  if (done) await act(async () => {}, t("Virtual host {name} is saved.", { name }));
}

async function deleting(name) {
  const sure = await confirm({ title: t("Delete virtual host {name}?", { name }), text: t("All its queues, messages, exchanges and permissions are deleted with it. This cannot be undone."), action: t("Delete"), typed: name });
  if (!sure) return;
  await act(async () => {
    await remove(path("vhosts", name));
    await refreshVhosts();
  }, t("Virtual host {name} is deleted.", { name }), () => go(link("vhosts")));
}
