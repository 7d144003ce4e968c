// Shows what the server pushes, counts down to the next attempts, and sends the form and the buttons.
"use strict";

const live = document.getElementById("live");

function tick() {
  for (const due of live.querySelectorAll("[data-due-ms]")) {
    const left = Math.max(0, Number(due.dataset.dueMs) - Date.now()) / 1000;
    due.textContent = left.toFixed(1) + " s";
  }
}

function localTimes() {
  for (const time of live.querySelectorAll("time[data-ms]")) {
    time.textContent = new Date(Number(time.dataset.ms)).toLocaleTimeString();
  }
}

function show(html) {
  live.innerHTML = html;
  localTimes();
  tick();
}

const source = new EventSource("/events?lang=" + live.dataset.lang);
source.onmessage = (event) => show(event.data);
setInterval(tick, 100);
localTimes();

document.getElementById("sign-up").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const answer = document.getElementById("answer");
  const response = await fetch("/users", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(Object.fromEntries(new FormData(form))),
  });
  const body = await response.json();
  answer.textContent = response.ok ? "#" + body.user_id : [body.field, body.detail].filter(Boolean).join(" ");
  answer.className = response.ok ? "ok" : "failed";
  if (response.ok) form.reset();
});

live.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-path]");
  if (!button) return;
  button.disabled = true;
  await fetch(button.dataset.path, { method: button.dataset.method });
});
