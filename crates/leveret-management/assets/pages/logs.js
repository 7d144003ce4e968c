// The newest lines of the broker's log.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get } from "../api.js";
import { moment } from "../format.js";
import { badge } from "../parts.js";
import { reload } from "../frame.js";

const LEVELS = ["error", "warn", "info", "debug"];
const KIND = { error: "bad", warn: "warn" };

export function logsPage() {
  let level = "info";
  let text = "";
  return {
    title: () => t("Logs"),
    every: 3000,
    load: () => get("/api/logs", { level, limit: 500 }),
    view: (lines) => [
      h("div", { class: "toolbar" },
        h("select", { "aria-label": t("Least level"), value: level, onchange: (event) => { level = event.target.value; reload(); } }, LEVELS.map((name) => h("option", { value: name, selected: name === level }, name))),
        h("input", { type: "search", class: "filter", placeholder: t("Lines that contain"), "aria-label": t("Lines that contain"), value: text, oninput: (event) => { text = event.target.value.toLowerCase(); reload(); } })),
      list(lines.filter((line) => text === "" || `${line.message} ${line.target}`.toLowerCase().includes(text))),
    ],
  };
}

function list(lines) {
  if (lines.length === 0) return h("p", { class: "empty" }, t("Nothing here."));
  return h("ol", { class: "log card" },
    lines.map((line) =>
      h("li", { key: line.id },
        h("time", null, moment(line.timestamp)), " ", badge(line.level, KIND[line.level]), " ", h("span", { class: "log-text" }, line.message))));
}
