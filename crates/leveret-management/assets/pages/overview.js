// The state of the broker at a glance, moving.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get } from "../api.js";
import { isMonitoring } from "../session.js";
import { bytes, count, milliseconds, rate, short, span } from "../format.js";
import { chart, gauge, History, slopes } from "../chart.js";
import { badge, card, facts } from "../parts.js";
import { plainTable } from "../table.js";
import { link } from "../router.js";

/** What moves through a broker, a queue, a channel: the API's names and ours. */
export const RATES = [
  ["publish", () => t("Publish"), 0],
  ["publish_in", () => t("Published in"), 0],
  ["publish_out", () => t("Routed out"), 2],
  ["confirm", () => t("Confirm"), 2],
  ["deliver_get", () => t("Deliver"), 1],
  ["ack", () => t("Acknowledge"), 3],
  ["redeliver", () => t("Redeliver"), 4],
  ["return_unroutable", () => t("Return"), 5],
];

const LENGTHS = [
  ["messages_ready", () => t("Ready"), 0],
  ["messages_unacknowledged", () => t("Unacknowledged"), 1],
  ["messages_delayed", () => t("Delayed"), 3],
];

export function seeLengths(history, totals) {
  for (const [name] of LENGTHS) history.add(name, totals?.[name], totals?.[`${name}_details`]);
}

export function seeRates(history, stats) {
  for (const [name] of RATES) history.add(`${name} rate`, stats?.[`${name}_details`]?.rate, stats?.[`${name}_details`], true);
}

const seriesOf = (history, names, suffix = "") =>
  names.map(([name, label, colour]) => ({ label: label(), colour, points: history.of(name + suffix) })).filter(({ points }) => points.length > 0);

export const lengthChart = (history) => chart({ id: "lengths", title: t("Messages waiting"), series: seriesOf(history, LENGTHS), format: short });
export const rateChart = (history) => chart({ id: "rates", title: t("Message rates"), series: seriesOf(history, RATES, " rate"), format: rate });

export function overviewPage() {
  const history = new History();
  let seeded = false;
  return {
    title: () => t("Overview"),
    async load() {
      if (!seeded) seed(history, await get("/api/statistics/history"));
      seeded = true;
      const [overview, nodes] = await Promise.all([get("/api/overview"), isMonitoring() ? get("/api/nodes") : []]);
      seeLengths(history, { messages_ready: 0, messages_unacknowledged: 0, ...overview.queue_totals });
      const still = { publish_details: { rate: 0 }, deliver_get_details: { rate: 0 } };
      seeRates(history, { ...still, ...overview.message_stats });
      for (const node of nodes) seeNode(history, node);
      return { overview, nodes };
    },
    view: ({ overview, nodes }) => [
      alarms(nodes),
      tiles(overview.object_totals ?? {}, overview.queue_totals ?? {}),
      h("div", { class: "charts" }, card(null, lengthChart(history)), card(null, rateChart(history))),
      nodes.map((node) => nodeView(node, history)),
      addresses(overview),
    ],
  };
}

const STEP = 5;
const GAUGES = { messages_ready: "messages_ready", messages_unacknowledged: "messages_unacknowledged", messages_delayed: "messages_delayed", memory: "memory_bytes", disk: "disk_free_bytes", sync: "io_sync_avg_time" };

/** The last minutes, as the broker remembers them: arrays of equal length, a value a second. */
function seed(history, remembered) {
  const times = remembered.at_ms ?? [];
  const points = (values) => times.map((at, index) => [at, values[index]]).filter((_, index) => index % STEP === 0);
  for (const [name, field] of Object.entries(GAUGES)) if (remembered[field]?.length > 0) history.seed(name, points(remembered[field]));
  const delivered = remembered.deliver?.map((count, index) => count + remembered.get[index]);
  const counters = { publish: remembered.publish, confirm: remembered.confirm, deliver_get: delivered, ack: remembered.ack, redeliver: remembered.redeliver };
  for (const [name, counts] of Object.entries(counters)) if (counts) history.seed(`${name} rate`, slopes(points(counts)));
}

function seeNode(history, node) {
  history.add("memory", node.mem_used, node.mem_used_details);
  history.add("disk", node.disk_free, node.disk_free_details);
  history.add("sync", node.io_sync_avg_time, node.io_sync_avg_time_details);
}

function alarms(nodes) {
  const memory = nodes.some((node) => node.mem_alarm);
  const disk = nodes.some((node) => node.disk_free_alarm);
  return [
    memory && h("div", { class: "notice failed", role: "alert" }, t("Memory is low: publishers are blocked until it is freed.")),
    disk && h("div", { class: "notice failed", role: "alert" }, t("Disk space is low: publishers are blocked until it is freed.")),
  ];
}

function tiles(objects, totals) {
  const tile = (label, value, section) => h("a", { class: "tile", href: link(section) }, h("b", null, short(value ?? 0)), h("span", null, label));
  return h("div", { class: "tiles" },
    tile(t("Messages"), totals.messages, "queues"),
    tile(t("Connections"), objects.connections, "connections"),
    tile(t("Channels"), objects.channels, "channels"),
    tile(t("Exchanges"), objects.exchanges, "exchanges"),
    tile(t("Queues"), objects.queues, "queues"),
    tile(t("Consumers"), objects.consumers, "queues"));
}

function nodeView(node, history) {
  const one = (id, title, name, format, colour) => chart({ id, title, format, series: [{ label: title, colour, points: history.of(name) }] });
  return card(t("Node {name}", { name: node.name }),
    h("div", { class: "gauges" },
      gauge(t("Memory"), node.mem_used, node.mem_limit, node.mem_limit > 0 ? t("{used} of {limit}", { used: bytes(node.mem_used), limit: bytes(node.mem_limit) }) : bytes(node.mem_used)),
      node.fd_total > 0 && gauge(t("Open files"), node.fd_used, node.fd_total, t("{used} of {limit}", { used: count(node.fd_used), limit: count(node.fd_total) }))),
    h("div", { class: "charts three" },
      one("memory", t("Memory"), "memory", bytes),
      one("disk", t("Free disk space"), "disk", bytes),
      history.of("sync").length > 0 && one("sync", t("Journal sync latency"), "sync", milliseconds)),
    facts([
      [t("Up for"), span(node.uptime)],
      [t("Disk alarm below"), bytes(node.disk_free_limit)],
      [t("Processors"), node.processors],
      [t("Process"), node.os_pid],
      [t("Data"), node.db_dir],
    ]));
}

function addresses(overview) {
  const listeners = overview.listeners ?? [];
  return card(t("Broker"),
    facts([
      [t("Version"), `${overview.product_name ?? ""} ${overview.product_version ?? ""}`],
      [t("Cluster"), overview.cluster_name],
      [t("Exchange types"), h("span", { class: "badges" }, (overview.exchange_types ?? []).map((type) => badge(type.name)))],
    ]),
    listeners.length > 0 && plainTable([
      { label: t("Protocol"), cell: (one) => one.protocol },
      { label: t("Address"), cell: (one) => one.ip_address },
      { label: t("Port"), cell: (one) => String(one.port), number: true },
    ], listeners, (one) => `${one.protocol} ${one.ip_address} ${one.port}`));
}
