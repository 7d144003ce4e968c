// Channels: all of them, and one of them.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get, path } from "../api.js";
import { count, rate, yesNo } from "../format.js";
import { History } from "../chart.js";
import { List, plainTable } from "../table.js";
import { badge, card, facts, queueLink, state, vhostColumn } from "../parts.js";
import { link } from "../router.js";
import { vhost } from "../session.js";
import { rateChart, seeRates } from "./overview.js";

export const channelColumns = () => [
  { label: t("Channel"), sort: "name", cell: (one) => h("a", { href: link("channels", one.name) }, one.name) },
  { label: t("User"), sort: "user", cell: (one) => one.user },
  vhostColumn(),
  { label: t("Mode"), cell: modes },
  { label: t("State"), sort: "state", cell: (one) => state(one.state) },
  { label: t("Consumers"), sort: "consumer_count", number: true, cell: (one) => count(one.consumer_count) },
  { label: t("Prefetch"), sort: "prefetch_count", number: true, cell: (one) => count(one.prefetch_count) },
  { label: t("Unacked"), sort: "messages_unacknowledged", number: true, cell: (one) => count(one.messages_unacknowledged) },
  { label: t("Unconfirmed"), sort: "messages_unconfirmed", number: true, cell: (one) => count(one.messages_unconfirmed) },
  { label: t("Publish"), sort: "message_stats.publish_details.rate", number: true, cell: (one) => rate(one.message_stats?.publish_details?.rate) },
  { label: t("Deliver"), sort: "message_stats.deliver_get_details.rate", number: true, cell: (one) => rate(one.message_stats?.deliver_get_details?.rate) },
];

const modes = (channel) =>
  h("span", { class: "badges" }, channel.confirm && badge("C", "", t("publisher confirms")), channel.transactional && badge("T", "", t("transactional")));

export function channelsPage(_, query) {
  const list = new List({
    url: () => (vhost() ? path("vhosts", vhost(), "channels") : "/api/channels"),
    query,
    rowKey: (one) => one.name,
    empty: t("No channel is open."),
    columns: channelColumns(),
  });
  return { title: () => t("Channels"), load: () => list.load(), view: () => list.view() };
}

export function channelPage([name]) {
  const history = new History();
  return {
    title: () => t("Channel {name}", { name }),
    async load() {
      const channel = await get(path("channels", name), history.missing);
      seeRates(history, channel.message_stats);
      return channel;
    },
    view: (channel) => [
      card(null, rateChart(history)),
      card(t("Details"), facts([
        [t("Connection"), channel.connection_details && h("a", { href: link("connections", channel.connection_details.name) }, channel.connection_details.name)],
        [t("User"), channel.user],
        [t("Virtual host"), channel.vhost],
        [t("State"), state(channel.state)],
        [t("Publisher confirms"), yesNo(channel.confirm)],
        [t("Transactional"), yesNo(channel.transactional)],
        [t("Prefetch of each consumer"), count(channel.prefetch_count)],
        [t("Prefetch of the channel"), count(channel.global_prefetch_count)],
        [t("Unacknowledged"), count(channel.messages_unacknowledged)],
        [t("Unconfirmed"), count(channel.messages_unconfirmed)],
        [t("Uncommitted"), count(channel.messages_uncommitted)],
      ])),
      card(t("Consumers"), consumers(channel.consumer_details ?? [])),
    ],
  };
}

const consumers = (all) =>
  plainTable([
    { label: t("Consumer tag"), cell: (one) => one.consumer_tag },
    { label: t("Queue"), cell: (one) => queueLink(one.queue) },
    { label: t("Acknowledges"), cell: (one) => yesNo(one.ack_required) },
    { label: t("Exclusive"), cell: (one) => yesNo(one.exclusive) },
    { label: t("Prefetch"), cell: (one) => count(one.prefetch_count), number: true },
  ], all, (one) => one.consumer_tag, t("It consumes nothing."));
