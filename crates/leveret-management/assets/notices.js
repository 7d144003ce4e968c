// Short messages that say what was done, read out by screen readers, gone by themselves.

import { h, render } from "./vdom.js";
import { t } from "./i18n.js";

const SHOWN_MS = 6000;
let next = 0;
let notices = [];

export const say = (text) => add(text, "done");
export const complain = (error) => add(explain(error), "failed");

/** What the API says where it has nothing to add. */
const NO_WORDS = new Set(["Not Found", "vhost_not_found"]);

/** An error as a sentence. */
export function explain(error) {
  if (error.status === 0) return t("Leveret does not answer.");
  if (error.status === 404 && NO_WORDS.has(error.message)) return t("It is not there, or not any more.");
  if (error.status === 401) return t("Not allowed: {reason}", { reason: error.message });
  return error.message || t("It failed, and no reason was given.");
}

function add(text, kind) {
  const notice = { id: next++, text, kind };
  notices = [...notices, notice];
  draw();
  setTimeout(() => drop(notice.id), SHOWN_MS);
}

function drop(id) {
  notices = notices.filter((notice) => notice.id !== id);
  draw();
}

function draw() {
  render(document.getElementById("notices"), notices.map(view));
}

const view = (notice) =>
  h("div", { key: notice.id, class: `notice ${notice.kind}` },
    h("span", null, notice.text),
    h("button", { type: "button", class: "plain", "aria-label": t("Dismiss"), onclick: () => drop(notice.id) }, "×"));
