// Shows what the server pushes, counts down to what is due, and sends forms and buttons.
import { patch } from "./patch.js";

const live = document.getElementById("live");

function tick(part) {
  for (const due of part.querySelectorAll("[data-due-ms]")) {
    const left = Math.max(0, Number(due.dataset.dueMs) - Date.now()) / 1000;
    due.textContent = left.toFixed(1) + " s";
  }
}

function localTimes(part) {
  for (const time of part.querySelectorAll("time[data-ms]")) {
    time.textContent = new Date(Number(time.dataset.ms)).toLocaleTimeString();
  }
}

function show(html) {
  const sent = document.createElement("template");
  sent.innerHTML = html;
  localTimes(sent.content);
  tick(sent.content);
  patch(live, sent.content);
}

const source = new EventSource("/events?lang=" + live.dataset.lang);
source.onmessage = (event) => show(event.data);
setInterval(() => tick(live), 100);
localTimes(live);

// A key for each thing asked for, so that sending it again does it once.
function requestKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Numbers go as numbers; what is typed as money goes as cents.
function fieldValue(input) {
  if (input.dataset.unit === "cents") return Math.round(Number(input.value) * 100);
  return input.type === "number" ? Number(input.value) : input.value;
}

async function send(form) {
  const fields = [...form.elements].filter((input) => input.name);
  form.dataset.key ||= requestKey();
  const response = await fetch(form.dataset.post, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": form.dataset.key },
    body: JSON.stringify(Object.fromEntries(fields.map((input) => [input.name, fieldValue(input)]))),
  });
  // A server's failure leaves open whether it was done.
  return { ok: response.ok, isOpen: response.status >= 500, body: await response.json() };
}

for (const form of document.querySelectorAll("form[data-post]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = form.querySelector("output");
    try {
      const { ok, isOpen, body } = await send(form);
      const words = ok ? ["✓", body[form.dataset.shows]] : [body.field, body.detail];
      answer.textContent = words.filter((word) => word !== undefined).join(" ");
      answer.className = ok ? "ok" : "failed";
      if (!isOpen) delete form.dataset.key;
      if (ok && form.dataset.clears) form.reset();
    } catch (error) {
      // So does no answer at all. The key is kept, and sending again is safe.
      answer.textContent = String(error);
      answer.className = "failed";
    }
  });
}

live.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-path]");
  if (!button) return;
  const answer = document.getElementById("answer");
  button.disabled = true;
  try {
    const response = await fetch(button.dataset.path, { method: button.dataset.method });
    answer.textContent = response.ok ? "" : (await response.json()).detail;
  } catch (error) {
    answer.textContent = String(error);
  } finally {
    button.disabled = false;
  }
});
