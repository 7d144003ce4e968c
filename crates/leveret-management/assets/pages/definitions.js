// Definitions out to a file and in from one.

import { h } from "../vdom.js";
import { t } from "../i18n.js";
import { get, path, post } from "../api.js";
import { card } from "../parts.js";
import { confirm, field } from "../dialog.js";
import { complain, say } from "../notices.js";
import { knownVhosts, refreshVhosts } from "../session.js";
import { redraw } from "../frame.js";

const KINDS = ["vhosts", "users", "permissions", "topic_permissions", "parameters", "global_parameters", "policies", "exchanges", "queues", "bindings"];

export function definitionsPage() {
  let whose = "";
  const whole = (name) => ({ name: "vhost", label: t("Of"), type: "select", options: [["", t("everything")], ...knownVhosts()], value: whose, onchange: (event) => { whose = event.target.value; redraw(); } , key: name });
  return {
    title: () => t("Definitions"),
    every: 3_600_000,
    view: () => [
      card(t("Export"),
        h("p", null, t("Users, virtual hosts, permissions, policies, exchanges, queues and bindings as a JSON file. Messages are not in it; passwords are, hashed.")),
        field(whole("out")),
        h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => save(whose) }, t("Save as a file")))),
      card(t("Import"),
        h("p", null, t("What the file defines is added; what exists already stays. Files of RabbitMQ can be imported too.")),
        h("form", { class: "inline", onsubmit: (event) => restore(event, whose) },
          h("label", { class: "field" }, h("span", null, t("File")), h("input", { type: "file", name: "file", accept: ".json,application/json", required: true })),
          h("div", { class: "actions" }, h("button", { class: "primary" }, t("Import"))))),
    ],
  };
}

const address = (vhost) => (vhost === "" ? "/api/definitions" : path("definitions", vhost));

async function save(vhost) {
  try {
    const definitions = await get(address(vhost));
    const blob = new Blob([JSON.stringify(definitions, null, 2)], { type: "application/json" });
    const anchor = document.createElement("a");
    anchor.href = URL.createObjectURL(blob);
    anchor.download = `definitions-${new Date().toISOString().slice(0, 10)}.json`;
    anchor.click();
    URL.revokeObjectURL(anchor.href);
  } catch (error) {
    complain(error);
  }
}

async function restore(event, vhost) {
  event.preventDefault();
  const element = event.target;
  try {
    const definitions = read(await element.elements.file.files[0].text());
    const found = KINDS.filter((kind) => definitions[kind]?.length > 0).map((kind) => `${kind}: ${definitions[kind].length}`).join(", ");
    const sure = await confirm({ title: t("Import these definitions?"), text: found, action: t("Import") });
    if (!sure) return;
    await post(address(vhost), definitions);
    await refreshVhosts();
    element.reset();
    say(t("The definitions are imported."));
  } catch (error) {
    complain(error);
  }
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(t("The file is no JSON: {reason}", { reason: error.message }));
  }
}
