// Connections: all of them, and one of them.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get, path, remove } from "../api.js";
import { byteRate, bytes, count, moment } from "../format.js";
import { chart, History } from "../chart.js";
import { List } from "../table.js";
import { act, button, card, facts, state, table, vhostColumn } from "../parts.js";
import { form } from "../dialog.js";
import { go, link } from "../router.js";
import { vhost } from "../session.js";
import { channelColumns } from "./channels.js";

const FIELDS = "name,user_provided_name,client_properties.connection_name,user,vhost,state,ssl,channels,connected_at,recv_oct_details,send_oct_details,protocol";

const label = (connection) => connection.user_provided_name ?? connection.client_properties?.connection_name;

export function connectionsPage(_, query) {
  const list = new List({
    url: () => (vhost() ? path("vhosts", vhost(), "connections") : "/api/connections"),
    query,
    fields: FIELDS,
    rowKey: (one) => one.name,
    empty: t("Nobody is connected."),
    columns: [
      { label: t("Connection"), sort: "name", cell: (one) => h("span", { class: "two-lines" }, h("a", { href: link("connections", one.name) }, label(one) ?? one.name), label(one) && h("small", null, one.name)) },
      { label: t("User"), sort: "user", cell: (one) => one.user },
      vhostColumn(),
      { label: t("State"), sort: "state", cell: (one) => state(one.state) },
      { label: "TLS", sort: "ssl", cell: (one) => (one.ssl ? t("yes") : t("no")) },
      { label: t("Channels"), sort: "channels", number: true, cell: (one) => count(one.channels) },
      { label: t("From client"), sort: "recv_oct_details.rate", number: true, cell: (one) => byteRate(one.recv_oct_details?.rate) },
      { label: t("To client"), sort: "send_oct_details.rate", number: true, cell: (one) => byteRate(one.send_oct_details?.rate) },
      { label: t("Since"), sort: "connected_at", cell: (one) => moment(one.connected_at) },
    ],
  });
  return { title: () => t("Connections"), load: () => list.load(), view: () => list.view() };
}

/** Bytes from clients and to them, of a connection or of all of a virtual host. */
export function seeTraffic(history, item) {
  history.add("in", item.recv_oct_details?.rate, item.recv_oct_details, true);
  history.add("out", item.send_oct_details?.rate, item.send_oct_details, true);
}

export const trafficChart = (history) =>
  chart({ id: "bytes", title: t("Data rates"), format: byteRate, series: [{ label: t("From client"), points: history.of("in") }, { label: t("To client"), points: history.of("out") }] });

export function connectionPage([name]) {
  const history = new History();
  const channels = new List({ url: () => path("connections", name, "channels"), columns: channelColumns(), rowKey: (one) => one.name, filterable: false, inAddress: false, empty: t("No channel is open.") });
  return {
    title: () => t("Connection {name}", { name }),
    async load() {
      const [connection] = await Promise.all([get(path("connections", name), history.missing), channels.load()]);
      seeTraffic(history, connection);
      return connection;
    },
    view: (connection) => [
      h("div", { class: "toolbar" }, h("span", { class: "grow" }), button(t("Close the connection"), () => closing(name), "danger")),
      card(null, trafficChart(history)),
      card(t("Details"), facts(details(connection))),
      card(t("Channels"), channels.view()),
      card(t("What the client says of itself"), facts(Object.entries(connection.client_properties ?? {}).map(([key, value]) => [key, typeof value === "object" ? table(value) : String(value)]))),
    ],
  };
}

const details = (connection) => [
  [t("Name given by the client"), label(connection)],
  [t("User"), connection.user],
  [t("Virtual host"), connection.vhost],
  [t("State"), state(connection.state)],
  [t("Protocol"), connection.protocol],
  [t("Authentication"), connection.auth_mechanism],
  ["TLS", connection.ssl ? [connection.ssl_protocol, connection.ssl_cipher].filter(Boolean).join(" ") : t("no")],
  [t("Certificate"), connection.peer_cert_subject],
  [t("Heartbeat"), `${connection.timeout} s`],
  [t("Largest frame"), bytes(connection.frame_max)],
  [t("Most channels"), count(connection.channel_max)],
  [t("Received"), bytes(connection.recv_oct)],
  [t("Sent"), bytes(connection.send_oct)],
  [t("Since"), moment(connection.connected_at)],
];

async function closing(name) {
  let reason = "";
  const sure = await form({
    title: t("Close the connection?"),
    text: t("The client at {name} is cut off. Most clients connect again by themselves; unacknowledged messages go back to their queues.", { name }),
    action: t("Close the connection"),
    danger: true,
    fields: [{ name: "reason", label: t("Reason that the client is told"), value: t("closed by an operator") }],
    submit: async (values) => { reason = values.reason; },
  });
  if (!sure) return;
  // Header values are Latin-1: other letters would be refused by the browser.
  const safe = /^[\x20-\x7e]+$/.test(reason) ? reason : "closed by an operator";
  await act(() => remove(path("connections", name), { headers: { "x-reason": safe } }), t("The connection is closed."), () => go(link("connections")));
}
