// Messages that are held back: when they fall due, which they are, and what to do with them before that.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get, page, path, post, remove } from "../api.js";
import { count, moment, span } from "../format.js";
import { histogram } from "../chart.js";
import { plainTable } from "../table.js";
import { act, button, card, facts } from "../parts.js";
import { confirm, form } from "../dialog.js";
import { messageCard } from "../message.js";
import { link } from "../router.js";
import { redraw, reload } from "../frame.js";
import { vhost } from "../session.js";

const SHOWN = 100;

export function delayedPage() {
  return {
    title: () => t("Delayed messages"),
    async load() {
      const all = await get(vhost() ? path("delayed", vhost()) : "/api/delayed");
      return Array.isArray(all) ? all : all.items;
    },
    view: (exchanges) => [
      h("p", { class: "muted" }, t("Exchanges of type x-delayed-message hold a message back for as many milliseconds as its x-delay header says.")),
      plainTable([
        { label: t("Exchange"), cell: (one) => h("a", { href: link("delayed", one.vhost, one.name) }, one.name) },
        { label: t("Virtual host"), cell: (one) => one.vhost },
        { label: t("Held back"), cell: (one) => count(one.messages_delayed), number: true },
        { label: t("Next is due"), cell: (one) => due(one.next_due) },
      ], exchanges, (one) => `${one.vhost} ${one.name}`, t("There is no exchange of this type.")),
    ],
  };
}

const due = (at) => (typeof at === "number" ? `${moment(at)} (${fromNow(at)})` : "–");
const fromNow = (at) => (at > Date.now() ? t("in {span}", { span: span(at - Date.now()) }) : t("now"));
export function delayedExchangePage() { return { title: () => "", view: () => null }; }
