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

function draw(place) {
  const figure = JSON.parse(place.querySelector("script").textContent);
  const style = getComputedStyle(document.documentElement);
  const [text, line] = [style.getPropertyValue("--text"), style.getPropertyValue("--line")];
  const axis = { gridcolor: line, zerolinecolor: line, automargin: true };
  const layout = {
    height: 320, margin: { l: 60, r: 20, t: 10, b: 40 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text }, legend: { orientation: "h" }, ...figure.layout,
    xaxis: { ...axis, ...figure.layout.xaxis }, yaxis: { ...axis, ...figure.layout.yaxis },
  };
  Plotly.newPlot(place, figure.data, layout, { responsive: true, displaylogo: false });
}

function saveCsv(button) {
  const quoted = (cell) => `"${cell.textContent.trim().replaceAll('"', '""')}"`;
  const lines = [...document.getElementById(button.dataset.table).rows].map((row) => [...row.cells].map(quoted).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\r\n")], { type: "text/csv" }));
  link.download = button.dataset.name;
  link.click();
}

function addressOf(form, action) {
  if (form.dataset.run) return `/api/v2/runs/${form.dataset.run}/stop`;
  return form.dataset.symbol ? `/api/v2/symbols/${form.dataset.symbol}/${action}` : `/api/v2/${action}`;
}

function bodyOf(fields) {
  const body = { actor: fields.get("actor"), reason: fields.get("reason") };
  const action = fields.get("action");
  if (action === "promote") body.recipe = fields.get("recipe");
  if (action === "rollout") body.share = Number(fields.get("share")) / 100;
  if (action === "cycle") body.weeks = Number(fields.get("weeks"));
  return body;
}

async function act(form) {
  const fields = new FormData(form);
  const action = fields.get("action");
  const what = `${action} ${form.dataset.symbol ?? form.dataset.run ?? ""}`.trim();
  if (!confirm(`${what}, as ${fields.get("actor")}: ${fields.get("reason")}?`)) return;
  const [place, button] = [form.querySelector("output"), form.querySelector("button")];
  form.dataset.key ??= crypto.randomUUID();
  button.disabled = true;
  place.textContent = "Starting";
  try {
    const answer = await fetch(addressOf(form, action), {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": form.dataset.key },
      body: JSON.stringify(bodyOf(fields)),
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
  form.querySelectorAll("[data-for]").forEach((label) => { label.hidden = label.dataset.for !== action; });
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.getElementById("refresh").addEventListener("click", () => location.reload());
  document.getElementById("filter")?.addEventListener("input", (event) => filterRows(event.target));
  document.querySelectorAll("button.csv").forEach((button) => button.addEventListener("click", () => saveCsv(button)));
  document.querySelectorAll("form.act").forEach((form) => {
    form.addEventListener("submit", (event) => { event.preventDefault(); act(form); });
    form.addEventListener("change", () => { delete form.dataset.key; showFields(form); });
  });
  const charts = [...document.querySelectorAll(".chart")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((e) => e.isIntersecting)) {
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "400px" });
  charts.forEach((chart) => seen.observe(chart));
});
