// Calls to the HTTP API, with its errors and its paging. Nothing here knows a page.

export class ApiError extends Error {
  /** `kind` is the API's word for it; `not_authorized` says that nobody is signed in, `not_authorised` that they may not. */
  constructor(status, reason, kind = "") {
    super(reason);
    this.status = status;
    this.signedOut = status === 401 && kind === "not_authorized";
  }
}

/** A path from its segments: `path("queues", "/", "a/b")` is `/api/queues/%2F/a%2Fb`. */
export function path(...segments) {
  return "/api/" + segments.map(encodeURIComponent).join("/");
}

/** The header is what tells a call of this page from a link or form on somebody else's. */
async function call(method, url, body, headers = {}) {
  const request = { method, headers: { "x-leveret-ui": "1", ...headers }, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    request.body = JSON.stringify(body);
    request.headers["content-type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(url, request);
  } catch {
    throw new ApiError(0, "");
  }
  const text = await answer.text();
  const value = parsed(text);
  if (!answer.ok) throw new ApiError(answer.status, reasonOf(value, answer), value?.error);
  return value;
}

function parsed(text) {
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return text;
  }
}

function reasonOf(value, answer) {
  const reason = value?.reason ?? value?.error ?? answer.statusText;
  return typeof reason === "string" ? reason : JSON.stringify(reason);
}

function withQuery(url, query) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") words.set(name, value);
  }
  const text = words.toString();
  return text === "" ? url : `${url}?${text}`;
}

export const get = (url, query = {}) => call("GET", withQuery(url, query));
export const put = (url, body) => call("PUT", url, body ?? {});
export const post = (url, body) => call("POST", url, body ?? {});
export const remove = (url, { query = {}, headers } = {}) => call("DELETE", withQuery(url, query), undefined, headers);

/**
 * One page of a list: `{ items, page, pages, total, filtered }`. Lists that the API does not page are filtered, sorted
 * and cut here.
 */
export async function page(url, { page: number = 1, size = 50, name = "", regex = false, sort, reverse = false, columns, extra = {} }) {
  const query = { ...extra, page: number, page_size: size, name, use_regex: regex, sort, sort_reverse: reverse, columns };
  const answer = await get(url, query);
  if (!Array.isArray(answer)) {
    return { items: answer.items, page: answer.page, pages: Math.max(1, answer.page_count), total: answer.total_count, filtered: answer.filtered_count };
  }
  return cut(answer, { number, size, name, regex, sort, reverse });
}

function cut(all, { number, size, name, regex, sort, reverse }) {
  const matches = matcher(name, regex);
  const found = all.filter((item) => matches(searchable(item)));
  if (sort) found.sort((a, b) => compare(field(a, sort), field(b, sort)) * (reverse ? -1 : 1));
  const pages = Math.max(1, Math.ceil(found.length / size));
  const at = Math.min(number, pages);
  return { items: found.slice((at - 1) * size, at * size), page: at, pages, total: all.length, filtered: found.length };
}

const searchable = (item) => [item.name, item.user, item.vhost, item.source, item.destination, item.routing_key].filter(Boolean).join(" ");
const field = (item, dotted) => dotted.split(".").reduce((value, name) => value?.[name], item);

function matcher(name, regex) {
  if (!name) return () => true;
  if (!regex) return (text) => text.toLowerCase().includes(name.toLowerCase());
  try {
    const pattern = new RegExp(name, "i");
    return (text) => pattern.test(text);
  } catch {
    throw new ApiError(400, `not a regular expression: ${name}`);
  }
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""));
}
