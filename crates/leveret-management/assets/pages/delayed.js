// Messages that are held back: when they fall due, which they are, and what to do with them before that.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get, path, post, put, remove } from "../api.js";
import { bytes, count, moment, span } from "../format.js";
import { histogram } from "../chart.js";
import { plainTable } from "../table.js";
import { act, button, card, facts, vhostColumn } from "../parts.js";
import { confirm, form } from "../dialog.js";
import { messageCard } from "../message.js";
import { link } from "../router.js";
import { reload } from "../frame.js";
import { vhost } from "../session.js";

const LISTED = 100;
const BARS = 48;
const TYPING_MS = 300;
/** How far ahead one can look. */
const SPANS = [[3_600_000, () => t("an hour ahead")], [86_400_000, () => t("a day ahead")], [7 * 86_400_000, () => t("a week ahead")], [365 * 86_400_000, () => t("a year ahead")]];

const fromNow = (at) => (at > Date.now() ? t("in {span}", { span: span(at - Date.now()) }) : t("now"));
const due = (at) => (typeof at === "number" ? `${moment(at)} (${fromNow(at)})` : "–");

export function delayedPage() {
  return {
    title: () => t("Delayed messages"),
    async load() {
      const found = await get(vhost() ? path("delayed", vhost()) : "/api/delayed");
      return Array.isArray(found) ? found : found.items;
    },
    view: (exchanges) => card(null,
      h("p", { class: "muted" }, t("Exchanges of type x-delayed-message hold a message back for as many milliseconds as its x-delay header says.")),
      plainTable([
        { label: t("Exchange"), cell: (one) => h("a", { href: link("delayed", one.vhost, one.name) }, one.name) },
        vhostColumn(),
        { label: t("Held back"), cell: (one) => count(one.messages_delayed), number: true },
        { label: t("Size"), cell: (one) => bytes(one.bytes), number: true },
        { label: t("Next is due"), cell: (one) => due(one.next_due) },
      ].filter(Boolean), exchanges, (one) => `${one.vhost} ${one.name}`, t("There is no exchange of this type."))),
  };
}

export function delayedExchangePage([host, name]) {
  const own = path("delayed", host, name);
  let ahead = SPANS[1][0];
  let wanted = "";
  let typing = 0;
  const search = (text) => {
    clearTimeout(typing);
    typing = setTimeout(() => { wanted = text.trim(); reload(); }, TYPING_MS);
  };
  return {
    title: () => t("Delayed in {name}", { name }),
    async load() {
      const from = Date.now();
      const [totals, timeline, messages] = await Promise.all([
        get(own),
        get(`${own}/histogram`, { from, to: from + ahead, bars: BARS }),
        get(`${own}/messages`, { limit: LISTED, message_id: wanted }),
      ]);
      return { totals, timeline, messages };
    },
    view: ({ totals, timeline, messages }) => [
      h("div", { class: "toolbar" }, h("span", { class: "grow" }),
        h("a", { class: "button", href: link("exchanges", host, name) }, t("Publish to it")),
        button(t("Cancel all"), () => cancellingAll(own, totals), "danger")),
      card(null, h("div", { class: "toolbar" }, h("span", { class: "grow" }), spanChoice(ahead, (span) => { ahead = span; reload(); })), dueBars(timeline)),
      card(t("Details"), facts([
        [t("Held back"), count(totals.messages_delayed)],
        [t("Size"), bytes(totals.bytes)],
        [t("Next is due"), due(totals.next_due)],
        [t("Released so far"), count(totals.released)],
        [t("Cancelled so far"), count(totals.cancelled)],
        [t("Dropped, their route being gone"), count(totals.dropped)],
      ])),
      card(t("Messages"),
        h("div", { class: "toolbar" },
          h("input", { type: "search", class: "filter", placeholder: t("Find by message_id"), "aria-label": t("Find by message_id"), value: wanted, oninput: (event) => search(event.target.value) }),
          wanted !== "" && messages.length > 0 && button(t("Cancel those found"), () => cancellingFound(own, wanted), "danger")),
        list(own, messages),
        messages.length >= LISTED && h("p", { class: "muted" }, t("The first {count} are listed, the next to fall due first.", { count: LISTED }))),
    ],
  };
}

const spanChoice = (ahead, choose) =>
  h("select", { "aria-label": t("How far ahead"), value: String(ahead), onchange: (event) => choose(Number(event.target.value)) },
    SPANS.map(([span, label]) => h("option", { value: String(span), selected: span === ahead }, label())));

/** The API leaves out stretches of time without messages. */
function dueBars({ from, to, cells }) {
  const step = (to - from) / BARS;
  const bars = Array.from({ length: BARS }, (_, index) => ({ from: from + index * step, count: 0 }));
  for (const cell of cells) bars[Math.max(0, Math.min(BARS - 1, Math.floor((cell.from - from) / step)))].count += cell.messages;
  return [
    histogram({ title: t("When they fall due"), bars, label: (bar) => t("{count} within {span} from {time}", { count: count(bar.count), span: span(step), time: moment(bar.from) }) }),
    h("div", { class: "times" }, h("span", null, moment(from)), h("span", null, t("a bar is {span}", { span: span(step) })), h("span", null, moment(to))),
  ];
}

const list = (own, messages) =>
  plainTable([
    { label: t("Due"), cell: (one) => h("span", { class: "two-lines" }, moment(one.due), h("small", null, fromNow(one.due))) },
    { label: t("Routing key"), cell: (one) => one.routing_key },
    { label: "message_id", cell: (one) => one.properties?.message_id ?? "" },
    { label: t("Size"), cell: (one) => bytes(one.payload_bytes), number: true },
    { label: "", cell: (one) => actions(own, one) },
  ], messages, (one) => one.id, t("No message is found."));

const actions = (own, message) =>
  h("span", { class: "actions" },
    button(t("Show"), () => showing(message)),
    button(t("Reschedule"), () => rescheduling(own, message)),
    button(t("Release now"), () => act(() => post(`${own}/messages/${message.id}/release`), t("The message is released."))),
    button(t("Cancel it"), () => cancelling(own, message), "danger"));

const showing = (message) =>
  form({ title: t("Delayed message"), wide: true, content: messageCard(message, 0), action: t("Close"), submit: async () => {} });

async function rescheduling(own, message) {
  const done = await form({
    title: t("Reschedule"),
    action: t("Save"),
    fields: [{ name: "delay_ms", label: t("Due from now in ms"), type: "number", min: 0, required: true, value: Math.max(0, message.due - Date.now()) }],
    submit: ({ delay_ms }) => put(`${own}/messages/${message.id}`, { delay_ms: Math.round(delay_ms) }),
  });
  if (done) await act(async () => {}, t("The message waits until its new time."));
}

async function cancelling(own, message) {
  const sure = await confirm({ title: t("Cancel this message?"), text: t("It is never delivered. This cannot be undone."), action: t("Cancel it") });
  if (sure) await act(() => remove(`${own}/messages/${message.id}`), t("The message is cancelled."));
}

async function cancellingFound(own, id) {
  const sure = await confirm({ title: t("Cancel all messages with message_id {id}?", { id }), text: t("They are never delivered. This cannot be undone."), action: t("Cancel those found") });
  if (sure) await act(() => remove(`${own}/messages`, { query: { message_id: id } }), t("The messages are cancelled."));
}

async function cancellingAll(own, totals) {
  const sure = await confirm({ title: t("Cancel all {count} delayed messages?", { count: count(totals.messages_delayed) }), text: t("They are never delivered. This cannot be undone."), action: t("Cancel all") });
  if (sure) await act(() => remove(`${own}/messages`), t("The messages are cancelled."));
}
