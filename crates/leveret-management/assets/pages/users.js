// Users, and what one of them may do.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get, path, put, remove } from "../api.js";
import { List, plainTable } from "../table.js";
import { act, badge, button, card, facts } from "../parts.js";
import { confirm, form } from "../dialog.js";
import { go, link } from "../router.js";
import { me } from "../session.js";
import { vhostField } from "./exchanges.js";

const tagsOf = (user) => (Array.isArray(user.tags) ? user.tags : String(user.tags ?? "").split(",")).filter(Boolean);
const badges = (user) => h("span", { class: "badges" }, tagsOf(user).map((tag) => badge(tag)));

export function usersPage(_, query) {
  const list = new List({
    url: () => "/api/users",
    query,
    rowKey: (one) => one.name,
    columns: [
      { label: t("User"), sort: "name", cell: (one) => h("a", { href: link("users", one.name) }, one.name) },
      { label: t("Tags"), cell: badges },
      { label: t("Can sign in with a password"), cell: (one) => (one.password_hash ? t("yes") : t("no")) },
    ],
  });
  return {
    title: () => t("Users"),
    load: () => list.load(),
    view: () => list.view(button(t("New user"), () => edit(), "primary")),
  };
}

const TAGS = ["administrator", "monitoring", "policymaker", "management"];

const TAG_HINTS = {
  administrator: () => t("everything, also users, virtual hosts and definitions"),
  monitoring: () => t("sees all connections, nodes and logs"),
  policymaker: () => t("sets policies"),
  management: () => t("this interface, for what the user's permissions allow"),
};

/** Without a user: a new one. */
async function edit(user) {
  const tags = user ? tagsOf(user) : [];
  const others = tags.filter((tag) => !TAGS.includes(tag));
  let name = user?.name;
  const done = await form({
    title: user ? t("Change {name}", { name: user.name }) : t("New user"),
    action: user ? t("Save") : t("Create"),
    fields: [
      !user && { name: "name", label: t("Name"), required: true },
      { name: "password", label: t("Password"), type: "password", required: !user, autocomplete: "new-password", hint: user && t("left as it is, if empty") },
      { group: t("Tags"), fields: TAGS.map((tag) => ({ name: `tag ${tag}`, label: `${tag}: ${TAG_HINTS[tag]()}`, type: "checkbox", value: tags.includes(tag) })) },
    ].filter(Boolean),
    submit: async (values) => {
      name ??= values.name;
      const chosen = [...TAGS.filter((tag) => values[`tag ${tag}`]), ...others].join(",");
      const secret = values.password ? { password: values.password } : { password_hash: user?.password_hash ?? "", hashing_algorithm: user?.hashing_algorithm };
      await put(path("users", name), { ...secret, tags: chosen });
    },
  });
  if (!done) return;
  await act(async () => {}, t("User {name} is saved.", { name }));
  if (!user) go(link("users", name));
}

export function userPage([name]) {
  const own = path("users", name);
  return {
    title: () => t("User {name}", { name }),
    async load() {
      const [user, permissions, topics] = await Promise.all([get(own), get(`${own}/permissions`), get(`${own}/topic-permissions`)]);
      return { user, permissions, topics };
    },
    view: ({ user, permissions, topics }) => [
      h("div", { class: "toolbar" }, h("span", { class: "grow" }), button(t("Change"), () => edit(user)), name !== me()?.name && button(t("Delete"), () => deleting(own, name), "danger")),
      card(t("Details"), facts([[t("Tags"), badges(user)], [t("Can sign in with a password"), user.password_hash ? t("yes") : t("no")], [t("Password hash"), user.hashing_algorithm]])),
      permissions.length === 0 && h("div", { class: "notice" }, t("This user may enter no virtual host yet.")),
      card(t("Permissions"), h("p", { class: "muted" }, t("Regular expressions for the names of queues and exchanges that the user may declare, write to and read from.")), permissionTable(name, permissions), h("div", { class: "actions" }, button(t("Set a permission"), () => permit(name)))),
      card(t("Topic permissions"), h("p", { class: "muted" }, t("Regular expressions for routing keys on a topic exchange; without one, every key is allowed.")), topicTable(name, topics), h("div", { class: "actions" }, button(t("Set a topic permission"), () => permitTopic(name)))),
    ],
  };
}

const permissionTable = (user, permissions) =>
  plainTable([
    { label: t("Virtual host"), cell: (one) => one.vhost },
    { label: t("Configure"), cell: (one) => h("code", null, one.configure) },
    { label: t("Write"), cell: (one) => h("code", null, one.write) },
    { label: t("Read"), cell: (one) => h("code", null, one.read) },
    { label: "", cell: (one) => h("span", { class: "actions" }, button(t("Change"), () => permit(user, one)), button(t("Revoke"), () => revoking("permissions", one.vhost, user))) },
  ], permissions, (one) => one.vhost);

const topicTable = (user, topics) =>
  plainTable([
    { label: t("Virtual host"), cell: (one) => one.vhost },
    { label: t("Exchange"), cell: (one) => one.exchange },
    { label: t("Write"), cell: (one) => h("code", null, one.write) },
    { label: t("Read"), cell: (one) => h("code", null, one.read) },
    { label: "", cell: (one) => h("span", { class: "actions" }, button(t("Change"), () => permitTopic(user, one)), button(t("Revoke"), () => revoking("topic-permissions", one.vhost, user))) },
  ], topics, (one) => `${one.vhost} ${one.exchange}`);

function permit(user, known) {
  return saved({
    title: t("Permission of {user}", { user }),
    fields: [
      known ? { ...vhostField(), value: known.vhost, options: [known.vhost] } : vhostField(),
      { name: "configure", label: t("Configure"), value: known?.configure ?? ".*", hint: t("declare and delete") },
      { name: "write", label: t("Write"), value: known?.write ?? ".*", hint: t("publish to exchanges, bind queues") },
      { name: "read", label: t("Read"), value: known?.read ?? ".*", hint: t("consume, get, purge, bind to exchanges") },
    ],
    submit: ({ vhost, ...patterns }) => put(path("permissions", vhost, user), patterns),
  });
}

function permitTopic(user, known) {
  return saved({
    title: t("Topic permission of {user}", { user }),
    fields: [
      known ? { ...vhostField(), value: known.vhost, options: [known.vhost] } : vhostField(),
      { name: "exchange", label: t("Exchange"), value: known?.exchange ?? "amq.topic", required: true },
      { name: "write", label: t("Write"), value: known?.write ?? ".*" },
      { name: "read", label: t("Read"), value: known?.read ?? ".*" },
    ],
    submit: ({ vhost, ...patterns }) => put(path("topic-permissions", vhost, user), patterns),
  });
}

async function saved(question) {
  if (await form({ ...question, action: t("Save") })) await act(async () => {}, t("Saved."));
}

async function revoking(kind, vhost, user) {
  const sure = await confirm({ title: t("Revoke?"), text: t("{user} loses this permission in {vhost} at once.", { user, vhost }), action: t("Revoke") });
  if (sure) await act(() => remove(path(kind, vhost, user)), t("Revoked."));
}

async function deleting(own, name) {
  const sure = await confirm({ title: t("Delete user {name}?", { name }), text: t("Clients that sign in as this user are refused from now on."), action: t("Delete") });
  if (!sure) return;
  await act(() => remove(own), t("User {name} is deleted.", { name }), () => go(link("users")));
}
