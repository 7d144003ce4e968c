// Questions and forms in a modal dialog. The browser's own <dialog> keeps the focus inside and closes on Escape.

import { h, render } from "./vdom.js";
import { t } from "./i18n.js";
import { explain } from "./refusals.js";

/** Asks before something that cannot be undone. With `typed`, that word has to be typed first. */
export function confirm({ title, text, action, typed }) {
  const asked = t("Type {name} to confirm", { name: typed });
  const fields = typed === undefined ? [] : [{ name: "typed", label: asked, required: true }];
  const submit = async (values) => {
    if (values.typed !== typed) throw new Error(asked);
  };
  return form({ title, text, action, danger: true, fields, submit });
}

/**
 * Shows a form; resolves to whether it was submitted. `submit` gets the values by field name, and when it
 * throws the form stays open and says why.
 */
export function form({ title, text, content, fields = [], action, danger = false, wide = false, submit }) {
  const host = document.getElementById("dialogs").appendChild(document.createElement("div"));
  return new Promise((resolve) => {
    const state = { error: "", busy: false };
    const finish = (result) => {
      host.remove();
      resolve(result);
    };
    const draw = () => render(host, view());
    const run = async (event) => {
      event.preventDefault();
      if (state.busy) return;
      Object.assign(state, { busy: true, error: "" });
      draw();
      try {
        await submit(valuesOf(event.target, fields));
        host.querySelector("dialog").close("done");
      } catch (error) {
        Object.assign(state, { busy: false, error: explain(error) });
        draw();
      }
    };
    const view = () =>
      h("dialog", { class: wide ? "wide" : "", "aria-labelledby": "dialog-title", created: (dialog) => dialog.showModal(), onclose: (event) => finish(event.target.returnValue === "done") },
        h("form", { onsubmit: run },
          h("h2", { id: "dialog-title" }, title),
          text && h("p", null, text),
          content,
          fields.map(field),
          h("p", { class: "error", role: "alert" }, state.error),
          h("div", { class: "actions" },
            h("button", { type: "button", onclick: () => host.querySelector("dialog").close() }, t("Cancel")),
            h("button", { type: "submit", class: danger ? "danger" : "primary", disabled: state.busy }, action))));
    draw();
  });
}

/** One labelled input. */
export function field(spec) {
  if (spec.group) return h("fieldset", { key: `group ${spec.group}` }, h("legend", null, spec.group), spec.fields.map(field));
  if (spec.type === "checkbox") {
    return h("label", { class: "check" }, h("input", { type: "checkbox", name: spec.name, checked: spec.value === true }), h("span", null, spec.label));
  }
  const hint = spec.hint && `hint-${spec.name}`;
  return h("label", { class: "field" }, h("span", null, spec.label), control(spec, hint), spec.hint && h("small", { id: hint }, spec.hint));
}

function control(spec, hint) {
  const common = { name: spec.name, required: spec.required === true, "aria-describedby": hint, onchange: spec.onchange };
  if (spec.type === "select") {
    return h("select", { ...common, value: spec.value ?? "" }, spec.options.map((option) => choice(option, spec.value)));
  }
  if (spec.type === "textarea" || spec.type === "json") {
    return h("textarea", { ...common, rows: spec.rows ?? 3, spellcheck: "false", value: spec.value ?? "", placeholder: spec.placeholder });
  }
  return h("input", { ...common, type: spec.type ?? "text", value: spec.value ?? "", placeholder: spec.placeholder, min: spec.min, step: spec.type === "number" ? "any" : undefined, list: spec.list, autocomplete: spec.autocomplete ?? "off", spellcheck: "false" });
}

function choice(option, chosen) {
  const [value, label] = Array.isArray(option) ? option : [option, option];
  return h("option", { value, selected: value === chosen }, label);
}

export function valuesOf(element, fields) {
  const data = new FormData(element);
  return Object.fromEntries(flatten(fields).map((spec) => [spec.name, valueOf(spec, data)]));
}

const flatten = (fields) => fields.flatMap((spec) => (spec.group ? flatten(spec.fields) : [spec]));

function valueOf(spec, data) {
  const text = data.get(spec.name);
  if (spec.type === "checkbox") return text !== null;
  if (spec.type === "number") return text === "" ? undefined : Number(text);
  if (spec.type === "json") return object(text, spec.label);
  return text;
}

function object(text, label) {
  if (text.trim() === "") return {};
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(t("{label} is no JSON: {reason}", { label, reason: error.message }));
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error(t("{label} has to be a JSON object, like {example}", { label, example: '{"key": "value"}' }));
  return value;
}
