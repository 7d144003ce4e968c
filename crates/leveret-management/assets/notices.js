// Short messages that say what was done, read out by screen readers, gone by themselves.

import { h, render } from "./vdom.js";
import { t } from "./i18n.js";
import { explain } from "./refusals.js";

const SHOWN_MS = 6000;
let next = 0;
let notices = [];

export const say = (text) => add(text, "done");
export const complain = (error) => add(explain(error), "failed");

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
