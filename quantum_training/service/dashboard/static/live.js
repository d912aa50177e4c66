"use strict";

const MOST_ALERTS = 20;
const handlers = { open: [], run: [], event: [] };
let stream;

// A browser allows six connections to a host, so a hidden tab gives its own back.
function follow() {
  stream?.close();
  if (document.hidden) return;
  stream = new EventSource("/api/v2/stream");
  for (const kind of ["run", "event"]) {
    stream.addEventListener(kind, (message) => {
      const told = JSON.parse(message.data);
      handlers[kind].forEach((handle) => handle(told));
    });
  }
  stream.addEventListener("open", () => {
    showLive("Live.");
    handlers.open.forEach((handle) => handle());
  });
  stream.addEventListener("error", () => showLive("Not live."));
}

function showLive(text) {
  document.getElementById("live-state").textContent = text;
}

async function showMissedAlerts() {
  const { since } = document.getElementById("new-alerts").dataset;
  const answer = await fetch("/api/v2/events?limit=200");
  if (!answer.ok) return;
  const { items } = await answer.json();
  items.reverse().filter((event) => new Date(event.received_at) > new Date(since)).forEach(showAlert);
}

function showAlert(event) {
  const place = document.getElementById("new-alerts");
  const [list, known] = [place.querySelector("ul"), showAlert.known ??= new Set()];
  if (!event.is_alert || known.has(event.event_id)) return;
  known.add(event.event_id);
  const [item, link] = [document.createElement("li"), document.createElement("a")];
  link.href = `/symbols/${event.symbol}`;
  link.textContent = event.symbol;
  item.append(link, ` ${event.sentence}`);
  list.prepend(item);
  while (list.children.length > MOST_ALERTS) list.lastElementChild.remove();
  place.hidden = false;
}

handlers.open.push(showMissedAlerts);
handlers.event.push(showAlert);
document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("new-alerts");
  place.querySelector("button").addEventListener("click", () => {
    place.querySelector("ul").replaceChildren();
    place.hidden = true;
  });
  document.addEventListener("visibilitychange", follow);
  follow();
});
