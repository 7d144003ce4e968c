// Line charts in SVG, and the short history they draw. Stretching the picture to its place leaves lines their width;
// numbers stand beside it as text, so that they neither stretch nor vanish for a screen reader.

import { h } from "./vdom.js";
import { t } from "./i18n.js";
import { byteRate, bytes, clock } from "./format.js";
import { redraw } from "./frame.js";

const WIDTH = 600;
const HEIGHT = 160;
const KEPT_MS = 600_000;
const GAP_MS = 15_000;

/** How the API is asked for all that it remembers. */
const PAST = Object.fromEntries(["lengths", "msg_rates", "data_rates"].flatMap((what) => [[`${what}_age`, 600], [`${what}_incr`, 5]]));

/** What has been seen since the page was opened, preceded by what the server remembers. */
export class History {
  #series = new Map();
  #seen = 0;

  /** What to ask the API for so that nothing is missing: its samples at first, and after a time that nobody looked. */
  get missing() {
    return Date.now() - this.#seen < GAP_MS ? {} : PAST;
  }

  /** Adds a value seen now. `details` are the API's samples; `rates` says that they count up. */
  add(name, value, details, rates = false) {
    const samples = details?.samples;
    if (samples) this.#series.set(name, rates ? slopes(ordered(samples)) : ordered(samples));
    if (typeof value === "number") this.#push(name, value);
    return this;
  }

  /** Puts what was before in front: points in time with values. */
  seed(name, points) {
    this.#series.set(name, points);
    return this;
  }

  #push(name, value) {
    const now = Date.now();
    // The last sample may be of a moment that is just to come.
    const kept = (this.#series.get(name) ?? []).filter(([at]) => at > now - KEPT_MS && at < now);
    this.#seen = now;
    this.#series.set(name, [...kept, [now, value]]);
  }

  of(name) {
    return this.#series.get(name) ?? [];
  }
}

const ordered = (samples) => samples.map((one) => [one.timestamp, one.sample]).sort((a, b) => a[0] - b[0]);

/** What a counter grew by in a second, at each point but the first. */
export function slopes(counts) {
  return counts.slice(1).map(([at, value], before) => {
    const [then, was] = counts[before];
    return [at, Math.max(0, ((value - was) * 1000) / (at - then))];
  });
}

const hovered = new Map();

/** `series` is `[{ label, points }]`, `format` turns a value into text. */
export function chart({ id, title, series, format }) {
  const all = series.flatMap((one) => one.points);
  const end = Math.max(...all.map(([at]) => at), Date.now() - 10_000);
  const start = Math.min(...all.map(([at]) => at), end - 60_000);
  const top = roundUp(Math.max(...all.map(([, value]) => value), 0), format === bytes || format === byteRate);
  const scale = { x: (at) => ((at - start) / (end - start)) * WIDTH, y: (value) => HEIGHT - (value / top) * (HEIGHT - 4) - 2 };
  const at = hovered.get(id);
  return h("figure", { class: "chart" },
    h("figcaption", null, title),
    h("div", { class: "plot" },
      h("div", { class: "axis", "aria-hidden": "true" }, [top, top / 2, 0].map((value) => h("span", null, format(value)))),
      picture({ id, title, series, scale, at, span: [start, end], format }),
      h("div", { class: "times", "aria-hidden": "true" }, h("span", null, clock(start)), h("span", null, at === undefined ? "" : clock(at)), h("span", null, clock(end)))),
    legend(series, at, format));
}

function picture({ id, title, series, scale, at, span: [start, end], format }) {
  const said = series.map((one) => `${one.label} ${format(valueAt(one.points))}`).join(", ");
  const hover = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    hovered.set(id, start + ((event.clientX - box.left) / box.width) * (end - start));
    redraw();
  };
  const leave = () => {
    hovered.delete(id);
    redraw();
  };
  return h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${said}`, onpointermove: hover, onpointerleave: leave },
    [0.25, 0.5, 0.75].map((part) => h("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part })),
    h("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 }),
    at !== undefined && h("line", { class: "cursor", x1: scale.x(at), x2: scale.x(at), y1: 0, y2: HEIGHT }),
    series.length === 1 && h("path", { class: "area s1", d: area(series[0].points, scale) }),
    series.map((one, index) => h("path", { class: `line s${(one.colour ?? index) + 1}`, d: line(one.points, scale) })));
}

/** A single point is a dot. */
const line = (points, { x, y }) => points.map(([at, value], index) => `${index === 0 ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("") + (points.length === 1 ? "h0" : "");

function area(points, scale) {
  if (points.length < 2) return "";
  return `${line(points, scale)}L${scale.x(points.at(-1)[0]).toFixed(1)} ${HEIGHT}L${scale.x(points[0][0]).toFixed(1)} ${HEIGHT}Z`;
}

function legend(series, at, format) {
  return h("ul", { class: "legend" },
    series.map((one, index) =>
      h("li", { class: `s${(one.colour ?? index) + 1}` }, h("i", { "aria-hidden": "true" }), h("span", null, one.label), " ", h("b", null, format(valueAt(one.points, at))))));
}

function valueAt(points, at) {
  if (at === undefined) return points.at(-1)?.[1];
  return points.findLast(([then]) => then <= at)?.[1] ?? points[0]?.[1];
}

/** The next of 1, 2, 5, 10, 20, 50 …, or of 1, 2, 4, 8 … for bytes. */
function roundUp(value, binary) {
  if (!(value > 0)) return 1;
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * size >= value) * size;
}

/** Bars over time, as for what is due when: `bars` is `[{ from, to, count }]` in milliseconds. */
export function histogram({ title, bars, label }) {
  const most = Math.max(...bars.map((bar) => bar.count), 1);
  const width = WIDTH / Math.max(bars.length, 1);
  return h("figure", { class: "chart" },
    h("figcaption", null, title),
    h("svg", { class: "bars", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${bars.filter((bar) => bar.count > 0).map(label).join(", ")}` },
      h("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 }),
      bars.map((bar, index) => {
        const height = bar.count === 0 ? 0 : Math.max(3, (bar.count / most) * (HEIGHT - 8));
        return h("rect", { class: "s1", x: (index * width + width * 0.08).toFixed(1), y: (HEIGHT - height).toFixed(1), width: (width * 0.84).toFixed(1), height: height.toFixed(1) }, h("title", null, label(bar)));
      })));
}

/** A bar that says how much of a limit is used. */
export function gauge(label, used, limit, text) {
  const part = limit > 0 ? Math.min(1, used / limit) : 0;
  return h("div", { class: "gauge" },
    h("div", { class: "gauge-text" }, h("span", null, label), h("span", null, text)),
    h("div", { class: "gauge-bar", role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.round(part * 100)), "aria-valuetext": text },
      h("div", { class: part > 0.9 ? "gauge-fill full" : "gauge-fill", css: { width: `${(part * 100).toFixed(1)}%` } })));
}
