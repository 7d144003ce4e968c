// How many connections, queues and channels virtual hosts and users may have.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get, path, put, remove } from "../api.js";
import { count } from "../format.js";
import { plainTable } from "../table.js";
import { act, button, card } from "../parts.js";
import { form } from "../dialog.js";
import { vhostField } from "./exchanges.js";

const KINDS = {
  "vhost-limits": { of: "vhost", limits: ["max-connections", "max-queues"] },
  "user-limits": { of: "user", limits: ["max-connections", "max-channels"] },
};

export function limitsPage() {
  return {
    title: () => t("Limits"),
    every: 15_000,
    async load() {
      const [vhosts, users] = await Promise.all([get("/api/vhost-limits"), get("/api/user-limits")]);
      return { vhosts, users };
    },
    view: ({ vhosts, users }) => [
      card(t("Virtual hosts"), list("vhost-limits", vhosts), h("div", { class: "actions" }, button(t("Set a limit"), () => edit("vhost-limits"), "primary"))),
      card(t("Users"), list("user-limits", users), h("div", { class: "actions" }, button(t("Set a limit"), () => edit("user-limits"), "primary"))),
    ],
  };
}

const list = (kind, items) => {
  const rows = items.flatMap((item) => Object.entries(item.value).map(([limit, value]) => ({ whose: item[KINDS[kind].of], limit, value })));
  return plainTable([
    { label: KINDS[kind].of === "user" ? t("User") : t("Virtual host"), cell: (one) => one.whose },
    { label: t("Limit"), cell: (one) => one.limit },
    { label: t("Value"), cell: (one) => count(one.value), number: true },
    { label: "", cell: (one) => button(t("Lift"), () => act(() => remove(path(kind, one.whose, one.limit)), t("The limit is lifted."))) },
  ], rows, (one) => `${one.whose} ${one.limit}`, t("No limit is set."));
};

async function edit(kind) {
  const whose = KINDS[kind].of === "user" ? { name: "vhost", label: t("User"), required: true } : vhostField();
  const done = await form({
    title: t("Set a limit"),
    action: t("Save"),
    fields: [whose, { name: "limit", label: t("Limit"), type: "select", options: KINDS[kind].limits }, { name: "value", label: t("Value"), type: "number", min: -1, required: true, hint: t("-1 is no limit") }],
    submit: ({ vhost, limit, value }) => put(path(kind, vhost, limit), { value }),
  });
  if (done) await act(async () => {}, t("Saved."));
}
