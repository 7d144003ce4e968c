// Virtual hosts.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { path, put, remove } from "../api.js";
import { byteRate, count, rate } from "../format.js";
import { List } from "../table.js";
import { act, badge, button } from "../parts.js";
import { confirm, form } from "../dialog.js";
import { refreshVhosts } from "../session.js";

export function vhostsPage(_, query) {
  const list = new List({
    url: () => "/api/vhosts",
    query,
    rowKey: (one) => one.name,
    columns: [
      { label: t("Virtual host"), sort: "name", cell: (one) => h("span", { class: "two-lines" }, h("b", null, one.name), one.description && h("small", null, one.description)) },
      { label: t("Tags"), cell: (one) => h("span", { class: "badges" }, (one.tags ?? []).map((tag) => badge(tag))) },
      { label: t("Ready"), sort: "messages_ready", number: true, cell: (one) => count(one.messages_ready) },
      { label: t("Unacked"), sort: "messages_unacknowledged", number: true, cell: (one) => count(one.messages_unacknowledged) },
      { label: t("Publish"), number: true, cell: (one) => rate(one.message_stats?.publish_details?.rate) },
      { label: t("Deliver"), number: true, cell: (one) => rate(one.message_stats?.deliver_get_details?.rate) },
      { label: t("From clients"), number: true, cell: (one) => byteRate(one.recv_oct_details?.rate) },
      { label: "", cell: (one) => h("span", { class: "actions" }, button(t("Change"), () => edit(one)), button(t("Delete"), () => deleting(one.name), "danger")) },
    ],
  });
  return {
    title: () => t("Virtual hosts"),
    load: () => list.load(),
    view: () => list.view(button(t("New virtual host"), () => edit(), "primary")),
  };
}

async function edit(known) {
  let name = known?.name;
  const done = await form({
    title: known ? t("Change {name}", { name }) : t("New virtual host"),
    action: known ? t("Save") : t("Create"),
    fields: [
      !known && { name: "name", label: t("Name"), required: true },
      { name: "description", label: t("Description"), value: known?.description },
      { name: "tags", label: t("Tags, with commas between"), value: (known?.tags ?? []).join(",") },
    ].filter(Boolean),
    submit: async (values) => {
      name ??= values.name;
      await put(path("vhosts", name), { description: values.description, tags: values.tags });
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
  }, t("Virtual host {name} is deleted.", { name }));
}
