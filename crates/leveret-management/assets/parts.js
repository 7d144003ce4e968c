// The small pieces that pages are made of.

import { h } from "./vdom.js";
import { t } from "./i18n.js";
import { link } from "./router.js";
import { complain, say } from "./notices.js";
import { reload } from "./frame.js";
import { knownVhosts } from "./session.js";

export const card = (title, ...content) => h("section", { class: "card" }, title && h("h2", null, title), content);

/** A card that is shut until somebody wants it. */
export const drawer = (title, ...content) =>
  h("details", { class: "card drawer" }, h("summary", null, h("h2", null, title)), h("div", { class: "drawer-body" }, content));

/** Names and values; values that are absent are left out. */
export function facts(pairs) {
  const present = pairs.filter(([, value]) => value !== undefined && value !== null && value !== false && value !== "");
  return h("dl", { class: "facts" }, present.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

export const badge = (text, kind = "", title) => h("span", { class: `badge ${kind}`, title }, text);

export const button = (label, onclick, kind = "") => h("button", { type: "button", class: kind, onclick }, label);

export const exchangeName = (name) => (name === "" ? t("(default)") : name);

export const queueLink = (queue) => h("a", { href: link("queues", queue.vhost, queue.name) }, queue.name);
export const exchangeLink = (exchange) => h("a", { href: link("exchanges", exchange.vhost, exchange.name) }, exchangeName(exchange.name));

/** A list's column, where there are several. */
export const vhostColumn = () => knownVhosts().length > 1 && { label: t("Virtual host"), sort: "vhost", cell: (one) => one.vhost };

/** A field table as JSON, short. */
export const table = (value) => h("code", { class: "wrap" }, JSON.stringify(value));
export const hasFields = (value) => value && Object.keys(value).length > 0;

/** What kind of queue or exchange it is, as small signs. */
export function features(item) {
  const signs = [];
  if (item.durable) signs.push(badge("D", "", t("durable")));
  if (item.auto_delete) signs.push(badge("AD", "", t("deleted when unused")));
  if (item.exclusive) signs.push(badge(t("excl"), "", t("exclusive to a connection")));
  if (item.internal) signs.push(badge("I", "", t("internal: clients cannot publish to it")));
  for (const [name, [short, text]] of Object.entries(ARGUMENTS)) {
    if (item.arguments?.[name] !== undefined) signs.push(badge(short, "", `${t(text)}: ${JSON.stringify(item.arguments[name])}`));
  }
  if (item.policy) signs.push(badge(item.policy, "accent", t("policy")));
  return h("span", { class: "badges" }, signs);
}

const ARGUMENTS = {
  "x-message-ttl": ["TTL", "time to live of messages, in ms"],
  "x-expires": ["Exp", "expires when unused for, in ms"],
  "x-max-length": ["Lim", "most messages"],
  "x-max-length-bytes": ["LimB", "most bytes"],
  "x-dead-letter-exchange": ["DLX", "dead letters go to exchange"],
  "x-dead-letter-routing-key": ["DLK", "dead letters get the routing key"],
  "x-max-priority": ["Pri", "highest priority"],
  "x-single-active-consumer": ["SAC", "one consumer at a time"],
  "alternate-exchange": ["AE", "what finds no queue goes to exchange"],
  "x-delayed-type": ["delayed", "routes, once due, like an exchange of type"],
};

export function state(text) {
  const good = ["running", "flow"].includes(text);
  return h("span", { class: good ? "state good" : "state" }, STATES[text]?.() ?? text ?? "–");
}

const STATES = { running: () => t("running"), flow: () => t("flow"), blocked: () => t("blocked"), blocking: () => t("blocking"), idle: () => t("idle") };

/** Does something, says that it is done, and fetches anew or goes where `then` leads; or says why it was not done. */
export async function act(work, done, then = reload) {
  try {
    await work();
  } catch (error) {
    complain(error);
    return reload();
  }
  say(done);
  return then();
}
