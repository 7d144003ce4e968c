// A page is a function of its data. It returns a tree of plain values, and `render` changes the document where the new
// tree differs from the last one, so that focus, selection and what somebody is typing survive a refresh.
// Nothing here knows what Leveret is.

const SVG = "http://www.w3.org/2000/svg";

/** Props: `onclick` and the like, `css` (a map of style properties), `created` (called with the element), attributes. */
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, key: props?.key, children: children.flat(Infinity).map(asNode) };
}

// An absent child keeps its place, so that its neighbours are still compared with themselves.
function asNode(child) {
  if (child === null || child === undefined || child === false || child === true) return { text: "" };
  return typeof child === "object" ? child : { text: String(child) };
}

/** Makes what `host` contains look like `tree`. */
export function render(host, ...tree) {
  const next = tree.flat(Infinity).map(asNode);
  const born = [];
  patchChildren(host, host.tree ?? [], next, null, born);
  host.tree = next;
  for (const call of born) call();
}

function create(node, space, born) {
  if (node.tag === undefined) {
    node.dom = document.createTextNode(node.text);
    return;
  }
  const own = node.tag === "svg" ? SVG : space;
  node.dom = own ? document.createElementNS(own, node.tag) : document.createElement(node.tag);
  patchChildren(node.dom, [], node.children, own, born);
  setProps(node.dom, {}, node.props);
  if (node.props.created) born.push(() => node.props.created(node.dom));
}

function patch(old, node, space, born) {
  node.dom = old.dom;
  if (node.tag === undefined) {
    if (old.text !== node.text) node.dom.data = node.text;
    return;
  }
  patchChildren(node.dom, old.children, node.children, node.tag === "svg" ? SVG : space, born);
  setProps(node.dom, old.props, node.props);
}

function patchChildren(host, old, next, space, born) {
  const byKey = new Map(old.filter((node) => node.key !== undefined).map((node) => [node.key, node]));
  const loose = old.filter((node) => node.key === undefined);
  const kept = new Set();
  let at = 0;
  for (const node of next) {
    const match = node.key === undefined ? loose[at++] : byKey.get(node.key);
    if (match && match.tag === node.tag && !kept.has(match)) {
      kept.add(match);
      patch(match, node, space, born);
    } else {
      create(node, space, born);
    }
  }
  for (const node of old) if (!kept.has(node)) node.dom.remove();
  let cursor = host.firstChild;
  for (const node of next) {
    if (node.dom === cursor) cursor = cursor.nextSibling;
    else host.insertBefore(node.dom, cursor);
  }
}

const PROPERTIES = new Set(["value", "checked", "selected", "disabled"]);

function setProps(dom, old, props) {
  for (const name of Object.keys(old)) if (!(name in props)) setProp(dom, name, old[name], undefined);
  for (const name of Object.keys(props)) if (old[name] !== props[name]) setProp(dom, name, old[name], props[name]);
}

function setProp(dom, name, before, value) {
  if (name === "key" || name === "created") return;
  if (name.startsWith("on")) dom[name] = value ?? null;
  else if (name === "css") setCss(dom, before ?? {}, value ?? {});
  else if (PROPERTIES.has(name) && name in dom) dom[name] = value ?? (name === "value" ? "" : false);
  else if (value === undefined || value === null || value === false) dom.removeAttribute(name);
  else dom.setAttribute(name, value === true ? "" : value);
}

// Properties set one by one are no inline style to the content security policy.
function setCss(dom, before, css) {
  for (const name of Object.keys(before)) if (!(name in css)) dom.style.removeProperty(name);
  for (const [name, value] of Object.entries(css)) dom.style.setProperty(name, value);
}
