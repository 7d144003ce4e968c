// Changes a part of the page where it differs from what the server sent, and nowhere else: a push takes neither the focus nor a
// click that has begun. Of a list, entries with the same `data-key` are the same one; everything else is known by its place.

const keyOf = (node) => node.dataset?.key;

export function patch(shown, sent) {
  const kept = dropGone(shown, sent);
  let at = shown.firstChild;
  for (const fresh of [...sent.childNodes]) {
    const key = keyOf(fresh);
    const same = key === undefined ? alike(at, fresh) : kept.get(key);
    kept.delete(key);
    if (same && same === at) at = at.nextSibling;
    else shown.insertBefore(same ?? fresh, at);
    if (same) update(same, fresh);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// Removes entries that were not sent again; returns the others by their key.
function dropGone(shown, sent) {
  const wanted = new Set([...sent.childNodes].map(keyOf));
  const kept = new Map();
  for (const child of [...shown.childNodes]) {
    const key = keyOf(child);
    if (wanted.has(key)) kept.set(key, child);
    else if (key !== undefined) child.remove();
  }
  return kept;
}

function alike(node, fresh) {
  return node && keyOf(node) === undefined && node.nodeName === fresh.nodeName ? node : undefined;
}

function update(node, fresh) {
  if (!(node instanceof Element)) {
    if (node.data !== fresh.data) node.data = fresh.data;
    return;
  }
  for (const { name } of [...node.attributes]) {
    if (!fresh.hasAttribute(name)) node.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
  patch(node, fresh);
}
