// Addresses after the `#`: `#/queues/%2F/orders?page=2` is the path ["queues", "/", "orders"] and the query { page: "2" }.

export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const segments = path === "" ? [] : path.split("/").map(decoded);
  return { segments, query: Object.fromEntries(new URLSearchParams(query)) };
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** `link("queues", "/", "orders")` is `#/queues/%2F/orders`. */
export const link = (...segments) => "#/" + segments.map(encodeURIComponent).join("/");

export function go(address) {
  if (location.hash === address) window.dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = address;
}

/** Puts what a list is filtered by into the address, without a new entry in the browser's history. */
export function setQuery(query) {
  const [path] = location.hash.split("?");
  const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== undefined));
  const text = words.toString();
  history.replaceState(null, "", text === "" ? path || "#/" : `${path || "#/"}?${text}`);
}
