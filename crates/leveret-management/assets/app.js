// The application: which page an address opens, and what stands around every page.

import "./theme.js";
import { h, render } from "./vdom.js";
import { t, language, setLanguage, LANGUAGES } from "./i18n.js";
import { theme, setTheme } from "./theme.js";
import { here, link } from "./router.js";
import { close, current, mount, open, redraw, reload } from "./frame.js";
import { resume, logout, me, isAdministrator, isMonitoring, isPolicymaker, knownVhosts, setVhost, vhost } from "./session.js";
import { complain } from "./notices.js";
import { explain } from "./refusals.js";
import { loginPage } from "./pages/login.js";
import { overviewPage } from "./pages/overview.js";
import { connectionsPage, connectionPage } from "./pages/connections.js";
import { channelsPage, channelPage } from "./pages/channels.js";
import { exchangesPage } from "./pages/exchanges.js";
import { exchangePage } from "./pages/exchange.js";
import { queuesPage } from "./pages/queues.js";
import { queuePage } from "./pages/queue.js";
import { delayedPage, delayedExchangePage } from "./pages/delayed.js";
import { bindingsPage } from "./pages/bindings.js";
import { usersPage, userPage } from "./pages/users.js";
import { vhostsPage, vhostPage } from "./pages/vhosts.js";
import { policiesPage } from "./pages/policies.js";
import { limitsPage } from "./pages/limits.js";
import { definitionsPage } from "./pages/definitions.js";
import { logsPage } from "./pages/logs.js";

const everyone = () => true;

/** Section, its words, who sees it, its pages by how many names the address has. */
const SECTIONS = [
  { name: "overview", label: () => t("Overview"), who: everyone, pages: [overviewPage] },
  { name: "connections", label: () => t("Connections"), who: everyone, pages: [connectionsPage, connectionPage] },
  { name: "channels", label: () => t("Channels"), who: everyone, pages: [channelsPage, channelPage] },
  { name: "exchanges", label: () => t("Exchanges"), who: everyone, pages: [exchangesPage, null, exchangePage] },
  { name: "queues", label: () => t("Queues"), who: everyone, pages: [queuesPage, null, queuePage] },
  { name: "delayed", label: () => t("Delayed messages"), who: everyone, pages: [delayedPage, null, delayedExchangePage] },
  { name: "bindings", label: () => t("Topology"), who: everyone, pages: [bindingsPage] },
  { name: "users", label: () => t("Users"), who: isAdministrator, pages: [usersPage, userPage], group: true },
  { name: "vhosts", label: () => t("Virtual hosts"), who: isAdministrator, pages: [vhostsPage, vhostPage] },
  { name: "policies", label: () => t("Policies"), who: isPolicymaker, pages: [policiesPage] },
  { name: "limits", label: () => t("Limits"), who: isAdministrator, pages: [limitsPage] },
  { name: "definitions", label: () => t("Definitions"), who: isAdministrator, pages: [definitionsPage] },
  { name: "logs", label: () => t("Logs"), who: isMonitoring, pages: [logsPage] },
];

let signIn = null;
let menuOpen = false;

function route() {
  if (signIn) return;
  const { segments, query } = here();
  const section = SECTIONS.find(({ name }) => name === (segments[0] ?? "overview"));
  const make = section?.who() ? section.pages[Math.max(0, segments.length - 1)] : null;
  const page = make ? make(segments.slice(1), query) : missing;
  menuOpen = false;
  open({ ...page, section: section?.name }).catch(complain);
  scrollTo(0, 0);
  document.getElementById("main")?.focus({ preventScroll: true });
}

const missing = {
  title: () => t("No such page"),
  view: () => h("p", null, t("There is nothing at this address, or your user may not see it.")),
};

function draw() {
  const shown = current();
  document.title = signIn ? t("Sign in – Leveret") : `${shown?.page.title() ?? ""} – Leveret`;
  render(document.getElementById("app"), signIn ? signInView() : frameView(shown));
}

const signInView = () => h("div", { key: "sign-in", class: "sign-in" }, signIn(), h("div", { class: "settings" }, languageChoice(), themeChoice()));

function frameView(shown) {
  return h("div", { key: "frame", class: menuOpen ? "frame menu-open" : "frame" },
    h("a", { class: "skip", href: "#main", onclick: skip }, t("Skip to the content")),
    header(),
    h("nav", { id: "menu", class: "sections", "aria-label": t("Sections") }, h("ul", null, SECTIONS.filter(({ who }) => who()).map((section) => menuItem(section, shown))), h("div", { class: "settings" }, languageChoice(), themeChoice())),
    h("main", { id: "main", tabindex: "-1" }, shown && pageView(shown)));
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function header() {
  return h("header", { class: "top" },
    h("button", { type: "button", class: "menu-button", "aria-expanded": String(menuOpen), "aria-controls": "menu", onclick: toggleMenu }, h("span", { "aria-hidden": "true" }, "☰"), h("span", { class: "hidden" }, t("Menu"))),
    h("a", { class: "brand", href: "#/overview" }, h("img", { src: "/ui/leveret.svg", alt: "", width: 28, height: 28 }), h("span", null, "Leveret")),
    h("span", { class: "grow" }),
    knownVhosts().length > 1 && vhostChoice(),
    h("span", { class: "user" }, me()?.name),
    h("button", { type: "button", onclick: leave }, t("Sign out")));
}

function toggleMenu() {
  menuOpen = !menuOpen;
  redraw();
}

const menuItem = (section, shown) =>
  h("li", { class: section.group ? "group" : undefined },
    h("a", { href: link(section.name), "aria-current": shown?.page.section === section.name ? "page" : undefined }, section.label()));

function vhostChoice() {
  const choose = (event) => {
    setVhost(event.target.value);
    route();
  };
  return h("select", { class: "vhost", "aria-label": t("Virtual host"), value: vhost(), onchange: choose },
    h("option", { value: "" }, t("All virtual hosts")),
    knownVhosts().map((name) => h("option", { value: name, selected: name === vhost() }, name)));
}

function languageChoice() {
  const choose = (event) => {
    setLanguage(event.target.value);
    if (signIn) redraw();
    else route();
  };
  return h("select", { class: "language", "aria-label": t("Language"), value: language(), onchange: choose },
    Object.entries(LANGUAGES).map(([code, name]) => h("option", { value: code, selected: code === language() }, name)));
}

function themeChoice() {
  const choose = (event) => {
    setTheme(event.target.value);
    redraw();
  };
  const names = [["auto", t("System theme")], ["light", t("Light")], ["dark", t("Dark")]];
  return h("select", { class: "theme", "aria-label": t("Theme"), value: theme(), onchange: choose },
    names.map(([value, name]) => h("option", { value, selected: value === theme() }, name)));
}

function pageView({ page, data, error }) {
  return h("div", { key: location.hash.split("?")[0], class: "page" },
    h("h1", null, page.title()),
    error && h("div", { class: "notice failed", role: "alert" }, h("span", null, explain(error)), h("button", { type: "button", onclick: reload }, t("Try again"))),
    data === undefined ? !error && h("p", { class: "muted" }, t("Loading…")) : page.view(data));
}

async function leave() {
  try {
    await logout();
  } catch (error) {
    complain(error);
  }
  showSignIn();
}

function showSignIn() {
  close();
  signIn = loginPage(() => {
    signIn = null;
    route();
  });
  redraw();
}

async function begin() {
  mount(draw, showSignIn);
  window.addEventListener("hashchange", route);
  try {
    if (await resume()) route();
    else showSignIn();
  } catch (error) {
    complain(error);
    setTimeout(begin, 3000);
  }
}

begin();
