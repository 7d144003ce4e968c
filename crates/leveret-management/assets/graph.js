// The picture of how messages flow: exchanges on the left, then exchanges they feed, then queues; a line is a binding,
// a dashed line is where dead letters or unroutable messages go.

import { h } from "./vdom.js";
import { t } from "./i18n.js";
import { link } from "./router.js";
import { exchangeName } from "./parts.js";

const BOX = { width: 190, height: 34, gap: 14, between: 200 };
const NAME_SHOWN = 25;

const idOf = (kind, name) => `${kind}:${name}`;

/**
 * `exchanges` and `queues` are API objects (or just names and arguments), `bindings` API bindings between them. What is bound but not
 * among the objects is drawn all the same. `focus` is the id, like `exchange:orders`, of what the page is about.
 */
export function topology({ vhost, exchanges, queues, bindings, focus }) {
  const nodes = new Map();
  const add = (kind, name, item = {}) => {
    const id = idOf(kind, name);
    if (!nodes.has(id)) nodes.set(id, { id, kind, name, item });
    return id;
  };
  exchanges.forEach((item) => add("exchange", item.name, item));
  queues.forEach((item) => add("queue", item.name, item));
  const edges = bindings.map((binding) => ({
    from: add("exchange", binding.source),
    to: add(binding.destination_type, binding.destination),
    label: labelOf(binding),
  }));
  for (const node of [...nodes.values()]) edges.push(...detours(node, add));
  const all = [...nodes.values()];
  const columns = arrange(all, edges);
  return picture({ vhost, all, edges: merged(edges), columns, focus });
}

function labelOf(binding) {
  if (binding.arguments && Object.keys(binding.arguments).length > 0) return JSON.stringify(binding.arguments);
  return binding.routing_key;
}

/** Where what a queue rejects, or an exchange cannot route, goes. */
function detours(node, add) {
  const { arguments: own = {}, effective_policy_definition: policy = {} } = node.item;
  const dead = own["x-dead-letter-exchange"] ?? policy?.["dead-letter-exchange"];
  const alternate = own["alternate-exchange"] ?? policy?.["alternate-exchange"];
  const edges = [];
  if (dead !== undefined && dead !== "") edges.push({ from: node.id, to: add("exchange", dead), label: t("dead letters"), detour: true });
  if (alternate !== undefined) edges.push({ from: node.id, to: add("exchange", alternate), label: t("unroutable"), detour: true });
  return edges;
}

/** One line from a box to another, whatever the number of bindings between them. */
function merged(edges) {
  const found = new Map();
  for (const edge of edges) {
    const key = `${edge.from} ${edge.to} ${edge.detour ?? false}`;
    const known = found.get(key);
    if (known) known.labels.push(edge.label);
    else found.set(key, { ...edge, labels: [edge.label] });
  }
  return [...found.values()];
}

/** Columns of ids: an exchange stands right of the exchanges that feed it, queues stand last. */
function arrange(nodes, edges) {
  const depth = new Map(nodes.map((node) => [node.id, 0]));
  const between = edges.filter((edge) => !edge.detour && edge.to.startsWith("exchange:"));
  for (let round = 0; round < 4; round++) {
    for (const { from, to } of between) depth.set(to, Math.min(4, Math.max(depth.get(to), depth.get(from) + 1)));
  }
  const last = Math.max(0, ...nodes.filter((node) => node.kind === "exchange").map((node) => depth.get(node.id))) + 1;
  const columns = Array.from({ length: last + 1 }, () => []);
  for (const node of nodes) columns[node.kind === "queue" ? last : depth.get(node.id)].push(node.id);
  return untangle(columns.filter((column) => column.length > 0), edges);
}

/** Orders each column by the middle of what its boxes are connected with, which keeps lines short. */
function untangle(columns, edges) {
  const rank = new Map();
  const number = () => columns.forEach((column) => column.forEach((id, index) => rank.set(id, index / column.length)));
  number();
  for (let round = 0; round < 4; round++) {
    for (const column of columns) {
      const middle = new Map(column.map((id) => {
        const others = edges.filter((edge) => edge.from === id || edge.to === id).map((edge) => rank.get(edge.from === id ? edge.to : edge.from));
        return [id, others.length === 0 ? rank.get(id) : others.reduce((sum, one) => sum + one, 0) / others.length];
      }));
      column.sort((a, b) => middle.get(a) - middle.get(b));
      number();
    }
  }
  return columns;
}

function picture({ vhost, all, edges, columns, focus }) {
  const tallest = Math.max(...columns.map((column) => column.length));
  const step = BOX.height + BOX.gap;
  const height = tallest * step + BOX.gap;
  const places = new Map();
  columns.forEach((column, x) => {
    const top = (height - column.length * step) / 2 + BOX.gap / 2;
    column.forEach((id, y) => places.set(id, { x: 10 + x * (BOX.width + BOX.between), y: top + y * step }));
  });
  const loops = edges.some((edge) => places.get(edge.from).x === places.get(edge.to).x);
  const width = columns.length * BOX.width + (columns.length - 1) * BOX.between + (loops ? 80 : 20);
  const labels = columns.length === 1 || edges.length <= 24 ? labelled(edges, places) : new Map();
  const lines = edges.map((edge) => edgeView(edge, places, focus, labels.get(edge)));
  const boxes = all.map((node) => boxView(node, places.get(node.id), vhost, focus));
  const name = t("{exchanges} exchanges and {queues} queues, {lines} connections", { exchanges: all.filter((node) => node.kind === "exchange").length, queues: all.filter((node) => node.kind === "queue").length, lines: edges.length });
  return h("div", { class: "graph", tabindex: "0", role: "group", "aria-label": name },
    h("svg", { viewBox: `0 0 ${width} ${height}`, css: { "max-width": `${width}px`, "min-width": `${Math.round(width * 0.72)}px` } },
      h("defs", null, h("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" }, h("path", { d: "M0 0L8 4L0 8z" }))),
      lines, boxes));
}

/** What is written at the end of which line: lines that come to a box from one side have their words said once, together. */
function labelled(edges, places) {
  const ends = new Map();
  for (const edge of edges) {
    const end = `${edge.to} ${places.get(edge.to).x > places.get(edge.from).x} ${edge.detour ?? false}`;
    ends.set(end, [...(ends.get(end) ?? []), edge]);
  }
  return new Map([...ends.values()].map((together) => [together[0], [...new Set(together.map(said))].join(", ")]));
}

const said = (edge) => edge.labels.map((label) => label || t("(no key)")).join(", ");

function edgeView(edge, places, focus, label) {
  const from = places.get(edge.from);
  const to = places.get(edge.to);
  // Forward from the right side to the left one, backward the other way; within a column around its right side.
  const forward = to.x > from.x;
  const start = { x: to.x < from.x ? from.x : from.x + BOX.width, y: from.y + BOX.height / 2 };
  const end = { x: forward ? to.x - 2 : to.x + BOX.width + 2, y: to.y + BOX.height / 2 };
  const bend = Math.max(Math.abs(end.x - start.x) / 2, 60);
  const curve = `M${start.x} ${start.y}C${start.x + (to.x < from.x ? -bend : bend)} ${start.y} ${forward ? end.x - bend : end.x + bend} ${end.y} ${end.x} ${end.y}`;
  const near = focus !== undefined && (edge.from === focus || edge.to === focus);
  return h("g", { class: `edge ${edge.detour ? "detour" : ""} ${near ? "near" : ""}` },
    h("title", null, `${edge.from} → ${edge.to}: ${said(edge)}`),
    h("path", { d: curve, "marker-end": "url(#arrow)" }),
    label !== undefined && h("text", { x: end.x + (forward ? -10 : 12), y: end.y - 6, "text-anchor": forward ? "end" : "start" }, shortened(label, 24)));
}

function boxView(node, { x, y }, vhost, focus) {
  const name = node.kind === "exchange" ? exchangeName(node.name) : node.name;
  const said = node.kind === "exchange" ? t("Exchange {name}", { name }) : t("Queue {name}", { name });
  return h("a", { href: link(`${node.kind}s`, vhost, node.name), class: `box ${node.kind} ${node.id === focus ? "focus" : ""}`, "aria-label": said },
    h("title", null, said),
    h("rect", { x, y, width: BOX.width, height: BOX.height, rx: node.kind === "queue" ? 4 : BOX.height / 2 }),
    h("text", { x: x + BOX.width / 2, y: y + BOX.height / 2 + 4.5, "text-anchor": "middle" }, shortened(name, NAME_SHOWN)));
}

const shortened = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);
