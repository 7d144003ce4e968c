// Who is signed in, and what their tags let them see. The session itself is a cookie that no script can read.

import { get, post, remove } from "./api.js";

const KEY = "vhost";

let user = null;
let vhosts = [];

export const me = () => user;
export const knownVhosts = () => vhosts;

/** Whether somebody is signed in already. */
export async function resume() {
  const known = await get("/api/session");
  if (known === null) return false;
  await enter(known);
  return true;
}

export async function login(username, password) {
  await enter(await post("/api/session", { username, password }));
}

export async function logout() {
  user = null;
  await remove("/api/session");
}

async function enter(whoami) {
  user = whoami;
  await refreshVhosts();
}

export async function refreshVhosts() {
  const answer = await get("/api/vhosts", { columns: "name" });
  vhosts = (Array.isArray(answer) ? answer : answer.items).map((vhost) => vhost.name).sort();
}

const tags = () => (Array.isArray(user?.tags) ? user.tags : String(user?.tags ?? "").split(",")).map((tag) => tag.trim());

/** What a tag allows contains what the tags below it allow. */
export const isAdministrator = () => tags().includes("administrator");
export const isMonitoring = () => isAdministrator() || tags().includes("monitoring");
export const isPolicymaker = () => isAdministrator() || tags().includes("policymaker");

/** The virtual host that lists are confined to, or "" for all. */
export function vhost() {
  const kept = sessionStorage.getItem(KEY) ?? "";
  return vhosts.includes(kept) ? kept : "";
}

export const setVhost = (name) => sessionStorage.setItem(KEY, name);

/** The virtual host that forms begin with. */
export const likelyVhost = () => vhost() || (vhosts.includes("/") ? "/" : vhosts[0] ?? "/");
