"use strict";

function key(cell) {
  const text = cell.dataset.order ?? cell.textContent.trim();
  const number = Number(text);
  return text !== "" && !Number.isNaN(number) ? number : text;
}

function compare(a, b) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

function makeSortable(table) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const falling = head.ariaSort === "ascending";
      const rows = [...body.rows].sort((a, b) => compare(key(a.cells[column]), key(b.cells[column])) * (falling ? -1 : 1));
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.ariaSort = falling ? "descending" : "ascending";
      body.append(...rows);
    });
  });
}

function filterRows(input) {
  const words = input.value.toLowerCase().split(/\s+/);
  for (const row of document.querySelector("table").tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
}

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const [text, muted, line] = ["--text", "--muted", "--line"].map((name) => style.getPropertyValue(name));
  const axis = { gridcolor: line, zerolinecolor: line, automargin: true };
  return {
    height: 320, margin: { l: 60, r: 20, t: 10, b: 40 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text }, legend: { orientation: "h" }, ...layout,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: muted, activecolor: text },
    xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  };
}

// The place has the height itself: plotly takes it from there when the window changes.
function plot(place, { data, layout }) {
  const whole = themed(layout);
  place.style.height = `${whole.height}px`;
  Plotly.react(place, data, whole, { responsive: true, displaylogo: false });
}

function draw(place) {
  plot(place, JSON.parse(place.querySelector("script").textContent));
}

function saveFile(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function saveCsv(button) {
  const quoted = (cell) => `"${(cell.dataset.order ?? cell.textContent.trim()).replaceAll('"', '""')}"`;
  const lines = [...document.getElementById(button.dataset.table).rows].map((row) => [...row.cells].map(quoted).join(","));
  saveFile(button.dataset.name, lines.join("\r\n"), "text/csv");
}

function symbolOf(form) {
  return form.dataset.symbol ?? form.elements.symbol?.value;
}

function addressOf(form, action) {
  if (form.dataset.run) return `/api/v2/runs/${form.dataset.run}/stop`;
  return symbolOf(form) ? `/api/v2/symbols/${symbolOf(form)}/${action}` : `/api/v2/${action}`;
}

function valueOf(field) {
  if (field.type === "number") return Number(field.value) / Number(field.dataset.divisor ?? 1);
  if (field.type === "datetime-local") return `${field.value}Z`;
  return field.dataset.list === undefined ? field.value : [field.value];
}

function bodyOf(form) {
  const sent = [...form.elements].filter((field) => field.name && field.value !== "" && !field.disabled);
  const told = sent.filter((field) => !["action", "symbol"].includes(field.name));
  return Object.fromEntries(told.map((field) => [field.name, valueOf(field)]));
}

function question(form, action, { actor, reason, ...rest }) {
  const details = Object.entries(rest).map(([name, value]) => `${name} ${value}`).join(", ");
  const what = [action, symbolOf(form) ?? form.dataset.run, details && `(${details})`].filter(Boolean).join(" ");
  return `${what}, as ${actor}: ${reason}?`;
}

async function act(form) {
  const [action, body] = [form.elements.action.value, bodyOf(form)];
  if (!confirm(question(form, action, body))) return;
  const [place, button] = [form.querySelector("output"), form.querySelector("button")];
  form.dataset.key ??= crypto.randomUUID();
  button.disabled = true;
  place.textContent = "Starting";
  try {
    const answer = await fetch(addressOf(form, action), {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": form.dataset.key },
      body: JSON.stringify(body),
    });
    const told = await answer.json();
    if (answer.ok) {
      delete form.dataset.key;
      const link = document.createElement("a");
      link.href = told.url;
      link.textContent = told.run_id;
      place.replaceChildren("Run ", link);
    } else {
      if (answer.status < 500) delete form.dataset.key;
      place.textContent = `${told.detail}: ${told.remedy}`;
    }
  } catch (error) {
    place.textContent = `The service does not answer (${error.message}). Start again: it starts nothing twice.`;
  }
  button.disabled = false;
}

function showFields(form) {
  const action = form.elements.action.value;
  for (const label of form.querySelectorAll("[data-for]")) {
    label.hidden = label.querySelector("input, select").disabled = !label.dataset.for.split(" ").includes(action);
  }
}

async function showNextRun(place) {
  const answer = await fetch("/api/v2/schedules");
  const told = await answer.json();
  const schedule = told.items?.find((item) => item.name === place.dataset.schedule);
  const time = schedule?.next_tick?.slice(0, 16).replace("T", " ");
  if (time) place.textContent = `${time} UTC`;
  else place.textContent = answer.ok ? `${place.dataset.schedule} is off; switch it on in Dagster` : told.detail;
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.getElementById("refresh").addEventListener("click", () => location.reload());
  document.getElementById("filter")?.addEventListener("input", (event) => filterRows(event.target));
  document.querySelectorAll("button.csv").forEach((button) => button.addEventListener("click", () => saveCsv(button)));
  document.querySelectorAll("form.act").forEach((form) => {
    form.addEventListener("submit", (event) => { event.preventDefault(); act(form); });
    form.addEventListener("change", () => { delete form.dataset.key; showFields(form); });
    showFields(form);
  });
  document.querySelectorAll("[data-schedule]").forEach(showNextRun);
  const charts = [...document.querySelectorAll(".chart")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((e) => e.isIntersecting)) {
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "400px" });
  charts.forEach((chart) => seen.observe(chart));
});
