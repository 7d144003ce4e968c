// The page that is open: loads its data, draws it, and does so again every few seconds while somebody can see it.
// A page is `{ title, load, view, every }`: `load` fetches, `view` turns what it got into a tree.

const EVERY_MS = 5000;

let shown = null;
let paint = () => {};
let timer = 0;
let painting = false;

/** Called once by the application: how to draw everything, and what to do when the session has ended. */
export function mount(draw, onSessionEnd) {
  paint = draw;
  sessionEnd = onSessionEnd;
  document.addEventListener("visibilitychange", () => document.hidden || reload());
}

let sessionEnd = () => {};

export const current = () => shown;

/** Opens a page; what the last one was still loading is dropped. */
export function open(page) {
  shown = { page, data: undefined, error: null };
  redraw();
  return reload();
}

export function close() {
  shown = null;
  clearTimeout(timer);
}

/** Draws soon, once, however often it is asked for. */
export function redraw() {
  if (painting) return;
  painting = true;
  queueMicrotask(() => {
    painting = false;
    paint();
  });
}

/** Fetches the open page's data now. */
export async function reload() {
  const mine = shown;
  if (!mine) return;
  clearTimeout(timer);
  try {
    const data = await mine.page.load?.();
    if (shown !== mine) return;
    mine.data = data ?? null;
    mine.error = null;
  } catch (error) {
    if (shown !== mine) return;
    if (error.signedOut) return sessionEnd();
    if (error.status === undefined) throw error;
    mine.error = error;
  }
  redraw();
  timer = setTimeout(poll, mine.page.every ?? EVERY_MS);
}

function poll() {
  if (!document.hidden) reload();
}
