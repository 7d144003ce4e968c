// Policies and operator policies: settings for all queues or exchanges whose name matches.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get, path, put, remove } from "../api.js";
import { plainTable } from "../table.js";
import { act, button, card, table } from "../parts.js";
import { confirm, form } from "../dialog.js";
import { isAdministrator, vhost } from "../session.js";
import { vhostField } from "./exchanges.js";

const all = (kind) => (vhost() ? path(kind, vhost()) : `/api/${kind}`);

export function policiesPage() {
  return {
    title: () => t("Policies"),
    every: 15_000,
    async load() {
      const [own, operators] = await Promise.all([get(all("policies")), get(all("operator-policies")).catch(() => [])]);
      return { own, operators };
    },
    view: ({ own, operators }) => [
      card(t("Policies"), h("p", { class: "muted" }, t("Of several that match a name, the one with the highest priority holds.")), list("policies", own), h("div", { class: "actions" }, button(t("New policy"), () => edit("policies"), "primary"))),
      card(t("Operator policies"), h("p", { class: "muted" }, t("They limit what policies and arguments may set: the lower value holds.")), list("operator-policies", operators), isAdministrator() && h("div", { class: "actions" }, button(t("New operator policy"), () => edit("operator-policies")))),
    ],
  };
}

const list = (kind, policies) =>
  plainTable([
    { label: t("Policy"), cell: (one) => one.name },
    { label: t("Virtual host"), cell: (one) => one.vhost },
    { label: t("Pattern"), cell: (one) => h("code", null, one.pattern) },
    { label: t("Applies to"), cell: (one) => one["apply-to"] },
    { label: t("Priority"), cell: (one) => String(one.priority), number: true },
    { label: t("Definition"), cell: (one) => table(one.definition) },
    { label: "", cell: (one) => h("span", { class: "actions" }, button(t("Change"), () => edit(kind, one)), button(t("Delete"), () => deleting(kind, one), "danger")) },
  ], policies, (one) => `${one.vhost} ${one.name}`, t("There is none."));

async function edit(kind, known) {
  const done = await form({
    title: known ? t("Change {name}", { name: known.name }) : kind === "policies" ? t("New policy") : t("New operator policy"),
    action: t("Save"),
    fields: [
      known ? { ...vhostField(), options: [known.vhost], value: known.vhost } : vhostField(),
      { name: "name", label: t("Name"), required: true, value: known?.name },
      { name: "pattern", label: t("Pattern"), required: true, value: known?.pattern, placeholder: "^orders\\.", hint: t("a regular expression for names") },
      { name: "apply_to", label: t("Applies to"), type: "select", options: kind === "policies" ? ["all", "queues", "exchanges"] : ["queues"], value: known?.["apply-to"] ?? "queues" },
      { name: "priority", label: t("Priority"), type: "number", value: known?.priority ?? 0 },
      { name: "definition", label: t("Definition, as JSON"), type: "json", rows: 5, required: true, value: known ? JSON.stringify(known.definition, null, 2) : "", placeholder: '{"message-ttl": 60000, "max-length": 10000}' },
    ],
    submit: ({ vhost: host, name, pattern, apply_to, priority, definition }) => put(path(kind, host, name), { pattern, definition, priority: priority ?? 0, "apply-to": apply_to }),
  });
  if (done) await act(async () => {}, t("Saved."));
}

async function deleting(kind, one) {
  const sure = await confirm({ title: t("Delete policy {name}?", { name: one.name }), text: t("Queues and exchanges that it matched take the next policy that matches them, or none."), action: t("Delete") });
  if (sure) await act(() => remove(path(kind, one.vhost, one.name)), t("Policy {name} is deleted.", { name: one.name }));
}
