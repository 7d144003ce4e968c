// Messages, readably: JSON indented, text as it is, anything else as hex.

import { h } from "./vdom.js";
import { t } from "./i18n.js";
import { bytes, count, moment } from "./format.js";
import { badge, facts, hasFields, table } from "./parts.js";

const HEX_SHOWN = 4096;

/** The body as bytes, whichever way the API encoded it. */
export function bodyOf(message) {
  if (message.payload_encoding !== "base64") return new TextEncoder().encode(message.payload);
  const text = atob(message.payload);
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

/** `{ kind, text }`: the kind is "JSON", "text" or "hex". */
export function readable(body) {
  const text = asText(body);
  if (text === null) return { kind: "hex", text: hex(body) };
  try {
    const value = JSON.parse(text);
    if (value !== null && typeof value === "object") return { kind: "JSON", text: JSON.stringify(value, null, 2) };
  } catch {
    // Text, then.
  }
  return { kind: "text", text };
}

function asText(body) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(body);
    // Control characters say that it is something else that happens to be UTF-8.
    return /[\u0000-\u0008\u000e-\u001f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

/** Rows of 16 bytes: offset, hex, and the letters among them. */
export function hex(body) {
  const rows = [];
  for (let at = 0; at < Math.min(body.length, HEX_SHOWN); at += 16) {
    const row = [...body.subarray(at, at + 16)];
    const codes = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const letters = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    rows.push(`${at.toString(16).padStart(6, "0")}  ${codes.padEnd(47)}  ${letters}`);
  }
  if (body.length > HEX_SHOWN) rows.push(t("… {count} bytes more", { count: count(body.length - HEX_SHOWN) }));
  return rows.join("\n");
}

export function messageCard(message, index) {
  const body = bodyOf(message);
  const shown = readable(body);
  const { headers, ...properties } = message.properties ?? {};
  const cut = message.payload_bytes > body.length;
  return h("article", { class: "message", key: `message ${index}` },
    h("header", null,
      h("b", null, `#${index + 1}`),
      badge(shown.kind, "accent"),
      message.redelivered && badge(t("redelivered")),
      h("span", { class: "muted" }, bytes(message.payload_bytes ?? body.length)),
      cut && h("span", { class: "muted" }, t("only the beginning is shown"))),
    facts([
      [t("Exchange"), message.exchange === "" ? t("(default)") : message.exchange],
      [t("Routing key"), message.routing_key],
      ...Object.entries(properties ?? {}).map(([name, value]) => [name, property(name, value)]),
    ]),
    hasFields(headers) && h("div", { class: "headers" }, facts(Object.entries(headers).map(([name, value]) => [name, typeof value === "object" ? table(value) : String(value)]))),
    h("pre", { tabindex: "0", "aria-label": t("Body") }, shown.text === "" ? t("(empty)") : shown.text));
}

function property(name, value) {
  if (name === "delivery_mode") return value === 2 ? t("2, persistent") : t("1, transient");
  if (name === "timestamp") return moment(value * 1000);
  return typeof value === "object" ? table(value) : String(value);
}

/** The fields of a form that makes a message, and what the API wants of them. */
export function publishFields(delayed) {
  return [
    { name: "payload", label: t("Body"), type: "textarea", rows: 6 },
    { name: "persistent", label: t("Persistent: kept on disk by durable queues"), type: "checkbox", value: true },
    { name: "binary", label: t("The body is base64"), type: "checkbox" },
    delayed && { name: "delay", label: t("Delay in ms"), type: "number", min: 0, value: 60000 },
    { name: "content_type", label: "content_type", placeholder: "application/json" },
    { name: "headers", label: t("Headers, as JSON"), type: "json", placeholder: '{"x-tenant": 7}' },
    { name: "properties", label: t("More properties, as JSON"), type: "json", placeholder: '{"correlation_id": "42", "expiration": "60000"}' },
  ].filter(Boolean);
}

export function publishBody(values, routingKey) {
  const headers = { ...values.headers };
  if (values.delay !== undefined) headers["x-delay"] = values.delay;
  const properties = { delivery_mode: values.persistent ? 2 : 1, headers, ...values.properties };
  if (values.content_type) properties.content_type = values.content_type;
  return { properties, routing_key: routingKey, payload: values.payload, payload_encoding: values.binary ? "base64" : "string" };
}
