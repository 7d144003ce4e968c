// Lists: a page of rows from the API, with a filter, sorting and paging whose state stands in the address.
// Only one page is ever fetched, however long the list is.

import { h } from "./vdom.js";
import { t } from "./i18n.js";
import { page } from "./api.js";
import { count } from "./format.js";
import { setQuery } from "./router.js";
import { redraw, reload } from "./frame.js";

const SIZES = [25, 50, 100, 500];
const TYPING_MS = 250;
/** Letters from which on a cell may break anywhere. */
const LONG = 40;

/**
 * A list. `columns` are `{ label, sort, cell, number }`; `url` is a function, because the virtual host may change.
 * `state` keeps filter, order and page, and begins with what the address says.
 */
export class List {
  constructor({ url, columns, rowKey, query = {}, fields, sort, extra, empty, filterable = true, inAddress = true }) {
    columns = columns.filter(Boolean);
    Object.assign(this, { url, columns, rowKey, fields, extra, empty, filterable, inAddress });
    this.sort = query.sort ?? sort ?? columns.find((column) => column.sort)?.sort;
    this.reverse = query.dir === "desc";
    this.name = query.name ?? "";
    this.regex = query.regex === "1";
    this.number = Math.max(1, Number(query.page) || 1);
    this.size = SIZES.includes(Number(query.size)) ? Number(query.size) : 50;
    this.typing = 0;
  }

  async load() {
    this.answer = await page(this.url(), { page: this.number, size: this.size, name: this.name, regex: this.regex, sort: this.sort, reverse: this.reverse, columns: this.fields, extra: this.extra });
    return this.answer;
  }

  #change(change) {
    Object.assign(this, change);
    if (this.inAddress) {
      const plain = { name: this.name, regex: this.regex ? "1" : "", page: this.number > 1 ? this.number : "", size: this.size === 50 ? "" : this.size, sort: this.sort, dir: this.reverse ? "desc" : "" };
      setQuery(plain);
    }
    redraw();
    return reload();
  }

  #type(text) {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.#change({ name: text, number: 1 }), TYPING_MS);
  }

  view(...tools) {
    return h("div", { class: "list" }, this.#toolbar(tools), this.#table(), this.#pager());
  }

  #toolbar(tools) {
    return h("div", { class: "toolbar" },
      this.filterable && h("input", { type: "search", class: "filter", placeholder: t("Filter by name"), "aria-label": t("Filter by name"), value: this.name, oninput: (event) => this.#type(event.target.value) }),
      this.filterable && h("label", { class: "check" }, h("input", { type: "checkbox", checked: this.regex, onchange: (event) => this.#change({ regex: event.target.checked, number: 1 }) }), h("span", null, t("Regular expression"))),
      h("span", { class: "grow" }),
      tools);
  }

  #table() {
    if (!this.answer) return h("p", { class: "muted" }, t("Loading…"));
    if (this.answer.items.length === 0) return h("p", { class: "empty" }, this.name ? t("Nothing matches “{name}”.", { name: this.name }) : this.empty ?? t("Nothing here."));
    return h("div", { class: "table-frame" },
      h("table", null,
        h("thead", null, h("tr", null, this.columns.map((column) => this.#heading(column)))),
        h("tbody", null, this.answer.items.map((item) => row(item, this.columns, this.rowKey)))));
  }

  #heading(column) {
    const kind = column.number ? "number" : undefined;
    if (!column.sort) return heading(column);
    const active = this.sort === column.sort;
    const order = active ? (this.reverse ? "descending" : "ascending") : "none";
    const sort = () => this.#change({ sort: column.sort, reverse: active ? !this.reverse : column.number === true, number: 1 });
    return h("th", { scope: "col", class: kind, "aria-sort": order },
      h("button", { type: "button", class: "plain sort", onclick: sort }, column.label, h("span", { "aria-hidden": "true" }, active ? (this.reverse ? " ↓" : " ↑") : "")));
  }

  #pager() {
    if (!this.answer) return null;
    const { page: number, pages, total, filtered } = this.answer;
    const shown = filtered === total ? t("{total} in all", { total: count(total) }) : t("{filtered} of {total}", { filtered: count(filtered), total: count(total) });
    const turn = (to) => () => this.#change({ number: to });
    return h("nav", { class: "pager", "aria-label": t("Pages") },
      h("span", { class: "muted" }, shown),
      h("span", { class: "grow" }),
      pages > 1 && h("button", { type: "button", disabled: number <= 1, onclick: turn(number - 1) }, t("Previous")),
      pages > 1 && h("span", null, t("Page {page} of {pages}", { page: count(number), pages: count(pages) })),
      pages > 1 && h("button", { type: "button", disabled: number >= pages, onclick: turn(number + 1) }, t("Next")),
      total > SIZES[0] && h("select", { "aria-label": t("Rows a page"), value: String(this.size), onchange: (event) => this.#change({ size: Number(event.target.value), number: 1 }) },
        SIZES.map((size) => h("option", { value: String(size) }, String(size)))));
  }
}

/** Over buttons there is a word for those who do not see them. */
const heading = (column) =>
  h("th", { scope: "col", class: column.number ? "number" : undefined }, column.label || h("span", { class: "hidden" }, t("Actions")));

const row = (item, columns, rowKey) =>
  h("tr", { key: rowKey(item) },
    columns.map((column, index) => {
      const cell = column.cell(item);
      const props = { "data-label": column.label, class: column.number ? "number" : lengthOf(cell) > LONG ? "long" : undefined };
      return index === 0 ? h("th", { ...props, scope: "row" }, cell) : h("td", props, cell);
    }));

/** How many letters it shows. */
function lengthOf(content) {
  if (typeof content === "string") return content.length;
  if (Array.isArray(content)) return content.reduce((sum, one) => sum + lengthOf(one), 0);
  return content?.text?.length ?? lengthOf(content?.children ?? "");
}

/** A short table that needs no paging. */
export function plainTable(columns, items, rowKey, empty) {
  if (items.length === 0) return h("p", { class: "empty" }, empty ?? t("Nothing here."));
  return h("div", { class: "table-frame" },
    h("table", null,
      h("thead", null, h("tr", null, columns.map(heading))),
      h("tbody", null, items.map((item) => row(item, columns, rowKey)))));
}
